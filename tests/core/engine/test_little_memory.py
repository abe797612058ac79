"""The process has too little memory: right answers or named errors, and what was stored is not called refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import Memory, OutOfMemoryError
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.journal import Journal

ROWS, DIMENSION = 8000, 64
VECTORS = np.random.default_rng(0).standard_normal((ROWS, DIMENSION)).astype(np.float32)


def no_memory(*_arguments: Any, **_options: Any) -> None:
    raise MemoryError("Unable to allocate 29.3 MiB for an array with shape (20000, 384)")


class Limited:
    """Make NumPy refuse arrays from a size on, in bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 1 << 40
        original = np.empty

        def empty(shape: Any, dtype: Any = float, **options: Any) -> Any:
            if int(np.prod(shape)) * np.dtype(dtype).itemsize > self.most:
                no_memory()
            return original(shape, dtype, **options)

        monkeypatch.setattr(np, "empty", empty)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_first_search_answers_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Any
) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, "given", metric=metric, index="exact") as made:
        made.add(["text"] * ROWS, vectors=VECTORS)
        expected = made.search(VECTORS[7].tolist(), 5)
    limited = Limited(monkeypatch)
    with Memory.open(path, embedder="given", index="exact") as memory:
        limited.most = ROWS * DIMENSION * 3  # the stored rows, as float16, but not a float32 copy of them
        for _ in range(2):  # the second search wants the copy
            assert memory.search(VECTORS[7].tolist(), 5) == expected
    with Memory.open(path, embedder="given", index="exact") as memory:
        limited.most = ROWS * DIMENSION
        with pytest.raises(OutOfMemoryError, match=r"29\.3 MiB"):
            memory.search(VECTORS[7].tolist(), 5)
        limited.most = 1 << 40
        assert memory.search(VECTORS[7].tolist(), 5) == expected


def test_a_commit_that_is_stored_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Memory.create(tmp_path / "memory.mp4", "given") as memory:
        with monkeypatch.context() as patched:
            patched.setattr(IndexFolder, "apply", no_memory)
            with pytest.warns(UserWarning, match="commit 1 is stored"):
                assert memory.add("stored", ids="a", vectors=[[1.0, 0.0]]) == ["a"]
        assert memory.get("a").text == "stored"
        assert [hit.id for hit in memory.search([1.0, 0.0], 1)] == ["a"]


def test_a_commit_that_is_refused_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Memory.create(tmp_path / "memory.mp4", "given") as memory:
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", no_memory)
            with pytest.raises(OutOfMemoryError):
                memory.add("refused", ids="a", vectors=[[1.0, 0.0]])
        assert len(memory) == 0
        memory.add("stored", ids="a", vectors=[[1.0, 0.0]])
        assert memory.ids() == ["a"]
