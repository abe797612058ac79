"""Public calls as a user writes them, sync and async: mypy --strict and pyright find nothing to say. Never run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, assert_type

import numpy as np
from langchain_core.documents import Document
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryResult

from langchain_memvid import MemvidRetriever, MemvidVectorStore
from llama_index_memvid import MemvidVectorStore as LlamaIndexStore
from memvid_core import Commit, Embedder, Hit, Memory, MemoryInfo, Recency, Record, VerifyReport

__all__: list[str] = []


def accepts(record: Record) -> bool:
    return record.metadata.get("page") == 1


def scores(query: str, texts: list[str]) -> Sequence[float]:
    return [float(query in text) for text in texts]


def open_and_close(path: os.PathLike[str]) -> None:
    with Memory.create(path, None, "pcm", "float32", description="notes", timeout=5, auto_compact=0.5) as memory:
        assert_type(memory, Memory)
    with Memory.create(":memory:", vector_dtype="int8", codec_options={"preset": "robust"}):
        pass
    with Memory.open(path, "a", create=True, show_progress=False) as memory:
        assert_type(memory.embedder, Embedder | None)
        assert_type(memory.path, str)
    Memory.open(path, as_of=datetime.now(UTC), index_dir="index", force=True).close()


def write(memory: Memory) -> None:
    assert_type(memory.add("one text"), list[str])
    memory.add(["a", "b"], [{"page": 1}, None], ["1", None], np.zeros((2, 4), np.float32), delete="3")
    memory.add(["a", "b"], vectors=[[0.5, 0.5], None], delete=["1", "2"])
    memory.add((text for text in "abc"), {"page": 1})
    memory.update("1", text="other", metadata={"page": 2})
    assert_type(memory.delete("1"), int)
    assert_type(memory.delete(["1"], where={"page": {"$lt": 2}}), int)
    assert_type(memory.clear(), int)
    assert_type(memory.compact(keep_history=True), int)
    assert_type(memory.refit(drop_damaged=True), int)
    memory.save("copy.mp4")
    with memory.exclusive(timeout=1.5) as same:
        assert_type(same, Memory)


def read(memory: Memory) -> None:
    assert_type(memory.get("1"), Record)
    assert_type(memory.get(["1", "2"]), list[Record])
    assert_type(memory.get_vectors("1"), dict[str, Any])
    assert_type(memory.select({"page": 1}, limit=2, offset=1, order_by="page", descending=True), list[Record])
    assert_type(memory.ids(order_by="page"), list[str])
    assert_type([record.text for record in memory], list[str])
    assert_type(len(memory) if "1" in memory else 0, int)
    assert_type(memory.search("question"), list[Hit])
    memory.search([0.1, 0.2], 3, {"page": 1}, "dense", with_vectors=True, explain=True)
    memory.search("question", where=accepts, mode="hybrid", alpha=0.5, fusion="rank", rerank=scores)
    memory.search("question", unique=True, passage=300, fuzzy=False, synonyms={"car": "auto"})
    memory.search("question", recency=Recency("at", half_life=3600), embedding=np.zeros(4))
    assert_type(memory.search_many(["a", "b"], 2, {"page": 1}), list[list[Hit]])
    memory.search_many(np.zeros((2, 4)))
    assert_type(memory.mmr("question", 2, fetch_k=9, lambda_mult=0.3, with_vectors=True), list[Hit])
    hit = memory.search("question")[0]
    assert_type(memory.context(hit, before=1, after=2), list[Record])
    assert_type((hit.id, hit.text, hit.score, hit.cosine), tuple[str, str, float, float | None])
    assert_type(memory.context(hit.record), list[Record])
    assert_type(memory.info(), MemoryInfo)
    assert_type(memory.info().vector_dtype, str)
    assert_type(memory.history(), list[Commit])
    assert_type(memory.verify(), VerifyReport)
    memory.prepare()


async def use_async(path: str) -> None:
    async with await Memory.acreate(path, vector_dtype="none") as memory:
        assert_type(memory, Memory)
    async with await Memory.aopen(path, "a", create=True, timeout=5) as memory:
        assert_type(await memory.aadd(["a"], [{"page": 1}], ["1"], delete=["2"]), list[str])
        await memory.aupdate("1", text="other", metadata={"page": 2})
        assert_type(await memory.adelete("1", where={"page": 1}), int)
        assert_type(await memory.aclear(), int)
        assert_type(await memory.arefit(), int)
        assert_type(await memory.acompact(keep_history=True, drop_damaged=True), int)
        await memory.asave("copy.mp4", drop_damaged=True)
        async with memory.aexclusive(timeout=1) as same:
            assert_type(same, Memory)
        assert_type(await memory.aget("1"), Record)
        assert_type(await memory.aget(["1"]), list[Record])
        assert_type(await memory.aget_vectors(["1"]), dict[str, Any])
        assert_type(await memory.aselect({"page": 1}, limit=1, order_by="page"), list[Record])
        assert_type(await memory.aids(descending=True), list[str])
        assert_type([record async for record in memory], list[Record])
        assert_type(await memory.asearch("question", 3, accepts, "lexical", explain=True), list[Hit])
        await memory.asearch("question", alpha=0.5, fusion="score", rerank=scores, with_vectors=True)
        assert_type(await memory.asearch_many(["a"], 2), list[list[Hit]])
        assert_type(await memory.ammr("question", fetch_k=9, lambda_mult=0.3), list[Hit])
        assert_type(await memory.acontext((await memory.asearch("question"))[0], before=0), list[Record])
        assert_type(await memory.ainfo(), MemoryInfo)
        assert_type(await memory.ahistory(), list[Commit])
        assert_type(await memory.averify(), VerifyReport)
        await memory.aprepare()
    await memory.aclose()


def use_langchain(document: Document) -> None:
    with MemvidVectorStore(path="notes.mp4", vector_dtype="float16", retrieval_mode="hybrid", timeout=1) as store:
        assert_type(store.memory, Memory)
        assert_type(store.add_texts(["a"], [{"page": 1}], ids=["1"], vectors=[[0.5]], batch_size=10), list[str])
        assert_type(store.add_documents([document], ids=["1"], batch_size=10), list[str])
        assert_type(store.similarity_search("a", 2, {"page": 1}, retrieval_mode="lexical"), list[Document])
        store.similarity_search("a", filter=lambda one: one.id == "1", score_threshold=0.5, fusion="rank")
        store.similarity_search("a", unique=True, passage=300, fuzzy=False, synonyms={"car": "auto"})
        assert_type(store.similarity_search_with_score("a", recency=Recency("at", 60)), list[tuple[Document, float]])
        store.similarity_search_with_relevance_scores("a", filter={"page": 1}, alpha=0.5)
        assert_type(store.max_marginal_relevance_search("a", 2, 9, 0.5, filter={"page": 1}), list[Document])
        assert_type(store.delete(["1"], filter={"page": 1}), bool)
    made = MemvidVectorStore.from_texts(["a"], ids=["1"], path="notes.mp4", mode="a", batch_size=5)
    assert_type(made, MemvidVectorStore)
    MemvidVectorStore.from_documents([document], path="notes.mp4", codec="qr").close()
    assert_type(MemvidVectorStore.load("notes.mp4", mode="r"), MemvidVectorStore)


async def use_langchain_async(document: Document) -> None:
    async with await MemvidVectorStore.aopen(path="notes.mp4", mode="a", timeout=1) as store:
        assert_type(store, MemvidVectorStore)
        assert_type(await store.aadd_texts(["a"], ids=["1"], vectors=[None]), list[str])
        assert_type(await store.aadd_documents([document], batch_size=1), list[str])
        assert_type(await store.asimilarity_search("a", filter={"page": 1}), list[Document])
        assert_type(await store.amax_marginal_relevance_search("a", fetch_k=3), list[Document])
        assert_type(await store.adelete(filter={"page": 1}), bool)
    async with await MemvidRetriever.aopen(vectorstore=store, k=3, search_type="mmr") as retriever:
        assert_type(retriever, MemvidRetriever)


def use_llama_index(nodes: list[BaseNode]) -> None:
    with LlamaIndexStore("notes.mp4", vector_dtype="float32", codec="pcm") as store:
        assert_type(store.add(nodes, batch_size=10), list[str])
        store.delete("document")
        store.delete_nodes(["1"])
        query = VectorStoreQuery(query_str="a", similarity_top_k=2)
        assert_type(store.query(query, where={"page": 1}, mmr_threshold=0.5), VectorStoreQueryResult)
        assert_type(store.get_nodes(["1"]), list[BaseNode])
    LlamaIndexStore.from_params("notes.mp4", mode="r").close()


async def use_llama_index_async() -> None:
    async with await LlamaIndexStore.aopen("notes.mp4", mode="a") as store:
        assert_type(store, LlamaIndexStore)
        assert_type(await store.async_add([TextNode(text="a", embedding=[1.0])], batch_size=1), list[str])
        await store.adelete("document")
        assert_type(await store.aquery(VectorStoreQuery(), where={"page": 1}), VectorStoreQueryResult)
