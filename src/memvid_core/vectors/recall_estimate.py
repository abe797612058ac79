"""What a few known scores tell of the many unknown: a line, its errors, and how many rows it takes to miss few."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Line", "enough", "upper_tail"]


@dataclass(frozen=True)
class Line:
    """y = height + slope (x - middle), with normal errors of deviation sigma: least squares."""

    middle: float
    height: float
    slope: float
    sigma: float

    @classmethod
    def through(cls, x: NDArray[np.float32], y: NDArray[np.float32]) -> Line | None:
        """Fit; None when all x are the same."""
        middle, height = float(x.mean()), float(y.mean())
        apart = x - np.float32(middle)
        spread = float(np.vecdot(apart, apart))
        if spread <= 1e-12 * len(x):
            return None
        slope = float(np.vecdot(apart, y)) / spread
        errors = y - np.float32(height) - np.float32(slope) * apart
        return cls(middle, height, slope, max(math.sqrt(float(np.vecdot(errors, errors)) / len(x)), 1e-5))

    def then(self, other: Line) -> Line:
        """Return the line from this one's x to the other's y, errors of both included."""
        height = other.height + other.slope * (self.height - other.middle)
        return Line(self.middle, height, self.slope * other.slope, math.hypot(other.sigma, other.slope * self.sigma))

    def away(self, x: NDArray[Any], y: float) -> NDArray[np.float64]:
        """Return how many deviations ``y`` lies above the line at ``x``."""
        return (y - self.height - self.slope * (x.astype(np.float64) - self.middle)) / self.sigma


def upper_tail(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the chance that a standard normal number exceeds ``away``; the relative error is below 1e-3 in [-8, 8].

    Example:
        >>> [round(float(p), 4) for p in upper_tail(np.array([0.0, 1.0, 3.0]))]
        [0.5, 0.1587, 0.0013]
    """
    far = np.minimum(np.abs(away), 30.0)
    # Abramowitz and Stegun 26.2.17, a polynomial times the density.
    t = 1.0 / (1.0 + 0.2316419 * far)
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = poly * np.exp(-0.5 * far * far) * 0.3989422804014327
    return np.where(away < 0.0, 1.0 - tail, tail)


def enough(chances: NDArray[np.float64], allowed: float) -> int:
    """Return how many leading rows must be read so that the chances of the others sum to at most ``allowed``."""
    left = np.cumsum(chances[::-1])
    return len(chances) - int(np.searchsorted(left, allowed, side="right"))
