"""Several indexes that are searched for the same rows: each looks no further than all together need."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.vectors import quantized
from memvid_core.vectors.among import Among, Found
from memvid_core.vectors.exact import compare
from memvid_core.vectors.quantized import _first_widths
from memvid_core.vectors.vector_index import VectorIndex

ROWS, PARTS, DIMENSION = 10_000, 4, 48


def clustered(count: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).standard_normal((200, DIMENSION), np.float32)
    noise = np.float32(0.5) * rng.standard_normal((count, DIMENSION), np.float32)
    made: NDArray[np.float32] = centers[rng.integers(0, 200, count)] + noise
    return made


def indexes_of(rows: NDArray[np.float32]) -> list[VectorIndex]:
    made = []
    for first in range(0, len(rows), ROWS):
        index = VectorIndex(DIMENSION, strategy="quantized")
        index.extend(0, rows[first : first + ROWS])
        made.append(index)
    return made


def merged(
    indexes: list[VectorIndex], query: NDArray[np.float32], k: int, found: Found | None, masks: list[Any]
) -> list[int]:
    parts = []
    for number, (index, mask) in enumerate(zip(indexes, masks, strict=True)):
        among = None if found is None else Among(number, 1 / PARTS, found)
        rows, scores = index.search(query, k, mask, among)
        parts.append((rows + ROWS * number, scores))
    every = np.concatenate([rows for rows, _ in parts])
    ordered: list[int] = every[np.lexsort((every, -np.concatenate([scores for _, scores in parts])))[:k]].tolist()
    return ordered


@pytest.mark.parametrize("order", ["mixed", "by topic"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_best_rows_of_all_are_found_with_fewer_comparisons(
    monkeypatch: pytest.MonkeyPatch, order: str, share: float
) -> None:
    rows, queries = clustered(PARTS * ROWS, 1), clustered(20, 2)
    if order == "by topic":
        rows = rows[np.argsort(rows[:, 0])]
    indexes = indexes_of(rows)
    exact = VectorIndex(DIMENSION, strategy="exact")
    exact.extend(0, rows)
    allowed = np.random.default_rng(4).random(len(rows)) < share
    masks = [allowed[first : first + ROWS] for first in range(0, len(rows), ROWS)]
    compared = 0

    def counting(query: Any, some: Any, *others: Any) -> Any:
        nonlocal compared
        compared += len(some)
        return compare(query, some, *others)

    monkeypatch.setattr(quantized, "compare", counting)
    for k in (10, 100):
        wanted = [exact.search(query, k, allowed)[0].tolist() for query in queries]
        alone = [merged(indexes, query, k, None, masks) for query in queries]
        before, compared = compared, 0
        together = [merged(indexes, query, k, Found(), masks) for query in queries]
        recall = np.mean([len({*a} & {*b}) / k for a, b in zip(wanted, together, strict=True)])
        assert recall >= 0.99
        assert recall >= np.mean([len({*a} & {*b}) / k for a, b in zip(wanted, alone, strict=True)]) - 0.005
        assert compared < 0.6 * before
        compared = 0


def test_a_search_that_begins_again_counts_its_rows_once() -> None:
    rows, [query] = clustered(PARTS * ROWS, 1), clustered(1, 2)
    indexes, masks = indexes_of(rows), [None] * PARTS
    found = Found()
    first = merged(indexes, query, 10, found, masks)
    assert merged(indexes, query, 10, found, masks) == first


def test_indexes_that_compare_every_row_leave_out_what_others_outdo() -> None:
    rows, queries = clustered(PARTS * ROWS, 1), clustered(20, 2)
    rows[5::40] = rows[5]  # equal scores, of which the first rows count
    one = VectorIndex(DIMENSION, strategy="exact")
    one.extend(0, rows)
    indexes = [VectorIndex(DIMENSION) for _ in range(PARTS)]
    for number, index in enumerate(indexes):
        index.extend(0, rows[number * ROWS : (number + 1) * ROWS])
    returned: dict[int, int] = {1: 0, 10: 0, 100: 0}
    for query in [*queries, rows[5]]:
        for k in returned:
            exact = Found()
            parts = [
                index.search(query, k, None, Among(number, 1 / PARTS, Found(), exact=exact))
                for number, index in enumerate(indexes)
            ]
            every = np.concatenate([found + number * ROWS for number, (found, _) in enumerate(parts)])
            scores = np.concatenate([scores for _, scores in parts])
            order = np.lexsort((every, -scores))[:k]
            wanted, expected = one.search(query, k)
            assert every[order].tolist() == wanted.tolist()
            assert scores[order].tolist() == expected.tolist()
            returned[k] += len(every)
    assert all(count < 0.7 * PARTS * k * (len(queries) + 1) for k, count in returned.items())


def test_what_is_known_can_be_sent_to_another_process() -> None:
    found = Found()
    found.kth(0, np.array([0.5, 0.25], np.float32), 1)
    sent = pickle.loads(pickle.dumps([Among(1, 0.5, found), Among(2, 0.25, found)]))
    assert [(one.number, one.share) for one in sent] == [(1, 0.5), (2, 0.25)]
    assert sent[0].found is sent[1].found
    assert sent[0].found.kth(1, np.array([0.0], np.float32), 1) == 0.5


@pytest.mark.parametrize("share", [0.004, 0.05])
def test_one_of_many_that_has_all_the_rows_returns_as_many_as_are_wanted(share: float) -> None:
    rng = np.random.default_rng(1)
    centers = rng.standard_normal((40, 8))
    rows = (centers[rng.integers(0, 40, 20_000)] + 0.05 * rng.standard_normal((20_000, 8))).astype(np.float32)
    index, exact = VectorIndex(8, strategy="quantized"), VectorIndex(8, strategy="exact")
    index.extend(0, rows)
    exact.extend(0, rows)
    for k in (500, 560, 620):  # the others have no rows that a filter passes, so it knows of none of theirs
        for query in (*rows[:4], *-rows[:4]):
            found, _ = index.search(query, k, None, Among(0, share, Found()))
            assert len(found) == k
            assert len({*found.tolist()} & {*exact.search(query, k)[0].tolist()}) >= 0.75 * k


@pytest.mark.parametrize("rows", [1_000_000, 3_000_000])
@pytest.mark.parametrize("indexes", [2, 4, 10])
def test_several_indexes_weigh_as_many_rows_as_one(rows: int, indexes: int) -> None:
    one, _, missed = _first_widths(rows, 10, None)
    each, _, part = _first_widths(rows // indexes, 10, 1 / indexes)
    assert one - indexes <= indexes * each <= one
    assert indexes * part == pytest.approx(missed)
