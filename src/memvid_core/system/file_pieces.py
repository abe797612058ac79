"""FilePieces: read many short pieces of one file with one system call.

Reading distant rows through a memory map of the file is fastest, but a process that reads a page which another program
has truncated is killed (SIGBUS). The operating system therefore copies the pieces from the map to an in-memory file: if
the file ends before a piece does, the call fails (EFAULT) and the process continues. Linux has in-memory files; on
other systems, and if the call fails, the caller reads piece by piece.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PIECES", "FilePieces"]

MOST_PIECES: Final = 1024  # per call: the limit of Linux (IOV_MAX)
_ROOM: Final = 256 << 10  # the minimum size of the in-memory file, in bytes

Bytes = NDArray[np.uint8]


class _MemoryFile:
    """Create and map an in-memory file; each thread that reads pieces has one.

    Args:
        size: The size in bytes.

    Raises:
        OSError: The system does not support in-memory files.
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
    """Hold the in-memory file of each thread."""

    file: _MemoryFile | None = None

    def room(self, size: int) -> _MemoryFile:
        """Return a file of at least ``size`` bytes; a forked child gets its own and does not write to its parent's."""
        file = self.file
        if file is None or len(file.content) < size or file.pid != os.getpid():
            self.file = None
            file = self.file = _MemoryFile(max(size, _ROOM))
        return file


_scratch = _Scratch()


class FilePieces:
    """Read pieces of an open file.

    Args:
        descriptor: The open file. The file is opened again, so that this object does not hold its lock.

    Raises:
        OSError: The system cannot read many pieces at once.
    """

    def __init__(self, descriptor: int) -> None:
        if not hasattr(os, "memfd_create") or not hasattr(os, "pwritev"):
            raise OSError("this system does not support in-memory files")
        # Opened again: a copy of the descriptor, such as a map keeps, would also hold the lock on the file.
        self._descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self._pages: Any = b""
        self._lock = threading.Lock()

    def read(self, offsets: NDArray[np.int64], size: int) -> Bytes | None:
        """Read ``size`` bytes from each offset.

        Args:
            offsets: (n,), n in 1..1024.
            size: At least 1.

        Returns:
            (n, size) uint8, valid until this thread's next call; None if the file ends earlier or the system call
            fails.
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
        """Return a map of at least ``size`` bytes, or None if the file is shorter."""
        pages = self._pages
        if len(pages) >= size:
            return pages
        with self._lock:
            length = os.fstat(self._descriptor).st_size
            if length < size:
                return None
            if len(self._pages) < size:
                self._pages = mmap.mmap(self._descriptor, length, access=mmap.ACCESS_READ)
            return self._pages

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
