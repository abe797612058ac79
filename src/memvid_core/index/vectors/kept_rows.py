"""KeptRows: rows of the video that were read and compared with their checksums, kept in RAM."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeptRows"]

_Bytes = NDArray[np.uint8]


class KeptRows:
    """Rows in RAM, each from the moment it was first read.

    The matrix is allocated as a whole, but the system gives memory only to pages that hold a row that was read. A
    committed row never changes, so a kept row is right whatever happens to the file. Threads may share it.

    Args:
        count: The number of rows.
        row_bytes: Bytes per row.
        before: Kept rows of the same video when it had fewer rows.
    """

    def __init__(self, count: int, row_bytes: int, before: KeptRows | None = None) -> None:
        self.count = count
        self._raw = _lazy(count * row_bytes).reshape(count, row_bytes)
        self._there = np.zeros(count, dtype=np.bool_)
        if before is not None:
            rows = np.flatnonzero(before._there[:count])
            self._raw[rows] = before._raw[rows]
            self._there[rows] = True

    def take(
        self,
        rows: NDArray[np.int64],
        read: Callable[[NDArray[np.int64]], _Bytes],
        check: Callable[[_Bytes, NDArray[np.int64]], None],
    ) -> _Bytes:
        """Return some rows, (m, row_bytes) uint8, in the order asked.

        Args:
            rows: (m,) int64, row numbers.
            read: Reads those that are not kept yet.
            check: Raises if a row that was read is not what was written; nothing is kept then.
        """
        missing = rows[~self._there[rows]]
        if len(missing):
            raw = read(missing)
            check(raw, missing)
            self._raw[missing] = raw
            self._there[missing] = True
        return self._raw[rows]


def _lazy(size: int) -> _Bytes:
    """Return (size,) uint8 of zeros; memory is used by pages of some kilobytes, when they are written."""
    pages = mmap.mmap(-1, max(size, 1))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # rows lie far apart: pages of 2 MiB would all be used after a few searches
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype=np.uint8)[:size]
