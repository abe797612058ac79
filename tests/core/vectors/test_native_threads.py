"""Small products and searches keep native libraries to one thread: several wait for each other on a busy machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from memvid_core.system.threads import one_native_thread
from memvid_core.vectors.centroids import Centroids
from memvid_core.vectors.quantizer import Quantizer
from memvid_core.vectors.vector_index import VectorIndex


def threads(kind: str) -> int:
    """How many threads a kind of library has; of BLAS, NumPy's own: SciPy has another, which is not used here."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == kind]
    own = [pool for pool in pools if "numpy" in pool["filepath"]] if kind == "blas" else []
    return max(pool["num_threads"] for pool in own or pools)


class Watched(np.ndarray):
    """An array whose products note how many threads BLAS has at that moment."""

    seen: list[int]

    def __array_finalize__(self, other: object) -> None:
        self.seen = getattr(other, "seen", [])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            self.seen.append(threads("blas"))
        plain = [value.view(np.ndarray) if isinstance(value, Watched) else value for value in inputs]
        if "out" in options:
            options["out"] = tuple(part.view(np.ndarray) for part in options["out"])
        result = getattr(ufunc, method)(*plain, **options)
        if not isinstance(result, np.ndarray):
            return result
        product: Watched = result.view(Watched)
        product.seen = self.seen
        return product


def watched(rows: int, columns: int, dtype: str = "float32") -> Watched:
    plain = (np.random.default_rng(0).standard_normal((rows, columns)) * 20).astype(dtype)
    array: Watched = plain.view(Watched)
    array.seen = []
    return array


@pytest.fixture
def two_threads() -> Iterator[None]:
    import sklearn.neighbors  # noqa: F401  a library that is loaded later has threads of its own

    with threadpool_limits(2):
        assert threads("blas") == 2
        yield
        assert threads("blas") == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dimension", [48, 777])
def test_a_quantizer_is_fitted_by_one(monkeypatch: pytest.MonkeyPatch, dimension: int) -> None:
    sample = watched(300, dimension)

    def noted(own: Any) -> Any:
        def call(*arguments: Any) -> Any:
            sample.seen.append(threads("blas"))
            return own(*arguments)

        return call

    for name in ("qr", "eigh"):
        monkeypatch.setattr(np.linalg, name, noted(getattr(np.linalg, name)))
    Quantizer.fit(sample, 300)
    assert len(sample.seen) >= 3
    assert set(sample.seen) == {1}


@pytest.mark.usefixtures("two_threads")
def test_some_rows_are_coded_by_one_and_many_by_all() -> None:
    quantizer = Quantizer.fit(np.asarray(watched(300, 48)), 300)
    for rows, wanted in ((65, {1}), (1000, {1}), (1024, {2}), (64, set())):
        part = watched(rows, 48)
        quantizer.encode(part)
        assert set(part.seen) == wanted, rows


@pytest.mark.usefixtures("two_threads")
def test_rows_get_their_lists_by_one() -> None:
    levels = watched(900, 48, "int8")
    Centroids(levels).nearest(levels)
    assert set(levels.seen) == {1}


@pytest.mark.usefixtures("two_threads")
def test_scikit_learn_compares_few_rows_by_one_and_many_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import NearestNeighbors

    own, seen = NearestNeighbors.kneighbors, []

    def kneighbors(self: Any, *args: Any, **options: Any) -> Any:
        seen.append(threads("openmp"))
        return own(self, *args, **options)

    monkeypatch.setattr(NearestNeighbors, "kneighbors", kneighbors)
    for rows, wanted in ((2000, 1), (6000, 2)):
        index = VectorIndex(768, strategy="sklearn", metric="euclidean")
        data = np.asarray(watched(rows, 768))
        index.extend(0, data)
        found, _ = index.search(data[7], 3)
        assert found[0] == 7
        assert seen.pop() == wanted


def test_threads_that_limit_at_once_give_everything_back() -> None:
    before, inside = threads("blas"), []

    def limit() -> None:
        for _ in range(20):
            with one_native_thread("blas"), one_native_thread("blas"):
                inside.append(threads("blas"))

    at_once = [threading.Thread(target=limit) for _ in range(3)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert inside == [1] * 60
    assert threads("blas") == before


def _threads_in_a_fork() -> int:
    """Return how many threads BLAS has in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, bytes([threads("blas")]))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        count = answer.read()[0]
    os.waitpid(child, 0)
    return count


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on Windows")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_limits_has_all_threads() -> None:
    before, limited, leave = threads("blas"), threading.Event(), threading.Event()

    def limit() -> None:
        with one_native_thread("blas"), one_native_thread("blas"):
            limited.set()
            leave.wait()

    other = threading.Thread(target=limit)
    other.start()
    limited.wait()
    try:
        assert _threads_in_a_fork() == before
        assert threads("blas") == 1
    finally:
        leave.set()
        other.join()
    with one_native_thread("blas"):
        assert _threads_in_a_fork() == 1  # the thread that forks is inside, and so is the child
