"""Searcher: a question to rows with scores, in one snapshot of a memory."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_answer, check_count
from memvid_core.errors import Action, DamagedFrameError, DimensionError, Hint, QueryError, StorageError
from memvid_core.index import fusion
from memvid_core.index.vectors.metrics import closeness, feedback, similarity
from memvid_core.index.words.lexical_index import LexicalIndex
from memvid_core.model import Hit, Record
from memvid_core.system.progress import progress

__all__ = ["Searcher"]

_FEED_ROWS = 1 << 16
_FEED_CHARACTERS = 1 << 25
"""The lexical index is fed so much at a time: enough for blocks that no merge has to write again."""
_SHOW_PROGRESS_ROWS = 20_000


@dataclass(frozen=True)
class Ranked:
    """Rows best first, their scores in [0, 1], their cosines or distances where known, each part's share by name."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    compared: dict[int, float] = field(default_factory=dict)
    parts: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: Sequence[int] | NDArray[np.int64]) -> Ranked:
        """Some of it, in another order."""
        at = np.asarray(places, np.int64)
        parts = {name: part[at] for name, part in self.parts.items()}
        return Ranked(self.rows[at], self.scores[at], self.compared, parts)

    def rescored(self, scores: NDArray[np.float32], k: int, **shares: NDArray[np.float32]) -> Ranked:
        """The best ``k`` under other scores; equal ones in the order of the rows."""
        better = Ranked(self.rows, scores, self.compared, {**self.parts, **shares})
        return better.taken(np.lexsort((self.rows, -scores))[:k])


class Searcher:
    """Ranks the rows of a snapshot.

    Args:
        indexed: The memory.
    """

    def __init__(self, indexed: IndexedJournal) -> None:
        self._indexed = indexed
        self._feeding = threading.Lock()

    def search(self, snapshot: Snapshot, request: SearchRequest) -> list[Hit]:
        """Return the best ``k`` records of a snapshot, decoded from the video, best first."""
        request = self._embedded(snapshot, request)
        if request.k <= 0 or not snapshot.rows:
            return []
        ranked = self._best(snapshot, request) if request.diversity is None else self._diverse(snapshot, request)
        return self._decode(snapshot, ranked, request)

    def search_many(self, snapshot: Snapshot, requests: Sequence[SearchRequest]) -> list[list[Hit]]:
        """Return hits for each of several requests that differ in their questions alone, in one pass over the index."""
        if not requests:
            return []
        first = requests[0]
        if callable(first.where):
            raise QueryError("many questions at once take a dict as their filter, not a function; search() takes both")
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
            ranked = _dense_ranked(rows[there], _flipped(values[there], index.metric), index.metric)
            found[place] = self._decode(snapshot, ranked, first)
        return found

    def _embedded(self, snapshot: Snapshot, request: SearchRequest) -> SearchRequest:
        """Return the request with its vector, made by the embedder as it was at the snapshot.

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
        if callable(request.where):
            ranked = self._accepted(snapshot, request, request.where)
        else:
            ranked = self._rank(snapshot, request, request.pool, snapshot.mask(request.where))
        return self._adjusted(snapshot, ranked, request)

    def _diverse(self, snapshot: Snapshot, request: SearchRequest) -> Ranked:
        """Return ``k`` of the best rows, each chosen for its score and its distance from those before it.

        A record without a vector is like no other.
        """
        assert request.diversity is not None
        pool = self._best(snapshot, replace(request, k=max(request.k, request.diversity.fetch_k)))
        if snapshot.vector_index is None:
            return pool.taken(np.arange(min(request.k, len(pool))))
        metric = _metric(snapshot)
        # By cosine and nothing else, the vectors say themselves how relevant they are.
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
            return _dense_ranked(*self._dense(snapshot, request, k, mask), _metric(snapshot))
        if request.mode == "lexical":
            rows, scores = self._lexical(snapshot, request, k, mask, normalised=True)
            return Ranked(rows, scores, parts={"lexical": scores})
        return self._hybrid(snapshot, request, k, mask)

    def _dense(self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_]) -> fusion.Ranking:
        """Rows and cosines, or negative distances."""
        index = snapshot.vector_index
        if index is None or request.vector is None or not len(request.vector):  # empty: what the embedder had to say
            return np.empty(0, np.int64), np.empty(0, np.float32)
        rows, values = index.search(_fitting(request.vector, index.dimension), k, mask & snapshot.dense)
        return rows, _flipped(values, index.metric)

    def _lexical(
        self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_], *, normalised: bool
    ) -> fusion.Ranking:
        """Rows and BM25 scores, or their share of the ideal."""
        if request.text is None:
            raise QueryError("a search by words needs the words of the question, not a vector alone")
        return self._words(snapshot).search(request.text, k, mask, live=snapshot.live, normalized=normalised)

    def _hybrid(self, snapshot: Snapshot, request: SearchRequest, k: int, mask: NDArray[np.bool_]) -> Ranked:
        pool = max(k, fusion.CANDIDATES)
        lexical = self._lexical(snapshot, request, pool, mask, normalised=False)
        # A phrase or an exclusion binds both halves: a text that was excluded must not come back for its meaning.
        allowed = self._words(snapshot).restriction(request.text or "")
        dense = self._dense(snapshot, request, pool, mask if allowed is None else mask & _fitted(allowed, len(mask)))
        if request.fusion == "rank":
            weights = None if request.alpha is None else {"dense": request.alpha, "lexical": 1 - request.alpha}
            fused = fusion.reciprocal_rank_fusion({"dense": dense, "lexical": lexical}, k, weights=weights)
        else:
            alpha = request.alpha
            if alpha is None:  # the built-in embedder sees the same words, so its agreement says nothing
                alpha = fusion.ALPHA if self._indexed.word_embedder else fusion.trust(dense, lexical)
            asked = np.zeros(0, np.float32) if request.vector is None else request.vector
            metric = _metric(snapshot)
            moved = fusion.feedback if metric == "cosine" else feedback(metric)
            vectors = partial(self._indexed_vectors, snapshot)
            fused = fusion.hybrid(asked, dense, lexical, vectors, k, alpha=alpha, feedback=moved)
        compared = _by_row(dense[0], _flipped(dense[1], _metric(snapshot)))
        return Ranked(fused.rows, fused.scores, compared, fused.parts)

    def _indexed_vectors(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The indexed vectors of rows; for a row that has none, zero by cosine, and NaN by distance."""
        index = snapshot.vector_index
        assert index is not None
        by_cosine = index.metric == "cosine"
        found = np.full((len(rows), index.dimension), 0.0 if by_cosine else np.nan, np.float32)
        inside = rows < index.rows if by_cosine else (rows < index.rows) & snapshot.dense[rows]
        found[inside] = index.vectors(rows[inside])
        return found

    def _adjusted(self, snapshot: Snapshot, ranked: Ranked, request: SearchRequest) -> Ranked:
        """The last step: age, then a reranker's own opinion."""
        if request.recency is not None and len(ranked):
            age = request.recency
            times = np.array([_time_of(snapshot.record(row), age.field) for row in ranked.rows.tolist()])
            now = time.time() if age.now is None else age.now
            scores = fusion.recency(ranked.scores, times, now=now, half_life=age.half_life, weight=age.weight)
            k = request.k if request.rerank is None else len(ranked)
            ranked = ranked.rescored(scores, k, recency=scores - ranked.scores)
        if request.rerank is not None and len(ranked):
            if request.text is None:
                raise QueryError("a reranker needs the words of the question, not a vector alone")
            given = request.rerank(request.text, [snapshot.record(row).text for row in ranked.rows.tolist()])
            opinions = _opinions(given, len(ranked))
            low, high = float(opinions.min()), float(opinions.max())
            inside = low >= 0 and high <= 1  # an order is kept either way; the scale only where it already is [0, 1]
            scores = (opinions if inside else (opinions - low) / ((high - low) or 1.0)).astype(np.float32)
            ranked = ranked.rescored(scores, request.k, rerank=scores)
        return ranked

    def prepare(self, snapshot: Snapshot) -> None:
        """Make what the first searches of a snapshot would make: the index of words, and the lists of vectors."""
        if not snapshot.rows:
            return
        self._words(snapshot)
        index = snapshot.vector_index
        if index is not None:
            index.search(np.ones(index.dimension, np.float32), 1, snapshot.dense)

    def _words(self, snapshot: Snapshot) -> LexicalIndex:
        """Return the lexical index, fed as far as the snapshot reaches."""
        index = snapshot.lexical_index
        if index.rows >= snapshot.rows:
            return index
        with self._feeding:  # its own transactions let one process write at a time; the file stays free for writers
            try:
                self._feed(snapshot, index)
            except StorageError:  # there is no room for it any more
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
                index.sync()  # another process may be feeding it too

    def _texts(self, snapshot: Snapshot, start: int, stop: int) -> list[str]:
        """The texts of the next rows, deleted ones too, for the past; empty where one cannot be read."""
        stop = min(stop, start + _FEED_ROWS)
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
            if characters >= _FEED_CHARACTERS:
                break
        return texts

    def _accepted(self, snapshot: Snapshot, request: SearchRequest, where: Callable[[Record], bool]) -> Ranked:
        """Rows that a function accepts: the ranking is read on until there are enough, or no more."""
        wanted, k = request.pool, 4 * request.pool
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
        return [
            Hit(
                snapshot.record(row),
                score,
                rank,
                ranked.compared.get(row) if by_cosine else None,
                vectors.get(row),
                {name: float(part[rank]) for name, part in ranked.parts.items()} if request.explain else None,
                None if by_cosine else ranked.compared.get(row),
            )
            for rank, (row, score) in enumerate(zip(rows, ranked.scores.tolist(), strict=True))
        ]

    def context(self, snapshot: Snapshot, record: Record, before: int, after: int) -> list[Record]:
        """Return a record with those around it in its source, by their ``chunk`` numbers, or in the order added."""
        for name, number in (("before", before), ("after", after)):
            check_count(number, f"{name} is a number of records")
        source, chunk = record.metadata.get("source"), record.metadata.get("chunk")
        if source is None:
            return [record]
        where: dict[str, Any] = {"source": {"$eq": source}}
        if numbered := type(chunk) is int:  # True is no number of a chunk
            where["chunk"] = {"$between": [chunk - before, chunk + after]}
        around = [snapshot.record(row) for row in np.flatnonzero(snapshot.mask(where)).tolist()]
        place = next((i for i, found in enumerate(around) if found.id == record.id), None)
        if place is None:  # deleted since
            return [record]
        if numbered:
            return sorted(around, key=lambda found: float(found.metadata["chunk"]))
        return around[max(0, place - before) : place + after + 1]


def _fitting(vector: NDArray[Any] | None, dimension: int) -> NDArray[Any]:
    """The vector of a question, if it can be compared with the memory's."""
    if vector is None or vector.shape != (dimension,):
        size = 0 if vector is None else vector.size
        raise DimensionError(f"the query has {size} components, and this memory's vectors have {dimension}")
    return vector


def _opinions(given: Any, count: int) -> NDArray[np.float64]:
    """What a reranker gave, one finite number a text."""
    if inspect.iscoroutine(given):
        given.close()
        raise QueryError("the reranker is a coroutine function: give a plain one")
    try:
        opinions = np.asarray(given if hasattr(given, "__len__") else list(given), np.float64)
    except (TypeError, ValueError) as exc:
        raise QueryError(f"the reranker must give one number a text, not {type(given).__name__}: {exc}") from exc
    if opinions.shape != (count,) or not np.isfinite(opinions).all():
        raise QueryError(f"the reranker must give one finite score a text: {count} texts, {opinions.shape}")
    return opinions


def _metric(snapshot: Snapshot) -> str:
    return snapshot.epoch.journal.header.metric


def _flipped(values: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Return cosines as they are, and distances with a minus sign; of those, it gives the distances back."""
    return values if metric == "cosine" else -values


def _dense_ranked(rows: NDArray[np.int64], values: NDArray[np.float32], metric: str) -> Ranked:
    """What a search by vector found, from cosines or negative distances."""
    scores = fusion.dense_score(values) if metric == "cosine" else closeness(-values)
    return Ranked(rows, scores, _by_row(rows, _flipped(values, metric)), {"dense": scores})


def _by_row(rows: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[int, float]:
    return dict(zip(rows.tolist(), scores.tolist(), strict=True))


def _fitted(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """A mask of ``rows`` rows; what is beyond its own end is not allowed."""
    fitted = np.zeros(rows, np.bool_)
    fitted[: min(rows, len(mask))] = mask[:rows]
    return fitted


def _time_of(record: Record, path: str) -> float:
    """Seconds since 1970 at a metadata path; NaN where there is no time.

    A time without a zone is taken as UTC: the same memory must rank the same on every machine.
    """
    value: Any = record.metadata
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return float("nan")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
