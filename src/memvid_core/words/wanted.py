"""What a search by words wants: the best rows, and how good they must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bar", "Wanted"]


class Bar:
    """A score that the best rows of several indexes are known to reach, which each search of one of them may raise.

    Threads may share it: at worst it stays lower than it could be.

    Attributes:
        score: The score.
    """

    __slots__ = ("score",)

    def __init__(self) -> None:
        self.score = 0.0

    def reach(self, score: float) -> float:
        """Take note that so many rows as are wanted have at least a score; return the highest one that is known."""
        self.score = max(self.score, score)
        return self.score


class Wanted(NamedTuple):
    """The best rows that a search wants, of those that may be returned.

    Attributes:
        k: Their number.
        kept: Returns which of some rows, (n,) int64, may be returned: (n,) bool.
        bar: What the best rows of all indexes reach, if this is one of several.
    """

    k: int
    kept: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
    bar: Bar
