"""One file for several stores, threads and users: nothing is lost, nothing of others is deleted or told."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory as AgentMemory
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery

from llama_index_memvid import MemvidChatStore, MemvidEmbedding, MemvidMemoryBlock, MemvidVectorStore
from memvid_core import (
    EmbedderMismatchError,
    FilterError,
    InvalidInputError,
    LockedError,
    Memory,
    MemoryService,
    MemvidError,
)
from tests.llama_index_memvid.some_nodes import node

PACKAGES = ["llama_index_memvid", "memvid_core"]
NOT_A: Any = MetadataFilters(filters=[MetadataFilter(key="kind", value="a", operator=FilterOperator.NE)])


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    """A memory with a node, a message, an item of LangGraph and an agent's note."""
    with Memory.create(tmp_path / "all.mp4", "given") as memory:
        chats = MemvidChatStore(memory=memory)
        asyncio.run(chats.add_message("k", ChatMessage("hello")))
        langgraph = {"langgraph": {"kind": "item", "namespace": "a", "key": "b"}}
        memory.add(["fact", "note"], [langgraph, {"agent_memory": "note"}], ['item["a","b"]', "note-1"], [None, None])
        memory.add(["copied"], [langgraph], ["part of an item"], [[1.0]])
        MemvidVectorStore(memory=memory).add([node("n", [1.0])])
        yield memory


@pytest.mark.parametrize(
    "delete", [lambda store: store.clear(), lambda store: store.delete_nodes(filters=NOT_A)], ids=["clear", "filter"]
)
def test_only_nodes_are_deleted_where_no_id_is_named(shared: Memory, delete: Any) -> None:
    delete(MemvidVectorStore(memory=shared))
    assert sorted(record.text for record in shared) == ["fact", "hello", "note"]


async def test_many_stores_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chat.mp4"
    stores = [MemvidChatStore(path) for _ in range(3)]
    rounds = 8
    await asyncio.gather(*(store.add_message("k", ChatMessage(f"{i}")) for store in stores for i in range(rounds)))
    taken = await asyncio.gather(*(store.delete_oldest_messages("k", 2) for store in stores for _ in range(4)))
    assert sum(map(len, taken)) == 3 * rounds  # nobody took what another had taken
    assert await stores[0].get_messages("k") == []
    await asyncio.gather(*(store.set_messages("k", [ChatMessage("only")]) for store in stores))
    assert await stores[0].get_messages("k", None) == [ChatMessage("only")]
    for store in stores:
        await store.aclose()


def test_a_writer_waits_as_long_as_it_was_told_to(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore(path) as one, MemvidVectorStore(path, timeout=0.05) as two:
        with one.memory.exclusive(), pytest.raises(LockedError):
            two.add([node("a", [1.0])])
        two.add([node("a", [1.0])])
        assert one.get_nodes() == two.get_nodes() == [node("a", [1.0])]
    with pytest.raises(InvalidInputError, match="timeout"):
        MemvidChatStore(path, timeout=-1)


async def test_every_store_is_opened_and_closed_beside_the_loop(tmp_path: Path) -> None:
    with blockbuster_ctx(PACKAGES):
        for kind in (MemvidVectorStore, MemvidChatStore):
            for path in (":memory:", tmp_path / f"{kind.__name__}.mp4"):
                async with await kind.aopen(path, timeout=5) as store:
                    assert store.memory.path == str(path)
                await store.aclose()
                with pytest.raises(MemvidError):
                    len(store.memory)


async def test_waiting_writers_leave_the_loop_s_own_threads_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore(path) as one, MemvidVectorStore(path) as two:
        with one.memory.exclusive():
            waiting = [asyncio.ensure_future(two.async_add([node(f"{i}", [1.0])])) for i in range(64)]
            await asyncio.sleep(0)
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10) == "free"
            assert (await two.aquery(VectorStoreQuery(query_embedding=[1.0]))).ids == []  # readers do not wait either
        await asyncio.gather(*waiting)
        assert len(one.get_nodes()) == 64


# --- copies ---


def test_a_chat_store_is_copied_and_pickled_as_a_vector_store_is(tmp_path: Path) -> None:
    for kind in (MemvidChatStore, MemvidVectorStore):
        store = kind(tmp_path / f"{kind.__name__}.mp4")
        assert copy.copy(store) is copy.deepcopy(store) is store.model_copy(deep=True) is store
        with pickle.loads(pickle.dumps(store)) as other:
            assert (other.path, other.mode) == (store.path, "a")
            other.memory.add("x", vectors=[None])
            assert len(store.memory) == 1
        store.close()
        with pytest.raises(InvalidInputError, match="RAM"):
            pickle.dumps(kind())


def test_what_holds_a_store_is_copied_with_it(tmp_path: Path) -> None:
    chats, nodes = MemvidChatStore(), MemvidVectorStore()
    memory = AgentMemory.from_defaults(session_id="s", chat_store=chats)
    assert copy.deepcopy(memory).sql_store is not None
    block = MemvidMemoryBlock(vector_store=nodes)
    asyncio.run(block.aput([ChatMessage("My PIN is 4711.")]))
    copied = block.model_copy(deep=True)
    assert copied.vector_store is nodes
    assert "4711" in asyncio.run(copied.aget([ChatMessage("What is my PIN?")]))
    whole = MemvidMemoryBlock(memory=MemoryService(nodes.memory), scope={"user_id": "a"}).model_copy(deep=True)
    assert whole.vector_store.memory is nodes.memory
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as opened, pickle.loads(pickle.dumps(MemvidChatStore(memory=opened))) as other:
        assert (other.path, other.mode) == (str(path), "a")
    with Memory.open(path) as opened, pickle.loads(pickle.dumps(MemvidVectorStore(memory=opened))) as reader:
        assert MemvidVectorStore(memory=opened).mode == reader.mode == "r"


# --- users ---


async def test_a_block_tells_nobody_what_another_user_said() -> None:
    store = MemvidVectorStore()
    ada, bob = (
        MemvidMemoryBlock(vector_store=store, scope={"user": user}, across_sessions=True) for user in ("a", "b")
    )
    await ada.aput([ChatMessage("My PIN is 4711.")], session_id="1")
    assert await bob.aget([ChatMessage("What is my PIN?")], session_id="1") == ""
    assert "4711" in await ada.aget([ChatMessage("What is my PIN?")], session_id="2")
    await bob.aput([ChatMessage("My PIN is 4711.")], session_id="1")
    assert len(store.memory.ids({"agent.kind": "turn"})) == 2


# --- what goes wrong is said in the words of these classes ---


def test_a_path_and_a_model_in_each_other_s_place(tmp_path: Path) -> None:
    wrong: Any
    for wrong in (MemvidEmbedding(), None, "", 7):
        for kind in (MemvidVectorStore, MemvidChatStore):
            with pytest.raises(InvalidInputError, match="path must be"):
                kind(wrong)
    with pytest.raises(InvalidInputError, match="path="):
        MemvidVectorStore(embedder="notes.mp4")
    with pytest.raises(InvalidInputError, match="memory="):
        MemvidChatStore(Memory.create(":memory:"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="vector_store=MemvidVectorStore"):
        MemvidMemoryBlock(vector_store="notes.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [False, 0, "", [], "page", lambda record: True],
    ids=["False", "0", "empty str", "empty list", "str", "function"],
)
def test_what_is_no_filter_is_never_taken_for_none(wrong: Any) -> None:
    store = MemvidVectorStore()
    store.add([node("a", [1.0])])
    calls = (
        lambda: store.query(VectorStoreQuery(query_embedding=[1.0]), where=wrong),
        lambda: store.delete_nodes(filters=wrong),
        lambda: store.get_nodes(filters=wrong),
    )
    for call in calls:
        with pytest.raises(FilterError):
            call()
    assert len(store.get_nodes()) == 1


def test_messages_advise_what_can_be_done_here(tmp_path: Path) -> None:
    path, said = tmp_path / "m.mp4", []
    MemvidVectorStore(path, embedder=MemvidEmbedding("memvid-hash-v1:64")).close()
    reader, closed = MemvidVectorStore(path, mode="r"), MemvidVectorStore(path)
    plain, chats = MemvidVectorStore(path), MemvidChatStore(path, mode="r")
    closed.close()
    asked = VectorStoreQuery(query_str="x", query_embedding=[1.0] * 64, similarity_top_k=1)
    calls: list[Any] = [
        lambda: MemvidVectorStore(path, embedder=MemvidEmbedding()),
        lambda: MemvidVectorStore(tmp_path / "none.mp4", mode="r"),
        lambda: MemvidVectorStore(path, mode="w"),  # type: ignore[arg-type]
        lambda: reader.add([node("a", [1.0] * 64)]),
        reader.clear,
        lambda: reader.delete("d"),
        closed.get_nodes,
        lambda: closed.query(asked),
        lambda: plain.query(VectorStoreQuery(query_str="x", mode="mmr"), mmr_threshold=9),  # type: ignore[arg-type]
        lambda: asyncio.run(chats.add_message("k", ChatMessage("x"))),
    ]
    for call in calls:
        with pytest.raises(MemvidError) as caught:
            call()
        said.append(str(caught.value))
    for message in said:
        assert not any(
            word in message for word in ("force", "Memory.", "where=", "select(", "lambda_mult", "'lexical'")
        )
    with pytest.raises(EmbedderMismatchError, match="embedder="):
        MemvidVectorStore(path, embedder=MemvidEmbedding())
    for store in (reader, plain, chats):
        store.close()


def test_a_batch_that_fails_leaves_those_before_it(tmp_path: Path) -> None:
    with MemvidVectorStore(tmp_path / "m.mp4") as store:
        nodes = [node(str(i), [1.0] if i < 7 else [1.0, 0.0]) for i in range(10)]
        with pytest.raises(MemvidError, match=r"first 6 of 10 nodes are stored: add nodes\[6:\]"):
            store.add(nodes, batch_size=3)
        assert [found.node_id for found in store.get_nodes()] == list("012345")
        assert store.memory.info().commits == 2
        with pytest.raises(InvalidInputError, match="batch_size"):
            store.add(nodes, batch_size=0)


def test_threads_with_stores_of_their_own_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"

    def work(number: int) -> None:
        with MemvidVectorStore(path) as store:
            for i in range(5):
                store.add([node(f"{number}-{i}", [1.0])])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with MemvidVectorStore(path, mode="r") as reader:
        assert len(reader.get_nodes()) == 20
