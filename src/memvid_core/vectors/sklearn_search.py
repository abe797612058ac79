"""Search by scikit-learn's ``NearestNeighbors``, for every metric of a memory.

scikit-learn chooses the algorithm (``algorithm="auto"``): a k-d tree for vectors of few components and a metric that a
tree can use, brute force otherwise. It is imported at the first search.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.model import Metric
from memvid_core.system.threads import one_native_thread
from memvid_core.vectors.exact import Rows
from memvid_core.vectors.matrix import Matrix, RowStore

__all__ = ["SklearnSearch"]

_TIES: Final = 8  # neighbors asked for beyond k, to see whether rows tie with the k-th
_SLACK: Final = 1e-5  # how far its distances may be off, as a share of the numbers they are made of
_FEW_NUMBERS: Final = 1 << 22  # that are compared in one thread: on a busy machine several wait for each other
_FEW_HIDDEN: Final = 256  # hidden rows that are asked for and left out, instead of fitting once more without them


class _Fitted(NamedTuple):
    """A model, the rows that it was fitted to, and how far its distances may be off."""

    model: Any
    rows: Rows
    slack: float


class SklearnSearch:
    """``sklearn.neighbors.NearestNeighbors``, fitted to all rows, and to the rows that pass the last filter.

    A fitted model holds its rows in memory as float32.

    Args:
        store: The rows.
        metric: How they are compared.
    """

    name = "sklearn"

    def __init__(self, store: RowStore, metric: Metric = "cosine") -> None:
        self._store = store
        self._metric = metric
        self._lock = threading.Lock()
        self._all: _Fitted | None = None
        self._filtered: _Fitted | None = None

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Forget models of rows that were written again."""
        self.sync(first_row, first_row)

    def sync(self, rows: int, kept: int) -> None:
        """Forget models of rows that another process may have written."""
        with self._lock:
            if self._all is not None and len(self._all.rows) > kept:
                self._all = None
            if self._filtered is not None and len(self._filtered.rows) and self._filtered.rows[-1] >= kept:
                self._filtered = None

    def _fit(self, rows: Rows, *, every: bool) -> _Fitted:
        from sklearn.neighbors import NearestNeighbors

        if every:
            self._store.check(len(rows))
        matrix = self._store.block(0, len(rows)) if every else self._store.read(rows)
        model = NearestNeighbors(algorithm="auto", metric=self._metric).fit(matrix)
        largest = 1.0 if self._metric == "cosine" else float(np.abs(matrix).max(initial=0.0))
        return _Fitted(model, rows, _SLACK * largest)

    def _fitted(self, rows: int, mask: NDArray[np.bool_] | None) -> _Fitted:
        """Return the model to query: of all rows if few of them are hidden, else of those that pass."""
        hidden = 0 if mask is None else rows - int(np.count_nonzero(mask))
        with self._lock:
            if mask is None or hidden <= _FEW_HIDDEN:
                if self._all is None or len(self._all.rows) != rows:
                    self._all = None  # before the next is made: both may not fit into memory
                    self._all = self._fit(np.arange(rows, dtype=np.int64), every=True)
                return self._all
            passing = np.flatnonzero(mask)
            if self._filtered is None or not np.array_equal(self._filtered.rows, passing):
                self._filtered = None
                self._filtered = self._fit(passing, every=False)
            return self._filtered

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return the best k of each query and all that tie with the last of them."""
        passing = rows if mask is None else int(np.count_nonzero(mask))
        if k >= passing:
            return [np.arange(rows, dtype=np.int64) if mask is None else np.flatnonzero(mask)] * len(queries)
        fitted = self._fitted(rows, mask)
        count = len(fitted.rows)
        wanted = k + (count - passing)  # so many are hidden from the query, and not from the model
        asked = min(wanted + _TIES, count)
        few = count * queries.size <= _FEW_NUMBERS
        with one_native_thread("openmp") if few else nullcontext():
            return self._nearest(fitted, queries, wanted, asked, mask)

    def _nearest(
        self, fitted: _Fitted, queries: Matrix, wanted: int, asked: int, mask: NDArray[np.bool_] | None
    ) -> list[Rows]:
        count = len(fitted.rows)
        apart, near = fitted.model.kneighbors(queries, n_neighbors=asked)
        found = []
        for query, far, places in zip(queries, apart, near, strict=True):
            within = _limit(far, wanted, fitted.slack)
            if asked < count and far[-1] <= within:  # more rows may tie than were asked for
                (places,) = fitted.model.radius_neighbors(query[None], radius=within, return_distance=False)
            else:
                places = places[far <= within]
            some = np.sort(fitted.rows[places])
            found.append(some if mask is None else some[mask[some]])
        return found

    def read(self, rows: Rows) -> Matrix:
        """Return some rows as the store has them."""
        return self._store.read(rows)

    def flush(self) -> None:
        """Do nothing: a model is not saved."""

    def close(self) -> None:
        """Let go of the models."""
        with self._lock:
            self._all = self._filtered = None

    @property
    def nbytes(self) -> int:
        """Return 0: nothing is kept in the folder."""
        return 0


def _limit(apart: NDArray[Any], wanted: int, slack: float) -> float:
    """Return the distance within which all rows lie that may be among the nearest ``wanted``."""
    kth = float(apart[wanted - 1])
    return kth + _SLACK * kth + slack
