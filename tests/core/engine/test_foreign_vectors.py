"""Files of vectors come from another state of the memory, of as many rows: they answer for no record of this one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memvid_core import Memory
from memvid_core.model import Metric
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune

COMMON, OWN, DIMENSION = 30, 60, 16
VECTORS = np.random.default_rng(3).standard_normal((COMMON + 2 * OWN + 1, DIMENSION)).astype(np.float32)
LAST = VECTORS[-1:]


def with_own(path: Path, first: int, commits: int) -> None:
    """Records that only one of two copies has, and a last one that both have."""
    with Memory.open(path, "a", embedder="given") as memory:
        for start in range(first, first + OWN, OWN // commits):
            rows = range(start, start + OWN // commits)
            memory.add([f"text {row}" for row in rows], ids=[str(row) for row in rows], vectors=VECTORS[rows])
        memory.add("the last", ids="last", vectors=LAST)


@pytest.fixture(params=[("cosine", False), ("cosine", True), ("euclidean", False)], ids=["file", "video", "euclidean"])
def copies(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], tuple[Path, Path]]:
    """Makes two copies of a memory that went other ways, and have as many rows, commits and the same last record."""
    metric: Metric = request.param[0]
    if request.param[1]:
        tune(monkeypatch, settled_rows=20, frame_rows=1, auto_floats=1, few_candidates=8)

    def made(commits: int) -> tuple[Path, Path]:
        here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"
        with Memory.create(here, "given", metric=metric) as memory:
            memory.add([f"text {row}" for row in range(COMMON)], vectors=VECTORS[:COMMON])
        shutil.copy2(here, there)
        with_own(here, COMMON, commits)
        with_own(there, COMMON + OWN, commits)
        for path in (here, there):
            with Memory.open(path, embedder="given") as memory:
                memory.search(LAST[0], k=1)
        return here, there

    return made


def vectors_of(path: Path) -> Path:
    """The folder of the vectors."""
    [found] = [one for name in ("vectors", "raw") for one in Path(f"{path}.index").glob(f"*/{name}")]
    return found


@pytest.mark.parametrize("commits", [1, 10])
def test_an_index_of_its_own_memory_is_not_made_again(copies: Callable[[int], tuple[Path, Path]], commits: int) -> None:
    here, _ = copies(commits)
    [catalog] = Path(f"{here}.index").glob("*/catalog.sqlite")
    before = catalog.stat().st_ino
    for number in range(3):
        with Memory.open(here, "a", embedder="given") as memory:
            memory.add([f"more {number}"] * 12, vectors=VECTORS[12 * number : 12 * (number + 1)])
        with Memory.open(here, embedder="given") as memory:
            assert memory.search(LAST[0], k=1)[0].id == "last"
    assert catalog.stat().st_ino == before


@pytest.mark.parametrize("commits", [1, 10])
@pytest.mark.parametrize("what", ["searched", "written"])
def test_those_of_a_copy_that_went_another_way_are_not_searched(
    copies: Callable[[int], tuple[Path, Path]], commits: int, what: str
) -> None:
    here, there = copies(commits)
    folder = vectors_of(here)
    shutil.rmtree(folder)
    shutil.copytree(vectors_of(there), folder)
    if what == "written":
        with Memory.open(here, "a", embedder="given") as memory:
            memory.add("one more", ids="more", vectors=-LAST)
    with Memory.open(here, embedder="given") as memory:
        for row in range(COMMON, COMMON + OWN):
            assert memory.search(VECTORS[row], k=1)[0].id == str(row)
        assert memory.search(LAST[0], k=1)[0].id == "last"
        assert [hit.id for hit in memory.search(-LAST[0], k=1)] == ["more"] or what == "searched"


def test_an_index_from_before_is_identified_by_its_next_commit(
    copies: Callable[[int], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(VectorIndex, "total", lambda *_: None)
        here, _ = copies(2)
    for number in range(2):
        with Memory.open(here, "a", embedder="given") as memory:
            assert memory.search(VECTORS[COMMON], k=1)[0].id == str(COMMON)
            memory.add("one more", ids=f"more{number}", vectors=-LAST)
            assert memory._indexed.index.catalog.state("vector_total") is not None


def test_what_a_version_without_sums_adds_meanwhile_is_neither_refused_nor_lost(
    copies: Callable[[int], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = copies(2)
    for number in range(2):
        with monkeypatch.context() as patch, Memory.open(here, "a", embedder="given") as memory:
            patch.setattr(VectorIndex, "total", lambda *_: None)
            memory.add("one more", ids=f"more{number}", vectors=-VECTORS[[number]])
        with Memory.open(here, embedder="given") as memory:
            index = memory._indexed.index
            assert memory.search(-VECTORS[number], k=1)[0].id == f"more{number}"
            assert memory._indexed.index is index, "it was made again"
    with Memory.open(here, "a", embedder="given") as memory:
        memory.add("the last", ids="end", vectors=-LAST)
        assert memory.search(-LAST[0], k=1)[0].id == "end"
