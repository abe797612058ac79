"""Processes that are forked while another thread of their parent writes: they open the memory as any other process."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.embedders import embed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

FORKS = 12
SECONDS = 30  # SQLite waits longer for a transaction that never ends


def write_in_child(path: Path, name: str) -> int:
    """Add a record in a fork of this process; return the fork."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        try:
            with Memory.open(path, "a", embedder=embed) as memory:
                memory.add([f"text {name}"], ids=[name])
                found = memory.search(f"text {name}", k=1, mode="lexical")[0].id
            os._exit(0 if found == name else 1)
        finally:
            os._exit(2)
    return child


def test_a_process_that_is_forked_in_the_middle_of_a_commit_writes_at_once(tmp_path: Path) -> None:
    path, end, written = tmp_path / "m.mp4", threading.Event(), list[str]()
    with Memory.create(path, embed) as memory:
        memory.add(["text first"], ids=["first"])
        memory.search("text", mode="lexical")

        def write() -> None:
            while not end.is_set():
                written.extend(memory.add([f"text {len(written)}"], ids=[f"own {len(written)}"]))

        writer = threading.Thread(target=write)
        writer.start()
        codes = [os.waitpid(write_in_child(path, f"fork {n}"), 0)[1] for n in range(FORKS)]
        end.set()
        writer.join()
        assert codes == [0] * FORKS
        assert set(memory.ids()) == {"first", *written, *(f"fork {n}" for n in range(FORKS))}


def test_a_process_that_is_forked_by_the_thread_that_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        with memory.exclusive():
            memory.add(["text first"], ids=["first"])
            child = write_in_child(path, "fork")  # it waits
            memory.add(["text second"], ids=["second"])
        assert os.waitpid(child, 0)[1] == 0
        assert memory.ids() == ["first", "second", "fork"]
