"""A conversation in a memory is what LlamaIndex's own chat store in SQLite would have made of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.memory import Memory as ChatMemory
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from sqlalchemy.ext.asyncio import create_async_engine

from llama_index_memvid import MemvidChatStore
from memvid_core import InvalidInputError, Memory, MetadataError

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED
STATUSES = (ACTIVE, ARCHIVED, None)

MESSAGES = {
    "plain": ChatMessage("Wings lift."),
    "empty": ChatMessage(role="assistant", content=""),
    "no blocks": ChatMessage(role="assistant", blocks=[]),
    "system": ChatMessage(role=MessageRole.SYSTEM, content="한국어 🦜"),
    "tool call": ChatMessage(
        role="assistant", content="", additional_kwargs={"tool_calls": [{"id": "1", "args": {"x": [1, None]}}]}
    ),
    "tool": ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "1"}),
    "two blocks": ChatMessage(role="user", blocks=[TextBlock(text="one"), TextBlock(text="two")]),
    "image": ChatMessage(role="user", blocks=[TextBlock(text="see"), ImageBlock(url="https://example.com/a.png")]),
    "image in bytes": ChatMessage(role="user", blocks=[ImageBlock(image=b"\x89PNG", image_mimetype="image/png")]),
    "thinking": ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm"), TextBlock(text="so")]),
    "tool block": ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_name="f", tool_kwargs={"x": 1})]),
}


@pytest.fixture
async def theirs() -> AsyncIterator[SQLAlchemyChatStore]:
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")
    yield SQLAlchemyChatStore(table_name="messages", async_engine=engine)
    await engine.dispose()


@pytest.mark.parametrize("what", MESSAGES)
async def test_a_message_comes_back_whole(theirs: SQLAlchemyChatStore, what: str) -> None:
    ours = MemvidChatStore()
    for store in (ours, theirs):
        await store.add_message("k", MESSAGES[what])
    (found,) = await ours.get_messages("k")
    assert found == MESSAGES[what]
    assert [found] == await theirs.get_messages("k")


async def answer(store: AsyncDBChatStore, operation: str, *arguments: Any) -> Any:
    found = await getattr(store, operation)(*arguments)
    return sorted(found) if operation == "get_keys" else found


@pytest.mark.parametrize("seed", range(6))
async def test_any_sequence_of_calls_is_answered_alike(theirs: SQLAlchemyChatStore, seed: int) -> None:
    ours, chance = MemvidChatStore(), random.Random(seed)
    kinds = [message for name, message in MESSAGES.items() if name != "no blocks"]
    for step in range(30):
        key, count = chance.choice("abc"), chance.randrange(4)
        some = [chance.choice(kinds).model_copy() for _ in range(1 + count)]
        operation: tuple[Any, ...] = chance.choice(
            [
                ("add_message", key, some[0], chance.choice([ACTIVE, ARCHIVED])),
                ("add_messages", key, some),
                ("add_messages", key, some, ARCHIVED),
                ("set_messages", key, some[1:]),
                ("set_messages", key, some, ARCHIVED),
                ("delete_messages", key, chance.choice([*STATUSES, *STATUSES])),
                ("delete_oldest_messages", key, count),
                ("archive_oldest_messages", key, count),
                ("count_messages", key, chance.choice(STATUSES)),
                ("get_messages", key, chance.choice(STATUSES), count, chance.randrange(3)),
            ]
        )
        assert await answer(ours, *operation) == await answer(theirs, *operation), (step, operation)
        assert await answer(ours, "get_keys") == await answer(theirs, "get_keys")
        for status in STATUSES:
            assert await ours.get_messages(key, status) == await theirs.get_messages(key, status), (step, operation)


async def test_a_message_is_deleted_by_its_place() -> None:
    store = MemvidChatStore()
    await store.add_messages("k", [ChatMessage(name) for name in "abc"])
    await store.archive_oldest_messages("k", 1)
    for nowhere in (3, -1):
        assert await store.delete_message("k", nowhere) is None
    assert await store.delete_message("other", 0) is None
    assert await store.delete_message("k", 1) == ChatMessage("b")
    assert await store.get_messages("k", None) == [ChatMessage("a"), ChatMessage("c")]


async def test_no_messages_are_no_change() -> None:
    store = MemvidChatStore()
    await store.add_messages("k", [])
    await store.set_messages("k", [])
    assert await store.delete_oldest_messages("k", 0) == await store.archive_oldest_messages("k", -1) == []
    assert await store.get_keys() == []


async def test_what_it_cannot_take_is_refused_and_changes_nothing() -> None:
    """A key of None, taken as a filter, means every record that is no message: those would be deleted."""
    memory = Memory.create(":memory:")
    memory.add(["a wing lifts"], ids=["doc"])
    store, good = MemvidChatStore(memory=memory), ChatMessage("a")
    await store.add_messages("k", [good, ChatMessage("b")])
    wrong: list[tuple[Any, ...]] = [
        (method, key, *rest)
        for key in (None, 3, ["k"], {"$ne": "k"})
        for method, *rest in (
            ("get_messages",),
            ("count_messages", None),
            ("add_message", good),
            ("set_messages", []),
            ("delete_message", 0),
            ("delete_messages",),
            ("delete_oldest_messages", 9),
            ("archive_oldest_messages", 9),
        )
    ]
    wrong += [("get_messages", "k", ACTIVE, *page) for page in ((-1, 0), (1.5, 0), (None, -1))]
    wrong += [("get_messages", "k", "gone"), ("add_message", "k", good, "gone"), ("delete_oldest_messages", "k", None)]
    wrong += [("add_messages", "k", [good, bad]) for bad in ("text", None)]
    for operation, *arguments in wrong:
        with pytest.raises(InvalidInputError):
            await getattr(store, operation)(*arguments)
    with pytest.raises(MetadataError, match="cannot be stored"):
        await store.add_messages("k", [good, ChatMessage("b", additional_kwargs={"object": object()})])
    assert [record.text for record in memory] == ["a wing lifts", "a", "b"]


async def test_a_conversation_goes_on_in_another_store(tmp_path: Path) -> None:
    path = tmp_path / "chat.mp4"
    with MemvidChatStore(path) as store:
        await store.add_messages("k", [ChatMessage("one"), ChatMessage("two")])
        await store.archive_oldest_messages("k", 1)
        with MemvidChatStore(path, mode="r") as reader:
            assert await reader.get_messages("k") == [ChatMessage("two")]
    with MemvidChatStore(path) as store:
        await store.add_message("k", ChatMessage("three"))
        assert [message.content for message in await store.get_messages("k", None)] == ["one", "two", "three"]


async def test_writers_at_once_lose_nothing_and_keep_their_order() -> None:
    store = MemvidChatStore()
    await asyncio.gather(*[store.add_messages("k", [ChatMessage(f"{i} {j}") for j in range(3)]) for i in range(10)])
    found = [message.content for message in await store.get_messages("k")]
    assert len(found) == 30
    assert [found[i : i + 3] for i in range(0, 30, 3)] == [
        [f"{str(c).split()[0]} {j}" for j in range(3)] for c in found[::3]
    ]


async def test_it_shares_a_memory_with_other_things() -> None:
    memory = Memory.create(":memory:")
    memory.add(["the wing lifts"], [{"role": "user", "llama_index": "mine"}], ["doc"])
    store = MemvidChatStore(memory=memory)
    await store.add_message("k", ChatMessage("what does a wing do?"))
    await store.set_messages("k", [ChatMessage("what does an engine do?")])
    assert [hit.id for hit in memory.search("wing", mode="dense")] == ["doc"]
    (said,) = memory.select({"llama_index.chat.key": "k"})
    assert (said.text, said.metadata["llama_index"]["chat"]["role"]) == ("what does an engine do?", "user")
    await store.delete_messages("k")
    store.close()
    assert [record.id for record in memory] == ["doc"]
    with pytest.raises(InvalidInputError):
        MemvidChatStore("other.mp4", memory=memory)
    with pytest.raises(InvalidInputError):
        MemvidChatStore(memory="other.mp4")  # type: ignore[arg-type]


async def test_llama_index_memory_keeps_its_messages_there(tmp_path: Path) -> None:
    path = tmp_path / "chat.mp4"
    said = [ChatMessage(role="user" if i % 2 == 0 else "assistant", content=f"message {i} " * 5) for i in range(12)]
    with MemvidChatStore(path) as store:
        memory = ChatMemory.from_defaults("session", token_limit=120, token_flush_size=20, chat_store=store)
        for message in said:
            await memory.aput(message)
        recent = await memory.aget()
        assert 0 < len(recent) < len(said)
        assert recent == said[-len(recent) :]
    with MemvidChatStore(path) as store:
        memory = ChatMemory.from_defaults("session", token_limit=120, token_flush_size=20, chat_store=store)
        assert await memory.aget() == recent
        assert await memory.aget_all() == said
        await memory.areset()
        assert await memory.aget_all() == []


async def test_messages_stay_in_order_if_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true, said = time.time_ns, []
    for hours in (0, -5, -9, 0):
        monkeypatch.setattr(time, "time_ns", lambda shift=hours * 3600 * 10**9: true() + shift)
        async with MemvidChatStore(tmp_path / "talk.mp4") as store:
            said += [f"{hours} {number}" for number in range(3)]
            await store.add_message("talk", ChatMessage(said[-3]))
            await store.add_messages("talk", [ChatMessage(text) for text in said[-2:]])
            assert [message.content for message in await store.get_messages("talk")] == said
    async with MemvidChatStore(tmp_path / "talk.mp4") as store:
        assert [message.content for message in await store.archive_oldest_messages("talk", 4)] == said[:4]
        await store.add_message("talk", ChatMessage("last"))
        assert [message.content for message in await store.get_messages("talk", None)] == [*said, "last"]


@pytest.mark.parametrize("index", [None, "0", 0.0, True])
async def test_an_index_that_is_no_integer_deletes_nothing(index: Any) -> None:
    store = MemvidChatStore()
    await store.add_message("key", ChatMessage(role="user", content="stays"))
    with pytest.raises(InvalidInputError):
        await store.delete_message("key", index)
    assert await store.count_messages("key") == 1
