"""WriterLock: one writer at a time across processes, and a clear word on who it is."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from memvid_core.errors import LockedError, ReadOnlyError

__all__ = ["WriterLock"]


class WriterLock:
    """The right to write one memory, held from ``acquire`` to ``release``.

    The lock is the operating system's, on a ``.lock`` file beside the memory, so a process that dies gives it back. Who
    holds it is written to a file of its own, since a locked file cannot be read on every system.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = path.with_name(path.name + ".owner")
        self._lock = FileLock(path.with_name(path.name + ".lock"), thread_local=False)

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
            LockedError: Another writer holds it; the message says which process, on which machine, since when.
            ReadOnlyError: The folder cannot be written.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout as exc:
            raise LockedError(
                f"{self._path} is open for writing by {self._holder()}; close it there, or open it with mode='r'"
            ) from exc
        except OSError as exc:
            raise ReadOnlyError(f"cannot lock {self._path} for writing: {exc}; open it with mode='r'") from exc
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with suppress(OSError):  # on a full disk the lock still holds; only its message is poorer
            self._owner.write_text(json.dumps(owner), encoding="utf-8")

    def _holder(self) -> str:
        try:
            owner = json.loads(self._owner.read_text(encoding="utf-8"))
            who = f"process {int(owner['pid'])} on {owner['host']} since {owner['since']}"
            return f"{who} (this process)" if owner["pid"] == os.getpid() else who
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def release(self) -> None:
        """Give the lock back; releasing twice is fine."""
        if self._lock.is_locked:
            with suppress(OSError):  # Windows deletes no file that another process is reading
                self._owner.unlink(missing_ok=True)
            self._lock.release()
