"""A cache of its own for each test, and a memory with a past to publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.memory import session_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the copies."""
    monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that is published."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def published(root: Path) -> Path:
    """A memory of a few commits."""
    path = root / "m.mp4"
    with Memory.create(path) as memory:
        memory.add([f"the wing number {i} lifts" for i in range(40)])
        memory.add(["the engine hums"], ids=["hum"])
        memory.delete(ids=memory.ids()[:3])
    return path


@pytest.fixture
def look() -> Callable[[Memory], int]:
    """A look at the object at once, and the number of records after it."""

    def looked(memory: Memory) -> int:
        remote = session_of(memory).remote
        assert remote is not None
        remote.look(at_once=True)
        return len(memory)

    return looked
