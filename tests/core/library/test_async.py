"""The async methods of a library: one for each method that waits, with its parameters, its answers and its errors."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memvid_core import ClosedError, Library, Record
from tests.core.embedders import embed
from tests.core.library.libraries import plain, records

AT_ONCE = ("explain_shards", "shards")  # they read the manifest, which is open


def test_every_method_that_waits_has_a_twin_with_its_parameters() -> None:
    public = {
        name: method
        for name, method in inspect.getmembers(Library, callable)
        if not name.startswith("_") and not inspect.iscoroutinefunction(method)
    }
    for name, method in public.items():
        if name in AT_ONCE:
            continue
        twin = getattr(Library, f"a{name}")
        assert inspect.iscoroutinefunction(twin)
        told = [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]
        assert [(one.name, one.kind, one.default) for one in inspect.signature(twin).parameters.values()] == told


class Awaited:
    """An embedder with an async method of its own."""

    name, dimension = "callable:embed", 16

    def __init__(self) -> None:
        self.awaited = 0

    def embed_documents(self, texts: list[str]) -> Any:
        return embed(texts)

    def embed_query(self, text: str) -> Any:
        return embed([text])[0]

    async def aembed_documents(self, texts: list[str]) -> Any:
        return embed(texts)

    async def aembed_query(self, text: str) -> Any:
        self.awaited += 1
        await asyncio.sleep(0)
        return embed([text])[0]


async def test_they_do_the_same(tmp_path: Path) -> None:
    some = records(30)
    async with await Library.acreate(tmp_path / "library", embed, partition_by=["topic"]) as library:
        assert (await library.abuild(some, rows_per_shard=10)).shards == 3
        assert await library.aadd(["one", "two"], ids=["a", "b"]) == ["a", "b"]
        assert await library.adelete(["a"]) == 1
        assert plain(await library.asearch("wing heat", 9)) == plain(library.search("wing heat", 9))
        assert plain(await library.ammr("wing heat", 3)) == plain(library.mmr("wing heat", 3))
        assert await library.aget("b") == library.get("b")
        assert await library.aget(["r3", "b"]) == [some[3], library.get("b")]
        vectors = await library.aget_vectors(["r29", "b", "nobody", "r0"])
        assert list(vectors) == ["r29", "b", "r0"]
        assert all((vector == library.get_vectors(name)[name]).all() for name, vector in vectors.items())
        assert await library.aselect({"topic": "wing"}, limit=2) == library.select({"topic": "wing"}, limit=2)
        assert await library.aids(order_by="n", descending=True) == library.ids(order_by="n", descending=True)
        assert [record async for record in library] == list(library)
        assert (await library.acompact(keep_partitions=False)).written == 1
        assert (await library.avacuum(timedelta(0))).versions == 3
        assert (await library.ainfo(), await library.ahistory()) == (library.info(), library.history())
        assert (await library.averify()).ok
        changes = await asyncio.gather(*(library.aadd([f"text {n}"], ids=f"n{n}") for n in range(3)))
        assert changes == [["n0"], ["n1"], ["n2"]]
        async with await Library.aopen(library.path, "r", embedder=embed) as other:
            await library.adelete(["n0"])
            assert await other.arefresh() == library.version
            assert len(other) == len(library)
    with pytest.raises(ClosedError):
        await library.asearch("wing")


async def test_an_embedder_is_awaited(tmp_path: Path) -> None:
    embedder = Awaited()
    async with await Library.acreate(tmp_path / "library", embedder) as library:
        await library.abuild([Record("a", "the wing lifts"), Record("b", "the engine hums")])
        assert plain(await library.asearch("wing lifts", 2)) == plain(library.search("wing lifts", 2))
        assert embedder.awaited == 1
