"""BM25 over words and character bigrams: finds names, numbers and rare words that vectors blur, and needs no model.

The index holds no texts. Rows are handed in as they are committed, or when lexical search is first used; a deleted row
stays and is left out by the mask of a query.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import ClosedError, InvalidInputError, StorageError
from memvid_core.index.postings import PLACE_BITS, Matches, PostingStore
from memvid_core.index.ranking import best, lexical_score
from memvid_core.index.tokens import Query, parse, snippet

__all__ = ["LexicalIndex"]

K1: Final = 1.0
B: Final = 0.65
"""How soon repetition stops to count, and how much length does: chosen on questions in English and Korean."""

MAX_TERMS: Final = 128
"""A longer query is searched by so many of its tokens, those that tell most."""

MAX_CANDIDATES: Final = 512
"""How many different tokens of a query are looked at at all, from its beginning."""

MAX_LISTS: Final = 1 << 14
"""How many posting lists the prefixes of one query may read; words beyond this are left out."""

_FILE: Final = "lexical.sqlite"


class LexicalIndex:
    """Ranks rows by the words of a query (BM25: Robertson and Zaragoza, 2009; idf as in Lucene, never negative).

    Safe to use from several threads. One process may write at a time; others see what it wrote after :meth:`sync`.

    Args:
        folder: Where its file lies; without one it lives in RAM.
        writable: Whether it may write there. If not, rows that the file lacks can be added for this object alone.

    Raises:
        StorageError: If the file can be neither read nor made anew.

    Example:
        >>> index = LexicalIndex()
        >>> index.extend(0, ["the lift of a wing", "heat transfer", "the wings of a jet"])
        >>> rows, scores = index.search("wing -jet", k=2)
        >>> rows.tolist()
        [0]
    """

    def __init__(self, folder: Path | None = None, *, writable: bool = True) -> None:
        self._path = None if folder is None else folder / _FILE
        self._writable = writable
        self._lock = RLock()
        self._closed = False
        self._stores: list[PostingStore] = []
        self._rows = 0
        self._lengths: NDArray[np.int32] = np.zeros(0, np.int32)
        store = self._open()
        if store is not None:
            self._stores.append(store)
        self._refresh()

    def _open(self) -> PostingStore | None:
        if self._path is None:
            return PostingStore()
        if not self._writable:
            try:
                return PostingStore(self._path, writable=False) if self._path.exists() else None
            except StorageError:
                return None  # it serves a later sync perhaps; until then its rows are asked for again
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return PostingStore(self._path)
        except StorageError as error:
            damaged = isinstance(error.__cause__, sqlite3.DatabaseError)
            if not damaged or isinstance(error.__cause__, sqlite3.OperationalError):
                raise
        except OSError as error:
            raise StorageError(f"cannot write the lexical index {self._path}: {error}") from error
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(_FILE + suffix).unlink(missing_ok=True)
        return PostingStore(self._path)

    @property
    def rows(self) -> int:
        """Rows indexed so far: 0 to ``rows - 1``."""
        return self._rows

    def extend(self, first_row: int, texts: Sequence[str]) -> None:
        """Index the next rows, all of them or none; rows that are there already are passed over.

        Args:
            first_row: The row of the first text, at most :attr:`rows`.
            texts: One text a row.

        Raises:
            InvalidInputError: If rows before ``first_row`` are missing.
            StorageError: If the disk refuses.
        """
        with self._lock:
            self._assert_open()
            if first_row > self._rows:
                raise InvalidInputError(
                    f"row {first_row} cannot be indexed before rows {self._rows} to {first_row - 1}; give those first"
                )
            if first_row + len(texts) <= self._rows:
                return
            if not self._stores or (len(self._stores) == 1 and self._path is not None and not self._writable):
                self._stores.append(PostingStore(first=self._rows))
            self._stores[-1].append(first_row, texts)
            self._refresh()

    def sync(self) -> None:
        """Pick up what another process wrote."""
        with self._lock:
            self._assert_open()
            if self._path is None:
                return
            if not self._writable and not (self._stores and self._stores[0].persistent):
                store = self._open()
                if store is not None:
                    self._replace([store])
            else:
                self._stores[0].sync()
                if len(self._stores) > 1 and self._stores[0].rows > self._stores[1].first:
                    self._replace(self._stores[:1])
            self._refresh()

    def _replace(self, stores: list[PostingStore]) -> None:
        for store in self._stores:
            if store not in stores:
                store.close()
        self._stores = stores

    def _refresh(self) -> None:
        self._rows = self._stores[-1].rows if self._stores else 0
        self._lengths = np.concatenate([np.zeros(0, np.int32), *(store.lengths for store in self._stores)])

    def search(
        self,
        query: str,
        k: int,
        mask: NDArray[np.bool_] | None = None,
        *,
        live: NDArray[np.bool_] | None = None,
        normalised: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rank the rows that have any of the query's words and obey its phrases and exclusions.

        Args:
            query: Words, ``"a phrase"``, ``-word``, ``begin*`` (see :func:`~memvid_core.index.tokens.parse`).
            k: How many rows to return at most.
            mask: (n,) the rows that may be returned; rows from n on are not.
            live: (n,) the rows that exist; given, the statistics of BM25 are those of an index without the others.
            normalised: Whether scores are brought to [0, 1) by :func:`~memvid_core.index.ranking.lexical_score`.

        Returns:
            Rows (int64) and their scores (float32), best first, ties in the order of the rows.

        Raises:
            StorageError: If the file cannot be read.
        """
        with self._reading() as reader:
            asked = parse(query)
            allowed = self._allowed(reader, asked, mask)
            if live is not None:
                both = min(len(allowed), len(live))
                allowed[:both] &= live[:both]
                allowed[both:] = False
            scores, ideal = self._score(reader, asked, live)
            rows = np.flatnonzero(allowed & (scores > 0))
            found = scores[rows]
            if 0 < k < len(rows):  # all rows that may be among the best, before the costly sort
                enough = np.partition(found, len(found) - k)[len(found) - k]
                rows, found = rows[found >= enough], found[found >= enough]
            rows, found = best(rows, found, k)
            return rows, lexical_score(found, ideal) if normalised else found

    def restriction(self, query: str) -> NDArray[np.bool_] | None:
        """Tell which rows obey the phrases and exclusions of a query, for a search that ranks by something else.

        Args:
            query: As for :meth:`search`.

        Returns:
            (rows,) the rows that do; None where the query rules nothing out.
        """
        asked = parse(query)
        if not asked.restricts:
            return None
        with self._reading() as reader:
            return self._allowed(reader, asked, None)

    snippet = staticmethod(snippet)

    def close(self) -> None:
        """Let go of the file; closing twice is no error."""
        with self._lock:
            self._closed = True
            self._replace([])

    @contextmanager
    def _reading(self) -> Iterator[_Reader]:
        with self._lock, ExitStack() as snapshots:
            self._assert_open()
            for store in self._stores:
                snapshots.enter_context(store.snapshot())
            yield _Reader(self._stores, self._rows)

    def _allowed(self, reader: _Reader, asked: Query, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        allowed = np.ones(self._rows, np.bool_)
        if mask is not None:
            shared = min(len(mask), self._rows)
            allowed[:shared] = mask[:shared]
            allowed[shared:] = False
        for phrase in asked.phrases:
            has = np.zeros(self._rows, np.bool_)
            has[reader.rows_with(phrase)] = True
            allowed &= has
        for phrase in asked.excluded:
            allowed[reader.rows_with(phrase)] = False
        return allowed

    def _score(
        self, reader: _Reader, asked: Query, live: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], float]:
        """Score every row by BM25; and the query's ideal, the sum of its tokens' idf."""
        scores = np.zeros(self._rows, np.float32)
        lengths = self._lengths[: self._rows]
        exists = None
        if live is not None:
            exists = np.zeros(self._rows, np.bool_)
            exists[: min(len(live), self._rows)] = live[: self._rows]
            lengths = lengths[exists]
        total = len(lengths)
        if not total or not lengths.any():
            return scores, 0.0
        slope = np.float32(K1 * B / (float(lengths.sum(dtype=np.int64)) / total))
        floor = np.float32(K1 * (1 - B))
        ideal = 0.0
        for token, times in self._chosen(asked).items():
            rows, counts = reader.find(token)
            frequency = len(rows) if exists is None else int(np.count_nonzero(exists[rows]))
            if not frequency:
                ideal += times * float(np.log1p((total + 0.5) / 0.5))
                continue
            weight = times * float(np.log1p((total - frequency + 0.5) / (frequency + 0.5)))
            ideal += weight
            saturated = counts / (counts + (floor + slope * self._lengths[rows]))
            scores[rows] += saturated * np.float32(weight * (K1 + 1))
        return scores, ideal

    def _chosen(self, asked: Query) -> dict[str, int]:
        """Choose the tokens of a query that are searched, and how often each was said."""
        terms = dict(list(Counter(asked.terms).items())[:MAX_CANDIDATES])
        if len(terms) <= MAX_TERMS:
            return terms
        rows = {token: sum(store.frequency(token, limit=MAX_LISTS) for store in self._stores) for token in terms}
        telling = sorted((token for token in terms if rows[token]), key=lambda token: rows[token] / terms[token])
        return {token: terms[token] for token in telling[:MAX_TERMS]}

    def _assert_open(self) -> None:
        if self._closed:
            raise ClosedError("the lexical index is closed; open it again")


class _Reader:
    """Reads posting lists for one query, each token once, prefixes within one allowance."""

    def __init__(self, stores: Sequence[PostingStore], rows: int) -> None:
        self._stores = stores
        self._rows = rows
        self._allowance = MAX_LISTS
        self._found: dict[str, Matches] = {}
        self._places: dict[str, NDArray[np.int64]] = {}

    def find(self, token: str) -> Matches:
        """Find the rows that have a token, and how often."""
        if token not in self._found:
            found = [store.find(token, limit=self._limit(token)) for store in self._stores]
            rows = np.concatenate([np.zeros(0, np.int64), *(matches.rows for matches, _ in found)])
            counts = np.concatenate([np.zeros(0, np.float32), *(matches.counts for matches, _ in found)])
            if len(rows) and rows[-1] >= self._rows:  # written by another process since the last sync
                rows = rows[: np.searchsorted(rows, self._rows)]
            self._found[token] = Matches(rows, counts[: len(rows)])
            self._spend(token, sum(lists for _, lists in found))
        return self._found[token]

    def rows_with(self, phrase: tuple[str, ...]) -> NDArray[np.int64]:
        """Find the rows that have the tokens of a phrase one after the other."""
        if len(phrase) == 1:
            return self.find(phrase[0]).rows
        rarest, *others = sorted(range(len(phrase)), key=lambda number: len(self._at(phrase[number])))
        starts = self._at(phrase[rarest]) - rarest
        for number in others:
            places = self._at(phrase[number])
            at = np.searchsorted(places, starts + number)
            starts = starts[np.append(places, -1)[at] == starts + number]
        rows: NDArray[np.int64] = np.unique(starts >> PLACE_BITS)
        return rows[rows < self._rows]

    def _at(self, token: str) -> NDArray[np.int64]:
        """Find every place of a token."""
        if token not in self._places:
            found = [store.places(token, limit=self._limit(token)) for store in self._stores]
            self._places[token] = np.concatenate([np.zeros(0, np.int64), *(places for places, _ in found)])
            self._spend(token, sum(lists for _, lists in found))
        return self._places[token]

    def _limit(self, token: str) -> int:
        return self._allowance if token[-1] == "*" else MAX_LISTS

    def _spend(self, token: str, lists: int) -> None:
        if token[-1] == "*":
            self._allowance = max(0, self._allowance - lists)
