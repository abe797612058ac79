"""What embedders are called, and which names of a memory are theirs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.stores import InMemoryByteStore
from llama_index.core import MockEmbedding
from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field, SecretStr

from memvid_core.embedding import HashingEmbedder, as_embedder, choose_embedder, same_embedder
from memvid_core.errors import Action, EmbedderMismatchError, EmbedderWarning, Hint, InvalidInputError
from memvid_core.model import GIVEN
from tests.core.embedding import samples


def openai(model: str = "text-embedding-3-small", **options: Any) -> Embeddings:
    from langchain_openai import OpenAIEmbeddings

    return OpenAIEmbeddings(model=model, api_key=SecretStr("secret"), **options)


def azure(deployment: str | None, **options: Any) -> Embeddings:
    from langchain_openai import AzureOpenAIEmbeddings

    return AzureOpenAIEmbeddings(
        azure_deployment=deployment,
        azure_endpoint="https://someone.openai.azure.com",
        api_key=SecretStr("secret"),
        api_version="2024-02-01",
        **options,
    )


def cached(model: Embeddings) -> CacheBackedEmbeddings:
    return CacheBackedEmbeddings.from_bytes_store(model, InMemoryByteStore(), namespace="x", key_encoder="sha256")


class AzureOfLlamaIndex(MockEmbedding):
    """The fields of LlamaIndex's AzureOpenAIEmbedding."""

    azure_deployment: str | None = Field(default=None)
    dimensions: int | None = Field(default=None)


class Prefixed(Embeddings):
    """A wrapper of a user's own, which changes what it embeds."""

    def __init__(self, inner: Embeddings) -> None:
        self._inner = inner

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents([f"passage: {text}" for text in texts])

    def embed_query(self, text: str) -> list[float]:
        return self._inner.embed_query(f"query: {text}")


class Wrapped(BaseEmbedding):
    """A LlamaIndex model around one of LangChain, kept in a private attribute."""

    _inner: Any = None

    def _get_text_embedding(self, text: str) -> list[float]:
        return []

    def _get_query_embedding(self, query: str) -> list[float]:
        return []

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return []

    @classmethod
    def of(cls, inner: object) -> Wrapped:
        made = cls(embed_batch_size=1)
        made._inner = inner
        return made


class Client:
    def __init__(self, model: str, dimensions: int | None = None) -> None:
        self.model, self.dimensions = model, dimensions

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [samples.vector(text) for text in texts]


class Kept:
    """A model that keeps what it hands on in a dict."""

    model = "m"

    def __init__(self, options: dict[str, int]) -> None:
        self.additional_kwargs = options

    def __call__(self, texts: list[str]) -> list[list[float]]:
        return [samples.vector(text) for text in texts]


def embed(texts: list[str], *, model: str) -> list[list[float]]:
    return [samples.vector(text) for text in texts]


FAKE = "langchain:DeterministicFakeEmbedding"
SMALL = "langchain:OpenAIEmbeddings:text-embedding-3-small"
CASES: list[
    tuple[Callable[[], object], str, str, bool]
] = [  # what makes an object, its name, the name that older versions recorded, and whether that one told the model
    (lambda: openai(), SMALL, SMALL, True),
    (lambda: openai(dimensions=256), f"{SMALL}:256", SMALL, True),
    (lambda: Kept({"dimensions": 64}), "callable:Kept:m:64", "callable:Kept:m", True),
    (lambda: azure("a"), "langchain:AzureOpenAIEmbeddings:a", "text-embedding-ada-002", False),
    (lambda: azure("b"), "langchain:AzureOpenAIEmbeddings:b", "text-embedding-ada-002", False),
    (lambda: azure("a", model="m"), "langchain:AzureOpenAIEmbeddings:a", "langchain:AzureOpenAIEmbeddings:m", True),
    (lambda: azure("a", dimensions=9), "langchain:AzureOpenAIEmbeddings:a:9", "text-embedding-ada-002", False),
    (lambda: cached(openai()), SMALL, "langchain:CacheBackedEmbeddings", False),
    (lambda: cached(cached(openai("m"))), "langchain:OpenAIEmbeddings:m", "langchain:CacheBackedEmbeddings", False),
    (lambda: Prefixed(openai("m")), "langchain:Prefixed(OpenAIEmbeddings:m)", "langchain:Prefixed", False),
    (lambda: Prefixed(cached(azure("d"))), "langchain:Prefixed(AzureOpenAIEmbeddings:d)", "langchain:Prefixed", False),
    (
        lambda: Wrapped.of(openai("m", dimensions=8)),
        "llama-index:Wrapped(OpenAIEmbeddings:m:8)",
        "llama-index:Wrapped",
        False,
    ),
    (lambda: Wrapped.of(None), "llama-index:Wrapped", "llama-index:Wrapped", True),
    (
        lambda: AzureOfLlamaIndex(embed_dim=3, model_name="m", azure_deployment="d"),
        "llama-index:AzureOfLlamaIndex:d",
        "llama-index:AzureOfLlamaIndex:m",
        True,
    ),
    (
        lambda: AzureOfLlamaIndex(embed_dim=3, model_name="m", dimensions=7),
        "llama-index:AzureOfLlamaIndex:m:7",
        "llama-index:AzureOfLlamaIndex:m",
        True,
    ),
    (lambda: Client("m").embed, "callable:Client.embed:m", "callable:Client.embed", False),
    (lambda: Client("m", 5).embed, "callable:Client.embed:m:5", "callable:Client.embed", False),
    (lambda: partial(embed, model="m"), "callable:embed:m", "callable:partial", False),
    (lambda: embed, "callable:embed", "callable:embed", True),
    (lambda: DeterministicFakeEmbedding(size=3), FAKE, FAKE, True),
    (lambda: samples.Sentences("org/m"), "encode:Sentences:org/m", "encode:Sentences:org/m", True),
]


@pytest.mark.parametrize(("make", "name", "old", "tells"), CASES, ids=range(len(CASES)))
def test_a_name_tells_the_model_and_old_names_still_match(make, name, old, tells):
    old = f"langchain:AzureOpenAIEmbeddings:{old}" if old == "text-embedding-ada-002" else old
    embedder = as_embedder(make())
    assert embedder.name == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_embedder(embedder, name)
        assert not same_embedder(embedder, f"{name}x")
        assert not same_embedder(embedder, "memvid-hash-v1:384")
    if tells:
        assert same_embedder(embedder, old)
    else:
        with pytest.warns(EmbedderWarning, match="does not show whether it is the same") as caught:
            assert same_embedder(embedder, old)
        warning = caught[0].message
        assert isinstance(warning, EmbedderWarning)
        assert (warning.embedder, warning.given) == (old, name)


def test_whatever_embeds_differently_has_another_name():
    names = [as_embedder(case[0]()).name for case in CASES]
    doubles = {name for name in names if names.count(name) > 1}
    assert doubles == {SMALL, "langchain:AzureOpenAIEmbeddings:a"}  # a cache of a model, and a deployment named twice


def test_a_wrapper_that_holds_itself_has_a_name():
    one = Prefixed(openai())
    one._inner = one
    assert as_embedder(one).name.startswith("langchain:Prefixed(Prefixed(")


def test_a_given_name_is_all_that_matches():
    from memvid_core.embedding import LangChainEmbedder

    embedder = LangChainEmbedder(openai(), name="mine")
    assert same_embedder(embedder, "mine")
    assert not same_embedder(embedder, SMALL)


# ---------------------------------------------------------------------------------------------- what is no embedder


@pytest.mark.parametrize("path", ["notes.mp4", "~/NOTES.MP4", "a/b.m4v", ":memory:", Path("notes.mp4"), Path("folder")])
def test_a_path_is_no_embedder_and_the_error_says_where_it_goes(path):
    with pytest.raises(InvalidInputError, match="path=") as caught:
        as_embedder(path)
    assert caught.value.hint == Hint(Action.GIVE_PATH, {"path": str(path)})


def test_a_file_that_is_there_is_no_model(tmp_path):
    (tmp_path / "notes").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="path="):
        as_embedder(str(tmp_path / "notes"))


# ------------------------------------------------------------------------------------- what a memory is opened with


def test_a_file_without_vectors_takes_the_builtin_one():
    made = choose_embedder(None, GIVEN, has_vectors=False)
    assert isinstance(made, HashingEmbedder)
    assert choose_embedder(None, GIVEN, has_vectors=True) is None
    assert choose_embedder(GIVEN, GIVEN, has_vectors=False) is None


@pytest.mark.parametrize("size", [64, 384])
def test_the_builtin_one_is_made_as_it_was_recorded(size):
    made = choose_embedder(None, f"memvid-hash-v1:{size}", has_vectors=True)
    assert isinstance(made, HashingEmbedder)
    assert made.dimension == size


def test_a_model_that_is_not_given_is_named_in_a_warning():
    with pytest.warns(EmbedderWarning, match="written by 'x:y' and is opened without it"):
        assert choose_embedder(None, "x:y", has_vectors=True) is None


def test_another_model_is_refused_unless_forced():
    with pytest.raises(EmbedderMismatchError, match="written by 'x:y', not by 'callable:embed'") as caught:
        choose_embedder(embed, "x:y", has_vectors=True)
    assert caught.value.hint == Hint(Action.FORCE, {"embedder": "x:y"})
    for recorded, options in (("x:y", {"force": True}), (GIVEN, {}), ("callable:embed", {})):
        made = choose_embedder(embed, recorded, has_vectors=True, **options)
        assert made is not None
        assert made.name == "callable:embed"


def test_a_memory_gets_an_embedder_of_its_own_that_has_learnt_nothing():
    given = HashingEmbedder(64)
    made = choose_embedder(given, "memvid-hash-v1:64", has_vectors=True)
    assert isinstance(made, HashingEmbedder)
    assert made is not given
    assert not made.fitted
