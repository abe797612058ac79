"""An interrupt while a new memory is closed: its records stay, and an empty one goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Memory
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
