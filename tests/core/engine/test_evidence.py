"""What a memory learns about its own rankings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import HashingEmbedder, Memory, QueryError
from memvid_core.engine import evidence, fusion
from memvid_core.engine.evidence import Evidence, practice, usual_scores, weight
from memvid_core.engine.search_request import Mode
from memvid_core.index.words.scores import Ranking

RNG = np.random.default_rng(3)
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmn" for b in ("a", "e", "i", "o") for c in ("ra", "ta", "so", "mi")]


def texts(count: int) -> list[str]:
    drawn = RNG.choice(VOCABULARY, (count, 2, 9))
    return [". ".join(" ".join(sentence) for sentence in text) + "." for text in drawn.tolist()]


@given(st.lists(st.text("ab 가나。.\n!", max_size=60), max_size=12), st.integers(1, 20))
def test_practice_questions_are_parts_of_their_texts_and_reproducible(given_texts: list[str], count: int) -> None:
    made = practice(given_texts, count)
    assert made == practice(given_texts, count)
    for place, question, reduced in made:
        words = question.split()
        assert " ".join(words) in " ".join(given_texts[place].split())
        assert 4 <= len(words) <= 12
        assert len(reduced.split()) == len(given_texts[place].split()) - 3 * len(words) // 4


def test_a_better_dense_ranking_gets_a_larger_weight() -> None:
    asked = [evidence.Practice(place, "", "") for place in range(40)]
    rows = np.arange(60)

    def rankings(first: bool) -> list[Ranking]:
        return [
            (np.roll(rows, -q.place if first else -q.place - 7), np.linspace(0.9, 0.1, 60, dtype=np.float32))
            for q in asked
        ]

    def space(first: bool) -> evidence.Space:
        near = np.eye(60, dtype=np.float32)[[q.place if first else q.place + 7 for q in asked]]
        return evidence.Space(np.eye(60, dtype=np.float32), near, np.eye(60, dtype=np.float32)[:40])

    good, bad = rankings(True), rankings(False)
    by_dense = evidence.best_weight(asked, good, bad, space(True))
    assert by_dense > 0.55 > 0.45 > evidence.best_weight(asked, bad, good, space(False))


def test_learning_is_deterministic_and_bounded() -> None:
    some = texts(300)
    embedder = HashingEmbedder()
    found = weight(some, embedder)
    assert found == weight(list(some), embedder.clone())
    assert 0 <= found <= 1
    assert found != fusion.ALPHA
    assert weight(some, None) == fusion.ALPHA


@pytest.mark.parametrize("some", [[], ["", "word"], ["a b c"]])
def test_texts_without_long_sentences_teach_nothing(some: list[str]) -> None:
    assert weight(some, HashingEmbedder()) == fusion.ALPHA
    assert usual_scores([]) == {}


def test_evidence_is_kept_in_the_index_folder_and_a_damaged_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LEAST", 20)
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        memory.add(texts(40))
        memory.prepare()
    [kept] = path.with_name("m.mp4.index").rglob("evidence.json")
    first = kept.read_bytes()
    question = "bara beta diso"
    for damage in (first[:10], b"[]", b'{"key": 1}', first.replace(b'"alpha": 0.', b'"alpha": 7.'), b"\xff"):
        kept.write_bytes(damage)
        with Memory.open(path) as memory:
            hits = memory.search(question, explain=True)
            assert hits == memory.search(question, explain=True)
        assert kept.read_bytes() == first
    changed = {**json.loads(first), "alpha": 0.75}
    kept.write_text(json.dumps(changed), "utf-8")
    with Memory.open(path) as memory:  # it is read, not learned again
        assert memory.search(question, explain=True) != hits


def test_evidence_is_learned_again_when_the_number_of_records_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LEAST", 8)
    calls: list[int] = []

    def counted(some: list[str], _: object) -> float:
        calls.append(len(some))
        return 0.3

    monkeypatch.setattr(evidence, "weight", counted)
    with Memory.create(":memory:") as memory:
        for text in texts(40):
            memory.add(text)
            memory.search("bara", k=1)
    assert calls == [8, 16, 32]


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
def test_the_relevance_of_a_text_does_not_depend_on_the_other_hits(mode: Mode) -> None:
    some = texts(60)
    question = " ".join(some[7].split()[:6])
    with Memory.create(":memory:") as memory:
        memory.add(some, [{"n": n} for n in range(60)], ids=[str(n) for n in range(60)])
        found = {hit.id: hit.relevance for hit in memory.search(question, k=60, mode=mode)}
        assert max(found, key=lambda name: found[name] or 0) == "7"
        for least in (0.0, 0.3, 0.9, 1.0):
            kept = memory.search(question, k=60, mode=mode, min_relevance=least)
            assert {hit.id for hit in kept} == {name for name, value in found.items() if (value or 0) >= least}
        others = memory.search(question, k=60, where={"n": {"$ne": 7}}, mode=mode)
        for hit in others:
            assert hit.relevance == pytest.approx(found[hit.id], abs=1e-6)


def test_nothing_relevant_is_an_answer() -> None:
    with Memory.create(":memory:") as memory:
        memory.add(["The wing of an aircraft lifts.", "Bread rises because of yeast."])
        assert memory.search("Who painted the ceiling of the chapel?", min_relevance=0.5) == []
        assert len(memory.search("the wing of an aircraft", min_relevance=0.5)) == 1
        with pytest.raises(QueryError, match="min_relevance"):
            memory.search("wing", min_relevance=1.5)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_relevances_are_fractions_and_rise_with_the_scores(words: list[float], near: list[float], part: float) -> None:
    size = min(len(words), len(near))
    by_word, by_vector = np.sort(np.array(words[:size])), np.sort(np.array(near[:size]))
    known = Evidence(background=0.3)
    for found in (known.of_words(by_word), known.of_both(by_word, by_vector), known.of_model(by_word, by_vector, part)):
        assert ((found >= 0) & (found <= 1)).all()
        assert (np.diff(found) >= 0).all()
