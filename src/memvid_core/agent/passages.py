"""Passages: the part of a long text that answers a question best."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

__all__ = ["asked_of", "has_term", "passage", "terms_of"]

_WORD: Final = re.compile(r"[^\W_]+")
_END: Final = re.compile(r"(?<=[.!?。])\s|\n")
_STOP: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "at",
        "be",
        "been",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "me",
        "my",
        "of",
        "on",
        "or",
        "s",
        "t",
        "that",
        "the",
        "their",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
_KOREAN: Final = re.compile("[\uac00-\ud7a3]{2,}")
_STEM: Final = 5
_END_READ: Final = 2_000
"""How many characters are read of each end of a long question: a message may have a whole log or document in it."""


def asked_of(question: str) -> str:
    """Return what is read of a question: all of it, or its two ends, where something long was pasted into it.

    Example:
        >>> asked_of("Why? " + "log " * 100_000).startswith("Why? log"), len(asked_of("log " * 100_000))
        (True, 4001)
    """
    return question if len(question) <= 2 * _END_READ else f"{question[:_END_READ]}\n{question[-_END_READ:]}"


def terms_of(question: str) -> list[str]:
    """Return the beginnings of the words of a question that say what it is about.

    Example:
        >>> terms_of("When did the deployments fail?")
        ['deplo', 'fail']
    """
    words = [word for word in _WORD.findall(question.casefold()) if word not in _STOP]
    stems = [word[:2] if _KOREAN.fullmatch(word) else word[:_STEM] for word in words]
    return list(dict.fromkeys(stems))


def has_term(text: str, term: str) -> bool:
    """Return whether a word of a casefolded text begins with a term; a term that is shorter than a stem is the word.

    Example:
        >>> has_term("the deployments failed", "deplo"), has_term("an artist", "art"), has_term("a party", "art")
        (True, False, False)
    """
    whole = len(term) < _STEM and not _KOREAN.fullmatch(term)
    at = text.find(term)
    while at >= 0:
        end = at + len(term)
        if not (at and text[at - 1].isalnum()) and not (whole and text[end : end + 1].isalnum()):
            return True
        at = text.find(term, at + 1)
    return False


def passage(text: str, terms: list[str], length: int) -> str:
    """Return the part of a text, whole sentences where that goes, that has most of the terms.

    A term counts the more the rarer it is in the text, and once.

    Args:
        text: A text; one that is short enough comes back whole.
        terms: From :func:`terms_of`.
        length: How many characters to return at most, dots for what is left out included.

    Example:
        >>> passage("Nothing here. " * 9 + "The party is at six. " + "Nor here. " * 9, ["party"], 40)
        '… The party is at six. Nor here. …'
    """
    if len(text) <= length:
        return text
    room = max(length - 4, 1)
    start = _best_start(text, terms, room)
    first = 0 if start == 0 else _after_end(text, start, start + room // 3)
    last = min(first + room, len(text))
    if last < len(text):
        last = _before_end(text, first + room // 2, last)
    front, back = "… " if first else "", " …" if last < len(text) else ""
    return f"{front}{text[first:last].strip()}{back}"


def _best_start(text: str, terms: list[str], room: int) -> int:
    """Return where the window begins that has the greatest weight of different terms; the first of equals."""
    if not terms:
        return 0
    found = _places(_lower(text), terms)
    often = Counter(term for _, term in found)
    inside: Counter[str] = Counter()
    best, best_at, first, weight = -1.0, 0, 0, 0.0
    for place, term in found:
        weight += 0.0 if inside[term] else 1 / often[term]
        inside[term] += 1
        while found[first][0] < place - room * 2 // 3:
            inside[found[first][1]] -= 1
            weight -= 0.0 if inside[found[first][1]] else 1 / often[found[first][1]]
            first += 1
        if weight > best + 1e-9:
            best, best_at = weight, found[first][0]
    return _sentence_start(text, best_at, room // 6)


def _lower(text: str) -> str:
    """Return a text in small letters, each where it was: one that becomes two stays as it is."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(small if len(small := c.lower()) == 1 else c for c in text)


def _places(text: str, terms: Iterable[str]) -> list[tuple[int, str]]:
    """Return where words begin with terms, each place once: with the first of the terms that begin there."""
    found: dict[int, str] = {}
    for term in terms:
        at = text.find(term)
        while at >= 0:
            if not (at and text[at - 1].isalnum()):
                found.setdefault(at, term)
            at = text.find(term, at + 1)
    return sorted(found.items())


def _sentence_start(text: str, place: int, reach: int) -> int:
    """Return where the sentence around a place begins, if that is not farther than ``reach``."""
    low = max(place - reach, 0)
    ends = [match.end() for match in _END.finditer(text, low, place + 1)]
    return ends[-1] if ends else low


def _after_end(text: str, start: int, limit: int) -> int:
    if start == 0 or text[start - 1].isspace():
        return start
    space = text.find(" ", start, limit)
    return start if space < 0 else space + 1


def _before_end(text: str, low: int, high: int) -> int:
    ends = [match.start() for match in _END.finditer(text, low, high)]
    if ends:
        return ends[-1]
    space = text.rfind(" ", low, high)
    return high if space < 0 else space
