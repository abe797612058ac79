"""FrameTable: find the frame of a row in memory."""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import Final

from memvid_core.catalog.catalog import Catalog
from memvid_core.model import FrameLocation

__all__ = ["FrameTable"]

_FEW_COMMITS: Final = 32  # that are looked up one by one before all frames are read


class FrameTable:
    """Find frames of one kind by row. The frames of the first few commits that are asked for are read alone.

    After that all frames are read from the catalog, once, and new ones are added as it grows.

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
        self._few: list[tuple[list[int], list[FrameLocation]]] = []

    def find(self, row: int) -> FrameLocation | None:
        """Return the last frame whose first row is at most ``row``, or None."""
        if row >= self._next_row:
            alone = None if self._frames else self._alone(row)
            if alone is not None:
                return alone
            self._extend(row)
        at = bisect_right(self._first_rows, row) - 1
        return self._frames[at] if at >= 0 else None

    def _alone(self, row: int) -> FrameLocation | None:
        """Return the frame with a row, if its commit is among the few that are looked up."""
        for first_rows, frames in self._few:
            if first_rows[0] <= row < frames[-1].row + frames[-1].items:
                return frames[bisect_right(first_rows, row) - 1]
        if len(self._few) >= _FEW_COMMITS:
            return None
        found = self._catalog.frames_with(self._kind, row)
        if not found:
            return None
        first_rows = [frame.row for frame in found]
        self._few = [*self._few, (first_rows, found)]
        return found[bisect_right(first_rows, row) - 1]

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
