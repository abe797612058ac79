"""Scaled vectors: rows of whole numbers from -127 to 127, with a float32 scale for each row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["scaled", "unscaled"]

_LARGEST: Final = np.float32(127)


def scaled(matrix: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return the scales of rows, and their numbers; rows that :func:`unscaled` returned have those that it was given.

    Args:
        matrix: (n, d) of a float dtype, finite.

    Returns:
        (n,) float32, and (n, d) whole numbers of a float dtype: the largest component of a row becomes 127 or -127.

    Example:
        >>> scale, numbers = scaled(np.array([[254.0, -2.0, 1.2]]))
        >>> scale.tolist(), numbers.tolist()
        ([2.0], [[127.0, -1.0, 1.0]])
    """
    largest = np.abs(matrix).max(axis=1, initial=0.0).astype("<f4")
    scale = largest / _LARGEST
    with np.errstate(over="ignore"):
        scale = np.where(np.isinf(scale * _LARGEST), np.nextafter(scale, np.float32(0)), scale)
        # A scale multiplied by 127 is rounded, so that the scale of unscaled rows may be the next float32.
        for other in (np.nextafter(scale, np.float32(np.inf)), np.nextafter(scale, np.float32(0))):
            rows = np.flatnonzero((other * _LARGEST == largest) & (other > 0))
            some = matrix[rows]
            rows = rows[_made_with(other[rows], some) & ~_made_with(scale[rows], some)]
            scale[rows] = other[rows]
    return scale, _numbers(scale, matrix)


def unscaled(scale: NDArray[np.float32], numbers: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows, (n, d) float32, from their scales and numbers."""
    rows: NDArray[np.float32] = numbers.astype(np.float32, copy=False) * scale[:, None]
    return rows


def _numbers(scale: NDArray[np.float32], matrix: NDArray[Any]) -> NDArray[Any]:
    divisor = np.where(scale == 0, np.float32(1), scale)[:, None]
    return np.clip(np.rint(matrix / divisor), -_LARGEST, _LARGEST)


def _made_with(scale: NDArray[np.float32], matrix: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows are whole numbers multiplied by their scale, (n,) bool."""
    found: NDArray[np.bool_] = (unscaled(scale, _numbers(scale, matrix)) == matrix).all(axis=1)
    return found
