"""Combine rankings: fusion, diversity, recency, and scores that are comparable between queries.

Pure functions over rows and scores. Scores are in [0, 1], higher is better:

- dense: the cosine of query and text, 0 if negative (:func:`dense_score`); LangChain calls it the relevance score of a
  cosine distance. 0 is a text unrelated to the query. For another metric it is 1 / (1 + distance)
  (``memvid_core.vectors.metrics.closeness``).
- lexical: ``bm25 / (bm25 + ideal)`` (``memvid_core.words.scores``). 0.5 is a text of average length with every
  word of the query once, 0 a text with none of them.
- hybrid: the weighted sum of both rankings' relative scores (:func:`relative_score_fusion`,
  :func:`reciprocal_rank_fusion`). 1 is the best text of both. It is comparable within one query, not between queries;
  the relevance of a hit is (``memvid_core.engine.evidence``). Added are better texts next to it
  (``memvid_core.engine.nearby``) and where the first texts have the words (``memvid_core.engine.together``).

Ties are in the order of the rows, so results are deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memvid_core.errors import InvalidInputError
from memvid_core.words.scores import Ranking, top_k

__all__ = [
    "ALPHA",
    "CANDIDATES",
    "Fused",
    "cosines",
    "dense_score",
    "feedback",
    "hybrid",
    "mmr",
    "recency",
    "reciprocal_rank_fusion",
    "relative_score_fusion",
]

CANDIDATES: Final = 100
"""The minimum number of candidates from each ranking for a fusion."""

ALPHA: Final = 0.2
"""The weight of the dense ranking of the built-in embedder until a memory has enough texts to learn its own."""


_TEACHERS: Final = 5
_SHARPNESS: Final = 6.0


class Fused(NamedTuple):
    """A fused ranking, with the contribution of each ranking.

    Attributes:
        rows: (n,) int64, best first, ties in the order of the rows.
        scores: (n,) float32 in [0, 1]: the sum of the parts.
        parts: For each ranking by name, (n,) float32: its share of each score.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    parts: dict[str, NDArray[np.float32]]

    def explain(self, rank: int) -> dict[str, float]:
        """Return the contribution of each ranking to the score at a rank (from 0)."""
        return {name: float(part[rank]) for name, part in self.parts.items()}


def dense_score(cosines: ArrayLike) -> NDArray[np.float32]:
    """Map cosines to [0, 1] by replacing negative values by 0.

    Args:
        cosines: (n,) in [-1, 1], up to rounding errors.

    Returns:
        (n,) float32.

    Example:
        >>> dense_score([1.0, 0.25, -0.5]).tolist()
        [1.0, 0.25, 0.0]
    """
    return np.clip(np.asarray(cosines, np.float32), 0, 1)


def reciprocal_rank_fusion(
    rankings: Mapping[str, Ranking], k: int, *, c: float = 60.0, weights: Mapping[str, float] | None = None
) -> Fused:
    """Fuse rankings by rank alone, for rankings with incomparable scores.

    Each contributes ``weight / (c + rank)``, with ranks from 1, divided by the score of a row that is first in all.

    Args:
        rankings: By name, at least one.
        k: The maximum number of rows to return.
        c: Smoothing constant, 0 or more; larger values reduce the advantage of the first ranks.
        weights: Weights by the same names, not negative; equal by default.

    Returns:
        The fused ranking.

    Raises:
        InvalidInputError: If ``c`` or a weight is negative, or all weights are 0.

    Source: Cormack, Clarke and Büttcher, "Reciprocal rank fusion", SIGIR 2009.

    Example:
        >>> a = np.array([3, 1]), np.array([0.9, 0.8], np.float32)
        >>> b = np.array([1, 2]), np.array([7.0, 5.0], np.float32)
        >>> reciprocal_rank_fusion({"dense": a, "lexical": b}, k=3).rows.tolist()
        [1, 3, 2]
    """
    if not c >= 0:
        raise InvalidInputError(f"c must be 0 or more, not {c}")
    shares = _shares(rankings, weights)
    return _fuse({n: (r, shares[n] * (c + 1) / (c + 1 + np.arange(len(r)))) for n, (r, _) in rankings.items()}, k)


def relative_score_fusion(dense: Ranking, lexical: Ranking, k: int, *, alpha: float = ALPHA) -> Fused:
    """Fuse a dense and a lexical ranking by their scores, each relative to the best of its ranking.

    A BM25 score of 0 means "none of the words", so lexical scores are divided by the best. Cosines have no such zero
    (some models never go below 0.7), so dense scores are scaled from 0 for the last candidate to 1 for the best.

    Args:
        dense: About :data:`CANDIDATES` rows with their cosines, best first.
        lexical: About as many rows with their BM25 scores, best first.
        k: The maximum number of rows to return.
        alpha: The weight of the dense ranking, in [0, 1]; the lexical ranking has the rest.

    Returns:
        The fused ranking, its parts named ``dense`` and ``lexical``.

    Raises:
        InvalidInputError: If ``alpha`` is outside [0, 1].

    Example:
        >>> dense = np.array([3, 1, 2]), np.array([0.9, 0.8, 0.7], np.float32)
        >>> lexical = np.array([1, 2]), np.array([8.0, 4.0], np.float32)
        >>> fused = relative_score_fusion(dense, lexical, k=3, alpha=0.5)
        >>> fused.rows.tolist(), fused.scores.round(2).tolist()
        ([1, 3, 2], [0.75, 0.5, 0.25])
    """
    _assert_fraction("alpha", alpha)
    (dense_rows, cosines), (lexical_rows, bm25) = dense, lexical
    floor = cosines.min() if len(cosines) > 1 else 0
    halves = {
        "dense": (dense_rows, alpha * _relative(cosines - np.float32(floor))),
        "lexical": (lexical_rows, (1 - alpha) * _relative(bm25)),
    }
    return _fuse(halves, k)


def hybrid(
    query: NDArray[np.float32],
    dense: Ranking,
    lexical: Ranking,
    vectors: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    k: int,
    *,
    alpha: float = ALPHA,
    refined: float | None = None,
    feedback: Callable[[ArrayLike, ArrayLike, ArrayLike], NDArray[np.float32]] | None = None,
) -> Fused:
    """Fuse a dense and a lexical ranking, refine the query vector by the best of both, and fuse again.

    The second fusion ranks only the candidates of the first, so it needs only their vectors.

    Args:
        query: (dimension,) the query vector.
        dense: About :data:`CANDIDATES` rows with their cosines, or negative distances, best first.
        lexical: About as many rows with their BM25 scores, best first.
        vectors: Function from rows to vectors (n, dimension), of any length; zero for a row without a vector.
        k: The maximum number of rows to return.
        alpha: The weight of the dense ranking, in [0, 1]; at 0 and 1 the other ranking has no effect.
        refined: The weight of the dense ranking in the second fusion; None is ``alpha``.
        feedback: Function that scores the candidates against the refined query, minus infinity for a candidate without
            a vector; by default :func:`feedback`, by cosine.

    Returns:
        The fused ranking, its parts named ``dense`` and ``lexical``.

    Raises:
        InvalidInputError: If a weight is outside [0, 1].

    Example:
        >>> matrix = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
        >>> dense = np.array([0, 1]), np.array([1.0, 0.8], np.float32)
        >>> lexical = np.array([1, 2]), np.array([3.0, 2.0], np.float32)
        >>> hybrid(matrix[0], dense, lexical, lambda rows: matrix[rows], k=3).rows.tolist()
        [1, 2, 0]
    """
    both = len(dense[0]) + len(lexical[0])
    first = relative_score_fusion(dense, lexical, both, alpha=alpha)
    if alpha in (0, 1) or not len(dense[0]) or not len(lexical[0]):
        return Fused(first.rows[:k], first.scores[:k], {name: part[:k] for name, part in first.parts.items()})
    values = (feedback or _feedback)(query, vectors(first.rows), first.scores)
    known = values > -np.inf
    moved = top_k(first.rows[known], values[known], max(len(dense[0]), len(lexical[0])))
    return relative_score_fusion(moved, lexical, k, alpha=alpha if refined is None else refined)


def feedback(query: ArrayLike, vectors: ArrayLike, scores: ArrayLike) -> NDArray[np.float32]:
    """Score candidates against the query moved halfway to the weighted mean of the best five.

    The weights are the sixth powers of the scores. If one text stands out, it dominates and stays first, so a question
    with one answer keeps it; if many are about equal, their common subject raises related texts.

    Args:
        query: (dimension,) the query vector.
        vectors: (n, dimension) of the candidates, best first, of any length.
        scores: (n,) their scores in [0, 1].

    Returns:
        (n,) float32, cosines with the moved query.

    Source: Rocchio, "Relevance feedback in information retrieval", 1971; here with pseudo-relevance feedback.

    Example:
        >>> plain, (best_of_all, other) = 0.6, feedback([1, 0], [[0.6, 0.8], [0.6, -0.8]], [1.0, 0.5])
        >>> bool(best_of_all > plain > other)
        True
    """
    matrix = np.asarray(vectors, np.float32)
    if not len(matrix):
        return np.zeros(0, np.float32)
    lengths = _lengths(matrix)
    weights = np.asarray(scores, np.float32)[:_TEACHERS] ** _SHARPNESS
    target = np.asarray(query, np.float32)
    target = target / np.maximum(np.linalg.norm(target), np.finfo(np.float32).tiny)
    if weights.sum() > 0:
        target = target + weights / weights.sum() / lengths[:_TEACHERS] @ matrix[:_TEACHERS]
    compared: NDArray[np.float32] = _cosines(target, matrix) / lengths
    return compared


_feedback = feedback


def cosines(query: ArrayLike, vectors: ArrayLike) -> NDArray[np.float32]:
    """Return the cosines (n,) of a query (d,) and vectors (n, d) of any length; 0 for a zero vector.

    Example:
        >>> cosines([1, 0], [[2, 0], [0, 3], [0, 0]]).tolist()
        [1.0, 0.0, 0.0]
    """
    matrix = np.asarray(vectors, np.float32)
    compared: NDArray[np.float32] = _cosines(query, matrix) / _lengths(matrix)
    return compared


def _lengths(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lengths (n,) of vectors (n, d), at least the smallest positive number."""
    lengths: NDArray[np.float32] = np.maximum(np.sqrt(np.vecdot(matrix, matrix)), np.finfo(np.float32).tiny)
    return lengths


def _relative(scores: NDArray[np.float32]) -> NDArray[np.floating]:
    """Divide by the best score; if no score is positive, all are 1."""
    top = float(scores.max(initial=0))
    return np.maximum(scores, 0) / top if top > 0 else np.ones(len(scores))


def _shares(rankings: Mapping[str, Ranking], weights: Mapping[str, float] | None) -> dict[str, float]:
    given = {name: 1.0 if weights is None else float(weights.get(name, 0)) for name in rankings}
    total = sum(given.values())
    if not total > 0 or not min(given.values()) >= 0:
        raise InvalidInputError(f"weights must be 0 or more, and one of them more than 0, not {given}")
    return {name: weight / total for name, weight in given.items()}


def _fuse(halves: Mapping[str, tuple[NDArray[np.int64], NDArray[np.floating]]], k: int) -> Fused:
    every = np.sort(np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in halves.values())]))
    first = np.ones(len(every), np.bool_)
    np.not_equal(every[1:], every[:-1], out=first[1:])
    rows = every[first]  # as numpy.unique, at half the time
    parts = {name: np.zeros(len(rows), np.float32) for name in halves}
    for name, (found, scores) in halves.items():
        parts[name][np.searchsorted(rows, found)] = scores
    total = np.minimum(sum(parts.values(), np.zeros(len(rows), np.float32)), np.float32(1))
    order = np.argsort(-total, kind="stable")[: max(k, 0)]  # rows ascend, so a stable sort keeps ties in their order
    return Fused(rows[order], total[order], {name: part[order] for name, part in parts.items()})


def mmr(
    query: ArrayLike,
    vectors: ArrayLike,
    k: int,
    *,
    lambda_mult: float = 0.5,
    scores: ArrayLike | None = None,
    similarity: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> NDArray[np.int64]:
    """Choose k candidates that are relevant and diverse (maximal marginal relevance).

    Args:
        query: (dimension,) the vector of the query; ignored if scores are given.
        vectors: (n, dimension) of the candidates, of any length; a zero vector is similar to nothing.
        k: The maximum number to choose.
        lambda_mult: 1 for relevance alone, 0 for diversity alone, as in LangChain.
        scores: (n,) the relevance of each candidate, in [0, 1]; by default the cosines of query and vectors.
        similarity: Function from the candidates (n, dimension) and one of them to similarities (n,) in [0, 1]; by
            default the cosines.

    Returns:
        (chosen,) int64, positions among the candidates in the order of choice; of equals the first is chosen.

    Raises:
        InvalidInputError: If ``lambda_mult`` is outside [0, 1], or the numbers of vectors and scores differ.

    Source: Carbonell and Goldstein, "The use of MMR", SIGIR 1998.

    Example:
        >>> mmr([1, 0], [[1, 0], [1, 0.1], [0, 1]], k=2, lambda_mult=0.4).tolist()
        [0, 2]
    """
    _assert_fraction("lambda_mult", lambda_mult)
    matrix = np.asarray(vectors, np.float32)
    if not len(matrix) or k <= 0:
        return np.zeros(0, np.int64)
    if matrix.ndim != 2:
        raise InvalidInputError(f"vectors must have the shape (candidates, dimension), not {matrix.shape}")
    if similarity is None:
        matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        similarity = np.matmul
    relevance = _cosines(query, matrix) if scores is None else np.asarray(scores, np.float32)
    if relevance.shape != (len(matrix),):
        raise InvalidInputError(f"scores must have the shape ({len(matrix)},), one per vector, not {relevance.shape}")
    chosen = [int(np.argmax(relevance))]
    nearest = np.full(len(matrix), -np.inf, np.float32)
    while len(chosen) < min(k, len(matrix)):
        nearest = np.maximum(nearest, similarity(matrix, matrix[chosen[-1]]))
        gain = lambda_mult * relevance - (1 - lambda_mult) * nearest
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return np.array(chosen, np.int64)


def _cosines(query: ArrayLike, units: NDArray[np.float32]) -> NDArray[np.float32]:
    vector = np.asarray(query, np.float32)
    if vector.shape != units.shape[1:]:
        raise InvalidInputError(f"the query has the shape {vector.shape}, candidates have {units.shape[1]} components")
    cosines: NDArray[np.float32] = units @ vector / np.maximum(np.linalg.norm(vector), np.finfo(np.float32).tiny)
    return cosines


def recency(
    scores: ArrayLike, times: ArrayLike, *, now: float, half_life: float, weight: float = 0.5
) -> NDArray[np.float32]:
    """Reduce the scores of older texts: ``score * (1 - weight + weight * 2 ** (-age / half_life))``.

    Args:
        scores: (n,) in [0, 1].
        times: (n,) Unix time in seconds; NaN for a text without a time, which counts as very old.
        now: Unix time in seconds; later texts have age 0.
        half_life: Time in seconds in which the recency factor halves, positive.
        weight: The share of a score that depends on age, in [0, 1].

    Returns:
        (n,) float32 in [0, 1], in the order given.

    Raises:
        InvalidInputError: If ``weight`` is outside [0, 1], ``half_life`` is not positive, or a value is not finite.

    Example:
        >>> day = 86400
        >>> recency([1.0, 1.0, 1.0], [10 * day, 3 * day, float("nan")], now=10 * day, half_life=7 * day).tolist()
        [1.0, 0.75, 0.5]
    """
    _assert_fraction("weight", weight)
    if not 0 < half_life < np.inf:
        raise InvalidInputError(f"half_life must be a positive, finite number of seconds, not {half_life}")
    if not np.isfinite(now):
        raise InvalidInputError(f"now must be a finite number of seconds, not {now}")
    age = np.maximum(now - np.asarray(times, np.float64), 0)
    fresh = np.where(np.isnan(age), 0, np.exp2(-age / half_life))
    return (np.asarray(scores, np.float64) * (1 - weight + weight * fresh)).astype(np.float32)


def _assert_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InvalidInputError(f"{name} must be between 0 and 1, not {value}")
