"""Folders whose contents another process deletes while they are listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Memory
from memvid_core.system.folders import bytes_in, named, paths_in
from tests.core.embedders import embed


@pytest.fixture
def deleting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes the folders of a name disappear just before they are listed."""
    names: set[str] = set()

    def deleted_first(listed: Callable[[Any], Any], path: Any = ".") -> Any:
        if isinstance(path, str | Path) and Path(path).name in names:
            shutil.rmtree(path, ignore_errors=True)
        return listed(path)

    for listed in (os.scandir, os.listdir):
        monkeypatch.setattr(os, listed.__name__, partial(deleted_first, listed))
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


def test_what_begins_and_ends_so_is_named(tmp_path: Path) -> None:
    for name in ("a-1.x", "a-[2].x", "a-.x", "a-x", "b-1.x", ".a-1.x", "a-1.xy", "A-1.x"):
        (tmp_path / name).touch()
    assert {path.name for path in named(tmp_path, "a-", ".x")} == {"a-1.x", "a-[2].x", "a-.x"}
    assert named(tmp_path, "a-[", "].x") == [tmp_path / "a-[2].x"]
    assert named(tmp_path, "b-1.", ".x") == []  # a name has both, one after the other
    assert len(named(tmp_path)) == 8
    assert named(tmp_path / "missing") == named(tmp_path / "a-x") == []


def test_upper_and_lower_case_are_the_same_where_the_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".Notes.MP4.0123456789ab.writing").touch()
    assert named(tmp_path, ".notes.mp4.", ".writing") == []
    monkeypatch.setattr("os.path.normcase", str.lower)  # as on Windows
    assert [path.name for path in named(tmp_path, ".notes.mp4.", ".writing")] == [".Notes.MP4.0123456789ab.writing"]
