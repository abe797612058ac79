"""Tasks that are canceled, or left behind by an event loop that was closed, keep nothing: no lock, no open file."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from langchain_memvid import MemvidVectorStore
from llama_index_memvid import MemvidVectorStore as LlamaStore
from memvid_core import ClosedError, Library, Memory, WriterThread
from tests.core.cli.running import process
from tests.core.embedders import embed


def _abandon(work: Callable[[], Awaitable[object]], ready: threading.Event) -> None:
    """Run a task until it is ready, and close its event loop without canceling it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!"

    async def until_ready() -> None:
        task = asyncio.ensure_future(work())
        while not ready.is_set():
            await asyncio.sleep(0.001)
        del task

    loop.run_until_complete(until_ready())
    loop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("waiting", [False, True], ids=["holding", "waiting"])
def test_a_task_of_a_closed_event_loop_gives_the_right_to_write_back(tmp_path: Path, waiting: bool) -> None:
    with Memory.create(tmp_path / "m.mp4", embed, timeout=20) as memory:
        ready, held, free = (threading.Event() for _ in range(3))

        async def hold() -> None:
            cycle: list[Any] = []  # so that the garbage collector finds the task, in an order of its own
            cycle.append(cycle)
            if waiting:
                ready.set()
            async with memory.aexclusive():
                await memory.aadd("inside", ids="inside")
                ready.set()
                await asyncio.Event().wait()

        def other() -> None:
            with memory.exclusive():
                held.set()
                free.wait()

        thread = threading.Thread(target=other)
        if waiting:
            thread.start()
            held.wait()
        _abandon(hold, ready)
        gc.collect()
        if waiting:
            free.set()
            thread.join()
        memory.add("after", ids="after")
        assert memory.ids() == (["after"] if waiting else ["inside", "after"])


def test_a_task_that_its_closed_event_loop_keeps_gives_the_right_to_write_back(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", embed, timeout=20) as memory:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        block = memory.aexclusive()
        loop.run_until_complete(block.__aenter__())
        loop.close()  # the block is still referenced, and so never deleted
        memory.add("after", ids="after")
        assert memory.ids() == ["after"]
        del block


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_waiting_task_that_its_closed_event_loop_keeps_does_not_stop_another_process(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        held, free = threading.Event(), threading.Event()

        def other() -> None:
            with memory.exclusive():
                held.set()
                free.wait()

        thread = threading.Thread(target=other)
        thread.start()
        held.wait()
        loop = asyncio.new_event_loop()
        block = memory.aexclusive()
        task = loop.create_task(block.__aenter__())
        loop.run_until_complete(asyncio.sleep(0))  # it waits for the other thread
        loop.close()
        free.set()
        thread.join()
        added = process("add", path, "--text", "after", "--timeout", "20")
        assert (added.code, len(memory)) == (0, 1)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task, block


def test_calls_beside_closing_a_writer_thread_are_all_made() -> None:
    thread, ends = WriterThread(), threading.Event()

    def close() -> None:
        while not ends.is_set():
            thread.close()

    closing = threading.Thread(target=close)
    closing.start()
    try:
        assert [thread.submit(lambda number=n: number).result() for n in range(2000)] == list(range(2000))  # type: ignore[misc]
    finally:
        ends.set()
        closing.join()


@pytest.mark.parametrize("kind", ["memory", "library", "langchain", "llama_index"])
async def test_a_canceled_aclose_closes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.mp4"
    Memory.create(path, embed).close()
    held: Any
    match kind:
        case "memory":
            held = Memory.open(path, "a", embedder=embed)
        case "library":
            held = Library.create(tmp_path / "library", embedder=embed)
        case "langchain":
            held = MemvidVectorStore(path=path, embedding=embed)
        case _:
            held = LlamaStore(path, embedder=embed)
    closed = held if kind in ("memory", "library") else held.memory
    begun, go_on = threading.Event(), threading.Event()
    thread = closed._session._thread if kind == "memory" else held._thread

    def change() -> None:
        begun.set()
        go_on.wait()

    changed = thread.submit(change)
    begun.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(held.aclose(), 0.01)
    go_on.set()
    changed.result()
    await held.aclose()  # after the first one
    with pytest.raises(ClosedError):
        closed.ids()
