"""Forgotten and not yet compacted: no way into a memory returns it, in this process or in another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.llms import ChatMessage
from mcp import Client

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidMiddleware, create_memory_tools
from llama_index_memvid import MemvidMemoryBlock
from memvid_core import Memory, MemoryLoop, serving
from memvid_core.agent import SyncMemoryService
from tests.core.cli.running import memvid
from tests.langchain_memvid.agents.fakes import ScriptedModel, call

ME: dict[str, Any] = {"user_id": "me"}
SECRET, ASKED = "Xanadupolis", "Where is Xanadu, and where do I live?"


def by_the_command(memory: Memory, path: Path) -> object:
    asked: list[list[Any]] = [["recall", path, ASKED]]
    asked += [["list", path, "--kind", kind] for kind in ("items", "categories", "turns")]
    done = [memvid("memory", *each, "--user", "me", *form) for each in asked for form in (["--json"], [])]
    plain = [memvid("search", path, ASKED, "-k", "20"), memvid("info", path)]
    return [each.out + each.err for each in (*done, *plain)]


def by_mcp(memory: Memory, path: Path) -> object:
    async def talk() -> list[Any]:
        async with Client(serving.mcp_server(memory, scope=ME)) as client:
            asked: dict[str, dict[str, Any]] = {
                "recall": {"question": ASKED},
                "search_memory": {"query": ASKED, "k": 20},
                "list_memories": {},
            }
            return [await client.call_tool(name, given) for name, given in asked.items()]

    return asyncio.run(talk())


def by_an_agent_of_langchain(memory: Memory, path: Path) -> object:
    model = ScriptedModel(script=[call("search_memory", query=ASKED, k=20), AIMessage("I see.")])
    tools = create_memory_tools(memory, scope=ME)
    agent = create_agent(model, tools, middleware=[MemvidMiddleware(memory, scope=ME, k=20, record=False)])
    return [agent.invoke({"messages": [HumanMessage(ASKED)]}), model.seen]


def by_a_vector_store(memory: Memory, path: Path) -> object:
    store = MemvidVectorStore(memory=memory)
    return [store.similarity_search(ASKED, k=20), store.as_retriever(search_kwargs={"k": 20}).invoke(ASKED)]


def by_llama_index(memory: Memory, path: Path) -> object:
    block = MemvidMemoryBlock(memory=memory, scope=ME)
    return asyncio.run(block.aget([ChatMessage(ASKED)]))


def by_claude_s_tool(memory: Memory, path: Path) -> object:
    tool = serving.MemvidMemoryTool(memory, ME)
    return [tool.call({"command": "view", "path": each}) for each in ("/memories", "/memories/towns.md")]


def by_the_loop(memory: Memory, path: Path) -> object:
    with MemoryLoop(memory, ME, patience=60) as loop:
        return loop.recall(ASKED)


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory):
    path = tmp_path_factory.mktemp("forgotten") / "memory.mp4"
    with Memory.create(path) as memory, Memory.open(path) as reader:
        service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        said = [service.add(f"I live in {SECRET}.", **ME), service.add("I like tea.", **ME)]
        serving.MemvidMemoryTool(memory, ME).call(
            {"command": "create", "path": "/memories/towns.md", "file_text": "Towns: 1\n"}
        )
        assert SECRET in str([door(reader, path) for door in (by_llama_index, by_a_vector_store)])
        service.forget(said[0].turns[0].id, **ME)
        yield memory, reader, path


@pytest.mark.parametrize(
    "door",
    [
        *(by_the_command, by_mcp, by_an_agent_of_langchain, by_a_vector_store, by_llama_index, by_claude_s_tool),
        by_the_loop,
    ],
)
def test_no_door_returns_what_was_forgotten(forgotten, door):
    memory, reader, path = forgotten
    told = str([door(each, path) for each in (memory, reader)] if door is not by_the_loop else door(memory, path))
    assert SECRET not in told
    assert "tea" in told or door is by_claude_s_tool
