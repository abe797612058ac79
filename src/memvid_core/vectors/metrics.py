"""Metrics other than cosine: distances between vectors, and the scores that follow from them.

Cosine compares directions, so its index keeps rows of length 1. The metrics here compare the vectors themselves: rows
are kept as they were given. Their names are those of scikit-learn (``sklearn.metrics.DistanceMetric``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memvid_core.errors import DimensionError, InvalidInputError, VectorError
from memvid_core.model import IndexName, Ivf, Metric

__all__ = [
    "check_choice",
    "closeness",
    "distances",
    "feedback",
    "nearest",
    "raw",
    "similarity",
]

Floats = NDArray[np.floating[Any]]

_OTHER_NAMES: Final = {
    "cityblock": "manhattan",
    "cos": "cosine",
    "infinity": "chebyshev",
    "l1": "manhattan",
    "l2": "euclidean",
    "linf": "chebyshev",
}
_ANY_METRIC: Final = ("auto", "exact", "sklearn")
_TEACHERS: Final = 5  # as in memvid_core.engine.fusion.feedback
_SHARPNESS: Final = 6.0


def check_choice(index: object, metric: object) -> None:
    """Check the name of an index and of a metric, and that the index can search by the metric.

    Args:
        index: One of ``"auto"``, ``"exact"``, ``"sklearn"``, ``"quantized"``, ``"ivf"``, or an ``Ivf``.
        metric: One of ``"cosine"``, ``"euclidean"``, ``"manhattan"``, ``"chebyshev"``.

    Raises:
        InvalidInputError: A name is not known, a recall is not possible, or the two do not go together; the message
            names what does.

    Example:
        >>> check_choice("sklearn", "manhattan")
        >>> check_choice("ivf", "manhattan")
        Traceback (most recent call last):
            ...
        memvid_core.errors.InvalidInputError: index='ivf' compares by cosine only, and the metric is 'manhattan': use \
index='auto', 'exact' or 'sklearn'
    """
    if isinstance(index, Ivf):
        recall: object = index.recall
        if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0.0 < recall <= 1.0:
            raise InvalidInputError(f"the recall of Ivf is a number above 0 and up to 1, not {recall!r}")
    elif index not in get_args(IndexName):
        raise InvalidInputError(f"index is {_listed(get_args(IndexName))} or an Ivf, not {index!r}")
    if metric not in get_args(Metric):
        known = _OTHER_NAMES.get(metric.lower()) if isinstance(metric, str) else None
        hint = f"; {metric!r} is called {known!r} here" if known else ""
        raise InvalidInputError(f"metric is {_listed(get_args(Metric))}, not {metric!r}{hint}")
    if metric != "cosine" and index not in _ANY_METRIC:
        raise InvalidInputError(
            f"index={index!r} compares by cosine only, and the metric is {metric!r}: use index={_listed(_ANY_METRIC)}"
        )


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"


def raw(vectors: NDArray[Any], dimension: int) -> NDArray[np.float32]:
    """Check vectors and return them as float32, of the length that they have.

    Args:
        vectors: (n, dimension), any real dtype.
        dimension: How many components they must have.

    Returns:
        A C-order (n, dimension) float32 array; it may share memory with ``vectors``.

    Raises:
        DimensionError: Another shape.
        VectorError: A component is NaN, infinite, or larger than float32 holds.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise DimensionError(f"vectors of shape {vectors.shape} do not fit an index of dimension {dimension}")
    if vectors.dtype.kind not in "biuf":
        raise VectorError(f"vectors of dtype {vectors.dtype} are not real numbers; give float32")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise VectorError(
            f"vector {row} of {len(vectors)} has NaN or infinite components, or larger than float32 holds; "
            "give finite numbers"
        )
    return rows


def distances(metric: str, query: Floats, vectors: Floats, apart: Floats | None = None) -> Floats:
    """Compute the distance of each vector from a query.

    Args:
        metric: ``"euclidean"``, ``"manhattan"`` or ``"chebyshev"``.
        query: (d,).
        vectors: (n, d), of the query's dtype.
        apart: (n, d) that the differences are written to; a new array when not given.

    Returns:
        (n,) of the same dtype; infinite where it does not fit the dtype.

    Example:
        >>> rows = np.array([[3.0, 4.0], [0.0, 1.0]])
        >>> [distances(metric, np.zeros(2), rows).tolist() for metric in ("euclidean", "manhattan", "chebyshev")]
        [[5.0, 1.0], [7.0, 1.0], [4.0, 1.0]]
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        apart = np.subtract(vectors, query, out=apart)
        if metric == "euclidean":
            return np.asarray(np.sqrt(np.vecdot(apart, apart)))
        np.abs(apart, out=apart)
        return np.asarray(apart.sum(axis=1) if metric == "manhattan" else apart.max(axis=1, initial=0))


def nearest(
    metric: str, query: Floats, vectors: Floats, rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Order proposed rows by their distance in float64, ties by row number, and keep k.

    Args:
        metric: As in :func:`distances`.
        query: (d,).
        vectors: (m, d), as stored.
        rows: (m,) their row numbers.
        k: How many to keep.

    Returns:
        Row numbers and float32 distances, nearest first; fewer than k when m is smaller.
    """
    found = distances(metric, query.astype(np.float64), vectors.astype(np.float64))
    with np.errstate(over="ignore", under="ignore"):
        rounded = found.astype(np.float32)  # before sorting: what the caller sees as equal is ordered by row
    order = np.lexsort((rows, rounded))[:k]
    return rows[order], rounded[order]


def closeness(found: ArrayLike) -> NDArray[np.float32]:
    """Turn distances into scores in [0, 1]: ``1 / (1 + distance)``.

    Args:
        found: (n,) distances, from 0.

    Returns:
        (n,) float32: 1 for equal vectors, 0.5 at distance 1, and the less the farther apart.

    Example:
        >>> closeness([0.0, 1.0, 3.0]).tolist()
        [1.0, 0.5, 0.25]
    """
    scores: NDArray[np.float32] = (1.0 / (1.0 + np.asarray(found, np.float64))).astype(np.float32)
    return scores


def similarity(metric: str) -> Callable[[Floats, Floats], NDArray[np.float32]]:
    """Return the function that scores vectors (n, d) by their distance from one (d,); 0 for a row of NaN.

    Maximal marginal relevance compares records with each other by it.
    """

    def compared(vectors: Floats, one: Floats) -> NDArray[np.float32]:
        return np.nan_to_num(closeness(distances(metric, one, vectors)), nan=0.0)

    return compared


def feedback(metric: str) -> Callable[[ArrayLike, ArrayLike, ArrayLike], NDArray[np.float32]]:
    """Return the counterpart of :func:`memvid_core.engine.fusion.feedback` for a metric.

    It compares candidates (n, d) with the midpoint of the query and the weighted mean of the best five, and returns
    negative distances; minus infinity for a row of NaN, which stands for a record without a vector.

    Source: Rocchio, "Relevance feedback in information retrieval", 1971.
    """

    def moved(query: ArrayLike, vectors: ArrayLike, scores: ArrayLike) -> NDArray[np.float32]:
        matrix, target = np.asarray(vectors, np.float64), np.asarray(query, np.float64)
        known: NDArray[np.bool_] = np.asarray(~np.isnan(matrix).any(axis=1))
        best = np.flatnonzero(known[:_TEACHERS])
        weights = np.asarray(scores, np.float64)[best] ** _SHARPNESS
        if weights.sum() > 0:
            target = (target + weights / weights.sum() @ matrix[best]) / 2
        found = np.full(len(matrix), -np.inf, np.float32)
        found[known] = -distances(metric, target, matrix[known])
        return found

    return moved
