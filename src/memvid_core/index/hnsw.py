"""HNSW search through usearch, an extra: the fastest queries on millions of rows, for a slow build and more memory.

The graph (Malkov and Yashunin, TPAMI 2018) holds int8 copies of the rows and is saved whole on ``flush``; the rows it
proposes are scored from the stored rows like everybody's. Rows it was saved without are added when it is opened. It
stands beside another search, which is kept up to date, too: that one answers what the graph is no good for, and an
index that one process opens with the graph another may open without.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import MissingExtraError, StorageError
from memvid_core.index.exact import Rows, SearchStrategy
from memvid_core.index.rows import Matrix, RowStore, widen

__all__ = ["HnswSearch", "graph_class"]

_LEAST_ROWS: Final = 2000  # fewer are compared one by one
_BREADTH: Final = 128  # rows a search keeps in view, beside 4 k
_MOST_ASKED: Final = 4096  # when a filter would need more proposals than these, the search beside it is as good
_BATCH_ROWS: Final = 16384
_BUILD_THREADS: Final = 0  # all cores; with one thread the same rows give the same graph


def graph_class() -> Any:
    """Usearch's graph.

    Raises:
        MissingExtraError: usearch is not installed.
    """
    try:
        import usearch.index
    except ImportError as exc:
        raise MissingExtraError('hnsw needs usearch; install it with: pip install "memvid-core[hnsw]"') from exc
    return usearch.index.Index


class HnswSearch:
    """A usearch graph over a ``RowStore``.

    Args:
        store: The rows.
        beside: The search that answers for few rows, and for filters that let few through.
        folder: Where the graph is saved; None for RAM only.
        writable: Whether it may be saved.

    Raises:
        MissingExtraError: usearch is not installed.
    """

    name = "hnsw"

    def __init__(self, store: RowStore, beside: SearchStrategy, folder: Path | None, *, writable: bool) -> None:
        self._engine: Any = graph_class()
        self._store = store
        self._path = None if folder is None else folder / f"hnsw-{store.dimension}.usearch"
        self._writable = writable
        self._beside = beside
        self._lock = threading.RLock()
        self._graph: Any = None
        self._rows = 0
        self._known = 0  # rows in the graph
        self._saved = 0

    def _new(self) -> Any:
        return self._engine(ndim=self._store.dimension, metric="cos", dtype="i8", connectivity=32, expansion_add=128)

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Forget rows that are written anew; new ones join the graph at the next search, flush or sync."""
        self._beside.extend(first_row, unit)
        with self._lock:
            self._rows = first_row + len(unit)
            if first_row < self._known:
                for row in range(first_row, self._known):
                    self._graph.remove(row)
                self._known = first_row
            if first_row < self._saved:
                self._discard()

    def sync(self, rows: int) -> None:
        """Take the saved graph, where it saves work."""
        self._beside.sync(rows)
        with self._lock:
            self._rows = rows
            if self._graph is None and self._path is not None and self._path.exists() and rows >= _LEAST_ROWS:
                graph = self._new()
                try:
                    graph.load(str(self._path))
                except Exception:  # usearch raises bare RuntimeErrors; the graph can always be built again
                    graph = None
                if graph is not None and graph.ndim == self._store.dimension and 0 < len(graph) <= rows:
                    self._graph, self._known, self._saved = graph, len(graph), len(graph)
                elif self._writable:
                    self._discard()

    def _discard(self) -> None:
        """Remove a saved graph whose rows are no longer what the store holds."""
        self._saved = 0
        if self._path is not None and self._writable:
            self._path.unlink(missing_ok=True)

    def _grow(self, rows: int) -> None:
        """Add the rows that the graph lacks."""
        with self._lock:
            if self._graph is None:
                self._graph, self._known = self._new(), 0
            stored = self._store.view(rows)
            for start in range(self._known, rows, _BATCH_ROWS):
                keys = np.arange(start, min(start + _BATCH_ROWS, rows), dtype=np.int64)
                self._graph.add(
                    keys.astype(np.uint64), widen(stored[start : start + len(keys)]), threads=_BUILD_THREADS
                )
                self._known = int(keys[-1]) + 1
                self._store.passed(len(keys))

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """What the graph proposes; a filter asks it for as many more as it hides, or is searched exactly."""
        passing = rows if mask is None else int(np.count_nonzero(mask))
        breadth = _BREADTH + 4 * k
        asked = breadth if mask is None else breadth * rows // max(passing, 1)
        if rows < _LEAST_ROWS or asked > min(_MOST_ASKED + 4 * k, rows):
            return self._beside.candidates(queries, k, rows, mask)
        found = []
        with self._lock:  # how far to look is a setting of the whole graph, and rows may be taken out of it
            if self._known < rows:
                self._grow(rows)
            self._graph.expansion_search = asked
            for query in queries:
                keys = np.asarray(self._graph.search(query, asked).keys).astype(np.int64)
                keys = np.sort(keys[keys < rows])
                found.append(keys if mask is None else keys[mask[keys]])
        short = [at for at, keys in enumerate(found) if len(keys) < min(k, passing)]
        if short:
            better = self._beside.candidates(queries[short], k, rows, mask)
            for at, keys in zip(short, better, strict=True):
                found[at] = keys
        return found

    def flush(self) -> None:
        """Save the graph, under its name at once."""
        self._beside.flush()
        if self._path is None or not self._writable or self._rows < _LEAST_ROWS:
            return
        with self._lock:
            if self._known < self._rows:
                self._grow(self._rows)
            if self._saved == self._known:
                return
            half = self._path.with_suffix(".part")
            try:
                self._graph.save(str(half))
                os.replace(half, self._path)
            except Exception as exc:  # usearch raises bare RuntimeErrors for a full disk, too
                half.unlink(missing_ok=True)
                raise StorageError(f"cannot save the HNSW graph to {self._path}: {exc}") from exc
            self._saved = self._known

    def close(self) -> None:
        """Let go of the graph."""
        self._beside.close()
        self._graph, self._known = None, 0

    @property
    def nbytes(self) -> int:
        """Bytes of the saved graph, or of the one in RAM, and of what stands beside it."""
        if self._path is not None:
            graph = self._path.stat().st_size if self._path.exists() else 0
        else:
            graph = 0 if self._graph is None else int(self._graph.memory_usage)
        return graph + self._beside.nbytes
