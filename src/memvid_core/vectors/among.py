"""Among: what a search in one of several indexes knows of the others, to look no further than all need."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from memvid_core.vectors.exact import Reached, kth_best

__all__ = ["Among", "Found"]


class Found:
    """The best scores that each of several searches has found so far. Threads may share it."""

    __slots__ = ("_scores",)

    def __init__(self) -> None:
        self._scores: dict[int, NDArray[np.float32]] = {}

    def kth(self, number: int, scores: NDArray[np.float32], k: int) -> float:
        """Take note of what one has found; return the k-th best score of all, or the least where there are fewer.

        Args:
            number: Which search it is; what it found before is replaced, so a search may begin again.
            scores: (n,), n at least 1, of all rows that it has compared.
            k: How many rows are wanted of all.

        Example:
            >>> found = Found()
            >>> round(found.kth(0, np.array([0.5, 0.75, 0.25], np.float32), 2), 2)
            0.5
            >>> round(found.kth(1, np.array([1.0, 0.0], np.float32), 2), 2)
            0.75
        """
        self._scores[number] = np.partition(scores, len(scores) - k)[len(scores) - k :] if len(scores) > k else scores
        return kth_best(np.concatenate([*self._scores.values()]), k)


class Among:
    """One of several searches for the same rows.

    Attributes:
        number: Which one.
        share: Its part of the rows of all, in (0, 1].
        found: What those have found that estimate which rows to compare.
        exact: What those have found that compare all their rows. It is kept apart: what the others leave out for it
            would be one more share of what may be missed.
        best: The scores of the best rows that each has returned, by words or by vectors.
    """

    __slots__ = ("best", "exact", "found", "number", "share")

    def __init__(
        self, number: int, share: float, found: Found, best: Found | None = None, exact: Found | None = None
    ) -> None:
        self.number, self.share, self.found = number, share, found
        self.best = Found() if best is None else best
        self.exact = Found() if exact is None else exact

    def reached(self, k: int) -> Reached:
        """Return what tells a search that compares all its rows what ``k`` rows of all such searches reach."""
        return partial(self.exact.kth, self.number, k=k)
