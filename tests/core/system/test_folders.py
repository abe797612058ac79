"""Folders whose contents another process deletes while they are listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Memory
from memvid_core.system.folders import bytes_in, paths_in
from tests.core.embedders import embed


@pytest.fixture
def deleting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes the folders of a name disappear just before they are listed."""
    names: set[str] = set()
    listed = os.scandir

    def deleted_first(path: Any = ".") -> Any:
        if isinstance(path, str | Path) and Path(path).name in names:
            shutil.rmtree(path, ignore_errors=True)
        return listed(path)

    monkeypatch.setattr(os, "scandir", deleted_first)
    yield names.add
    monkeypatch.undo()


@pytest.mark.parametrize("gone", ["top", "one", "two"])
def test_what_is_deleted_meanwhile_is_left_out(tmp_path: Path, deleting: Callable[[str], None], gone: str) -> None:
    top = tmp_path / "top"
    (top / "one" / "two").mkdir(parents=True)
    for folder in (top, top / "one", top / "one" / "two"):
        (folder / "file").write_bytes(b"12345")
    assert bytes_in(top) == 15
    assert len(list(paths_in(top))) == 5
    deleting(gone)
    assert bytes_in(top) <= 10
    assert not list(paths_in(tmp_path / "nothing"))


@pytest.mark.parametrize("gone", ["vectors", "lexical"])
def test_a_memory_whose_index_loses_folders_while_it_is_written(
    tmp_path: Path, deleting: Callable[[str], None], gone: str
) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add(["first text", "second text"], ids=["a", "b"])
        assert memory.search("first", mode="lexical")
        deleting(gone)
        memory.compact()
        memory.add(["third text"], ids=["c"])
        assert memory.info().bytes > 0
        assert [record.id for record in memory] == ["a", "b", "c"]
    with Memory.open(path, embedder=embed) as memory:
        assert [hit.id for hit in memory.search("third", k=1, mode="lexical")] == ["c"]
        assert memory.verify().ok
