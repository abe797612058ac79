"""The file backend of Deep Agents over MemvidStore, and a deep agent with a ``/memories/`` that it can search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends import CompositeBackend, StateBackend, StoreBackend
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_memvid.agents import MemvidStore
from tests.langchain_memvid.agents.fakes import ScriptedModel, call


@pytest.fixture(params=["ram", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    place = ":memory:" if request.param == "ram" else tmp_path / "agent.mp4"
    with MemvidStore(place, index={"fields": ["content"]}) as opened:
        yield opened


def backend(store: MemvidStore, user: str = "ada") -> StoreBackend:
    return StoreBackend(namespace=lambda runtime: ("memories", user), store=store)


def test_files_are_written_read_edited_listed_searched_and_deleted(store: MemvidStore) -> None:
    files = backend(store)
    assert files.write("/people/ada.md", "# Ada\ndrinks tea\n").error is None
    assert files.write("/todo.md", "call Bob\n").error is None
    assert files.read("/people/ada.md").file_data["content"] == "# Ada\ndrinks tea\n"
    assert files.read("/people/ada.md", offset=1, limit=1).file_data["content"].strip() == "drinks tea"
    assert files.edit("/people/ada.md", "tea", "coffee").occurrences == 1
    assert files.edit("/people/ada.md", "tea", "water").error is not None
    assert sorted((entry["path"], entry["is_dir"]) for entry in files.ls("/").entries) == [
        ("/people/", True),
        ("/todo.md", False),
    ]
    assert [(match["path"], match["line"]) for match in files.grep("coffee").matches] == [("/people/ada.md", 2)]
    assert [match["path"] for match in files.glob("**/*.md").matches] == ["/people/ada.md", "/todo.md"]
    assert files.delete("/todo.md").error is None
    assert files.read("/todo.md").error is not None
    assert [response.error for response in files.upload_files([("/raw.bin", b"\x00\xff")])] == [None]
    assert files.download_files(["/raw.bin"])[0].content == b"\x00\xff"


async def test_async_is_the_same(store: MemvidStore) -> None:
    files = backend(store)
    assert (await files.awrite("/a.md", "one\ntwo")).error is None
    assert (await files.aedit("/a.md", "two", "three")).error is None
    assert (await files.aread("/a.md")).file_data["content"] == "one\nthree"
    assert [match["line"] for match in (await files.agrep("three")).matches] == [2]
    assert (await files.adelete("/a.md")).error is None
    assert (await files.als("/")).entries == []


def test_users_have_folders_of_their_own(store: MemvidStore) -> None:
    backend(store, "ada").write("/pin.md", "4711")
    assert backend(store, "bob").ls("/").entries == []
    assert backend(store, "bob").grep("4711").matches == []
    assert backend(store, "bob").read("/pin.md").error is not None


def test_more_files_than_one_page_of_a_search_has(store: MemvidStore) -> None:
    for number in range(120):
        store.put(("memories", "ada"), f"/{number}.md", {"content": f"note {number}", "encoding": "utf-8"})
    assert len(backend(store).ls("/").entries) == 120


# --- the recipe of docs/agents.md ---


def files_of(runtime: Any) -> tuple[str, ...]:
    """Return the namespace of the user's files."""
    return ("memories", runtime.context["user"])


@tool
def search_memories(query: str, runtime: ToolRuntime[dict[str, str], Any]) -> str:
    """Search the files under /memories/ by meaning and by words."""
    assert runtime.store is not None
    found = runtime.store.search(files_of(runtime), query=query, limit=5)
    return "\n\n".join(f"/memories{item.key}:\n{item.value['content'][:500]}" for item in found) or "Nothing."


def deep_agent(store: MemvidStore, script: list[Any]) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(script=script)
    agent = create_deep_agent(
        model=model,
        tools=[search_memories],
        backend=CompositeBackend(StateBackend(), {"/memories/": StoreBackend(namespace=files_of)}),
        store=store,
        context_schema=dict,
    )
    return agent, model


def outputs(result: Any) -> list[str]:
    return [str(message.text) for message in result["messages"] if isinstance(message, ToolMessage)]


def test_a_deep_agent_has_memories_that_it_can_search(store: MemvidStore) -> None:
    said = {"messages": [HumanMessage("Remember the office party.")]}
    path = "/memories/events/party.md"
    writing = [
        call("write_file", file_path=path, content="The office party starts at six, on Friday."),
        call("write_file", file_path="/memories/people.md", content="Caroline organizes things."),
        AIMessage("I will."),
    ]
    deep_agent(store, writing)[0].invoke(said, context={"user": "ada"})
    assert [item.key for item in store.search(("memories", "ada"))] == ["/events/party.md", "/people.md"]
    asking = [call("search_memories", query="When is the office party?"), call("read_file", file_path=path)]
    agent, _ = deep_agent(store, [*asking, AIMessage("At six.")])
    told = outputs(agent.invoke({"messages": [HumanMessage("When is the party?")]}, context={"user": "ada"}))
    assert told[0].startswith(f"{path}:\nThe office party starts at six, on Friday.")
    assert "at six, on Friday" in told[1]
    agent, _ = deep_agent(store, [*asking, AIMessage("I do not know.")])
    told = outputs(agent.invoke({"messages": [HumanMessage("When is the party?")]}, context={"user": "bob"}))
    assert told[0] == "Nothing."
    assert "six" not in told[1]
