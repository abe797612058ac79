"""ShardReader: what a library asks one of its memories, in one sealed state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.ordering import Key
from memvid_core.engine.evidence import Sample, sample_of
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.searching import SnapshotCorpus
from memvid_core.engine.session import Session
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import DamagedFrameError, StorageError
from memvid_core.model import Record
from memvid_core.vectors.among import Among
from memvid_core.words.bm25 import Shared
from memvid_core.words.scores import Ranking
from memvid_core.words.shard_words import ShardWords

__all__ = ["Candidates", "Contents", "Seal", "ShardReader", "index_words", "seal_of", "word_totals"]

T = TypeVar("T")


class Seal(NamedTuple):
    """What identifies a memory in one state.

    Attributes:
        memory_id: The id of the memory, in hexadecimal digits.
        commit: The number of the last commit.
        chain: The chained checksum of the last commit, in hexadecimal digits.
        rows: The number of rows, live or not.
        records: The number of live records.
    """

    memory_id: str
    commit: int
    chain: str
    rows: int
    records: int


class Candidates(NamedTuple):
    """The best rows of a memory for a question.

    Attributes:
        words: The best rows by words.
        dense: The best rows by vectors.
        records: Records of some of them by row.
    """

    words: Ranking
    dense: Ranking
    records: dict[int, Record]


class Contents(NamedTuple):
    """What a search needs to know of rows of a memory.

    Attributes:
        vectors: (n, d) float32, the indexed vectors of some rows; (n, 0) if no record of the memory has one.
        places: The places of some rows of live records among all live ones.
        records: Records by row, without those that cannot be read.
    """

    vectors: NDArray[np.float32]
    places: list[int]
    records: dict[int, Record]


def seal_of(session: Session) -> Seal:
    """Return the seal of the newest state of a memory."""
    return session.answer(lambda snapshot: _seal(session, snapshot))


def _seal(session: Session, snapshot: Snapshot) -> Seal:
    header, cursor = snapshot.epoch.journal.header, session.indexed.cursor
    return Seal(header.memory_id.hex(), cursor.commit, cursor.chain.hex(), snapshot.rows, snapshot.record_count)


def index_words(session: Session) -> None:
    """Build the index of words, which the first search would otherwise build."""
    session.answer(session.searcher.words)


def word_totals(session: Session) -> tuple[int, int]:
    """Return the numbers of live records and of their tokens."""
    return session.answer(lambda snapshot: ShardWords(session.searcher.words(snapshot), snapshot.live).totals())


class ShardReader:
    """Read one memory of a library, in the state in which it was sealed.

    Each method raises a ``StorageError`` if the memory is in another state, or has lost records to damage.

    Args:
        session: The memory, open for reading.
        seal: Its seal.
        deleted: (n,) int64, the rows that the library has deleted since.
    """

    def __init__(self, session: Session, seal: Seal, deleted: NDArray[np.int64]) -> None:
        self._session, self._seal, self._deleted = session, seal, deleted
        self._latest: tuple[Snapshot, Snapshot] | None = None

    def _ask(self, question: Callable[[Snapshot], T]) -> T:
        return self._session.answer(lambda snapshot: question(self._sealed(snapshot)), past_damage=False)

    def _sealed(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot without the deleted rows, after comparing it with the seal."""
        latest = self._latest
        if latest is not None and latest[0] is snapshot:
            return latest[1]
        if snapshot.lost:
            raise StorageError(f"{snapshot.lost} of its records cannot be read")
        found = _seal(self._session, snapshot)
        if found.memory_id != self._seal.memory_id:
            raise StorageError(f"it is another memory ({found.memory_id} instead of {self._seal.memory_id})")
        if found != self._seal:
            raise StorageError(f"it was changed after it was sealed: commit {found.commit} is not {self._seal.commit}")
        if len(self._deleted):
            live, dense = snapshot.live.copy(), snapshot.dense.copy()
            live[self._deleted] = dense[self._deleted] = False
            live.flags.writeable = False  # statistics of a read-only array are cached
            sealed = replace(snapshot, live=live, dense=dense)
        else:
            sealed = snapshot
        self._latest = snapshot, sealed
        return sealed

    def check(self) -> None:
        """Compare the memory with its seal."""
        self._ask(lambda _: None)

    def prepare(self) -> None:
        """Build what the first searches would build, and the lists of vectors."""
        self.check()
        self._session.prepare()

    # --- words ---

    def _words(self, question: Callable[[ShardWords], T]) -> T:
        return self._ask(lambda snapshot: question(ShardWords(self._session.searcher.words(snapshot), snapshot.live)))

    def totals(self) -> tuple[int, int]:
        """Return the numbers of live rows and of their tokens."""
        return self._words(ShardWords.totals)

    def lengths(self, first: int, step: int) -> list[int]:
        """Return the numbers of tokens of every ``step``-th live row, from the ``first``-th on."""
        return self._words(lambda words: words.lengths(first, step))

    def counts(self, tokens: Sequence[str]) -> list[int]:
        """Return the number of live rows of each token."""
        return self._words(lambda words: words.counts(tokens))

    def counts_of_all(self, most: int) -> tuple[str, NDArray[np.uint32]] | None:
        """Return the number of live rows of each token that has any.

        Args:
            most: The maximum number of tokens.

        Returns:
            The tokens, joined by line feeds, and the numbers (n,); None if there are more tokens.
        """
        found = self._words(lambda words: words.counts_of_all(most))
        return None if found is None else ("\n".join(found), np.fromiter(found.values(), np.uint32, len(found)))

    def frequencies(self, tokens: Sequence[str]) -> list[int]:
        """Return the number of rows of each token, including deleted ones."""
        return self._words(lambda words: words.frequencies(tokens))

    def near(self, words: Sequence[str]) -> list[list[list[str]]]:
        """Return, for each missing word, the near tokens at distance 1, and for long words at distance 2."""
        return self._words(lambda found: found.near(words))

    def any_counts(self, groups: Sequence[Sequence[str]]) -> list[int]:
        """Return, for each group of tokens, the number of live rows with any of them."""
        return self._words(lambda words: words.any_counts(groups))

    # --- a search ---

    def candidates(
        self,
        request: SearchRequest,
        k: int,
        where: Mapping[str, Any] | None,
        shared: Shared | None,
        among: Among,
        ahead: int = 0,
    ) -> Candidates:
        """Return the best ``k`` rows by words and by vectors, with the scores they have in the library.

        Args:
            request: The question.
            k: The number of rows of each ranking.
            where: A filter.
            shared: The statistics of the words of the question in the library; None if the mode needs none.
            among: Which part of the library this is: rows that are not among the best of all may be left out.
            ahead: Of how many of the best rows of the library the records are wanted, too, if the mode has one ranking.
        """

        def found(snapshot: Snapshot) -> Candidates:
            corpus = self._corpus(snapshot)
            words, dense = corpus.ranked(request, k, snapshot.mask(where), shared, among)
            rows, scores = words if len(words[0]) else dense
            read: list[int] = []
            if ahead and len(rows):
                least = among.best.kth(among.number, scores, ahead)
                read = rows[:ahead][scores[:ahead] >= least].tolist()
            return Candidates(words, dense, _readable(corpus, read))

        return self._ask(found)

    def many_candidates(
        self, questions: Sequence[tuple[SearchRequest, int, Mapping[str, Any] | None, Shared | None, int | None]]
    ) -> list[tuple[Ranking, Ranking]]:
        """Return the best rows by words and by vectors for several questions, each without one row if that is given."""

        def ranked(snapshot: Snapshot) -> list[tuple[Ranking, Ranking]]:
            found = []
            for request, k, where, shared, without in questions:
                mask = snapshot.mask(where)
                if without is not None:
                    mask = mask.copy()
                    mask[without] = False
                found.append(self._corpus(snapshot).ranked(request, k, mask, shared))
            return found

        return self._ask(ranked)

    def _corpus(self, snapshot: Snapshot) -> SnapshotCorpus:
        return self._session.searcher.corpus(snapshot)

    def sample(self, first: int, step: int) -> Sample:
        """Return every ``step``-th live row, from the ``first``-th on."""
        return self._ask(lambda snapshot: sample_of(snapshot, first, step))

    # --- the contents of rows ---

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of rows."""
        return self._ask(lambda snapshot: self._corpus(snapshot).records(rows))

    def contents(self, vectors: Sequence[int], places: Sequence[int], records: Sequence[int]) -> Contents:
        """Return the indexed vectors of some rows, the places of some, and the records of some, in one answer."""

        def found(snapshot: Snapshot) -> Contents:
            corpus = self._corpus(snapshot)
            matrix = np.zeros((len(vectors), 0), np.float32)
            if len(vectors) and corpus.has_vectors:
                matrix = corpus.indexed_vectors(np.asarray(vectors, np.int64))
            live = snapshot.live_places(np.asarray(places, np.int64)).tolist() if len(places) else []
            return Contents(matrix, live, _readable(corpus, records))

        return self._ask(found)

    def stored_vectors(self, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) by row, without rows that have none."""
        return self._ask(lambda snapshot: snapshot.vectors(rows))

    # --- by id and by filter ---

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the rows of live records by id; unknown ids are omitted."""
        return self._ask(lambda snapshot: _live_rows(snapshot, ids))

    def chosen(self, ids: Sequence[str] | None, where: Mapping[str, Any] | None) -> list[int]:
        """Return the live rows with some ids that match a filter; either of the two may be None."""

        def found(snapshot: Snapshot) -> list[int]:
            return [row for row in snapshot.selected(ids, where) if snapshot.live[row]]

        return self._ask(found)

    def selected(
        self, where: Mapping[str, Any] | None, order_by: str | None, descending: bool, count: int | None
    ) -> tuple[list[int], dict[int, Key]]:
        """Return the first ``count`` live rows that match a filter, in an order, and what they are sorted by."""

        def found(snapshot: Snapshot) -> tuple[list[int], dict[int, Key]]:
            rows = snapshot.ordered(where, order_by, descending=descending)[:count]
            return rows, {} if order_by is None else snapshot.sort_keys(rows, order_by)

        return self._ask(found)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of rows."""
        return self._ask(lambda snapshot: snapshot.ids_of(rows))


def _readable(corpus: SnapshotCorpus, rows: Sequence[int]) -> dict[int, Record]:
    """Return the records of rows by row; who needs one that cannot be read asks for it again, and is told why."""
    found: dict[int, Record] = {}
    for row in rows:
        with suppress(DamagedFrameError):
            [found[row]] = corpus.records([row])
    return found


def _live_rows(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, int]:
    return {record_id: row for record_id, row in snapshot.rows_of(ids).items() if snapshot.live[row]}
