"""A copy of a memory that went another way, of equal size, takes the place of the file that a process has open."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from memvid_core import Memory

VECTORS = np.eye(8, dtype=np.float32)


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("how", ["renamed", "overwritten"])
@pytest.mark.parametrize("first", ["ids", "filter", "words", "vectors", "in", "select", "add"])
def test_no_question_is_answered_from_the_index_of_the_other_copy(
    tmp_path: Path, mode: str, how: str, first: str
) -> None:
    path, other = tmp_path / "m.mp4", tmp_path / "other.mp4"
    with Memory.create(path, "given") as memory:
        memory.add("both", ids="both", vectors=VECTORS[:1])
    shutil.copy2(path, other)
    for file, name, vector in ((path, "ours", VECTORS[1:2]), (other, "them", VECTORS[2:3])):
        with Memory.open(file, "a", embedder="given") as memory:
            memory.add(name, {"name": name}, ids=name, vectors=vector)
    assert path.stat().st_size == other.stat().st_size
    with Memory.open(path, mode, embedder="given") as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the commit that is missing
        assert memory.ids({"name": "ours"}) == ["ours"]
        assert [hit.id for hit in memory.search("ours", mode="lexical")] == ["ours"]
        if how == "renamed":
            os.replace(other, path)
        else:
            path.write_bytes(other.read_bytes())
            os.utime(path, ns=(0, 0))
        questions = {
            "ids": lambda: memory.ids() == ["both", "them"],
            "filter": lambda: (memory.ids({"name": "ours"}), memory.ids({"name": "them"})) == ([], ["them"]),
            "words": lambda: [hit.id for hit in memory.search("ours them", mode="lexical")] == ["them"],
            "vectors": lambda: memory.search(VECTORS[2], 1)[0].id == "them",
            "in": lambda: ("ours" in memory, "them" in memory) == (False, True),
            "select": lambda: [record.id for record in memory.select()] == ["both", "them"],
        }
        if first == "add":
            if mode == "a":
                memory.add("new", ids="new", vectors=VECTORS[3:4])
                assert memory.ids() == ["both", "them", "new"]
                memory.delete("new")
        else:
            assert questions[first]()
        for name, question in questions.items():
            assert question(), name
        assert memory.verify().ok
