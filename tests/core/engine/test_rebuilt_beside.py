"""One thread rebuilds a damaged index, and closes the files that other threads are just reading."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import ClosedError, Memory
from memvid_core.catalog.catalog import Catalog
from memvid_core.catalog.frame_table import FrameTable
from memvid_core.system.commit_lock import CommitLock
from memvid_core.vectors.vector_index import VectorIndex

VECTORS = np.eye(8, dtype=np.float32)
IDS = [f"r{i}" for i in range(8)]
NEAREST = ["r3", "r0"]


def nearest(memory: Memory) -> list[str]:
    return [hit.id for hit in memory.search((VECTORS[3] * 2 + VECTORS[0]).tolist(), 2)]


def damage(memory: Path) -> None:
    [file] = memory.with_name(f"{memory.name}.index").rglob("vectors-8.float16")
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])


def updated(memory: Memory) -> list[str]:
    memory.update("r3", metadata={"new": True})
    return memory.ids({"new": True})


@pytest.mark.parametrize(
    ("mode", "owner", "name", "use", "expected"),
    [
        ("r", VectorIndex, "search", nearest, NEAREST),
        ("a", VectorIndex, "search", nearest, NEAREST),
        ("r", Catalog, "live_rows", lambda memory: [memory.get("r3").id], ["r3"]),
        ("r", FrameTable, "find", lambda memory: [record.id for record in memory], IDS),
        ("a", Catalog, "live_rows", updated, ["r3"]),
    ],
    ids=["search", "search beside writers", "get", "iterate", "update"],
)
def test_who_was_reading_it_reads_the_new_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    owner: type,
    name: str,
    use: Callable[[Memory], list[str]],
    expected: list[str],
) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, "given") as made:
        made.add(IDS, ids=IDS, vectors=VECTORS)
    damage(path)
    original, begun, found = getattr(owner, name), threading.Event(), list[list[str]]()

    def rebuilt_first(*arguments: Any, **options: Any) -> Any:
        if not begun.is_set():
            begun.set()
            other = threading.Thread(target=lambda: found.append(nearest(memory)))
            other.start()
            other.join()
        return original(*arguments, **options)

    with Memory.open(path, mode, embedder="given") as memory:
        monkeypatch.setattr(owner, name, rebuilt_first)
        assert use(memory) == expected
        assert found == [NEAREST]
        assert nearest(memory) == NEAREST


def test_who_was_reading_it_does_not_wait_for_the_commit_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, "given") as made:
        made.add(IDS, ids=IDS, vectors=VECTORS)
    damage(path)
    original, lock, file = VectorIndex.search, CommitLock(), os.open(path, os.O_RDWR)
    begun = threading.Event()

    def rebuilt_first(*arguments: Any, **options: Any) -> Any:
        if not begun.is_set():
            begun.set()
            other = threading.Thread(target=lambda: nearest(memory))
            other.start()
            other.join()
            lock.acquire(file, path, 1.0)
        return original(*arguments, **options)

    with Memory.open(path, "a", embedder="given", timeout=0.1) as memory:
        monkeypatch.setattr(VectorIndex, "search", rebuilt_first)
        assert nearest(memory) == NEAREST
        lock.close()
    os.close(file)


def test_who_was_reading_a_memory_that_is_closed_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory.mp4"
    memory = Memory.create(path, "given")
    memory.add(IDS, ids=IDS, vectors=VECTORS)
    original = VectorIndex.search

    def closed_first(*arguments: Any, **options: Any) -> Any:
        other = threading.Thread(target=memory.close)
        other.start()
        other.join()
        return original(*arguments, **options)

    monkeypatch.setattr(VectorIndex, "search", closed_first)
    with pytest.raises(ClosedError):
        nearest(memory)
