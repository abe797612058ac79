"""BM25 over words and character bigrams: finds names, numbers and rare words that vectors miss, and needs no model.

The index contains no texts. Rows are added as they are committed, or when lexical search is first used. A deleted row
stays, and the mask of a search excludes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Final
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import ClosedError, IndexStaleError, InvalidInputError, StorageError
from memvid_core.system.file_lock import locked
from memvid_core.system.forks import free_in_forks
from memvid_core.words.analyzer import ParsedQuery, parse, snippet
from memvid_core.words.bm25 import (
    NOTHING,
    Extra,
    Scoring,
    Shared,
    Statistics,
    chosen_terms,
    length_normalization,
)
from memvid_core.words.list_reader import MAX_LISTS, ListReader
from memvid_core.words.posting_file import copy_store, delete_store
from memvid_core.words.postings import PostingStore
from memvid_core.words.scores import allowed, lexical_score, top_k
from memvid_core.words.wanted import Bar, Wanted

__all__ = ["LexicalIndex"]

_FILE: Final = "lexical.sqlite"
_LOCK: Final = "lexical.lock"
_LOCK_SECONDS: Final = 60.0


class LexicalIndex:
    """Rank rows by the words of a query (BM25: Robertson and Zaragoza, 2009; idf as in Lucene, never negative).

    Thread-safe. Any number of processes may write and search one file; each sees what others wrote after :meth:`sync`.
    A call that meets a damaged file creates an empty one and raises :class:`IndexStaleError`: add the rows again, then
    repeat the call.

    Args:
        folder: The folder of the index file; None keeps the index in RAM.
        writable: Whether the file may be written. If not, rows that the file lacks are added in RAM.
        trusted: Tells whether a file is the right one, by its mark and its number of rows; one that is not is emptied.

    Raises:
        StorageError: If the file can be neither read nor created.

    Example:
        >>> index = LexicalIndex()
        >>> index.extend(0, ["the lift of a wing", "heat transfer", "the wings of a jet"])
        >>> rows, scores = index.search("wing -jet", k=2)
        >>> rows.tolist()
        [0]
    """

    def __init__(
        self, folder: Path | None = None, *, writable: bool = True, trusted: Callable[[bytes, int], bool] | None = None
    ) -> None:
        self._path = None if folder is None else folder / _FILE
        self._writable = writable
        self._trusted = trusted
        self._lock = RLock()
        free_in_forks(self._lock)
        self._closed = False
        self._identity: tuple[int, int] | None = None
        self._stores: list[PostingStore] = []
        self._rows = 0
        self._statistics: Statistics | None = None
        self._scores: NDArray[np.float32] | None = None
        store = self._open()
        self._replace([] if store is None else [store])

    @staticmethod
    def in_use(folder: str | Path) -> bool:
        """Return whether a folder has a lexical index, which exists from the first lexical search on.

        Args:
            folder: As given to :class:`LexicalIndex`.
        """
        return os.path.exists(f"{os.fspath(folder)}/{_FILE}")  # join takes longer than the rest, for each commit

    def copy(self, target: Path, mark: bytes = b"") -> bool:
        """Copy the file in its current state, also while it is written; return whether that succeeded.

        Args:
            target: The folder of the copy, which must not contain an index.
            mark: What tells the copy from others.
        """
        if self._path is None:
            return False
        made = target / _FILE
        try:
            target.mkdir(parents=True, exist_ok=True)
            copy_store(self._path, made, mark)
        except (OSError, StorageError):
            with suppress(OSError):
                delete_store(made)
            return False
        return True

    def _open(self) -> PostingStore | None:
        if self._path is None:
            return PostingStore()
        if not self._writable:
            try:
                return PostingStore(self._path, writable=False) if self._path.exists() else None
            except (StorageError, IndexStaleError):
                return None  # a later sync may succeed; until then its rows must be added again
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._path.with_name(_LOCK), _LOCK_SECONDS):  # no other process opens or rebuilds it
                return self._open_alone(self._path)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"cannot write the lexical index {self._path}: {error}; check permissions and disk space"
            ) from error

    def _open_alone(self, path: Path) -> PostingStore:
        try:
            store = PostingStore(path)
            if self._trusted is not None and store.rows and not self._trusted(store.mark(), store.rows):
                store.close()
                raise IndexStaleError("the lexical index is that of another memory; index its rows again")
        except IndexStaleError:
            delete_store(path)
            store = PostingStore(path)
        self._identity = _identity(path)
        return store

    @contextmanager
    def _healing(self) -> Iterator[None]:
        """Rebuild the file if it is damaged, and raise again: the caller adds the rows and repeats the call."""
        try:
            yield
        except IndexStaleError:
            self._rebuild()
            raise

    def _rebuild(self) -> None:
        path = self._path
        self._replace([])
        if path is None:
            self._stores = [PostingStore()]
        elif self._writable:
            with locked(path.with_name(_LOCK), _LOCK_SECONDS):  # no other process opens or rebuilds it
                if _identity(path) == self._identity:  # otherwise another process has rebuilt it meanwhile
                    delete_store(path)
                self._stores = [self._open_alone(path)]
        self._refresh()

    @property
    def rows(self) -> int:
        """The number of rows indexed so far: 0 to ``rows - 1``."""
        return self._rows

    def extend(self, first_row: int, texts: Sequence[str], mark: bytes = b"") -> None:
        """Index the next rows, all of them or none; skip rows that are indexed already.

        Args:
            first_row: The row of the first text, at most :attr:`rows`.
            texts: One text per row.
            mark: What tells the file with these rows from others, also if it had them before and no more.

        Raises:
            InvalidInputError: If rows before ``first_row`` are missing.
            StorageError: If the file cannot be written.
            IndexStaleError: If the file was damaged, or another process rebuilt it: add the rows from :attr:`rows` on
                again.
        """
        with self._lock, self._healing():
            self._assert_open()
            if first_row > self._rows:
                raise InvalidInputError(
                    f"cannot index row {first_row} before rows {self._rows} to {first_row - 1}; add those first"
                )
            if not texts or first_row + len(texts) < self._rows:
                return
            if not self._stores or (len(self._stores) == 1 and self._path is not None and not self._writable):
                self._stores.append(PostingStore(first=self._rows))
            try:
                self._stores[-1].append(first_row, texts, mark)
            finally:
                self._refresh()

    def sync(self) -> None:
        """Load the rows that another process wrote.

        Raises:
            IndexStaleError: If the file was damaged; it is empty now, so add the rows again.
        """
        with self._lock, self._healing():
            self._assert_open()
            if self._path is None:
                return
            if not self._writable and not (self._stores and self._stores[0].persistent):
                store = self._open()
                if store is not None:
                    self._replace([store])
            elif self._writable and self._moved(self._path):
                store = self._open()
                self._replace([] if store is None else [store])
            elif self._stores:
                self._stores[0].sync()
                if len(self._stores) > 1 and self._stores[0].rows > self._stores[1].first:
                    self._replace(self._stores[:1])
            self._refresh()

    def _moved(self, path: Path) -> bool:
        """Return whether the file must be opened again. If the folder was deleted, it must not be created again."""
        return path.parent.is_dir() and (not self._stores or _identity(path) != self._identity)

    def _replace(self, stores: list[PostingStore]) -> None:
        for store in self._stores:
            if store not in stores:
                store.close()
        self._stores = stores
        self._refresh()  # what follows may fail, and rows without a store would never be indexed again

    def _refresh(self) -> None:
        self._rows = self._stores[-1].rows if self._stores else 0
        self._statistics = None

    def search(
        self,
        query: str,
        k: int,
        mask: NDArray[np.bool_] | None = None,
        *,
        live: NDArray[np.bool_] | None = None,
        normalized: bool = False,
        extra: Extra = NOTHING,
        shared: Shared | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rank the rows that contain any of the query's words and satisfy its phrases and exclusions.

        Args:
            query: Words, ``"a phrase"``, ``-word``, ``begin*`` (see :func:`~memvid_core.words.analyzer.parse`).
            k: The maximum number of rows to return.
            mask: (n,) bool, the rows that may be returned; rows from n on are not.
            live: (n,) bool, the live rows. If given, BM25 statistics are computed from these rows only. Statistics of a
                read-only array are cached.
            normalized: Whether to map scores to [0, 1) by :func:`~memvid_core.words.scores.lexical_score`.
            extra: What is asked for in addition to the words of the query.
            shared: The statistics of the query, if this is one of several indexes that are searched together.

        Returns:
            Rows (n,) int64 and their scores (n,) float32, best first, ties in the order of the rows.

        Raises:
            StorageError: If the file cannot be read.
            IndexStaleError: If it was damaged; it is empty now, so add the rows again.
        """
        parsed = parse(query)
        with self.reading() as reader:
            masks = self._masks(mask, live)
            bar = Bar() if shared is None or shared.bar is None else shared.bar
            wanted = None if k <= 0 or parsed.restricts else Wanted(k, lambda rows: allowed(rows, *masks), bar)
            rows, found, ideal = self._score(reader, parsed, live, extra, shared, wanted)
            if masks or parsed.restricts:
                kept = allowed(rows, *masks) & self._restricted(reader, parsed, rows)
                rows, found = rows[kept], found[kept]
            if 0 < k < len(rows):  # keep the rows that can be among the top k, before the slower sort
                enough = np.partition(found, len(found) - k)[len(found) - k]
                bar.reach(float(enough))
                rows, found = rows[found >= enough], found[found >= enough]
            rows, found = top_k(rows, found, k)
            return rows, lexical_score(found, ideal) if normalized else found

    def restriction(self, query: str) -> NDArray[np.bool_] | None:
        """Return which rows satisfy the phrases and exclusions of a query, for another ranking than BM25.

        Args:
            query: As for :meth:`search`.

        Returns:
            (rows,) bool, or None if the query has no phrases and exclusions.
        """
        parsed = parse(query)
        if not parsed.restricts:
            return None
        with self.reading() as reader:
            allowed = np.ones(self._rows, np.bool_)
            for phrase in parsed.phrases:
                has = np.zeros(self._rows, np.bool_)
                has[reader.rows_with(phrase)] = True
                allowed &= has
            for phrase in parsed.excluded:
                allowed[reader.rows_with(phrase)] = False
            return allowed

    def mean_length(self, live: NDArray[np.bool_]) -> float:
        """Return the mean number of tokens of the live rows, (n,) bool; 0 without rows."""
        with self.reading():
            counted = self.counted(live)
        return counted.tokens / counted.rows if counted.rows else 0.0

    snippet = staticmethod(snippet)

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            self._replace([])

    @contextmanager
    def reading(self) -> Iterator[ListReader]:
        """Read posting lists in one state of the index."""
        with self._lock, self._healing(), ExitStack() as snapshots:
            self._assert_open()
            for store in self._stores:
                store.forget()
                snapshots.callback(store.forget)
                snapshots.enter_context(store.snapshot())
            ends = self._ends()
            if any(
                store.rows < end for store, end in zip(self._stores, ends, strict=True)
            ):  # another process emptied it
                self._refresh()
                raise IndexStaleError("the lexical index has lost rows; index them again")
            yield ListReader(self._stores, ends)

    def _ends(self) -> list[int]:
        """Return the end row of each store. Rows that another process wrote since the last sync are ignored."""
        return [*(store.first for store in self._stores[1:]), self._rows][: len(self._stores)]

    def _masks(
        self, mask: NDArray[np.bool_] | None, live: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.bool_] | None, ...]:
        """Return the masks that hide rows."""
        every = live is not None and self.counted(live).exists is None
        if live is mask:
            return () if every else (mask,)
        return (mask,) if live is None or every else (mask, live)

    @staticmethod
    def _restricted(reader: ListReader, parsed: ParsedQuery, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which candidates satisfy the phrases and exclusions, (n,) bool."""
        kept = np.ones(len(rows), np.bool_)
        for phrase in parsed.phrases:
            kept &= np.isin(rows, reader.rows_with(phrase))
        for phrase in parsed.excluded:
            kept &= ~np.isin(rows, reader.rows_with(phrase))
        return kept

    def asked_too(self, query: str, extra: Extra, live: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return what a search asks for in addition to the words of a query, with its weight.

        Args:
            query: As for :meth:`search`.
            extra: As for :meth:`search`.
            live: As for :meth:`search`.

        Example:
            >>> index = LexicalIndex()
            >>> index.extend(0, ["the lift of an aircraft"])
            >>> index.asked_too("aircarft lift", Extra(fuzzy=True))
            {'aircarft → aircraft': 0.8}
        """
        parsed = parse(query)
        with self.reading() as reader:
            scoring = Scoring(reader, self.counted(live), np.zeros(self._rows, np.float32))
            scoring.add(chosen_terms(parsed.terms, self.frequencies))
            return scoring.add_extra(parsed, extra)

    def _score(
        self,
        reader: ListReader,
        parsed: ParsedQuery,
        live: NDArray[np.bool_] | None,
        extra: Extra,
        shared: Shared | None,
        wanted: Wanted | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], float]:
        """Score the wanted rows with any of the words; return rows, scores, and the sum of the tokens' idf."""
        counted = self.counted(live)
        if not counted.tokens:
            return np.zeros(0, np.int64), np.zeros(0, np.float32), 0.0
        scoring = Scoring(reader, counted, self._empty_scores(), shared)
        scoring.add(chosen_terms(parsed.terms, self.frequencies) if shared is None else shared.terms, extra, wanted)
        scoring.add_extra(parsed, extra)
        rows, found = scoring.taken()
        self._scores = scoring.scores
        return rows, found, scoring.ideal

    def _empty_scores(self) -> NDArray[np.float32]:
        """Return a zero per row. The caller resets and returns the array; after an interrupt a new one is allocated."""
        scores, self._scores = self._scores, None
        return np.zeros(self._rows * 5 // 4 + 64, np.float32) if scores is None or len(scores) < self._rows else scores

    def counted(self, live: NDArray[np.bool_] | None) -> Statistics:
        """Count the live rows and their tokens; the result of a read-only array is cached."""
        known = self._statistics
        if known is not None and known.live() is live and live is not None:
            return known
        parts = [store.lengths[: end - store.first] for store, end in zip(self._stores, self._ends(), strict=True)]
        lengths = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int32), *parts])
        exists = None
        if live is not None:
            exists = np.zeros(self._rows, np.bool_)
            exists[: min(len(live), self._rows)] = live[: self._rows]
            exists = None if exists.all() else exists
        live_lengths = lengths if exists is None else lengths[exists]
        reference: Callable[[], object] = (lambda: None) if live is None else ref(live)
        tokens, b = int(live_lengths.sum(dtype=np.int64)), length_normalization(live_lengths)
        counted = Statistics(reference, len(live_lengths), tokens, lengths, exists, b, {})
        if live is not None and not live.flags.writeable:
            self._statistics = counted
        return counted

    def frequencies(self, tokens: Sequence[str]) -> dict[str, int]:
        """Return the number of rows of some tokens, including deleted ones."""
        return {token: sum(store.frequency(token, limit=MAX_LISTS) for store in self._stores) for token in tokens}

    def _assert_open(self) -> None:
        if self._closed:
            raise ClosedError("the lexical index is closed; open it again")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
