"""The words of a question that stand together: what a text gets for them, and where the ranking uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memvid_core import CallableEmbedder, DamageWarning, Memory
from memvid_core.engine.together import together
from tests.core.parity_boxes import without_parity

APART = "The wing was painted in a hall where nobody had time to ask why the jet was late, or if it stalled at all."
CLOSE = "Nobody had time to ask why the jet wing stalled, or in which hall it was painted, or if it was late at all."
OTHERS = [f"Report {number} says that the weather over field {number} stayed dry all week." for number in range(40)]
QUESTION = "Why had the jet wing stalled?"


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


@pytest.mark.parametrize("question", ["", "   ", '"', "-jet", "je*", "東京大学", "?!"])
def test_questions_without_words_that_can_stand_together(question: str) -> None:
    assert together([APART, "東京大学"], question).tolist() == [0.0, 0.0]


def test_a_text_with_the_words_together_comes_first(memory: Memory) -> None:
    first, second = memory.search(QUESTION, 2, explain=True)
    assert (first.id, second.id) == ("close", "apart")
    assert first.explain is not None
    assert second.explain is not None
    assert first.explain["together"] > second.explain["together"] > 0
    for hit in (first, second):
        assert hit.explain is not None
        assert sum(hit.explain[part] for part in ("dense", "lexical", "together")) == pytest.approx(hit.score, abs=1e-6)
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


def test_vectors_of_a_model_compare_no_texts() -> None:
    """A model has read the sentences."""

    def embed(texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1.0 + text.count("w"), text.count("e")] for text in texts], np.float32)

    with closing(Memory.create(":memory:", CallableEmbedder(embed, name="model", dimension=3))) as memory:
        memory.add([APART, CLOSE, *OTHERS])
        for hit in memory.search(QUESTION, 3, explain=True):
            assert hit.explain is not None
            assert "together" not in hit.explain


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
