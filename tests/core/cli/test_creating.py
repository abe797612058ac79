"""What is left of a memory that a command creates: by an interrupt at its end, and beside another process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Memory, MemoryExistsError
from memvid_core.cli.creating import new_memory


def interrupted_once(call: Callable[..., Any]) -> Callable[..., Any]:
    calls: list[None] = []

    def first_interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return call(*arguments, **options)

    return first_interrupted


@pytest.mark.parametrize(("owner", "name"), [(Memory, "history"), (Memory, "close"), (shutil, "rmtree")])
@pytest.mark.parametrize("records", [0, 2])
def test_an_interrupt_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, records: int
) -> None:
    path = tmp_path / "new.mp4"

    def fill() -> None:
        with new_memory(path) as memory:
            if records:
                memory.add([f"number {i}" for i in range(records)])
            monkeypatch.setattr(owner, name, interrupted_once(getattr(owner, name)))

    if (name, records) == ("rmtree", 2):  # nothing is removed
        fill()
    else:
        with pytest.raises(KeyboardInterrupt):
            fill()
    assert path.exists() == bool(records)
    if records:
        with Memory.open(path) as memory:
            assert len(memory) == records


def test_what_another_process_created_meanwhile_keeps_its_index(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with new_memory(tmp_path / "other.mp4", whole=True) as memory:
        memory.add("theirs")
    index = {place.name: place.stat().st_ino for place in Path(f"{tmp_path / 'other.mp4'}.index").iterdir()}

    def fill() -> None:
        with new_memory(path, whole=True) as memory:
            memory.add("ours")
            for name in ("m.mp4", "m.mp4.index"):
                (tmp_path / name.replace("m.mp4", "other.mp4")).rename(tmp_path / name)

    with pytest.raises(MemoryExistsError):
        fill()
    assert {place.name: place.stat().st_ino for place in Path(f"{path}.index").iterdir()} == index
    assert sorted(place.name for place in tmp_path.iterdir()) == ["m.mp4", "m.mp4.index"]
