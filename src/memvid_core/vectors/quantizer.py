"""Quantizer: how a vector becomes 256 bits to scan and up to 256 bytes to look closer.

It is fitted once on a sample: the mean, the directions in which the rows spread most, and a random rotation among
those, so that every bit carries as much as any other (Gong and Lazebnik, "Iterative Quantization", CVPR 2011, whose
random rotation is kept and whose iterations are not: they gave nothing here). What a row measures along each direction
is kept twice: its sign, and rounded to one of 255 levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.system.threads import one_native_thread
from memvid_core.vectors.matrix import Matrix

__all__ = ["BITS", "WORDS", "Codes", "Levels", "Quantizer", "Question"]

BITS: Final = 256
WORDS: Final = BITS // 64

Codes = NDArray[np.uint64]
Levels = NDArray[np.int8]

_ENCODE_ROWS: Final = 4096
_FEW_ROWS: Final = 64
_MANY_ROWS: Final = 1024
_TOP_LEVEL: Final = 127
_EIGEN_DIMENSION: Final = 768  # above it a full eigendecomposition takes longer than a few subspace iterations
_SEED: Final = 0x6D656D76


class Question(NamedTuple):
    """What rows are compared with.

    The weighted sum of a row's levels is its cosine, less a number that is the same for all rows and what lies in none
    of the directions.

    Attributes:
        signs: (4,) uint64.
        weights: (width,) float32, one for each level.
    """

    signs: Codes
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Quantizer:
    """Center and directions: bit j of a row is whether its projection on direction j is beyond the center's.

    Level j says how far beyond, in steps. Of fewer than 256 dimensions the first d directions are a basis already, and
    only they have levels.

    Attributes:
        directions: (256, d) float32, unit rows.
        offsets: (256,) float32, the center's projections.
        step: What one level is worth.
        fitted_rows: How many rows there were when it was fitted.
    """

    directions: Matrix
    offsets: NDArray[np.float32]
    step: float
    fitted_rows: int

    @cached_property
    def digest(self) -> int:
        """What identifies it: rows that another one encoded have other codes."""
        parts = self.directions, self.offsets, np.array([self.step, self.fitted_rows], dtype="<f8")
        return xxhash.xxh3_64_intdigest(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))

    @property
    def width(self) -> int:
        """How many levels a row has: min(d, 256)."""
        dimension: int = self.directions.shape[1]
        return min(dimension, BITS)

    @classmethod
    def fit(cls, sample: Matrix, rows: int) -> Quantizer:
        """Fit to a sample of unit rows; the same sample gives the same quantizer on one machine.

        Args:
            sample: (m, d), m >= 1, spread evenly over the rows.
            rows: How many rows it stands for.
        """
        with one_native_thread("blas"):
            return cls._fit(sample, rows)

    @classmethod
    def _fit(cls, sample: Matrix, rows: int) -> Quantizer:
        dimension = sample.shape[1]
        centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        basis = _principal(sample - centre, min(dimension, BITS))
        kept = basis.shape[1]
        random = np.random.default_rng(_SEED)
        turns = [np.linalg.qr(random.standard_normal((kept, kept)))[0] for _ in range(-(-BITS // kept))]
        rotation = np.concatenate(turns, axis=1)[:, :BITS].astype(np.float32)
        directions = np.ascontiguousarray((basis @ rotation).T)
        offsets = np.vecdot(directions, centre)
        farthest = float(np.abs(sample @ directions[:kept].T - offsets[:kept]).max(initial=0.0))
        return cls(directions, offsets, max(farthest / _TOP_LEVEL, 1e-6), rows)

    def encode(self, unit: Matrix) -> tuple[Codes, Levels]:
        """Codes of unit rows: the signs, (n, 4) uint64, and the levels, (n, width) int8; what lies too far is cut."""
        signs = np.empty((len(unit), WORDS), dtype=np.uint64)
        levels = np.empty((len(unit), self.width), dtype=np.int8)
        for start in range(0, len(unit), _ENCODE_ROWS):
            part = unit[start : start + _ENCODE_ROWS]
            beyond = self._projected(part) - self.offsets
            signs[start : start + len(part)] = np.packbits(beyond > 0.0, axis=1).view(np.uint64)
            steps = beyond[:, : self.width]
            steps *= np.float32(1.0 / self.step)
            np.rint(steps, out=steps)
            np.maximum(steps, -_TOP_LEVEL, out=steps)
            levels[start : start + len(part)] = np.minimum(steps, _TOP_LEVEL, out=steps)
        return signs, levels

    def _projected(self, part: Matrix) -> Matrix:
        """Return the products (n, BITS) of rows and directions.

        Few rows are multiplied one by one and some by one thread: more threads are woken for each product, which costs
        more than the work, and on a busy machine many times as much.
        """
        if len(part) <= _FEW_ROWS:
            few: Matrix = np.vecdot(part[:, np.newaxis, :], self.directions)
            return few
        if len(part) >= _MANY_ROWS:
            return part @ self.directions.T
        with one_native_thread("blas"):
            return part @ self.directions.T

    def ask(self, query: Matrix) -> Question:
        """Encode a unit query, (d,)."""
        projected = np.vecdot(self.directions, query)
        signs = np.packbits(projected > self.offsets).view(np.uint64)
        return Question(signs, projected[: self.width] * np.float32(self.step))


def _principal(centred: Matrix, count: int) -> Matrix:
    """Return the directions of largest variance: orthonormal (d, count)."""
    dimension = centred.shape[1]
    if dimension <= _EIGEN_DIMENSION:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        return np.ascontiguousarray(vectors[:, ::-1][:, :count], dtype=np.float32)
    # Halko, Martinsson, Tropp 2011, algorithm 4.4: a few power iterations from a random start.
    basis = np.random.default_rng(_SEED).standard_normal((dimension, count)).astype(np.float32)
    for _ in range(3):
        basis = np.linalg.qr(centred.T @ (centred @ basis) + np.float32(1e-6) * basis)[0]
    return basis
