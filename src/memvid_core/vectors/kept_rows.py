"""KeptRows: rows of the video that were read and compared with their checksums, kept in RAM."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import MemvidError, OutOfMemoryError
from memvid_core.system.forks import free_in_forks
from memvid_core.vectors import settings

__all__ = ["KeptRows", "lazy_bytes"]

_AHEAD_AFTER: Final = 4  # searches: a process may search only once
_AHEAD_BYTES: Final = 1 << 22  # read ahead by each later search, so that all rows are in RAM after some

_Bytes = NDArray[np.uint8]

_counted: WeakSet[KeptRows] = WeakSet()  # those of this process that are in use
_refused: WeakSet[object] = WeakSet()  # who searches rows for which there is no room
_counting = threading.RLock()
free_in_forks(_counting)


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
        self._searches = 0
        self._ahead = 0  # frames below this were read ahead
        self._whole = False  # all rows are kept
        self._raw = lazy_bytes(count * row_bytes).reshape(count, row_bytes)
        self._there = np.zeros(count, dtype=np.bool_)
        if before is not None:
            rows = np.flatnonzero(before._there[:count])
            self._raw[rows] = before._raw[rows]
            self._there[rows] = True
            self._searches, self._ahead = before._searches, before._ahead

    @classmethod
    def if_room(cls, count: int, row_bytes: int, before: KeptRows | None, searcher: object) -> KeptRows | None:
        """Return room for the rows of a video; None if those of all videos in this process would be too many.

        Args:
            count: As for the class, like the other arguments.
            row_bytes: Bytes per row.
            before: The rows that the new ones replace.
            searcher: Who asks. As long as there is one without room, nothing is read ahead for the others: of a library
                of shards, some would be kept, and to read them takes longer than it saves.
        """
        with _counting:
            others = sum(kept._raw.nbytes for kept in _counted if kept is not before)
            if others + count * row_bytes > settings.DEFAULTS.kept_bytes:
                _refused.add(searcher)
                return None
            _refused.discard(searcher)
            made = cls(count, row_bytes, before)
            _counted.add(made)
            return made

    @staticmethod
    def leave(searcher: object) -> None:
        """Take note that a searcher needs no room any more."""
        with _counting:
            _refused.discard(searcher)

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
        self._searches += 1
        if not self._whole:
            missing = rows[~self._there[rows]]
            if len(missing):
                raw = read(missing)
                check(raw, missing)
                self._raw[missing] = raw
                self._there[missing] = True
        return self._raw.take(rows, axis=0)

    def read_ahead(self, first: NDArray[np.int64], items: NDArray[np.int64], read: Callable[[int], _Bytes]) -> None:
        """Read some of the frames that nobody asked for yet, after some searches.

        A damaged frame is left to whoever asks for its rows.

        Args:
            first: (f,) int64, the first row of each frame.
            items: (f,) int64, how many rows it has.
            read: Returns the rows of one frame, or raises if they are not what was written.
        """
        if self._whole or self._searches <= _AHEAD_AFTER or _refused:
            return
        size = 0
        while size < _AHEAD_BYTES and self._ahead < len(first):
            at, self._ahead = self._ahead, self._ahead + 1
            rows = slice(int(first[at]), int(first[at] + items[at]))
            if not self._there[rows].all():
                with suppress(MemvidError):
                    self._raw[rows] = read(at)
                    self._there[rows] = True
                size += int(items[at]) * self._raw.shape[1]
        if self._ahead >= len(first):
            self._whole = bool(self._there.all())


def lazy_bytes(size: int) -> _Bytes:
    """Return (size,) uint8 of zeros; memory is used by pages of some kilobytes, when they are written.

    Raises:
        OutOfMemoryError: The process may not have so much memory.
    """
    try:
        pages = mmap.mmap(-1, max(size, 1))
    except OSError as exc:
        raise OutOfMemoryError(f"{size} bytes for rows of the vector index do not fit into memory") from exc
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # rows lie far apart: pages of 2 MiB would all be used after a few searches
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype=np.uint8)[:size]
