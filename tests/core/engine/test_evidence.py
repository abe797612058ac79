"""What a memory learns about its own rankings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import HashingEmbedder, Memory
from memvid_core.engine import evidence
from memvid_core.engine.evidence import Evidence, learn, practice
from memvid_core.index import fusion

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

    def rankings(first: bool) -> list[fusion.Ranking]:
        return [
            (np.roll(rows, -q.place if first else -q.place - 7), np.linspace(0.9, 0.1, 60, dtype=np.float32))
            for q in asked
        ]

    good, bad = rankings(True), rankings(False)
    assert evidence._weight(asked, good, bad) > 0.55 > 0.45 > evidence._weight(asked, bad, good)


def test_learning_is_deterministic_and_bounded() -> None:
    some = texts(300)
    embedder = HashingEmbedder()
    found = learn(some, embedder)
    assert found == learn(list(some), embedder.clone())
    assert all(0 <= value <= 1 for value in found)
    assert found != Evidence()
    words_only = learn(some, None)
    assert words_only.alpha == Evidence().alpha
    assert words_only.usual_words == found.usual_words


@pytest.mark.parametrize("some", [[], ["", "word"], ["a b c"]])
def test_texts_without_long_sentences_teach_nothing(some: list[str]) -> None:
    assert learn(some, HashingEmbedder()) == Evidence()


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

    def counted(some: list[str], _: object) -> Evidence:
        calls.append(len(some))
        return Evidence()

    monkeypatch.setattr(evidence, "learn", counted)
    with Memory.create(":memory:") as memory:
        for text in texts(40):
            memory.add(text)
            memory.search("bara", k=1)
    assert calls == [8, 16, 32]
