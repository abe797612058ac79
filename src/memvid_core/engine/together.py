"""Together: where the words of a question stand in the first texts of a ranking.

Both rankings of a hybrid search count words, wherever they stand in a text. A text that has the words of a question in
one clause is about what was asked; a long one that has them here and there need not be. And the beginning of a text
says what it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, filterfalse
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine.ranking import Ranked
from memvid_core.words.analyzer import analyze, is_gram, parse, words

__all__ = ["COMPARED", "beginning", "rescored", "together"]

COMPARED: Final = 10
"""The number of texts that are compared: the first ones of a ranking."""

_TOGETHER: Final = 0.4  # the weight of the words that stand together, compared with the fused score
_CLOSE: Final = 3  # texts whose words are compared in every place
_WINDOW: Final = 8  # words
_CHARACTERS: Final = 10_000  # of a text
_BEGINNING: Final = 0.5  # the weight of the words at the beginning
_BEGINNING_WORDS: Final = 50
_BEGINNING_CHARACTERS: Final = 1_000
_SHARED: Final = 2  # first characters that a word shares with its token
_BEGIN = itemgetter(slice(_SHARED))


def together(texts: Sequence[str], question: str) -> NDArray[np.float32]:
    """Return the largest share of a question's words that stand within eight neighboring words of each text.

    A word counts as in a search by words; a Korean word by its beginning, since its bigrams are in other words, too. Of
    a text, the first 10,000 characters are read.

    Args:
        texts: The texts.
        question: The question.

    Returns:
        (n,) float32 in [0, 1]; zeros for a question without words of scripts with spaces.

    Example:
        >>> texts = ["The wing of the jet stalled.", "A jet was late, so that nobody in the hall saw its wing."]
        >>> together(texts, "jet wing").tolist()
        [1.0, 0.5]
        >>> together(["대통령은 서울에서 연설했다."], "서울의 대통령").tolist()
        [1.0]
    """
    asked, close = _Asked(question), _close(texts)
    hits = asked.hits(close)
    return asked.shares(_most(said, hits) for said in close)


def beginning(texts: Sequence[str], question: str) -> NDArray[np.float32]:
    """Return how many of a question's words the beginning of each text has, and how early.

    The first word of a text counts 1, and each later one less, down to 0 after the 50th, or at the end of a shorter
    text. So a long text has no advantage over a short one. Words are compared as by :func:`together`.

    Args:
        texts: The texts.
        question: The question.

    Returns:
        (n,) float32 in [0, 1]: the sum over the question's words, divided by their number.

    Example:
        >>> texts = ["Wings of a jet.", "A jet has wings.", "Nobody knows."]
        >>> beginning(texts, "jet wing").tolist()
        [0.625, 0.5, 0.0]
    """
    asked, heads = _Asked(question), _heads(texts)
    hits = asked.hits(heads)
    return asked.shares(_early(head, hits) for head in heads)


def rescored(ranked: Ranked, texts: Sequence[str], question: str, k: int, trust: float | None = None) -> Ranked:
    """Return the best ``k`` rows in the order of their scores and of where the question's words stand in their texts.

    Args:
        ranked: The rows, best first.
        texts: The texts of the first rows, in the same order.
        question: The question.
        k: The maximum number of rows to return.
        trust: The weight of the ranking of a model. A model has read the sentences: only the beginnings are compared,
            and count less, the more it is trusted. None for vectors that are made of words.
    """
    asked = _Asked(question)
    early = _BEGINNING if trust is None else _BEGINNING * (1 - trust) ** 2
    both = [_head_and_whole(text) for text in texts[: _CLOSE if trust is None else 0]]
    heads, close = [head for head, _ in both] + _heads(texts[len(both) :]), [said for _, said in both]
    hits = asked.hits([*heads, *close])  # words in several texts are analyzed once
    shares = {"beginning": asked.shares(_early(head, hits) for head in heads) * np.float32(early)}
    whole = np.float32(1 + early)
    if trust is None:
        shares = {"together": asked.shares(_most(said, hits) for said in close) * np.float32(_TOGETHER), **shares}
        whole = np.float32(1 + early + _TOGETHER)
    parts = np.zeros((len(ranked.parts) + len(shares), len(ranked)), np.float32)
    for part, known in zip(parts, ranked.parts.values(), strict=False):
        part[:] = known
    for part, share in zip(parts[len(ranked.parts) :], shares.values(), strict=True):
        part[: len(share)] = share
    parts /= whole
    scores = ranked.scores / whole
    for part in parts[len(ranked.parts) :]:
        scores += part
    return ranked.rescored(scores, k, **dict(zip((*ranked.parts, *shares), parts, strict=True)))


class _Asked:
    """The words of a question."""

    def __init__(self, question: str) -> None:
        self._terms = {term for term in parse(question).terms if not is_gram(term) and not term.endswith("*")}
        self._begins = {term.lstrip("^")[:_SHARED] for term in self._terms}

    def shares(self, counts: Iterable[float]) -> NDArray[np.float32]:
        """Return counts of words as shares of those asked for."""
        return np.array([count / max(len(self._terms), 1) for count in counts], np.float32)

    def hits(self, said: Iterable[Sequence[str]]) -> dict[str, set[str]]:
        """Return the words of some texts that were asked for, with their tokens."""
        every = set().union(*said)
        near = set(compress(every, map(self._begins.__contains__, map(_BEGIN, every))))
        near.update(filterfalse(str.isalpha, every))  # such as 1989년에, which may have two beginnings
        return {word: tokens for word in near if (tokens := self._terms.intersection(analyze(word)))}


def _close(texts: Iterable[str]) -> list[list[str]]:
    return [words(text[:_CHARACTERS]) for text in texts]


def _heads(texts: Iterable[str]) -> list[list[str]]:
    """Return the words of the beginnings of texts; splitting at spaces first normalizes fewer characters."""
    return [words(" ".join(_parts(text)[:_BEGINNING_WORDS]))[:_BEGINNING_WORDS] for text in texts]


def _head_and_whole(text: str) -> tuple[list[str], list[str]]:
    """Return the words of the beginning of a text, and all of them, splitting the beginning only once."""
    parts = _parts(text)
    head = words(" ".join(parts[:_BEGINNING_WORDS]))
    more = parts[_BEGINNING_WORDS] if len(parts) > _BEGINNING_WORDS else ""
    if "_" in text or (not more and len(text) > _BEGINNING_CHARACTERS):  # "_" is a letter only next to such as "é"
        return head[:_BEGINNING_WORDS], words(text[:_CHARACTERS])
    start = min(len(text), _BEGINNING_CHARACTERS) - len(more)
    return head[:_BEGINNING_WORDS], [*head, *words(text[start:_CHARACTERS])]


def _parts(text: str) -> list[str]:
    """Return the first parts of a text between spaces, and what follows if there are more."""
    return text[:_BEGINNING_CHARACTERS].split(maxsplit=_BEGINNING_WORDS)


def _most(said: Sequence[str], hits: Mapping[str, set[str]]) -> int:
    """Return the largest number of different words asked for that stand in one window of a text."""
    inside: dict[str, int] = {}  # the last place of each word of the window, in the order of places
    most = 0
    for place, word in _found(said, hits):
        for term in hits[word]:
            inside.pop(term, None)
            inside[term] = place
        while place - inside[next(iter(inside))] >= _WINDOW:
            del inside[next(iter(inside))]
        most = max(most, len(inside))
    return most


def _early(said: Sequence[str], hits: Mapping[str, set[str]]) -> float:
    """Return the sum over the different words asked for of how early they stand."""
    first: dict[str, int] = {}
    for place, word in _found(said, hits):
        for term in hits[word]:
            first.setdefault(term, place)
    return (len(first) * len(said) - sum(first.values())) / max(len(said), 1)


def _found(said: Sequence[str], hits: Mapping[str, set[str]]) -> list[tuple[int, str]]:
    """Return the words of a text that were asked for, with their places."""
    return [(place, word) for place, word in enumerate(said) if word in hits]
