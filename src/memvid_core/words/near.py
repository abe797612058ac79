"""Near words: what a misspelled word of a question may mean, among the tokens of an index.

Words with letters are compared by edit distance: insertions, deletions, substitutions and exchanges of neighbors. A
Hangul syllable is compared by its letters (jamo), in the two bigrams that contain it.

Source: optimal string alignment (Damerau, CACM 1964), restricted to one exchange per pair of letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.words.analyzer import is_gram

__all__ = [
    "MAX_NEAR",
    "MAX_WORDS",
    "Vocabulary",
    "asked_grams",
    "by_distance",
    "distance",
    "has_near",
    "most_frequent",
    "near_grams",
    "near_words",
]

MAX_WORDS: Final = 8
"""The maximum number of words of a query for which near ones are looked for."""

MAX_NEAR: Final = 3
"""The maximum number of near words that replace one."""

_LONGEST: Final = 64  # letters
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
    return _SHORTEST <= len(token) <= _LONGEST and token.isalpha() and not is_gram(token[0])


class Vocabulary(NamedTuple):
    """Words that may be near a misspelled one, prepared for many comparisons.

    Attributes:
        words: n words of at most 66 letters.
        tokens: The token of each.
        sizes: (n,) int64, their numbers of letters.
        letters: (n,) uint64, which letters each has: a bit for the code point modulo 64.
    """

    words: list[str]
    tokens: list[str]
    sizes: NDArray[np.int64]
    letters: NDArray[np.uint64]

    @classmethod
    def of(cls, known: Mapping[str, str]) -> Vocabulary:
        """Prepare words, each with its token."""
        words = [word for word in known if len(word) <= _LONGEST + 2]
        return cls(words, [known[word] for word in words], np.array([*map(len, words)], np.int64), _letters(words))

    @classmethod
    def beginning(cls, low: bytes, tokens: Iterable[bytes], spellings: Iterable[bytes]) -> Vocabulary:
        """Prepare the words that begin with some bytes: tokens, and spellings, each with a tab and its token."""
        pairs = [spelling.partition(b"\t")[::2] for spelling in spellings if spelling.startswith(low)]
        known = {spelling.decode(): token.decode() for spelling, token in pairs}
        return cls.of(known | {name: name for token in tokens if token.startswith(low) and (name := token.decode())})

    def alike(self, word: str, most: int) -> dict[str, str]:
        """Return the words that can be within a distance of one: an edit changes at most two kinds of letters."""
        if not self.words:
            return {}
        differing = np.bitwise_count(self.letters ^ _letters([word])[0])
        places = np.flatnonzero((differing <= 2 * most) & (np.abs(self.sizes - len(word)) <= most))
        return {self.words[place]: self.tokens[place] for place in places.tolist()}


def _letters(words: Sequence[str]) -> NDArray[np.uint64]:
    width = max(1, max(map(len, words), default=0))
    points = np.array(words, f"<U{width}").view("<u4").reshape(len(words), width)
    bits = np.uint64(1) << (points & 63).astype(np.uint64)
    found: NDArray[np.uint64] = np.bitwise_or.reduce(np.where(points > 0, bits, np.uint64(0)), axis=1)
    return found


def near_words(token: str, known: Iterable[Vocabulary], rows: Rows) -> list[str]:
    """Return the tokens of the nearest known words, the most frequent ones first.

    Args:
        token: The word that is missing.
        known: Words that may be near.
        rows: The number of rows of a token; tokens without any are ignored.

    Returns:
        The tokens of at most three words at the same distance, which is 1, or 2 for words of eight letters or more.

    Example:
        >>> near_words("mornign", [Vocabulary.of({"aircraft": "aircraft", "morning": "morn"})], lambda token: 1)
        ['morn']
    """
    return most_frequent(by_distance(token, known), rows)


def by_distance(token: str, known: Iterable[Vocabulary]) -> list[set[str]]:
    """Return the tokens of known words at distance 1 of a missing one, and for long words at distance 2.

    Example:
        >>> by_distance("mornign", [Vocabulary.of({"aircraft": "aircraft", "morning": "morn"})])
        [{'morn'}]
    """
    most = 2 if len(token) >= _TWO_EDITS else 1
    alike: dict[str, str] = {}
    for vocabulary in known:
        alike |= vocabulary.alike(token, most)
    found = {word: distance(token, word, most) for word in alike}
    return [{alike[word] for word, number in found.items() if number == edits} for edits in range(1, most + 1)]


def most_frequent(nearest: Iterable[Iterable[str]], rows: Rows) -> list[str]:
    """Return at most three tokens at the first distance that has any with rows, the most frequent ones first."""
    for tokens in nearest:
        best = sorted((-count, near) for near in tokens if (count := rows(near)))
        if best:
            return [word for _, word in best[:MAX_NEAR]]
    return []


def distance(word: str, other: str, most: int) -> int:
    """Return the edit distance of two words, or ``most + 1`` if it is larger than ``most``.

    Example:
        >>> [distance("wing", other, 1) for other in ("wing", "wings", "wnig", "song")]
        [0, 1, 1, 2]
    """
    far = most + 1
    before: list[int] = []
    last = [min(at, far) for at in range(len(other) + 1)]
    for number, letter in enumerate(word, 1):
        line = [far] * (len(other) + 1)  # only cells near the diagonal can be within the limit
        if number <= most:
            line[0] = number
        for at in range(max(1, number - most), min(len(other), number + most) + 1):
            cost = min(last[at - 1] + (letter != other[at - 1]), last[at] + 1, line[at - 1] + 1, far)
            if number > 1 and at > 1 and letter == other[at - 2] and word[number - 2] == other[at - 1]:
                cost = min(cost, before[at - 2] + 1)
            line[at] = cost
        before, last = last, line
    return last[-1]


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


def asked_grams(terms: Sequence[str], rows: Rows) -> set[str]:
    """Return every bigram whose rows :func:`near_grams` may ask for, so that they can be counted together.

    Args:
        terms: As for :func:`near_grams`.
        rows: The number of rows of the tokens in ``terms``.
    """
    wrong = ((run, place) for run in _runs(terms) for place in range(len(run) - 1) if _is_wrong(run, place, rows))
    asked: set[str] = set()
    for run, place in islice(wrong, MAX_WORDS):
        for syllable in _alike(run[place]):
            asked.add(syllable + run[place + 1])
            if place:
                asked.add(run[place - 1] + syllable)
    return asked


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
