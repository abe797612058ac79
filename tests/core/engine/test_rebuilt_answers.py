"""Searches answer the same, bit for bit, with the index of those who wrote and with one made anew from the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import Memory
from memvid_core.rewriting.convert import convert
from tests.core.vectors.tuned import tune

DIMENSION = 24
random = np.random.default_rng(0)
QUERIES = random.standard_normal((6, DIMENSION))
VECTORS = random.standard_normal((400, DIMENSION)).astype(np.float32) * np.repeat([1e-3, 1.0, 300.0, 1.0], 100)[:, None]
KINDS = [(index, "cosine") for index in ("auto", "exact", "sklearn", "quantized", "ivf")] + [
    (index, metric) for index in ("exact", "sklearn") for metric in ("euclidean", "manhattan", "chebyshev")
]


def fill(memory: Memory, *commits: int) -> None:
    """Add commits of so many records."""
    first = len(memory)
    for count in commits:
        names = [f"r{row}" for row in range(first, first + count)]
        memory.add(names, ids=names, vectors=VECTORS[first : first + count])
        first += count


def answers(memory: Memory) -> list[Any]:
    hits = [memory.search(query.tolist(), k=30, mode="dense") for query in QUERIES]
    return [[(hit.id, hit.score, hit.distance) for hit in found] for found in hits]


@pytest.mark.parametrize(("index", "metric"), KINDS)
@pytest.mark.parametrize("vector_dtype", ["float16", "float32", "float64", "int8"])
def test_without_the_index_folder(tmp_path: Path, vector_dtype: Any, index: Any, metric: Any) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given", vector_dtype=vector_dtype, index=index, metric=metric) as memory:
        fill(memory, 1, 2, 50, 300)
        with Memory.open(path, index_dir=tmp_path / "of a reader", index=index) as reader:
            fill(memory, 1, 30)  # the reader takes these two from the file
            assert answers(reader) == answers(memory)
        memory.update("r7", metadata={"read": True})
        before = answers(memory)
    shutil.rmtree(f"{path}.index")
    with Memory.open(path, "a", index=index) as memory:
        assert answers(memory) == before


@pytest.mark.parametrize("index", ["exact", "quantized"])
@pytest.mark.parametrize("vector_dtype", ["float16", "float32"])
def test_rows_that_are_read_from_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vector_dtype: Any, index: Any
) -> None:
    tune(monkeypatch, settled_rows=40, frame_rows=1, auto_floats=1, few_candidates=8)
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given", vector_dtype=vector_dtype, index=index) as memory:
        fill(memory, 1, 2, 50, 60, 3, 45, 120, 30)
        before = answers(memory)
    shutil.rmtree(f"{path}.index")
    with Memory.open(path, "a", index=index) as memory:
        assert answers(memory) == before


@pytest.mark.parametrize("codec", ["pcm", "qr"])
def test_int8_after_files_were_written_again(tmp_path: Path, codec: Any) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given", vector_dtype="int8", codec=codec, index="exact") as memory:
        fill(memory, 1, 40, 9)
        before = answers(memory)
        if codec == "pcm":
            memory.compact()
            assert answers(memory) == before
    for number in range(3):
        path = Path(shutil.copy(path, tmp_path / f"{number}.mp4"))
        convert(path, tmp_path / f"{number} again.mp4", codec="pcm")
        path = tmp_path / f"{number} again.mp4"
        with Memory.open(path, index="exact") as memory:
            assert answers(memory) == before


def test_the_largest_numbers_stay_finite_in_int8(tmp_path: Path) -> None:
    largest = float(np.finfo(np.float32).max)
    with Memory.create(tmp_path / "m.mp4", "given", vector_dtype="int8") as memory:
        memory.add(["a", "b"], ids=["a", "b"], vectors=[[largest, 0.0], [largest, -largest]])
    shutil.rmtree(tmp_path / "m.mp4.index")
    with Memory.open(tmp_path / "m.mp4") as memory:
        assert [hit.id for hit in memory.search([1.0, 0.0], k=2)] == ["a", "b"]
        assert memory.verify().ok
