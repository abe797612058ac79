"""A compacted file takes the place of the old one where, as on Windows, an open file cannot be replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from memvid_core import LockedError, Memory, StorageError
from memvid_core.engine import file_swap
from tests.core.embedders import embed

Windows = Callable[[Callable[[Path, Path], None]], None]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Give the swap the system's name, and what it calls to replace a file."""

    def pretend(replace: Callable[[Path, Path], None]) -> None:
        monkeypatch.setattr(file_swap, "os", SimpleNamespace(name="nt", replace=replace))

    return pretend


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    memory = Memory.create(tmp_path / "m.mp4", embed)
    for number in range(20):
        memory.add(f"record {number}", ids=str(number))
    memory.delete([str(number) for number in range(5)])
    return memory


def commits_of_another(at: Path) -> list[str]:
    """Try to commit as another process would, by an object of its own; return what was refused."""
    refused = []
    with Memory.open(at, embedder=embed, mode="a", timeout=0) as other:
        try:
            other.add("of another", ids="other")
        except LockedError as exc:
            refused.append(str(exc))
    return refused


def test_the_new_file_is_locked_and_complete(memory: Memory, tmp_path: Path, windows: Windows) -> None:
    windows(os.replace)
    with memory:
        memory.compact()
        assert memory.ids() == [str(number) for number in range(5, 20)]
        with memory.exclusive():
            assert commits_of_another(tmp_path / "m.mp4")
        assert not commits_of_another(tmp_path / "m.mp4")
        memory.add("later", ids="later")
        assert memory.ids()[-2:] == ["other", "later"]
    with Memory.open(tmp_path / "m.mp4", embedder=embed) as again:
        assert len(again) == 17
        assert again.verify().ok


def test_nobody_commits_to_the_old_file_while_it_is_closed(memory: Memory, tmp_path: Path, windows: Windows) -> None:
    refused: list[str] = []

    def replace(new: Path, path: Path) -> None:
        refused.extend(commits_of_another(path))
        os.replace(new, path)

    windows(replace)
    with memory:
        memory.compact()
        assert len(refused) == 1
        assert len(memory) == 15


def test_a_file_that_others_read_is_not_replaced_and_stays_locked(
    memory: Memory, tmp_path: Path, windows: Windows
) -> None:
    def replace(new: Path, path: Path) -> None:
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")

    windows(replace)
    with memory:
        with memory.exclusive():
            with pytest.raises(StorageError, match="close other readers"):
                memory.compact()
            assert commits_of_another(tmp_path / "m.mp4")
            memory.add("within", ids="within")
        assert not commits_of_another(tmp_path / "m.mp4")
        assert len(memory) == 17
        assert memory.verify().ok
