"""Small real embedders for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIMENSION = 16


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """A direction for each text, the same for equal texts and different for others."""
    rows = [np.frombuffer(hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest(), np.int8) for text in texts]
    return np.array(rows, np.float32).reshape(-1, DIMENSION) + 0.5
