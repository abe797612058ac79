"""Together: how many of a question's words stand close together in a text.

Both rankings of a hybrid search with the built-in embedder count words, wherever they stand in a text. A text that has
the words of a question in one clause is about what was asked; a long one that has them here and there need not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine.ranking import Ranked
from memvid_core.words.analyzer import analyze, is_gram, parse, words

__all__ = ["COMPARED", "rescored", "together"]

COMPARED: Final = 3
"""The number of texts that are compared: the first ones of a ranking."""

_WEIGHT: Final = 0.4  # of the share, compared with the fused score
_WINDOW: Final = 8  # words
_CHARACTERS: Final = 10_000  # of a text
_BEGINNING: Final = 2  # characters that a word shares with its token


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
    asked = {term for term in parse(question).terms if not is_gram(term) and not term.endswith("*")}
    shares = [_most(text[:_CHARACTERS], asked) / len(asked) if asked else 0.0 for text in texts]
    return np.array(shares, np.float32)


def rescored(ranked: Ranked, texts: Sequence[str], question: str, k: int) -> Ranked:
    """Return the best ``k`` rows in the order of their scores and of what stands together in the first texts.

    Args:
        ranked: The rows, best first.
        texts: The texts of the first rows, in the same order.
        question: The question.
        k: The maximum number of rows to return.
    """
    share = np.zeros(len(ranked), np.float32)
    share[: len(texts)] = together(texts, question)
    parts = {name: part / np.float32(1 + _WEIGHT) for name, part in ranked.parts.items()}
    parts["together"] = share * np.float32(_WEIGHT / (1 + _WEIGHT))
    scores = ranked.scores / np.float32(1 + _WEIGHT) + parts["together"]
    return ranked.rescored(scores, k, **parts)


def _most(text: str, asked: set[str]) -> int:
    """Return the largest number of different words asked for that stand in one window of a text."""
    begins = {term.lstrip("^")[:_BEGINNING] for term in asked}
    inside: dict[str, int] = {}  # the last place of each word of the window, in the order of places
    most = 0
    for place, word in enumerate(words(text)):
        if word[:_BEGINNING] in begins or not word.isalpha():  # such as 1989년에, which has two beginnings
            for term in asked.intersection(analyze(word)):
                inside.pop(term, None)
                inside[term] = place
                while place - inside[next(iter(inside))] >= _WINDOW:
                    del inside[next(iter(inside))]
                most = max(most, len(inside))
    return most
