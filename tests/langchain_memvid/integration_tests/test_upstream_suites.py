"""The suites that LangChain ships for vector stores and retrievers: one class a suite and a kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from langchain_memvid import MemvidRetriever, MemvidVectorStore

TEXTS = ["the wing lifts", "the engine hums", "the tail steers", "the wheel rolls", "the wing bends"]


class TestStoreInRam(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[MemvidVectorStore]:
        with MemvidVectorStore(self.get_embeddings()) as store:
            yield store


class TestStoreInAFile(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[MemvidVectorStore]:
        with MemvidVectorStore(self.get_embeddings(), path=tmp_path / "store.mp4") as store:
            yield store


class TestStoreInALibrary(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[MemvidVectorStore]:
        with MemvidVectorStore(self.get_embeddings(), path=f"{tmp_path}/library/") as store:
            yield store


class TestStoreWithTheBuiltInEmbedder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[MemvidVectorStore]:
        with MemvidVectorStore() as store:
            yield store


class TestStoreThatSearchesBothWays(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[MemvidVectorStore]:
        with MemvidVectorStore(self.get_embeddings(), retrieval_mode="hybrid") as store:
            yield store


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemvidRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": MemvidVectorStore.from_texts(TEXTS, DeterministicFakeEmbedding(size=6))}

    @property
    def retriever_query_example(self) -> str:
        return "a wing"


class TestRetrieverOfAFile(TestRetriever):
    path: str

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "store.mp4")
        MemvidVectorStore.from_texts(TEXTS, path=self.path).close()

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"path": self.path, "search_type": "mmr", "retrieval_mode": "hybrid"}


class TestRetrieverWithAReranker(TestRetriever):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {**super().retriever_constructor_params, "reranker": lambda query, texts: [len(text) for text in texts]}
