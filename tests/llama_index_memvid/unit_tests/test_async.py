"""The async methods never block the event loop, and await what can be awaited."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_memvid import MemvidChatStore, MemvidMemoryBlock, MemvidVectorStore
from tests.llama_index_memvid.some_nodes import chunk, node, one

PACKAGES = ["llama_index_memvid", "memvid_core"]
MODES = list(VectorStoreQueryMode)


class CountedEmbedding(BaseEmbedding):
    """Counts calls by name, and notes the threads they came in."""

    _calls: Counter[str] = PrivateAttr(default_factory=Counter)
    _threads: set[int] = PrivateAttr(default_factory=set)

    def _count(self, name: str) -> list[float]:
        self._calls[name] += 1
        self._threads.add(threading.get_ident())
        return [1.0, 0.0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._count("text")

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._count("query")

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._count("atext")

    async def _aget_query_embedding(self, query: str) -> list[float]:
        await asyncio.sleep(0)
        return self._count("aquery")


@pytest.fixture
def model() -> CountedEmbedding:
    return CountedEmbedding()


@pytest.fixture
def stored(tmp_path: Path, model: CountedEmbedding) -> Iterator[MemvidVectorStore]:
    with MemvidVectorStore(tmp_path / "m.mp4", embedder=model) as store:
        store.add([chunk("a", [1.0, 0.0], "d1", n=1), node("b", [0.0, 1.0], n=2)])
        yield store


@pytest.mark.parametrize("mode", MODES)
async def test_each_method_answers_as_its_twin(stored: MemvidVectorStore, mode: VectorStoreQueryMode) -> None:
    query = VectorStoreQuery(query_embedding=[1.0, 0.5], query_str="a b", similarity_top_k=2, mode=mode)
    assert await stored.aquery(query) == stored.query(query)
    assert await stored.aquery(query, where={"n": 2}) == stored.query(query, where={"n": 2})


async def test_writing_and_reading(stored: MemvidVectorStore) -> None:
    assert await stored.async_add([node("c", [1.0, 1.0], n=3), chunk("d", [1.0, 1.0], "d2")]) == ["c", "d"]
    assert await stored.aget_nodes() == stored.get_nodes()
    assert await stored.aget_nodes(["c"], one("n", 3)) == [node("c", [1.0, 1.0], n=3)]
    await stored.adelete("d2")
    await stored.adelete_nodes(["a", "c"], one("n", 3))  # LlamaIndex's own default drops what is beyond
    await stored.adelete_nodes(node_ids=None, filters=None)
    assert [found.node_id for found in await stored.aget_nodes()] == ["a", "b"]
    await stored.aclear()
    assert await stored.aget_nodes() == []


async def test_an_embedder_is_awaited_once_and_only_if_it_is_needed(
    stored: MemvidVectorStore, model: CountedEmbedding
) -> None:
    for mode in MODES:
        model._calls.clear()
        await stored.aquery(VectorStoreQuery(query_str="a", query_embedding=[1.0, 0.0], mode=mode))
        assert not model._calls
        await stored.aquery(VectorStoreQuery(query_str="a", mode=mode))
        words = mode in (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
        assert model._calls == ({} if words else {"aquery": 1})
    assert model._threads == {threading.get_ident()}


def asks(mode: VectorStoreQueryMode) -> Callable[[MemvidVectorStore], Any]:
    return lambda store: store.aquery(VectorStoreQuery([1.0, 0.0], 2, query_str="a", mode=mode))


WORK: dict[str, Callable[[MemvidVectorStore], Any]] = {
    **{mode.value: asks(mode) for mode in MODES},
    "by words alone": lambda s: s.aquery(VectorStoreQuery(query_str="a")),
    "filter alone": lambda s: s.aquery(VectorStoreQuery(filters=one("n", 1))),
    "get": lambda s: s.aget_nodes(["a"], one("n", 1)),
    "add": lambda s: s.async_add([node("c", [1.0, 1.0])]),
    "delete": lambda s: s.adelete("d1"),
    "delete nodes": lambda s: s.adelete_nodes(["b"], one("n", 2)),
    "clear": lambda s: s.aclear(),
}


@pytest.mark.parametrize("name", WORK)
async def test_no_call_blocks_the_event_loop(stored: MemvidVectorStore, name: str) -> None:
    """Any file, socket, lock or database call made on the loop from our modules raises here."""
    with blockbuster_ctx(PACKAGES):
        await WORK[name](stored)


async def test_the_guard_against_blocking_does_see_us(stored: MemvidVectorStore) -> None:
    with blockbuster_ctx(PACKAGES), pytest.raises(Exception, match="Blocking call"):
        stored.add([node("c", [1.0, 1.0])])


async def test_agent_memory_does_not_block_either(stored: MemvidVectorStore, tmp_path: Path) -> None:
    from llama_index.core.llms import ChatMessage

    block = MemvidMemoryBlock(vector_store=stored)
    with MemvidChatStore(tmp_path / "chat.mp4") as chats, blockbuster_ctx(PACKAGES):
        await block.aput([ChatMessage("My cat is Ada")], session_id="s")
        assert await block.aget([ChatMessage("the cat")], session_id="s")
        await chats.add_messages("k", [ChatMessage("one"), ChatMessage("two")])
        await chats.archive_oldest_messages("k", 1)
        assert await chats.count_messages("k") == 1
        await chats.set_messages("k", [])
        assert await chats.get_keys() == []


async def test_many_tasks_at_once_lose_nothing(stored: MemvidVectorStore) -> None:
    adding = [stored.async_add([node(f"task {i}", [0.0, 1.0])]) for i in range(20)]
    asking = [stored.aquery(VectorStoreQuery([1.0, 0.0])) for _ in range(20)]
    added, found = await asyncio.gather(asyncio.gather(*adding), asyncio.gather(*asking))
    assert added == [[f"task {i}"] for i in range(20)]
    assert all(result.ids == ["a"] for result in found)
    assert len(stored.get_nodes()) == 22
