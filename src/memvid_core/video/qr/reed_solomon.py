"""Reed-Solomon erasure coding over GF(256): each parity row replaces a lost data row.

The code is systematic with a Cauchy generator matrix (Bloemer et al., "An XOR-Based Erasure-Resilient Coding Scheme",
1995). Every square submatrix of a Cauchy matrix is invertible, so *any* ``m`` lost rows can be rebuilt from *any* ``m``
parity rows. The field uses the polynomial 0x11D, like QR's own error correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import InvalidInputError

__all__ = ["MAX_ROWS", "encode", "rebuild"]

MAX_ROWS = 255
"""The maximum number of data and parity rows of a block."""

_POLYNOMIAL = 0x11D
Bytes = NDArray[np.uint8]


@lru_cache(maxsize=1)
def _tables() -> tuple[Bytes, Bytes]:
    """Return the 256x256 multiplication table and the inverses."""
    powers = np.zeros(510, np.uint8)
    logs = np.zeros(256, np.int64)
    value = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logs[value] = exponent
        value <<= 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    product = powers[logs[:, None] + logs[None, :]]
    product[0, :] = product[:, 0] = 0
    inverse = powers[(255 - logs) % 255]
    inverse[0] = 0
    return product, inverse


def _coefficients(parity: NDArray[np.int64], data: NDArray[np.int64]) -> Bytes:
    """Return the Cauchy matrix 1 / (x_j + y_i) with x_j = 255 - j and y_i = i, which differ while i + j < 255."""
    _, inverse = _tables()
    points: NDArray[np.int64] = (255 - parity)[:, None] ^ data[None, :]
    return inverse[points]


def _combine(coefficients: Bytes, rows: Bytes) -> Bytes:
    """Return the matrix product over GF(256), computed row by row to keep temporaries small."""
    product, _ = _tables()
    out = np.zeros((len(coefficients), rows.shape[1]), np.uint8)
    for column, row in zip(coefficients.T, rows, strict=True):
        out ^= product[column[:, None], row[None, :]]
    return out


def encode(data: Bytes, parity: int) -> Bytes:
    """Return ``parity`` rows that protect ``data``.

    Args:
        data: uint8 array (k, length).
        parity: The number of rows to add; data and parity rows together are at most 255.

    Returns:
        uint8 array (parity, length).

    Raises:
        InvalidInputError: There are more than 255 rows.

    Example:
        >>> data = np.frombuffer(b"tomorrowneverdie", np.uint8).reshape(4, 4)
        >>> extra = encode(data, 2)
        >>> kept = {0: data[0], 2: data[2]}
        >>> rebuilt = rebuild(kept, {0: extra[0], 1: extra[1]}, 4)
        >>> bytes(rebuilt[1]), bytes(rebuilt[3])
        (b'rrow', b'rdie')
    """
    if len(data) + parity > MAX_ROWS:
        raise InvalidInputError(f"{len(data)} rows and {parity} parity rows are more than {MAX_ROWS}")
    return _combine(_coefficients(np.arange(parity), np.arange(len(data))), data)


def rebuild(data: Mapping[int, Bytes], parity: Mapping[int, Bytes], count: int) -> dict[int, Bytes] | None:
    """Rebuild the missing data rows; return None if there are fewer parity rows than missing rows.

    Args:
        data: The available data rows, by number, all of equal length.
        parity: The available parity rows, by number.
        count: The original number of data rows.
    """
    missing = np.array([i for i in range(count) if i not in data], np.int64)
    if not len(missing):
        return {}
    if len(parity) < len(missing):
        return None
    chosen = np.array(sorted(parity)[: len(missing)], np.int64)
    right = np.stack([parity[j] for j in chosen.tolist()])
    if data:
        known = np.array(sorted(data), np.int64)
        right = right ^ _combine(_coefficients(chosen, known), np.stack([data[i] for i in known.tolist()]))
    solved = _solve(_coefficients(chosen, missing), right)
    return dict(zip(missing.tolist(), solved, strict=True))


def _solve(matrix: Bytes, right: Bytes) -> Bytes:
    """Solve by Gauss-Jordan elimination over GF(256); ``matrix``, a part of a Cauchy matrix, is invertible."""
    product, inverse = _tables()
    both = np.concatenate((matrix, right), axis=1)
    for i in range(len(both)):
        # Every leading minor of a Cauchy matrix is non-zero, so the pivot is never zero and rows are not exchanged.
        both[i] = product[inverse[both[i, i]], both[i]]
        factors = both[:, i].copy()
        factors[i] = 0
        both ^= product[factors[:, None], both[i][None, :]]
    return both[:, len(both) :]
