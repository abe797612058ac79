"""Reader processes: converters side by side, where none can take this process down with it.

Plain child processes that speak length-prefixed MessagePack over pipes. `multiprocessing` would import the user's main
module in each of them (a script without a main guard would start over), and pickle what it sends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from memvid_core.errors import IngestError, MemvidError, MissingExtraError
from memvid_core.ingest.document import Document
from memvid_core.ingest.readers import read_document, source_name

__all__ = ["ReaderPool", "serve"]

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from memvid_core.ingest.workers import serve; serve()"
_LENGTH = 8
_WAKE = 0.5  # seconds; on Windows a wait without an end cannot be interrupted by Ctrl-C


class _Answer(msgspec.Struct, frozen=True):
    document: Document | None = None
    error: str = ""
    missing_extra: bool = False


class ReaderPool:
    """A number of reader processes, started when they are first needed.

    Args:
        workers: The most processes at once.
        timeout: Seconds a file may take before its process is ended; None for no limit.
    """

    def __init__(self, workers: int, timeout: float | None) -> None:
        self._workers = workers
        self._timeout = timeout
        self._idle: deque[_Reader] = deque()
        self._all: set[_Reader] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="memvid-reader")

    def map(self, files: list[Path], heavy: list[bool]) -> Iterator[tuple[Path, Document | MemvidError | None]]:
        """Yield each file with its document or error, in order; a file that is not heavy with None, at its turn."""
        waiting: deque[tuple[Path, Future[Document | MemvidError] | None]] = deque()
        ahead = 0
        for file, is_heavy in zip(files, heavy, strict=True):
            # Twice as many as there are readers keeps them busy, and few documents in memory.
            while ahead >= 2 * self._workers or len(waiting) >= 1024:
                first, future = waiting.popleft()
                ahead -= future is not None
                yield first, None if future is None else _wait(future)
            waiting.append((file, self._threads.submit(self._read, file) if is_heavy else None))
            ahead += is_heavy
        while waiting:
            first, future = waiting.popleft()
            yield first, None if future is None else _wait(future)

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        with self._lock:
            self._closed = True
            readers = list(self._all)
        for reader in readers:
            reader.end()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _read(self, file: Path) -> Document | MemvidError:
        try:
            reader = self._idle.pop() if self._idle else self._start()
        except OSError:  # no more processes to be had: here, then
            return _read_here(file)
        answer = reader.ask(file, self._timeout)
        if reader.alive:
            self._idle.append(reader)
        else:
            with self._lock:
                self._all.discard(reader)
            reader.end()
        return answer

    def _start(self) -> _Reader:
        if getattr(sys, "frozen", False) or not sys.executable:
            raise OSError("no interpreter to start")
        with self._lock:
            if self._closed:
                raise OSError("closed")
            reader = _Reader()
            self._all.add(reader)
        return reader


class _Reader:
    def __init__(self) -> None:
        # A console's Ctrl-C reaches every process of its group: the readers leave it to this one to end them.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.alive = True

    def ask(self, file: Path, timeout: float | None) -> Document | MemvidError:
        source = source_name(file)
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout, stop) if timeout is not None else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            _send(self._requests, os.fspath(file).encode("utf-8", "surrogateescape"))
            received = _receive(self._answers)
        except (OSError, ValueError):  # a broken or closed pipe
            received = None
        finally:
            if timer:
                timer.cancel()
        if received is None:
            self.alive = False
            code = self._process.wait()
            if late.is_set():
                return IngestError(
                    f"{source}: took more than {timeout:g} seconds to read; split it, or raise the timeout"
                )
            return IngestError(f"{source}: its converter crashed (exit code {code}): damaged beyond what it can take")
        self.alive = not late.is_set()
        answer = msgspec.msgpack.decode(received, type=_Answer)
        if answer.document is not None:
            return answer.document
        return MissingExtraError(answer.error) if answer.missing_extra else IngestError(answer.error)

    def end(self) -> None:
        self.alive = False
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError, ValueError):
                pipe.close()


def serve() -> None:
    """Answer read requests on standard input until it ends: the main loop of a reader process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    # What a converter prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (received := _receive(requests)) is not None:
        path = Path(received.decode("utf-8", "surrogateescape"))
        read = _read_here(path)
        if isinstance(read, Document):
            answer = _Answer(document=read)
        else:
            answer = _Answer(error=str(read), missing_extra=isinstance(read, MissingExtraError))
        try:
            encoded = msgspec.msgpack.encode(answer)
        except UnicodeEncodeError as exc:
            encoded = msgspec.msgpack.encode(_Answer(error=f"{source_name(path)}: its text is no valid Unicode: {exc}"))
        _send(answers, encoded)


def _read_here(file: Path) -> Document | MemvidError:
    try:
        return read_document(file)
    except MemvidError as exc:
        return exc


def _wait(future: Future[Document | MemvidError]) -> Document | MemvidError:
    while True:
        try:
            return future.result(timeout=_WAKE)
        except StillRunning:
            continue


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH, "little"))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    length = pipe.read(_LENGTH)
    if len(length) < _LENGTH:
        return None
    size = int.from_bytes(length, "little")
    message = pipe.read(size)
    return message if len(message) == size else None
