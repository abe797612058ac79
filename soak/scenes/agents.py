"""A LangGraph store and a checkpointer over one file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint

from langchain_memvid.agents import MemvidSaver, MemvidStore
from memvid_core import Memory
from soak.ledger import Ledger
from soak.log import Log, Tail
from soak.model import check
from soak.scenes.core import quietly, write_in_pieces

__all__ = ["Agents"]


class Agents:
    """Give each writer a namespace of items and a thread of checkpoints."""

    moment = 0.06

    def __init__(self, rng: random.Random) -> None:
        self.ledger = Ledger()
        self.torn = 0

    def prepare(self, folder: Path) -> None:
        """Make the memory."""
        MemvidStore(folder / "m.mp4").close()

    def write(self, folder: Path, log: Path, writer: int, seed: int) -> None:
        """Put and delete items, put checkpoints and writes, without end."""
        rng, notes, number = random.Random(seed), Log(log), 0
        if rng.random() < 0.4:
            write_in_pieces()
        memory = quietly(folder / "m.mp4", "a", None)
        store, saver = MemvidStore(memory=memory), MemvidSaver(memory=memory)
        while True:
            number += 1
            kind, name, version = rng.random(), f"k{rng.randrange(20)}", rng.randrange(1, 1 << 40)
            if kind < 0.5:
                notes.write("begin", writer, number, "private", {f"{writer}/{name}": version}, [])
                store.put((f"w{writer}",), name, {"version": version, "text": f"value {version}"})
            elif kind < 0.65:
                notes.write("begin", writer, number, "private", {}, [f"{writer}/{name}"])
                store.delete((f"w{writer}",), name)
            elif kind < 0.95:
                notes.write("begin", writer, number, "private", {f"{writer}/thread": version}, [])
                checkpoint = {**empty_checkpoint(), "id": f"{_next(saver, writer):08}"}
                checkpoint["channel_values"] = {"x": version}
                checkpoint["channel_versions"] = {"x": str(version)}
                config = {"configurable": {"thread_id": f"t{writer}", "checkpoint_ns": ""}}
                saver.put(config, checkpoint, {"step": number}, {"x": str(version)})  # type: ignore[arg-type]
            else:
                notes.write("begin", writer, number, "keep", {}, [])
                memory.compact()
            notes.write("done", writer, number)

    def compare(self, folder: Path, log: Path, turn: int) -> int:
        """Read every item and the newest checkpoint of each thread."""
        before = self.ledger.acknowledged
        self.ledger.take(Tail(log).read())
        with quietly(folder / "m.mp4", "r", None) as memory:
            self.torn += (report := memory.verify()).torn_bytes > 0
            check(not report.damage, f"{report}")
            self.ledger.compare(_contents(memory))
        with quietly(folder / "m.mp4", "a", None) as memory:
            MemvidStore(memory=memory).put(("after",), "k", {"version": turn})
            check(memory.verify().ok, f"{memory.verify()}")
        return self.ledger.acknowledged - before


def _thread(saver: MemvidSaver, writer: int) -> Any:
    return saver.get_tuple({"configurable": {"thread_id": f"t{writer}", "checkpoint_ns": ""}})


def _next(saver: MemvidSaver, writer: int) -> int:
    found = _thread(saver, writer)
    return 1 if found is None else int(found.checkpoint["id"]) + 1


def _contents(memory: Memory) -> dict[str, int]:
    store, saver = MemvidStore(memory=memory), MemvidSaver(memory=memory)
    found: dict[str, int] = {}
    for writer in range(4):
        for item in store.search((f"w{writer}",), limit=100):
            check(item.value["text"] == f"value {item.value['version']}", f"{item}")
            found[f"{writer}/{item.key}"] = item.value["version"]
        thread = _thread(saver, writer)
        if thread is not None:
            found[f"{writer}/thread"] = thread.checkpoint["channel_values"]["x"]
    return found
