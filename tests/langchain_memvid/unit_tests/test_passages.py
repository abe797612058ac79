"""Documents that are passages of texts, and texts that occur several times."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_memvid import MemvidRetriever, MemvidVectorStore

FOUND = "Spare flaps cost 40 euros each."
TEXT = "Orders are sent on Mondays. " * 20 + FOUND + " Prices are net." * 20
QUESTION = "what do spare flaps cost?"


@pytest.fixture(scope="module")
def store() -> MemvidVectorStore:
    made = MemvidVectorStore()
    made.add_texts([TEXT, f"{TEXT}\n", "other"], [{"start_index": 1_000}, {}, {}], ids=["a", "b", "c"])
    return made


def _searches(store: MemvidVectorStore, **options: Any) -> list[list[Document]]:
    retriever = MemvidRetriever(vectorstore=store, **options)
    with_scores = store.similarity_search_with_score(QUESTION, **options)
    return [
        store.similarity_search(QUESTION, **options),
        store.max_marginal_relevance_search(QUESTION, lambda_mult=1.0, **options),
        asyncio.run(store.asimilarity_search(QUESTION, **options)),
        asyncio.run(store.amax_marginal_relevance_search(QUESTION, lambda_mult=1.0, **options)),
        [document for document, _ in with_scores],
        retriever.invoke(QUESTION),
        asyncio.run(retriever.ainvoke(QUESTION)),
    ]


@pytest.mark.parametrize("mode", ["dense", "hybrid", "lexical"])
def test_documents_are_passages_with_their_place(store: MemvidVectorStore, mode: Any) -> None:
    for first, second in (found[:2] for found in _searches(store, passage=40, k=2, retrieval_mode=mode)):
        assert {first.id, second.id} == {"a", "b"}
        for document in (first, second):
            begins = 1_000 if document.id == "a" else 0
            assert document.page_content == FOUND
            assert document.metadata["start_index"] == begins + TEXT.index(FOUND)


def test_texts_are_found_once(store: MemvidVectorStore) -> None:
    for found in _searches(store, unique=True, k=2, retrieval_mode="dense"):
        assert [document.id for document in found] == ["a", "c"]
    listed = store.similarity_search(" ", k=5, unique=True)
    assert [document.id for document in listed] == ["a", "c"]
    assert len(store.similarity_search(" ", k=1, unique=True)) == 1


def test_a_reranker_reads_the_passages(store: MemvidVectorStore) -> None:
    seen: list[str] = []

    def scores(question: str, texts: list[str]) -> list[float]:
        seen.extend(texts)
        return [0.5] * len(texts)

    MemvidRetriever(vectorstore=store, passage=40, reranker=scores).invoke(QUESTION)
    assert all(len(text) <= 40 for text in seen)


def test_misspelled_words_and_synonyms() -> None:
    store = MemvidVectorStore()
    store.add_texts(["the aircraft", "an automobile", "a boat"], ids=["aircraft", "automobile", "boat"])
    options: dict[str, Any] = {"retrieval_mode": "lexical", "synonyms": {"car": ["automobile"]}}
    for question, found in (("aircarft", "aircraft"), ("car", "automobile")):
        retriever = MemvidRetriever(vectorstore=store, **options)
        assert [one.id for one in store.similarity_search(question, **options)] == [found]
        assert [one.id for one in retriever.invoke(question)] == [found]
    assert store.similarity_search("aircarft", fuzzy=False, retrieval_mode="lexical") == []
    assert MemvidRetriever(vectorstore=store, fuzzy=False, retrieval_mode="lexical").invoke("aircarft") == []
