"""The middleware in agents with a scripted model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from langchain_memvid.agents import MemoryWarning, MemvidMiddleware, MemvidSaver, MemvidStore
from langchain_memvid.agents.middleware import estimate_tokens
from memvid_core import InvalidInputError, Memory
from tests.langchain_memvid.agents.fakes import ScriptedModel, call


@pytest.fixture
def memory() -> Any:
    with Memory.create(":memory:") as opened:
        yield opened


def ask(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def told(model: ScriptedModel, turn: int = 0) -> str:
    """The system message of a call."""
    return "".join(message.text for message in model.seen[turn] if isinstance(message, SystemMessage))


def roles(memory: Memory) -> list[tuple[str, str]]:
    turns = memory.select({"agent.kind": "turn"})
    return [(turn.metadata["agent"]["role"], turn.text[turn.metadata["agent"]["head"] :]) for turn in turns]


def test_it_recalls_before_and_records_after(memory: Memory) -> None:
    memory.add(["Ada drinks tea without milk", "the engine hums"])
    model = ScriptedModel(script=[AIMessage("Tea.")])
    agent = create_agent(model, system_prompt="Be brief.", middleware=[MemvidMiddleware(memory, k=1)])
    result = agent.invoke(ask("What does Ada drink?"))
    assert told(model).startswith("Be brief.\n\nWhat you remember")
    assert told(model).endswith("\n- Ada drinks tea without milk")
    assert [message.text for message in result["messages"]] == ["What does Ada drink?", "Tea."]
    assert roles(memory) == [("user", "What does Ada drink?"), ("assistant", "Tea.")]


def test_what_it_recalls_is_never_recorded(memory: Memory) -> None:
    @tool
    def weather() -> str:
        """The weather."""
        return "it rains on the wing"

    memory.add(["the wing lifts"])
    model = ScriptedModel(script=[call("weather"), AIMessage("Rain."), AIMessage("It lifts.")])
    agent = create_agent(model, tools=[weather], middleware=[MemvidMiddleware(memory)], checkpointer=MemvidSaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ask("wing and weather?"), config)
    agent.invoke(ask("and the wing?"), config)
    assert all("- the wing lifts" in told(model, turn) for turn in range(3))
    assert roles(memory) == [
        ("user", "wing and weather?"),
        ("assistant", "Rain."),
        ("user", "and the wing?"),
        ("assistant", "It lifts."),
    ]
    assert [record.text for record in memory if "remember" in record.text or "rains" in record.text] == []


def test_what_the_conversation_holds_is_not_recalled(memory: Memory) -> None:
    model = ScriptedModel(script=[AIMessage("A wing lifts."), AIMessage("Yes.")])
    agent = create_agent(model, middleware=[MemvidMiddleware(memory)], checkpointer=MemvidSaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ask("what does a wing do?"), config)
    agent.invoke(ask("does the wing lift?"), config)
    assert (told(model, 0), told(model, 1)) == ("", "")
    other = ScriptedModel(script=[AIMessage("It does.")])
    create_agent(other, middleware=[MemvidMiddleware(memory)]).invoke(ask("tell me of wings"))
    assert "assistant: A wing lifts." in told(other)


@pytest.mark.parametrize("said", ['I love "La Traviata". And the cat?', "-Miso -cat?", 'the cat "'])
def test_what_is_said_is_no_query_language(memory: Memory, said: str) -> None:
    memory.add(["The cat is called Miso."])
    model = ScriptedModel(script=[AIMessage("fine")])
    create_agent(model, middleware=[MemvidMiddleware(memory)]).invoke(ask(said))
    assert "- The cat is called Miso." in told(model)


@pytest.mark.parametrize("said", ['"', "***"])
def test_what_asks_nothing_recalls_nothing(memory: Memory, said: str) -> None:
    memory.add(["The cat is called Miso."])
    model = ScriptedModel(script=[AIMessage("fine")])
    create_agent(model, middleware=[MemvidMiddleware(memory)]).invoke(ask(said))
    assert told(model) == ""
    assert roles(memory) == [("user", said), ("assistant", "fine")]


def test_saying_a_thing_twice_records_it_once(memory: Memory) -> None:
    for _ in range(3):
        model = ScriptedModel(script=[AIMessage("Hello.")])
        create_agent(model, middleware=[MemvidMiddleware(memory)]).invoke(ask("hi"))
    assert roles(memory) == [("user", "hi"), ("assistant", "Hello.")]
    assert len(memory.history()) == 1


@pytest.mark.parametrize("budget", [0, 10, 40, 60, 100])
def test_the_budget_holds(memory: Memory, budget: int) -> None:
    memory.add([f"wing number {number} lifts well" for number in range(20)])
    memory.add(["wing " * 200])
    model = ScriptedModel(script=[AIMessage("Yes.")])
    create_agent(model, middleware=[MemvidMiddleware(memory, k=50, budget=budget)]).invoke(ask("which wing lifts?"))
    assert estimate_tokens(told(model)) <= budget
    assert ("lifts well" in told(model)) == (budget >= 40)


def test_tokens_are_counted_as_they_are_told_to_be(memory: Memory) -> None:
    memory.add(["the wing lifts", "another wing"])
    model = ScriptedModel(script=[AIMessage("Yes.")])
    middleware = MemvidMiddleware(memory, budget=2, count_tokens=lambda text: 1)
    create_agent(model, middleware=[middleware]).invoke(ask("wing?"))
    assert told(model).count("\n- ") == 1


def test_a_scope_is_kept_to(memory: Memory) -> None:
    memory.add(["Ada's wing", "Bob's wing"], [{"user": "ada"}, {"user": "bob"}])
    model = ScriptedModel(script=[AIMessage("Yes.")])
    middleware = MemvidMiddleware(memory, scope=lambda runtime: {"user": runtime.context["user"]})
    agent: Any = create_agent(model, middleware=[middleware], context_schema=dict)
    agent.invoke(ask("whose wing?"), context={"user": "bob"})
    assert "Bob's wing" in told(model)
    assert "Ada's wing" not in told(model)
    assert {record.metadata["user"] for record in memory.select({"agent.kind": "turn"})} == {"bob"}


def test_for_nobody_nothing_is_recalled_and_nothing_recorded(memory: Memory) -> None:
    memory.add(["a wing that is nobody's"])
    model = ScriptedModel(script=[AIMessage("Yes.")])
    middleware = MemvidMiddleware(memory, scope=lambda runtime: {"user": None})
    with pytest.warns(MemoryWarning, match="does not name an owner"):
        create_agent(model, middleware=[middleware]).invoke(ask("whose wing?"))
    assert told(model) == ""
    assert len(memory) == 1


def test_without_its_memory_the_agent_goes_on_with_a_warning(memory: Memory) -> None:
    middleware = MemvidMiddleware(memory)
    memory.close()
    model = ScriptedModel(script=[AIMessage("Yes.")])
    with pytest.warns(MemoryWarning) as caught:
        result = create_agent(model, middleware=[middleware]).invoke(ask("wing?"))
    assert result["messages"][-1].text == "Yes."
    assert [str(warning.message).split(":")[0] for warning in caught] == ["could not recall", "could not record"]


def test_what_fails_in_the_model_is_the_model_s(memory: Memory) -> None:
    def fail(messages: Any) -> AIMessage:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        create_agent(ScriptedModel(script=[fail]), middleware=[MemvidMiddleware(memory)]).invoke(ask("wing?"))


async def test_async_is_the_same(memory: Memory) -> None:
    memory.add(["the wing lifts"])
    model = ScriptedModel(script=[AIMessage("Yes."), AIMessage("Still.")])
    agent = create_agent(model, middleware=[MemvidMiddleware(memory)])
    await agent.ainvoke(ask("wing?"))
    assert "- the wing lifts" in told(model)
    assert roles(memory) == [("user", "wing?"), ("assistant", "Yes.")]
    memory.close()
    with pytest.warns(MemoryWarning):
        assert (await agent.ainvoke(ask("wing?")))["messages"][-1].text == "Still."


def test_it_can_only_recall_or_only_record(memory: Memory) -> None:
    memory.add(["the wing lifts"])
    model = ScriptedModel(script=[AIMessage("Yes."), AIMessage("No.")])
    create_agent(model, middleware=[MemvidMiddleware(memory, record=False)]).invoke(ask("wing?"))
    assert "- the wing lifts" in told(model)
    assert len(memory) == 1
    create_agent(model, middleware=[MemvidMiddleware(memory, k=0)]).invoke(ask("wing?"))
    assert told(model, 1) == ""
    assert len(memory) == 4  # two turns, and the resource that they belong to
    wrong: list[dict[str, Any]] = [{"budget": -1}, {"budget": 1.5}, {"k": "3"}]
    for options in wrong:
        with pytest.raises(InvalidInputError, match="must be integers"):
            MemvidMiddleware(memory, **options)


def test_what_a_store_holds_is_recalled_and_checkpoints_are_not(memory: Memory) -> None:
    store, saver = MemvidStore(memory=memory, index={"fields": ["text"]}), MemvidSaver(memory=memory)
    store.put(("users",), "k", {"text": "Ada flies with one wing"})
    model = ScriptedModel(script=[AIMessage("Yes.")])
    agent = create_agent(model, middleware=[MemvidMiddleware(memory, k=50)], checkpointer=saver, store=store)
    agent.invoke(ask("which wing?"), {"configurable": {"thread_id": "1"}})
    assert told(model).splitlines()[1:] == ["- Ada flies with one wing"]
