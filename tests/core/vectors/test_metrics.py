"""One contract for every index and metric, and the same questions through all five indexes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.errors import DimensionError, InvalidInputError, VectorError
from memvid_core.model import IndexName, Metric
from memvid_core.vectors import metrics
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import MODULES
from tests.processes import run

Matrix = NDArray[np.float32]
INDEXES: tuple[IndexName, ...] = get_args(IndexName)
METRICS: tuple[Metric, ...] = get_args(Metric)
BY_DISTANCE = METRICS[1:]
ANY_METRIC: tuple[IndexName, ...] = ("auto", "exact", "sklearn")
PAIRS = [*((index, "cosine") for index in INDEXES), *((i, m) for m in BY_DISTANCE for i in ANY_METRIC)]


def right(metric: str, stored: Matrix, query: NDArray[Any]) -> NDArray[np.float64]:
    """What each row is compared as, by definition, in float64: the negative cosine, or the distance."""
    wide, wanted = stored.astype(np.float64), np.asarray(query, np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(wanted)
        return -np.divide(wide @ wanted, lengths, out=np.zeros(len(wide)), where=lengths > 0)
    order = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}[metric]
    return np.linalg.norm(wide - wanted, ord=order, axis=1)


def some(count: int, dimension: int, seed: int = 0) -> Matrix:
    """Vectors around two hundred topics, of different lengths."""
    random = np.random.default_rng(seed)
    topics = np.random.default_rng(99).standard_normal((200, dimension))
    made = topics[random.integers(0, 200, count)] + 0.4 * random.standard_normal((count, dimension))
    return (made * random.uniform(0.5, 3.0, (count, 1))).astype(np.float32)


@pytest.fixture
def codes_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes, and lists, from the first row on."""
    tune(monkeypatch, auto_floats=1, few_candidates=8)


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize(("index", "metric"), PAIRS)
class TestContract:
    """What each index must do by each metric that it knows."""

    @pytest.fixture(params=["ram-float32", "file-float16"])
    def make(
        self, request: pytest.FixtureRequest, tmp_path: Path, index: IndexName, metric: Metric
    ) -> Callable[..., VectorIndex]:
        place, dtype = request.param.split("-")
        folder = tmp_path / "index" if place == "file" else None
        return lambda dimension: VectorIndex(dimension, folder=folder, dtype=dtype, strategy=index, metric=metric)

    def check(self, index: VectorIndex, query: NDArray[Any], k: int, mask: NDArray[np.bool_] | None = None) -> None:
        rows, values = index.search(query, k, mask)
        stored = index.vectors(np.arange(index.rows))
        wanted = right(index.metric, stored, query)
        passing = np.flatnonzero(np.ones(index.rows, np.bool_) if mask is None else mask)
        best = np.sort(wanted[passing])[:k]
        found = -values if index.metric == "cosine" else values
        assert len(rows) == min(k, len(passing)) == len(set(rows.tolist()))
        assert set(rows.tolist()) <= set(passing.tolist())
        np.testing.assert_allclose(found, best, rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(found, wanted[rows], rtol=2e-6, atol=2e-6)
        keys = list(zip(found.tolist(), rows.tolist(), strict=True))
        assert keys == sorted(keys)  # nearest first, ties by row

    def test_all_and_filtered_and_more_than_there_are(self, make: Callable[..., VectorIndex]) -> None:
        index, data = make(12), some(500, 12)
        index.extend(0, data[:200])
        index.extend(200, data[200:])
        random = np.random.default_rng(1)
        for query in some(2, 12, seed=2):
            for k in (1, 10, 500, 700):
                self.check(index, query, k)
            for share in (0.0, 0.01, 0.4, 0.99):
                self.check(index, query, 10, random.random(500) < share)
            self.check(index, query, 10, random.random(500) < 0.4)
        mask = random.random(500) < 0.5
        for query in some(3, 12, seed=3):  # the same filter again
            self.check(index, query, 5, mask)

    def test_an_empty_index(self, make: Callable[..., VectorIndex]) -> None:
        index = make(3)
        assert [part.shape for part in index.search(np.ones(3), 5)] == [(0,), (0,)]
        rows, values = index.search(np.ones((2, 3)), 2)
        worst = -1.0 if index.metric == "cosine" else np.inf
        assert (rows == -1).all()
        assert (values == worst).all()

    def test_ties_fall_by_row(self, make: Callable[..., VectorIndex]) -> None:
        index = make(9)
        one, other = some(1, 9, seed=5)[0], some(1, 9, seed=6)[0]
        data = np.tile(one, (300, 1))
        data[::2] = other
        index.extend(0, data)
        assert index.search(one, 20)[0].tolist() == list(range(1, 41, 2))
        self.check(index, other, 200)

    def test_zero_vectors(self, make: Callable[..., VectorIndex]) -> None:
        index, data = make(5), some(60, 5)
        data[10:20] = 0.0
        index.extend(0, data)
        rows, values = index.search(np.zeros(5), 3)
        assert rows.tolist() == ([0, 1, 2] if index.metric == "cosine" else [10, 11, 12])
        assert values.tolist() == [0.0, 0.0, 0.0]
        self.check(index, data[0], 60)

    def test_deleted_rows_and_new_ones(self, make: Callable[..., VectorIndex]) -> None:
        index, live = make(8), np.zeros(0, np.bool_)
        random, data = np.random.default_rng(3), some(600, 8)
        for first in range(0, 600, 60):
            index.extend(first, data[first : first + 60])
            live = np.concatenate((live, np.ones(60, np.bool_)))
            live[random.integers(0, len(live), 12)] = False
            self.check(index, data[first + 7], 10, live)
        index.extend(540, -data[:30])  # a write that was not committed is replaced
        self.check(index, -data[3], 5)

    def test_a_batch_is_its_queries_one_by_one(self, make: Callable[..., VectorIndex]) -> None:
        index, queries = make(7), some(6, 7, seed=4)
        index.extend(0, some(400, 7))
        for mask in (None, np.arange(400) % 3 != 0):
            rows, values = index.search(queries, 9, mask)
            for at, query in enumerate(queries):
                alone = index.search(query, 9, mask)
                assert (rows[at].tolist(), values[at].tolist()) == (alone[0].tolist(), alone[1].tolist())

    def test_a_reader_beside_a_writer_and_another_process(
        self, tmp_path: Path, index: IndexName, metric: Metric
    ) -> None:
        data, folder = some(900, 6), tmp_path / "index"
        np.save(tmp_path / "data.npy", data)

        def opened(writable: bool) -> VectorIndex:
            return VectorIndex(6, folder=folder, dtype="float32", strategy=index, metric=metric, writable=writable)

        writer, reader = opened(True), opened(False)
        for first in range(0, 900, 300):
            writer.extend(first, data[first : first + 300])
            writer.sync(first + 300)
            reader.sync(first + 300)
            self.check(reader, data[first + 5], 7)
        writer.flush()
        script = (
            "import sys, numpy as np; from pathlib import Path\n"
            "from memvid_core.vectors import settings as s; s.DEFAULTS = s.VectorSettings(auto_floats=1)\n"
            "from memvid_core.vectors.vector_index import VectorIndex\n"
            "data = np.load(sys.argv[1]); index = VectorIndex(6, folder=Path(sys.argv[2]), dtype='float32',"
            " strategy=sys.argv[3], metric=sys.argv[4]); index.sync(900)\n"
            "rows, _ = index.search(data[::50], 1); assert (rows[:, 0] == np.arange(0, 900, 50)).all(), rows\n"
            "index.extend(900, data[:5] * 2); index.flush()\n"
        )
        done = run(script, tmp_path / "data.npy", folder, index, metric, modules=MODULES)
        assert done.returncode == 0, done.stderr
        for one in (reader, opened(False)):
            one.sync(905)
            self.check(one, data[3] * 2, 4)


# ----------------------------------------------------------------------------------- 500 questions through all indexes


def answers(metric: str, stored: Matrix, queries: Matrix, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest k rows of each query, and what they are compared as, by NumPy."""
    if metric == "cosine":
        unit, asked = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (stored, queries))
        compared = -asked.astype(np.float64) @ unit.astype(np.float64).T
    else:
        compared = np.stack([right(metric, stored, query) for query in queries])
    rows = np.argsort(compared, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(compared, rows, axis=1)


@pytest.mark.parametrize("dimension", [4, 32])  # scikit-learn takes a tree for the first, brute force for the second
@pytest.mark.parametrize("metric", METRICS)
def test_the_same_questions_through_all_five(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Metric, dimension: int
) -> None:
    """200 questions, with deleted rows: exact and sklearn are NumPy's answers, the others nearly all of them."""
    tune(monkeypatch, auto_floats=1000 * dimension)
    count, k = 12_000 if metric == "cosine" else 3000, 10
    data, queries = some(count, dimension), some(200, dimension, seed=1)
    live = np.random.default_rng(2).random(count) < 0.97
    places, wanted = answers(metric, data[live], queries, k)
    truth = np.flatnonzero(live)[places]
    found: dict[str, Any] = {}
    for index in INDEXES if metric == "cosine" else ANY_METRIC:
        made = VectorIndex(dimension, folder=tmp_path / index, dtype="float32", strategy=index, metric=metric)
        for first in range(0, count, 6000):
            made.extend(first, data[first : first + 6000])
        found[index] = rows, values = made.search(queries, k, live)
        if metric == "cosine" and index not in ("exact", "sklearn"):
            shared = [len(set(one) & set(best)) for one, best in zip(rows.tolist(), truth.tolist(), strict=True)]
            assert sum(shared) >= 0.98 * k * len(queries), index
            continue
        assert (rows == truth).mean() > 0.999, index  # two distances may be equal to within rounding
        np.testing.assert_allclose(-values if metric == "cosine" else values, wanted, rtol=1e-5, atol=1e-6)
    assert (found["exact"][0] == found["sklearn"][0]).all()
    assert (found["exact"][1] == found["sklearn"][1]).all()


@pytest.mark.parametrize("metric", BY_DISTANCE)
def test_distances_are_those_of_scikit_learn(metric: Metric) -> None:
    from sklearn.metrics import pairwise_distances

    data = some(300, 30).astype(np.float64)
    wanted = pairwise_distances(data[:1], data, metric=metric)[0]
    np.testing.assert_allclose(metrics.distances(metric, data[0], data), wanted, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("metric", BY_DISTANCE)
@pytest.mark.parametrize("index", ["exact", "sklearn"])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-3, 1.0, 1e4, 1e19, 1e36])
def test_numbers_of_any_size(index: IndexName, metric: Metric, scale: float) -> None:
    made = VectorIndex(5, dtype="float32", strategy=index, metric=metric)
    data = (some(400, 5) * scale).astype(np.float32)
    made.extend(0, data)
    for query in data[:5] * np.float32(1.01):
        rows, values = made.search(query, 10)
        wanted = right(metric, data, query)
        assert set(rows.tolist()) == set(np.argsort(wanted, kind="stable")[:10].tolist())
        np.testing.assert_allclose(values, np.sort(wanted)[:10], rtol=1e-5)


@pytest.mark.parametrize("metric", BY_DISTANCE)
@pytest.mark.parametrize("index", ["exact", "sklearn"])
def test_rows_close_together_and_far_from_zero(index: IndexName, metric: Metric) -> None:
    """Distances a million times smaller than the vectors: a formula with dot products would lose them."""
    random = np.random.default_rng(0)
    data = (1000 + random.integers(-40, 41, (600, 20)) * 2.0**-13).astype(np.float32)
    made = VectorIndex(20, dtype="float32", strategy=index, metric=metric)
    made.extend(0, data)
    for query in data[:20]:
        rows, values = made.search(query, 10)
        wanted = right(metric, data, query)
        np.testing.assert_allclose(values, np.sort(wanted)[:10], rtol=1e-6)
        assert rows.tolist() == np.argsort(wanted.astype(np.float32), kind="stable")[:10].tolist()


def test_half_precision_keeps_what_fits_it() -> None:
    made = VectorIndex(2, dtype="float16", metric="manhattan")
    data = np.array([[65504.0, -65504.0], [0.5, 60000.0], [2.0**-20, 0.0]], np.float32)
    made.extend(0, data)
    assert made.vectors(np.arange(3)).tolist() == data.astype(np.float16).astype(np.float32).tolist()


def test_large_stores_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, copied_bytes=100, piece_floats=700, distance_floats=90)
    for dtype in ("float16", "float32"):
        made = VectorIndex(7, dtype=dtype, metric="euclidean")
        made.extend(0, some(3000, 7))
        stored = made.vectors(np.arange(3000))
        for mask in (None, np.arange(3000) % 2 == 0, np.arange(3000) % 50 == 0):
            rows, _ = made.search(stored[8], 5, mask)
            wanted = right("euclidean", stored, stored[8])
            wanted[~mask if mask is not None else []] = np.inf
            assert rows.tolist() == np.argsort(wanted, kind="stable")[:5].tolist()


def test_what_cannot_be_compared_is_refused() -> None:
    made = VectorIndex(3, metric="chebyshev")
    for bad in (np.nan, np.inf, 1e39):
        with pytest.raises(VectorError, match="vector 1 of 2"):
            made.extend(0, np.array([[0.0, 0.0, 0.0], [0.0, bad, 0.0]]))
    with pytest.raises(VectorError):
        made.extend(0, np.full((1, 3), "x"))
    with pytest.raises(DimensionError):
        made.extend(0, np.ones((1, 4)))
    assert made.rows == 0


@pytest.mark.parametrize("metric", BY_DISTANCE)
@pytest.mark.parametrize("index", ["quantized", "ivf"])
def test_indexes_that_compare_by_cosine_only(index: IndexName, metric: Metric, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"{index!r} compares by cosine only.*'auto', 'exact' or 'sklearn'"):
        VectorIndex(4, folder=tmp_path / "none", strategy=index, metric=metric)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("name", "hint"), [("l2", "'euclidean'"), ("L1", "'manhattan'"), ("dot", ""), (None, "")])
def test_metrics_under_other_names(name: Any, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=f"metric is 'cosine'.*{hint}"):
        VectorIndex(4, metric=name)


# ------------------------------------------------------------------------------------------------------- scikit-learn


def test_it_is_scikit_learn_and_its_choice_of_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn import neighbors

    made: list[Any] = []

    class Watched(neighbors.NearestNeighbors):  # type: ignore[misc]
        def fit(self, X: Any, y: Any = None) -> Any:
            made.append(self)
            return super().fit(X, y)

    monkeypatch.setattr(neighbors, "NearestNeighbors", Watched)
    for dimension, metric, method in ((4, "manhattan", "kd_tree"), (48, "manhattan", "brute"), (4, "cosine", "brute")):
        index = VectorIndex(dimension, strategy="sklearn", metric=metric)  # type: ignore[arg-type]
        index.extend(0, some(500, dimension))
        index.search(np.ones(dimension), 3)
        assert made[-1].metric == metric
        assert made[-1]._fit_method == method


def test_a_model_is_fitted_when_rows_change_and_not_with_every_search(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import NearestNeighbors

    fitted: list[int] = []
    fit = NearestNeighbors.fit

    def counted(self: Any, rows: Any) -> Any:
        fitted.append(len(rows))
        return fit(self, rows)

    monkeypatch.setattr(NearestNeighbors, "fit", counted)
    data = some(2000, 6)
    index = VectorIndex(6, strategy="sklearn", metric="euclidean")
    index.extend(0, data[:1500])
    few = np.ones(1500, np.bool_)
    few[3:40] = False
    half = np.arange(1500) % 2 == 0
    for mask in (None, few, None, half, half, few):
        index.search(data[7], 3, mask)
    assert fitted == [1500, 750]
    index.extend(1500, data[1500:])
    index.search(data[7], 3)
    index.search(data[8], 3)
    assert fitted == [1500, 750, 2000]
