"""Texts that were added next to a better one: what they get for it, and where the ranking uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memvid_core import CallableEmbedder, Memory
from memvid_core.engine.nearby import raised
from memvid_core.engine.ranking import Ranked

OTHERS = [f"Report {number} says that the weather over field {number} stayed dry all week." for number in range(40)]
BEST = "The jet wing stalled over the sea, and its pilot could not recover it in time."
NEXT = "Its pilot wrote a long letter about what had happened on that day."


def ranked(rows: list[int], scores: list[float]) -> Ranked:
    halves = (np.array(scores) / 2).astype(np.float32)
    return Ranked(np.array(rows), np.array(scores, np.float32), parts={"dense": halves, "lexical": halves})


def raised_rows(rows: list[int], scores: list[float], k: int = 10) -> Ranked:
    """With no deleted rows, the places are the rows."""
    return raised(ranked(rows, scores), np.array(rows, np.int64), k)


def scores_by_row(found: Ranked) -> dict[int, float]:
    return dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True))


def test_a_row_is_raised_by_a_quarter_of_the_lead_of_the_best_within_two() -> None:
    found = scores_by_row(raised_rows([10, 30, 12, 13, 9, 31], [1.0, 0.8, 0.6, 0.4, 0.2, 0.8]))
    assert found == pytest.approx({10: 1.0, 30: 0.8, 12: 0.7, 13: 0.45, 9: 0.4, 31: 0.8})


def test_a_raised_row_may_pass_others_but_not_the_best() -> None:
    found = raised_rows([10, 30, 11], [1.0, 0.8, 0.79])
    assert found.rows.tolist() == [10, 11, 30]
    assert raised_rows([10, 30, 11], [1.0, 0.8, 0.79], 2).rows.tolist() == [10, 11]
    every = raised_rows([5, 4, 3, 2, 1], [0.9] * 5)
    assert every.rows.tolist() == [1, 2, 3, 4, 5]
    assert not every.parts["nearby"].any()


def test_a_row_that_nothing_supports_is_not_raised() -> None:
    assert scores_by_row(raised_rows([10, 11, 12], [1.0, 0.0, 0.1])) == pytest.approx({10: 1.0, 11: 0.0, 12: 0.2})


def test_the_order_of_candidates_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    rows, scores = rng.permutation(60)[:40].tolist(), rng.random(40).tolist()
    every = raised_rows(rows, scores, 40)
    mixed = rng.permutation(40)
    again = raised_rows([rows[at] for at in mixed], [scores[at] for at in mixed], 40)
    assert every.rows.tolist() == again.rows.tolist()
    for place, row in enumerate(every.rows.tolist()):
        best = max(score for other, score in zip(rows, scores, strict=True) if abs(other - row) <= 2)
        own = scores[rows.index(row)]
        assert every.scores[place] == pytest.approx(own + min((best - own) / 4, own))
        assert sum(part[place] for part in every.parts.values()) == pytest.approx(every.scores[place])


@pytest.mark.parametrize("rows", [[], [7], [7, 8], [8, 7], [7, 100]])
def test_few_candidates(rows: list[int]) -> None:
    found = raised_rows(rows, [1.0, 0.5][: len(rows)])
    assert sorted(found.rows.tolist()) == sorted(rows)
    assert found.scores[:1].tolist() == [1.0] * bool(rows)


@pytest.fixture(params=["built-in", "model"])
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    def embed(texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1.0 + text.count("w"), text.count("e")] for text in texts], np.float32)

    embedder = CallableEmbedder(embed, name="model", dimension=3) if request.param == "model" else None
    with closing(Memory.create(":memory:", embedder)) as found:
        found.add([*OTHERS[:5], NEXT, *OTHERS[5:20]], ids=[*map(str, range(5)), "far", *map(str, range(5, 20))])
        found.add([BEST, NEXT, *OTHERS[20:]], ids=["best", "next", *map(str, range(20, 40))])
        yield found


def test_of_equal_texts_the_one_next_to_the_best_comes_first(memory: Memory) -> None:
    """Without it, equal texts are in the order in which they were added."""
    question = "Why did the wing stall, and what did the pilot write?"
    best, second, third = memory.search(question, 3, explain=True, mode="hybrid")
    assert (best.id, second.id, third.id) == ("best", "next", "far")
    assert best.explain is not None
    assert second.explain is not None
    assert third.explain is not None
    assert second.explain["nearby"] > best.explain["nearby"] == third.explain["nearby"] == 0
    assert second.relevance == third.relevance
    for option in ({"alpha": 0.2}, {"fusion": "rank"}, {"mode": "lexical"}):
        plain = [hit.id for hit in memory.search(question, 10, **option)]
        assert plain.index("far") < plain.index("next")


def test_a_compaction_changes_no_answer(tmp_path: Path) -> None:
    """Deleted records do not keep their neighbors apart, neither before they are taken out nor after."""
    question = "Why did the wing stall, and what did the pilot write?"
    with Memory.create(tmp_path / "m.mp4") as memory:
        ids = [str(number) for number in range(len(OTHERS))]
        memory.add([*OTHERS[:5], NEXT, *OTHERS[5:20], BEST], ids=[*ids[:5], "far", *ids[5:20], "best"])
        memory.add([*OTHERS[20:30], NEXT, *OTHERS[30:]], ids=[*ids[20:30], "next", *ids[30:]])
        apart = [hit.id for hit in memory.search(question, 30)]
        assert apart.index("far") < apart.index("next")
        memory.delete(ids[20:30])
        before = [(hit.id, hit.score, hit.explain) for hit in memory.search(question, 30, explain=True)]
        assert [name for name, _, _ in before[:3]] == ["best", "next", "far"]
        memory.compact()
        assert [(hit.id, hit.score, hit.explain) for hit in memory.search(question, 30, explain=True)] == before
