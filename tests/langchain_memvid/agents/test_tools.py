"""The tools, in langchain_tests' suites and beyond them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import ValidationError

from langchain_memvid.agents import create_memory_tools
from langchain_memvid.agents.notes import Notes
from langchain_memvid.agents.tools import ForgetMemory, SaveMemory, SearchMemory
from memvid_core import InvalidInputError, Memory


class ToolCases:
    """What the suites need; each class below is one tool."""

    constructor: type[BaseTool]
    example: dict[str, Any]

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return self.constructor

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"notes": Notes(Memory.create(":memory:"))}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.example


class SaveCases(ToolCases):
    constructor, example = SaveMemory, {"text": "Ada drinks tea"}


class SearchCases(ToolCases):
    constructor, example = SearchMemory, {"query": "tea", "k": 3}


class ForgetCases(ToolCases):
    constructor, example = ForgetMemory, {"id": "note-0"}


class TestSaveUnit(SaveCases, ToolsUnitTests): ...


class TestSaveIntegration(SaveCases, ToolsIntegrationTests): ...


class TestSearchUnit(SearchCases, ToolsUnitTests): ...


class TestSearchIntegration(SearchCases, ToolsIntegrationTests): ...


class TestForgetUnit(ForgetCases, ToolsUnitTests): ...


class TestForgetIntegration(ForgetCases, ToolsIntegrationTests): ...


@pytest.fixture
def memory() -> Any:
    with Memory.create(":memory:") as opened:
        yield opened


def test_what_is_saved_is_found_and_can_be_forgotten(memory: Memory) -> None:
    save, search, forget = create_memory_tools(memory)
    said = save.invoke({"text": "  Ada drinks tea without milk\n"})
    name = said.removeprefix("Saved as [").removesuffix("].")
    assert memory.get(name).text == "Ada drinks tea without milk"
    assert search.invoke({"query": "what does Ada drink?"}) == f"[{name}] Ada drinks tea without milk"
    message = search.invoke({"type": "tool_call", "name": search.name, "id": "1", "args": {"query": "tea"}})
    assert [document.id for document in message.artifact] == [name]
    assert forget.invoke({"id": name}) == f"Forgot [{name}]."
    assert forget.invoke({"id": name}) == f"No memory has the id [{name}]."
    assert search.invoke({"query": "tea"}) == "Nothing found."


def test_saving_the_same_again_stores_nothing(memory: Memory) -> None:
    save, _, _ = create_memory_tools(memory)
    first = save.invoke({"text": "Ada drinks tea"})
    commits = len(memory.history())
    assert save.invoke({"text": "Ada drinks tea "}) == first
    assert (len(memory), len(memory.history())) == (1, commits)


def test_scopes_are_kept_apart(memory: Memory) -> None:
    ada, bob = (create_memory_tools(memory, scope={"user": user}) for user in ("ada", "bob"))
    name = ada[0].invoke({"text": "drinks tea"})[len("Saved as [") : -2]
    bob[0].invoke({"text": "drinks tea"})
    assert len(memory) == 2
    assert bob[1].invoke({"query": "tea"}).count("drinks tea") == 1
    assert name not in bob[1].invoke({"query": "tea"})
    assert bob[2].invoke({"id": name}) == f"No memory has the id [{name}]."
    assert name in memory
    with pytest.raises(InvalidInputError, match="agent_memory"):
        create_memory_tools(memory, scope={"agent_memory": "x"})
    with pytest.raises(InvalidInputError, match="Memory"):
        create_memory_tools("notes.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "scope", [{"user": None}, {"user": ["ada"]}, {"user": {}}, {"$or": "ada"}, {1: "ada"}, ["ada"]]
)
def test_a_scope_that_names_nobody_is_refused(memory: Memory, scope: Any) -> None:
    """As a filter, ``{"user": None}`` would let through what belongs to everyone who has not said."""
    with pytest.raises(InvalidInputError, match="scope"):
        create_memory_tools(memory, scope=scope)


def test_an_agent_reads_documents_but_cannot_delete_them(memory: Memory) -> None:
    memory.add(["the wing lifts"], ids=["doc"])
    _, search, forget = create_memory_tools(memory)
    assert search.invoke({"query": "wing"}) == "[doc] the wing lifts"
    assert forget.invoke({"id": "doc"}).startswith("No memory has")
    assert "doc" in memory


def test_what_a_model_gets_wrong_is_told_to_it(memory: Memory) -> None:
    save, search, _ = create_memory_tools(memory)
    assert "empty" in save.invoke({"text": " \n"})
    assert search.invoke({"query": "  "}) == "Nothing found."
    with pytest.raises(ValidationError):  # a tool node tells this to the model
        search.invoke({"query": "tea", "k": 0})
    assert len(memory) == 0


async def test_async_is_the_same(memory: Memory) -> None:
    save, search, forget = create_memory_tools(memory)
    name = (await save.ainvoke({"text": "Ada drinks tea"}))[len("Saved as [") : -2]
    assert await search.ainvoke({"query": "tea"}) == f"[{name}] Ada drinks tea"
    assert await forget.ainvoke({"id": name}) == f"Forgot [{name}]."
    assert "empty" in await save.ainvoke({"text": ""})
    assert await search.ainvoke({"query": "tea"}) == "Nothing found."
