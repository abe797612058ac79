"""Rankings: the scale of BM25 scores, and the best rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ranking", "allowed", "lexical_score", "top_k"]

Ranking = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows (n,) int64 and their scores (n,) float32, best first; rows are unique."""


def lexical_score(bm25: ArrayLike, ideal: float) -> NDArray[np.float32]:
    """Map BM25 scores to [0, 1) by ``bm25 / (bm25 + ideal)``.

    Args:
        bm25: (n,) BM25 scores, not negative.
        ideal: The score of a text of average length with every word of the query once: the sum of their idf.

    Returns:
        (n,) float32, in the same order as ``bm25``.

    Example:
        >>> lexical_score([6.0, 2.0, 0.0], ideal=2.0).tolist()
        [0.75, 0.5, 0.0]
    """
    scores = np.asarray(bm25, np.float32)
    relative: NDArray[np.float32] = scores / np.maximum(scores + np.float32(ideal), np.finfo(np.float32).tiny)
    return relative


def allowed(rows: NDArray[np.int64], *masks: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return which rows all masks let through, (n,) bool; a mask hides the rows after its end, and None hides none.

    Example:
        >>> allowed(np.array([0, 1, 4]), np.array([True, False]), None).tolist()
        [True, False, False]
    """
    kept = np.ones(len(rows), np.bool_)
    for mask in masks:
        if mask is not None:
            inside = rows < len(mask)
            if inside.all():
                kept &= mask[rows]
            else:
                kept &= inside
                kept[inside] &= mask[rows[inside]]
    return kept


def top_k(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Ranking:
    """Return the k best rows, ties in the order of the rows.

    Args:
        rows: (n,) rows, in any order.
        scores: (n,) their scores.
        k: The maximum number of rows; none if it is not positive.

    Returns:
        Rows and scores, best first.

    Example:
        >>> [part.tolist() for part in top_k(np.array([9, 4, 7]), np.array([0.5, 0.5, 1.0]), k=2)]
        [[7, 4], [1.0, 0.5]]
    """
    order = np.lexsort((rows, -scores))[: max(k, 0)]
    return rows[order], scores[order]
