"""Searcher: the searches of one memory, each in one snapshot."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.engine.evidence import Evidence, enough, evidence_of
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.ranker import Ranker, fitting
from memvid_core.engine.ranking import dense_ranked, flipped, to_scores
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_count
from memvid_core.errors import DamagedFrameError, QueryError, StorageError
from memvid_core.model import Embedder, Hit, Record, is_fittable, plain_query
from memvid_core.system.progress import progress
from memvid_core.vectors.among import Among
from memvid_core.words.bm25 import Shared
from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.scores import Ranking

__all__ = ["Searcher", "SnapshotCorpus"]

_SHOW_PROGRESS_ROWS = 20_000
_NOTHING: Ranking = np.empty(0, np.int64), np.empty(0, np.float32)


class Searcher:
    """Search the snapshots of one memory.

    Args:
        indexed: The memory.
    """

    def __init__(self, indexed: IndexedJournal) -> None:
        self._indexed = indexed
        self._settings = indexed.settings
        self._feeding = threading.Lock()
        self._learning = threading.Lock()
        self._evidence: dict[str, Evidence] = {}
        self._doublings = 0  # of the number of records, when has_doubled() looked last
        self._latest: tuple[weakref.ref[Snapshot], Evidence] | None = None  # a snapshot keeps its file open

    def corpus(self, snapshot: Snapshot) -> SnapshotCorpus:
        """Return what a search in a snapshot ranks."""
        return SnapshotCorpus(self, snapshot, self._indexed)

    def search(self, snapshot: Snapshot, request: SearchRequest) -> list[Hit]:
        """Return the best ``k`` records of a snapshot, decoded from the video, best first."""
        return Ranker(self.corpus(snapshot)).search(request)

    def search_many(self, snapshot: Snapshot, requests: Sequence[SearchRequest]) -> list[list[Hit]]:
        """Return the hits of requests that differ only in their queries, in one pass over the index."""
        if not requests:
            return []
        first = requests[0]
        if callable(first.where):
            raise QueryError("search_many() takes a dict as its filter, not a function; search() takes both")
        ranker = Ranker(self.corpus(snapshot))
        vectors = [ranker.embedded(request).vector for request in requests]
        asked = [(place, vector) for place, vector in enumerate(vectors) if vector is not None and len(vector)]
        found: list[list[Hit]] = [[] for _ in requests]
        index = snapshot.vector_index
        if index is None or not asked or first.k <= 0 or not snapshot.rows:
            return found
        matrix = np.stack([fitting(vector, index.dimension) for _, vector in asked])
        answers = index.search(matrix, first.k, snapshot.mask(first.where) & snapshot.dense)
        for (place, _), rows, values in zip(asked, *answers, strict=True):
            there = rows >= 0
            ranked = dense_ranked(rows[there], flipped(values[there], index.metric), index.metric)
            found[place] = ranker.hits(ranked, first)
        return found

    def evidence(self, snapshot: Snapshot) -> Evidence:
        """Return the evidence of the memory; the first call may learn it, which takes about a second."""
        latest = self._latest
        if latest is not None and latest[0]() is snapshot:
            return latest[1]
        with self._learning:
            found = evidence_of(snapshot, self._evidence, self.corpus(snapshot).without)
        self._latest = weakref.ref(snapshot), found
        return found

    def has_doubled(self, snapshot: Snapshot) -> bool:
        """Return whether the number of records has passed a power of two since the last call, and words are kept up."""
        records = snapshot.record_count
        doublings = records.bit_length()
        if doublings == self._doublings or not enough(records):
            return False
        self._doublings = doublings
        return snapshot.epoch.index.words.in_use and snapshot.lexical_index.rows >= snapshot.rows

    def prepare(self, snapshot: Snapshot) -> None:
        """Build what the first searches would build: the lexical index, the evidence, and the lists of vectors."""
        if not snapshot.rows:
            return
        self.words(snapshot)
        self.evidence(snapshot)
        index = snapshot.vector_index
        if index is not None:
            index.prepare()
            index.search(np.ones(index.dimension, np.float32), 1, snapshot.dense)

    def words(self, snapshot: Snapshot) -> LexicalIndex:
        """Return the lexical index with the rows of the snapshot."""
        index = snapshot.lexical_index
        if index.rows >= snapshot.rows:
            return index
        with self._feeding:  # its transactions let one process write at a time, without the lock on the file
            try:
                self._feed(snapshot, index)
            except StorageError:  # the disk is full
                index = snapshot.lexical_index_in_ram()
                self._feed(snapshot, index)
        return index

    def _feed(self, snapshot: Snapshot, index: LexicalIndex) -> None:
        index.sync()
        start, total = index.rows, snapshot.rows
        show = None if total - start > _SHOW_PROGRESS_ROWS else False
        with progress("Indexing words", total - start, show=show) as advance:
            while index.rows < total:
                snapshot.epoch.index.words.extend(index, index.rows, self._texts(snapshot, index.rows, total))
                advance(index.rows - start)
                index.sync()  # another process may be adding rows, too

    def _texts(self, snapshot: Snapshot, start: int, stop: int) -> list[str]:
        """Return the texts of the next rows, including deleted ones for earlier states; unreadable ones are empty."""
        stop = min(stop, start + self._settings.feed_rows)
        missing = snapshot.missing(start, stop)
        texts: list[str] = []
        characters = 0
        for row in range(start, stop):
            try:
                text = "" if row in missing else snapshot.record(row).text
            except DamagedFrameError:
                text = ""
            texts.append(text)
            characters += len(text)
            if characters >= self._settings.feed_characters:
                break
        return texts

    def context(self, snapshot: Snapshot, record: Record, before: int, after: int) -> list[Record]:
        """Return a record with its neighbors in the source, by ``chunk`` number, or in the order they were added."""
        for name, number in (("before", before), ("after", after)):
            check_count(number, f"{name} is a number of records")
        source, chunk = record.metadata.get("source"), record.metadata.get("chunk")
        if source is None:
            return [record]
        where: dict[str, Any] = {"source": {"$eq": source}}
        if numbered := type(chunk) is int:  # a bool does not count as a chunk number
            where["chunk"] = {"$between": [chunk - before, chunk + after]}
        around = [snapshot.record(row) for row in np.flatnonzero(snapshot.mask(where)).tolist()]
        place = next((i for i, found in enumerate(around) if found.id == record.id), None)
        if place is None:  # deleted meanwhile
            return [record]
        if numbered:
            return sorted(around, key=lambda found: float(found.metadata["chunk"]))
        return around[max(0, place - before) : place + after + 1]


class SnapshotCorpus:
    """The rows of a snapshot, as a :class:`~memvid_core.engine.ranker.Corpus`.

    Args:
        searcher: The searcher of the memory.
        snapshot: The snapshot.
        indexed: The memory.
    """

    def __init__(self, searcher: Searcher, snapshot: Snapshot, indexed: IndexedJournal) -> None:
        self._searcher = searcher
        self._snapshot = snapshot
        self._indexed = indexed
        self.rows = snapshot.rows
        self.metric: str = snapshot.epoch.journal.header.metric

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of the snapshot."""
        return self._snapshot.embedder

    @property
    def recorded(self) -> str:
        """The name of the embedder that the memory records."""
        return self._indexed.journal.header.embedder

    @property
    def word_embedder(self) -> bool:
        """Whether the vectors are the built-in embedder's."""
        return self._indexed.word_embedder

    @property
    def has_vectors(self) -> bool:
        """Whether any row has a vector."""
        return self._snapshot.vector_index is not None

    @property
    def mean_length(self) -> float:
        """The mean number of tokens of a live row."""
        return self._searcher.words(self._snapshot).mean_length(self._snapshot.live)

    def rankings(self, request: SearchRequest, k: int, where: Mapping[str, Any] | None) -> tuple[Ranking, Ranking]:
        """Return the best rows that match a filter, by words and by vectors."""
        return self.ranked(request, k, self._snapshot.mask(where))

    def ranked(
        self,
        request: SearchRequest,
        k: int,
        mask: NDArray[np.bool_],
        shared: Shared | None = None,
        among: Among | None = None,
    ) -> tuple[Ranking, Ranking]:
        """Return the best rows of a mask, by words and by vectors.

        Args:
            request: The question.
            k: The number of rows of each ranking.
            mask: (rows,) bool, the rows that may be returned.
            shared: The statistics of its words, if the memory is a part of a library.
            among: Which part of it the memory is, if all parts are asked at the same time.
        """
        if request.mode == "dense":
            return _NOTHING, self._dense(request, k, mask, among)
        assert request.text is not None
        index = self._searcher.words(self._snapshot)
        live = self._snapshot.live
        words = index.search(request.text, k, mask, live=live, normalized=True, extra=request.extra, shared=shared)
        if request.mode == "lexical":
            return words, _NOTHING
        # Phrases and exclusions apply to both parts: the dense part must not return an excluded text.
        allowed = index.restriction(request.text)
        return words, self._dense(request, k, mask if allowed is None else mask & _fitted(allowed, len(mask)), among)

    def _dense(self, request: SearchRequest, k: int, mask: NDArray[np.bool_], among: Among | None) -> Ranking:
        """Return rows and their cosines or negative distances."""
        index = self._snapshot.vector_index
        if index is None or request.vector is None or not len(request.vector):  # empty: the embedder returned nothing
            return _NOTHING
        dense, live = self._snapshot.dense, self._snapshot.live
        allowed = dense if mask is live else mask & dense  # a row with a vector that counts is live
        rows, values = index.search(fitting(request.vector, index.dimension), k, allowed, among)
        return rows, flipped(values, index.metric)

    def without(self, question: str, row: int) -> tuple[Ranking, Ranking]:
        """Return the lexical and the dense ranking of all rows but one, with scores in [0, 1]."""
        embedder = self._snapshot.embedder
        own = embedder if is_fittable(embedder) else None
        text = plain_query(question)
        vector = None if own is None else own.embed_query(text)
        mask = self._snapshot.live.copy()
        mask[row] = False
        request = SearchRequest(text, vector, fusion.CANDIDATES, "hybrid")
        words, (rows, values) = self.ranked(request, request.k, mask)
        return words, (rows, to_scores(values, self.metric))

    def evidence(self) -> Evidence:
        """Return the evidence of the memory."""
        return self._searcher.evidence(self._snapshot)

    def expect(self, vectors: NDArray[np.int64], places: NDArray[np.int64], records: NDArray[np.int64]) -> None:
        """Do nothing: what is asked for is at hand."""

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of rows, decoded from the video."""
        return [self._snapshot.record(row) for row in rows]

    def live_places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places (n,) of live rows among all live ones."""
        return self._snapshot.live_places(rows)

    def indexed_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the indexed vectors of rows (n, d)."""
        index = self._snapshot.vector_index
        assert index is not None
        by_cosine = index.metric == "cosine"
        inside = rows < index.rows if by_cosine else (rows < index.rows) & self._snapshot.dense[rows]
        if inside.all():
            return index.vectors(rows)
        found = np.full((len(rows), index.dimension), 0.0 if by_cosine else np.nan, np.float32)
        found[inside] = index.vectors(rows[inside])
        return found

    def stored_vectors(self, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) of rows."""
        return self._snapshot.vectors(rows)

    def asked_too(self, request: SearchRequest) -> dict[str, float]:
        """Return near words and synonyms, with their weights."""
        assert request.text is not None
        return self._searcher.words(self._snapshot).asked_too(request.text, request.extra, self._snapshot.live)


def _fitted(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Return a mask with ``rows`` rows, cut or extended with False."""
    fitted = np.zeros(rows, np.bool_)
    fitted[: min(rows, len(mask))] = mask[:rows]
    return fitted
