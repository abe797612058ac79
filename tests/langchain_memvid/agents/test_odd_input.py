"""What no program should pass is refused with an error of this package, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.store.base import PutOp

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidSaver, MemvidStore
from memvid_core import Memory, MemvidError


def deep(value: Any = 1) -> dict[str, Any]:
    for _ in range(20_000):
        value = {"a": value}
    return value


def _saved(saver: MemvidSaver, **parts: Any) -> Any:
    checkpoint: Any = {**empty_checkpoint(), "channel_values": {"x": 1}, "channel_versions": {"x": "1"}}
    return saver.put({"configurable": {"thread_id": "1", "checkpoint_ns": "", **parts}}, checkpoint, {}, {"x": "1"})


STORE: dict[str, Callable[[MemvidStore], Any]] = {
    "a ttl beyond all floats": lambda store: store.batch([PutOp(("a",), "k", {"x": 1}, ttl=10**400)]),
    "a deep filter": lambda store: store.search(("a",), filter=deep()),
    "a deep value": lambda store: store.put(("a",), "k", deep(object())),
}
SAVER: dict[str, Callable[[MemvidSaver], Any]] = {
    "a namespace of bytes": lambda saver: _saved(saver, checkpoint_ns=b"bytes"),
    "a task of bytes": lambda saver: saver.put_writes(_saved(saver), [("x", 1)], b"bytes"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", STORE)
def test_a_store_refuses_it(what: str) -> None:
    with MemvidStore() as store:
        store.put(("a",), "k", {"x": 0})
        with pytest.raises(MemvidError) as caught:
            STORE[what](store)
        assert len(str(caught.value)) < 1000
        assert [item.value for item in store.search(("a",))] == [{"x": 0}]


@pytest.mark.parametrize("what", SAVER)
def test_a_saver_refuses_it(what: str) -> None:
    with MemvidSaver() as saver:
        with pytest.raises(MemvidError):
            SAVER[what](saver)
        assert not [record for record in saver.memory if "bytes" in record.id]


def test_ids_that_are_none_are_refused() -> None:
    with Memory.create(":memory:") as memory:
        store = MemvidVectorStore(memory=memory)
        store.add_texts(["a"], ids=["1"])
        for ids in (True, 1):
            with pytest.raises(MemvidError):
                store.delete(ids)  # type: ignore[arg-type]
        assert len(memory) == 1
