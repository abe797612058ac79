"""Isolation through every door: the command, MCP, Claude's memory tool, the loop, LangChain, LangGraph and LlamaIndex.

The machine of ``tests.scopes`` with a file, on which the doors work in turns with the service.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.llms import ChatMessage
from mcp import Client

from langchain_memvid.agents import MemvidMiddleware, MemvidStore, create_memory_tools
from llama_index_memvid import MemvidMemoryBlock
from memvid_core import Memory, MemoryLoop
from memvid_core.serving import mcp_server
from tests.core.cli.running import memvid
from tests.langchain_memvid.agents.fakes import ScriptedModel, call
from tests.scopes import KINDS, OWNERS, Scopes, owners, secret, settings, words

ASKED = "Which secret tea of Berlin?"
commands = st.sampled_from(["add", "recall", "list", "stats", "history", "forget", "export"])
tools = st.sampled_from(["remember", "save_memories", "recall", "search_memory", "list_memories", "history", "forget"])


def options_of(owner: dict[str, Any]) -> list[str]:
    return [part for name, value in owner.items() for part in (f"--{name.removesuffix('_id')}", value)]


def MemvidMemoryTool(memory: Memory, scope: dict[str, Any]) -> Any:
    """Claude's memory tool, whose SDK takes a second to import."""
    from memvid_core.serving import MemvidMemoryTool

    return MemvidMemoryTool(memory, scope)


class Doors(Scopes):
    """The machine with every other way into a memory."""

    def made(self, folder: Path) -> Memory:
        return Memory.create(folder / "agent.mp4")

    def any_id(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(self.memory.ids() or ["none"])))  # in the order added: ids are random

    @rule(owner=owners, word=words, command=commands, data=st.data())
    def use_the_command(self, owner: dict[str, Any], word: str, command: str, data: Any) -> None:
        name, out = self.any_id(data), self.folder / f"out-{OWNERS.index(owner)}"
        of_command: dict[str, list[object]] = {
            "add": ["--text", f"I like {word}. I like {secret(owner)}."],
            "recall": [ASKED],
            "list": ["--kind", data.draw(st.sampled_from(["items", "categories", "resources", "turns"]))],
            "history": [name],
            "forget": [name],
            "export": [out, "--force"],
        }
        given = of_command.get(command, [])
        form = data.draw(st.sampled_from([["--json"], []]))
        with self.alone(owner):
            done = memvid("memory", command, self.folder / "agent.mp4", *given, *options_of(owner), *form)
        self.seen_by(owner, done.out + done.err, name)
        if command == "stats":
            counted = self.counts(owner)
            told = memvid("memory", "stats", self.folder / "agent.mp4", *options_of(owner), "--json").json
            assert {kind: told[f"{kind[:-1]}ies" if kind == "category" else f"{kind}s"] for kind in KINDS} == counted
        for path in out.glob("*") if out.is_dir() else ():
            self.seen_by(owner, path.read_text(encoding="utf-8"))

    @rule(owner=owners, word=words, tool=tools, data=st.data())
    def call_a_tool_of_mcp(self, owner: dict[str, Any], word: str, tool: str, data: Any) -> None:
        name = self.any_id(data)
        of_tool: dict[str, dict[str, Any]] = {
            "remember": {"text": f"I like {word}. I like {secret(owner)}."},
            "save_memories": {"texts": [f"{word} {secret(owner)}"]},
            "recall": {"question": ASKED},
            "search_memory": {"query": f"{word} secret", "k": 20},
            "list_memories": {},
            "history": {"id": name},
            "forget": {"ids": [name]},
        }
        given = of_tool[tool]

        async def talk() -> list[Any]:
            server = mcp_server(self.memory, scope=owner)
            async with Client(server) as client:
                told = [await client.call_tool(tool, given), await client.read_resource("memory://info")]
                return [*told, server.instructions, await client.call_tool("get_memories", {"ids": [name]})]

        with self.alone(owner):
            told = self.loop.run_until_complete(talk())
        self.seen_by(owner, told, name)
        assert not {"commits", "modified", "damaged_records"} & set(json.loads(told[1].contents[0].text)[0])

    @rule(owner=owners, word=words)
    def use_claude_s_tool(self, owner: dict[str, Any], word: str) -> None:
        tool, path = MemvidMemoryTool(self.memory, owner), f"/memories/{word}.md"
        with self.alone(owner):
            told = [tool.call({"command": "view", "path": "/memories"})]
            if path in told[0]:  # from an earlier step
                told += [tool.call({"command": "delete", "path": path})]
            told += [tool.call({"command": "create", "path": path, "file_text": f"{word} {secret(owner)}"})]
            told += [tool.call({"command": "view", "path": each}) for each in ("/memories", path)]
        self.seen_by(owner, told)

    @rule(owner=owners, word=words)
    def talk_in_a_loop(self, owner: dict[str, Any], word: str) -> None:
        with self.alone(owner), MemoryLoop(self.memory, owner, session="loop", patience=60) as loop:
            self.seen_by(owner, loop.recall(ASKED))
            loop.record([("user", f"I like {word}. {secret(owner)}"), ("assistant", secret(owner))])
            self.seen_by(owner, loop.flush())

    @rule(owner=owners, word=words, inject=st.sampled_from(["system", "message"]), data=st.data())
    def talk_with_an_agent_of_langchain(self, owner: dict[str, Any], word: str, inject: Any, data: Any) -> None:
        name = self.any_id(data)
        steps = [
            call("save_memory", text=f"{word} {secret(owner)}"),
            call("search_memory", query=f"{word} secret", k=20),
            call("forget_memory", id=name),
            AIMessage(f"Noted: {secret(owner)}"),
        ]
        model = ScriptedModel(script=steps)
        middleware = MemvidMiddleware(self.memory, scope=owner, inject=inject, k=20)
        agent = create_agent(model, create_memory_tools(self.memory, scope=owner), middleware=[middleware])
        with self.alone(owner):
            told = agent.invoke({"messages": [HumanMessage(f"{ASKED} I like {word}. {secret(owner)}")]})
        self.seen_by(owner, [model.seen, told], name)

    @rule(owner=owners, word=words, across=st.booleans())
    def talk_with_llama_index(self, owner: dict[str, Any], word: str, across: bool) -> None:
        block = MemvidMemoryBlock(memory=self.memory, scope=owner, across_sessions=across)

        async def talk() -> str:
            said = [ChatMessage(f"I like {word}. {secret(owner)}"), ChatMessage(secret(owner), role="assistant")]
            await block.aput(said, session_id="llama")
            return str(await block.aget([ChatMessage(ASKED)], session_id="llama"))

        with self.alone(owner):
            self.seen_by(owner, self.loop.run_until_complete(talk()))

    @rule(owner=owners, word=words)
    def use_the_store_of_langgraph(self, owner: dict[str, Any], word: str) -> None:
        """Its items belong to namespaces: of the same memory, it shows nothing else, and nothing else shows them."""
        kept = secret(owner).replace("secret", "kept")
        with self.alone(owner):
            store = MemvidStore(memory=self.memory)
            store.put(("users", str(OWNERS.index(owner))), word, {"text": f"{word} {kept}"})
            found = store.search(("users", str(OWNERS.index(owner))), query=f"secret kept {word}", limit=20)
        assert {item.value["text"].partition(" ")[2] for item in found} == {kept}
        assert all(kept not in self.service.recall(f"kept {word}", **each).text for each in OWNERS)


Doors.TestCase.settings = settings(examples=6, steps=12)
TestDoors = Doors.TestCase
