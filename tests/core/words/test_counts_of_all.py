"""The counts of all tokens, beside those that are asked for one by one."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.shard_words import ShardWords

WORDS = [f"{a}{b}" for a in ("wing", "heat", "flow", "마을", "사람") for b in ("ra", "lo", "tim", "ben")]
ROWS = 1300  # more than a tail has


def texts(count: int) -> list[str]:
    rng = random.Random(4)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(9))) for _ in range(count)]


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("parts", [[ROWS], [1000, 1290, ROWS]], ids=["a block", "a block and a tail"])
def test_they_are_those_of_the_live_rows(tmp_path: Path, share: float, parts: list[int]) -> None:
    index, made = LexicalIndex(tmp_path), texts(ROWS)
    for first, last in zip([0, *parts], parts, strict=False):
        index.extend(first, made[first:last])
    live = np.random.default_rng(1).random(ROWS) < share
    live.flags.writeable = False
    words = ShardWords(index, live)
    found = words.counts_of_all(1 << 18)
    assert found is not None
    tokens = sorted({token for word in WORDS for token in (word, word[:2], word[1:3])} | found.keys())
    assert found == {token: n for token, n in zip(tokens, words.counts(tokens), strict=True) if n}
    assert bool(found) == bool(share)
    if found:
        assert words.counts_of_all(len(found)) == found
        assert words.counts_of_all(len(found) - 1) is None
    index.close()


def test_there_are_none_while_another_process_has_written_rows_that_do_not_count(tmp_path: Path) -> None:
    index, made = LexicalIndex(tmp_path), texts(ROWS)
    index.extend(0, made[:1000])
    live = np.ones(1000, np.bool_)
    with index.reading() as reader:
        assert reader.counts_of_all(None, 1 << 18)
    other = LexicalIndex(tmp_path)
    other.extend(1000, made[1000:])
    with index.reading() as reader:
        assert reader.counts_of_all(index.counted(live).exists, 1 << 18) is None
    for one in (index, other):
        one.close()
