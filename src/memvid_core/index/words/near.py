"""Near words: what a misspelled word of a question may mean, among the tokens of an index.

Words with letters are compared by edit distance: insertions, deletions, substitutions and exchanges of neighbors. A
Hangul syllable is compared by its letters (jamo), in the two bigrams that contain it.

Source: optimal string alignment (Damerau, CACM 1964), restricted to one exchange per pair of letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.index.words.analyzer import is_gram

__all__ = ["MAX_NEAR", "MAX_WORDS", "distances", "has_near", "near_grams", "near_words"]

MAX_WORDS: Final = 8
"""The maximum number of words of a query for which near ones are looked for."""

MAX_NEAR: Final = 3
"""The maximum number of near words that replace one."""

_SHORTEST: Final = 4  # letters; shorter words have too many neighbors
_TWO_EDITS: Final = 8  # letters; longer words may have two errors
_FIRST, _LAST_SYLLABLE = 0xAC00, 0xD7A3
_LEADS, _VOWELS, _TAILS = 19, 21, 28
_BEGINS: Final = "^"

Rows = Callable[[str], int]
"""A function from a token to the number of live rows that contain it."""


def has_near(token: str) -> bool:
    """Return whether a token may be misspelled. Numbers and codes are not: a near number is another number.

    Example:
        >>> has_near("aircarft"), has_near("inv20417"), has_near("jet")
        (True, False, False)
    """
    return len(token) >= _SHORTEST and token.isalpha() and not is_gram(token[0])


def near_words(token: str, known: Mapping[str, str], rows: Rows) -> list[str]:
    """Return the tokens of the nearest known words, the most frequent ones first.

    Args:
        token: The word that is missing.
        known: Words that may be near, each with its token.
        rows: The number of rows of a token; tokens without any are ignored.

    Returns:
        The tokens of at most three words at the same distance, which is 1, or 2 for words of eight letters or more.

    Example:
        >>> near_words("mornign", {"aircraft": "aircraft", "morning": "morn"}, lambda token: 1)
        ['morn']
    """
    most = 2 if len(token) >= _TWO_EDITS else 1
    alike = [word for word in known if abs(len(word) - len(token)) <= most]
    if not alike:
        return []
    found = distances(token, alike)
    for distance in range(1, most + 1):
        tokens = {known[alike[place]] for place in np.flatnonzero(found == distance).tolist()}
        best = sorted((-count, near) for near in tokens if (count := rows(near)))
        if best:
            return [word for _, word in best[:MAX_NEAR]]
    return []


def distances(word: str, others: Sequence[str]) -> NDArray[np.int64]:
    """Return the edit distances (n,) of a word and n others.

    Example:
        >>> distances("wing", ["wing", "wings", "wnig", "song"]).tolist()
        [0, 1, 1, 2]
    """
    sizes = np.array([len(other) for other in others])
    width = int(sizes.max(initial=0))
    letters = np.array(others, f"<U{max(1, width)}").view("<u4").reshape(len(others), -1)
    first = np.broadcast_to(np.arange(width + 1), (len(others), width + 1))
    before, last = first, first
    for number, letter in enumerate(map(ord, word), 1):
        line = np.empty((len(others), width + 1), np.int64)
        line[:, 0] = number
        differs = letters != letter
        for at in range(1, width + 1):
            line[:, at] = np.minimum(last[:, at - 1] + differs[:, at - 1], np.minimum(last[:, at], line[:, at - 1]) + 1)
            if number > 1 and at > 1:
                swapped = ~differs[:, at - 2] & (letters[:, at - 1] == ord(word[number - 2]))
                line[:, at] = np.where(swapped, np.minimum(line[:, at], before[:, at - 2] + 1), line[:, at])
        before, last = last, line
    found: NDArray[np.int64] = last[np.arange(len(others)), sizes]
    return found


def near_grams(terms: Sequence[str], rows: Rows) -> dict[str, list[str]]:
    """Return the known bigrams that may be meant by the unknown bigrams of Hangul words.

    A syllable is taken as wrong if both bigrams with it are unknown, or the first bigram of a word is; and if another
    syllable, with one other letter, makes them known. A word whose last bigram alone is unknown has another ending.

    Args:
        terms: The tokens of a query, in order.
        rows: The number of rows of a token.

    Example:
        >>> near_grams(
        ...     ["^대한", "대한", "한민", "민극", "극의"],
        ...     lambda gram: gram in ("한민", "민국", "국의", "^대한", "대한"),
        ... )
        {'민극': ['민국'], '극의': ['국의']}
    """
    found: dict[str, list[str]] = {}
    wrong = ((run, place) for run in _runs(terms) for place in range(len(run) - 1) if _is_wrong(run, place, rows))
    for run, place in islice(wrong, MAX_WORDS):
        for gram, others in _mended(run, place, rows).items():
            found.setdefault(gram, others)
    return found


def _runs(terms: Sequence[str]) -> Iterator[str]:
    """Yield the Hangul words of a query, from their bigrams."""
    run = ""
    for term in (*terms, ""):
        if run and len(term) == 2 and term[0] == run[-1] and term[0] != _BEGINS:
            run += term[1]
            continue
        if len(run) >= 3:
            yield run
        run = term[1] if len(term) == 3 and term[0] == _BEGINS else ""  # its first bigram follows


def _is_wrong(run: str, place: int, rows: Rows) -> bool:
    """Return whether no bigram with the syllable at a place is known."""
    return not any(rows(run[at : at + 2]) for at in (place - 1, place) if at >= 0)


def _mended(run: str, place: int, rows: Rows) -> Mapping[str, list[str]]:
    """Return replacements of the bigrams with the syllable at a place."""
    grams = {at: run[at : at + 2] for at in (place - 1, place) if at >= 0}
    chosen = []
    for syllable in _alike(run[place]):
        counts = []
        for at, gram in grams.items():
            counts.append(rows(gram[0] + syllable if at < place else syllable + gram[1]))
            if not counts[-1]:
                break
        if all(counts):
            chosen.append((-min(counts), syllable))
    best = [syllable for _, syllable in sorted(chosen)[:MAX_NEAR]]
    if not best:
        return {}
    made = {
        gram: [gram[0] + syllable if at < place else syllable + gram[1] for syllable in best]
        for at, gram in grams.items()
    }
    if place <= 1:
        made[_BEGINS + run[:2]] = [_BEGINS + gram for gram in made[run[:2]]]
    return made


def _alike(syllable: str) -> Iterator[str]:
    """Yield the Hangul syllables that differ in one letter."""
    number = ord(syllable) - _FIRST
    if not 0 <= number <= _LAST_SYLLABLE - _FIRST:
        return
    lead, vowel, tail = number // (_VOWELS * _TAILS), number // _TAILS % _VOWELS, number % _TAILS
    others = [(other, vowel, tail) for other in range(_LEADS)]
    others += [(lead, other, tail) for other in range(_VOWELS)]
    others += [(lead, vowel, other) for other in range(_TAILS)]
    for one, two, three in others:
        if (one, two, three) != (lead, vowel, tail):
            yield chr(_FIRST + (one * _VOWELS + two) * _TAILS + three)
