"""Questions to a memory of :mod:`soak.model`, and checks whether a state explains the answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from memvid_core import RecordNotFoundError
from soak.model import COLORS, State, WrongAnswer, color_of, metadata_of, text_of, unique_word, vector_of, versions_in

__all__ = ["Question", "ask_everything", "random_question"]

_CLOSE = 2e-3  # half precision, and vectors of length 16


class Question(NamedTuple):
    """Describe a question: its name, how to ask a memory, and whether a state explains the answer."""

    name: str
    ask: Callable[[Any], Any]
    holds: Callable[[State, Any], bool]


def _shown(hits: Any) -> list[tuple[str, int, float]]:
    """Return hits as id, version and cosine; their texts are checked."""
    versions = versions_in(hit.record for hit in hits)
    return [(hit.id, versions[hit.id], hit.cosine if hit.cosine is not None else hit.score) for hit in hits]


def _ids() -> Question:
    return Question("ids", lambda memory: memory.ids(), lambda state, answer: bool(answer == list(state)))


def _count() -> Question:
    return Question("len", len, lambda state, answer: bool(answer == len(state)))


def _where(group: int) -> Question:
    return Question(
        f"ids where group {group}",
        lambda memory: memory.ids({"group": group}),
        lambda state, answer: answer == [i for i, v in state.items() if metadata_of(i, v)["group"] == group],
    )


def _select(low: int) -> Question:
    return Question(
        f"select where group >= {low}",
        lambda memory: list(versions_in(memory.select({"group": {"$gte": low}})).items()),
        lambda state, answer: answer == [(i, v) for i, v in state.items() if metadata_of(i, v)["group"] >= low],
    )


def _get(record_id: str) -> Question:
    def ask(memory: Any) -> int | None:
        try:
            return versions_in([memory.get(record_id)])[record_id]
        except RecordNotFoundError:
            return None

    return Question(f"get {record_id}", ask, lambda state, answer: answer == state.get(record_id))


def _all() -> Question:
    return Question(
        "all records",
        lambda memory: list(versions_in(memory).items()),
        lambda state, answer: answer == list(state.items()),
    )


def _words(color: str) -> Question:
    return Question(
        f"word {color}",
        lambda memory: {(i, v) for i, v, _ in _shown(memory.search(color, k=1000, mode="lexical"))},
        lambda state, answer: answer == {(i, v) for i, v in state.items() if color_of(i, v) == color},
    )


def _one_word(record_id: str, version: int) -> Question:
    return Question(
        f"the word of {record_id}@{version}",
        lambda memory: [(i, v) for i, v, _ in _shown(memory.search(unique_word(record_id, version), mode="lexical"))],
        lambda state, answer: answer == ([(record_id, version)] if state.get(record_id) == version else []),
    )


def _stored(record_id: str) -> Question:
    def holds(state: State, answer: Any) -> bool:
        if record_id not in state or record_id not in answer:
            return (record_id in state) == (record_id in answer)
        return np.allclose(answer[record_id], vector_of(record_id, state[record_id]), rtol=_CLOSE, atol=0.2)

    return Question(f"vectors of {record_id}", lambda memory: memory.get_vectors([record_id]), holds)


def _nearest(record_id: str, version: int, k: int, group: int | None) -> Question:
    query = vector_of(record_id, version)
    where = None if group is None else {"group": group}

    def holds(state: State, answer: list[tuple[str, int, float]]) -> bool:
        among = [(i, v) for i, v in state.items() if group is None or metadata_of(i, v)["group"] == group]
        if len(answer) != min(k, len(among)):
            return False
        if not among:
            return True
        matrix = np.array([vector_of(*item) for item in among])
        scores = matrix @ query / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(query))
        expected = dict(zip(among, scores.tolist(), strict=True))
        if any(abs(expected.get((i, v), 9.0) - cosine) > _CLOSE for i, v, cosine in answer):
            return False
        best = sorted(expected.values(), reverse=True)
        return all(abs(one[2] - other) <= _CLOSE for one, other in zip(answer, best, strict=False))

    name = f"nearest {k} to {record_id}@{version}" + ("" if group is None else f" in group {group}")
    return Question(name, lambda memory: _shown(memory.search(query, k=k, mode="dense", where=where)), holds)


def _meaning(record_id: str, version: int, mode: str) -> Question:
    """Check that a record is the best hit for its own text while it exists, and not a hit once it is deleted."""

    def holds(state: State, answer: list[tuple[str, int, float]]) -> bool:
        if any(state.get(i) != v for i, v, _ in answer):
            return False
        return state.get(record_id) != version or (record_id, version) in [(i, v) for i, v, _ in answer]

    text = text_of(record_id, version)
    return Question(
        f"{mode} search for the text of {record_id}@{version}",
        lambda memory: _shown(memory.search(text, k=5, mode=mode)),
        holds,
    )


def random_question(rng: random.Random, state: State, ids: int, *, given: bool) -> Question:
    """Return a question about records that exist or existed recently.

    Args:
        rng: Determines the question.
        state: A recent state.
        ids: The number of different ids.
        given: Whether vectors come from :func:`soak.model.vector_of`, rather than from the built-in embedder.
    """
    record_id, version = rng.choice(list(state.items())) if state else ("r-0", 0)
    kind = rng.random()
    if kind < 0.1:
        return rng.choice([_ids(), _count()])
    if kind < 0.2:
        return rng.choice([_where, _select])(rng.randrange(10))
    if kind < 0.3:
        return _get(f"r-{rng.randrange(ids)}")
    if kind < 0.35:
        return _all()
    if kind < 0.45:
        return _words(rng.choice(COLORS))
    if kind < 0.6:
        return _one_word(record_id, version)
    if not given:
        return _meaning(record_id, version, rng.choice(["dense", "hybrid"]))
    if kind < 0.65:
        return _stored(record_id)
    return _nearest(record_id, version, rng.choice([1, 3, 10]), rng.choice([None, None, rng.randrange(10)]))


def ask_everything(memory: Any, state: State, *, given: bool, sample: int = 10_000) -> int:
    """Ask an unchanging memory every question; return their number.

    Raises:
        WrongAnswer: The contents or the answers differ from ``state``.
    """
    questions = [_ids(), _count(), _all(), *map(_words, COLORS), *(_where(group) for group in range(10)), _select(4)]
    for record_id, version in list(state.items())[-sample:]:
        questions += [_get(record_id), _one_word(record_id, version)]
        if given:
            questions += [_nearest(record_id, version, 3, None), _stored(record_id)]
        else:
            questions.append(_meaning(record_id, version, "dense"))
    for question in questions:
        answer = question.ask(memory)
        if not question.holds(state, answer):
            raise WrongAnswer(f"{question.name}: {str(answer)[:300]} of {len(state)} records")
    return len(questions)
