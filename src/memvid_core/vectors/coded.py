"""Coded: the codes of the rows that one search looks at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.vectors.codes import BLOCK_ROWS, CodeStore
from memvid_core.vectors.exact import Rows
from memvid_core.vectors.quantizer import Codes, Levels, Quantizer

__all__ = ["Coded"]


class Coded(NamedTuple):
    """The codes of some rows.

    Attributes:
        fit: Under which they are kept in the folder; 0 where they are in RAM only.
        quantizer: What made them.
        rows: How many rows these are.
        codes: Where they are.
    """

    fit: int
    quantizer: Quantizer
    rows: int
    codes: CodeStore

    @property
    def signs(self) -> Codes:
        """(blocks, 4, 8192) uint64, of which a first search reads all from the folder.

        Raises:
            IndexStaleError: They are not what was written.
        """
        return self.codes.blocks(self.rows)

    def signs_of(self, rows: NDArray[np.integer[Any]]) -> Codes:
        """Return the signs of some rows, (m, 4) uint64."""
        block, place = np.divmod(rows, BLOCK_ROWS)
        return self.signs[block, :, place]

    def levels(self, rows: Rows) -> Levels:
        """Return the levels of some rows, (m, width) int8.

        Raises:
            IndexStaleError: They are not what was written.
        """
        return self.codes.levels(rows)
