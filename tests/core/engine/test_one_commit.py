"""Adding and deleting as one commit, and ids without their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from memvid_core import InvalidInputError, Memory, ReadOnlyError


@pytest.fixture
def memory() -> Memory:
    memory = Memory.create(":memory:")
    memory.add(["one", "two", "three"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["a", "b", "c"])
    return memory


def test_adds_and_deletes_are_one_commit(memory: Memory) -> None:
    assert memory.add(["four", "two again"], ids=["d", "b"], delete=["a", "b", "nobody"]) == ["d", "b"]
    assert {record.id: record.text for record in memory} == {"c": "three", "d": "four", "b": "two again"}
    last = memory.history()[-1]
    assert (last.number, last.added, last.deleted) == (2, 2, 2)


def test_deletes_alone_are_a_commit_and_nothing_is_none(memory: Memory) -> None:
    assert memory.add([], delete="a") == []
    assert memory.add([], delete=["a", "nobody"]) == []
    assert memory.add([]) == []
    assert memory.ids() == ["b", "c"]
    assert [commit.deleted for commit in memory.history()] == [0, 1]


async def test_async_is_the_same(memory: Memory) -> None:
    await memory.aadd(["four"], ids=["d"], delete=["a"])
    await memory.aadd([], delete=["b"])
    assert memory.ids() == ["c", "d"]
    assert len(memory.history()) == 3


def test_what_is_refused_deletes_nothing(memory: Memory) -> None:
    with pytest.raises(InvalidInputError):
        memory.add(["four"], ids=["d", "e"], delete=["a"])
    assert memory.ids() == ["a", "b", "c"]


def test_it_holds_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, vector_dtype="none") as memory:
        memory.add(["one", "two"], ids=["a", "b"])
        memory.add(["three"], ids=["c"], delete=["a"])
        memory.add([], delete=["b"])
    with Memory.open(path) as memory:
        assert memory.ids() == ["c"]
        with pytest.raises(ReadOnlyError):
            memory.add([], delete=["c"])
    with Memory.open(path, as_of=1) as memory:
        assert memory.ids() == ["a", "b"]


def test_ids_are_those_of_select_in_its_order(memory: Memory) -> None:
    memory.add(["one again"], [{"n": 9}], ids=["a"])
    for where in (None, {}, {"n": {"$gte": 3}}, {"n": 7}):
        assert memory.ids(where) == [record.id for record in memory.select(where)]
    assert memory.ids() == ["b", "c", "a"]
