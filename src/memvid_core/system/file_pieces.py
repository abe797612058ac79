"""FilePieces: many short pieces of one file, read with one call of the system.

To read rows that lie far apart through a map of the file is fastest, but a process that touches a page which another
program has cut off meanwhile is killed (SIGBUS). So the system is asked to copy the pieces, from the map to a file in
memory: where the file ends before a piece does, the call fails (EFAULT), and nobody is killed. Linux has such files;
elsewhere, and where the system refuses, the caller reads piece by piece.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PIECES", "FilePieces"]

MOST_PIECES: Final = 1024  # of one call: what Linux takes at once
_ROOM: Final = 256 << 10  # bytes of the file in memory, at least

Bytes = NDArray[np.uint8]


class _MemoryFile:
    """A file in memory, mapped; one for each thread that reads pieces.

    Args:
        size: Its bytes.

    Raises:
        OSError: The system has none.
    """

    def __init__(self, size: int) -> None:
        self.pid = os.getpid()
        self.descriptor = os.memfd_create("memvid-pieces")
        try:
            os.ftruncate(self.descriptor, size)
            self.content: Bytes = np.frombuffer(mmap.mmap(self.descriptor, size), dtype=np.uint8)
        except BaseException:
            os.close(self.descriptor)
            raise

    def __del__(self) -> None:
        if hasattr(self, "content"):
            os.close(self.descriptor)


class _Scratch(threading.local):
    """The file in memory of this thread."""

    file: _MemoryFile | None = None

    def room(self, size: int) -> _MemoryFile:
        """At least so many bytes; a forked child gets its own, for it would write to its parent's."""
        file = self.file
        if file is None or len(file.content) < size or file.pid != os.getpid():
            self.file = None
            file = self.file = _MemoryFile(max(size, _ROOM))
        return file


_scratch = _Scratch()


class FilePieces:
    """Pieces of a file that is open.

    Args:
        descriptor: The open file; a copy that shares no lock with it is kept while this object lives.

    Raises:
        OSError: The system has no way to read many pieces at once.
    """

    def __init__(self, descriptor: int) -> None:
        if not hasattr(os, "memfd_create") or not hasattr(os, "pwritev"):
            raise OSError("no files in memory here")
        # Opened once more: a copy of the descriptor, as a map makes it, would hold the lock on the file, too.
        self._descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self._pages: Any = b""
        self._lock = threading.Lock()

    def read(self, offsets: NDArray[np.int64], size: int) -> Bytes | None:
        """Read ``size`` bytes from each offset.

        Args:
            offsets: (n,), n in 1..1024.
            size: At least 1.

        Returns:
            (n, size) uint8, valid until this thread's next call; None where the file ends before, or the system
            refuses.
        """
        count = len(offsets)
        try:
            pages = self._mapped(int(offsets.max()) + size)
            if pages is None:
                return None
            room = _scratch.room(count * size)
            view = memoryview(pages)
            pieces = [view[offset : offset + size] for offset in offsets.tolist()]
            done = os.pwritev(room.descriptor, pieces, 0)
        except (OSError, ValueError):
            return None
        return room.content[: count * size].reshape(count, size) if done == count * size else None

    def _mapped(self, size: int) -> Any:
        """A map of at least so many bytes; None if the file is shorter."""
        pages = self._pages
        if len(pages) >= size:
            return pages
        with self._lock:
            there = os.fstat(self._descriptor).st_size
            if there < size:
                return None
            if len(self._pages) < size:
                self._pages = mmap.mmap(self._descriptor, there, access=mmap.ACCESS_READ)
            return self._pages

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
