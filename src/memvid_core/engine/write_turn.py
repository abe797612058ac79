"""WriteTurn: lets one thread of one process at a time change the file and the index of a memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from memvid_core.errors import Action, Hint, LockedError, MemoryFileError
from memvid_core.system.commit_lock import CommitLock
from memvid_core.system.telemetry import log, name_of

__all__ = ["LONG_WAIT", "OpenFile", "WriteTurn"]

LONG_WAIT: Final = 0.1
"""Seconds from which on a wait for another process is logged."""


class OpenFile(Protocol):
    """An open file that can be locked: its descriptor, or None if it is not on a disk, and its name for messages."""

    @property
    def descriptor(self) -> int | None:
        """The descriptor."""
        ...

    @property
    def target(self) -> object:
        """The name of the file."""
        ...


class WriteTurn:
    """The right to write to one open memory: a lock for the threads of the process, then the lock on the file.

    The turn is reentrant: the outermost block locks and unlocks the file. The state of the lock itself decides which
    block is the outermost. Each lock is released in two places: the second one counts if an interrupt prevents the
    first.
    """

    def __init__(self) -> None:
        self.lock = CommitLock()
        self._thread = threading.RLock()

    def mine(self) -> bool:
        """Return whether the calling thread has the turn."""
        return bool(self._thread._is_owned())  # type: ignore[attr-defined]

    def holds(self, file: OpenFile) -> bool:
        """Return whether the lock on a file is held."""
        return self.lock.holds(file.descriptor)

    @contextmanager
    def tried(self, file: OpenFile | None, wait: float, *, thread_wait: float | None = None) -> Iterator[bool]:
        """Try to take the turn, and yield whether that worked.

        Args:
            file: The file to lock, which the caller keeps open; None: only the threads are locked.
            wait: The time to wait for the file, in seconds.
            thread_wait: The time to wait for another thread, in seconds; None: the same.
        """
        deadline = time.monotonic() + wait
        with self._waited(wait if thread_wait is None else thread_wait) as got:
            if not got:
                yield False
                return
            with self._locked(lambda: self._try_file(file, deadline)):
                yield file is None or file.descriptor is None or self.lock.held

    def _try_file(self, file: OpenFile | None, deadline: float) -> None:
        if file is not None:
            try:
                self.lock_file(file, deadline)
            except MemoryFileError:  # it is locked, or the file system has no locks
                return

    @contextmanager
    def taken(self, wait: float, target: object, lock: Callable[[], None]) -> Iterator[bool]:
        """Take the turn, and yield whether this block locked the file.

        Args:
            wait: The time to wait for other threads, in seconds.
            target: The file, for the message.
            lock: The function that locks the file.

        Raises:
            LockedError: Another thread had the turn all that time.
        """
        with self._waited(wait) as got:
            if not got:
                raise LockedError(
                    f"{target} is being written by another thread of this process", hint=Hint(Action.WAIT)
                )
            with self._locked(lock) as outermost:
                yield outermost

    @contextmanager
    def _waited(self, wait: float) -> Iterator[bool]:
        """Hold the lock of the threads, if it is free in time."""
        got = False
        try:
            try:
                got = self._thread.acquire(timeout=wait)
                yield got
            finally:
                if got:
                    got = bool(self._thread.release())  # type: ignore[func-returns-value]  # False: noted in one step
        finally:
            if got:
                self._thread.release()

    @contextmanager
    def _locked(self, lock: Callable[[], None]) -> Iterator[bool]:
        """Hold the lock on the file; yield whether this is the outermost block, which locks and unlocks it."""
        outermost = not self.lock.held
        try:
            try:
                if outermost:
                    lock()
                yield outermost
            finally:
                if outermost:
                    self.lock.release()
        finally:
            if outermost:
                self.lock.release()

    def lock_file(self, file: OpenFile, deadline: float) -> None:
        """Take the lock on a file.

        Raises:
            LockedError: Others held it until ``deadline``, a time of ``time.monotonic()``.
        """
        if file.descriptor is not None:
            began = time.monotonic()
            self.lock.acquire(file.descriptor, file.target, max(0.0, deadline - began))
            waited = time.monotonic() - began
            if waited >= LONG_WAIT:
                log(logging.INFO, "lock", "waited %.1f s for the lock of %s", waited, name_of(file.target))
