"""ReadAhead: sequential reads of a file in large pieces, whatever the size of the requested parts."""

from __future__ import annotations

from typing import Final

from memvid_core.video.file import ByteFile

__all__ = ["ReadAhead"]

_FIRST: Final = 1 << 14  # bytes of the first piece: opening a file reads little of it
_MOST: Final = 1 << 20


class ReadAhead:
    """Buffer the bytes of a file during one walk over it, in pieces that double as the walk goes on.

    Buffered bytes are not read again: call :meth:`forget` before and after a walk.

    Args:
        file: The file.
    """

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._start = 0
        self._data = b""
        self._piece = _FIRST

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``, fewer only at the end of the file, and buffer the next ones."""
        at = offset - self._start
        if at < 0 or at + size > len(self._data):
            if size >= _MOST:
                return self._file.read(offset, size)
            self._start, self._data, at = offset, self._file.read(offset, max(size, self._piece)), 0
            self._piece = min(2 * self._piece, _MOST)
        return self._data[at : at + size]

    def peek(self, offset: int, size: int) -> bytes:
        """Return the same as :meth:`read` without moving the buffer."""
        at = offset - self._start
        if at < 0 or at + size > len(self._data):
            return self._file.read(offset, size)
        return self._data[at : at + size]

    def forget(self) -> None:
        """Discard the buffer."""
        self._start, self._data, self._piece = 0, b"", _FIRST
