"""The async methods of a memory: the same parameters as the sync ones, embedders awaited, the right to write held."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import LockedError, Memory, QueryError, RecordNotFoundError
from tests.core.embedders import DIMENSION, embed

_SYNC_ONLY = {"default_mode", "embedder", "path"}  # what is known without a look at a disk


def _public(prefix: str = "") -> dict[str, Any]:
    return {name: getattr(Memory, name) for name in dir(Memory) if not name.startswith("_")}


def _is_async(function: Any) -> bool:
    plain = inspect.unwrap(function)
    return inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)


def test_every_public_method_has_an_async_twin_with_its_parameters() -> None:
    methods = _public()
    twins = {name for name, method in methods.items() if _is_async(method)}
    plain = set(methods) - twins - _SYNC_ONLY
    assert {f"a{name}" for name in plain} == twins
    for name in plain:
        mine, its = (inspect.signature(methods[which]) for which in (name, f"a{name}"))
        assert mine.parameters == its.parameters, name
        assert all(one.kind is not one.VAR_KEYWORD for one in its.parameters.values()), name


class Awaited:
    """An embedder that only its async methods serve, and that says when it is at work."""

    name, dimension = "awaited", DIMENSION

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    def embed_documents(self, texts: Sequence[str]) -> Any:
        raise AssertionError("a sync method was called in an async program")

    embed_query = embed_documents

    async def aembed_documents(self, texts: Sequence[str]) -> Any:
        self.calls += texts
        self.asked.set()
        await self.gate.wait()
        return np.array(embed(list(texts)), np.float32)

    async def aembed_query(self, text: str) -> Any:
        self.calls.append(text)
        return list(embed([text])[0])


async def test_an_embedder_is_awaited_once_for_each_call() -> None:
    made = Awaited()
    async with await Memory.acreate(":memory:", made) as memory:
        await memory.aadd(["one", "two"], ids=["1", "2"])
        await memory.aupdate("2", text="three")
        await memory.aupdate("2", metadata={"page": 1})
        assert made.calls == ["one", "two", "three"]
        assert (await memory.asearch("three", k=1))[0].id == "2"
        assert (await memory.ammr("three", k=1))[0].id == "2"
        assert [hits[0].id for hits in await memory.asearch_many(["one", "three"], 1)] == ["1", "2"]
        assert made.calls[3:] == ["three", "three", "one", "three"]
        await memory.asearch("three", mode="lexical")
        await memory.asearch("three", embedding=embed(["one"])[0])
        assert len(made.calls) == 7
        with pytest.raises(RecordNotFoundError):
            await memory.aupdate("3", text="for nothing")
        with pytest.raises(QueryError, match="mode is"):
            await memory.asearch("three", mode="dens")  # type: ignore[arg-type]
        assert len(made.calls) == 7


async def test_others_write_while_an_update_embeds(tmp_path: Path) -> None:
    made = Awaited()
    async with await Memory.acreate(tmp_path / "m.mp4", made, timeout=0) as memory:
        await memory.aadd(["one", "two"], ids=["1", "2"])
        made.gate.clear()
        made.asked.clear()
        updating = asyncio.create_task(memory.aupdate("1", text="new"))
        await made.asked.wait()
        with Memory.open(memory.path, "a", embedder="given", timeout=0) as other:
            other.add("three", {"by": "other"}, "3", vectors=[[1.0] * DIMENSION])
            other.update("1", metadata={"page": 1})
        made.gate.set()
        await updating
        assert (await memory.aget("1")).text == "new"
        assert (await memory.aget("1")).metadata == {"page": 1}  # what the other wrote meanwhile
        made.gate.clear()
        made.asked.clear()
        updating = asyncio.create_task(memory.aupdate("1", text="newer"))
        await made.asked.wait()
        await memory.adelete("1")
        made.gate.set()
        with pytest.raises(RecordNotFoundError):
            await updating
        assert await memory.aids() == ["2", "3"]


def test_threads_write_while_an_update_embeds(tmp_path: Path) -> None:
    asked, go = threading.Event(), threading.Event()

    class Slow:
        name, dimension = "slow", DIMENSION

        def embed_documents(self, texts: Sequence[str]) -> Any:
            if "new" in texts:
                asked.set()
                assert go.wait(30)
            return np.array(embed(list(texts)), np.float32)

    slow: Any = Slow()
    with Memory.create(tmp_path / "m.mp4", slow.embed_documents, timeout=0) as memory:
        memory.add(["one"], ids=["1"])
        thread = threading.Thread(target=lambda: memory.update("1", text="new"))
        thread.start()
        assert asked.wait(30)
        memory.add("two", ids="2")
        go.set()
        thread.join()
        assert [record.text for record in memory] == ["two", "new"]


async def test_other_tasks_wait_while_one_holds_the_right_to_write(tmp_path: Path) -> None:
    async with await Memory.acreate(tmp_path / "m.mp4", embed) as memory:
        done: list[str] = []

        async def add(record_id: str) -> None:
            await memory.aadd(record_id, ids=record_id)
            done.append(record_id)

        outside = asyncio.Event()

        async def later() -> None:
            outside.set()
            await add("outside")

        waiting = asyncio.create_task(later())  # made before the block: it has no part in it
        async with memory.aexclusive() as same:
            assert same is memory
            await outside.wait()
            await asyncio.gather(add("a"), asyncio.create_task(add("b")))  # made inside: it has
            async with memory.aexclusive():
                await memory.aupdate("a", text="changed")
            await memory.adelete("b")
            assert "outside" not in done
            assert await memory.aids() == ["a"]
        await waiting
        assert await memory.aids() == ["a", "outside"]


async def test_the_right_to_write_is_given_back_by_an_error_a_timeout_and_a_cancellation(tmp_path: Path) -> None:
    async with await Memory.acreate(tmp_path / "m.mp4", embed) as memory:
        with pytest.raises(ZeroDivisionError):
            async with memory.aexclusive():
                raise ZeroDivisionError
        inside = asyncio.Event()

        async def hold() -> None:
            async with memory.aexclusive():
                inside.set()
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold())
        await inside.wait()
        with pytest.raises(LockedError):
            async with memory.aexclusive(timeout=0):
                raise AssertionError("two tasks hold it")
        waiting = asyncio.create_task(hold())
        inside.clear()
        await asyncio.sleep(0)  # it asks its thread
        for task in (waiting, holding):  # the first does not wait for the turn that it will not use
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 15)
        await memory.aadd("free again")
        with memory.exclusive(timeout=30):
            pass


async def test_tasks_commit_while_one_compacts_and_all_records_are_read(tmp_path: Path) -> None:
    async with await Memory.acreate(tmp_path / "m.mp4", embed) as memory:
        for start in range(0, 600, 100):
            await memory.aadd([f"text {i}" for i in range(start, start + 100)])
        await memory.adelete(where={"$id": {"$in": (await memory.aids())[:300]}})
        await asyncio.gather(memory.acompact(), *(memory.aadd(f"beside {i}") for i in range(20)))
        texts = [record.text async for record in memory]
        assert texts[:300] == [f"text {i}" for i in range(300, 600)]
        assert sorted(texts[300:]) == sorted(f"beside {i}" for i in range(20))
        assert (await memory.averify()).ok
        await memory.asave(tmp_path / "copy.mp4")
        assert (await memory.ainfo()).records == 320
        assert (await memory.ahistory())[-1].number == (await memory.ainfo()).commits
        assert len(await memory.aselect(limit=5)) == 5
        assert await memory.aclear() == 320
