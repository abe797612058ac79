"""LastRows: rows that a thread read a moment ago."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LastRows"]

_MOST_ROWS: Final = 1024


class LastRows(threading.local):
    """What a thread read last: a search compares some hundred rows, and the best of them are asked for once more."""

    of: object = None
    rows = np.empty(0, dtype=np.int64)  # ascending
    order = np.empty(0, dtype=np.int64)
    raw = np.empty((0, 0), dtype=np.uint8)

    def take(self, of: object, rows: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return the bytes of some rows, if all are among those; they were compared with their checksums then."""
        if self.of is not of or not 0 < 2 * len(rows) <= len(self.rows):
            return None
        at = self.rows.searchsorted(rows)
        at[at == len(self.rows)] = 0
        return self.raw[self.order[at]] if (self.rows[at] == rows).all() else None

    def keep(self, of: object, rows: NDArray[np.int64], raw: NDArray[np.uint8]) -> None:
        """Keep the bytes of rows, if they are few."""
        if len(rows) <= _MOST_ROWS:
            order = rows.argsort()
            self.of, self.rows, self.order, self.raw = of, rows[order], order, raw
