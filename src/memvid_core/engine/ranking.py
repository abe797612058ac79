"""Ranked: the rows of an answer, best first, and how scores of different kinds become numbers in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.vectors.metrics import closeness, distances
from memvid_core.words.scores import Ranking, top_k

__all__ = [
    "Ranked",
    "Ranking",
    "by_row",
    "compared_scores",
    "dense_ranked",
    "flipped",
    "merged",
    "scores_of",
    "to_scores",
]


@dataclass(frozen=True)
class Ranked:
    """Rows, best first, with scores in [0, 1]; cosines or distances and relevances by row; the scores of each part."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    compared: dict[int, float] = field(default_factory=dict)
    parts: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    relevance: dict[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: Sequence[int] | NDArray[np.int64]) -> Ranked:
        """Return the rows at some places, in that order."""
        at = np.asarray(places, np.int64)
        parts = {name: part[at] for name, part in self.parts.items()}
        return Ranked(self.rows[at], self.scores[at], self.compared, parts, self.relevance)

    def relevant(self, least: float) -> list[int]:
        """Return the places of the rows that have at least this relevance."""
        return [place for place, row in enumerate(self.rows.tolist()) if self.relevance.get(row, 0.0) >= least]

    def rescored(self, scores: NDArray[np.float32], k: int, **shares: NDArray[np.float32]) -> Ranked:
        """Return the best ``k`` rows by other scores; equal scores are ordered by row."""
        better = Ranked(self.rows, scores, self.compared, {**self.parts, **shares}, self.relevance)
        return better.taken(np.lexsort((self.rows, -scores))[:k])


def flipped(values: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Return cosines unchanged and distances negated; the function is its own inverse."""
    return values if metric == "cosine" else -values


def dense_ranked(rows: NDArray[np.int64], values: NDArray[np.float32], metric: str) -> Ranked:
    """Return the result of a dense search, from cosines or negative distances."""
    scores = to_scores(values, metric)
    compared = by_row(rows, flipped(values, metric))
    return Ranked(rows, scores, compared, {"dense": scores}, by_row(rows, scores))


def to_scores(values: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Return scores in [0, 1] from cosines or negative distances."""
    return fusion.dense_score(values) if metric == "cosine" else closeness(-values)


def compared_scores(metric: str, query: NDArray[Any] | None, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores in [0, 1] of vectors (n, d); 0 for a row of zeros or NaN, which stands for a record without one."""
    if metric == "cosine":
        return fusion.dense_score(fusion.cosines(np.asarray(query), vectors))
    found = np.zeros(len(vectors), np.float32)
    known = ~np.isnan(vectors).any(axis=1)
    found[known] = closeness(distances(metric, np.asarray(query, np.float64), vectors[known].astype(np.float64)))
    return found


def merged(rankings: Sequence[Ranking], k: int) -> Ranking:
    """Return the best ``k`` rows of several rankings of different rows."""
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in rankings)])
    scores = np.concatenate([np.zeros(0, np.float32), *(scores for _, scores in rankings)])
    return top_k(rows, scores, k)


def scores_of(rows: NDArray[np.int64], ranking: Ranking, missing: float = 0.0) -> NDArray[np.float32]:
    """Return the scores of rows in a ranking, ``missing`` for others."""
    scores = by_row(*ranking)
    return np.array([scores.get(row, missing) for row in rows.tolist()], np.float32)


def by_row(rows: NDArray[np.int64], scores: NDArray[Any]) -> dict[int, float]:
    """Return scores (n,) by row."""
    return dict(zip(rows.tolist(), scores.tolist(), strict=True))
