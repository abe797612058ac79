"""An agent that remembers from process to process, from one file alone."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage

from langchain_memvid.agents import MemvidMiddleware, MemvidSaver, MemvidStore, create_memory_tools
from memvid_core import Memory
from tests.langchain_memvid.agents.fakes import ScriptedModel, call
from tests.langchain_memvid.fakes import AGENTS
from tests.processes import run

HEAD = """
import json, sys
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_memvid.agents import MemvidMiddleware, MemvidSaver, MemvidStore, create_memory_tools
from memvid_core import Memory
from tests.langchain_memvid.agents.fakes import ScriptedModel, call

def agent(memory, script, **options):
    return create_agent(
        ScriptedModel(script=script),
        tools=create_memory_tools(memory),
        checkpointer=MemvidSaver(memory=memory),
        store=MemvidStore(memory=memory),
        **options,
    )

def ask(text, thread):
    return {"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": thread}}
"""


def elsewhere(code: str, folder: Path) -> Any:
    """Run code in another process, which prints one JSON value."""
    done = run(HEAD + textwrap.dedent(code), cwd=folder, modules=AGENTS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_said_in_one_process_is_recalled_in_another(tmp_path: Path) -> None:
    script = [call("save_memory", text="The user's cat is called Miso."), AIMessage("I will remember that.")]
    monday: Any = {"configurable": {"thread_id": "monday"}}
    with Memory.create(tmp_path / "agent.mp4") as memory:
        agent = create_agent(
            ScriptedModel(script=script),
            tools=create_memory_tools(memory),
            checkpointer=MemvidSaver(memory=memory),
            store=MemvidStore(memory=memory),
        )
        agent.invoke({"messages": [HumanMessage("My cat is called Miso.")]}, monday)
    for entry in sorted((tmp_path / "agent.mp4.index").rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    answer, said = elsewhere(
        """
        def answer(messages):
            found = [message.text for message in messages if isinstance(message, ToolMessage)]
            return AIMessage("You told me: " + found[-1])

        with Memory.open("agent.mp4", "a") as memory:
            script = [call("search_memory", query="what is the name of the cat?"), answer]
            talker = agent(memory, script)
            result = talker.invoke(*ask("What is my cat called?", "tuesday"))
            monday = talker.get_state({"configurable": {"thread_id": "monday"}}).values["messages"]
            print(json.dumps([result["messages"][-1].text, [message.text for message in monday]]))
        """,
        tmp_path,
    )
    assert "The user's cat is called Miso." in answer
    assert said[0] == "My cat is called Miso."
    assert said[-1] == "I will remember that."


def test_the_middleware_alone_carries_a_fact_over(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "agent.mp4") as memory:
        echo = ScriptedModel(script=[lambda messages: AIMessage(messages[0].text)])
        agent = create_agent(echo, middleware=[MemvidMiddleware(memory)], checkpointer=MemvidSaver(memory=memory))
        said = agent.invoke(
            {"messages": [HumanMessage("My cat is called Miso.")]}, {"configurable": {"thread_id": "monday"}}
        )
        assert said["messages"][-1].text == "My cat is called Miso."  # it knows nothing yet, and repeats
    recalled = elsewhere(
        """
        with Memory.open("agent.mp4", "a") as memory:
            echo = [lambda messages: AIMessage(messages[0].text)]
            talker = agent(memory, echo, middleware=[MemvidMiddleware(memory)])
            print(json.dumps(talker.invoke(*ask("What is my cat called?", "tuesday"))["messages"][-1].text))
        """,
        tmp_path,
    )
    assert "user: My cat is called Miso." in recalled


async def test_an_agent_with_all_of_it_never_blocks_the_event_loop(tmp_path: Path) -> None:
    """Any file, socket, lock or database call made on the loop from our modules raises here."""
    script = [call("save_memory", text="Ada's cat is called Miso."), AIMessage("Noted."), AIMessage("Miso.")]
    thread: Any = {"configurable": {"thread_id": "monday"}}
    with Memory.create(tmp_path / "agent.mp4") as memory:
        store, saver = MemvidStore(memory=memory), MemvidSaver(memory=memory)
        agent = create_agent(
            ScriptedModel(script=script),
            tools=create_memory_tools(memory),
            middleware=[MemvidMiddleware(memory)],
            checkpointer=saver,
            store=store,
        )
        with blockbuster_ctx(["langchain_memvid", "memvid_core"]):
            await store.aput(("users",), "ada", {"text": "drinks tea"}, ttl=5)
            assert [item.key for item in await store.asearch((), query="tea")] == ["ada"]
            assert await store.asweep_ttl() == 0
            for question in ("My cat is called Miso.", "What is my cat called?"):
                result = await agent.ainvoke({"messages": [HumanMessage(question)]}, thread)
            assert result["messages"][-1].text == "Miso."
            assert [state async for state in agent.aget_state_history(thread)]
            await saver.aprune(["monday"])
            await saver.adelete_thread("monday")
