"""FrameTable: find the frame of a row in memory."""

from __future__ import annotations

import threading
from bisect import bisect_right

from memvid_core.catalog.catalog import Catalog
from memvid_core.model import FrameLocation

__all__ = ["FrameTable"]


class FrameTable:
    """Find frames of one kind by row. Frames are read from the catalog once; new ones are added as it grows.

    Args:
        catalog: The catalog with the frame locations.
        kind: The kind of frame.
    """

    def __init__(self, catalog: Catalog, kind: int) -> None:
        self._catalog = catalog
        self._kind = kind
        self._lock = threading.Lock()
        self._frames: list[FrameLocation] = []
        self._first_rows: list[int] = []
        self._next_row = 0

    def find(self, row: int) -> FrameLocation | None:
        """Return the last frame whose first row is at most ``row``, or None."""
        if row >= self._next_row:
            self._extend(row)
        at = bisect_right(self._first_rows, row) - 1
        return self._frames[at] if at >= 0 else None

    def _extend(self, row: int) -> None:
        with self._lock:
            if row < self._next_row:
                return
            last = self._frames[-1].row if self._frames else -1
            frames = [*self._frames, *self._catalog.frames_after(self._kind, last)]
            if frames:
                self._first_rows = [frame.row for frame in frames]
                self._frames = frames
                self._next_row = frames[-1].row + frames[-1].items
