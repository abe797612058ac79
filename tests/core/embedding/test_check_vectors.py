"""What an embedder may return, and what is said of the rest."""

from __future__ import annotations

import math
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.embedding import check_vector, check_vectors
from memvid_core.errors import DimensionError, EmbeddingError, VectorError

numbers = st.floats(-1e30, 1e30, allow_subnormal=True) | st.integers(-(10**9), 10**9)
matrices = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=6)
)


class Tensor:
    """As a tensor on a device: it has to be brought home first."""

    def __init__(self, values: object) -> None:
        self.values = values

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> np.ndarray:
        return np.array(self.values)


SHAPES = {
    "lists": lambda rows: rows,
    "tuples": lambda rows: tuple(tuple(row) for row in rows),
    "mixed": lambda rows: [tuple(row) if i % 2 else row for i, row in enumerate(rows)],
    "generator": lambda rows: (row for row in rows),
    "generated arrays": lambda rows: (np.array(row, np.float64) for row in rows),
    "arrays": lambda rows: [np.array(row, np.float64) for row in rows],
    "array": lambda rows: np.array(rows, np.float64),
    "fortran": lambda rows: np.asfortranarray(np.array(rows, np.float64)),
    "objects": lambda rows: np.array(rows, dtype=object),
    "tensor": lambda rows: Tensor(np.array(rows, np.float64)),
    "tensors": lambda rows: [Tensor(np.array(row, np.float64)) for row in rows],
    "scalars": lambda rows: [[np.float64(value) for value in row] for row in rows],
}


@pytest.mark.parametrize("shape", SHAPES)
@given(rows=matrices)
def test_every_form_of_the_same_numbers_gives_the_same_matrix(shape, rows):
    expected = np.array(rows, dtype=np.float64)
    exact = check_vectors(SHAPES[shape](rows), len(rows), dtype=None)
    assert exact.dtype == np.float64
    assert np.array_equal(exact, expected)
    single = check_vectors(SHAPES[shape](rows), len(rows))
    assert single.dtype == np.float32
    assert np.array_equal(single, expected.astype(np.float32))
    assert single.flags.c_contiguous
    half = check_vectors([[0.5, 1.0]], 1, dtype=np.float16)
    assert half.dtype == np.float16


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_single_precision_stays_single(dtype):
    assert check_vectors(np.ones((2, 3), dtype), 2, dtype=None).dtype == np.float32


@pytest.mark.parametrize("empty", [[], (), iter([]), np.zeros((0, 3)), MagicMock()], ids=lambda v: type(v).__name__)
def test_nothing_for_texts_is_a_warning_and_no_vectors(empty):
    with pytest.warns(UserWarning, match="stored without vectors"):
        assert check_vectors(empty, 2).shape == (0, 0)


def test_nothing_for_no_texts_is_right():
    assert check_vectors([], 0).shape == (0, 0)
    assert check_vectors(np.zeros((0, 5)), 0).shape == (0, 5)


@pytest.mark.parametrize("wrong", [[[1.0]], [[1.0]] * 3, np.ones((1, 2)), Mock(), None, 3, "ab", b"ab"])
def test_another_number_of_vectors_is_an_embedding_error(wrong):
    with pytest.raises(EmbeddingError, match="one vector per text"):
        check_vectors(wrong, 2)


@pytest.mark.parametrize("wrong", [[], [[1.0]], None])
def test_given_vectors_of_another_number_are_a_vector_error(wrong):
    with pytest.raises(VectorError):
        check_vectors(wrong, 2, given=True)


@pytest.mark.parametrize("make", ["lists", "arrays", "array"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_by_its_place(make, bad):
    rows = [[1.0, 2.0], [3.0, bad]]
    with pytest.raises(VectorError, match=r"vector 1 .*component 1"):
        check_vectors(SHAPES[make](rows), 2)


@pytest.mark.parametrize("make", ["lists", "arrays", "array"])
def test_what_single_precision_cannot_hold_is_refused(make):
    with pytest.raises(VectorError, match="vector 1"):
        check_vectors(SHAPES[make]([[1.0], [1e300]]), 2)
    assert check_vectors(SHAPES[make]([[1.0], [1e300]]), 2, dtype=None)[1, 0] == 1e300


@pytest.mark.parametrize(
    "rows", [[[1.0, 2.0], [3.0]], [[1.0], [3.0, 4.0]], [np.ones(3), np.ones(1)], ([1.0], []), [(1.0,), np.ones(2)]]
)
def test_vectors_of_different_lengths_are_a_dimension_error(rows):
    with pytest.raises(DimensionError, match="vector 1 "):
        check_vectors(rows, 2)


@pytest.mark.parametrize(
    "rows",
    [
        [["1.0"]],
        [[None]],
        [[1j]],
        [[[1.0]]],
        [[10**400]],
        ["abc"],
        [None],
        [1.0],
        [[]],
        [{"a": 1}],
        np.ones(1),
        np.ones((1, 0)),
        np.ones((1, 1, 1)),
        np.ones((1, 1), complex),
        np.array([["a"]]),
        np.array([[None]]),
        np.array(3.0),
    ],
    ids=repr,
)
def test_what_is_not_rows_of_numbers_is_a_vector_error(rows):
    with pytest.raises(VectorError):
        check_vectors(rows, 1)


@given(row=st.lists(numbers, min_size=1, max_size=9))
def test_one_vector_is_checked_as_many_are(row):
    for form in (row, tuple(row), np.array(row, np.float64), iter(row), Tensor(np.array(row, np.float64))):
        assert check_vector(form, dtype=None).tolist() == [float(value) for value in row]


@pytest.mark.parametrize("bad", ["abc", None, 3.0, [], [[1.0]], [math.nan], ["1"]], ids=repr)
def test_what_is_no_vector_is_refused(bad):
    with pytest.raises(VectorError):
        check_vector(bad, given=True)


def test_a_query_without_components_is_a_warning():
    with pytest.warns(UserWarning, match="empty vector"):
        assert check_vector([]).shape == (0,)


@pytest.mark.parametrize("width", [1, 3, 15, 16, 384])
@pytest.mark.parametrize("odd", [3, np.float64(0.5), True, 2**70])
def test_many_rows_with_one_component_that_is_no_float(width, odd):
    rows = np.random.default_rng(width).standard_normal((150, width)).tolist()
    rows[100][width // 2] = odd
    expected = np.array([[float(value) for value in row] for row in rows])
    assert np.array_equal(check_vectors(rows, 150, dtype=None), expected)
    assert np.array_equal(check_vectors(tuple(map(tuple, rows)), 150), expected.astype(np.float32))


@pytest.mark.parametrize("wrong", [1e300, "12345678", "1", None, [0.5], math.nan, -math.inf])
def test_one_wrong_component_among_many_rows_is_named(wrong):
    rows = np.random.default_rng(0).standard_normal((150, 5)).tolist()
    rows[100][3] = wrong
    with pytest.raises(VectorError, match="vector 100"):
        check_vectors(rows, 150)
