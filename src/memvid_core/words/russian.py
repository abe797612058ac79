"""The Russian stemmer of lexical search. Like the English one, it is not left to a package: stems are in the index."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_russian", "russian_stem"]

_RUSSIAN: Final = re.compile("[а-я]+")
_VOWELS: Final = "аеиоуыэюя"
_FIRST_VOWEL: Final = re.compile(f"[{_VOWELS}]")
_SYLLABLE: Final = re.compile(f"[{_VOWELS}][^{_VOWELS}]")

_AFTER_A_GERUND: Final = "в вши вшись"
_GERUND: Final = "ив ивши ившись ыв ывши ывшись"
_ADJECTIVE: Final = "ее ие ые ое ими ыми ей ий ый ой ем им ым ом его ого ему ому их ых ую юю ая яя ою ею"
_AFTER_A_PARTICIPLE: Final = "ем нн вш ющ щ"
_PARTICIPLE: Final = "ивш ывш ующ"
_AFTER_A_VERB: Final = "ла на ете йте ли й л ем н ло но ет ют ны ть ешь нно"
_VERB: Final = (
    "ила ыла ена ейте уйте ите или ыли ей уй ил ыл им ым ен ило ыло ено ят ует уют ит ыт ены ить ыть ишь ую ю"
)
_NOUN: Final = (
    "а ев ов ие ье е иями ями ами еи ии и ией ей ой ий й иям ям ием ем ам ом о у ах иях ях ы ь ию ью ю ия ья я"
)


class _Endings:
    """Remove the longest of some endings; some of them only after а or я."""

    def __init__(self, endings: str, after_a: str = "") -> None:
        self._always = frozenset(endings.split())
        every = sorted({*self._always, *after_a.split()}, key=len, reverse=True)
        self._pattern = re.compile(f"(?:{'|'.join(every)})$")

    def removed(self, word: str, start: int) -> str | None:
        """Return a word without its ending, or None; ``start`` is where endings may begin."""
        found = self._pattern.search(word, start)
        if found is None:
            return None
        at = found.start()
        if found[0] in self._always or (at > start and word[at - 1] in "ая"):
            return word[:at]
        return None


_END_GERUND = _Endings(_GERUND, _AFTER_A_GERUND)
_END_REFLEXIVE = _Endings("ся сь")
_END_ADJECTIVE = _Endings(_ADJECTIVE)
_END_PARTICIPLE = _Endings(_PARTICIPLE, _AFTER_A_PARTICIPLE)
_END_VERB = _Endings(_VERB, _AFTER_A_VERB)
_END_NOUN = _Endings(_NOUN)
_END_DERIVED = _Endings("ост ость")
_END_SUPERLATIVE = _Endings("ейш ейше")


def is_russian(word: str) -> bool:
    """Return whether a word consists of the letters а to я."""
    return _RUSSIAN.fullmatch(word) is not None


def russian_stem(word: str) -> str:
    """Return the stem of a Russian word, which its inflected forms share.

    Args:
        word: In lower case, with е for ё.

    Returns:
        The stem, which need not be a word.

    Source: the Russian stemmer of Snowball (snowballstem.org, M. F. Porter).

    Example:
        >>> [russian_stem(word) for word in ("книга", "книги", "книгами")]
        ['книг', 'книг', 'книг']
    """
    vowel = _FIRST_VOWEL.search(word)
    if vowel is None:
        return word
    start = vowel.end()
    gerund = _END_GERUND.removed(word, start)
    word = gerund if gerund is not None else _without_inflection(word, start)
    if word.endswith("и") and len(word) > start:
        word = word[:-1]
    first = _SYLLABLE.search(word)
    second = None if first is None else _SYLLABLE.search(word, first.end())
    if second is not None:
        word = _END_DERIVED.removed(word, max(start, second.end())) or word
    if (superlative := _END_SUPERLATIVE.removed(word, start)) is not None:
        word = superlative
    if len(word) > start + 1 and word.endswith("нн"):
        return word[:-1]
    return word[:-1] if word.endswith("ь") and len(word) > start else word


def _without_inflection(word: str, start: int) -> str:
    """Remove a reflexive ending, and then that of an adjective with its participle, of a verb, or of a noun."""
    word = _END_REFLEXIVE.removed(word, start) or word
    if (adjective := _END_ADJECTIVE.removed(word, start)) is not None:
        return _END_PARTICIPLE.removed(adjective, start) or adjective
    for endings in (_END_VERB, _END_NOUN):
        if (found := endings.removed(word, start)) is not None:
            return found
    return word
