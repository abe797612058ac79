"""Memories with a past, whether two are the same, and a compaction that others look on at."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Memory, Record, StorageError

SMALL = {"frame_size": 256, "preset": "compact"}


def lived(path: Path, seed: int = 0, *, commits: int = 8, **settings: Any) -> Path:
    """A memory with a past: records added, replaced, changed and deleted at random."""
    rng = random.Random(seed)
    with Memory.create(path, description="a past", **settings) as memory:
        for commit in range(commits):
            ids = [f"r{rng.randrange(12)}" for _ in range(rng.randrange(1, 6))]
            if rng.random() < 0.3 and len(memory):
                memory.delete(rng.sample([record.id for record in memory], 1))
            else:
                texts = [f"{record_id} of commit {commit}: wing 날개 {rng.random()}" for record_id in ids]
                memory.add(texts, [{"commit": commit, "deep": {"list": [1, 2.5, None, "é"]}}] * len(ids), ids)
    return path


def told(memory: Memory) -> list[tuple[int, object, int, int]]:
    """Its history: number, time, added and deleted of each commit."""
    return [(commit.number, commit.time, commit.added, commit.deleted) for commit in memory.history()]


def states(path: Path, **opened: Any) -> list[list[Record]]:
    """What the memory held after each of its commits."""
    with Memory.open(path, **opened) as memory:
        numbers = [commit.number for commit in memory.history()]
    found = []
    for number in numbers:
        with Memory.open(path, as_of=number, **opened) as memory:
            found.append(list(memory))
    return found


def assert_same(one: Path, other: Path, **opened: Any) -> None:
    """The same records, history and past states, and what they say of themselves."""
    with Memory.open(one, **opened) as first, Memory.open(other, **opened) as second:
        assert told(first) == told(second)
        assert second.verify().ok
        about = ("records", "deleted", "commits", "created", "modified", "embedder", "dimension", "description")
        assert [getattr(first.info(), name) for name in about] == [getattr(second.info(), name) for name in about]
    assert states(one, **opened) == states(other, **opened)


def compact_beside_readers(writer: Memory) -> bool:
    """Compact while others have the file open; False on Windows, which refuses it and leaves the memory as it was."""
    if os.name == "nt":
        with pytest.raises(StorageError, match="close other readers"):
            writer.compact()
        return False
    writer.compact()
    return True
