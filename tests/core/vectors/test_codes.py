"""Codes in RAM and in files hold what was written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memvid_core.vectors.codes import BLOCK_ROWS, FileCodes, RamCodes


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * BLOCK_ROWS), st.integers(0, BLOCK_ROWS + 5)), min_size=1, max_size=5))
def test_code_stores_hold_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]]
) -> None:
    file = FileCodes(tmp_path_factory.mktemp("codes"), 1, 7, writable=True)
    ram = RamCodes(7)
    most = 0
    signs, levels = np.zeros((0, 4), dtype=np.uint64), np.zeros((0, 7), dtype=np.int8)
    for seed, (at, count) in enumerate(writes):
        first = min(at, len(signs))
        random = np.random.default_rng(seed)
        new = random.integers(0, 2**63, (count, 4), dtype=np.uint64), random.integers(-127, 128, (count, 7), np.int8)
        signs, levels = np.concatenate((signs[:first], new[0])), np.concatenate((levels[:first], new[1]))
        for store in (file, ram):
            store.write(first, *new)
            assert (store.blocks(len(signs)).transpose(0, 2, 1).reshape(-1, 4)[: len(signs)] == signs).all()
            assert (store.levels(np.arange(len(signs))) == levels).all()
        assert file.holds(len(signs))
        most = max(most, len(signs))
        assert not file.holds(most + BLOCK_ROWS)
    file.close()
