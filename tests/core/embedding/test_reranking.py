"""Rerankers by name, with small packages in place of the real ones, whose models are not downloaded here."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from memvid_core import EmbeddingError, InvalidInputError, Memory, MissingExtraError, Reranker, named_reranker
from tests.core.embedders import embed


class Identity:
    """An activation that returns logits."""


class Sigmoid:
    """An activation that returns probabilities."""


class CrossEncoder:
    """With the methods of sentence-transformers' class of this name: the logit is the number of common words."""

    loaded = 0
    activation_fn: object = Identity()

    def __init__(self, model: str) -> None:
        if "missing" in model:
            raise OSError(f"cannot reach the hub for {model}")
        type(self).loaded += 1
        self.pairs: list[tuple[str, str]] = []

    def predict(self, pairs: list[tuple[str, str]], show_progress_bar: bool | None = None) -> list[float]:
        self.pairs += pairs
        return [float(len(set(one.split()) & set(other.split()))) - 1 for one, other in pairs]


class TextCrossEncoder(CrossEncoder):
    """With the methods of fastembed's class of this name."""

    def rerank(self, query: str, documents: list[str]) -> Iterator[float]:
        return iter(self.predict([(query, document) for document in documents]))


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, dict[str, Any]] = {
        "sentence_transformers": {"CrossEncoder": CrossEncoder},
        "fastembed": {},
        "fastembed.rerank": {},
        "fastembed.rerank.cross_encoder": {"TextCrossEncoder": TextCrossEncoder},
    }
    for name, content in made.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    named_reranker.cache_clear()
    CrossEncoder.loaded = 0


NAMES = ["cross-encoder/ms-marco", "sentence-transformers:BAAI/bge-reranker-base", "fastembed:Xenova/ms-marco", "./own"]


@pytest.mark.parametrize("name", NAMES)
def test_a_named_model_sorts_the_candidates(name: str) -> None:
    with Memory.create(":memory:", embed) as memory:
        memory.add(["a jet", "a jet engine burns", "the sea"])
        hits = memory.search("jet engine", 3, rerank=name)
        assert [hit.text for hit in hits] == ["a jet engine burns", "a jet", "the sea"]
        assert [hit.score for hit in hits] == pytest.approx([0.731, 0.5, 0.269], abs=1e-3)
        assert [hit.relevance for hit in hits] == pytest.approx([hit.score for hit in hits])
        again = memory.search("jet engine", 3, rerank=name, min_relevance=0.6)
        assert [hit.text for hit in again] == ["a jet engine burns"]
    assert named_reranker(name) is named_reranker(name)


def test_a_model_is_loaded_at_the_first_search_and_reads_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CrossEncoder, "activation_fn", Sigmoid())
    reranker = Reranker("cross-encoder/ms-marco")
    assert CrossEncoder.loaded == 0
    seen: list[str] = []

    def asked(question: str, texts: list[str]) -> Any:
        seen.extend(texts)
        return reranker(question, texts)

    with Memory.create(":memory:", embed) as memory:
        memory.add(["The sea is calm. A jet flies. " + "The sky is gray. " * 9, "the sea", "a jet jet"])
        hits = memory.search("jet", 3, rerank=asked, passage=20)
        assert {"A jet flies.", "the sea"} <= set(seen)
        assert min(hit.score for hit in hits) == 0.0  # not squashed again
        memory.search("jet", 3, rerank=asked)
    assert CrossEncoder.loaded == 1


def test_what_cannot_be_loaded_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbeddingError, match="without a network"):
        Reranker("missing")("?", ["a"])
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"memvid-core\[sentence-transformers\]"):
        Reranker("cross-encoder/ms-marco")("?", ["a"])
    with pytest.raises(InvalidInputError, match="no model"):
        Reranker(" ")


def test_a_model_with_several_labels_cannot_rerank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CrossEncoder, "predict", lambda self, pairs, **_: [[0.1, 0.9] for _ in pairs])
    with pytest.raises(InvalidInputError, match="one score"):
        Reranker("cross-encoder/nli")("?", ["a", "b"])


def test_an_embedding_model_gets_no_layer_of_random_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    class BertForSequenceClassification:
        def __init__(self, stored: list[str] | None) -> None:
            self.config = types.SimpleNamespace(architectures=stored)

    for stored, trained in (
        (["BertModel"], False),
        (["RobertaForMaskedLM"], False),
        (["BertForSequenceClassification"], True),
        (None, True),
    ):
        model = BertForSequenceClassification(stored)
        monkeypatch.setattr(CrossEncoder, "model", model, raising=False)
        if trained:
            assert Reranker("own")("a jet", ["a jet", "the sea"]).argmax() == 0
        else:
            with pytest.raises(InvalidInputError, match=r"no trained scores.*name a cross-encoder"):
                Reranker("own")("a jet", ["a jet"])
