"""WriteTurn: one thread of one process at a time changes the file and the index of a memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memvid_core.errors import Action, Hint, LockedError, MemoryFileError
from memvid_core.locking import CommitLock
from memvid_core.video import VideoFile

__all__ = ["WriteTurn"]


class WriteTurn:
    """The right to write, of one open memory: a lock for the threads of the process, then the lock on the file.

    A thread that has it may take it again. The lock on the file is given back when the outermost block ends.
    """

    def __init__(self) -> None:
        self.lock = CommitLock()
        self._thread = threading.RLock()
        self._depth = 0  # how often the thread that has it has taken it

    def holds(self, video: VideoFile) -> bool:
        """Return whether the lock on a file is held."""
        return self.lock.holds(video.descriptor)

    @contextmanager
    def tried(self, video: VideoFile | None, wait: float, *, thread_wait: float | None = None) -> Iterator[bool]:
        """Try to take the turn, and yield whether that worked.

        Args:
            video: The file to lock; None locks no file. The caller keeps it open.
            wait: For how many seconds to try.
            thread_wait: For how many seconds to wait for another thread, if not ``wait``.
        """
        deadline = time.monotonic() + wait
        if not self._thread.acquire(timeout=wait if thread_wait is None else thread_wait):
            yield False
            return
        try:
            if not self._depth and video is not None and video.descriptor is not None:
                try:
                    self.lock_file(video, deadline)
                except MemoryFileError:  # it is taken, or there are no locks here
                    yield False
                    return
            self._depth += 1
            try:
                yield True
            finally:
                self._depth -= 1
        finally:
            self._give_back()

    @contextmanager
    def taken(self, wait: float, target: object) -> Iterator[bool]:
        """Wait for other threads, and yield whether this is the outermost block, which has to lock the file.

        Args:
            wait: For how many seconds.
            target: What is written, for the message.

        Raises:
            LockedError: Another thread had the turn all that time.
        """
        if not self._thread.acquire(timeout=wait):
            raise LockedError(f"{target} is being written by another thread of this process", hint=Hint(Action.WAIT))
        try:
            self._depth += 1
            try:
                yield self._depth == 1
            finally:
                self._depth -= 1
        finally:
            self._give_back()

    def lock_file(self, video: VideoFile, deadline: float) -> None:
        """Take the lock on a file.

        Raises:
            LockedError: Others held it until ``deadline``, a time of ``time.monotonic()``.
        """
        if video.descriptor is not None:
            self.lock.acquire(video.descriptor, Path(str(video.target)), max(0.0, deadline - time.monotonic()))

    def _give_back(self) -> None:
        if not self._depth:
            self.lock.release()
        self._thread.release()
