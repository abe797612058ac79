"""The quantized search: its recall, its generations of codes, and codes that cannot be used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from memvid_core.errors import StorageError
from memvid_core.vectors import scanning
from memvid_core.vectors.codes import BLOCK_ROWS, RamCodes, newest_codes
from memvid_core.vectors.growing_file import load_arrays, save_arrays
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import clustered, recall


@pytest.fixture
def small_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, auto_floats=1, few_candidates=8)


@pytest.mark.parametrize("noise", [0.2, 0.8])
def test_quantized_recall(tmp_path: Path, noise: float) -> None:
    data = clustered(40_000, 96, noise=noise)
    queries = clustered(60, 96, seed=9, noise=noise)
    index = VectorIndex(96, folder=tmp_path, strategy="quantized")
    for first in range(0, 40_000, 9000):  # commits of no round size, two fits on the way
        index.extend(first, data[first : first + 9000])
    random = np.random.default_rng(1)
    assert recall(index, data, queries, 10) >= 0.98
    assert recall(index, data, queries, 100) >= 0.97
    for share in (0.01, 0.3, 0.9):
        assert recall(index, data, queries, 10, random.random(40_000) < share) >= 0.98


def test_quantized_recall_without_any_structure() -> None:
    data = np.random.default_rng(0).standard_normal((20_000, 64), dtype=np.float32)
    index = VectorIndex(64, strategy="quantized")
    index.extend(0, data)
    assert recall(index, data, np.random.default_rng(1).standard_normal((30, 64), dtype=np.float32), 10) >= 0.97


def test_quantized_search_of_many_copies_is_exact() -> None:
    random = np.random.default_rng(0)
    kinds = random.standard_normal((3, 32), dtype=np.float32)
    data = kinds[random.integers(0, 3, 30_000)]
    index = VectorIndex(32, strategy="quantized")
    index.extend(0, data)
    rows, _ = index.search(kinds[1], 15)
    assert rows.tolist() == np.flatnonzero((data == kinds[1]).all(axis=1))[:15].tolist()


def test_quantized_search_after_the_data_moved_elsewhere() -> None:
    near, far = clustered(9000, 48), -clustered(25_000, 48, seed=4)
    index = VectorIndex(48, strategy="quantized")
    index.extend(0, near)
    index.extend(9000, far)  # less than four times the rows: the old fit stays
    assert recall(index, np.concatenate((near, far)), -clustered(40, 48, seed=6), 10) >= 0.97


@pytest.mark.usefixtures("small_fits")
def test_a_reader_keeps_its_generation_until_it_syncs(tmp_path: Path) -> None:
    data = clustered(6000, 24)
    writer = VectorIndex(24, folder=tmp_path, strategy="quantized")
    writer.extend(0, data[:1000])
    reader = VectorIndex(24, folder=tmp_path, strategy="quantized", writable=False)
    reader.sync(1000)
    before = reader.search(data[:50], 5)
    writer.extend(1000, data[1000:])  # six times the rows: fitted again, the old generation is removed
    assert [path.name for path in sorted(tmp_path.glob("*.bits"))] == ["codes-2.bits"]
    after = reader.search(data[:50], 5)
    assert before[0].tolist() == after[0].tolist()
    reader.sync(6000)
    assert recall(reader, data, data[5000:5050], 10) >= 0.97


@pytest.mark.usefixtures("small_fits")
@pytest.mark.parametrize(
    "harm",
    [
        *("no codes", "no levels", "no parameters", "torn parameters", "other dimension", "short codes"),
        *("short levels", "of an earlier version"),
    ],
)
def test_codes_that_cannot_be_used_are_made_again(tmp_path: Path, harm: str) -> None:
    data = clustered(2000, 24)
    VectorIndex(24, folder=tmp_path, strategy="quantized").extend(0, data)
    parameters = tmp_path / "quantizer-1"
    bits, levels = tmp_path / "codes-1.bits", tmp_path / "codes-1.levels"
    if harm == "no codes":
        bits.unlink()
    elif harm == "no levels":
        levels.unlink()
    elif harm == "no parameters":
        parameters.unlink()
    elif harm == "torn parameters":
        parameters.write_bytes(parameters.read_bytes()[:-100])
    elif harm == "short codes":
        bits.write_bytes(b"\0" * 1000)
    elif harm == "short levels":
        levels.write_bytes(b"\0" * 1000)
    elif harm == "of an earlier version":  # signs alone, and no step
        levels.unlink()
        arrays = load_arrays(parameters)
        assert arrays is not None
        save_arrays(parameters, **{name: arrays[name] for name in ("directions", "offsets", "fitted_rows")})
    else:
        other = tmp_path / "other"
        VectorIndex(25, folder=other, strategy="quantized").extend(0, clustered(2000, 25))
        shutil.copy(other / "quantizer-1", parameters)
    names = sorted(path.name for path in tmp_path.iterdir())
    for writable in (False, True):
        index = VectorIndex(24, folder=tmp_path, strategy="quantized", writable=writable)
        index.sync(2000)
        assert recall(index, data, clustered(30, 24, seed=2), 10) >= 0.97
        assert sorted(path.name for path in tmp_path.iterdir()) == names  # only who holds the file's lock writes
    index.flush()
    assert newest_codes(tmp_path) == 2
    again = VectorIndex(24, folder=tmp_path, strategy="quantized")
    again.sync(2000)
    assert again.nbytes == index.nbytes
    assert recall(again, data, clustered(30, 24, seed=2), 10) >= 0.97


@pytest.mark.usefixtures("small_fits")
def test_a_disk_that_fills_during_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clustered(3000, 8)
    index = VectorIndex(8, folder=tmp_path, strategy="quantized")
    index.extend(0, data[:500])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StorageError):
            index.extend(500, data[500:])
    assert sorted(path.name for path in tmp_path.iterdir() if "-2" in path.name) == []
    assert index.rows == 500
    index.extend(500, data[500:])
    assert recall(index, data, data[::300], 10) >= 0.97


def test_scan_counts_differing_bits() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**63, (BLOCK_ROWS + 10, 4), dtype=np.uint64)
    query = random.integers(0, 2**63, 4, dtype=np.uint64)
    codes[5], codes[6] = query, ~query
    store = RamCodes(1)
    store.write(0, codes, np.zeros((len(codes), 1), dtype=np.int8))
    counted = scanning.scan(store.blocks(len(codes)), query, len(codes))
    expected = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int64)
    assert (counted == np.minimum(expected, 255)).all()
    assert (counted[5], counted[6]) == (0, 255)


def test_weighed_levels_are_sums_of_weights() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(-127, 128, (9000, 200), dtype=np.int8)
    weights = random.standard_normal(200).astype(np.float32)
    rows = np.sort(random.choice(9000, 7500, replace=False))
    np.testing.assert_allclose(
        scanning.weigh(lambda some: levels[some], rows, weights), levels[rows] @ weights, atol=2e-2
    )
