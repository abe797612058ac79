"""Public calls with one mistake each, on a line that says "mistake": type checkers report these lines. Never run."""

from __future__ import annotations

from langchain_core.documents import Document
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from langchain_memvid import MemvidRetriever, MemvidVectorStore
from llama_index_memvid import MemvidVectorStore as LlamaIndexStore
from memvid_core import Hit, Memory, Record

__all__: list[str] = []


def open_and_write(memory: Memory) -> None:
    Memory.create("m.mp4", vectors="float16")  # mistake: the name
    Memory.create("m.mp4", vector_dtype="float8")  # mistake: the literal
    Memory.create("m.mp4", auto_compact="0.5")  # mistake: the type
    Memory.open("m.mp4", embeder=None)  # mistake: the name
    Memory.open("m.mp4", as_of="2026-01-01")  # mistake: the type
    memory.add(["a"], metadatas=[{}])  # mistake: the name
    memory.add([1, 2])  # mistake: the type
    memory.add("a", ids=7)  # mistake: the type
    memory.update("1", "text")  # mistake: text= is a keyword
    memory.delete(wehre={"page": 1})  # mistake: the name
    memory.compact(keep_past=True)  # mistake: the name
    memory.save(7)  # mistake: the type


def read(memory: Memory, hit: Hit) -> None:
    memory.search("a", mod="dense")  # mistake: the name
    memory.search("a", mode="dens")  # mistake: the literal
    memory.search("a", fusion="ranks")  # mistake: the literal
    memory.search("a", vectors=True)  # mistake: the name
    memory.search("a", k="3")  # mistake: the type
    memory.mmr("a", lambda_mul=0.5)  # mistake: the name
    memory.search_many(["a"], where=lambda record: True)  # mistake: a function
    memory.select(order="page")  # mistake: the name
    memory.vectors(["1"])  # mistake: the name
    memory.default_mode("a")  # mistake: a property
    hit.context()  # mistake: memory.context(hit)
    text: str = memory.get(["1"])  # mistake: a list of records
    print(text)


async def use_async(memory: Memory) -> None:
    await Memory.aopen("m.mp4", creat=True)  # mistake: the name
    await Memory.acreate("m.mp4", vector_dtype="float8")  # mistake: the literal
    await memory.aadd(["a"], metadatas=[{}])  # mistake: the name
    await memory.aupdate("1", txt="a")  # mistake: the name
    await memory.adelete(where=["page"])  # mistake: the type
    await memory.asearch("a", mod="dense")  # mistake: the name
    await memory.asearch("a", mode="dens")  # mistake: the literal
    await memory.asearch("a", alpha="0.5")  # mistake: the type
    await memory.ammr("a", fetchk=3)  # mistake: the name
    await memory.aselect(limt=3)  # mistake: the name
    await memory.acontext("1")  # mistake: the type
    await memory.acompact(keep_past=True)  # mistake: the name
    record: Record = await memory.aget(["1"])  # mistake: a list of records
    print(record)


def use_langchain(store: MemvidVectorStore, document: Document) -> None:
    MemvidVectorStore(path="m.mp4", vectors="float16")  # mistake: the name
    MemvidVectorStore(retrieval_mode="mmr")  # mistake: the literal
    MemvidVectorStore.from_texts(["a"], pth="m.mp4")  # mistake: the name
    MemvidVectorStore.from_documents([document], codecs="qr")  # mistake: the name
    MemvidVectorStore.load("m.mp4", mode="w")  # mistake: the literal
    store.add_texts(["a"], metadata=[{}])  # mistake: the name
    store.add_documents([document], batch=1)  # mistake: the name
    store.similarity_search("a", fliter={})  # mistake: the name
    store.similarity_search("a", retrieval_mode="dens")  # mistake: the literal
    store.similarity_search_with_score("a", score_threshold="0.5")  # mistake: the type
    store.max_marginal_relevance_search("a", lambda_mul=0.5)  # mistake: the name
    store.delete(where={})  # mistake: the name


async def use_langchain_async(store: MemvidVectorStore) -> None:
    await MemvidVectorStore.aopen(path="m.mp4", mod="a")  # mistake: the name
    await MemvidRetriever.aopen(vectorstore=store, kk=3)  # mistake: the name
    await store.aadd_texts(["a"], vector=[[0.5]])  # mistake: the name
    await store.asimilarity_search("a", retrieval_mod="dense")  # mistake: the name
    await store.adelete(fliter={})  # mistake: the name


def use_llama_index(store: LlamaIndexStore, nodes: list[BaseNode]) -> None:
    LlamaIndexStore("m.mp4", vector_dtype="none")  # mistake: the literal
    LlamaIndexStore.from_params("m.mp4", mod="r")  # mistake: the name
    store.add(nodes, batchsize=1)  # mistake: the name
    store.delete_nodes(filter=None)  # mistake: the name
    store.query(VectorStoreQuery(), wehre={})  # mistake: the name


async def use_llama_index_async(store: LlamaIndexStore, nodes: list[BaseNode]) -> None:
    await LlamaIndexStore.aopen("m.mp4", moed="r")  # mistake: the name
    await store.async_add(nodes, batch_size="1")  # mistake: the type
    await store.aquery(VectorStoreQuery(), mmr_treshold=0.5)  # mistake: the name
