"""Coverage: how much of what a question names is in a turn, in the turns next to it and in its whole session.

A search finds turns. Where the words of a question are spread over an exchange, no turn of it has them all, and the
answer may have none. So the words are looked for in the candidates together: a word counts by how few sessions have it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from memvid_core.agent.passages import has_term, terms_of

__all__ = ["READ", "Coverage", "Place", "coverage"]

T = TypeVar("T")
Place = tuple[str | None, int]
"""A session, and a position in it."""
READ: Final = 1_000
"""How many characters of a turn are looked at: one that has every word of a question has it by its length."""


class Coverage(NamedTuple):
    """The shares of the best, from 0 to 1: of each session, and of each turn with those next to it."""

    sessions: dict[str | None, float]
    turns: dict[Place, float]


def coverage(question: str, texts: Mapping[Place, str]) -> Coverage:
    """Return how much of a question some turns have.

    Args:
        question: A question.
        texts: The turns, each with its speaker.

    Example:
        >>> texts = {("a", 0): "Ada: the party?", ("a", 1): "Bob: on Friday", ("b", 0): "Bob: Friday"}
        >>> coverage("Is the party on Friday?", texts).sessions
        {'a': 1.0, 'b': 0.20...}
    """
    bits = [(term, 1 << number) for number, term in enumerate(terms_of(question))]
    found = {place: _found(text[:READ].lower(), bits) for place, text in texts.items()}
    sessions: defaultdict[str | None, int] = defaultdict(int)
    for (session, _), mask in found.items():
        sessions[session] |= mask
    weight = _Weights([bit for _, bit in bits], list(sessions.values()))
    turns = {}
    for place, mask in found.items():
        session, at = place
        near = mask | found.get((session, at - 1), 0) | found.get((session, at + 1), 0)
        turns[place] = weight[mask] + weight[near]
    return Coverage(_of_best({session: weight[mask] for session, mask in sessions.items()}), _of_best(turns))


def _found(text: str, bits: Iterable[tuple[str, int]]) -> int:
    mask = 0
    for term, bit in bits:
        if term in text and has_term(text, term):
            mask |= bit
    return mask


class _Weights(dict[int, float]):
    """The weight of each set of terms: the sum of the weights of its terms, which few sessions have if it is great."""

    def __init__(self, bits: Iterable[int], sessions: Sequence[int]) -> None:
        super().__init__()
        self._of = _weights(bits, sessions)

    def __missing__(self, mask: int) -> float:
        weight = self[mask] = sum(each for bit, each in self._of.items() if mask & bit)
        return weight


def _weights(bits: Iterable[int], sessions: Sequence[int]) -> dict[int, float]:
    """Return the weight of each term: its inverse session frequency, as BM25 weighs it; 0 if no session has it."""
    weights = {}
    for bit in bits:
        having = sum(1 for mask in sessions if mask & bit)
        weights[bit] = math.log(1 + (len(sessions) - having + 0.5) / (having + 0.5)) if having else 0.0
    return weights


def _of_best(values: dict[T, float]) -> dict[T, float]:
    best = max(values.values(), default=0.0) or 1.0
    return {name: value / best for name, value in values.items()}
