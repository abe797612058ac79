"""VectorIndex: one contract for every strategy, an oracle beside it, and what files must bear."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memvid_core.errors import (
    ClosedError,
    DimensionError,
    IndexStaleError,
    InvalidInputError,
    QueryError,
    ReadOnlyError,
    StorageError,
    VectorError,
)
from memvid_core.index.vectors import exact as exact_module
from memvid_core.index.vectors import ivf as ivf_module
from memvid_core.index.vectors import matrix as rows_module
from memvid_core.index.vectors import quantized as quantized_module
from memvid_core.index.vectors import vector_index as vectors_module
from memvid_core.index.vectors.codes import BLOCK_ROWS, FileCodes, RamCodes, newest_codes
from memvid_core.index.vectors.growing_file import GrowingFile, load_arrays, save_arrays
from memvid_core.index.vectors.matrix import narrow, normalized, widen
from memvid_core.index.vectors.quantizer import Quantizer
from memvid_core.index.vectors.recall_estimate import Line, enough, upper_tail
from memvid_core.index.vectors.vector_index import VectorIndex
from memvid_core.model import IndexName

Matrix = NDArray[np.float32]


def oracle(
    stored: Matrix, query: NDArray[Any], k: int, mask: NDArray[Any] | None = None
) -> tuple[list[int], list[float]]:
    """Cosine by its definition, in float64, ties by row."""
    wide, wanted = stored.astype(np.float64), np.asarray(query, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(wanted)
    scores = np.divide(wide @ wanted, lengths, out=np.zeros(len(wide)), where=lengths > 0)
    rows = [int(row) for row in np.lexsort((np.arange(len(wide)), -scores.round(6)))]
    rows = [row for row in rows if mask is None or mask[row]][:k]
    return rows, [float(scores[row]) for row in rows]


def clustered(rows: int, dimension: int, seed: int = 0, noise: float = 0.35) -> Matrix:
    """Vectors as embeddings are: a common direction, some hundred topics, most variance in few directions."""
    random = np.random.default_rng(seed)
    scale = 1.0 / np.sqrt(np.arange(1, dimension + 1))
    topics = np.random.default_rng(99).standard_normal((200, dimension)) * scale
    chosen = topics[random.integers(0, 200, rows)]
    return (chosen + noise * random.standard_normal((rows, dimension)) * scale + 0.5 * scale[0]).astype(np.float32)


class VectorIndexContract:
    """What every strategy must do, in RAM and in files, in both dtypes."""

    strategy: IndexName = "auto"

    @pytest.fixture(params=["ram-float16", "file-float16", "file-float32"])
    def make(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., VectorIndex]:
        place, dtype = request.param.split("-")
        folder = tmp_path / "index" if place == "file" else None

        def build(dimension: int, **more: Any) -> VectorIndex:
            return VectorIndex(dimension, folder=folder, dtype=dtype, strategy=self.strategy, **more)

        return build

    def check(self, index: VectorIndex, query: NDArray[Any], k: int, mask: NDArray[Any] | None = None) -> None:
        rows, scores = index.search(query, k, mask)
        stored = index.vectors(np.arange(index.rows))
        expected_rows, expected_scores = oracle(stored, query, k, mask)
        assert rows.dtype == np.int64
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected_scores, atol=2e-6)
        assert (np.diff(scores) <= 0).all()
        # Rows may differ only where scores are equal to within rounding.
        for got, want, score in zip(rows.tolist(), expected_rows, expected_scores, strict=True):
            if got != want:
                own = float(np.dot(stored[got].astype(np.float64), query) / np.linalg.norm(stored[got]))
                assert own / np.linalg.norm(query) == pytest.approx(score, abs=2e-6)

    def test_finds_what_the_definition_finds(self, make: Callable[..., VectorIndex]) -> None:
        index = make(24)
        data = clustered(700, 24)
        index.extend(0, data[:300])
        index.extend(300, data[300:])
        assert index.rows == 700
        for query in clustered(6, 24, seed=1):
            for k in (1, 10, 50, 700, 1000):
                self.check(index, query, k)

    def test_masks(self, make: Callable[..., VectorIndex]) -> None:
        index = make(16)
        index.extend(0, clustered(600, 16))
        random = np.random.default_rng(3)
        query = clustered(1, 16, seed=2)[0]
        for share in (0.0, 0.002, 0.05, 0.5, 0.99, 1.0):
            mask = random.random(600) < share
            self.check(index, query, 10, mask)

    def test_a_short_mask_hides_the_rows_after_it(self, make: Callable[..., VectorIndex]) -> None:
        index = make(4)
        index.extend(0, np.eye(4, dtype=np.float32))
        rows, _ = index.search(np.array([0, 0, 0, 1.0]), 4, np.ones(3, dtype=np.bool_))
        assert sorted(rows.tolist()) == [0, 1, 2]

    def test_a_batch_is_its_queries_one_by_one(self, make: Callable[..., VectorIndex]) -> None:
        index = make(12)
        index.extend(0, clustered(500, 12))
        queries = clustered(7, 12, seed=5)
        mask = np.arange(500) % 3 != 0
        for some in (None, mask):
            rows, scores = index.search(queries, 9, some)
            assert rows.shape == scores.shape == (7, 9)
            for at, query in enumerate(queries):
                one_rows, one_scores = index.search(query, 9, some)
                assert rows[at].tolist() == one_rows.tolist()
                assert scores[at].tolist() == one_scores.tolist()

    def test_a_batch_is_padded(self, make: Callable[..., VectorIndex]) -> None:
        index = make(3)
        index.extend(0, np.eye(3, dtype=np.float32)[:2])
        rows, scores = index.search(np.eye(3, dtype=np.float32), 4)
        assert rows[0].tolist() == [0, 1, -1, -1]
        assert scores[0].tolist() == [1.0, 0.0, -1.0, -1.0]
        none, _ = index.search(np.eye(3, dtype=np.float32), 2, np.zeros(2, dtype=np.bool_))
        assert (none == -1).all()
        assert index.search(np.empty((0, 3), dtype=np.float32), 2)[0].shape == (0, 2)

    def test_an_empty_index(self, make: Callable[..., VectorIndex]) -> None:
        index = make(3)
        rows, scores = index.search(np.ones(3), 5)
        assert (rows.shape, scores.shape) == ((0,), (0,))
        index.extend(0, np.empty((0, 3), dtype=np.float32))
        assert index.rows == 0
        assert index.vectors(np.empty(0, dtype=np.int64)).shape == (0, 3)

    @pytest.mark.parametrize("dimension", [1, 2, 7, 65, 300, 777])
    def test_any_dimension(self, make: Callable[..., VectorIndex], dimension: int) -> None:
        index = make(dimension)
        random = np.random.default_rng(dimension)
        index.extend(0, random.standard_normal((150, dimension), dtype=np.float32))
        self.check(index, random.standard_normal(dimension), 5)

    def test_equal_vectors_fall_by_row_number(self, make: Callable[..., VectorIndex]) -> None:
        index = make(33)
        vector = np.random.default_rng(0).standard_normal(33).astype(np.float32)
        other = np.random.default_rng(1).standard_normal(33).astype(np.float32)
        data = np.tile(vector, (900, 1))
        data[::2] = other
        index.extend(0, data)
        rows, scores = index.search(vector, 20)
        assert rows.tolist() == list(range(1, 41, 2))
        assert len(set(scores.tolist())) == 1
        assert scores[0] == pytest.approx(1.0, abs=1e-6)

    def test_identical_vectors(self, make: Callable[..., VectorIndex]) -> None:
        index = make(8)
        index.extend(0, np.ones((500, 8), dtype=np.float32))
        rows, scores = index.search(np.ones(8), 5)
        assert rows.tolist() == [0, 1, 2, 3, 4]
        assert scores.tolist() == pytest.approx([1.0] * 5)
        rows, scores = index.search(-np.ones(8), 2)
        assert rows.tolist() == [0, 1]
        assert scores.tolist() == pytest.approx([-1.0] * 2)

    def test_one_hot_vectors(self, make: Callable[..., VectorIndex]) -> None:
        index = make(40)
        index.extend(0, np.tile(np.eye(40, dtype=np.float32), (20, 1)))
        query = np.zeros(40)
        query[7] = 3.0
        rows, scores = index.search(query, 20)
        assert rows.tolist() == list(range(7, 800, 40))
        assert scores.tolist() == pytest.approx([1.0] * 20)

    def test_zero_rows_and_zero_queries_have_no_direction(self, make: Callable[..., VectorIndex]) -> None:
        index = make(5)
        data = clustered(50, 5)
        data[10:20] = 0.0
        index.extend(0, data)
        rows, scores = index.search(np.zeros(5), 3)
        assert rows.tolist() == [0, 1, 2]
        assert scores.tolist() == [0.0, 0.0, 0.0]
        mask = (data != 0).any(axis=1, keepdims=True)[:, 0]
        self.check(index, data[0], 50, mask)

    def test_lengths_do_not_matter(self, make: Callable[..., VectorIndex]) -> None:
        data = clustered(60, 6)
        plain, scaled = make(6), VectorIndex(6, strategy=self.strategy, dtype="float32")
        plain.extend(0, data)
        factors = np.geomspace(1e-30, 1e30, 60, dtype=np.float64)[:, None]
        scaled.extend(0, (data * factors).astype(np.float32))
        np.testing.assert_allclose(plain.vectors(np.arange(60)), scaled.vectors(np.arange(60)), atol=1e-3)

    def test_rows_can_be_written_anew(self, make: Callable[..., VectorIndex]) -> None:
        index = make(10)
        data = clustered(400, 10)
        index.extend(0, data)
        index.search(data[0], 3)
        index.extend(250, data[:50] * -1)
        assert index.rows == 300
        rows, scores = index.search(-data[7], 1)
        assert (rows.tolist(), scores[0]) == ([257], pytest.approx(1.0, abs=1e-5))
        self.check(index, data[300], 10)

    def test_growing_row_by_row(self, make: Callable[..., VectorIndex]) -> None:
        index = make(6)
        data = clustered(90, 6)
        for row, vector in enumerate(data):
            index.extend(row, vector[None])
            assert index.search(vector, 1)[1][0] == pytest.approx(1.0, abs=1e-5)
        self.check(index, data[40], 10)

    def test_vectors_are_unit_rows_in_the_order_asked(self, make: Callable[..., VectorIndex]) -> None:
        index = make(9)
        data = clustered(30, 9)
        index.extend(0, data)
        got = index.vectors(np.array([5, 2, 5]))
        want = data / np.linalg.norm(data, axis=1, keepdims=True)
        np.testing.assert_allclose(got, want[[5, 2, 5]], atol=1e-3)
        got[:] = 0.0  # a copy: the index is not changed
        np.testing.assert_allclose(index.vectors(np.array([5])), want[[5]], atol=1e-3)

    def test_what_it_refuses(self, make: Callable[..., VectorIndex]) -> None:
        index = make(4)
        index.extend(0, np.eye(4, dtype=np.float32))
        bad = np.ones((3, 4), dtype=np.float32)
        bad[1, 2] = np.nan
        with pytest.raises(VectorError, match="vector 1 of 3"):
            index.extend(4, bad)
        with pytest.raises(VectorError):
            index.extend(4, np.full((1, 4), np.inf, dtype=np.float32))
        with pytest.raises(VectorError):
            index.extend(4, np.full((1, 4), "x"))
        with pytest.raises(DimensionError):
            index.extend(4, np.ones((2, 3), dtype=np.float32))
        with pytest.raises(IndexStaleError, match="4 rows"):
            index.extend(5, np.ones((1, 4), dtype=np.float32))
        with pytest.raises(DimensionError):
            index.search(np.ones(5), 1)
        with pytest.raises(VectorError):
            index.search(np.array([1, 2, np.nan, 4]), 1)
        with pytest.raises(QueryError):
            index.search(np.ones(4), 0)
        with pytest.raises(QueryError):
            index.search(np.ones(4), 1, np.ones(4, dtype=np.int64))
        with pytest.raises(InvalidInputError):
            index.vectors(np.array([4]))
        with pytest.raises(InvalidInputError):
            index.vectors(np.array([[0]]))
        with pytest.raises(InvalidInputError):
            index.sync(-1)
        assert index.rows == 4
        self.check(index, np.array([1.0, 2.0, 3.0, 4.0]), 4)

    def test_closed(self, make: Callable[..., VectorIndex]) -> None:
        index = make(2)
        index.extend(0, np.eye(2, dtype=np.float32))
        index.close()
        index.close()
        for call in (
            lambda: index.search(np.ones(2), 1),
            lambda: index.extend(0, np.eye(2, dtype=np.float32)),
            lambda: index.vectors(np.array([0])),
            lambda: index.sync(0),
            index.flush,
        ):
            with pytest.raises(ClosedError):
                call()

    def test_searches_beside_a_writer(self, make: Callable[..., VectorIndex]) -> None:
        index = make(8)
        data = clustered(1200, 8)
        index.extend(0, data[:200])
        wrong: list[str] = []

        def look() -> None:
            for _ in range(40):
                rows, scores = index.search(data[3], 1)
                if rows.tolist() != [3] or abs(scores[0] - 1.0) > 1e-5:
                    wrong.append(f"{rows} {scores}")

        readers = [threading.Thread(target=look) for _ in range(3)]
        for reader in readers:
            reader.start()
        for first in range(200, 1200, 50):
            index.extend(first, data[first : first + 50])
        for reader in readers:
            reader.join()
        assert not wrong
        self.check(index, data[1000], 10)

    def test_another_process_takes_what_was_committed(self, tmp_path: Path) -> None:
        data = clustered(5000, 16)
        np.save(tmp_path / "data.npy", data)
        folder = tmp_path / "index"
        writer = VectorIndex(16, folder=folder, strategy=self.strategy)
        reader = VectorIndex(16, folder=folder, strategy=self.strategy, writable=False)
        reader.sync(0)
        writer.extend(0, data[:3000])
        assert reader.rows == 0
        reader.sync(3000)
        writer.extend(3000, data[3000:])
        writer.flush()
        rows, _ = reader.search(data[4000], 1)
        assert rows[0] < 3000  # not committed yet
        script = (
            "import sys, numpy as np; from pathlib import Path\n"
            "from memvid_core.index.vectors.vector_index import VectorIndex\n"
            "data = np.load(sys.argv[1]); index = VectorIndex(16, folder=Path(sys.argv[2]), strategy=sys.argv[3],"
            " writable=False); index.sync(5000)\n"
            "rows, scores = index.search(data[::100], 1); assert (rows[:, 0] == np.arange(0, 5000, 100)).all(), rows\n"
        )
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "data.npy"), str(folder), self.strategy], check=True
        )
        reader.sync(5000)
        assert reader.search(data[4000], 1)[0].tolist() == [4000]
        again = VectorIndex(16, folder=folder, strategy=self.strategy)
        again.sync(5000)
        assert again.search(data[4999], 1)[0].tolist() == [4999]
        again.extend(5000, data[:10])
        assert again.search(data[4], 2)[0].tolist() == [4, 5004]
        assert again.nbytes >= 5010 * 32

    def test_a_crash_leaves_nothing_that_is_found(self, tmp_path: Path) -> None:
        data = clustered(3300, 12)
        folder = tmp_path / "index"
        writer = VectorIndex(12, folder=folder, strategy=self.strategy)
        writer.extend(0, data[:3000])
        writer.extend(3000, -data[:300])  # never committed
        writer.flush()
        writer.close()
        after = VectorIndex(12, folder=folder, strategy=self.strategy)
        after.sync(3000)
        assert after.search(-data[5], 1)[0][0] < 3000
        after.extend(3000, data[3000:])
        after.flush()
        reader = VectorIndex(12, folder=folder, strategy=self.strategy, writable=False)
        reader.sync(3300)
        for index in (after, reader):
            rows, scores = index.search(data[3000:], 1)
            assert rows[:, 0].tolist() == list(range(3000, 3300))
            np.testing.assert_allclose(scores[:, 0], 1.0, atol=1e-5)

    def test_files_that_hold_less_than_was_committed(self, tmp_path: Path) -> None:
        index = VectorIndex(4, folder=tmp_path, strategy=self.strategy)
        index.extend(0, np.eye(4, dtype=np.float32))
        index.close()
        for dimension in (4, 5):
            reader = VectorIndex(dimension, folder=tmp_path, strategy=self.strategy, writable=False)
            with pytest.raises(IndexStaleError):
                reader.sync(5)
            assert reader.rows == 0

    def test_a_reader_changes_nothing(self, tmp_path: Path) -> None:
        folder = tmp_path / "none"
        reader = VectorIndex(4, folder=folder, strategy=self.strategy, writable=False)
        with pytest.raises(ReadOnlyError):
            reader.extend(0, np.eye(4, dtype=np.float32))
        assert not folder.exists()
        assert reader.nbytes == 0


class TestAuto(VectorIndexContract):
    strategy: IndexName = "auto"


class TestExact(VectorIndexContract):
    strategy: IndexName = "exact"


class TestSklearn(VectorIndexContract):
    strategy: IndexName = "sklearn"


class TestQuantized(VectorIndexContract):
    strategy: IndexName = "quantized"

    @pytest.fixture(autouse=True)
    def scan_even_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The contract's small sets would all be compared exactly: make the scan work on them, and keep their codes."""
        monkeypatch.setattr(vectors_module, "AUTO_FLOATS", 1)
        monkeypatch.setattr(quantized_module, "_FEW", 8)


class TestIvf(VectorIndexContract):
    strategy: IndexName = "ivf"

    @pytest.fixture(autouse=True)
    def lists_even_of_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make codes and lists from the first row on, and look into so many that small sets come out whole."""
        monkeypatch.setattr(vectors_module, "AUTO_FLOATS", 1)
        monkeypatch.setattr(quantized_module, "_FEW", 8)
        monkeypatch.setattr(ivf_module, "_UNLISTED", 16)
        for setting in ("_PROBES", "_COMPARED"):
            monkeypatch.setattr(ivf_module, setting, 1 << 16)
        monkeypatch.setattr(ivf_module, "_MOST_PROBES", 1 << 32)


# ------------------------------------------------------------------------------------------------------- recall


def recall(index: VectorIndex, data: Matrix, queries: Matrix, k: int, mask: NDArray[np.bool_] | None = None) -> float:
    unit = data / np.linalg.norm(data, axis=1, keepdims=True)
    scores = queries @ unit.T
    if mask is not None:
        scores[:, ~mask] = -np.inf
    truth = np.argpartition(-scores, k, axis=1)[:, :k]
    found, _ = index.search(queries, k, mask)
    return float(np.mean([len(set(some) & set(right)) / k for some, right in zip(found, truth, strict=True)]))


@pytest.mark.parametrize("noise", [0.2, 0.8])
def test_quantised_recall(tmp_path: Path, noise: float) -> None:
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


def test_quantised_recall_without_any_structure() -> None:
    data = np.random.default_rng(0).standard_normal((20_000, 64), dtype=np.float32)
    index = VectorIndex(64, strategy="quantized")
    index.extend(0, data)
    assert recall(index, data, np.random.default_rng(1).standard_normal((30, 64), dtype=np.float32), 10) >= 0.97


def test_quantised_search_of_many_copies_is_exact() -> None:
    random = np.random.default_rng(0)
    kinds = random.standard_normal((3, 32), dtype=np.float32)
    data = kinds[random.integers(0, 3, 30_000)]
    index = VectorIndex(32, strategy="quantized")
    index.extend(0, data)
    rows, _ = index.search(kinds[1], 15)
    assert rows.tolist() == np.flatnonzero((data == kinds[1]).all(axis=1))[:15].tolist()


def test_quantised_search_after_the_data_moved_elsewhere() -> None:
    near, far = clustered(9000, 48), -clustered(25_000, 48, seed=4)
    index = VectorIndex(48, strategy="quantized")
    index.extend(0, near)
    index.extend(9000, far)  # less than four times the rows: the old fit stays
    assert recall(index, np.concatenate((near, far)), -clustered(40, 48, seed=6), 10) >= 0.97


@pytest.fixture
def codes_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make codes, and so lists, from a thousand rows on."""
    monkeypatch.setattr(vectors_module, "AUTO_FLOATS", 48_000)


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize("noise", [0.05, 0.35, 0.8])
def test_ivf_recall(tmp_path: Path, noise: float) -> None:
    data, queries = clustered(30_000, 48, noise=noise), clustered(50, 48, seed=9, noise=noise)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    for first in range(0, 30_000, 7000):
        index.extend(first, data[first : first + 7000])
        assert recall(index, data[: first + 7000], queries, 10) >= 0.96
    index.flush()
    again = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    again.sync(30_000)
    for some in (index, again):
        assert recall(some, data, queries, 10) >= 0.97
        assert recall(some, data, queries, 100) >= 0.95
        assert recall(some, data, queries, 10, np.arange(30_000) % 2 == 0) >= 0.97
        assert recall(some, data, queries, 10, np.arange(30_000) % 300 == 0) >= 0.97


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_search_among_copies_and_rows_without_a_vector() -> None:
    random = np.random.default_rng(0)
    kinds = random.standard_normal((3, 48), dtype=np.float32)
    data = kinds[random.integers(0, 3, 9000)]
    data[::2] = 0.0
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    rows, _ = index.search(kinds[1], 15)
    assert rows.tolist() == np.flatnonzero((data == kinds[1]).all(axis=1))[:15].tolist()


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_looks_into_further_lists_where_the_first_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf_module, "_PROBES", -8)  # beside k: two lists at first, of some thousand
    monkeypatch.setattr(ivf_module, "_WEIGHED", 200)
    data, queries = clustered(20_000, 48, noise=0.8), clustered(50, 48, seed=9, noise=0.8)
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    assert recall(index, data, queries, 10) >= 0.9


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_rows_written_anew_get_lists_anew() -> None:
    data = clustered(9000, 48)
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    index.search(data[0], 1)
    index.extend(3000, -data[3000:])
    rows, _ = index.search(-data[3000::60], 1)
    assert rows[:, 0].tolist() == list(range(3000, 9000, 60))


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_rows_without_a_vector_are_in_no_list() -> None:
    data = clustered(4000, 48)
    data[::2] = 0.0
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    index.search(data[1], 1)
    file = index._search._file  # type: ignore[attr-defined]
    assert (file.nearest[::2] == len(file.centroids)).all()
    assert (file.nearest[1::2] < len(file.centroids)).all()


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_lists_are_fitted_once_and_again_when_there_are_many_more_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized_module, "_REFIT_UNTIL", 1000)  # the codes stay what they are
    data = clustered(20_000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    for first, last, fitted in ((0, 4000, 4000), (4000, 9000, 4000), (9000, 20_000, 20_000)):
        index.extend(first, data[first:last])
        index.sync(last)
        index.flush()
        assert [path.name for path in tmp_path.glob("*.lists")] == [f"ivf-1-{fitted}.lists"]
    index.close()
    monkeypatch.setattr(ivf_module._InvertedFile, "fit", None)  # who opens it takes what is there
    again = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    again.sync(20_000)
    assert recall(again, data, clustered(30, 48, seed=2), 10) >= 0.97


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize(
    "harm", ["no lists", "no centroids", "torn lists", "torn centroids", "wild lists", "too long", "other names"]
)
def test_lists_that_cannot_be_used_are_made_again(tmp_path: Path, harm: str) -> None:
    data = clustered(4000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(4000)
    index.flush()
    index.close()
    lists, centroids = tmp_path / "ivf-1-4000.lists", tmp_path / "ivf-1-4000.centroids"
    if harm.startswith("no "):
        (lists if harm == "no lists" else centroids).unlink()
    elif harm.startswith("torn "):
        path = lists if harm == "torn lists" else centroids
        path.write_bytes(path.read_bytes()[:-5])
    elif harm == "wild lists":
        save_arrays(lists, nearest=np.full(4000, 10**6, dtype=np.int32))
    elif harm == "too long":
        save_arrays(lists, nearest=np.zeros(8000, dtype=np.int32))
    else:
        lists.rename(tmp_path / "ivf-1-many.lists")
    names = sorted(path.name for path in tmp_path.iterdir())
    for writable in (False, True):
        index = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=writable)
        index.sync(4000)
        assert recall(index, data, clustered(30, 48, seed=2), 10) >= 0.97
        index.flush()
        if not writable:
            assert sorted(path.name for path in tmp_path.iterdir()) == names
    arrays = load_arrays(lists)
    assert arrays is not None
    assert len(arrays["nearest"]) == 4000


@pytest.mark.usefixtures("codes_of_few")
def test_a_disk_that_is_full_when_lists_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clustered(3000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(3000)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StorageError, match="No space left"):
            index.flush()
    assert not list(tmp_path.glob("*.part"))
    assert recall(index, data, data[::100], 10) >= 0.97
    index.flush()
    assert list(tmp_path.glob("*.lists"))


def test_centroids_nearest_to_rows() -> None:
    random = np.random.default_rng(0)
    points = random.integers(-40, 41, (30, 20))
    rows = (points[random.integers(0, 30, 3000)] + random.integers(-4, 5, (3000, 20))).astype(np.int8)
    for count in (1, 2, 700):
        levels = rows[:count]
        found = ivf_module._Centroids(levels).nearest(rows)
        distances = np.square(rows[:, None].astype(np.int32) - levels).sum(axis=2)
        least = distances.min(axis=1)
        assert np.mean(distances[np.arange(3000), found] == least) >= 0.99


@pytest.mark.parametrize("name", ["dimension", "dtype", "strategy"])
def test_settings_that_do_not_exist(name: str) -> None:
    wrong: dict[str, Any] = {"dimension": 4, "dtype": "float16", "strategy": "auto"}
    wrong[name] = {"dimension": 0, "dtype": "int8", "strategy": "annoy"}[name]
    with pytest.raises(InvalidInputError, match=str(wrong[name])):
        VectorIndex(**wrong)


def test_sklearn_is_imported_only_where_it_is_used() -> None:
    script = (
        "import sys, numpy as np; from memvid_core.index.vectors.vector_index import VectorIndex\n"
        "index = VectorIndex(4); index.extend(0, np.eye(4, dtype=np.float32)); index.search(np.ones(4), 2)\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# -------------------------------------------------------------------------------------------- files and generations


@pytest.fixture
def small_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "AUTO_FLOATS", 1)
    monkeypatch.setattr(quantized_module, "_FEW", 8)


@pytest.mark.usefixtures("small_fits")
def test_a_reader_keeps_its_generation_until_it_syncs(tmp_path: Path) -> None:
    data = clustered(6000, 24)
    writer = VectorIndex(24, folder=tmp_path, strategy="quantized")
    writer.extend(0, data[:1000])
    reader = VectorIndex(24, folder=tmp_path, strategy="quantized", writable=False)
    reader.sync(1000)
    before = reader.search(data[:50], 5)
    writer.extend(1000, data[1000:])  # six times the rows: fitted anew, the old generation is removed
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


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clustered(200, 8)
    index = VectorIndex(8, folder=tmp_path)
    index.extend(0, data[:100])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="No space left"):
            index.extend(100, data[100:])
    assert index.rows == 100
    index.extend(100, data[100:])
    assert index.search(data[150], 1)[0].tolist() == [150]


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


def test_writes_without_pwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pwrite", raising=False)
    file = GrowingFile(tmp_path / "a", writable=True)
    file.write(3, memoryview(b"def"))
    file.write(0, memoryview(b"abc"))
    assert file.span(0, 6).tobytes() == b"abcdef"
    file.close()


# ------------------------------------------------------------------------------------------------------------ parts


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["exact", "quantized", "sklearn"]),
)
def test_any_small_integers(rows: int, dimension: int, k: int, seed: int, strategy: IndexName) -> None:
    """Small integers make many ties, zero rows and parallel vectors."""
    random = np.random.default_rng(seed)
    index = VectorIndex(dimension, dtype="float32", strategy=strategy)
    index.extend(0, random.integers(-2, 3, (rows, dimension)).astype(np.float32))
    query = random.integers(-2, 3, dimension)
    mask = random.random(rows) < 0.8
    found, scores = index.search(query, k, mask)
    _, expected = oracle(index.vectors(np.arange(rows)), query, k, mask)
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    assert all(mask[row] for row in found)
    assert [tuple(pair) for pair in zip(-scores, found, strict=True)] == sorted(zip(-scores, found, strict=True))


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


def test_scan_counts_differing_bits() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**63, (BLOCK_ROWS + 10, 4), dtype=np.uint64)
    query = random.integers(0, 2**63, 4, dtype=np.uint64)
    codes[5], codes[6] = query, ~query
    store = RamCodes(1)
    store.write(0, codes, np.zeros((len(codes), 1), dtype=np.int8))
    counted = quantized_module.scan(store.blocks(len(codes)), query, len(codes))
    expected = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int64)
    assert (counted == np.minimum(expected, 255)).all()
    assert (counted[5], counted[6]) == (0, 255)


def test_weighed_levels_are_sums_of_weights() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(-127, 128, (9000, 200), dtype=np.int8)
    weights = random.standard_normal(200).astype(np.float32)
    rows = np.sort(random.choice(9000, 7500, replace=False))
    np.testing.assert_allclose(
        quantized_module.weigh(lambda some: levels[some], rows, weights), levels[rows] @ weights, atol=2e-2
    )


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


def test_tail_against_erfc() -> None:
    from math import erfc, sqrt

    away = np.linspace(-6, 6, 241)
    exact = np.array([0.5 * erfc(z / sqrt(2)) for z in away])
    np.testing.assert_allclose(upper_tail(away), exact, rtol=0.02, atol=1e-7)


def test_enough_is_the_least_that_suffices() -> None:
    chances = np.array([0.9, 0.5, 0.2, 0.1, 0.05])
    assert [enough(chances, allowed) for allowed in (0.0, 0.05, 0.151, 0.351, 5.0)] == [5, 4, 3, 2, 0]
    assert enough(np.empty(0), 0.1) == 0


def test_a_line_and_its_composition() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(0, 100, 4000).astype(np.float32)
    y = (3 - 0.5 * x + random.standard_normal(4000)).astype(np.float32)
    z = (2 * y + 1 + random.standard_normal(4000)).astype(np.float32)
    first, second = Line.through(x, y), Line.through(y, z)
    assert first is not None
    assert second is not None
    both = first.then(second)
    assert both.slope == pytest.approx(-1.0, abs=0.02)
    assert both.sigma == pytest.approx(np.sqrt(5.0), rel=0.05)
    assert float(both.away(np.array([40.0]), 7 - 40.0 + np.sqrt(5.0))[0]) == pytest.approx(1.0, abs=0.1)
    assert Line.through(np.ones(5, dtype=np.float32), y[:5]) is None


def test_rows_of_a_large_file_are_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clustered(3000, 16)
    index = VectorIndex(16, folder=tmp_path, strategy="quantized")
    index.extend(0, data)
    small = index.search(data[:20], 5)
    wanted = np.array([2999, 0, 7, 7])
    kept = index.vectors(wanted)
    monkeypatch.setattr(rows_module, "_KEPT_BYTES", 1000)  # the file is large now
    large = VectorIndex(16, folder=tmp_path, strategy="quantized", writable=False)
    large.sync(3000)
    assert large.search(data[:20], 5)[0].tolist() == small[0].tolist()
    assert (large.vectors(wanted) == kept).all()
    assert index.vectors(wanted[:0]).shape == (0, 16)
    exact = VectorIndex(16, folder=tmp_path, strategy="exact", writable=False)
    exact.sync(3000)
    monkeypatch.setattr(exact_module, "_CACHE_BYTES", 1000)  # no copy in RAM either
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
