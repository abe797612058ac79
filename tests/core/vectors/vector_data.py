"""Vectors as embeddings are, and what a search of them must find."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.vectors.vector_index import VectorIndex

Matrix = NDArray[np.float32]

MODULES = ("memvid_core.vectors.vector_index", "sklearn.neighbors")
"""What processes that search vectors import."""


def oracle(
    stored: Matrix, query: NDArray[Any], k: int, mask: NDArray[Any] | None = None
) -> tuple[list[int], list[float]]:
    """Cosine by its definition, in float64, ties by row."""
    wide, wanted = stored.astype(np.float64), np.asarray(query, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(wanted)
    scores = np.divide(wide @ wanted, lengths, out=np.zeros(len(wide)), where=lengths > 0)
    rows = [int(row) for row in np.lexsort((np.arange(len(wide)), -scores.round(6)))]
    rows = [row for row in rows if mask is None or mask[row]][:k]
    return rows, [float(scores[row]) for row in rows]


def clustered(rows: int, dimension: int, seed: int = 0, noise: float = 0.35) -> Matrix:
    """Vectors as embeddings are: a common direction, some hundred topics, most variance in few directions."""
    random = np.random.default_rng(seed)
    scale = 1.0 / np.sqrt(np.arange(1, dimension + 1))
    topics = np.random.default_rng(99).standard_normal((200, dimension)) * scale
    chosen = topics[random.integers(0, 200, rows)]
    return (chosen + noise * random.standard_normal((rows, dimension)) * scale + 0.5 * scale[0]).astype(np.float32)


def recall(index: VectorIndex, data: Matrix, queries: Matrix, k: int, mask: NDArray[np.bool_] | None = None) -> float:
    unit = data / np.linalg.norm(data, axis=1, keepdims=True)
    scores = queries @ unit.T
    if mask is not None:
        scores[:, ~mask] = -np.inf
    truth = np.argpartition(-scores, k, axis=1)[:, :k]
    found, _ = index.search(queries, k, mask)
    return float(np.mean([len(set(some) & set(right)) / k for some, right in zip(found, truth, strict=True)]))
