"""Where the words of a question stand: what a text gets for it, and where the ranking uses it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memvid_core import CallableEmbedder, DamageWarning, Memory
from memvid_core.engine.ranking import Ranked
from memvid_core.engine.together import COMPARED, beginning, rescored, together
from tests.core.parity_boxes import without_parity

APART = "The wing was painted in a hall where nobody had time to ask why the jet was late, or if it stalled at all."
CLOSE = "Nobody had time to ask why the jet wing stalled, or in which hall it was painted, or if it was late at all."
OTHERS = [f"Report {number} says that the weather over field {number} stayed dry all week." for number in range(40)]
QUESTION = "Why had the jet wing stalled?"
PARTS = ("dense", "lexical", "nearby", "together", "beginning")


@pytest.fixture
def memory() -> Iterator[Memory]:
    with closing(Memory.create(":memory:")) as found:
        found.add([APART, CLOSE, *OTHERS], ids=["apart", "close", *(f"report {n}" for n in range(len(OTHERS)))])
        yield found


def test_words_count_within_eight_neighboring_words() -> None:
    padding = "and " * 6
    texts = [f"jet {padding} wing", f"jet {padding} and wing", "", "the sea"]
    assert together(texts, "jet wing").tolist() == [1.0, 0.5, 0.0, 0.0]


def test_repeated_words_count_once() -> None:
    assert together(["jet jet jet jet"], "jet wing").tolist() == [0.5]


def test_endings_and_particles_do_not_matter() -> None:
    assert together(["Stalling wings.", "엔진의 소음을 줄였다."], "stalled wing").tolist() == [1.0, 0.0]
    assert together(["엔진에서 소음이 났다.", "엔진의 무게와 비행기의 크기"], "엔진 소음").tolist() == [1.0, 0.5]


def test_words_of_letters_and_digits_count_by_both_beginnings() -> None:
    assert together(["그는 제3공화국을 떠났다."], "공화국").tolist() == [1.0]
    assert beginning(["1989년에 떠났다."], "1989").tolist() == [1.0]


@pytest.mark.parametrize("question", ["", "   ", '"', "-jet", "je*", "東京大学", "?!"])
def test_questions_without_words_that_can_stand_anywhere(question: str) -> None:
    assert together([APART, "東京大学"], question).tolist() == [0.0, 0.0]
    assert beginning([APART, "東京大学"], question).tolist() == [0.0, 0.0]


def test_a_word_at_the_beginning_counts_the_more_the_earlier_it_stands() -> None:
    filler = "and " * 100
    texts = [f"jet {filler}", f"{'and ' * 25}jet {filler}", f"{'and ' * 49}jet {filler}", f"{'and ' * 50}jet"]
    assert beginning(texts, "jet wing").tolist() == pytest.approx([0.5, 0.25, 0.01, 0.0])


def test_a_short_text_gets_as_much_for_its_beginning_as_a_long_one() -> None:
    texts = ["jet wing and so", "jet wing " + "and " * 46, "jet wing " + "and " * 500]
    assert beginning(texts, "jet").tolist() == [1.0, 1.0, 1.0]
    assert beginning(["and so jet wing"], "jet").tolist() == [0.5]


def test_repetitions_and_later_places_add_nothing_to_a_beginning() -> None:
    assert beginning(["jet jet jet jet"], "jet wing").tolist() == [0.5]
    assert beginning(["제트기의 날개. 제트기와 날개"], "날개").tolist() == [0.75]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "?!", "x" * 5_000, "jet" * 2_000, "\u0301" * 2_000])
def test_beginnings_without_the_words(text: str) -> None:
    assert beginning([text], "jet wing").tolist() == [0.0]


def test_a_text_that_begins_with_the_words_comes_first() -> None:
    subject = "Landing gear: how it is checked each winter, when the crew has time, and by whom this is signed."
    aside = "How it is checked each winter, when the crew has time, and by whom this is signed: landing gear."
    with closing(Memory.create(":memory:")) as memory:
        memory.add([aside, subject, *OTHERS], ids=["aside", "subject", *(f"report {n}" for n in range(len(OTHERS)))])
        assert [hit.id for hit in memory.search("landing gear", 2, mode="lexical")] == ["aside", "subject"]
        first, second = memory.search("landing gear", 2, explain=True)
        assert (first.id, second.id) == ("subject", "aside")
        assert first.explain is not None
        assert second.explain is not None
        assert first.explain["beginning"] > second.explain["beginning"] > 0


def test_beginnings_count_less_the_more_a_model_is_trusted() -> None:
    rows, scores = np.arange(COMPARED + 1), np.linspace(1, 0.5, COMPARED + 1).astype(np.float32)
    half = (scores / 2).astype(np.float32)
    ranked = Ranked(rows, scores, parts={"dense": half, "lexical": half})
    texts = [f"{'and ' * (COMPARED - place)}jet" for place in range(COMPARED)]
    gained = []
    for trust in (0.0, 0.25, 0.5, 1.0):
        found = rescored(ranked, texts, "jet", COMPARED + 1, trust)
        assert set(found.parts) == {"dense", "lexical", "beginning"}
        assert np.allclose(np.sum(list(found.parts.values()), axis=0), found.scores)
        assert float(found.scores.max()) <= 1
        gained.append(float(found.parts["beginning"].max()))
    assert gained == sorted(gained, reverse=True)
    assert gained[-1] == 0
    assert found.rows.tolist() == rows.tolist()


def test_the_ranking_counts_what_both_functions_return() -> None:
    """Although it splits the beginning of a text only once."""
    rng = random.Random(3)
    pieces = ["jet", "wing", "stalled_jet", "Wing,", "제트기의", "날개", "?!", "é", "\u0301", "C#", "x" * 90, "…"]
    gaps = [" ", "\n\n", "\u3000", "\x85", "\u2028", "\t ", "\x1c"]
    for count in [0, 1, 3, 49, 50, 51, 52, 80, 400] * 20:
        texts = ["".join(rng.choice(pieces) + rng.choice(gaps) for _ in range(count + n)) for n in (0, 0, 1, 2)]
        rows = np.arange(len(texts))
        ranked = Ranked(rows, np.linspace(1, 0.5, len(texts)).astype(np.float32))
        found = rescored(ranked, texts, "jet wing stalled 날개 c#", len(texts))
        at = np.argsort(found.rows)
        near, early = found.parts["together"][at], found.parts["beginning"][at]
        assert near.tolist() == pytest.approx([*(together(texts[:3], "jet wing stalled 날개 c#") * 0.4 / 1.9), 0])
        assert early.tolist() == pytest.approx((beginning(texts, "jet wing stalled 날개 c#") * 0.5 / 1.9).tolist())


def test_a_text_with_the_words_together_comes_first(memory: Memory) -> None:
    first, second = memory.search(QUESTION, 2, explain=True)
    assert (first.id, second.id) == ("close", "apart")
    assert first.explain is not None
    assert second.explain is not None
    assert first.explain["together"] > second.explain["together"] > 0
    for hit in (first, second):
        assert hit.explain is not None
        assert sum(hit.explain[part] for part in PARTS) == pytest.approx(hit.score, abs=1e-6)
        assert 0 <= hit.score <= 1


def test_fewer_hits_are_the_first_of_more(memory: Memory) -> None:
    every = [(hit.id, hit.score) for hit in memory.search(QUESTION, 12)]
    for k in range(1, 12):
        assert [(hit.id, hit.score) for hit in memory.search(QUESTION, k)] == every[:k]
    scores = [score for _, score in every]
    assert scores == sorted(scores, reverse=True)


def test_the_relevance_of_a_record_does_not_change_with_its_place(memory: Memory) -> None:
    by_id = {hit.id: hit.relevance for hit in memory.search(QUESTION, 5, alpha=0.2)}
    for hit in memory.search(QUESTION, 2):
        assert hit.relevance == by_id[hit.id]


def test_explicit_weights_and_ranks_compare_no_texts(memory: Memory) -> None:
    weighted = memory.search(QUESTION, 3, alpha=0.2, explain=True)
    for hit in (*weighted, *memory.search(QUESTION, 3, fusion="rank", explain=True)):
        assert hit.explain is not None
        assert set(hit.explain) == {"dense", "lexical"}


def test_vectors_of_a_model_compare_beginnings_only() -> None:
    """A model has read the sentences."""

    def embed(texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1.0 + text.count("w"), text.count("e")] for text in texts], np.float32)

    with closing(Memory.create(":memory:", CallableEmbedder(embed, name="model", dimension=3))) as memory:
        memory.add([APART, CLOSE, *OTHERS])
        for hit in memory.search(QUESTION, 3, explain=True):
            assert hit.explain is not None
            assert set(hit.explain) == {"dense", "lexical", "nearby", "beginning"}


def test_a_damaged_text_that_is_compared_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        memory.add(CLOSE, ids="close")
        memory.add(APART, ids="apart")
        memory.add(OTHERS)
        assert [hit.id for hit in memory.search(QUESTION, 2)] == ["close", "apart"]
        place = memory._indexed.index.frame_table(2).find(1)
    assert place is not None
    data = bytearray(path.read_bytes())
    data[place.offset + 20] ^= 0xFF
    path.write_bytes(without_parity(data, place.offset))
    with Memory.open(path) as memory:
        with pytest.warns(DamageWarning, match="1 records cannot be read"):
            assert [hit.id for hit in memory.search(QUESTION, 1)] == ["close"]
        assert "apart" not in {hit.id for hit in memory.search(QUESTION, 2)}
