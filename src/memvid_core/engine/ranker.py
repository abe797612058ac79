"""Ranker: ranks the rows of a corpus for a query, and reads the best records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion, together
from memvid_core.engine.adjusting import aged, reranked
from memvid_core.engine.evidence import GAIN, Evidence, odds, support, trust
from memvid_core.engine.nearby import raised
from memvid_core.engine.ranking import Ranked, by_row, compared_scores, dense_ranked, flipped, scores_of, to_scores
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.validation import check_answer
from memvid_core.errors import Action, DimensionError, Hint, QueryError
from memvid_core.model import Embedder, Hit, Passage, Record
from memvid_core.vectors.metrics import feedback, similarity
from memvid_core.words.passages import best_passage
from memvid_core.words.scores import Ranking

__all__ = ["Corpus", "Ranker", "fitting"]


class Corpus(Protocol):
    """What a search ranks: the rows of a snapshot, or of all shards of a library.

    A row is a number; rows are in the order of addition, and equal scores are ordered by row.
    """

    @property
    def rows(self) -> int:
        """The number of rows."""
        ...

    @property
    def embedder(self) -> Embedder | None:
        """The embedder, in the state that made the vectors; None if it is not known."""
        ...

    @property
    def recorded(self) -> str:
        """The name of the embedder that made the vectors."""
        ...

    @property
    def word_embedder(self) -> bool:
        """Whether the vectors are made of words alone, as the built-in embedder's are."""
        ...

    @property
    def metric(self) -> str:
        """The metric for vectors."""
        ...

    @property
    def has_vectors(self) -> bool:
        """Whether any row has a vector."""
        ...

    @property
    def mean_length(self) -> float:
        """The mean number of tokens of a text in the words index."""
        ...

    def rankings(self, request: SearchRequest, k: int, where: Mapping[str, Any] | None) -> tuple[Ranking, Ranking]:
        """Return the best ``k`` rows that match a filter by words and by vectors, as far as the mode needs them.

        Returns:
            Rows with lexical scores in [0, 1); rows with cosines or negative distances. In a hybrid search, phrases and
            exclusions of the query restrict both.
        """
        ...

    def evidence(self) -> Evidence:
        """Return what the texts say about the rankings."""
        ...

    def expect(self, vectors: NDArray[np.int64], places: NDArray[np.int64], records: NDArray[np.int64]) -> None:
        """Take note of the rows whose vectors, live places and records are about to be asked for.

        Where asking takes a message, one brings all of them.
        """
        ...

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of rows."""
        ...

    def live_places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places (n,) of live rows among all live ones, which a compaction does not change."""
        ...

    def indexed_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the indexed vectors of rows (n, d); a row without one is zero for cosine, and NaN for distances."""
        ...

    def stored_vectors(self, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) by row, without rows that have none."""
        ...

    def asked_too(self, request: SearchRequest) -> dict[str, float]:
        """Return what the search by words asks for in addition to the query, with its weight."""
        ...


class Ranker:
    """Rank the rows of a corpus.

    Args:
        corpus: The rows.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._read: dict[int, Record] = {}

    def search(self, request: SearchRequest) -> list[Hit]:
        """Return the best ``k`` records, best first."""
        request = self.embedded(request)
        if request.k <= 0 or not self._corpus.rows:
            return []
        ranked = self._best(request) if request.diversity is None else self._diverse(request)
        if request.min_relevance is not None:
            ranked = ranked.taken(ranked.relevant(request.min_relevance))
        return self.hits(ranked, request)

    def embedded(self, request: SearchRequest) -> SearchRequest:
        """Return the request with its vector, made by the embedder of the corpus.

        Raises:
            QueryError: The embedder is not known.
        """
        text, embedder = request.to_embed, self._corpus.embedder
        if text is None:
            return request
        if embedder is None:
            recorded = self._corpus.recorded
            raise QueryError(
                f"this memory was written by {recorded!r} and opened without it",
                hint=Hint(Action.SEARCH_WORDS, {"embedder": recorded}),
            )
        return replace(request, vector=embedder.embed_query(text))

    def _best(self, request: SearchRequest) -> Ranked:
        """Return the best ``k`` rows."""
        candidates = self._distinct if request.unique else self._aged
        ranked = candidates(request, request.pool)
        if request.rerank is None or not len(ranked):
            return ranked if len(ranked) <= request.k else ranked.taken(np.arange(request.k))
        texts = [record.text for record in self._corpus.records(ranked.rows.tolist())]
        passages = [part.text if (part := _passage(text, request)) is not None else text for text in texts]
        return reranked(ranked, passages, request)

    def _distinct(self, request: SearchRequest, pool: int) -> Ranked:
        """Return the best rows of different texts, ranking more candidates until there are enough."""
        wanted, count = request.k if request.rerank is None else pool, 2 * pool
        known: dict[int, Record] = {}
        while True:
            ranked = self._aged(request, count)
            places: dict[str, int] = {}
            for place in range(len(ranked)):
                text = self._record(ranked, place, wanted, known).text
                places.setdefault(" ".join(text.split()), place)
                if len(places) == wanted:
                    break
            if len(places) == wanted or len(ranked) < count:
                return ranked.taken(list(places.values()))
            count *= 4

    def _record(self, ranked: Ranked, place: int, count: int, known: dict[int, Record]) -> Record:
        """Return the record at a place of a ranking; the next ``count`` are read together, and kept in ``known``."""
        row = int(ranked.rows[place])
        if row not in known:
            rows = [other for other in ranked.rows[place : place + count].tolist() if other not in known]
            known.update(zip(rows, self._corpus.records(rows), strict=True))
        return known[row]

    def _aged(self, request: SearchRequest, count: int) -> Ranked:
        """Return the best ``count`` rows that the filter accepts, with the scores of their ages."""
        if callable(request.where):
            ranked = self._accepted(request, request.where, count)
        else:
            ranked = self._rank(request, count, request.where)
        if request.recency is None:
            return ranked
        return aged(ranked, self._corpus.records(ranked.rows.tolist()), request.recency)

    def _accepted(self, request: SearchRequest, where: Callable[[Record], bool], wanted: int) -> Ranked:
        """Return rows that a function accepts, ranking more candidates until there are enough."""
        k = 4 * wanted
        known: dict[int, Record] = {}
        accepted: dict[int, bool] = {}
        while True:
            ranked = self._rank(request, k, None)
            kept: list[int] = []
            for place, row in enumerate(ranked.rows.tolist()):
                if row not in accepted:
                    accepted[row] = check_answer(where(self._record(ranked, place, wanted, known)))
                if accepted[row]:
                    kept.append(place)
                if len(kept) == wanted:
                    break
            if len(kept) == wanted or len(ranked) < k:
                return ranked.taken(kept)
            k *= 4

    def _diverse(self, request: SearchRequest) -> Ranked:
        """Return ``k`` of the best rows, each chosen by score and by distance from the rows before it.

        A record without a vector has no similarity to any other.
        """
        assert request.diversity is not None
        pool = self._best(replace(request, k=max(request.k, request.diversity.fetch_k)))
        if not self._corpus.has_vectors:
            return pool.taken(np.arange(min(request.k, len(pool))))
        metric = self._corpus.metric
        # For a plain dense search by cosine, relevance is computed from the vectors.
        plain = request.mode == "dense" and request.recency is None and metric == "cosine"
        chosen = fusion.mmr(
            () if request.vector is None else request.vector,
            self._corpus.indexed_vectors(pool.rows),
            request.k,
            lambda_mult=request.diversity.lambda_mult,
            scores=None if plain else pool.scores,
            similarity=None if metric == "cosine" else similarity(metric),
        )
        return pool.taken(chosen)

    def _rank(self, request: SearchRequest, k: int, where: Mapping[str, Any] | None) -> Ranked:
        if request.mode == "dense":
            return dense_ranked(*self._corpus.rankings(request, k, where)[1], self._corpus.metric)
        if request.text is None:
            raise QueryError("a lexical search needs the words of the query, not only a vector")
        if request.mode == "lexical":
            rows, scores = self._corpus.rankings(request, k, where)[0]
            relevance = by_row(rows, self._corpus.evidence().of_words(scores))
            return Ranked(rows, scores, parts={"lexical": scores}, relevance=relevance)
        return self._hybrid(request, k, where)

    def _hybrid(self, request: SearchRequest, k: int, where: Mapping[str, Any] | None) -> Ranked:
        candidates = max(k, fusion.CANDIDATES)
        words, dense = self._corpus.rankings(request, candidates, where)
        weights = self._weights(request, dense, words)
        compared = self._compares(request, words, dense)
        count = self._first(request, k)
        ahead = (count + together.COMPARED, compared)
        ranked = self._fused(request, candidates if compared else k, words, dense, weights, ahead)
        if compared and weights[0] in (0, 1):  # no vectors were asked for
            first = ranked.rows[: ahead[0]]
            self._corpus.expect(first[~np.isin(first, dense[0])], ranked.rows, first)
        if compared:
            ranked = raised(ranked, self._corpus.live_places(ranked.rows), max(k, together.COMPARED))
            ranked = self._placed(request, ranked, k, count, weights[0])
        return replace(ranked, relevance=by_row(ranked.rows, self._relevance(request, ranked.rows, words, dense)))

    def _compares(self, request: SearchRequest, words: Ranking, dense: Ranking) -> bool:
        """Return whether texts near better ones are raised, and the first are read to compare where they have words."""
        if request.alpha is not None or request.fusion == "rank":
            return False
        return bool(len(words[0]) and len(dense[0]))

    def _first(self, request: SearchRequest, k: int) -> int:
        """Return how many records are read at once: without a later choice, the hits are the first rows."""
        chosen = request.min_relevance is not None or request.diversity is not None
        return together.COMPARED if chosen else max(together.COMPARED, min(k, request.k))

    def _placed(self, request: SearchRequest, ranked: Ranked, k: int, count: int, alpha: float) -> Ranked:
        """Return the best ``k`` rows; the first ones in the order of where their texts have the words, too."""
        assert request.text is not None
        first = self._records(ranked.rows[:count].tolist())[: together.COMPARED]
        trusted = None if self._corpus.word_embedder else alpha
        return together.rescored(ranked, [record.text for record in first], request.text, k, trusted)

    def _records(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of rows, each read once."""
        missing = [row for row in rows if row not in self._read]
        self._read.update(zip(missing, self._corpus.records(missing) if missing else [], strict=True))
        return [self._read[row] for row in rows]

    def _fused(
        self,
        request: SearchRequest,
        k: int,
        words: Ranking,
        dense: Ranking,
        weights: tuple[float, float],
        ahead: tuple[int, bool],
    ) -> Ranked:
        """Return the best ``k`` rows of both rankings, with the weights of the first and the second fusion.

        Their relevance is not known yet.

        Args:
            request: The question.
            k: The number of rows.
            words: The ranking by words.
            dense: The ranking by vectors.
            weights: The weights of the dense ranking.
            ahead: The number of records that will probably be read, and whether live places will be asked for.
        """
        lexical = words[0], odds(words[1])
        metric = self._corpus.metric
        if request.fusion == "rank":
            given = None if request.alpha is None else {"dense": request.alpha, "lexical": 1 - request.alpha}
            fused = fusion.reciprocal_rank_fusion({"dense": dense, "lexical": lexical}, k, weights=given)
        else:
            alpha, refined = weights
            asked = np.zeros(0, np.float32) if request.vector is None else request.vector
            moved = fusion.feedback if metric == "cosine" else feedback(metric)

            def vectors(rows: NDArray[np.int64]) -> NDArray[np.float32]:
                records, places = ahead
                self._corpus.expect(rows, rows if places else rows[:0], rows[:records])
                return self._corpus.indexed_vectors(rows)

            fused = fusion.hybrid(asked, dense, lexical, vectors, k, alpha=alpha, refined=refined, feedback=moved)
        compared = by_row(dense[0], flipped(dense[1], metric))
        return Ranked(fused.rows, fused.scores, compared, fused.parts)

    def _relevance(
        self, request: SearchRequest, rows: NDArray[np.int64], words: Ranking, dense: Ranking
    ) -> NDArray[np.float64]:
        """Return the relevance of rows of a hybrid search, each from its own scores."""
        known, metric = self._corpus.evidence(), self._corpus.metric
        by_word = scores_of(rows, words)
        if not len(dense[0]):
            return known.of_words(by_word)
        near = scores_of(rows, (dense[0], to_scores(dense[1], metric)), missing=np.nan)
        lacking = np.isnan(near)
        if lacking.any():
            near[lacking] = compared_scores(metric, request.vector, self._corpus.indexed_vectors(rows[lacking]))
        if self._corpus.word_embedder:
            return known.of_both(by_word, near)
        return known.of_model(by_word, near, support(dense, words))

    def _weights(self, request: SearchRequest, dense: Ranking, words: Ranking) -> tuple[float, float]:
        """Return the weights of the dense ranking in the first and the second fusion."""
        if request.alpha is not None:
            return request.alpha, request.alpha
        lexical = words[0], odds(words[1])
        if not self._corpus.word_embedder:
            alpha = trust(dense, lexical, self._corpus.mean_length)
            return alpha, alpha
        alpha = self._corpus.evidence().alpha
        return alpha, min(1.0, alpha + GAIN * support(dense, lexical))

    def hits(self, ranked: Ranked, request: SearchRequest) -> list[Hit]:
        """Return the records of ranked rows, with what the request asks for."""
        rows = ranked.rows.tolist()
        vectors = self._corpus.stored_vectors(rows) if request.with_vectors else {}
        by_cosine = self._corpus.metric == "cosine"
        records = self._records(rows)
        told = self._told(request)

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

    def _told(self, request: SearchRequest) -> dict[str, float]:
        """Return the near words and synonyms that were searched, with their weights, if the request asks to explain."""
        if not request.explain or request.text is None or request.mode == "dense":
            return {}
        return self._corpus.asked_too(request)


def _passage(text: str, request: SearchRequest) -> Passage | None:
    """Return the best passage of a text, if the request asks for passages."""
    if request.passage is None or request.text is None:
        return None
    start, end = best_passage(text, request.text, request.passage)
    return Passage(text[start:end], start, end)


def fitting(vector: NDArray[Any] | None, dimension: int) -> NDArray[Any]:
    """Return the vector of a query after checking its dimension.

    Raises:
        DimensionError: It differs from the dimension of the memory's vectors.
    """
    if vector is None or vector.shape != (dimension,):
        size = 0 if vector is None else vector.size
        raise DimensionError(f"the query has {size} components, and this memory's vectors have {dimension}")
    return vector
