"""Centroids: points among the levels of rows, which of them each row is nearest to, and the rows of each."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.system.threads import one_native_thread
from memvid_core.vectors.matrix import Matrix
from memvid_core.vectors.quantizer import Codes, Levels

__all__ = ["EACH", "Centroids", "Lists", "means"]

EACH: Final = 2
"""The number of lists that a row is in: those of the centroids nearest to it."""

_GROUPS_ASKED: Final = 8  # groups of centroids that a row is compared with
_BATCH_ROWS: Final = 8192


def _nearest(rows: Matrix, points: Matrix) -> NDArray[np.int32]:
    """Return the point nearest to each row, by comparing all: (n,) int32."""
    found, halves = np.empty(len(rows), dtype=np.int32), np.vecdot(points, points) / 2
    for start in range(0, len(rows), _BATCH_ROWS):
        some = rows[start : start + _BATCH_ROWS]
        found[start : start + len(some)] = (some @ points.T - halves).argmax(axis=1)
    return found


def means(levels: Levels, nearest: NDArray[np.int32], points: Matrix) -> Matrix:
    """Return each point replaced by the mean of the rows nearest to it, if there are any."""
    order = np.argsort(nearest, kind="stable")
    numbers, firsts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
    moved = points.copy()
    moved[numbers] = np.add.reduceat(levels[order], firsts, axis=0, dtype=np.int32) / counts[:, None]
    return moved


class Centroids:
    """Points among the levels, and which of them each row is nearest to; they lie in groups, to compare with few.

    Args:
        levels: (n, width) int8, n >= 1.
    """

    def __init__(self, levels: Levels) -> None:
        with one_native_thread("blas"):
            self._group(levels)

    def _group(self, levels: Levels) -> None:
        self._points = levels.astype(np.float32)
        self._halves = np.vecdot(self._points, self._points) / 2
        count = len(levels)
        groups = self._points[np.linspace(0, count - 1, max(round(count**0.5), 1)).astype(np.int64)]
        self._groups = means(levels, _nearest(self._points, groups), groups)
        group = _nearest(self._points, self._groups)
        borders = np.cumsum(np.bincount(group, minlength=len(groups)))[:-1]
        self._members = np.split(np.argsort(group, kind="stable"), borders)

    def nearest(self, levels: Levels) -> NDArray[np.int32]:
        """Return the numbers of the centroids nearest to each row, (n, EACH), the nearest first.

        A few rows get others that are nearly as near. With fewer centroids, the number after the last one fills up.
        """
        found = np.full((len(levels), EACH), len(self._points), dtype=np.int32)
        for start in range(0, len(levels), _BATCH_ROWS):
            with one_native_thread("blas"):  # many small products
                self._find(levels[start : start + _BATCH_ROWS].astype(np.float32), found[start : start + _BATCH_ROWS])
        return found

    def _find(self, rows: Matrix, found: NDArray[np.int32]) -> None:
        asked = min(_GROUPS_ASKED, len(self._groups))
        inner = rows @ self._groups.T - np.vecdot(self._groups, self._groups) / 2
        groups = np.argpartition(-inner, asked - 1, axis=1)[:, :asked].reshape(-1)
        order = np.argsort(groups, kind="stable")
        borders = np.searchsorted(groups[order], np.arange(len(self._groups) + 1))
        scores = np.full((len(rows), EACH * asked), -np.inf, dtype=np.float32)  # the best of each group that is asked
        numbers = np.full(scores.shape, len(self._points), dtype=np.int32)
        for group, members in enumerate(self._members):
            asking = order[borders[group] : borders[group + 1]]
            if not len(asking) or not len(members):
                continue
            some, slots = np.divmod(asking, asked)
            inner = rows[some] @ self._points[members].T - self._halves[members]
            at = np.arange(len(some))
            for place in range(min(EACH, len(members))):
                first = inner.argmax(axis=1)
                scores[some, EACH * slots + place] = inner[at, first]
                numbers[some, EACH * slots + place] = members[first]
                inner[at, first] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :EACH]
        found[:, : best.shape[1]] = np.take_along_axis(numbers, best, axis=1)


class Lists(NamedTuple):
    """Rows list after list, and where each list begins; rows after them are found by their centroids.

    Attributes:
        rows: How many rows are in lists.
        order: (EACH * rows,) int32, the row of each entry.
        starts: (centroids + 2,) int64; the last list is of rows without a vector.
        sizes: (centroids + 1,) int64.
        signs: (EACH * rows, 4) uint64, the signs of each entry's row; None where they are looked up by row.
    """

    rows: int
    order: NDArray[np.int32]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    signs: Codes | None

    @classmethod
    def of(
        cls, nearest: NDArray[np.int32], centroids: int, signs: Codes | None, order: NDArray[np.int32] | None = None
    ) -> Lists:
        """Return the lists of rows.

        Args:
            nearest: (rows, EACH) int32, the centroids of each.
            centroids: How many there are.
            signs: (blocks, 4, 8192) uint64, of the rows; None if they need not lie in the order of the entries.
            order: The order of the entries, if it is known.
        """
        starts = np.zeros(centroids + 2, dtype=np.int64)
        flat = nearest.reshape(-1)
        sizes = np.bincount(flat, minlength=centroids + 1)
        np.cumsum(sizes, out=starts[1:])
        if order is None:
            order = (np.argsort(flat, kind="stable") // EACH).astype(np.int32)
        if signs is not None:
            signs = np.ascontiguousarray(signs.transpose(0, 2, 1)).reshape(-1, signs.shape[1]).take(order, axis=0)
        return cls(len(nearest), order, starts, sizes, signs)
