"""Memories whose vectors all come from the caller, and questions that bring their vector with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memvid_core import (
    DimensionError,
    EmbeddingError,
    HashingEmbedder,
    InvalidInputError,
    Memory,
    QueryError,
    VectorError,
)

TEXTS = ["the wing lifts", "the engine hums"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "given.mp4"
    with Memory.create(made, "given") as memory:
        memory.add(TEXTS, vectors=[[1.0, 0.0], [0.0, 1.0]])
    return made


@pytest.mark.parametrize("embedder", [None, "given"])
def test_it_opens_without_an_embedder(path: Path, embedder: Any) -> None:
    with Memory.open(path, "a", embedder=embedder) as memory:
        assert (memory.embedder, memory.info().embedder) == (None, "given")
        assert memory.search([0.0, 1.0], k=1)[0].text == "the engine hums"
        assert memory.search("wing")[0].text == "the wing lifts"  # by words
        with pytest.raises(EmbeddingError):
            memory.add(["no vector"])
        with pytest.raises(DimensionError):
            memory.add(["another"], vectors=[[1.0]])
        assert len(memory) == 2


def test_it_opens_with_any_embedder(path: Path) -> None:
    with Memory.open(path, embedder=lambda texts: [[1.0, 0.0] for _ in texts]) as memory:
        assert memory.search("anything", k=1, mode="dense")[0].text == "the wing lifts"


def test_a_memory_of_an_embedder_opens_without_it(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4") as memory:
        memory.add(TEXTS)
    with Memory.open(tmp_path / "m.mp4", embedder="given") as memory:
        assert memory.embedder is None
        assert memory.search("wing", k=1)[0].text == "the wing lifts"


def test_given_vectors_have_to_be_stored() -> None:
    with pytest.raises(InvalidInputError, match="none"):
        Memory.create(":memory:", "given", vector_dtype="none")


async def test_a_question_may_bring_its_vector() -> None:
    asked: list[str] = []

    def embed(texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        return [[1.0, 0.0] for _ in texts]

    memory = Memory.create(":memory:", embed)
    memory.add(TEXTS, vectors=[[1.0, 0.0], [0.0, 1.0]])
    for mode in ("dense", "hybrid"):
        options: dict[str, Any] = {"mode": mode, "embedding": [0.0, 1.0], "alpha": 1.0, "k": 1}
        assert memory.search("wing", **options)[0].text == "the engine hums"
        assert (await memory.asearch("wing", **options))[0].text == "the engine hums"
    assert memory.search("wing", mode="lexical", embedding=[0.0, 1.0])[0].text == "the wing lifts"
    assert asked == []
    assert memory.search("wing", alpha=1.0, k=1)[0].text == "the wing lifts"
    assert asked == ["wing"]


@pytest.mark.parametrize("bad", [[float("nan"), 1.0], [1.0], "text", 3])
def test_a_bad_vector_is_refused(bad: Any) -> None:
    memory = Memory.create(":memory:", "given")
    memory.add(TEXTS, vectors=[[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises((VectorError, DimensionError, EmbeddingError)):
        memory.search("wing", mode="hybrid", embedding=bad)
    with pytest.raises(QueryError):
        memory.search("wing", mode="dense")


def test_without_an_embedder_given_the_built_in_one_is_still_the_default() -> None:
    assert isinstance(Memory.create(":memory:").embedder, HashingEmbedder)
