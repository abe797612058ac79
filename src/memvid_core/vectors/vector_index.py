"""VectorIndex: the nearest rows of a matrix that grows by commits, found by one of five searches.

The rows lie in one matrix (``rows``); a strategy proposes the rows that may belong to the best k (``exact``,
``sklearn_search``, ``quantized``, ``ivf``), and the index scores the proposals itself, so every strategy gives the same
scores and the same order.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import (
    ClosedError,
    DimensionError,
    IndexStaleError,
    InvalidInputError,
    QueryError,
    ReadOnlyError,
)
from memvid_core.model import FrameLocation, Index, IndexName, Ivf, Metric
from memvid_core.system.atomic_files import remove_all_left
from memvid_core.vectors import settings
from memvid_core.vectors.among import Among
from memvid_core.vectors.codes_for_others import CodesForOthers
from memvid_core.vectors.distance_search import DistanceSearch
from memvid_core.vectors.exact import ExactSearch, Rows, SearchStrategy, best
from memvid_core.vectors.ivf import IvfSearch
from memvid_core.vectors.matrix import FileRows, RamRows, RowStore, StoredDtype, normalized
from memvid_core.vectors.metrics import check_choice, nearest, raw
from memvid_core.vectors.quantized import QuantizedSearch
from memvid_core.vectors.row_totals import Derived, RowTotals
from memvid_core.vectors.sklearn_search import SklearnSearch
from memvid_core.vectors.video_rows import Pictures, VideoRows

__all__ = ["IndexStaleError", "VectorIndex"]

MAX_DIMENSION: Final = 65536
_NO_ROW: Final = -1
_NO_COSINE: Final = -1.0


class VectorIndex:
    """Top-k rows by cosine, or by another metric, over a matrix that grows at its end.

    One process writes; any number read. What a writer put beyond the rows it told its catalog of is invisible to
    readers, and a crash leaves nothing that a later ``extend`` does not overwrite.

    Args:
        dimension: Components of every vector, from 1.
        folder: Where the files go; None keeps all in RAM.
        dtype: How rows are stored: "float16" or "float32".
        writable: Whether ``extend`` may be called; a reader never creates or changes a file.
        strategy: "auto" (exact while rows are few, then quantized), or one by name: "exact", "sklearn"
            (``sklearn.neighbors.NearestNeighbors``), "quantized", "ivf" (lists around centroids), or ``Ivf``.
        metric: "cosine", or a distance: "euclidean", "manhattan", "chebyshev". Rows are kept with length 1 for cosine,
            and as given for a distance.
        pictures: The video that the same rows are stored in, from which a large index reads them, for cosine only; it
            stays open for as long as this index.

    Raises:
        InvalidInputError: A dimension, dtype, strategy or metric that does not exist, or a metric other than cosine
            with "quantized" or "ivf".
        StorageError: The folder cannot be opened.

    Example:
        >>> index = VectorIndex(2)
        >>> index.extend(0, np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=np.float32))
        >>> rows, scores = index.search(np.array([0.0, 1.0], dtype=np.float32), k=2)
        >>> rows.tolist(), round(float(scores[1]), 3)
        ([1, 2], 0.707)
    """

    def __init__(
        self,
        dimension: int,
        *,
        folder: Path | None = None,
        dtype: StoredDtype = "float16",
        writable: bool = True,
        strategy: Index = "auto",
        metric: Metric = "cosine",
        pictures: Pictures | None = None,
    ) -> None:
        if not 1 <= dimension <= MAX_DIMENSION:
            raise InvalidInputError(f"dimension {dimension} is not in 1..{MAX_DIMENSION}")
        if dtype not in get_args(StoredDtype):
            raise InvalidInputError(f"dtype {dtype!r} is none of {get_args(StoredDtype)}")
        check_choice(strategy, metric)
        self.dimension = dimension
        self.strategy: IndexName = "ivf" if isinstance(strategy, Ivf) else strategy
        self.metric: Metric = metric
        by_cosine = metric == "cosine"
        self._prepared = normalized if by_cosine else raw
        self._ordered = best if by_cosine else partial(nearest, metric)
        self._no_score = _NO_COSINE if by_cosine else np.inf
        self._writable = writable
        self._folder = folder
        self._alone = folder is None  # nobody else can write these rows
        self._lock = threading.RLock()
        self._store: RowStore
        if folder is None:
            self._store = RamRows(dimension, dtype)
        elif pictures is None or not by_cosine:
            self._store = FileRows(folder, dimension, dtype, writable=writable)
        else:
            least_rows = -(-settings.DEFAULTS.auto_floats // dimension)
            self._store = VideoRows(
                folder, dimension, dtype, writable=writable, pictures=pictures, least_rows=least_rows
            )
        self._codes: QuantizedSearch | None = None  # that are kept in the folder
        self._search = self._choose(strategy, folder)
        self._totals = None if isinstance(self._store, RamRows) else RowTotals(self._store)
        self._rows = 0
        self._final = 0  # rows that a catalog counts: nobody writes them again
        self._closed = False

    def _choose(self, strategy: Index, folder: Path | None) -> SearchStrategy:
        if self.metric != "cosine":
            return SklearnSearch(self._store, self.metric) if strategy == "sklearn" else self._exact()
        kept_rows = -(-settings.DEFAULTS.auto_floats // self.dimension)
        lists = strategy == "ivf" or isinstance(strategy, Ivf)
        codes = QuantizedSearch(
            self._store,
            folder,
            writable=self._writable,
            least_rows=1 if strategy == "quantized" else kept_rows,
            kept_rows=kept_rows,
            most_bytes=settings.DEFAULTS.listed_bytes if lists else None,
        )
        self._codes = None if folder is None else codes
        if lists:
            recall = strategy.recall if isinstance(strategy, Ivf) else Ivf().recall
            return IvfSearch(codes, folder, writable=self._writable, recall=recall)
        if strategy in ("exact", "sklearn"):
            search = SklearnSearch(self._store) if strategy == "sklearn" else self._exact()
            return search if folder is None else CodesForOthers(search, codes)
        return codes

    def _exact(self) -> SearchStrategy:
        return ExactSearch(self._store) if self.metric == "cosine" else DistanceSearch(self._store, self.metric)

    @property
    def rows(self) -> int:
        """How many rows a search looks at: set by ``extend`` and ``sync``."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the index on disk, or in RAM where it has no folder."""
        return self._store.nbytes + self._search.nbytes

    def extend(
        self, first_row: int, vectors: NDArray[Any], settled: int | None = None, derived: Derived | None = None
    ) -> None:
        """Write rows ``first_row``, ``first_row + 1`` ...; what stood at and after ``first_row`` is gone.

        Whoever calls this is the only one that writes the folder meanwhile; what others wrote before is taken from the
        files, whatever this object knew.

        Args:
            first_row: How many rows the catalog counts.
            vectors: (n, dimension), of any length; an all-zero row stands for a record without a vector.
            settled: How many of the rows before them the catalog says are read from the video; None: as many as so far.
            derived: What the catalog says of files that are made of the rows before them, as in :meth:`sync`.

        Raises:
            DimensionError: Another number of components.
            VectorError: NaN or infinite components.
            IndexStaleError: There are fewer rows than ``first_row``, or their files are not what was written.
            InvalidInputError: ``first_row`` is negative.
            ReadOnlyError: The index was opened for reading.
            StorageError: The disk refused.
        """
        unit = self._prepared(np.asarray(vectors), self.dimension)
        with self._lock:
            self._assert_open()
            if not self._writable:
                raise ReadOnlyError("this vector index was opened for reading; open it with writable=True to extend it")
            # From here on rows that are being replaced are not found while they are half written.
            self._take(first_row, settled, derived)
            self._store.write(first_row, unit)
            self._search.extend(first_row, unit)
            self._rows = first_row + len(unit)

    def sync(self, rows: int, settled: int = 0, total: int | None = None, derived: Derived | None = None) -> None:
        """Take the rows that a writer committed, in this process or another; files are read, never changed.

        Args:
            rows: How many the catalog says there are.
            settled: How many of them the catalog says are read from the video.
            total: What :meth:`total` returned when they were written; the next search compares it. None if not known.
            derived: What :meth:`derived` returned then: files of other rows are left aside, or made again. None without
                a catalog: then nothing is compared.

        Raises:
            IndexStaleError: The files hold fewer, or are others; rebuild them from the journal.
            InvalidInputError: ``rows`` is negative.
        """
        with self._lock:
            self._assert_open()
            self._take(rows, settled, derived)
            if self._totals is not None:
                self._totals.expect(rows, total)

    def total(self, rows: int, counted: int = 0, before: int | None = None) -> int | None:
        """Return what identifies the first ``rows`` rows, for the catalog; None of rows in RAM.

        Args:
            rows: How many, all of them in files: :meth:`settle` or :meth:`keep` was called.
            counted: How many of them ``before`` identifies, if none of them was settled since.
            before: What this method returned for these; None if that is not known.
        """
        with self._lock:
            self._assert_open()
            return None if self._totals is None else self._totals.after(counted, before, rows)

    def derived(self, rows: int) -> Derived:
        """Return what identifies the files that are made of so many rows, for the catalog."""
        with self._lock:
            self._assert_open()
            fit, codes = (0, 0) if self._codes is None else self._codes.noted(rows)
            return Derived(fit, codes, self._store.identity if isinstance(self._store, VideoRows) else 0)

    def _prove(self) -> None:
        """Compare the rows with what the catalog says of them, unless that was done."""
        if self._totals is not None:
            self._totals.check()
        if isinstance(self._store, VideoRows):
            self._store.prove()

    def settle(self, frames: Sequence[FrameLocation], rows: int) -> int:
        """Read rows from the video from now on that lie there in enough number, instead of from a copy.

        Whoever calls this is the only one that writes the folder meanwhile, and notes in the catalog what it returns.

        Args:
            frames: The frames of vectors from row ``settled`` on, in the order of their rows.
            rows: How many rows the catalog counts.

        Returns:
            How many rows are read from the video.
        """
        with self._lock:
            self._assert_open()
            self._prove()
            return self._store.settle(frames, rows) if isinstance(self._store, VideoRows) else 0

    def keep(self) -> None:
        """Write rows to the disk that ``extend`` left to be read from the video; call it if they are not settled."""
        with self._lock:
            self._assert_open()
            if isinstance(self._store, VideoRows):
                self._store.keep()

    def roll_back(self, rows: int) -> None:
        """Take note that a transaction failed, before which the catalog counted ``rows``: others may write the next."""
        with self._lock:
            self._final = min(self._final, rows)

    def due(self, rows: int) -> int:
        """Return in how many frames, at most, the newest of so many rows must lie for :meth:`settle` to pay; or 0."""
        return self._store.due(rows) if isinstance(self._store, VideoRows) else 0

    @property
    def settled(self) -> int:
        """How many rows are read from the video."""
        return self._store.settled if isinstance(self._store, VideoRows) else 0

    def _take(self, rows: int, settled: int | None, derived: Derived | None) -> None:
        """Go on from ``rows`` rows; those that were not known to be committed may have become another's."""
        if settled is not None and isinstance(self._store, VideoRows):
            self._store.follow(settled)
            if derived is not None:
                self._store.known.expect(derived.places)
        elif settled:
            raise IndexStaleError(f"{settled} rows are to be read from a video that is not there; rebuild the index")
        if rows < 0:
            raise InvalidInputError(f"rows {rows} is negative")
        kept = rows if self._alone else min(self._final, rows)
        if self._totals is not None:
            self._totals.forget(kept)
        self._store.sync(rows, kept)
        self._rows = min(self._rows, rows)
        if self._codes is not None and derived is not None:
            self._codes.expect(rows, derived.fit, derived.codes)
        self._search.sync(rows, kept)
        self._rows = self._final = rows

    def search(
        self, query: NDArray[Any], k: int, mask: NDArray[np.bool_] | None = None, among: Among | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k rows nearest to each query.

        Args:
            query: (d,), or (q, d) for a batch; of any length. A zero query has cosine 0 with everything.
            k: At least 1.
            mask: (rows,) of bool: False for rows that are no candidates (deleted, filtered out, without a vector). A
                shorter mask hides the rows after its end.
            among: If other indexes are searched for the same, with one query: rows that are not among the best k of all
                may be left out.

        Returns:
            Row numbers (int64) and cosines in [-1, 1] or distances (float32), nearest first, ties by row number. For
            one query (m,) with m = min(k, candidates); for a batch (q, k), where row -1 and cosine -1.0, or an infinite
            distance, fill what is not there.

        Raises:
            DimensionError: A query of another dimension.
            VectorError: A query with NaN or infinite components.
            QueryError: k below 1, or a mask that is not a one-dimensional bool array.
        """
        query = np.asarray(query)
        if query.ndim not in (1, 2) or query.shape[-1] != self.dimension:
            raise DimensionError(f"a query of shape {query.shape} does not fit an index of dimension {self.dimension}")
        if k < 1:
            raise QueryError(f"k is {k}; ask for at least 1 row")
        queries = self._prepared(np.atleast_2d(query), self.dimension)
        with self._lock:
            self._assert_open()
            self._prove()
            rows, strategy = self._rows, self._search
        if mask is not None:
            if mask.ndim != 1 or mask.dtype != np.bool_:
                raise QueryError(f"the mask is a {mask.dtype} array of shape {mask.shape}; give one bool for each row")
            rows = min(rows, len(mask))
            mask = mask[:rows]
        if not rows or not len(queries):
            found: list[Rows] = []
        elif among is not None and isinstance(strategy, QuantizedSearch):
            found = strategy.candidates(queries, k, rows, mask, among)
        else:
            found = strategy.candidates(queries, k, rows, mask)
        if query.ndim == 1:
            near = found[0] if found else np.empty(0, dtype=np.int64)
            return self._ordered(queries[0], strategy.read(near), near, k)
        all_rows = np.full((len(queries), k), _NO_ROW, dtype=np.int64)
        all_scores = np.full((len(queries), k), self._no_score, dtype=np.float32)
        for at, near in enumerate(found):
            some, scores = self._ordered(queries[at], strategy.read(near), near, k)
            all_rows[at, : len(some)] = some
            all_scores[at, : len(some)] = scores
        return all_rows, all_scores

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows as stored, for re-ranking: (m, dimension) float32; of length 1 for cosine.

        Raises:
            InvalidInputError: A row that is not there.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        with self._lock:
            self._assert_open()
            self._prove()
            rows_there, strategy = self._rows, self._search
        if wanted.ndim != 1:
            raise InvalidInputError(f"row numbers of shape {wanted.shape}; give one dimension")
        if wanted.size and not (int(wanted.min()) >= 0 and int(wanted.max()) < rows_there):
            raise InvalidInputError(f"rows {wanted.min()}..{wanted.max()} are not all in 0..{rows_there - 1}")
        found = strategy.read(wanted)
        return found if found.base is None else found.copy()  # what a store keeps must not be changed

    @property
    def unsaved(self) -> bool:
        """Whether :meth:`flush` would keep codes that had to be made again, so that it is worth a lock."""
        return self._codes is not None and self._codes.unsaved

    def prepare(self) -> None:
        """Make the lists of an inverted file, which searches of many rows do not make; other indexes have none."""
        with self._lock:
            self._assert_open()
            self._prove()
            rows, strategy = self._rows, self._search
        if isinstance(strategy, IvfSearch):
            strategy.prepare(rows)

    def flush(self, *, lists: bool = True) -> None:
        """Force the rows to the disk, and save what speeds up the first searches after the next opening.

        Whoever calls this is the only one that writes the folder meanwhile, and has synced to what the catalog counts.

        Args:
            lists: Whether to make and save the lists of an inverted file, too, which takes long.

        Raises:
            StorageError: The disk refused.
        """
        with self._lock:
            self._assert_open()
            self._store.flush()
            if not lists and isinstance(self._search, IvfSearch) and self._codes is not None:
                self._codes.flush()
            else:
                self._search.flush()
            if self._folder is not None:
                remove_all_left(self._folder)

    def close(self) -> None:
        """Close the files; searches that are running finish with what they hold. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            self._rows = 0
            self._search.close()
            self._store.close()

    def _assert_open(self) -> None:
        if self._closed:
            raise ClosedError("this vector index is closed; open it again")
