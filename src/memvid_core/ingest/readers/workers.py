"""Reader processes: files are read and split in parallel, and cannot crash this process.

They are child processes that exchange length-prefixed MessagePack over pipes. `multiprocessing` would import the user's
main module in each of them (a script without a main guard would run again) and pickle its messages.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import suppress
from pathlib import Path

import msgspec

from memvid_core.errors import IngestError
from memvid_core.ingest.readers import OutOfMemoryError, source_name
from memvid_core.ingest.readers.limits import OVER_MEMORY
from memvid_core.ingest.readers.worker_process import READY, Answer, Limits, Request, Settings, receive, send

__all__ = ["ReaderPool"]

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from memvid_core.ingest.readers.worker_process import serve; serve()"
)
_LOOK = 0.1  # seconds between checks for files that take too long
_GROUPS = hasattr(os, "killpg")
_WAKE = 0.5  # seconds; on Windows, Ctrl-C does not interrupt a wait without timeout
# A request costs as much as reading a small file, so small files are sent together.
_FILES_A_REQUEST = 32
_BYTES_A_REQUEST = 256 << 10
# numpy, which the package imports, allocates memory for each thread of its linear algebra.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ReaderPool:
    """Manage reader processes, which are started when needed and replaced when they end.

    Args:
        workers: The maximum number of processes.
        limits: The limits per file.
        chunker: How the processes split documents; None returns them complete.
    """

    def __init__(self, workers: int, limits: Limits, chunker: Settings | None = None) -> None:
        self._workers = workers
        self._limits = limits
        self._chunker = chunker
        self._idle: deque[_Reader] = deque()
        self._all: set[_Reader] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(workers + 1, thread_name_prefix="memvid-reader")
        if limits.timeout is not None:
            self._threads.submit(self._watch, limits.timeout)

    def map(self, files: Iterable[Path]) -> Iterator[tuple[Path, Answer]]:
        """Yield each file with its answer, in order.

        Raises:
            IngestError: Processes cannot be started.
        """
        waiting: deque[tuple[list[Path], Future[list[Answer]]]] = deque()
        for group in _groups(files):
            # Twice as many groups as readers keep them busy without holding many documents in memory.
            if len(waiting) >= 2 * self._workers:
                yield from _done(waiting)
            waiting.append((group, self._threads.submit(self.read, group)))
        while waiting:
            yield from _done(waiting)

    def read(self, files: list[Path]) -> list[Answer]:
        """Read files in one process; if it ends, read the rest in a new one."""
        answers: list[Answer] = []
        while len(answers) < len(files):
            reader = self._idle_reader() or self._start()
            answers += reader.ask(files[len(answers) :], self._chunker, self._limits)
            if reader.alive:
                self._idle.append(reader)
            else:
                with self._lock:
                    self._all.discard(reader)
                reader.end()
        return answers

    def _idle_reader(self) -> _Reader | None:
        try:
            return self._idle.pop()  # other threads take readers, too
        except IndexError:
            return None

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        with self._lock:
            self._closed.set()
            readers = list(self._all)
        for reader in readers:
            reader.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for reader in readers:
            reader.end()

    def _watch(self, timeout: float) -> None:
        while not self._closed.wait(min(_LOOK, timeout / 4)):
            with self._lock:
                readers = list(self._all)
            for reader in readers:
                reader.end_if_late(timeout)

    def _start(self) -> _Reader:
        try:
            with self._lock:
                if self._closed.is_set():
                    raise OSError("the pool is closed")
                if getattr(sys, "frozen", False) or not sys.executable:
                    raise OSError("this program comes without a Python interpreter")
                reader = _Reader(self._limits)
                self._all.add(reader)
            reader.wait_ready()
        except OSError as exc:
            raise IngestError(
                f"processes for reading files cannot be started: {exc}; with timeout=None and memory_limit=None, "
                "files are read in this process, which a malicious file can crash"
            ) from exc
        return reader


class _Reader:
    def __init__(self, limits: Limits) -> None:
        # On Windows, Ctrl-C reaches all processes of a console, and readers ignore it; elsewhere each reader has its
        # own group. This process ends them.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), msgspec.json.encode(limits).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD},
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            process_group=0 if _GROUPS else None,  # with the programs that it starts
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.alive = True
        self._lock = threading.Lock()
        self._since: float | None = None  # start time of the current file
        self._late = False

    def end_if_late(self, timeout: float) -> None:
        """End the process if its file has taken more than ``timeout`` seconds."""
        with self._lock:
            if self._since is not None and time.monotonic() - self._since > timeout:
                self._late = True
                self._kill()

    def _begin(self, since: float | None) -> None:
        with self._lock:
            self._since = since

    def wait_ready(self) -> None:
        if receive(self._answers) != READY:
            raise OSError(f"it ended with exit code {self._process.wait()}")

    def ask(self, files: list[Path], chunker: Settings | None, limits: Limits) -> list[Answer]:
        """Return the answers to at least the first file, and to all of them while the process lives."""
        answers: list[Answer] = []
        ended = False
        self._begin(time.monotonic())
        try:
            send(self._requests, msgspec.msgpack.encode(Request([os.fsencode(file) for file in files], chunker)))
            while not ended and len(answers) < len(files):
                received = receive(self._answers)
                self._begin(time.monotonic())
                if received is None:
                    ended = True
                    continue
                answers.append(msgspec.msgpack.decode(received, type=Answer))
                if self._late or answers[-1].last:
                    self.alive = False
                    break
        except (OSError, ValueError):  # a broken or closed pipe
            ended = True
        self._begin(None)
        if ended:
            self.alive = False
            answers.append(Answer(error=self._why_it_ended(files[len(answers)], limits)))
        return answers

    def _why_it_ended(self, file: Path, limits: Limits) -> str:
        source = source_name(file)
        code = self._process.wait()
        if self._late:
            return f"{source}: took more than {limits.timeout:g} seconds to read; split it, or raise the timeout"
        if code == OVER_MEMORY:
            return str(OutOfMemoryError(source))
        memory = "" if limits.memory is None else f", or needs more than {limits.memory >> 20:,} MiB of memory"
        return f"{source}: its converter crashed (exit code {code}): the file may be damaged{memory}"

    def kill(self) -> None:
        self.alive = False
        with suppress(OSError):
            self._kill()

    def _kill(self) -> None:
        # Until it is waited for, its number is that of no other process. Those that it started are in its group.
        if not _GROUPS:
            self._process.kill()
        elif self._process.returncode is None:
            with suppress(OSError):  # macOS does not permit it for a group that has ended and was not waited for
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError, ValueError):
                pipe.close()


def _groups(files: Iterable[Path]) -> Iterator[list[Path]]:
    group: list[Path] = []
    size = 0
    for file in files:
        group.append(file)
        size += _size(file)
        if len(group) == _FILES_A_REQUEST or size >= _BYTES_A_REQUEST:
            yield group
            group, size = [], 0
    if group:
        yield group


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # reading it reports the error


def _done(waiting: deque[tuple[list[Path], Future[list[Answer]]]]) -> Iterator[tuple[Path, Answer]]:
    group, future = waiting.popleft()
    while True:
        try:
            yield from zip(group, future.result(timeout=_WAKE), strict=True)
        except StillRunning:
            continue
        return
