"""Forgotten and not yet compacted: no way into a memory returns it, in this process or in another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.llms import ChatMessage
from llama_index.core.vector_stores import VectorStoreQuery
from mcp import Client

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidMiddleware, create_memory_tools
from llama_index_memvid import MemvidMemoryBlock
from llama_index_memvid import MemvidVectorStore as NodeStore
from memvid_core import Library, Memory, MemoryLoop, Record, serving
from memvid_core.agent import SyncMemoryService
from tests.core.cli.running import memvid
from tests.langchain_memvid.agents.fakes import ScriptedModel, call
from tests.processes import run

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


def test_no_door_of_a_library_returns_what_another_process_deleted(tmp_path: Path) -> None:
    path = f"{tmp_path}/books/"
    with Library.create(path) as library:
        library.add([f"I live in {SECRET}.", "I like tea."], ids=["secret", "tea"])
    query = VectorStoreQuery(query_str=SECRET, similarity_top_k=5)
    with MemvidVectorStore(path=path) as store, Library.open(path) as served:
        nodes, server = NodeStore(path), serving.mcp_server(served)

        async def by_the_server() -> list[Any]:
            async with Client(server) as client:
                found = await client.call_tool("search_memory", {"query": SECRET, "k": 5})
            return [found, await store.asimilarity_search(SECRET, k=5), await store.aget_by_ids(["secret", "tea"])]

        doors = [
            lambda: store.similarity_search(SECRET, k=5),
            lambda: store.similarity_search("", k=5),
            lambda: store.as_retriever(search_type="mmr").invoke(SECRET),
            lambda: store.get_by_ids(["secret", "tea"]),
            lambda: [store.store[name] for name in store.store],
            lambda: nodes.query(query).nodes,
            lambda: asyncio.run(nodes.aquery(query)).nodes,
            lambda: nodes.get_nodes(["secret", "tea"]),
            lambda: asyncio.run(by_the_server()),
        ]
        for door in doors:
            assert SECRET in str(door())
        done = run(
            "import sys\nfrom memvid_core import Library\nwith Library.open(sys.argv[1]) as library:\n"
            "    library.delete(['secret'])",
            path,
        )
        assert done.returncode == 0, done.stderr
        for number, door in enumerate(doors):
            told = str(door())
            assert SECRET not in told, number
            assert "tea" in told
        store.add_texts([f"Again {SECRET}."], ids=["again"])
        nodes.close()
        with Library.open(path) as library:
            library.add(["To go."], [{"gone": True}], ids=["later"])
        store.delete(filter=lambda document: bool(document.metadata.get("gone")))
        with Library.open(path) as library:
            assert sorted(library.ids()) == ["again", "tea"]
            assert library.get("again") == Record("again", f"Again {SECRET}.", {})
