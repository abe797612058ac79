"""The memory block recalls what matters, of the right session, within its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory as ChatMemory
from pydantic import ValidationError

from llama_index_memvid import MemvidChatStore, MemvidEmbedding, MemvidMemoryBlock, MemvidVectorStore
from memvid_core import Memory

CAT, WING = ChatMessage("My cat is called Ada."), ChatMessage(role="assistant", content="A wing lifts the aircraft.")
ASKED = [ChatMessage("What is the name of my cat?")]


def words(text: str) -> list[str]:
    return text.split()


def block(**options: Any) -> MemvidMemoryBlock:
    return MemvidMemoryBlock(**{"tokenizer_fn": words, **options})


async def test_it_recalls_by_meaning_and_by_words_best_first() -> None:
    memory = block()
    await memory.aput([WING, CAT], session_id="s")
    assert (await memory.aget(ASKED, session_id="s")).splitlines() == [
        "<message role='user'>My cat is called Ada.</message>",
        "<message role='assistant'>A wing lifts the aircraft.</message>",
    ]
    assert await block(vector_store=memory.vector_store, similarity_top_k=1).aget(ASKED, session_id="s") == (
        "<message role='user'>My cat is called Ada.</message>"
    )


async def test_each_call_sees_its_own_session_and_no_other() -> None:
    """LlamaIndex's own block goes on filtering by the first session it was ever asked about."""
    memory = block()
    await memory.aput([CAT.model_copy(deep=True)], session_id="one")
    await memory.aput([WING.model_copy(deep=True)], session_id="two")
    for _ in range(2):
        assert "Ada" in await memory.aget(ASKED, session_id="one")
        assert "Ada" not in await memory.aget(ASKED, session_id="two")
        assert "wing" in await memory.aget(ASKED, session_id="two")
        assert await memory.aget(ASKED, session_id="three") == ""
    assert "Ada" in await memory.aget(ASKED)
    everywhere = block(vector_store=memory.vector_store, across_sessions=True)
    assert "Ada" in await everywhere.aget(ASKED, session_id="three")


async def test_messages_of_several_sessions_in_one_batch_stay_apart() -> None:
    memory = block()
    one = CAT.model_copy(update={"additional_kwargs": {"session_id": "one"}})
    two = WING.model_copy(update={"additional_kwargs": {"session_id": "two"}})
    await memory.aput([one, two])
    assert "wing" not in await memory.aget(ASKED, session_id="one")
    assert "Ada" not in await memory.aget(ASKED, session_id="two")


@pytest.mark.parametrize("budget", [0, 3, 8, 16, 100])
async def test_it_keeps_to_its_budget(budget: int) -> None:
    memory = block(token_budget=budget)
    await memory.aput([ChatMessage(f"My cat number {i} is called Ada {i}.") for i in range(20)])
    found = await memory.aget(ASKED)
    assert len(words(found)) <= budget
    assert bool(found) == (budget >= 10)


async def test_a_long_message_leaves_room_for_a_short_one() -> None:
    memory = block(token_budget=12)
    await memory.aput([ChatMessage("My cat, my cat, my cat is called " + "Ada " * 30), CAT])
    assert await memory.aget(ASKED) == "<message role='user'>My cat is called Ada.</message>"


async def test_the_same_message_is_kept_once_a_session() -> None:
    memory = block()
    for session in ("one", "one", "two"):
        await memory.aput([CAT.model_copy(deep=True)], session_id=session)
    assert len(memory.vector_store.get_nodes()) == 2


async def test_what_is_in_the_context_is_not_recalled() -> None:
    memory = block()
    await memory.aput([CAT, WING])
    assert "Ada" not in await memory.aget([CAT, *ASKED])


async def test_only_the_latest_messages_are_the_question() -> None:
    memory = block(context_messages=1, similarity_top_k=1)
    await memory.aput([CAT, WING])
    assert "wing" in await memory.aget([ChatMessage("cat cat cat"), ChatMessage("which wing lifts the aircraft?")])


@pytest.mark.parametrize("said", ['What did "name of" mean, cat?', "-Ada -cat?", 'cat "', "cat* -"])
async def test_what_is_said_is_no_query_language(said: str) -> None:
    memory = block()
    await memory.aput([CAT])
    assert "Ada" in await memory.aget([ChatMessage(said)])


@pytest.mark.parametrize("said", ['"', "***"])
async def test_quotes_and_stars_alone_ask_nothing_beside_what_was_said_before(said: str) -> None:
    memory = block(similarity_top_k=1)
    await memory.aput([WING, CAT])
    assert await memory.aget([ChatMessage(said)]) == ""
    assert "Ada" in await memory.aget([*ASKED, ChatMessage(said)])


async def test_nothing_said_is_nothing_kept_and_nothing_recalled() -> None:
    memory = block()
    await memory.aput([])
    await memory.aput([ChatMessage(""), ChatMessage(role="user", blocks=[ImageBlock(url="https://example.com/a.png")])])
    assert memory.vector_store.get_nodes() == []
    for nothing in (None, [], [ChatMessage(" ")]):
        assert await memory.aget(nothing, session_id="s") == ""
    await memory.aput([CAT])
    assert await block(vector_store=memory.vector_store, similarity_top_k=0).aget(ASKED) == ""


async def test_it_can_be_told_not_to_take_what_the_short_term_memory_lets_go() -> None:
    memory = block(accept_short_term_memory=False)
    await memory.aput([CAT], from_short_term_memory=True)
    assert memory.vector_store.get_nodes() == []


async def test_truncating_drops_the_least_important_messages() -> None:
    memory = block()
    content = "\n".join(f"<message role='user'>one two\nthree {i}</message>" for i in range(4))
    assert len(words(content)) == 20
    assert await memory.atruncate(content, 0) == content
    assert await memory.atruncate(content, 1) == "\n".join(content.split("\n")[:6])
    assert await memory.atruncate(content, 15) == "\n".join(content.split("\n")[:2])
    assert await memory.atruncate(content, 16) is None
    assert await memory.atruncate("", 5) is None


async def test_a_memory_that_has_an_embedder_is_asked_with_that() -> None:
    core = Memory.create(":memory:", "memvid-hash-v1:64")
    memory = block(vector_store=MemvidVectorStore(memory=core))
    await memory.aput([CAT])
    assert core.info().dimension == 64
    assert "Ada" in await memory.aget(ASKED)
    chosen = MemvidEmbedding()
    assert block(vector_store=MemvidVectorStore(memory=core), embed_model=chosen).embed_model is chosen


async def test_documents_in_the_same_memory_are_no_messages() -> None:
    core = Memory.create(":memory:")
    core.add(["The cat of the neighbour is called Tom."])
    memory = block(vector_store=MemvidVectorStore(memory=core))
    assert await memory.aget(ASKED) == ""
    await memory.aput([CAT])
    assert await memory.aget(ASKED) == "<message role='user'>My cat is called Ada.</message>"


@pytest.mark.parametrize("wrong", [{"alpha": 2}, {"token_budget": -1}, {"context_messages": 0}, {"vector_store": 3}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        block(**wrong)


async def test_in_llama_index_memory_it_remembers_across_processes_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.mp4"
    for run in range(2):
        with MemvidVectorStore(path) as store, MemvidChatStore(memory=store.memory) as chats:
            memory = ChatMemory.from_defaults(
                "session",
                token_limit=100,
                token_flush_size=20,
                memory_blocks=[block(vector_store=store, token_budget=30, priority=1)],
                chat_store=chats,
                tokenizer_fn=words,
            )
            if run == 0:
                await memory.aput(ChatMessage("My cat is called Ada."))
                for i in range(12):
                    await memory.aput(ChatMessage(role="assistant", content=f"Number {i} is noted, and so are others."))
                    await memory.aput(ChatMessage(f"Now take down number {i + 1}, will you?"))
                active = await chats.get_messages("session")
                assert "Ada" not in str(active)
            found = await memory.aget(input="What is the name of my cat?")
            assert found[0].role == "system"
            assert "My cat is called Ada." in str(found[0].content)
