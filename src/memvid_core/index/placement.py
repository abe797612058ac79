"""Placement: which frame a row lies in, answered from arrays."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from memvid_core.index.catalog import Catalog, FrameRow

__all__ = ["Placement"]


class Placement:
    """The frames of one kind by their first rows, read from the catalog once and extended as it grows.

    Args:
        catalog: Where the places are.
        kind: The kind of frame.
    """

    def __init__(self, catalog: Catalog, kind: int) -> None:
        self._catalog = catalog
        self._kind = kind
        self._lock = threading.Lock()
        self._table: NDArray[np.int64] = np.empty((0, len(FrameRow._fields)), np.int64)
        self._next_row = 0

    def find(self, row: int) -> FrameRow | None:
        """The last frame whose first row is at most ``row``."""
        if row >= self._next_row:
            self._extend(row)
        table = self._table
        at = int(np.searchsorted(table[:, _ROW], row, side="right")) - 1
        return FrameRow(*table[at].tolist()) if at >= 0 else None

    def _extend(self, row: int) -> None:
        with self._lock:
            if row < self._next_row:
                return
            last = int(self._table[-1, _ROW]) if len(self._table) else -1
            new = np.array(self._catalog.frames_after(self._kind, last), np.int64).reshape(-1, self._table.shape[1])
            self._table = np.concatenate((self._table, new))
            if len(self._table):
                self._next_row = int(self._table[-1, _ROW] + self._table[-1, _ITEMS])


_ROW = FrameRow._fields.index("row")
_ITEMS = FrameRow._fields.index("items")
