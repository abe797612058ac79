"""Processes that read, decide and write at once, each with parts of its own on one path: nothing is lost or doubled."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidSaver, MemvidStore
from tests.langchain_memvid.fakes import AGENTS
from tests.processes import start

WORK = textwrap.dedent(
    """
    import sys
    from langchain_memvid import MemvidVectorStore
    from langchain_memvid.agents import MemvidSaver, MemvidStore, create_memory_tools
    from langgraph.checkpoint.base import empty_checkpoint

    path, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with MemvidSaver(path) as saver, MemvidStore(path) as store, MemvidVectorStore(path=path) as documents:
        save, *_ = create_memory_tools(documents.memory, scope={"user": "ada"})
        for i in range(rounds):
            store.put(("own",), f"{me}-{i}", {"text": f"fact {i}"}, ttl=5)
            store.put(("same",), "key", {"text": f"{me} {i}"})
            config = {"configurable": {"thread_id": me, "checkpoint_ns": ""}}
            saver.put_writes(saver.put(config, empty_checkpoint(), {}, {}), [("a", i)], "task")
            saver.prune([me])
            documents.add_texts([f"text {i}"], [{"round": i}], ids=[f"text-{me}-{i}"])
            documents.delete(filter=lambda document: document.metadata.get("round") == i - 2)
            save.invoke({"text": f"note {i}"})
    """
)


def test_processes_at_once_lose_nothing(tmp_path: Path, effort: Callable[[int], int]) -> None:
    path, rounds = tmp_path / "all.mp4", effort(6)
    running = [start(WORK, path, number, rounds, modules=AGENTS) for number in range(2)]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    with MemvidSaver(path) as saver, MemvidStore(path) as store, MemvidVectorStore(path=path) as documents:
        assert len(store.search(("own",), limit=1000)) == 2 * rounds
        assert len(store.search(("same",))) == 1
        states = list(saver.list(None))
        assert sorted(len(state.pending_writes or []) for state in states) == [1, 1]
        assert sum(name.startswith("note-") for name in documents.store) == rounds
        kept = [name for name in documents.store if name.startswith("text-")]
        assert len([name for name in kept if int(name.rsplit("-", 1)[1]) >= rounds - 2]) == 4
        assert documents.memory.verify().damage == ()
