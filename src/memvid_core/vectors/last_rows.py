"""LastRows: rows that a thread read a moment ago."""

from __future__ import annotations

import threading
from collections.abc import Callable
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

    def read(
        self, of: object, rows: NDArray[np.int64], read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Return the bytes of some rows, (m, row bytes): those that are among these rows, and others as they are read.

        Args:
            of: What the rows are of; of anything else nothing is kept.
            rows: (m,) row numbers.
            read: Reads rows, and compares them with their checksums.
        """
        if self.of is not of or not len(self.rows):
            return self._kept(of, rows, read(rows))
        at = self.rows.searchsorted(rows)
        at[at == len(self.rows)] = 0
        known = self.rows[at] == rows
        count = int(np.count_nonzero(known))
        if not 0 < 2 * count <= len(self.rows):  # another search, which looks at the rows itself
            return self._kept(of, rows, read(rows))
        there: NDArray[np.uint8] = self.raw[self.order[at[known]]]
        if count == len(rows):
            return there
        missing = rows[~known]
        found = np.empty((len(rows), self.raw.shape[1]), dtype=np.uint8)
        found[known], found[~known] = there, read(missing)
        if len(self.rows) + len(missing) > _MOST_ROWS:  # those of earlier searches are among them
            return self._kept(of, rows, found)
        self._kept(of, np.concatenate((self.rows, missing)), np.concatenate((self.raw[self.order], found[~known])))
        return found

    def _kept(self, of: object, rows: NDArray[np.int64], raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Keep the bytes of rows, if they are few."""
        if len(rows) <= _MOST_ROWS:
            order = rows.argsort()
            self.of, self.rows, self.order, self.raw = of, rows[order], order, raw
        return raw
