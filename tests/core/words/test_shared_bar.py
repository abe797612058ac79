"""Several indexes that are searched together: what one has found spares the others work, and changes no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.words.bm25 import NOTHING, Extra, Shared
from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.list_reader import ListReader
from memvid_core.words.scores import Ranking, top_k
from memvid_core.words.shard_words import ShardWords, Totals, shared_statistics
from memvid_core.words.wanted import Bar

ROWS = 3_000
COMMON = "wing heat layer"


class Counted:
    """The words of several indexes."""

    def __init__(self, parts: Sequence[ShardWords]) -> None:
        self._parts = parts

    def counts(self, tokens: Sequence[str]) -> Mapping[str, int]:
        return dict(
            zip(tokens, map(sum, zip(*(part.counts(tokens) for part in self._parts), strict=True)), strict=True)
        )

    def frequencies(self, tokens: Sequence[str]) -> Mapping[str, int]:
        return self.counts(tokens)

    def near(self, words: Sequence[str]) -> list[list[list[str]]]:
        return [[] for _ in words]

    def any_counts(self, groups: Sequence[Sequence[str]]) -> list[int]:
        return [sum(counts) for counts in zip(*(part.any_counts(groups) for part in self._parts), strict=True)]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Nearly all texts have common words; every twentieth, of the first third every fourth, has a rare one, too."""
    rng = np.random.default_rng(3)
    made = []
    for row in range(3 * ROWS):
        words = [*rng.choice(COMMON.split(), rng.integers(1, 9)), *(f"w{n}" for n in rng.integers(0, 400, 6))]
        if row % (4 if row < ROWS else 20) == 0:
            words += ["aileron"] * int(rng.integers(1, 4))
        made.append(" ".join(words))
    return made


def totals_of(parts: Sequence[ShardWords], b: float) -> Totals:
    """Add up the totals of several indexes."""
    rows, tokens = (sum(part.totals()[at] for part in parts) for at in (0, 1))
    return Totals(rows, tokens, b)


def joined(
    indexes: Sequence[LexicalIndex],
    masks: Sequence[NDArray[np.bool_]],
    query: str,
    k: int,
    shared: Shared,
    order: Sequence[int] = (0, 1, 2),
) -> tuple[Ranking, int]:
    """Ask one index after the other; return the best rows of all, and the least number that one has returned."""
    found = {n: indexes[n].search(query, k, masks[n], live=masks[n], shared=shared) for n in order}
    rows = np.concatenate([part[0] + ROWS * number for number, part in found.items()])
    scores = np.concatenate([part[1] for part in found.values()])
    return top_k(rows, scores, k), min(len(part[0]) for part in found.values())


@pytest.mark.parametrize("deleted", [0.0, 0.4])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_the_best_rows_are_those_of_one_index(texts: list[str], deleted: float, order: tuple[int, ...]) -> None:
    one = LexicalIndex()
    one.extend(0, texts)
    live = np.random.default_rng(5).random(len(texts)) >= deleted
    live.flags.writeable = False
    indexes, masks = [], []
    for number in range(3):
        index = LexicalIndex()
        index.extend(0, texts[number * ROWS : (number + 1) * ROWS])
        indexes.append(index)
        masks.append(live[number * ROWS : (number + 1) * ROWS])
    parts = [ShardWords(index, mask) for index, mask in zip(indexes, masks, strict=True)]
    totals = totals_of(parts, one.counted(live).b)
    spared = False
    for query in ("aileron wing heat layer", "aileron layer", "wing heat", "w7 wing layer", "aileron w3 w9 heat -w5"):
        for k in (1, 10, 400):
            shared = shared_statistics(query, NOTHING, totals, Counted(parts))._replace(bar=Bar())
            rows, scores = one.search(query, k, live, live=live)
            found, least = joined(indexes, masks, query, k, shared, order)
            spared |= least < k
            assert found[0].tolist() == rows.tolist()
            np.testing.assert_allclose(found[1], scores, rtol=1e-6)
    assert spared or order[0]  # after the one with the best rows, another left out rows that it returns alone


def test_words_that_no_row_has_are_replaced_before_anything_is_left_out(texts: list[str]) -> None:
    indexes = []
    for number in range(3):
        index = LexicalIndex()
        index.extend(0, texts[number * ROWS : (number + 1) * ROWS])
        indexes.append(index)
    masks = [np.ones(ROWS, np.bool_)] * 3
    parts = [ShardWords(index, mask) for index, mask in zip(indexes, masks, strict=True)]
    totals = totals_of(parts, 0.65)
    extra = Extra(fuzzy=True)
    shared = shared_statistics("ailerom wing heat", extra, totals, Counted(parts))
    with_bar, _ = joined(indexes, masks, "ailerom wing heat", 10, shared._replace(bar=Bar()))
    without, _ = joined(indexes, masks, "ailerom wing heat", 10, shared)
    assert [part.tolist() for part in with_bar] == [part.tolist() for part in without]


def test_counting_rows_joins_no_lists_of_an_index_without_deleted_rows(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LexicalIndex()
    index.extend(0, texts)
    live = np.ones(len(texts), np.bool_)
    expected = [sum(word in text.split() for text in texts) for word in ("wing", "aileron", "missing")]

    def joins(*_: object) -> None:
        raise AssertionError("a list was joined to be counted")

    monkeypatch.setattr(ListReader, "find", joins)
    assert ShardWords(index, live).counts(["wing", "aileron", "missing"]) == expected
