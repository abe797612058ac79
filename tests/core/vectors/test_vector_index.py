"""VectorIndex: one contract for every strategy, with an oracle, and what it refuses."""

from __future__ import annotations

import os
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
from memvid_core.model import IndexName
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import MODULES, clustered, oracle
from tests.processes import run


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
        for start, stop in ((0, 300), (250, 600), (100, 500), (599, 600)):  # as if the others were replaced long ago
            span = (np.arange(600) >= start) & (np.arange(600) < stop)
            self.check(index, query, 10, span)
            self.check(index, query, 10, span & (random.random(600) < 0.7) | (np.arange(600) == start))

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

    def test_rows_can_be_written_again(self, make: Callable[..., VectorIndex]) -> None:
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
            "from memvid_core.vectors.vector_index import VectorIndex\n"
            "data = np.load(sys.argv[1]); index = VectorIndex(16, folder=Path(sys.argv[2]), strategy=sys.argv[3],"
            " writable=False); index.sync(5000)\n"
            "rows, scores = index.search(data[::100], 1); assert (rows[:, 0] == np.arange(0, 5000, 100)).all(), rows\n"
        )
        done = run(script, tmp_path / "data.npy", folder, self.strategy, modules=MODULES)
        assert done.returncode == 0, done.stderr
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
        tune(monkeypatch, auto_floats=1, few_candidates=8)


class TestIvf(VectorIndexContract):
    strategy: IndexName = "ivf"

    @pytest.fixture(autouse=True)
    def lists_even_of_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make codes and lists from the first row on, and look into so many that small sets come out whole."""
        tune(monkeypatch, auto_floats=1, few_candidates=8, unlisted_rows=16)
        tune(monkeypatch, entries=1 << 32, picked=1 << 16, compared=1 << 16, scanned=0)


@pytest.mark.parametrize("name", ["dimension", "dtype", "strategy"])
def test_settings_that_do_not_exist(name: str) -> None:
    wrong: dict[str, Any] = {"dimension": 4, "dtype": "float16", "strategy": "auto"}
    wrong[name] = {"dimension": 0, "dtype": "int8", "strategy": "annoy"}[name]
    with pytest.raises(InvalidInputError, match=str(wrong[name])):
        VectorIndex(**wrong)


def test_sklearn_is_imported_only_where_it_is_used() -> None:
    script = (
        "import sys, numpy as np; from memvid_core.vectors.vector_index import VectorIndex\n"
        "index = VectorIndex(4); index.extend(0, np.eye(4, dtype=np.float32)); index.search(np.ones(4), 2)\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


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


@pytest.fixture
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], VectorIndex]:
    """3,000 rows in files; each call opens them for reading, with nothing in RAM yet, and reads them in six pieces."""
    tune(monkeypatch, piece_floats=512 * 40)
    folder, rows = tmp_path / "index", clustered(3_000, 40, seed=3)
    dtype: Any = getattr(request, "param", "float16")
    index = VectorIndex(40, folder=folder, dtype=dtype)
    index.extend(0, rows)
    index.sync(len(rows))
    index.flush()
    index.close()

    def opened() -> VectorIndex:
        index = VectorIndex(40, folder=folder, dtype=dtype, writable=False)
        index.sync(len(rows))
        request.addfinalizer(index.close)
        return index

    return opened


@pytest.mark.parametrize("stored", ["float16", "float32"], indirect=True)
def test_the_first_query_finds_what_later_ones_find(stored: Callable[[], VectorIndex]) -> None:
    """The first makes no float32 copy of the rows; the answers are equal to the bit."""
    for query in clustered(8, 40, seed=4):
        index = stored()
        first, again = index.search(query, 10), index.search(query, 10)
        np.testing.assert_array_equal(first, again)
        assert first[0].tolist() == oracle(index.vectors(np.arange(index.rows)), query, 10)[0]


@pytest.mark.parametrize("row", [0, 1_500, 2_999])
def test_the_first_query_notices_a_changed_row(stored: Callable[[], VectorIndex], tmp_path: Path, row: int) -> None:
    (file,) = (path for path in (tmp_path / "index").rglob("*") if path.stat().st_size == 3_000 * 80)
    content = bytearray(file.read_bytes())
    content[row * 80 + 7] ^= 1
    file.write_bytes(content)
    with pytest.raises(IndexStaleError, match=f"row {row} "):
        stored().search(np.ones(40), 10)


def test_a_first_query_imports_no_random_numbers(tmp_path: Path) -> None:
    """Their import takes longer than the query itself."""
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from memvid_core.vectors.vector_index import VectorIndex\n"
        f"index = VectorIndex(4, folder=Path({str(tmp_path / 'index')!r})); index.extend(0, np.eye(4)); index.sync(4)\n"
        "index.search(np.ones(4), 2); index.close()\n"
        "assert 'numpy.random' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
