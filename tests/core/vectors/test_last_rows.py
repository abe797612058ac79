"""LastRows: what a search has read is not read again when the best rows are asked for once more."""

import numpy as np
from numpy.typing import NDArray

from memvid_core.vectors.last_rows import LastRows

STORED = np.arange(5_000, dtype=np.int32)[:, np.newaxis].view(np.uint8)


class Store:
    """Rows, and which of them were read."""

    def __init__(self) -> None:
        self.read: list[list[int]] = []

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.read.append(rows.tolist())
        return STORED[rows]


def asked(last: LastRows, store: Store, of: object, rows: list[int]) -> None:
    found = last.read(of, np.array(rows), store.take)
    assert (found == STORED[rows]).all()


def test_only_rows_that_were_not_read_are_read() -> None:
    last, store, of = LastRows(), Store(), object()
    asked(last, store, of, [*range(900, 800, -1)])
    asked(last, store, of, [805, 899, 850])
    assert len(store.read) == 1
    asked(last, store, of, [7, 805, 4_999, 801, 9])
    assert store.read[1:] == [[7, 4_999, 9]]
    asked(last, store, of, [9, 4_999, 830])  # the ones that were read since are there, too
    assert len(store.read) == 2


def test_another_search_looks_at_the_rows_itself() -> None:
    last, store, of = LastRows(), Store(), object()
    asked(last, store, of, [1, 2, 3, 4])
    asked(last, store, of, [1, 2, 3, 4])
    asked(last, store, object(), [1, 2])
    assert store.read == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2]]


def test_many_rows_are_not_kept() -> None:
    last, store, of = LastRows(), Store(), object()
    asked(last, store, of, [*range(1_000)])
    asked(last, store, of, [5, *range(2_000, 2_100)])  # too many together: the last ones stay
    asked(last, store, of, [6, 2_000])
    assert store.read[1:] == [[*range(2_000, 2_100)], [6]]
    asked(last, store, of, [*range(3_000, 4_999)])
    asked(last, store, of, [5])
    assert store.read[3:] == [[*range(3_000, 4_999)]]


def test_rows_of_earlier_searches_keep_none_of_a_new_one_out() -> None:
    last, store, of = LastRows(), Store(), object()
    for search in range(10):
        first = 400 * search
        asked(last, store, of, [*range(first, first + 410)])  # ten of which the next search compares, too
        read = len(store.read)
        asked(last, store, of, [*range(first, first + 150)])  # the best of them
        assert len(store.read) == read
