"""Which adapter an object gets, what it is called, and how the object is asked."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core import MockEmbedding
from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr

from memvid_core.embedding import (
    CallableEmbedder,
    EncodeEmbedder,
    HashingEmbedder,
    LangChainEmbedder,
    LlamaIndexEmbedder,
    as_embedder,
)
from memvid_core.errors import EmbeddingError, InvalidInputError, VectorError
from tests.core.embedding.samples import TEXTS, WIDTH, Embeddings, Prompted, Sentences, vector


def embed_all(texts: list[str]) -> list[list[float]]:
    return [vector(text) for text in texts]


class NamedEmbeddings(DeterministicFakeEmbedding):
    """A LangChain model with what the protocol asks for; it still returns lists."""

    name: str = "mine"
    dimension: int = WIDTH


@pytest.mark.parametrize(
    ("obj", "kind", "name"),
    [
        (None, HashingEmbedder, "memvid-hash-v1:384"),
        ("memvid-hash-v1:64", HashingEmbedder, "memvid-hash-v1:64"),
        (DeterministicFakeEmbedding(size=3), LangChainEmbedder, "langchain:DeterministicFakeEmbedding"),
        (NamedEmbeddings(size=WIDTH), LangChainEmbedder, "langchain:NamedEmbeddings"),
        (Embeddings(), LangChainEmbedder, "langchain:Embeddings"),
        (MockEmbedding(embed_dim=3), LlamaIndexEmbedder, "llama-index:MockEmbedding"),
        (MockEmbedding(embed_dim=3, model_name="m"), LlamaIndexEmbedder, "llama-index:MockEmbedding:m"),
        (Sentences("org/model"), EncodeEmbedder, "encode:Sentences:org/model"),
        (embed_all, CallableEmbedder, "callable:embed_all"),
        (partial(embed_all), CallableEmbedder, "callable:embed_all"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_object_finds_its_adapter(obj, kind, name):
    embedder = as_embedder(obj)
    assert type(embedder) is kind
    assert embedder.name == name


@pytest.mark.parametrize("obj", [3, b"model", object(), {"model": "x"}, Sentences])
def test_what_cannot_embed_is_refused(obj):
    with pytest.raises(InvalidInputError, match=r"cannot embed|is a class"):
        as_embedder(obj)


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("text-embedding-3-small", "text-embedding-3-small"),
        ("org/model", "org/model"),
        ("https://user:key@host/v1/models/bge?token=secret", "bge"),
        ("https://user:key@host", "host"),
        ("/home/someone/models/bge/", "bge"),
        (r"C:\Users\someone\models\bge", "bge"),
        ("~/models/bge", "bge"),
    ],
)
def test_a_name_tells_the_model_and_nothing_private(model, shown):
    assert EncodeEmbedder(Sentences(model)).name == f"encode:Sentences:{shown}"


def test_a_given_name_wins():
    assert LangChainEmbedder(Embeddings(), name="mine").name == "mine"


def test_a_dimension_is_known_before_the_first_call_where_the_model_says_it():
    assert EncodeEmbedder(Sentences()).dimension == WIDTH
    embedder = LangChainEmbedder(Embeddings())
    assert embedder.dimension is None
    embedder.embed_query("x")
    assert embedder.dimension == WIDTH


async def test_a_mock_of_a_langchain_model_is_awaited_once():
    real = DeterministicFakeEmbedding(size=3)
    mock = Mock(
        wraps=real,
        aembed_documents=AsyncMock(side_effect=real.aembed_documents),
        aembed_query=AsyncMock(side_effect=real.aembed_query),
    )
    embedder = LangChainEmbedder(mock)
    assert embedder.name == "langchain:Mock"
    assert (await embedder.aembed_documents(["a", "b"])).shape == (2, 3)
    assert (await embedder.aembed_query("a")).shape == (3,)
    assert mock.aembed_documents.await_count == mock.aembed_query.await_count == 1
    assert embedder.embed_documents(["a"]).shape == (1, 3)


async def test_a_mock_that_returns_mocks_gives_no_vectors_and_a_warning():
    mock = Mock(wraps=Embeddings(), aembed_documents=AsyncMock(), aembed_query=AsyncMock())
    embedder = LangChainEmbedder(mock)
    with pytest.warns(UserWarning, match="no vectors for 3 texts"):
        assert (await embedder.aembed_documents(["f", "o", "o"])).shape == (0, 0)
    with pytest.warns(UserWarning, match="empty vector"):
        assert (await embedder.aembed_query("foo")).shape == (0,)
    assert mock.aembed_documents.await_count == mock.aembed_query.await_count == 1


async def test_an_async_model_is_asked_its_own_way_once():
    model = Embeddings()
    embedder = as_embedder(model)
    await embedder.aembed_documents(TEXTS)
    await embedder.aembed_query(TEXTS[0])
    assert model.calls == ["aembed_documents", "aembed_query"]


def test_a_model_with_prompts_embeds_questions_with_theirs():
    model = Prompted()
    embedder = EncodeEmbedder(model)
    embedder.embed_documents(TEXTS)
    embedder.embed_query(TEXTS[0])
    assert [call for call in model.calls if call != "encode"] == ["encode_document", "encode_query"]


def test_double_precision_is_kept_when_asked_for():
    exact = as_embedder(embed_all, exact=True)
    assert exact.embed_documents(["x"]).dtype == np.float64
    assert exact.embed_documents(["x"])[0].tolist() == exact.embed_query("x").tolist() == vector("x")


async def test_a_coroutine_function_serves_the_async_methods_only():
    async def embed(texts: list[str]) -> list[list[float]]:
        return embed_all(texts)

    embedder = as_embedder(embed)
    assert (await embedder.aembed_query("x")).tolist() == vector("x")
    assert (await embedder.aembed_documents(["x"]))[0].tolist() == vector("x")
    with pytest.raises(EmbeddingError, match="async methods"):
        embedder.embed_documents(["x"])


async def test_a_failure_names_the_model_and_keeps_its_cause():
    def fail(texts: list[str]) -> list[list[float]]:
        raise TimeoutError("no answer")

    embedder = as_embedder(fail)
    for call in (lambda: embedder.embed_documents(["a", "b"]), lambda: embedder.embed_query("a")):
        with pytest.raises(EmbeddingError, match=r"fail failed on .*no answer") as caught:
            call()
        assert isinstance(caught.value.__cause__, TimeoutError)
    with pytest.raises(EmbeddingError, match="2 texts"):
        await embedder.aembed_documents(["a", "b"])
    with pytest.raises(EmbeddingError, match="1 text:"):
        await embedder.aembed_query("a")


@pytest.mark.parametrize(
    ("result", "error"),
    [([[1.0]], EmbeddingError), (None, EmbeddingError), ([[1.0], [float("nan")]], VectorError)],
)
def test_nonsense_is_refused(result, error):
    with pytest.raises(error):
        as_embedder(lambda texts: result).embed_documents(["a", "b"])


class Delegating(BaseEmbedding):
    """As the local models of LlamaIndex: their async methods call the sync ones, which would block the loop."""

    _threads: set[int] = PrivateAttr(default_factory=set)

    def _get_query_embedding(self, query: str) -> list[float]:
        self._threads.add(threading.get_ident())
        return vector(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        self._threads.add(threading.get_ident())
        return vector(text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


async def test_a_llama_index_model_that_would_block_runs_in_a_thread():
    model = Delegating()
    embedder = as_embedder(model)
    await embedder.aembed_query("x")
    await embedder.aembed_documents(["x", "y"])
    assert threading.get_ident() not in model._threads
    assert model._threads


class Native(Delegating):
    """One that is asynchronous itself."""

    async def _aget_query_embedding(self, query: str) -> list[float]:
        await asyncio.sleep(0)
        return vector(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        await asyncio.sleep(0)
        return vector(text)


async def test_a_native_llama_index_model_is_awaited():
    model = Native(embed_batch_size=2)
    embedder = as_embedder(model)
    assert (await embedder.aembed_query("x")).tolist() == vector("x")
    assert (await embedder.aembed_documents(TEXTS)).shape == (len(TEXTS), WIDTH)
    assert model._threads == set()


class Gate:
    """A synchronous model that does not answer before the loop has run something else."""

    def __init__(self) -> None:
        self.asked, self.passed = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.asked.set()
        assert self.passed.wait(30), "the loop never ran while the model embedded"

    def embed(self, texts: list[str]) -> list[list[float]]:
        self.wait()
        return embed_all(texts)

    async def open(self) -> None:
        assert await asyncio.to_thread(self.asked.wait, 30)  # a loop that spins would take the model's time
        self.passed.set()


def _as_function(gate: Gate) -> Any:
    return gate.embed


def _as_encode(gate: Gate) -> Any:
    model = Sentences()
    model.encode = gate.embed  # type: ignore[method-assign, assignment]
    return model


def _as_langchain(gate: Gate) -> Any:
    class Slow(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return gate.embed(texts)

        def embed_query(self, text: str) -> list[float]:
            return gate.embed([text])[0]

    return Slow(size=WIDTH)


def _as_llama_index(gate: Gate) -> Any:
    class Slow(Delegating):
        def _get_query_embedding(self, query: str) -> list[float]:
            return gate.embed([query])[0]

        def _get_text_embedding(self, text: str) -> list[float]:
            return gate.embed([text])[0]

    return Slow()


@pytest.mark.parametrize("make", [_as_function, _as_encode, _as_langchain, _as_llama_index])
async def test_a_slow_model_never_blocks_the_loop(make):
    gate = Gate()
    embedder = as_embedder(make(gate))
    matrix, _ = await asyncio.gather(embedder.aembed_documents(["x"]), gate.open())
    assert matrix.shape == (1, WIDTH)
    gate.asked.clear()
    gate.passed.clear()
    row, _ = await asyncio.gather(embedder.aembed_query("x"), gate.open())
    assert row.shape == (WIDTH,)


async def test_many_vectors_are_checked_in_a_thread():
    embedder = as_embedder(Embeddings())
    texts = [str(number) for number in range(600)]
    assert np.array_equal(await embedder.aembed_documents(texts), embedder.embed_documents(texts))
