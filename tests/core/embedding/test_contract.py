"""What every embedder promises, built in or adapted."""

from __future__ import annotations

import asyncio
import functools
from types import SimpleNamespace

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core import MockEmbedding

from memvid_core.embedding import (
    CallableEmbedder,
    EncodeEmbedder,
    HashingEmbedder,
    LangChainEmbedder,
    LlamaIndexEmbedder,
    as_embedder,
)
from memvid_core.model import Embedder, FittableEmbedder, is_fittable
from tests.core.embedding.corpus import texts
from tests.core.embedding.samples import TEXTS, WIDTH, Embeddings, Prompted, Sentences, vector


class EmbedderContract:
    """A subclass says how to make one."""

    def make(self) -> Embedder:
        raise NotImplementedError

    @pytest.fixture
    def embedder(self):
        return self.make()

    def test_it_is_an_embedder_and_is_taken_as_it_is(self, embedder):
        assert isinstance(embedder, Embedder)
        assert as_embedder(embedder) is embedder

    def test_documents_are_one_float32_row_each(self, embedder):
        matrix = embedder.embed_documents(TEXTS)
        assert matrix.dtype == np.float32
        assert matrix.shape == (len(TEXTS), embedder.dimension)
        assert np.isfinite(matrix).all()

    def test_a_query_is_one_float32_row(self, embedder):
        row = embedder.embed_query(TEXTS[0])
        assert row.dtype == np.float32
        assert row.shape == (embedder.dimension,)

    def test_equal_texts_have_equal_vectors_in_any_batch(self, embedder):
        matrix = embedder.embed_documents(TEXTS)
        assert np.array_equal(matrix[0], matrix[3])
        np.testing.assert_allclose(embedder.embed_documents(TEXTS[1:2])[0], matrix[1], atol=1e-6)

    def test_no_texts_are_no_rows(self, embedder):
        embedder.embed_query("so that the dimension is known")
        assert embedder.embed_documents([]).shape == (0, embedder.dimension)

    def test_any_sequence_of_texts_will_do(self, embedder):
        assert np.array_equal(embedder.embed_documents(tuple(TEXTS)), embedder.embed_documents(TEXTS))

    async def test_async_gives_what_sync_gives(self, embedder):
        assert np.array_equal(await embedder.aembed_documents(TEXTS), embedder.embed_documents(TEXTS))
        assert np.array_equal(await embedder.aembed_query(TEXTS[1]), embedder.embed_query(TEXTS[1]))
        assert (await embedder.aembed_documents([])).shape == (0, embedder.dimension)

    async def test_one_embedder_serves_many_tasks(self, embedder):
        expected = embedder.embed_query(TEXTS[0])
        for row in await asyncio.gather(*(embedder.aembed_query(TEXTS[0]) for _ in range(8))):
            assert np.array_equal(row, expected)

    def test_the_name_is_the_same_for_an_equal_one(self, embedder):
        assert embedder.name
        assert embedder.name == self.make().name
        assert "0x" not in embedder.name


class TestHashing(EmbedderContract):
    def make(self):
        return HashingEmbedder()


@functools.cache
def state() -> bytes:
    embedder = HashingEmbedder(64)
    embedder.fit(texts())
    return embedder.dump()


class TestFittedHashing(EmbedderContract):
    def make(self):
        embedder = HashingEmbedder(64)
        embedder.load(state())
        assert embedder.fitted
        return embedder

    def test_it_is_fittable(self, embedder):
        assert isinstance(embedder, FittableEmbedder)


class TestLangChain(EmbedderContract):
    def make(self):
        return LangChainEmbedder(DeterministicFakeEmbedding(size=WIDTH))


class TestLangChainByItsMethods(EmbedderContract):
    def make(self):
        return LangChainEmbedder(Embeddings())


class TestLlamaIndex(EmbedderContract):
    def make(self):
        return LlamaIndexEmbedder(MockEmbedding(embed_dim=WIDTH))


class TestEncode(EmbedderContract):
    def make(self):
        return EncodeEmbedder(Sentences())


class TestEncodeWithPrompts(EmbedderContract):
    def make(self):
        return EncodeEmbedder(Prompted())


class TestCallable(EmbedderContract):
    def make(self):
        return CallableEmbedder(lambda texts: [vector(text) for text in texts], name="sample")


class TestCallableOfAGenerator(EmbedderContract):
    def make(self):
        return CallableEmbedder(lambda texts: (np.array(vector(text)) for text in texts), query=vector, name="sample")


def test_what_can_be_fitted_is_what_has_all_that_the_protocol_names():
    names = [name for name in dir(FittableEmbedder) if not name.startswith("_")]
    assert {"name", "dimension", "embed_query", "fit", "fitted", "clone", "dump", "load"} < set(names)
    for missing in ["", *names]:
        made = SimpleNamespace(**{name: str for name in names if name != missing})
        assert is_fittable(made) == isinstance(made, FittableEmbedder) == (not missing)
