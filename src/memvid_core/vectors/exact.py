"""Exact search: every candidate row is compared; and the ordering that all searches share.

A search *proposes* rows: at least every row that belongs to the best k. ``best`` then scores the proposals in
float64, row by row, so that equal vectors get equal scores and ties fall by row number, whichever search proposed
them and however the BLAS library splits its work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.system.shared_work import split_over_cores
from memvid_core.vectors import settings
from memvid_core.vectors.matrix import Matrix, RowStore, take

__all__ = [
    "ExactSearch",
    "Reached",
    "Rows",
    "SearchStrategy",
    "best",
    "exact_candidates",
    "kth_best",
    "near_best",
    "slack_of",
]

Rows = NDArray[np.int64]
Reached = Callable[[NDArray[np.float32]], float]
"""Takes note of the best scores of one of several indexes; returns the k-th best of all, or the least of fewer."""


class _Room(threading.local):
    """Memory of one thread for the rows of a piece: new memory for each would cost more than what is computed in it."""

    _wide = np.empty(0, dtype=np.float32)

    def rows(self, count: int, dimension: int) -> Matrix:
        """Return (count, dimension) float32, valid until the next call."""
        if self._wide.size < count * dimension:
            self._wide = np.empty(count * dimension, dtype=np.float32)
        return self._wide[: count * dimension].reshape(count, dimension)


_room = _Room()

SLACK: Final = 1e-5  # more than float32 sums of 4096 products of unit vectors can be off
_BLOCK_FLOATS: Final = 1 << 20
_MANY_PIECES: Final = 8  # from here on another thread pays
_PLAIN_FLOATS: Final = 1 << 21  # float32 rows of a piece: less is done sooner than another thread is awake
_LANES: Final = 64  # scores of which only the best is looked at first
_FEW_SHIFT: Final = 6  # one row in so many, as a power of two, is few
_SCORE_FLOATS: Final = 1 << 24  # scores of a batch held at once: 64 MB


class SearchStrategy(Protocol):
    """One way to find the nearest rows of a ``RowStore``."""

    name: str

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Take note of unit rows written to the store from ``first_row`` on."""

    def sync(self, rows: int, kept: int) -> None:
        """Go on with ``rows`` rows; take what another process made for those from ``kept`` on."""

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return, for each unit query, rows below ``rows`` that pass the mask and hold (nearly all of) the best k."""

    def read(self, rows: Rows) -> Matrix:
        """Return some rows, (m, d) float32, in the order asked, as the store has them."""

    def flush(self) -> None:
        """Make what was written durable."""

    def close(self) -> None:
        """Let go of files and memory."""

    @property
    def nbytes(self) -> int:
        """Bytes this search keeps in addition to the rows."""


def best(query: Matrix, vectors: Matrix, rows: Rows, k: int) -> tuple[Rows, NDArray[np.float32]]:
    """Order proposed rows by cosine, ties by row number, and keep k.

    Args:
        query: (d,) of unit length, or zero.
        vectors: (m, d) unit rows, as stored.
        rows: (m,) their numbers.
        k: How many to keep.

    Returns:
        Row numbers and float32 cosines in [-1, 1], best first; fewer than k when m is smaller.
    """
    if len(rows) > 4 * k:  # most are out of the question: float32 shows which
        near = near_best(np.vecdot(vectors, query), k, _slack(len(query)))
        vectors, rows = vectors[near], rows[near]
    wide = vectors.astype(np.float64)
    scores = np.vecdot(wide, query.astype(np.float64))
    # Rounding of the stored rows moves their length by up to 2**-11: divide it out, so that a vector finds itself at 1.
    lengths = np.sqrt(np.vecdot(wide, wide))
    scores /= np.where(lengths > 0.0, lengths, 1.0)
    # Rounded to float32 before sorting: what the caller sees as equal is ordered by row.
    rounded = np.clip(scores, -1.0, 1.0).astype(np.float32)
    order = np.lexsort((rows, -rounded))[:k]
    return rows[order], rounded[order]


def near_best(scores: NDArray[np.float32], k: int, slack: float = SLACK) -> Rows:
    """Return the positions of all scores that may belong to the best k if each may be off by ``slack / 2``."""
    if k >= len(scores):
        return np.arange(len(scores), dtype=np.int64)
    columns = len(scores) // _LANES
    if columns <= k:
        return np.flatnonzero(scores >= np.float32(kth_best(scores, k) - slack))
    # The k-th best of the columns' maxima is at most the k-th best of all, and much sooner found.
    maxima = scores[: columns * _LANES].reshape(_LANES, columns).max(axis=0)
    near = np.flatnonzero(scores >= np.float32(kth_best(maxima, k) - slack))
    some = scores[near]
    return near[some >= np.float32(kth_best(some, k) - slack)]


def kth_best(scores: NDArray[np.float32], k: int) -> float:
    """Return the k-th largest score, or the smallest where there are fewer."""
    at = max(len(scores) - k, 0)
    return float(np.partition(scores, at)[at])


def compare(
    query: Matrix, rows: Rows | int, store: RowStore, copy: Matrix | None = None, measure: Any = np.vecdot
) -> NDArray[np.float32]:
    """Compute dot products of one query with some rows, in pieces that fit the caches; many rows use all cores.

    One dot product a row (``np.vecdot``) rather than a BLAS matrix product: it is as fast, it does not wait for BLAS
    threads on a busy machine, and equal rows get equal scores wherever they stand.

    Args:
        query: (d,) float32.
        rows: (m,) row numbers to look at; a number m for the first m rows.
        store: Where the rows lie.
        copy: (n, d) float32, a copy of all rows looked at, where there is one in RAM.
        measure: What is computed instead of dot products: called with rows (n, d), the query, and ``out=`` (n,).

    Returns:
        (m,) float32.
    """
    every = isinstance(rows, int)
    count = rows if isinstance(rows, int) else len(rows)
    scores = np.empty(count, dtype=np.float32)
    as_it_is = every and (copy is not None or store.dtype == np.float32)  # nothing to copy: pieces only share the cores
    step = max(1, (_PLAIN_FLOATS if as_it_is else settings.DEFAULTS.piece_floats) // store.dimension)
    if every and copy is None:
        store.check(count)

    def work(first: int, last: int) -> None:
        for start in range(first * step, min(last * step, count), step):
            stop = min(start + step, count)
            measure(_piece(store, copy, rows, start, stop), query, out=scores[start:stop])

    pieces = -(-count // step)
    alone = not every and copy is None and store.one_by_one
    if pieces >= (2 if as_it_is else _MANY_PIECES) and not alone:
        split_over_cores(work, pieces)
    else:
        work(0, pieces)
    return scores


def _piece(store: RowStore, copy: Matrix | None, rows: Rows | int, start: int, stop: int) -> Matrix:
    """Return the ``start``-th to the ``stop``-th of some rows, or of all."""
    if isinstance(rows, int):
        return store.block(start, stop) if copy is None else copy[start:stop]
    some = rows[start:stop]
    if copy is not None:
        return take(copy, some)
    return store.read(some, None if store.dtype == np.float32 else _room.rows(len(some), store.dimension))


def exact_candidates(
    query: Matrix,
    k: int,
    rows: int,
    passing: Rows | None,
    store: RowStore,
    copy: Matrix | None = None,
    reached: Reached | None = None,
) -> Rows:
    """Compare every row; return at least the best k of the first ``rows`` rows that pass (None: of all), ascending.

    With ``reached``, rows are left out that are not among the best k of all indexes.
    """
    slack = slack_of(store)
    if passing is None:
        return _kept(compare(query, rows, store, copy), k, slack, reached)
    first, last = (0, rows) if copy is None or not len(passing) else (int(passing[0]), int(passing[-1]) + 1)
    if 2 * len(passing) > last - first:  # reading on is cheaper than picking
        scores = compare(query, last - first, store, None if copy is None else copy[first:last])
        some = scores if len(passing) == len(scores) else scores[passing - first]
        return passing[_kept(some, k, slack, reached)]
    return passing[_kept(compare(query, passing, store, copy), k, slack, reached)]


def _kept(scores: NDArray[np.float32], k: int, slack: float, reached: Reached | None) -> Rows:
    """Return the positions of the scores that may belong to the best k here, and of all that search together."""
    near = near_best(scores, k, slack)
    if reached is None or not len(near):
        return near
    some = scores[near]
    return near[some >= np.float32(reached(some) - slack)]


def slack_of(store: RowStore) -> float:
    """Return how far a raw dot product may be from the cosine: rounding to float16 changes the length of a row."""
    return _slack(store.dimension) if store.dtype == np.float16 else SLACK


def _slack(dimension: int) -> float:
    return max(SLACK, 2.0**-9 / float(np.sqrt(dimension)))


class ExactSearch:
    """One matrix-vector product over all rows; small stores keep a float32 copy, large ones are read in blocks.

    The first query of all rows makes no copy: a process that asks once would pay for it in vain.
    """

    name = "exact"

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._wide: Matrix = np.empty((0, store.dimension), dtype=np.float32)
        self._known = 0
        self._asked = False
        self._lock = threading.Lock()

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Discard the copies of the rows from ``first_row`` on, which are new."""
        with self._lock:
            self._known = min(self._known, first_row)

    def sync(self, rows: int, kept: int) -> None:
        """Discard the copies of rows that another process may have written."""
        with self._lock:
            self._known = min(self._known, kept)

    def copy(self, rows: int) -> Matrix | None:
        """Return the first ``rows`` rows, copied to RAM if they are few and there is memory for it."""
        store = self._store
        if not self._copies(rows):
            return None
        with self._lock:
            if self._known < rows:
                wide, known = self._wide, self._known
                if len(wide) < rows:
                    try:
                        wide = np.empty((max(rows, 2 * len(wide)), store.dimension), dtype=np.float32)
                    except MemoryError:  # rows are read in blocks instead
                        return None
                    wide[:known] = self._wide[:known]
                store.copy_to(wide[known:rows], known)
                self._wide, self._known = wide, rows
            return self._wide[:rows]

    def _copies(self, rows: int) -> bool:
        small = rows * self._store.dimension * 4 <= settings.DEFAULTS.copied_bytes
        return small and self._store.dtype != np.float32

    def _passing(self, query: Matrix, rows: int) -> NDArray[np.float32]:
        """Compare a query with all rows, each block of which is let go again."""
        scores = np.empty(rows, dtype=np.float32)
        step = max(1, settings.DEFAULTS.piece_floats // self._store.dimension)
        block = np.empty((min(step, rows), self._store.dimension), dtype=np.float32)
        for start in range(0, rows, step):
            part = block[: rows - start]
            self._store.copy_to(part, start)
            np.vecdot(part, query, out=scores[start : start + step])
        return scores

    def read(self, rows: Rows) -> Matrix:
        """Return some rows, from the copy if they are in it."""
        with self._lock:
            copy = self._wide[: self._known]
        if self._store.one_by_one or not len(rows) or int(rows.max()) >= len(copy):
            return self._store.read(rows)
        return take(copy, rows)

    def nearest(
        self, query: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None, reached: Reached | None = None
    ) -> Rows:
        """Return at least the best k of a query; with ``reached``, at least those of the best k of all indexes."""
        store = self._store
        if not self._asked and mask is None and self._copies(rows):
            self._asked = True
            return _kept(self._passing(query, rows), k, slack_of(store), reached)
        return exact_candidates(query, k, rows, *self._looked_at(rows, mask), reached)

    def _looked_at(self, rows: int, mask: NDArray[np.bool_] | None) -> tuple[Rows | None, RowStore, Matrix | None]:
        """Return the rows that pass, where they lie, and a copy of all rows, if there is one."""
        store, copy = self._store, self.copy(rows)
        passing = None if mask is None else np.flatnonzero(mask)
        count = rows if passing is None else len(passing)
        if copy is None and count > rows >> _FEW_SHIFT:  # one check of all is cheaper than one with every read
            store.check(rows)
        return passing, store, copy

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return at least the best k of each query; exact."""
        if len(queries) == 1:
            return [self.nearest(queries[0], k, rows, mask)]
        passing, store, copy = self._looked_at(rows, mask)
        count = rows if passing is None else len(passing)
        wanted = rows if passing is None else passing
        slack = slack_of(store)
        found: list[Rows] = []
        batch = max(1, _SCORE_FLOATS // max(count, 1))
        for first in range(0, len(queries), batch):
            part = queries[first : first + batch]
            scores = np.empty((len(part), count), dtype=np.float32)
            step = max(1, _BLOCK_FLOATS // store.dimension)
            for start in range(0, count, step):
                stop = min(start + step, count)
                np.matmul(part, _piece(store, copy, wanted, start, stop).T, out=scores[:, start:stop])
            near = [near_best(row, k, slack) for row in scores]
            found += near if passing is None else [passing[some] for some in near]
        return found

    def flush(self) -> None:
        """Do nothing: all of it is derived."""

    def close(self) -> None:
        """Let go of the copy."""
        self._wide, self._known = np.empty((0, self._store.dimension), dtype=np.float32), 0

    @property
    def nbytes(self) -> int:
        """Zero: it keeps only the rows."""
        return 0
