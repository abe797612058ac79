"""InvertedFile: which centroids rows are nearest to, and the best rows of the lists that a query looks into."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.vectors import settings
from memvid_core.vectors.centroids import EACH, Centroids, Lists, means
from memvid_core.vectors.coded import Coded
from memvid_core.vectors.codes import RamCodes
from memvid_core.vectors.exact import Rows
from memvid_core.vectors.quantizer import BITS, Codes, Levels, Quantizer, Question
from memvid_core.vectors.scanning import scan, weigh

__all__ = ["DEPTHS", "TIES", "InvertedFile", "too_many"]

DEPTHS: Final = (10, 100)
"""How many of the nearest rows are to be found, to measure how many entries of lists that takes."""

TIES: Final = 8
"""If more than so many times the wanted rows are as good as the last of them, they are copies: lists do not help."""

_LIST_ROWS: Final = 16  # rows a list holds on average when it is made, were each in one
_MANY_LISTS: Final = 1 << 15  # more are made only so that a list holds no more than four times that
_TRAINING_ROWS: Final = 8  # rows a centroid is the mean of
_BATCH_ROWS: Final = 8192
_SEED: Final = 0x6D656D76
_LEAST_LISTS: Final = 16  # that a query looks into


class InvertedFile:
    """Which centroids each row is nearest to, and the rows of each centroid.

    Args:
        quantizer: Whose levels the centroids are in.
        centroids: (n, width) int8.
        fitted_rows: How many rows there were when they were fitted.

    Attributes:
        missed: What was measured: for a depth and a number of entries, at most which share of the nearest is missed.
        measured_rows: With how many rows; 0 if nothing was measured.
    """

    def __init__(self, quantizer: Quantizer, centroids: Levels, fitted_rows: int) -> None:
        self.quantizer = quantizer
        self.centroids = centroids
        self.fitted_rows = fitted_rows
        self.missed: dict[tuple[int, float], float] = {}
        self.measured_rows = 0
        self.known = 0  # rows that have lists
        self._codes = RamCodes(quantizer.width)
        self._codes.write(0, _signs(centroids), centroids)
        points = centroids * np.float32(quantizer.step)
        # A query's distance from a centroid, squared and halved, is its own part, and this, less the weighed levels.
        self._shift = np.vecdot(points, points) / 2 + points @ quantizer.offsets[: quantizer.width]
        self._order: NDArray[np.int32] | None = None  # of the entries of the first rows, as it was saved
        self._nearest = np.empty((0, EACH), dtype=np.int32)  # a row without a vector has the number after the last
        self._lists = self._no_lists()

    @classmethod
    def fit(cls, coded: Coded) -> InvertedFile:
        """Return centroids for rows of these codes: a sample of them, each replaced by the mean of its nearest rows."""
        rows = coded.rows
        count = max(min(rows // _LIST_ROWS, max(_MANY_LISTS, rows // (4 * _LIST_ROWS))), 1)
        random = np.random.default_rng(_SEED)
        some = coded.levels(np.sort(random.choice(rows, count, replace=False)))
        sample = coded.levels(np.sort(random.choice(rows, min(rows, count * _TRAINING_ROWS), replace=False)))
        moved = means(sample, Centroids(some).nearest(sample)[:, 0], some.astype(np.float32))
        return cls(coded.quantizer, np.rint(moved).astype(np.int8), rows)

    def _no_lists(self) -> Lists:
        none = np.empty((0, BITS // 64), dtype=np.uint64)
        lists = len(self.centroids) + 1
        starts, sizes = np.zeros(lists + 1, dtype=np.int64), np.zeros(lists, dtype=np.int64)
        return Lists(0, np.empty(0, dtype=np.int32), starts, sizes, none)

    @cached_property
    def _finder(self) -> Centroids:
        return Centroids(self.centroids)

    @property
    def nearest(self) -> NDArray[np.int32]:
        """(known, EACH) int32: the lists of each row."""
        return self._nearest[: self.known]

    @property
    def nbytes(self) -> int:
        """Bytes in RAM."""
        lists = self._lists
        signs = 0 if lists.signs is None else lists.signs.nbytes
        return self.centroids.nbytes + self._nearest.nbytes + lists.order.nbytes + signs

    @property
    def order(self) -> NDArray[np.int32]:
        """(EACH * n,) int32: the row of each entry, list after list, of the first n rows; to save."""
        return self._lists.order

    def take(self, nearest: NDArray[np.int32], order: NDArray[np.int32] | None) -> int:
        """Take over what :attr:`nearest` and :attr:`order` were when they were saved; return of how many entries.

        What cannot be an order is sorted again.
        """
        self._nearest, self.known = nearest, len(nearest)
        if order is not None and order.dtype == np.int32 and order.ndim == 1:
            rows, odd = divmod(len(order), EACH)
            if rows and not odd and rows <= self.known and order.min() >= 0 and order.max() < rows:
                self._order = order
                return len(order)
        return 0

    def know(self, measured: NDArray[np.float64] | None) -> None:
        """Take over what :meth:`known_missed` returned when it was saved; anything else is measured again."""
        if measured is not None and measured.shape[1:] == (3,) and len(measured):
            (_, rows, _), *points = measured.tolist()
            if 1 <= rows <= self.known and np.isfinite(measured).all() and (measured[1:, :2] > 0).all():
                self.measured_rows = int(rows)
                self.missed = {(int(k), entries): missed for k, entries, missed in points}

    def known_missed(self) -> NDArray[np.float64]:
        """(1 + n, 3): with how many rows it was measured, and for n depths and numbers of entries the share missed."""
        points = [(k, entries, missed) for (k, entries), missed in self.missed.items()]
        return np.array([(0, self.measured_rows, 0), *points], dtype=np.float64)

    def forget(self, first_row: int) -> None:
        """Forget the rows from ``first_row`` on, which are written again."""
        self.known = min(self.known, first_row)
        if self._order is not None and len(self._order) > EACH * self.known:
            self._order = None
        if self._lists.rows > self.known:
            self._lists = self._no_lists()

    def grow(self, coded: Coded) -> None:
        """Give the rows that have none their lists."""
        rows = coded.rows
        if self.known < rows and (rows > len(self._nearest) or not self._nearest.flags.writeable):  # or as it was saved
            longer = np.empty((max(rows, 2 * self.known), EACH), dtype=np.int32)
            longer[: self.known] = self.nearest
            self._nearest = longer
        for start in range(self.known, rows, _BATCH_ROWS):
            some = coded.levels(np.arange(start, min(start + _BATCH_ROWS, rows)))
            nearest = self._nearest[start : start + len(some)]
            nearest[:] = self._finder.nearest(some)
            nearest[(some == self._without).all(axis=1)] = len(self.centroids)
            self.known = start + len(some)
        keeps = coded.codes.keeps_levels  # else signs are looked up by row, too
        signs = coded.codes.blocks(max(rows, self.known)) if keeps else None
        if self._order is not None and not self._lists.rows:
            saved, self._order = self._order, None
            self._lists = Lists.of(self.nearest[: len(saved) // EACH], len(self.centroids), signs, saved)
        listed = self._lists.rows
        if self.known - listed > max(settings.DEFAULTS.unlisted_rows, listed >> 5):
            self._lists = Lists.of(self.nearest, len(self.centroids), signs)

    @cached_property
    def _without(self) -> Levels:
        """The levels of a row without a vector."""
        return self.quantizer.encode(np.zeros((1, self.quantizer.directions.shape[1]), dtype=np.float32))[1]

    def look(
        self, question: Question, entries: float, picked: int, coded: Coded, mask: NDArray[np.bool_] | None
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Return the best rows by their signs in the nearest lists, ascending, and their weighed levels.

        Args:
            question: The query.
            entries: How many entries of lists are looked at.
            picked: How many of them are weighed.
            coded: The codes of all rows that there are.
            mask: Which of them may be found; None for all.
        """
        lists, rows = self._lists, coded.rows
        asked = self._nearest_lists(question, entries)
        starts = lists.starts[asked]
        sizes = lists.sizes[asked]
        ends = np.cumsum(sizes)
        at = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
        found = lists.order[at]
        if mask is not None or rows < lists.rows:
            allowed = found < rows if mask is None else _allowed(mask, found)
            at, found = at[allowed], found[allowed]
        if len(found) > EACH * picked:
            signs = coded.signs_of(found) if lists.signs is None else lists.signs.take(at, axis=0)
            differing = np.bitwise_count(signs ^ question.signs)
            distances = differing.view(np.uint32)[:, 0] * np.uint32(0x01010101) >> np.uint32(24)  # sums of four bytes
            within = np.bincount(distances, minlength=BITS).cumsum()
            found = found[distances <= np.searchsorted(within, EACH * picked)]
            found = found if len(found) <= TIES * EACH * picked else found[:0]
        if lists.rows < rows:
            wanted = np.zeros(len(self.centroids) + 1, dtype=np.bool_)
            wanted[asked] = True
            newest = np.flatnonzero(wanted[self._nearest[lists.rows : rows]].any(axis=1)) + lists.rows
            found = np.concatenate((found, newest if mask is None else newest[_allowed(mask, newest)]))
        near = _once(found)
        return near, weigh(coded.levels, near, question.weights)

    def _nearest_lists(self, question: Question, entries: float) -> Rows:
        """Return the numbers of the centroids nearest to a query, whose lists have so many entries together.

        None where the least number of lists has too many, as among copies of one vector, or rows unlike those that the
        centroids were fitted to.
        """
        count, sizes = len(self.centroids), self._lists.sizes
        most = math.ceil(min(entries * count / max(len(self._lists.order), 1), count))
        distances = scan(self._codes.blocks(count), question.signs, count)
        stride = max(1, count >> 13)
        within = np.bincount(distances[::stride]).cumsum() * stride
        pool = min(settings.DEFAULTS.pool * most, within[-1])
        near = np.flatnonzero(distances <= np.searchsorted(within, pool))
        apart = self._shift[near] - weigh(self._codes.levels, near, question.weights)
        if EACH * most < len(near):
            first = np.argpartition(apart, EACH * most)[: EACH * most]
            near, apart = near[first], apart[first]
        near = near[np.argsort(apart)]
        filled = np.cumsum(sizes[near])
        count = max(int(np.searchsorted(filled, min(entries, filled[-1]))) + 1, min(_LEAST_LISTS, len(near)))
        return near[:count] if not too_many(float(filled[count - 1]), self.known) else near[:0]


def _allowed(mask: NDArray[np.bool_], rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows a mask lets through; those after its end are hidden."""
    inside = rows < len(mask)
    inside[inside] = mask[rows[inside]]
    return inside


def _once(rows: NDArray[np.int32]) -> Rows:
    """Return rows ascending, each once: np.unique takes five times as long."""
    ordered = np.sort(rows)
    first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first].astype(np.int64)


def _signs(levels: Levels) -> Codes:
    """(n, 4) uint64: which levels are above 0."""
    bits = np.zeros((len(levels), BITS), dtype=np.bool_)
    np.greater(levels, 0, out=bits[:, : levels.shape[1]])
    return np.packbits(bits, axis=1).view(np.uint64)


def too_many(entries: float, passing: int) -> bool:
    """Return whether a scan of all rows is as good as lists, where so many pass a filter: each needs more entries."""
    return entries * settings.DEFAULTS.scanned > passing
