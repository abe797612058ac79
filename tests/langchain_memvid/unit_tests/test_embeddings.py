"""MemvidEmbeddings under the suites that LangChain ships for embeddings."""

from __future__ import annotations

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_memvid import MemvidEmbeddings, MemvidVectorStore
from memvid_core import CallableEmbedder


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MemvidEmbeddings


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return MemvidEmbeddings


async def test_any_embedder_of_the_core_serves_any_store_of_langchain() -> None:
    lengths = MemvidEmbeddings(CallableEmbedder(lambda texts: [[len(text), 1] for text in texts], name="length"))
    assert lengths.embed_documents(["a", "abc"]) == await lengths.aembed_documents(["a", "abc"]) == [[1, 1], [3, 1]]
    assert lengths.embed_query("ab") == await lengths.aembed_query("ab") == [2, 1]
    assert lengths.embed_documents([]) == []
    assert repr(lengths) == "MemvidEmbeddings('length')"
    store = InMemoryVectorStore.from_texts(["the wing lifts", "the engine hums"], MemvidEmbeddings())
    assert store.similarity_search("a wing lifts", k=1)[0].page_content == "the wing lifts"


def test_a_store_records_the_embedder_within() -> None:
    with MemvidVectorStore(MemvidEmbeddings()) as store:
        assert store.memory.info().embedder == MemvidEmbeddings().embedder.name


@pytest.mark.parametrize("given", [5, MemvidEmbeddings])
def test_what_cannot_embed_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"cannot embed|is a class"):
        MemvidEmbeddings(given)
