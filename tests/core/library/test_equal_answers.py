"""A library answers as one memory of the same records does: the same hits in the same order, with the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import Library, Memory, Recency, Record
from memvid_core.engine import evidence
from memvid_core.model import Metric
from tests.core.embedders import DIMENSION, embed
from tests.core.library.libraries import ENGLISH, KOREAN, by_topic, pair, plain, records

QUESTIONS = [
    "the wing of a barim",
    "barmi detas",  # misspelled
    f"{KOREAN[3]} {KOREAN[11]}의 engine",
    KOREAN[5][:2] + "말을",  # one letter is wrong
    f'"{ENGLISH[1]} {ENGLISH[2]}" wing',
    f"heat -{ENGLISH[4]}",
    "pl* eng*",
    " ".join(ENGLISH * 2 + KOREAN + [f"unknown{n}" for n in range(70)]),  # more words than are searched
    "nothing known at all",
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"mode": "dense", "with_vectors": True},
    {"mode": "lexical", "explain": True},
    {"k": 40, "explain": True, "passage": 60},
    {"k": 300},
    {"fusion": "rank"},
    {"alpha": 0.7, "where": {"year": {"$gte": 2005}, "topic": {"$ne": "heat"}}},
    {"where": lambda record: record.metadata["n"] % 3 == 0},
    {"unique": True, "k": 20},
    {"recency": Recency("at", 3e8, now=1.7e9)},
    {"rerank": lambda _, texts: [len(text) for text in texts]},
    {"min_relevance": 0.4, "k": 30},
    {"synonyms": {"wing": [ENGLISH[7], "heat shock"], "nothing": "engine"}, "explain": True},
    {"fuzzy": False, "mode": "lexical"},
]


def assert_equal(memory: Memory, library: Library, questions: list[str], options: list[dict[str, Any]]) -> None:
    """Each question with a third of the options, and each option with a third of the questions."""
    for number, question in enumerate(questions):
        for option in options[number % 3 :: 3]:
            assert plain(library.search(question, **option)) == plain(memory.search(question, **option))


@pytest.mark.parametrize("split", ["as they come", "by topic"])
def test_every_kind_of_search_has_the_hits_of_one_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    monkeypatch.setattr(evidence, "LEAST", 200)  # so that the texts teach weights
    some = records(300)
    questions = QUESTIONS[2:4] if split == "by topic" else QUESTIONS
    with pair(tmp_path, by_topic(some) if split == "by topic" else some, 4) as (memory, library):
        assert len(library) == len(memory) == 300
        assert_equal(memory, library, questions, OPTIONS)
        for question in QUESTIONS[:2]:
            assert plain(library.mmr(question, k=8)) == plain(memory.mmr(question, k=8))
            assert plain(library.mmr(question, mode="hybrid")) == plain(memory.mmr(question, mode="hybrid"))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_given_vectors_some_of_them_missing(tmp_path: Path, metric: Metric) -> None:
    some = records(120)
    vectors = [None if n % 7 == 3 else vector for n, vector in enumerate(embed([r.text for r in some]))]
    with pair(tmp_path, some, 3, vectors=vectors, embedder="given", metric=metric) as (memory, library):
        asked = embed(["one", "two"])
        for vector in asked:
            for option in ({}, {"where": {"year": {"$lt": 2000}}}, {"with_vectors": True, "k": 110}):
                assert plain(library.search(vector, **option)) == plain(memory.search(vector, **option))
            assert plain(library.mmr(vector)) == plain(memory.mmr(vector))
            for question in QUESTIONS:
                got = library.search(question, mode="hybrid", embedding=vector)
                assert plain(got) == plain(memory.search(question, mode="hybrid", embedding=vector))


def test_an_external_model(tmp_path: Path) -> None:
    with pair(tmp_path, records(150), 4, embedder=embed) as (memory, library):
        assert library.info().dimension == DIMENSION
        assert_equal(memory, library, QUESTIONS[:3], OPTIONS[:6])


def test_texts_too_few_to_fit_the_embedder_share_its_first_state(tmp_path: Path) -> None:
    with pair(tmp_path, records(30), 6) as (memory, library):
        assert_equal(memory, library, QUESTIONS[:3], OPTIONS[:3])


def test_deleted_and_replaced_records_count_nowhere(tmp_path: Path) -> None:
    some = records(300)
    with pair(tmp_path, some, 4) as (memory, library):
        gone = [record.id for record in some[::5]]
        assert library.delete(gone) == memory.delete(gone) == 60
        assert library.delete(where={"topic": "heat"}) == memory.delete(where={"topic": "heat"})
        newer = [Record(record.id, f"{record.text} newer", {"n": -1}) for record in some[3:40:4]]
        texts, metadata, ids = zip(*((r.text, r.metadata, r.id) for r in newer), strict=True)
        vectors = memory.embedder.embed_documents(texts) if memory.embedder else None  # both in the fit of the build
        memory.add(texts, metadata, ids, vectors)
        library.add(texts, metadata, ids)
        assert len(library) == len(memory)
        assert_equal(memory, library, QUESTIONS[:7], OPTIONS[1:8:2])


def test_one_record_a_shard_and_an_empty_library(tmp_path: Path) -> None:
    with Library.create(tmp_path / "empty") as library:
        assert library.search("anything") == []
        assert (len(library), library.select(), list(library), library.version) == (0, [], [], 0)
    with pair(tmp_path, records(3), 3) as (memory, library):
        assert_equal(memory, library, QUESTIONS[:4], OPTIONS[:3])


def test_given_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((3_000, 16)).astype(np.float32)
    some = [Record(str(n), f"text {n % 50}", {"n": n}) for n in range(3_000)]
    with pair(tmp_path, some, 3, vectors=list(vectors), embedder="given") as (memory, library):
        for vector in vectors[::500]:
            assert plain(library.search(vector, k=10)) == plain(memory.search(vector, k=10))
