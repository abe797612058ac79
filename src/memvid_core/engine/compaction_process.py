"""CompactionProcess: a compaction in another process, so that this one does not wait for the interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from memvid_core.engine.compaction import Compacted, compact_once
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.settings import DEFAULTS
from memvid_core.errors import LockedError, MemvidError
from memvid_core.journal import Journal
from memvid_core.model import Index

__all__ = ["CompactionProcess", "CompactionTask", "main"]

_NICENESS: Final = 5  # lower priority, but high enough to hold the lock only briefly
_STOP: Final = b"\n"


class CompactionTask(msgspec.Struct, frozen=True):
    """The task of a process: the file, the index folder, the kind of vector index, and the bytes per commit."""

    path: str
    index_root: str | None
    strategy: Index
    timeout: float
    merged_bytes: int


class _StoppedError(Exception):
    """Signal that the parent process cancelled the compaction, or ended."""


class CompactionProcess:
    """One compaction in another interpreter, which ends early when it is stopped, or when this process ends.

    Args:
        task: What to compact.
        program: The Python program of the process, which reads the task from its standard input.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(self, task: CompactionTask, program: str = DEFAULTS.compaction_program) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._tell(json.dumps({**msgspec.to_builtins(task), "modules": sys.path}).encode() + b"\n")

    @staticmethod
    def possible() -> bool:
        """Return whether this program is an interpreter that can be started again.

        Windows cannot replace a file that this process has open, so this process must do the work there.
        """
        if os.name == "nt":
            return False
        name = Path(sys.executable or "").name.lower()
        return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the process has ended
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def stop(self) -> None:
        """Ask the process to end without a change; :meth:`result` waits for that."""
        self._tell(_STOP)

    def result(self) -> Compacted | None:
        """Wait until the process is done; return what it did, or None if it was stopped or another was faster.

        Raises:
            LockedError: Others held the lock for the whole timeout.
            MemvidError: The compaction failed.
            OSError: The process ended without an answer.
        """
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        with self._process.stdout as answers:
            said = answers.read()
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        try:
            answer = json.loads(said)
        except ValueError:
            raise OSError(f"the process that compacts ended with {self._process.returncode}") from None
        if "failed" in answer:
            raise (LockedError if answer["locked"] else MemvidError)(answer["failed"])
        return None if answer["done"] is None else Compacted(*answer["done"])


def main(task: dict[str, Any]) -> None:
    """Compact and print the result; another line on the standard input, or its end, stops it.

    Args:
        task: A :class:`CompactionTask` as built-in types.
    """
    stopped = threading.Event()
    threading.Thread(target=_wait_for_stop, args=(stopped,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    del task["modules"]
    answer: dict[str, Any]
    try:
        answer = {"done": _compacted(msgspec.convert(task, CompactionTask), stopped)}
    except _StoppedError:
        answer = {"done": None}
    except (MemvidError, OSError) as exc:
        answer = {"failed": str(exc), "locked": isinstance(exc, LockedError)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # the thread that reads the input never ends


def _wait_for_stop(stopped: threading.Event) -> None:
    sys.stdin.buffer.read(1)
    stopped.set()


def _compacted(task: CompactionTask, stopped: threading.Event) -> Compacted | None:
    def step() -> None:
        if stopped.is_set():
            raise _StoppedError

    root = None if task.index_root is None else Path(task.index_root)
    journal = Journal.open(Path(task.path), "a")
    indexed = IndexedJournal(journal, "a", root, timeout=task.timeout, show_progress=False, strategy=task.strategy)
    try:
        return compact_once(indexed, merged_bytes=task.merged_bytes, quiet=True, step=step)
    finally:
        indexed.close()
