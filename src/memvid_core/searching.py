"""Searcher: a question to rows with scores, in one view of a memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, DimensionError, InvalidInputError, QueryError
from memvid_core.generation import View
from memvid_core.index import ranking
from memvid_core.index.lexical import LexicalIndex
from memvid_core.model import Hit, Recency, Record
from memvid_core.progress import progress
from memvid_core.replica import Replica
from memvid_core.validation import check_count

__all__ = ["Fusion", "Mode", "Query", "Rerank", "Searcher", "Where"]

Mode = Literal["dense", "lexical", "hybrid"]
Fusion = Literal["score", "rank"]
Where = Mapping[str, Any] | Callable[[Record], bool]
Rerank = Callable[[str, list[str]], Sequence[float]]
"""A question and texts to one score a text, higher is better."""

_FEED_ROWS = 4096
_SHOW_PROGRESS_ROWS = 20_000


@dataclass(frozen=True)
class Query:
    """A question: its text, its vector, or both, and how it is to be answered."""

    text: str | None
    vector: NDArray[Any] | None
    k: int
    mode: Mode
    where: Where | None = None
    alpha: float | None = None
    fusion: Fusion = "score"
    recency: Recency | None = None
    rerank: Rerank | None = None
    vectors: bool = False
    explain: bool = False

    @property
    def pool(self) -> int:
        """How many rows to rank before the last step picks ``k``."""
        return self.k if self.recency is None and self.rerank is None else max(self.k, ranking.CANDIDATES)


@dataclass(frozen=True)
class Ranked:
    """Rows best first, their scores in [0, 1], their cosines where known, and each part's share by name."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    cosines: dict[int, float] = field(default_factory=dict)
    parts: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: Sequence[int] | NDArray[np.int64]) -> Ranked:
        """Some of it, in another order."""
        at = np.asarray(places, np.int64)
        parts = {name: part[at] for name, part in self.parts.items()}
        return Ranked(self.rows[at], self.scores[at], self.cosines, parts)

    def rescored(self, scores: NDArray[np.float32], k: int, **shares: NDArray[np.float32]) -> Ranked:
        """The best ``k`` under other scores; equal ones in the order of the rows."""
        better = Ranked(self.rows, scores, self.cosines, {**self.parts, **shares})
        return better.taken(np.lexsort((self.rows, -scores))[:k])


class Searcher:
    """Ranks the rows of a view.

    Args:
        replica: The memory.
        pinned: The past that neighbours of a hit are looked for in; None is the newest view.
    """

    def __init__(self, replica: Replica, pinned: View | None = None) -> None:
        self._replica = replica
        self._pinned = pinned

    def hits(self, view: View, query: Query) -> list[Hit]:
        """The best ``k`` records of ``view``, decoded from the video, best first."""
        if query.k <= 0 or not view.rows:
            return []
        if callable(query.where):
            ranked = self._accepted(view, query, query.where)
        else:
            ranked = self._rank(view, query, query.pool, self._mask(view, query.where))
        return self._decode(view, self._adjusted(view, ranked, query), query)

    def many(self, view: View, matrix: NDArray[Any], query: Query) -> list[list[Hit]]:
        """Hits for each vector of ``matrix`` (q, d), in one pass over the index."""
        index = view.generation.index.vectors()
        if index is None or query.k <= 0 or not view.rows or not len(matrix):
            return [[] for _ in matrix]
        if callable(query.where):
            raise QueryError("many questions at once take a dict as their filter; a function goes with search()")
        all_rows, all_cosines = index.search(matrix, query.k, self._mask(view, query.where) & view.dense)
        found = [(rows[rows >= 0], cosines[rows >= 0]) for rows, cosines in zip(all_rows, all_cosines, strict=True)]
        return [self._decode(view, _dense_ranked(rows, cosines), query) for rows, cosines in found]

    def mmr(self, view: View, query: Query, fetch_k: int, lambda_mult: float) -> list[Hit]:
        """``k`` of the best ``fetch_k`` records, each chosen for its score and its distance from those before it."""
        if not 0 <= lambda_mult <= 1:
            raise InvalidInputError(f"lambda_mult is a number from 0 to 1, not {lambda_mult!r}")
        candidates = max(query.k, check_count(fetch_k, "fetch_k is a number of candidates"))
        pool = self.hits(view, replace(query, k=candidates, vectors=True))
        with_vector = [hit for hit in pool if hit.vector is not None]
        if not with_vector:
            return pool[: query.k]
        matrix = np.stack([hit.vector for hit in with_vector])
        scores = None if query.mode == "dense" else [hit.score for hit in with_vector]
        chosen = ranking.mmr(
            () if query.vector is None else query.vector, matrix, query.k, lambda_mult=lambda_mult, scores=scores
        )
        picked = [with_vector[i] for i in chosen.tolist()]
        return [
            msgspec.structs.replace(hit, rank=rank, vector=hit.vector if query.vectors else None)
            for rank, hit in enumerate(picked)
        ]

    def _mask(self, view: View, where: Mapping[str, Any] | None) -> NDArray[np.bool_]:
        """The live rows that match a filter."""
        return view.live & view.generation.index.mask(where, view.rows) if where else view.live

    def _rank(self, view: View, query: Query, k: int, mask: NDArray[np.bool_]) -> Ranked:
        if query.mode == "dense":
            return _dense_ranked(*self._dense(view, query, k, mask))
        if query.mode == "lexical":
            rows, scores = self._lexical(view, query, k, mask, normalised=True)
            return Ranked(rows, scores, parts={"lexical": scores})
        return self._hybrid(view, query, k, mask)

    def _dense(self, view: View, query: Query, k: int, mask: NDArray[np.bool_]) -> ranking.Ranking:
        """Rows and cosines."""
        index = view.generation.index.vectors()
        if index is None or query.vector is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if query.vector.shape != (index.dimension,):
            raise DimensionError(
                f"the query has {query.vector.size} components, and this memory's vectors have {index.dimension}"
            )
        return index.search(query.vector, k, mask & view.dense)

    def _lexical(
        self, view: View, query: Query, k: int, mask: NDArray[np.bool_], *, normalised: bool
    ) -> ranking.Ranking:
        """Rows and BM25 scores, or their share of the ideal."""
        if query.text is None:
            raise QueryError("a search by words needs the words of the question, not a vector alone")
        return self.lexical_index(view).search(query.text, k, mask, live=view.live, normalised=normalised)

    def _hybrid(self, view: View, query: Query, k: int, mask: NDArray[np.bool_]) -> Ranked:
        pool = max(k, ranking.CANDIDATES)
        lexical = self._lexical(view, query, pool, mask, normalised=False)
        # A phrase or an exclusion binds both halves: a text that was excluded must not come back for its meaning.
        allowed = self.lexical_index(view).restriction(query.text or "")
        dense = self._dense(view, query, pool, mask if allowed is None else mask & _fitted(allowed, len(mask)))
        if query.fusion == "rank":
            weights = None if query.alpha is None else {"dense": query.alpha, "lexical": 1 - query.alpha}
            fused = ranking.reciprocal_rank_fusion({"dense": dense, "lexical": lexical}, k, weights=weights)
        else:
            alpha = query.alpha
            if alpha is None:  # the built-in embedder sees the same words, so its agreement says nothing
                alpha = ranking.ALPHA if self._replica.word_embedder else ranking.trust(dense, lexical)
            asked = np.zeros(0, np.float32) if query.vector is None else query.vector
            fused = ranking.hybrid(asked, dense, lexical, partial(self._unit_vectors, view), k, alpha=alpha)
        return Ranked(fused.rows, fused.scores, _by_row(*dense), fused.parts)

    def _unit_vectors(self, view: View, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The indexed vectors of rows; zero for a row that has none."""
        index = view.generation.index.vectors()
        assert index is not None
        found = np.zeros((len(rows), index.dimension), np.float32)
        inside = rows < index.rows
        found[inside] = index.vectors(rows[inside])
        return found

    def _adjusted(self, view: View, ranked: Ranked, query: Query) -> Ranked:
        """The last step: age, then a reranker's own opinion."""
        if query.recency is not None and len(ranked):
            age = query.recency
            times = np.array([_time_of(view.generation.record(row), age.field) for row in ranked.rows.tolist()])
            now = time.time() if age.now is None else age.now
            scores = ranking.recency(ranked.scores, times, now=now, half_life=age.half_life, weight=age.weight)
            k = query.k if query.rerank is None else len(ranked)
            ranked = ranked.rescored(scores, k, recency=scores - ranked.scores)
        if query.rerank is not None and len(ranked):
            if query.text is None:
                raise QueryError("a reranker needs the words of the question, not a vector alone")
            given = query.rerank(query.text, [view.generation.record(row).text for row in ranked.rows.tolist()])
            opinions = np.asarray(list(given), np.float64)
            if opinions.shape != (len(ranked),) or not np.isfinite(opinions).all():
                raise QueryError(
                    f"the reranker must give one finite score a text: {len(ranked)} texts, {opinions.shape}"
                )
            low, high = float(opinions.min()), float(opinions.max())
            inside = low >= 0 and high <= 1  # an order is kept either way; the scale only where it already is [0, 1]
            scores = (opinions if inside else (opinions - low) / ((high - low) or 1.0)).astype(np.float32)
            ranked = ranked.rescored(scores, query.k, rerank=scores)
        return ranked

    def lexical_index(self, view: View) -> LexicalIndex:
        """The lexical index, fed as far as the view reaches: it costs nothing until someone asks by words."""
        folder = view.generation.index
        index = folder.lexical()
        if index.rows >= view.rows:
            return index
        with folder.transaction():
            index.sync()  # another process may have fed it meanwhile
            start, total = index.rows, view.rows
            show = None if total - start > _SHOW_PROGRESS_ROWS else False
            with progress("Indexing words", total - start, show=show) as advance:
                while index.rows < total:
                    first = index.rows
                    stop = min(first + _FEED_ROWS, total)
                    index.extend(first, self._texts(view, first, stop))
                    advance(stop - start)
        return index

    def _texts(self, view: View, start: int, stop: int) -> list[str]:
        """The texts of rows [``start``, ``stop``), deleted ones too, for the past; empty where one cannot be read."""
        missing = set(view.generation.index.catalog.missing(start, stop).tolist())
        texts: list[str] = []
        for row in range(start, stop):
            try:
                texts.append("" if row in missing else view.generation.record(row).text)
            except DamagedFrameError:
                texts.append("")
        return texts

    def _accepted(self, view: View, query: Query, where: Callable[[Record], bool]) -> Ranked:
        """Rows that a function accepts: the ranking is read on until there are enough, or no more."""
        wanted, k = query.pool, 4 * query.pool
        accepted: dict[int, bool] = {}
        while True:
            ranked = self._rank(view, query, k, view.live)
            kept: list[int] = []
            for place, row in enumerate(ranked.rows.tolist()):
                if row not in accepted:
                    accepted[row] = bool(where(view.generation.record(row)))
                if accepted[row]:
                    kept.append(place)
                if len(kept) == wanted:
                    break
            if len(kept) == wanted or len(ranked) < k:
                return ranked.taken(kept)
            k *= 4

    def _decode(self, view: View, ranked: Ranked, query: Query) -> list[Hit]:
        rows = ranked.rows.tolist()
        vectors = view.generation.vectors(view, rows) if query.vectors else {}
        neighbours = self._around
        return [
            Hit(
                view.generation.record(row),
                score,
                rank,
                ranked.cosines.get(row),
                vectors.get(row),
                {name: float(part[rank]) for name, part in ranked.parts.items()} if query.explain else None,
                neighbours,
            )
            for rank, (row, score) in enumerate(zip(rows, ranked.scores.tolist(), strict=True))
        ]

    def _around(self, record: Record, before: int, after: int) -> list[Record]:
        """Neighbours of a hit, as they are when they are asked for: a hit may be kept for long."""
        view = self._replica.refresh() if self._pinned is None else self._pinned
        return self.neighbours(view, record, before, after)

    def neighbours(self, view: View, record: Record, before: int, after: int) -> list[Record]:
        """A record with those that stand around it in its source, by their ``chunk`` numbers, or in the order added."""
        source, chunk = record.metadata.get("source"), record.metadata.get("chunk")
        if source is None:
            return [record]
        where: dict[str, Any] = {"source": source}
        if isinstance(chunk, int):
            where["chunk"] = {"$between": [chunk - before, chunk + after]}
        rows = np.flatnonzero(self._mask(view, where)).tolist()
        around = [view.generation.record(row) for row in rows]
        if isinstance(chunk, int):
            return sorted(around, key=lambda found: int(found.metadata["chunk"]))
        place = next((i for i, found in enumerate(around) if found.id == record.id), None)
        return [record] if place is None else around[max(0, place - before) : place + after + 1]


def _dense_ranked(rows: NDArray[np.int64], cosines: NDArray[np.float32]) -> Ranked:
    scores = ranking.dense_score(cosines)
    return Ranked(rows, scores, _by_row(rows, cosines), {"dense": scores})


def _by_row(rows: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[int, float]:
    return dict(zip(rows.tolist(), scores.tolist(), strict=True))


def _fitted(mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """A mask of ``rows`` rows; what is beyond its own end is not allowed."""
    fitted = np.zeros(rows, np.bool_)
    fitted[: min(rows, len(mask))] = mask[:rows]
    return fitted


def _time_of(record: Record, path: str) -> float:
    """Seconds since 1970 at a metadata path; NaN where there is no time."""
    value: Any = record.metadata
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return float("nan")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
