"""The clients of LangChain and LlamaIndex drive ``memvid mcp``, each in an environment of its own over its own SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.cli.running import memvid
from tests.core.serving.running import ENVIRONMENT, http_server
from tests.other_packages import folder_with

pytestmark = pytest.mark.long

CALLS = """
import gc
gc.disable()  # a fifth of the time in which the frameworks are imported
import asyncio, json, sys
server, url = json.loads(sys.argv[1]), sys.argv[2]

def said(answer):
    return answer if isinstance(answer, str) else json.dumps(answer, default=str)

async def driven(tools, call):
    names = sorted(tools)
    saved = said(await call(tools["save_memories"], texts=["the tail steers"], metadata={"page": 3}))
    found = said(await call(tools["search_memory"], query="what steers", k=1, where={"page": {"$gte": 2}}))
    return {"names": names, "saved": saved, "found": found}
"""
LANGCHAIN = """
from langchain.mcp import MCPAdapter

async def each(target):
    async with MCPAdapter(target) as adapter:
        tools = {tool.name: tool for tool in await adapter.list_tools()}
        return await driven(tools, lambda tool, **given: tool.ainvoke(given))

async def main():
    config = {"mcpServers": {"notes": {"transport": "stdio", **server}}}
    return [await each(config), await each(url)]
"""
ADAPTERS = """
from langchain_mcp_adapters.client import MultiServerMCPClient

async def each(server):
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"notes": server}).get_tools()}
    return await driven(tools, lambda tool, **given: tool.ainvoke(given))

async def main():
    return [await each({"transport": "stdio", **server}), await each({"transport": "streamable_http", "url": url})]
"""
LLAMA_INDEX = """
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

async def each(client):
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}
    async def call(tool, **given):
        return str(await tool.acall(**given))
    return await driven(tools, call)

async def main():
    stdio = BasicMCPClient(server["command"], args=server["args"], env=server["env"], timeout=120)
    return [await each(stdio), await each(BasicMCPClient(url, timeout=120))]
"""
END = "\nprint('ANSWERS', json.dumps(asyncio.run(main())))\n"


@pytest.mark.parametrize(
    ("packages", "client"),
    [
        (("fastmcp-slim[client]",), LANGCHAIN),
        (("langchain-mcp-adapters",), ADAPTERS),
        (("llama-index-tools-mcp",), LLAMA_INDEX),
    ],
    ids=["langchain.mcp", "langchain-mcp-adapters", "llama-index-tools-mcp"],
)
def test_a_framework_saves_and_finds_over_both_transports(
    packages: tuple[str, ...], client: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes.mp4"
    with Memory.create(path) as memory:
        memory.add(["the wing lifts", "the engine hums"], [{"page": 1}, {"page": 2}], ids=["wing", "engine"])
    server = next(iter(json.loads(memvid("mcp", path, "--print-config").out)["mcpServers"].values()))
    server["env"] = ENVIRONMENT
    environment = {**os.environ, "PYTHONPATH": str(folder_with(*packages)), "PYTHONUTF8": "1"}
    with http_server(path, "--http", "0") as (url, _):
        done = subprocess.run(
            [sys.executable, "-c", CALLS + client + END, json.dumps(server), url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-5000:]
    answers = json.loads(done.stdout.rpartition("ANSWERS ")[2])
    assert len(answers) == 2
    for answer in answers:
        assert {"search_memory", "save_memories", "list_memories", "forget_memories"} <= set(answer["names"])
        assert "Saved as [note-" in answer["saved"]
        assert "the tail steers" in answer["found"]
    with Memory.open(path) as memory:
        assert [record.text for record in memory].count("the tail steers") == 1  # the same note, saved twice
