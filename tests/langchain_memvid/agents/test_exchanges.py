"""What the middleware shows of earlier conversations: exchanges, as quoted data, in the system message or after all."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from langchain_memvid.agents import MemvidMiddleware, MemvidSaver
from langchain_memvid.agents.middleware import estimate_tokens
from memvid_core import InvalidInputError, Memory, MemoryService, ScopedService, SyncMemoryService
from tests.attacks import ATTACKS, lines_that_escape
from tests.langchain_memvid.agents.fakes import ScriptedModel, call

PARTY = [
    ("Who told you of the office party?", "Caroline did."),
    ("When does the office party start?", "At six, on Friday."),
    ("What should I wear?", "Anything that you can dance in."),
]


@pytest.fixture
def memory() -> Any:
    with Memory.create(":memory:") as opened:
        yield opened


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


def ask(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def system(messages: list[BaseMessage]) -> str:
    return "".join(message.text for message in messages if isinstance(message, SystemMessage))


def talk(memory: Any, said: Any, name: str = "monday", **options: Any) -> ScriptedModel:
    """Let an agent have a conversation."""
    model = ScriptedModel(script=[AIMessage(answer) for _, answer in said])
    agent = create_agent(model, middleware=[MemvidMiddleware(memory, **options)], checkpointer=MemvidSaver())
    for question, _ in said:
        agent.invoke(ask(question), thread(name))
    return model


def turns(memory: Memory) -> list[tuple[str, str]]:
    found = memory.select({"agent.kind": "turn"})
    return [(turn.metadata["agent"]["role"], turn.text[turn.metadata["agent"]["head"] :]) for turn in found]


@pytest.mark.parametrize("inject", ["system", "message"])
def test_the_office_party_is_answered(memory: Memory, inject: Any) -> None:
    talk(memory, PARTY)
    model = talk(memory, [("When is the office party?", "At six, on Friday.")], "tuesday", inject=inject)
    told = system(model.seen[0]) if inject == "system" else str(model.seen[0][-1].text)
    lines = told.splitlines()
    question = next(
        place for place, line in enumerate(lines) if line.endswith("user: When does the office party start?")
    )
    assert lines[question + 1].endswith("assistant: At six, on Friday.")
    assert lines[0] == ScopedService.heading
    assert all(line.startswith("[ref:") and ": " in line for line in lines[1:])


async def test_the_office_party_is_answered_asynchronously(memory: Memory) -> None:
    service = MemoryService(memory)
    await service.add([message for pair in PARTY for message in pair], user_id="ada", session_id="monday")
    model = ScriptedModel(script=[AIMessage("At six.")])
    middleware = MemvidMiddleware(service, scope={"user_id": "ada"})
    await create_agent(model, middleware=[middleware]).ainvoke(ask("When is the office party?"))
    assert "At six, on Friday." in system(model.seen[0])
    assert ("assistant", "At six.") in turns(memory)


@pytest.mark.parametrize("form", [MemoryService, SyncMemoryService])
def test_a_service_brings_its_own_fields_and_its_default(memory: Memory, form: Any) -> None:
    service = form(memory, user_config={"default": {"user_id": "ada"}})
    talk(service, PARTY)
    model = talk(service, [("When is the office party?", "At six.")], "tuesday")
    assert "At six, on Friday." in system(model.seen[0])
    assert {turn.metadata["user_id"] for turn in memory.select({"agent.kind": "turn"})} == {"ada"}
    other = talk(service, [("When is the office party?", "Who knows.")], "wednesday", scope={"user_id": "bob"})
    assert system(other.seen[0]) == ""
    with pytest.raises(InvalidInputError, match="did you mean 'user_id'"):
        MemvidMiddleware(service, scope={"user": "ada"})
    with pytest.raises(InvalidInputError, match="names no owner"):
        MemvidMiddleware(form(memory))
    with pytest.raises(InvalidInputError, match="open Memory"):
        MemvidMiddleware("notes.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", [{"agent": "a"}, {"sure": 1.5}, {"session_id": "s"}, {"user": "ada", "source": "x"}])
def test_scopes_that_are_no_fields_of_a_service_hold_as_well(memory: Memory, scope: Any) -> None:
    talk(memory, PARTY, scope=scope)
    asked = [("When is the office party?", "At six.")]
    assert "At six, on Friday." in system(talk(memory, asked, "tuesday", scope=scope).seen[0])
    other = dict.fromkeys(scope, "other")
    assert system(talk(memory, asked, "wednesday", scope=other).seen[0]) == ""
    assert system(talk(memory, asked, "thursday", scope=lambda runtime: scope).seen[0]) != ""


def test_fifty_turns_leave_the_prompt_before_them_byte_identical(memory: Memory) -> None:
    """Each call is the conversation of the one before, which a cache holds, then new messages, then the memory."""
    memory.add([f"The office has {number} floors." for number in range(3)])
    talk(memory, PARTY)
    said = [(f"Question {turn} about the office party", f"Answer {turn}.") for turn in range(50)]
    model = talk(memory, said, "tuesday", inject="message")
    before: list[Any] = []
    for turn, seen in enumerate(model.seen):
        conversation, told = [message.model_dump_json() for message in seen[:-1]], seen[-1]
        assert conversation[: len(before)] == before
        assert len(conversation) == 2 * turn + 1
        assert isinstance(told, HumanMessage)
        assert told.text.startswith(ScopedService.heading)
        before = conversation
    assert [system(seen) for seen in model.seen] == [""] * 50
    assert [text for _, text in turns(memory)] == [text for pair in PARTY + said for text in pair]


def test_the_message_is_the_same_while_it_says_the_same(memory: Memory) -> None:
    memory.add(["The office party is at six.", "The office has a garden."])
    said = [("When is the office party?", "At six."), ("Is there a garden at the office?", "Yes.")]
    model = talk(memory, said, inject="message", k=2)
    first, second = (str(seen[-1].text) for seen in model.seen)
    assert first == second
    memory.add(["The office party was moved to seven."])
    later = talk(memory, [("When is the office party?", "At seven.")], inject="message", scope=None)
    assert "moved to seven" in str(later.seen[0][-1].text)


def test_what_is_recalled_in_a_message_is_neither_asked_nor_recorded(memory: Memory) -> None:
    """Two of them, one after the other: the second sees the message of the first."""
    talk(memory, PARTY)
    memory.add(["The office party is in the garden."])
    model = ScriptedModel(script=[AIMessage("At six.")])
    both = [
        MemvidMiddleware(memory, inject="message"),
        type("Other", (MemvidMiddleware,), {})(memory, inject="message"),
    ]
    before = len(turns(memory))
    result = create_agent(model, middleware=both).invoke(ask("When is the office party?"))
    assert [message.text for message in result["messages"]] == ["When is the office party?", "At six."]
    assert turns(memory)[before:] == [("user", "When is the office party?"), ("assistant", "At six.")]


@tool
def weather() -> str:
    """The weather."""
    return "It rains on the office party."


@pytest.mark.parametrize("asked_for", [False, True])
def test_the_output_of_tools_is_remembered_only_if_asked(memory: Memory, asked_for: bool) -> None:
    roles = ["user", "assistant", "tool"] if asked_for else ["user", "assistant"]
    service = MemoryService(memory, memorize_config={"roles": roles}, user_config={"default": {"user_id": "ada"}})
    model = ScriptedModel(script=[call("weather"), AIMessage("Take an umbrella.")])
    agent = create_agent(model, tools=[weather], middleware=[MemvidMiddleware(service)], checkpointer=MemvidSaver())
    agent.invoke(ask("How is the weather?"), thread("monday"))
    said = [("user", "How is the weather?"), ("assistant", "Take an umbrella.")]
    output = [("tool", "It rains on the office party.")] if asked_for else []
    assert turns(memory) == [said[0], *output, said[1]]


@pytest.mark.parametrize("inject", ["system", "message"])
@pytest.mark.parametrize("as_turns", [True, False])
def test_stored_attacks_come_back_as_quoted_data_within_the_budget(memory: Memory, inject: Any, as_turns: bool) -> None:
    if as_turns:
        talk(memory, [(attack, "No.") for attack in ATTACKS])
    else:
        memory.add(ATTACKS)
    asked = [("What is the budget?", "I do not know.")]
    model = talk(memory, asked, "tuesday", inject=inject, budget=2_000, k=100)
    told = system(model.seen[0]) if inject == "system" else str(model.seen[0][-1].text)
    assert lines_that_escape(told, ScopedService.heading) == []
    assert estimate_tokens(told) <= 2_000
    assert told.count("\n[ref:" if as_turns else "\n- ") >= 15
    assert len(model.seen[0]) == 2
