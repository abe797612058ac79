"""Any lost rows come back from as many parity rows, and the field is the one the module says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.errors import InvalidInputError
from memvid_core.video.qr import reed_solomon


def multiply(a: int, b: int) -> int:
    """The oracle: carry-less multiplication modulo 0x11D, bit by bit."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return product


def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if multiply(a, b) == 1)


@st.composite
def losses(draw: st.DrawFn) -> tuple[np.ndarray, int, set[int], set[int]]:
    count = draw(st.integers(1, 40))
    parity = draw(st.integers(0, 20))
    length = draw(st.integers(0, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    data = np.random.default_rng(seed).integers(0, 256, (count, length), dtype=np.uint8)
    lost = draw(st.sets(st.integers(0, count - 1)))
    lost_parity = draw(st.sets(st.integers(0, parity - 1))) if parity else set()
    return data, parity, lost, lost_parity


@given(losses())
def test_rows_come_back_exactly_when_enough_parity_is_left(case: tuple[np.ndarray, int, set[int], set[int]]) -> None:
    data, parity, lost, lost_parity = case
    extra = reed_solomon.encode(data, parity)
    left = {i: row for i, row in enumerate(data) if i not in lost}
    spare = {j: row for j, row in enumerate(extra) if j not in lost_parity}
    rebuilt = reed_solomon.rebuild(left, spare, len(data))
    if len(lost) > len(spare):
        assert rebuilt is None
    else:
        assert rebuilt is not None
        assert rebuilt.keys() == lost
        assert all((rebuilt[i] == data[i]).all() for i in lost)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_parity_is_the_cauchy_product(count: int, parity: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, (count, 3), dtype=np.uint8)
    extra = reed_solomon.encode(data, parity)
    for j in range(parity):
        for column in range(3):
            expected = 0
            for i in range(count):
                expected ^= multiply(inverse((255 - j) ^ i), int(data[i, column]))
            assert extra[j, column] == expected


def test_a_full_block_survives_the_loss_of_all_it_can() -> None:
    data = np.random.default_rng(5).integers(0, 256, (200, 64), dtype=np.uint8)
    extra = reed_solomon.encode(data, 55)
    left = {i: data[i] for i in range(55, 200)}
    rebuilt = reed_solomon.rebuild(left, dict(enumerate(extra)), 200)
    assert rebuilt is not None
    assert all((rebuilt[i] == data[i]).all() for i in range(55))


def test_more_rows_than_the_field_has_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="more than 255"):
        reed_solomon.encode(np.zeros((250, 1), np.uint8), 6)
