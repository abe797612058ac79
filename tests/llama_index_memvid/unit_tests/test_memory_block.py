"""The memory block recalls what matters, of the right session, within its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory as ChatMemory
from llama_index.core.schema import TextNode
from pydantic import ValidationError

from llama_index_memvid import MemvidChatStore, MemvidEmbedding, MemvidMemoryBlock, MemvidVectorStore
from memvid_core import Memory, MemoryService, ScopedService
from tests.attacks import ATTACKS, lines_that_escape

CAT, WING = ChatMessage("My cat is called Ada."), ChatMessage(role="assistant", content="A wing lifts the aircraft.")
ASKED = [ChatMessage("What is the name of my cat?")]


def words(text: str) -> list[str]:
    return text.split()


def shown(recalled: str) -> list[str]:
    """Who said what, line by line, without the heading, the ids and the days."""
    heading, *lines = recalled.splitlines()
    assert heading == ScopedService.heading
    assert all(line.startswith("[ref:") for line in lines)
    return [line.split(" ", 2)[2] for line in lines]


def turns(memory: MemvidMemoryBlock) -> list[str]:
    return [record.id for record in memory.vector_store.client.select({"agent.kind": "turn"})]


def block(**options: Any) -> MemvidMemoryBlock:
    return MemvidMemoryBlock(**{"tokenizer_fn": words, **options})


async def test_it_recalls_by_meaning_and_by_words_in_the_order_of_time() -> None:
    memory = block()
    await memory.aput([WING, CAT], session_id="s")
    assert shown(await memory.aget(ASKED, session_id="s")) == [
        "assistant: A wing lifts the aircraft.",
        "user: My cat is called Ada.",
    ]
    best = block(vector_store=memory.vector_store, similarity_top_k=1)
    assert shown(await best.aget(ASKED, session_id="s")) == ["user: My cat is called Ada."]


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


@pytest.mark.parametrize("budget", [0, 3, 22, 40, 100])
async def test_it_keeps_to_its_budget(budget: int) -> None:
    memory = block(token_budget=budget)
    await memory.aput([ChatMessage(f"My cat number {i} is called Ada {i}.") for i in range(20)])
    found = await memory.aget(ASKED)
    assert len(words(found)) <= budget
    assert bool(found) == (budget >= 40)


async def test_a_long_message_leaves_room_for_a_short_one() -> None:
    memory = block(token_budget=len(words(ScopedService.heading)) + 10)
    await memory.aput([ChatMessage("My cat, my cat, my cat is called " + "Ada " * 30), CAT])
    assert shown(await memory.aget(ASKED)) == ["user: My cat is called Ada."]


async def test_the_same_message_is_kept_once_a_session() -> None:
    memory = block()
    for session in ("one", "one", "two"):
        await memory.aput([CAT.model_copy(deep=True)], session_id=session)
    assert len(turns(memory)) == 2


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
    said = [ChatMessage("A wing lifts."), ChatMessage("My cat is called Ada."), ChatMessage("My dog\nis called Bob.")]
    await memory.aput(said)
    content = await memory.aget(ASKED)
    heading, wing, cat, dog, rest = content.split("\n")
    assert rest == "  | is called Bob."
    assert await memory.atruncate(content, 0) == content
    assert await memory.atruncate(content, 1) == "\n".join([heading, cat, dog, rest])
    assert await memory.atruncate(content, len(words(wing)) + 1) == "\n".join([heading, cat])
    assert await memory.atruncate(content, len(words(content)) - 5) is None
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
    assert shown(await memory.aget(ASKED)) == ["user: My cat is called Ada."]


@pytest.mark.parametrize(
    "wrong", [{"alpha": 2}, {"token_budget": -1}, {"context_messages": 0}, {"vector_store": 3}, {"memory": 3}]
)
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


PARTY = [
    ChatMessage("Who told you of the office party?"),
    ChatMessage(role="assistant", content="Caroline did."),
    ChatMessage("When does the office party start?"),
    ChatMessage(role="assistant", content="At six, on Friday."),
    ChatMessage(role="tool", content="The office party costs 4711 euros."),
]
WHEN = [ChatMessage("When is the office party?")]


def party() -> list[ChatMessage]:
    return [message.model_copy(deep=True) for message in PARTY]


@pytest.mark.parametrize("over", ["vector_store", "memory", "service"])
async def test_the_office_party_is_answered(over: str) -> None:
    core = Memory.create(":memory:")
    service = MemoryService(core, user_config={"default": {"user_id": "ada"}})
    own: dict[str, Any] = {"vector_store": {}, "memory": {"memory": core}, "service": {"memory": service}}
    memory = block(**own[over])
    await memory.aput(party(), session_id="monday")
    lines = shown(await block(vector_store=memory.vector_store).aget(WHEN)) if over == "vector_store" else None
    lines = lines or shown(await memory.aget(WHEN, session_id="monday"))
    question = lines.index("user: When does the office party start?")
    assert lines[question + 1] == "assistant: At six, on Friday."
    assert len(turns(memory)) == 4  # what the tool said is not among them


async def test_a_service_says_whose_messages_are_kept_and_whose_they_are() -> None:
    core = Memory.create(":memory:")
    roles = {"roles": ["user", "assistant", "tool"]}
    memory = block(memory=MemoryService(core, memorize_config=roles), scope={"user_id": "ada"}, across_sessions=True)
    await memory.aput(party(), session_id="monday")
    assert any("4711" in line for line in shown(await memory.aget(WHEN, session_id="tuesday")))
    other = block(memory=MemoryService(core), scope={"user_id": "bob"}, across_sessions=True)
    assert await other.aget(WHEN) == ""


async def test_what_was_recalled_is_never_kept() -> None:
    memory = block()
    await memory.aput(party(), session_id="monday")
    told = await memory.aget(WHEN)
    await memory.aput([ChatMessage(f"{told}\nWho comes to the party?")], session_id="tuesday")
    await memory.aput([ChatMessage(told)], session_id="wednesday")
    said = [record.text for record in memory.vector_store.client.select({"agent.kind": "turn"})]
    assert len(said) == 5
    assert said[-1].endswith("): Who comes to the party?")


async def test_stored_attacks_come_back_as_quoted_data_within_the_budget() -> None:
    memory = block(token_budget=1_000, similarity_top_k=100)
    await memory.aput([ChatMessage(attack) for attack in ATTACKS], session_id="s")
    told = await memory.aget([ChatMessage("What is the budget?")], session_id="s")
    assert lines_that_escape(told, ScopedService.heading) == []
    assert len(words(told)) <= 1_000
    assert told.count("\n[ref:") >= 15


async def test_messages_that_an_earlier_version_kept_are_recalled() -> None:
    memory = block()
    node = TextNode(id_="old", text="My cat is called Ada.", metadata={"role": "user", "session_id": "s"})
    node.embedding = memory.embed_model.get_text_embedding(node.text)
    await memory.vector_store.async_add([node])
    assert (await memory.aget(ASKED, session_id="s")).splitlines()[1:] == ["- user: My cat is called Ada."]
    assert await memory.aget(ASKED, session_id="other") == ""


@pytest.mark.parametrize("budget", range(24, 90, 6))
async def test_an_outdated_fact_is_not_shown_without_its_correction(budget: int) -> None:
    service = MemoryService(
        Memory.create(":memory:"),
        memorize_config={"extract": "rules"},
        user_config={"default": {"user_id": "ada"}},
    )
    for text, day in (("I live in Berlin.", "2026-01-05"), ("I moved to Lisbon, near the river.", "2026-03-05")):
        await service.add([{"role": "user", "content": text, "created_at": day}], session_id=day)
    memory = block(memory=service, token_budget=budget, across_sessions=True)
    asked = [ChatMessage("Tell me of homes."), ChatMessage("Where do I live?")]
    told = await memory.aget(asked, session_id="s")
    assert "Lisbon" in told or "Berlin" not in told
    assert len(words(told)) <= budget
