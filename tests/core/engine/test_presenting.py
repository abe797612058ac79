"""Passages of hits, and texts that occur several times."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from memvid_core import Hit, InvalidInputError, Memory, Passage, QueryError, Recency
from tests.core.embedders import embed

MODES: list[Any] = ["hybrid", "dense", "lexical"]
LONG = "The sky was gray. " * 40 + "The wing lifts the plane. " + "The sea was calm. " * 40


def _unique_by_hand(hits: list[Hit], k: int) -> list[str]:
    found: dict[str, str] = {}
    for hit in hits:
        found.setdefault(" ".join(hit.text.split()), hit.id)
    return list(found.values())[:k]


@pytest.fixture(scope="module")
def repeated() -> Memory:
    """A memory with 60 texts, most of them several times, in random order."""
    chance = random.Random(5)
    words = ["wing", "lift", "engine", "jet", "sea", "gray", "calm", "plane", "flap", "tail"]
    texts = [" ".join(chance.choices(words, k=6)) for _ in range(60)]
    records = [chance.choice(texts[:10] if chance.random() < 0.8 else texts) for _ in range(600)]
    memory = Memory.create(":memory:", embed)
    memory.add([text if n % 3 else f" {text}\n" for n, text in enumerate(records)], [{"n": n} for n in range(600)])
    return memory


@pytest.mark.parametrize("mode", ["dense", "lexical"])
@pytest.mark.parametrize("where", [None, {"n": {"$lt": 200}}, lambda record: record.metadata["n"] % 2 == 0])
def test_unique_is_the_whole_answer_without_repetitions(repeated: Memory, mode: Any, where: Any) -> None:
    every = repeated.search("wing of a jet", 600, where, mode)
    for k in (0, 1, 7, 30):
        hits = repeated.search("wing of a jet", k, where, mode, unique=True)
        assert [hit.id for hit in hits] == _unique_by_hand(every, k)
        assert [hit.rank for hit in hits] == list(range(len(hits)))
        assert hits == asyncio.run(repeated.asearch("wing of a jet", k, where, mode, unique=True))


def test_a_hybrid_search_has_the_same_scores_without_repetitions(repeated: Memory) -> None:
    every = repeated.search("wing of a jet", 100)  # the number of candidates of each ranking
    hits = repeated.search("wing of a jet", 3, unique=True)
    scores = {hit.id: hit.score for hit in every}
    assert [hit.id for hit in hits] == _unique_by_hand(every, 3)
    assert [hit.score for hit in hits] == [scores[hit.id] for hit in hits]


def test_of_equal_texts_the_one_with_the_best_score_stays(repeated: Memory) -> None:
    recency = Recency("n", half_life=100.0, now=600.0)
    hits = repeated.search("wing", 5, unique=True, recency=recency, mode="lexical")
    every = repeated.search("wing", 200, recency=recency, mode="lexical")
    assert [hit.id for hit in hits] == _unique_by_hand(every, 5)


def test_a_reranker_gets_each_text_once(repeated: Memory) -> None:
    seen: list[str] = []

    def longest(question: str, texts: list[str]) -> list[float]:
        seen.extend(" ".join(text.split()) for text in texts)
        return [float(len(text)) for text in texts]

    hits = repeated.search("wing", 4, unique=True, rerank=longest)
    assert len(seen) == len(set(seen)) > 4
    assert len(hits[0].text) == max(len(hit.text) for hit in hits)


def test_diverse_hits_are_different_texts(repeated: Memory) -> None:
    hits = repeated.mmr("wing", 8, unique=True, fetch_k=20, passage=10)
    assert len({" ".join(hit.text.split()) for hit in hits}) == 8
    assert all(hit.passage is not None and len(hit.passage.text) <= 10 for hit in hits)


@pytest.mark.parametrize("mode", MODES)
def test_a_passage_is_the_part_of_a_long_text_that_answers(mode: Any) -> None:
    with Memory.create(":memory:", embed) as memory:
        memory.add([LONG, "short"], ids=["long", "short"])
        hits = memory.search("what does the wing lift?", 2, mode=mode, passage=40)
        passages = {hit.id: hit.passage for hit in hits}
        start = LONG.index("The wing")
        assert passages["long"] == Passage("The wing lifts the plane.", start, start + 25)
        assert passages.get("short", Passage("short", 0, 5)) == Passage("short", 0, 5)
        assert memory.search("the wing", 1)[0].passage is None


@pytest.mark.parametrize("passage", [0, -1, True, 2.5, "9"])
def test_a_passage_has_a_length(passage: Any) -> None:
    with Memory.create(":memory:", embed) as memory:
        with pytest.raises(QueryError, match="1 or more"):
            memory.search("wing", passage=passage)
        with pytest.raises(QueryError, match="words"):
            memory.search([1.0] * 16, passage=9)


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_misspelled_words_and_synonyms_are_searched_and_explained(mode: Any) -> None:
    with Memory.create(":memory:", embed) as memory:
        memory.add(["the aircraft", "an automobile", "a boat"], ids=["aircraft", "automobile", "boat"])
        options: dict[str, Any] = {"mode": mode, "alpha": 0.0, "explain": True, "synonyms": {"car": "automobile"}}
        for query, found, told in (
            ("aircarft", "aircraft", "aircarft → aircraft"),
            ("car", "automobile", "car → automobil"),
        ):
            [hit, *_] = memory.search(query, 1, **options)
            assert hit.id == found
            assert hit.explain is not None
            assert set(hit.explain) - {"dense", "lexical"} == {told}
            assert [hit] == asyncio.run(memory.asearch(query, 1, **options))
            assert memory.mmr(query, 1, mode="lexical", synonyms={"car": "automobile"})[0].id == found
        assert memory.search("aircarft", mode="lexical", fuzzy=False) == []
        with pytest.raises(InvalidInputError, match="synonyms"):
            memory.search("car", synonyms="missing.txt")
