"""Exact search by a metric other than cosine: the distance of every candidate row, in pieces that fit the caches."""

from __future__ import annotations

import threading
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.model import Metric
from memvid_core.vectors import settings
from memvid_core.vectors.exact import ExactSearch, Rows, compare
from memvid_core.vectors.matrix import Matrix, RowStore
from memvid_core.vectors.metrics import distances

__all__ = ["DistanceSearch"]

_SLACK: Final = 1e-4  # share by which a float32 distance may be off
_TINY: Final = 1e-15  # distances below are not told apart: their squares leave float32's range
_LANES: Final = 64


class _Scratch(threading.local):
    """The differences of one piece, kept by each thread."""

    def __init__(self) -> None:
        self.apart = np.empty(0, dtype=np.float32)


_scratch = _Scratch()


def _measured(metric: Metric, vectors: Matrix, query: Matrix, *, out: NDArray[np.float32]) -> None:
    """Write the distances of vectors (n, d) from a query (d,) to ``out`` (n,)."""
    step = max(1, settings.DEFAULTS.distance_floats // vectors.shape[1])
    if _scratch.apart.size < step * vectors.shape[1]:
        _scratch.apart = np.empty(step * vectors.shape[1], dtype=np.float32)
    apart = _scratch.apart[: step * vectors.shape[1]].reshape(step, -1)
    for start in range(0, len(vectors), step):
        some = vectors[start : start + step]
        out[start : start + step] = distances(metric, query, some, apart[: len(some)])


def _near(found: NDArray[np.float32], k: int) -> Rows:
    """Return positions of all distances that may belong to the least k, given how far each may be off."""
    if k >= len(found):
        return np.arange(len(found), dtype=np.int64)
    columns = len(found) // _LANES
    near: Rows | None = None
    if columns > k:  # the k-th least of the columns' minima is at least the k-th of all, and much sooner found
        near = np.flatnonzero(found <= _limit(found[: columns * _LANES].reshape(_LANES, columns).min(axis=0), k))
        found = found[near]
    places = np.flatnonzero(found <= _limit(found, k))
    return places if near is None else near[places]


def _limit(found: NDArray[np.float32], k: int) -> float:
    kth = float(np.partition(found, k - 1)[k - 1])
    return kth + _SLACK * kth + _TINY


class DistanceSearch(ExactSearch):
    """The distance of every row; small stores keep a float32 copy, large ones are read in blocks.

    Args:
        store: Rows as they were given, not of length 1.
        metric: ``"euclidean"``, ``"manhattan"`` or ``"chebyshev"``.
    """

    def __init__(self, store: RowStore, metric: Metric) -> None:
        super().__init__(store)
        self._measure = partial(_measured, metric)

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return at least the nearest k of each query; exact."""
        copy = self.copy(rows)
        passing = None if mask is None else np.flatnonzero(mask)
        if copy is None:
            self._store.check(rows)
        return [self._candidates(query, k, rows, passing, copy) for query in queries]

    def _candidates(self, query: Matrix, k: int, rows: int, passing: Rows | None, copy: Matrix | None) -> Rows:
        if passing is None:
            return _near(compare(query, rows, self._store, copy, self._measure), k)
        if 2 * len(passing) > rows:  # reading on is cheaper than picking
            return passing[_near(compare(query, rows, self._store, copy, self._measure)[passing], k)]
        return passing[_near(compare(query, passing, self._store, copy, self._measure), k)]
