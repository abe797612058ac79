"""Models by name: which package is asked for which, and what is said when it cannot."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from memvid_core.embedding import HashingEmbedder, as_embedder, choose_embedder, load_model
from memvid_core.errors import EmbedderWarning, EmbeddingError, InvalidInputError, MissingExtraError
from tests.core.embedding.samples import TEXTS, WIDTH, Prompted, Sentences, vector


class TextEmbedding:
    """With the methods of fastembed's class of this name."""

    embedding_size = WIDTH

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def passage_embed(self, texts):
        yield from (np.array(vector(text), np.float32) for text in texts)

    def query_embed(self, query):
        yield np.array(vector("query: " + query), np.float32)


class StaticModel(Sentences):
    """With the methods of model2vec's class of this name."""

    from_pretrained = classmethod(lambda cls, path: cls(path))


def offline(model):
    raise OSError(f"cannot reach the hub for {model}")


@pytest.fixture
def packages(monkeypatch):
    """Small packages under the names of the real ones, which are gigabytes and want a network."""
    made: dict[str, dict[str, Any]] = {
        "sentence_transformers": {"SentenceTransformer": Prompted},
        "model2vec": {"StaticModel": StaticModel},
        "fastembed": {"TextEmbedding": TextEmbedding},
    }
    for name, content in made.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers:sentence-transformers/all-MiniLM-L6-v2"),
        ("all-MiniLM-L6-v2", "sentence-transformers:all-MiniLM-L6-v2"),
        ("sentence-transformers:BAAI/bge-small-en-v1.5", "sentence-transformers:BAAI/bge-small-en-v1.5"),
        ("model2vec:minishlab/potion-base-8M", "model2vec:minishlab/potion-base-8M"),
        ("fastembed:BAAI/bge-small-en-v1.5", "fastembed:BAAI/bge-small-en-v1.5"),
        ("model2vec:/home/someone/models/potion", "model2vec:potion"),
        (r"model2vec:C:\models\potion", "model2vec:potion"),
    ],
)
def test_a_named_model_is_loaded_and_embeds(packages, name, recorded):
    embedder = as_embedder(name)
    assert embedder.name == recorded
    assert embedder.dimension == WIDTH
    matrix = embedder.embed_documents(TEXTS)
    assert matrix.tolist() == [vector(text) for text in TEXTS]
    asked = "query: wing" if name.startswith("fastembed") else "wing"
    assert embedder.embed_query("wing").tolist() == vector(asked)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("all-MiniLM-L6-v2", "sentence_transformers", "sentence-transformers"),
        ("model2vec:m", "model2vec", "model2vec"),
        ("fastembed:m", "fastembed", "fastembed"),
    ],
)
def test_a_missing_package_names_its_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"memvid-core\[{extra}\]") as caught:
        as_embedder(name)
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize(
    ("name", "module", "content"),
    [
        ("all-MiniLM-L6-v2", "sentence_transformers", {"SentenceTransformer": offline}),
        ("model2vec:m", "model2vec", {"StaticModel": types.SimpleNamespace(from_pretrained=offline)}),
        ("fastembed:m", "fastembed", {"TextEmbedding": offline}),
    ],
)
def test_a_model_that_cannot_be_fetched_says_what_to_do(packages, name, module, content):
    vars(sys.modules[module]).update(content)
    said = "fastembed takes no folders" if name.startswith("fastembed") else "pass a local folder"
    with pytest.raises(EmbeddingError, match=rf"cannot reach the hub.*without a network.*{said}") as caught:
        as_embedder(name)
    assert isinstance(caught.value.__cause__, OSError)


def test_the_built_in_embedder_has_a_name_too():
    embedder = load_model("memvid-hash-v1:128")
    assert isinstance(embedder, HashingEmbedder)
    assert embedder.dimension == 128


@pytest.mark.parametrize("name", ["", "  ", "fastembed:", "model2vec:"])
def test_no_name_is_refused(name):
    with pytest.raises(InvalidInputError, match="has no model name"):
        as_embedder(name)


def test_a_built_in_embedder_of_another_version_is_not_looked_for_on_a_hub(packages):
    with pytest.raises(InvalidInputError, match="a newer version of memvid-core may have it"):
        load_model("memvid-hash-v9:384")


def test_a_memory_of_a_newer_embedder_is_searched_by_its_words():
    with pytest.warns(EmbedderWarning, match="memvid-hash-v9:384"):
        assert choose_embedder(None, "memvid-hash-v9:384", has_vectors=True) is None
