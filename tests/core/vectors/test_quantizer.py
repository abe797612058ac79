"""The quantizer: levels that give the cosine, and the same codes for the same vectors."""

from __future__ import annotations

import numpy as np
import pytest

from memvid_core.vectors.matrix import normalized
from memvid_core.vectors.quantizer import Quantizer
from tests.core.vectors.vector_data import clustered


@pytest.mark.parametrize("dimension", [3, 200, 256])
def test_levels_tell_the_cosine(dimension: int) -> None:
    """Where the directions are a basis, weighed levels are off by no more than the rounding and a constant."""
    unit = normalized(clustered(2000, dimension), dimension)
    query = normalized(clustered(1, dimension, seed=4), dimension)[0]
    quantizer = Quantizer.fit(unit, 2000)
    _, levels = quantizer.encode(unit)
    weights = quantizer.ask(query).weights
    assert levels.shape == (2000, dimension)
    assert np.abs(levels).max() == 127
    errors = levels @ weights - unit @ query
    assert errors.std() <= quantizer.step


def test_the_same_sample_gives_the_same_quantizer() -> None:
    sample = normalized(clustered(500, 20), 20)
    first, second = Quantizer.fit(sample, 500), Quantizer.fit(sample, 500)
    assert (first.directions == second.directions).all()
    (signs, levels), (same_signs, same_levels) = first.encode(sample), second.encode(sample)
    assert np.array_equal(signs, same_signs)
    assert np.array_equal(levels, same_levels)


def test_one_row_is_coded_as_among_many() -> None:
    unit = normalized(clustered(300, 900), 900)
    quantizer = Quantizer.fit(unit, 300)
    signs, levels = quantizer.encode(unit)
    # A projection on the border may round either way.
    assert (
        sum(int(np.bitwise_count(quantizer.encode(row[None])[0] ^ signs[at]).sum()) for at, row in enumerate(unit)) <= 3
    )
    assert sum(int((quantizer.encode(row[None])[1] != levels[at]).sum()) for at, row in enumerate(unit)) <= 9
    assert sum(int(np.bitwise_count(quantizer.ask(row).signs ^ signs[at]).sum()) for at, row in enumerate(unit)) <= 3
