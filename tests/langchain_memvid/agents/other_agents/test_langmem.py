"""LangMem's tools over MemvidStore."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langmem import create_manage_memory_tool, create_search_memory_tool

from langchain_memvid.agents import MemvidStore
from tests.langchain_memvid.agents.fakes import ScriptedModel, call

NAMESPACE = ("memories", "{user}")


def config(user: str) -> Any:
    return {"configurable": {"user": user}}


@pytest.fixture(params=["ram", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with MemvidStore(":memory:" if request.param == "ram" else tmp_path / "agent.mp4") as opened:
        yield opened


def tools(store: MemvidStore) -> tuple[Any, Any]:
    return create_manage_memory_tool(NAMESPACE, store=store), create_search_memory_tool(NAMESPACE, store=store)


def found(search: Any, query: str, user: str = "ada") -> list[str]:
    return [item["value"]["content"] for item in json.loads(search.invoke({"query": query}, config(user)))]


def test_memories_are_created_found_corrected_and_deleted(store: MemvidStore) -> None:
    manage, search = tools(store)
    told = manage.invoke({"content": "Ada drinks tea without milk", "action": "create"}, config("ada"))
    manage.invoke({"content": "Ada lives in Turin", "action": "create"}, config("ada"))
    name = told.split()[-1]
    assert str(uuid.UUID(name)) == name
    assert found(search, "what does Ada drink?")[0] == "Ada drinks tea without milk"
    manage.invoke({"content": "Ada drinks coffee", "action": "update", "id": name}, config("ada"))
    assert found(search, "what does Ada drink?")[0] == "Ada drinks coffee"
    manage.invoke({"action": "delete", "id": name}, config("ada"))
    assert found(search, "what does Ada drink?") == ["Ada lives in Turin"]


def test_users_are_kept_apart(store: MemvidStore) -> None:
    manage, search = tools(store)
    manage.invoke({"content": "The PIN is 4711", "action": "create"}, config("ada"))
    assert found(search, "the PIN", "bob") == []
    assert found(search, "the PIN", "ada") == ["The PIN is 4711"]


async def test_async_is_the_same(store: MemvidStore) -> None:
    manage, search = tools(store)
    await manage.ainvoke({"content": "Ada drinks tea", "action": "create"}, config("ada"))
    told = json.loads(await search.ainvoke({"query": "tea"}, config("ada")))
    assert [item["value"]["content"] for item in told] == ["Ada drinks tea"]


def test_an_agent_uses_them_with_the_store_of_its_graph(store: MemvidStore) -> None:
    manage, search = create_manage_memory_tool(NAMESPACE), create_search_memory_tool(NAMESPACE)
    steps = [
        call("manage_memory", content="Ada drinks tea without milk", action="create"),
        call("search_memory", query="what does Ada drink?"),
        AIMessage("Tea."),
    ]
    agent = create_agent(ScriptedModel(script=steps), tools=[manage, search], store=store)
    said = agent.invoke({"messages": [HumanMessage("I drink tea without milk")]}, config("ada"))["messages"]
    told = [str(message.text) for message in said if isinstance(message, ToolMessage)]
    assert told[0].startswith("created memory")
    assert "Ada drinks tea without milk" in told[1]
    assert [item.namespace for item in store.search(())] == [("memories", "ada")]
