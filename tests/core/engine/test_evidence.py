"""What a memory learns about its own rankings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from memvid_core import Memory, QueryError, StorageError
from memvid_core.engine import evidence, fusion
from memvid_core.engine.evidence import Evidence, practice, trust, usual_scores, weight
from memvid_core.engine.search_request import Mode

RNG = np.random.default_rng(3)
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmn" for b in ("a", "e", "i", "o") for c in ("ra", "ta", "so", "mi")]


def texts(count: int) -> list[str]:
    drawn = RNG.choice(VOCABULARY, (count, 2, 9))
    return [". ".join(" ".join(sentence) for sentence in text) + "." for text in drawn.tolist()]


@given(st.lists(st.text("ab 가나。.\n!", max_size=60), max_size=12), st.integers(1, 20))
def test_practice_questions_are_parts_of_their_texts_and_reproducible(given_texts: list[str], count: int) -> None:
    made = practice(given_texts, count)
    assert made == practice(given_texts, count)
    for place, question in made:
        words = question.split()
        assert " ".join(words) in " ".join(given_texts[place].split())
        assert 4 <= len(words) <= 12


@given(st.lists(st.text(max_size=2_000), min_size=1, max_size=5), st.integers(1, 50))
def test_vectors_of_longer_texts_have_more_weight_within_bounds(some: list[str], more: int) -> None:
    assert 0.05 <= weight(some) <= weight([text + "a" * more for text in some]) <= 0.45
    assert weight(some) == weight(some[::-1])


def test_without_texts_or_long_sentences_nothing_is_learned() -> None:
    assert weight([]) == fusion.ALPHA
    assert practice(["", "word", "a b c"]) == []
    assert usual_scores([]) == {}


def test_a_model_without_support_by_words_has_no_weight() -> None:
    rows, scores = np.arange(10), np.linspace(5, 1, 10, dtype=np.float32)
    weights = [trust((np.roll(np.arange(20), -shift), scores), (rows, scores), 200) for shift in range(11)]
    assert weights[0] == 0.55
    assert weights == sorted(weights, reverse=True)
    assert weights[9:] == [0, 0]


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=9), st.integers(0, 10))
def test_a_model_has_more_weight_for_longer_texts_within_bounds(tokens: list[float], shift: int) -> None:
    rows, scores = np.arange(10), np.linspace(5, 1, 10, dtype=np.float32)
    dense = np.roll(np.arange(20), -shift), scores
    weights = [trust(dense, (rows, scores), some) for some in sorted(tokens)]
    assert weights == sorted(weights)
    assert 0 <= weights[0] <= weights[-1] <= 0.55


def test_a_model_ranks_short_texts_less_than_long_ones() -> None:
    """The same question, rankings and vectors; only the other words of the texts make them longer."""
    shares = []
    vectors = np.eye(3, dtype=np.float32)
    for filling in (0, 300):
        some = [f"{one} bara beta" + " soil" * filling for one in ("diso", "kami", "lera")]
        with Memory.create(":memory:", "given") as memory:
            memory.add(some, vectors=vectors)
            [best, *_] = memory.search("diso bara", embedding=vectors[0], mode="hybrid", explain=True)
            assert best.text == some[0]
            assert best.explain is not None
            shares.append(best.explain["dense"] / (best.explain["dense"] + best.explain["lexical"]))
    assert shares[0] == pytest.approx(0.15 + 3 / 400)
    assert 1.5 * shares[0] < shares[1] < 0.55


def test_evidence_is_kept_in_the_index_folder_and_a_damaged_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LEAST", 20)
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        memory.add(texts(40))
        memory.prepare()
    [kept] = path.with_name("m.mp4.index").rglob("evidence")
    first = kept.read_bytes()
    flips = [
        first[:at] + bytes([first[at] ^ 1 << at % 8]) + first[at + 1 :] for at in range(0, len(first), 7)
    ]  # also digits that stay digits
    assert flips
    for damage in (b"", first[:10], b"[]", b'{"key": 1}', first.replace(b'"alpha": 0.', b'"alpha": 7.'), *flips):
        kept.write_bytes(damage)
        with Memory.open(path) as memory:
            hits = memory.search("bara beta diso", explain=True)
            assert hits == memory.search("bara beta diso", explain=True)
        assert kept.read_bytes() == first
    changed = json.dumps({**json.loads(first[32:]), "alpha": 0.75}).encode()
    kept.write_bytes(xxhash.xxh3_128_hexdigest(changed).encode() + changed)
    with Memory.open(path) as memory:  # it is read, not learned again
        assert memory.search("bara beta diso", explain=True) != hits


def test_evidence_is_learned_again_when_the_number_of_records_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LEAST", 8)
    calls: list[int] = []

    def counted(some: list[str]) -> float:
        calls.append(len(some))
        return 0.3

    monkeypatch.setattr(evidence, "weight", counted)
    with Memory.create(":memory:") as memory:
        for text in texts(40):
            memory.add(text)
            memory.search("bara", k=1)
    assert calls == [8, 16, 32]


def vectors_of(count: int) -> NDArray[np.float32]:
    return RNG.standard_normal((count, 8)).astype(np.float32)


def refused(some: list[str]) -> float:
    raise AssertionError("learned inside a question")


@pytest.mark.parametrize("embedder", [None, "given"])
def test_no_question_learns_what_a_memory_that_grows_by_single_records_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder: str | None
) -> None:
    monkeypatch.setattr(evidence, "LEAST", 8)
    calls: list[int] = []

    def counted(some: list[str]) -> float:
        calls.append(len(some))
        return 0.3

    monkeypatch.setattr(evidence, "weight", counted)
    mode: Mode = "hybrid" if embedder is None else "lexical"
    with Memory.create(tmp_path / "m.mp4", embedder) as memory:
        for number, text in enumerate(texts(40)):
            memory.add(text, ids=str(number), vectors=None if embedder is None else vectors_of(1))
            if number == 3:
                memory.search("bara", k=1, mode=mode)  # from here on its words are kept up
    assert calls == [8, 16, 32]
    monkeypatch.setattr(evidence, "weight", refused)
    with Memory.open(tmp_path / "m.mp4", "a", embedder=embedder) as memory:
        first = memory.search("bara", explain=True, mode=mode)
        memory.delete([hit.id for hit in first[-2:]])  # the copy has other rows
        memory.compact()
    with Memory.open(tmp_path / "m.mp4", embedder=embedder) as memory:
        assert memory.search("bara", k=1, explain=True, mode=mode)[0].id == first[0].id


@pytest.mark.parametrize("amount", [1_500])
def test_memories_whose_words_nobody_asks_for_learn_nothing(amount: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LEAST", 8)
    monkeypatch.setattr(evidence, "weight", refused)
    with Memory.create(":memory:", "given") as memory:
        memory.search("bara", mode="lexical")
        memory.add(texts(amount), vectors=vectors_of(amount))  # the words of many at once are left to a question
        with pytest.raises(AssertionError):
            memory.search("bara", mode="lexical")


@pytest.mark.parametrize("failure", [StorageError("the disk is full"), RuntimeError("of an embedder")])
def test_what_cannot_be_learned_does_not_stop_an_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(evidence, "LEAST", 8)
    failures: list[int] = []

    def failing(some: list[str]) -> float:
        failures.append(len(some))
        raise failure

    with Memory.create(tmp_path / "m.mp4") as memory:
        memory.add("bara")
        memory.search("bara")
        with monkeypatch.context() as broken:
            broken.setattr(evidence, "weight", failing)
            for text in texts(20):
                memory.add(text)
        assert failures == [8, 16]
        assert len(memory) == 21
        assert memory.search("bara beta diso", k=1)


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
