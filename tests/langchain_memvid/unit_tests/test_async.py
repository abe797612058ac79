"""The async methods await the embedder once and never block the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.documents import Document

from langchain_memvid import MemvidRetriever, MemvidVectorStore
from tests.langchain_memvid.fakes import COMPASS, CountedEmbeddings

SEARCHES: dict[str, Callable[[MemvidVectorStore], Any]] = {
    "asimilarity_search": lambda s: s.asimilarity_search("north"),
    "asimilarity_search_with_score": lambda s: s.asimilarity_search_with_score("north"),
    "asimilarity_search_with_relevance_scores": lambda s: s.asimilarity_search_with_relevance_scores("north"),
    "amax_marginal_relevance_search": lambda s: s.amax_marginal_relevance_search("north"),
    "amax_marginal_relevance_search_with_score": lambda s: s.amax_marginal_relevance_search_with_score("north"),
    "asearch": lambda s: s.asearch("north", "mmr"),
    "as_retriever": lambda s: s.as_retriever().ainvoke("north"),
    "MemvidRetriever": lambda s: MemvidRetriever(vectorstore=s).ainvoke("north"),
    "with a filter": lambda s: s.asimilarity_search("north", filter=lambda document: True),
    "hybrid": lambda s: s.asimilarity_search("north", retrieval_mode="hybrid"),
}


@pytest.fixture
def embeddings() -> CountedEmbeddings:
    return CountedEmbeddings(COMPASS)


@pytest.fixture
def stored(tmp_path: Path, embeddings: CountedEmbeddings) -> Iterator[MemvidVectorStore]:
    with MemvidVectorStore.from_texts(list(COMPASS), embeddings, ids=list(COMPASS), path=tmp_path / "m.mp4") as store:
        embeddings.calls.clear()
        yield store


@pytest.mark.parametrize("name", SEARCHES)
async def test_a_search_awaits_aembed_query_exactly_once(
    stored: MemvidVectorStore, embeddings: CountedEmbeddings, name: str
) -> None:
    assert await SEARCHES[name](stored)
    assert embeddings.calls == {"aembed_query": 1}


async def test_a_search_that_needs_no_vector_embeds_nothing(
    stored: MemvidVectorStore, embeddings: CountedEmbeddings
) -> None:
    assert await stored.asimilarity_search("north", retrieval_mode="lexical")
    assert await stored.asimilarity_search_by_vector([0.0, 1.0])
    assert await stored.asimilarity_search("", filter={})
    assert not embeddings.calls


async def test_adding_awaits_aembed_documents_exactly_once(embeddings: CountedEmbeddings) -> None:
    store = await MemvidVectorStore.afrom_texts(["east", "west"], embeddings)
    await store.aadd_texts(["north"] * 100)
    await store.aadd_documents([Document("east")] * 100)
    await store.aadd_texts([])
    assert embeddings.calls == {"aembed_documents": 3}
    assert embeddings.threads == {threading.get_ident()}  # on the loop, where a client of its own lives


def test_the_sync_methods_call_the_sync_embedder_once(embeddings: CountedEmbeddings) -> None:
    store = MemvidVectorStore.from_texts(["east", "west"], embeddings)
    store.similarity_search("north")
    store.max_marginal_relevance_search("north")
    assert embeddings.calls == {"embed_documents": 1, "embed_query": 2}


async def test_no_call_blocks_the_event_loop(tmp_path: Path, embeddings: CountedEmbeddings) -> None:
    """Any file, socket, lock or database call made on the loop from our modules raises here."""
    with blockbuster_ctx(["langchain_memvid", "memvid_core"]):
        store = await MemvidVectorStore.afrom_texts(
            list(COMPASS), embeddings, ids=list(COMPASS), path=tmp_path / "m.mp4"
        )
        await store.aadd_documents([Document("east", id="more", metadata={"n": 1})])
        for search in SEARCHES.values():
            assert await search(store)
        assert await store.asimilarity_search("", filter={"n": 1})
        assert await store.aget_by_ids(["more"])
        await store.adump(tmp_path / "copies" / "copy.mp4")
        async with await MemvidVectorStore.aload(tmp_path / "copies" / "copy.mp4", embeddings) as copy:
            assert await copy.aget_by_ids(["more"])
        assert await store.adelete(["more"], filter=lambda document: True)
        assert await store.adelete()
        await asyncio.to_thread(store.close)


async def test_the_guard_against_blocking_does_see_us(stored: MemvidVectorStore) -> None:
    with blockbuster_ctx(["langchain_memvid", "memvid_core"]), pytest.raises(Exception, match="Blocking call"):
        stored.add_texts(["on the loop"])


async def test_a_filter_function_runs_beside_the_loop(stored: MemvidVectorStore) -> None:
    threads: set[int] = set()

    def accept(document: Document) -> bool:
        threads.add(threading.get_ident())
        return True

    await stored.asimilarity_search("north", filter=accept)
    await stored.amax_marginal_relevance_search("north", filter=accept)
    await stored.asimilarity_search("", filter=accept)
    await stored.adelete(filter=accept)
    assert threads
    assert threading.get_ident() not in threads


async def test_many_tasks_at_once_lose_nothing(stored: MemvidVectorStore) -> None:
    adding = [stored.aadd_texts([f"text {i}"], ids=[f"task {i}"]) for i in range(30)]
    asking = [stored.asimilarity_search("north", k=1) for _ in range(30)]
    added, found = await asyncio.gather(asyncio.gather(*adding), asyncio.gather(*asking))
    assert added == [[f"task {i}"] for i in range(30)]
    assert all(documents[0].id == "north" for documents in found)
    assert len(await stored.aget_by_ids([f"task {i}" for i in range(30)])) == 30


def test_many_threads_at_once_lose_nothing(stored: MemvidVectorStore) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                stored.add_texts([f"text {number} {step}"], ids=[f"{number} {step}"])
                assert stored.similarity_search("north", k=1)[0].id == "north"
                assert stored.get_by_ids([f"{number} {step}"])[0].page_content == f"text {number} {step}"
            stored.delete([f"{number} 0"])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(stored.memory) == len(COMPASS) + 8 * 4
