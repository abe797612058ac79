"""A search that needs no codes, in a folder where other processes search by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memvid_core.vectors.exact import Rows, SearchStrategy
from memvid_core.vectors.matrix import Matrix
from memvid_core.vectors.quantized import QuantizedSearch

__all__ = ["CodesForOthers"]


class CodesForOthers:
    """Answers by one search, and writes the codes of new rows for those that search by another.

    Processes choose their index each for itself, and share a folder. Rows that were written without codes, or over rows
    whose codes stay, would be missed by whoever searches by codes. So a writer writes them, whatever it searches by. A
    process that only reads does not touch them.

    Args:
        search: What answers.
        codes: What is kept up to date.
    """

    def __init__(self, search: SearchStrategy, codes: QuantizedSearch) -> None:
        self.name = search.name
        self._search = search
        self._codes = codes
        self._pending: tuple[int, int] | None = None  # the sync that the codes have yet to follow

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Take in new rows, and write their codes."""
        self._search.extend(first_row, unit)
        self._follow()
        self._codes.extend(first_row, unit)

    def sync(self, rows: int, kept: int) -> None:
        """Follow other writers; the codes do so when they are written next."""
        self._search.sync(rows, kept)
        self._pending = rows, kept if self._pending is None else min(kept, self._pending[1])

    def _follow(self) -> None:
        if self._pending is not None:
            self._codes.sync(*self._pending)
            self._pending = None

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return rows that hold the best k of each query, as the search finds them."""
        return self._search.candidates(queries, k, rows, mask)

    def read(self, rows: Rows) -> Matrix:
        """Return some rows as the store has them."""
        return self._search.read(rows)

    def flush(self) -> None:
        """Force what was written to the disk."""
        self._search.flush()
        if self._pending is None:
            self._codes.flush()

    def close(self) -> None:
        """Close both."""
        self._search.close()
        self._codes.close()

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in the folder."""
        return self._search.nbytes + self._codes.nbytes
