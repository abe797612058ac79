"""Rows in float16 and float32, and rows of a large file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from memvid_core.errors import ClosedError, IndexStaleError
from memvid_core.model import IndexName
from memvid_core.vectors.matrix import FileRows, narrow, widen
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import clustered, oracle


def test_widen_and_narrow_are_the_casts() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert (widen(finite).view(np.uint32) == finite.astype(np.float32).view(np.uint32)).all()
    small = finite[np.abs(finite) <= 1]
    assert (narrow(small.astype(np.float32)).view(np.uint16) == small.view(np.uint16)).all()
    random = np.random.default_rng(0)
    numbers = (random.uniform(-1, 1, 100_000) * 10.0 ** random.integers(-8, 1, 100_000)).astype(np.float32)
    cast = numbers.astype(np.float16).astype(np.float64)
    ours = narrow(numbers).astype(np.float64)
    assert (np.abs(ours - numbers) <= np.abs(cast - numbers) + 8e-12).all()  # halves may go the other way


def test_rows_that_were_read_just_now_are_read_again_once_they_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, kept_bytes=0)
    old, new = np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32)[::-1].copy()
    writer, reader = (FileRows(tmp_path, 8, "float16", writable=writable) for writable in (True, False))
    writer.write(0, old)
    for store in (writer, reader):
        store.sync(8, 0)
        assert np.array_equal(store.read(np.arange(8)), old)
    writer.write(0, new)
    assert np.array_equal(writer.read(np.array([2, 1])), new[[2, 1]])
    reader.sync(8, 0)
    assert np.array_equal(reader.read(np.array([2, 1])), new[[2, 1]])
    writer.close()
    reader.close()


def test_rows_of_a_large_file_are_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clustered(3000, 16)
    index = VectorIndex(16, folder=tmp_path, strategy="quantized")
    index.extend(0, data)
    small = index.search(data[:20], 5)
    wanted = np.array([2999, 0, 7, 7])
    kept = index.vectors(wanted)
    tune(monkeypatch, kept_bytes=1000)  # the file is large now
    large = VectorIndex(16, folder=tmp_path, strategy="quantized", writable=False)
    large.sync(3000)
    assert large.search(data[:20], 5)[0].tolist() == small[0].tolist()
    assert (large.vectors(wanted) == kept).all()
    assert index.vectors(wanted[:0]).shape == (0, 16)
    exact = VectorIndex(16, folder=tmp_path, strategy="exact", writable=False)
    exact.sync(3000)
    tune(monkeypatch, copied_bytes=1000)  # no copy in RAM either
    mask = np.arange(3000) % 7 == 0
    for some in (None, mask, mask & (np.arange(3000) < 700)):
        rows, scores = exact.search(data[:20], 5, some)
        for at in range(20):
            expected_rows, expected = oracle(index.vectors(np.arange(3000)), data[at], 5, some)
            np.testing.assert_allclose(scores[at], expected, atol=2e-6)
            np.testing.assert_allclose(exact.search(data[at], 5, some)[1], expected, atol=2e-6)
            assert rows[at, 0] == expected_rows[0]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", lambda *_: b"")  # as at the end of a file
        with pytest.raises(IndexStaleError):
            exact.vectors(wanted)
    index.close()
    with pytest.raises(ClosedError):
        index.vectors(wanted)


@pytest.mark.parametrize("strategy", ["auto", "exact", "sklearn"])
def test_a_flipped_bit_of_any_row_is_noticed_by_the_first_search_of_all(tmp_path: Path, strategy: IndexName) -> None:
    index = VectorIndex(16, folder=tmp_path, strategy=strategy)
    index.extend(0, clustered(3000, 16))
    index.flush()
    index.close()
    [path] = tmp_path.glob("vectors-16.float16")
    whole = path.read_bytes()
    for at in (0, 31, 32, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        reader = VectorIndex(16, folder=tmp_path, strategy=strategy, writable=False)
        reader.sync(3000)
        with pytest.raises(IndexStaleError):
            reader.search(np.ones(16, np.float32), 5)
        reader.close()
