"""Searcher: ranks the rows of a snapshot for a query, and reads the best records."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.engine.adjusting import aged, reranked
from memvid_core.engine.evidence import GAIN, Evidence, evidence_of, odds, support, trust
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.ranking import Ranked, by_row, compared_scores, dense_ranked, flipped, scores_of, to_scores
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_answer, check_count
from memvid_core.errors import Action, DamagedFrameError, DimensionError, Hint, QueryError, StorageError
from memvid_core.index.vectors.metrics import feedback, similarity
from memvid_core.index.words.lexical_index import LexicalIndex
from memvid_core.index.words.passages import best_passage
from memvid_core.index.words.scores import Ranking
from memvid_core.model import FittableEmbedder, Hit, Passage, Record, plain_query
from memvid_core.system.progress import progress

__all__ = ["Searcher"]

_SHOW_PROGRESS_ROWS = 20_000


class Searcher:
    """Rank the rows of a snapshot.

    Args:
        indexed: The memory.
    """

    def __init__(self, indexed: IndexedJournal) -> None:
        self._indexed = indexed
        self._settings = indexed.settings
        self._feeding = threading.Lock()
        self._learning = threading.Lock()
        self._evidence: dict[str, Evidence] = {}
        self._latest: tuple[weakref.ref[Snapshot], Evidence] | None = None  # a snapshot keeps its file open

    def search(self, snapshot: Snapshot, request: SearchRequest) -> list[Hit]:
        """Return the best ``k`` records of a snapshot, decoded from the video, best first."""
        request = self._embedded(snapshot, request)
        if request.k <= 0 or not snapshot.rows:
            return []
        ranked = self._best(snapshot, request) if request.diversity is None else self._diverse(snapshot, request)
        if request.min_relevance is not None:
            ranked = ranked.taken(ranked.relevant(request.min_relevance))
        return self._decode(snapshot, ranked, request)

    def search_many(self, snapshot: Snapshot, requests: Sequence[SearchRequest]) -> list[list[Hit]]:
        """Return the hits of requests that differ only in their queries, in one pass over the index."""
        if not requests:
            return []
        first = requests[0]
        if callable(first.where):
            raise QueryError("search_many() takes a dict as its filter, not a function; search() takes both")
        vectors = [self._embedded(snapshot, request).vector for request in requests]
        asked = [(place, vector) for place, vector in enumerate(vectors) if vector is not None and len(vector)]
        found: list[list[Hit]] = [[] for _ in requests]
        index = snapshot.vector_index
        if index is None or not asked or first.k <= 0 or not snapshot.rows:
            return found
        matrix = np.stack([_fitting(vector, index.dimension) for _, vector in asked])
        answers = index.search(matrix, first.k, snapshot.mask(first.where) & snapshot.dense)
        for (place, _), rows, values in zip(asked, *answers, strict=True):
            there = rows >= 0
            ranked = dense_ranked(rows[there], flipped(values[there], index.metric), index.metric)
            found[place] = self._decode(snapshot, ranked, first)
        return found

    def _embedded(self, snapshot: Snapshot, request: SearchRequest) -> SearchRequest:
        """Return the request with its vector, made by the embedder of the snapshot.

        Raises:
            QueryError: The memory was opened without its embedder.
        """
        text = request.to_embed
        if text is None:
            return request
        if snapshot.embedder is None:
            recorded = self._indexed.journal.header.embedder
            raise QueryError(
                f"this memory was written by {recorded!r} and opened without it",
                hint=Hint(Action.SEARCH_WORDS, {"embedder": recorded}),
            )
        return replace(request, vector=snapshot.embedder.embed_query(text))

    def _best(self, snapshot: Snapshot, request: SearchRequest) -> Ranked:
        """Return the best ``k`` rows."""
        candidates = self._distinct if request.unique else self._aged
        ranked = candidates(snapshot, request, request.pool)
        if request.rerank is None or not len(ranked):
            return ranked if len(ranked) <= request.k else ranked.taken(np.arange(request.k))
        texts = [snapshot.record(row).text for row in ranked.rows.tolist()]
        passages = [part.text if (part := _passage(text, request)) is not None else text for text in texts]
        return reranked(ranked, passages, request)

    def _distinct(self, snapshot: Snapshot, request: SearchRequest, pool: int) -> Ranked:
        """Return the best rows of different texts, ranking more candidates until there are enough."""
        wanted, count = request.k if request.rerank is None else pool, 2 * pool
        texts: dict[int, str] = {}
        while True:
            ranked = self._aged(snapshot, request, count)
            places: dict[str, int] = {}
            for place, row in enumerate(ranked.rows.tolist()):
                if row not in texts:
                    texts[row] = " ".join(snapshot.record(row).text.split())
                places.setdefault(texts[row], place)
                if len(places) == wanted:
                    break
            if len(places) == wanted or len(ranked) < count:
                return ranked.taken(list(places.values()))
            count *= 4

    def _aged(self, snapshot: Snapshot, request: SearchRequest, count: int) -> Ranked:
        """Return the best ``count`` rows that the filter accepts, with the scores of their ages."""
        if callable(request.where):
            ranked = self._accepted(snapshot, request, request.where, count)
        else:
            ranked = self._rank(snapshot, request, count, snapshot.mask(request.where))
        if request.recency is None:
            return ranked
        return aged(ranked, [snapshot.record(row) for row in ranked.rows.tolist()], request.recency)

    def _diverse(self, snapshot: Snapshot, request: SearchRequest) -> Ranked:
        """Return ``k`` of the best rows, each chosen by score and by distance from the rows before it.

        A record without a vector has no similarity to any other.
        """
        assert request.diversity is not None
        pool = self._best(snapshot, replace(request, k=max(request.k, request.diversity.fetch_k)))
        if snapshot.vector_index is None:
            return pool.taken(np.arange(min(request.k, len(pool))))
        metric = _metric(snapshot)
        # For a plain dense search by cosine, relevance is computed from the vectors.
        plain = request.mode == "dense" and request.recency is None and metric == "cosine"
        chosen = fusion.mmr(
            () if request.vector is None else request.vector,
            self._indexed_vectors(snapshot, pool.rows),
            request.k,
            lambda_mult=request.diversity.lambda_mult,
            scores=None if plain else pool.scores,
            similarity=None if metric == "cosine" else similarity(metric),
        )
        return pool.taken(chosen)

    def _rank(self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_]) -> Ranked:
        if request.mode == "dense":
            return dense_ranked(*self._dense(snapshot, request, k, mask), _metric(snapshot))
        if request.mode == "lexical":
            rows, scores = self._lexical(snapshot, request, k, mask)
            relevance = by_row(rows, self._learned(snapshot).of_words(scores))
            return Ranked(rows, scores, parts={"lexical": scores}, relevance=relevance)
        return self._hybrid(snapshot, request, k, mask)

    def _dense(self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_]) -> Ranking:
        """Return rows and their cosines or negative distances."""
        index = snapshot.vector_index
        if index is None or request.vector is None or not len(request.vector):  # empty: the embedder returned nothing
            return np.empty(0, np.int64), np.empty(0, np.float32)
        rows, values = index.search(_fitting(request.vector, index.dimension), k, mask & snapshot.dense)
        return rows, flipped(values, index.metric)

    def _lexical(self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_]) -> Ranking:
        """Return rows and their lexical scores, in [0, 1)."""
        if request.text is None:
            raise QueryError("a lexical search needs the words of the query, not only a vector")
        return self._words(snapshot).search(
            request.text, k, mask, live=snapshot.live, normalized=True, extra=request.extra
        )

    def _hybrid(self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_]) -> Ranked:
        pool = max(k, fusion.CANDIDATES)
        words = self._lexical(snapshot, request, pool, mask)
        lexical = words[0], odds(words[1])
        # Phrases and exclusions apply to both parts: the dense part must not return an excluded text.
        allowed = self._words(snapshot).restriction(request.text or "")
        dense = self._dense(snapshot, request, pool, mask if allowed is None else mask & _fitted(allowed, len(mask)))
        if request.fusion == "rank":
            weights = None if request.alpha is None else {"dense": request.alpha, "lexical": 1 - request.alpha}
            fused = fusion.reciprocal_rank_fusion({"dense": dense, "lexical": lexical}, k, weights=weights)
        else:
            alpha, refined = self._weights(snapshot, request, dense, lexical)
            asked = np.zeros(0, np.float32) if request.vector is None else request.vector
            metric = _metric(snapshot)
            moved = fusion.feedback if metric == "cosine" else feedback(metric)
            vectors = partial(self._indexed_vectors, snapshot)
            fused = fusion.hybrid(asked, dense, lexical, vectors, k, alpha=alpha, refined=refined, feedback=moved)
        compared = by_row(dense[0], flipped(dense[1], _metric(snapshot)))
        relevance = self._relevance(snapshot, request, fused.rows, words, dense)
        return Ranked(fused.rows, fused.scores, compared, fused.parts, by_row(fused.rows, relevance))

    def _relevance(
        self,
        snapshot: Snapshot,
        request: SearchRequest,
        rows: NDArray[np.int64],
        words: Ranking,
        dense: Ranking,
    ) -> NDArray[np.float64]:
        """Return the relevance of rows of a hybrid search, each from its own scores."""
        known = self._learned(snapshot)
        by_word = scores_of(rows, words)
        if not len(dense[0]):
            return known.of_words(by_word)
        metric = _metric(snapshot)
        near = scores_of(rows, (dense[0], to_scores(dense[1], metric)))
        lacking = ~np.isin(rows, dense[0], assume_unique=True)
        if lacking.any():
            near[lacking] = compared_scores(metric, request.vector, self._indexed_vectors(snapshot, rows[lacking]))
        if self._indexed.word_embedder:
            return known.of_both(by_word, near)
        return known.of_model(by_word, near, support(dense, words))

    def _weights(
        self, snapshot: Snapshot, request: SearchRequest, dense: Ranking, lexical: Ranking
    ) -> tuple[float, float]:
        """Return the weights of the dense ranking in the first and the second fusion."""
        if request.alpha is not None:
            return request.alpha, request.alpha
        if not self._indexed.word_embedder:
            alpha = trust(dense, lexical, self._words(snapshot).mean_length(snapshot.live))
            return alpha, alpha
        alpha = self._learned(snapshot).alpha
        return alpha, min(1.0, alpha + GAIN * support(dense, lexical))

    def _learned(self, snapshot: Snapshot) -> Evidence:
        """Return the evidence of the memory; the first call may learn it, which takes about a second."""
        latest = self._latest
        if latest is not None and latest[0]() is snapshot:
            return latest[1]
        with self._learning:
            found = evidence_of(snapshot, self._evidence, partial(self._without, snapshot))
        self._latest = weakref.ref(snapshot), found
        return found

    def _without(self, snapshot: Snapshot, question: str, row: int) -> tuple[Ranking, Ranking]:
        """Return the lexical and the dense ranking of all rows but one, with scores in [0, 1]."""
        embedder = snapshot.embedder
        own = embedder if isinstance(embedder, FittableEmbedder) else None
        text = plain_query(question)
        vector = None if own is None else own.embed_query(text)
        request = SearchRequest(text, vector, fusion.CANDIDATES, "hybrid")
        mask = snapshot.live.copy()
        mask[row] = False
        words = self._lexical(snapshot, request, request.k, mask)
        rows, values = self._dense(snapshot, request, request.k, mask)
        return words, (rows, to_scores(values, _metric(snapshot)))

    def _indexed_vectors(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the indexed vectors of rows (n, d); a row without one is zero for cosine, and NaN for distances."""
        index = snapshot.vector_index
        assert index is not None
        by_cosine = index.metric == "cosine"
        found = np.full((len(rows), index.dimension), 0.0 if by_cosine else np.nan, np.float32)
        inside = rows < index.rows if by_cosine else (rows < index.rows) & snapshot.dense[rows]
        found[inside] = index.vectors(rows[inside])
        return found

    def prepare(self, snapshot: Snapshot) -> None:
        """Build what the first searches would build: the lexical index, the evidence, and the lists of vectors."""
        if not snapshot.rows:
            return
        self._words(snapshot)
        self._learned(snapshot)
        index = snapshot.vector_index
        if index is not None:
            index.search(np.ones(index.dimension, np.float32), 1, snapshot.dense)

    def _words(self, snapshot: Snapshot) -> LexicalIndex:
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
                index.extend(index.rows, self._texts(snapshot, index.rows, total))
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

    def _accepted(
        self, snapshot: Snapshot, request: SearchRequest, where: Callable[[Record], bool], wanted: int
    ) -> Ranked:
        """Return rows that a function accepts, ranking more candidates until there are enough."""
        k = 4 * wanted
        accepted: dict[int, bool] = {}
        while True:
            ranked = self._rank(snapshot, request, k, snapshot.live)
            kept: list[int] = []
            for place, row in enumerate(ranked.rows.tolist()):
                if row not in accepted:
                    accepted[row] = check_answer(where(snapshot.record(row)))
                if accepted[row]:
                    kept.append(place)
                if len(kept) == wanted:
                    break
            if len(kept) == wanted or len(ranked) < k:
                return ranked.taken(kept)
            k *= 4

    def _decode(self, snapshot: Snapshot, ranked: Ranked, request: SearchRequest) -> list[Hit]:
        rows = ranked.rows.tolist()
        vectors = snapshot.vectors(rows) if request.with_vectors else {}
        by_cosine = _metric(snapshot) == "cosine"
        records = [snapshot.record(row) for row in rows]
        told = self._told(snapshot, request)

        def explained(rank: int) -> dict[str, float]:
            return {**{name: float(part[rank]) for name, part in ranked.parts.items()}, **told}

        return [
            Hit(
                records[rank],
                score,
                rank,
                ranked.compared.get(row) if by_cosine else None,
                vectors.get(row),
                explained(rank) if request.explain else None,
                None if by_cosine else ranked.compared.get(row),
                ranked.relevance.get(row),
                _passage(records[rank].text, request),
            )
            for rank, (row, score) in enumerate(zip(rows, ranked.scores.tolist(), strict=True))
        ]

    def _told(self, snapshot: Snapshot, request: SearchRequest) -> dict[str, float]:
        """Return the near words and synonyms that were searched, with their weights, if the request asks to explain."""
        if not request.explain or request.text is None or request.mode == "dense":
            return {}
        return self._words(snapshot).asked_too(request.text, request.extra, snapshot.live)

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


def _passage(text: str, request: SearchRequest) -> Passage | None:
    """Return the best passage of a text, if the request asks for passages."""
    if request.passage is None or request.text is None:
        return None
    start, end = best_passage(text, request.text, request.passage)
    return Passage(text[start:end], start, end)


def _fitting(vector: NDArray[Any] | None, dimension: int) -> NDArray[Any]:
    """Return the vector of a query after checking its dimension.

    Raises:
        DimensionError: It differs from the dimension of the memory's vectors.
    """
    if vector is None or vector.shape != (dimension,):
        size = 0 if vector is None else vector.size
        raise DimensionError(f"the query has {size} components, and this memory's vectors have {dimension}")
    return vector


def _metric(snapshot: Snapshot) -> str:
    return snapshot.epoch.journal.header.metric


def _fitted(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Return a mask with ``rows`` rows, cut or extended with False."""
    fitted = np.zeros(rows, np.bool_)
    fitted[: min(rows, len(mask))] = mask[:rows]
    return fitted
