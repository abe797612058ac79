"""The stemmer of lexical search, English for the letters a to z and Russian for а to я; and English stop words.

This is not left to a package: stems are written into the index, so they must be the same in every installation, and
stemming must be fast, because a build stems a hundred thousand different words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from memvid_core.words.russian import is_russian, russian_stem

__all__ = ["STOP_STEMS", "stem"]

_VOWEL_CONSONANT: Final = re.compile("[aeiouy]+[^aeiouy]+")
_VOWEL: Final = re.compile("[aeiouy]")
_CONSONANT_Y: Final = re.compile("(?:^|(?<=[aeiouy]))y")
_SHORT: Final = re.compile("[^aeiouy][aeiouy][^aeiouywxY]$")
_DOUBLE: Final = re.compile(r"([^aeiouylsz])\1$")
_PLAIN: Final = re.compile("[a-z]{3,}")

_PAIRS: Final = """
ational:ate tional:tion enci:ence anci:ance izer:ize abli:able alli:al entli:ent eli:e ousli:ous ization:ize ation:ate
ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble
"""
_STEP_2: Final = dict(pair.split(":") for pair in _PAIRS.split())
_STEP_3: Final = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4: Final = "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"


def _ending(endings: list[str]) -> re.Pattern[str]:
    """Compile a pattern that matches the longest of some endings of a word."""
    return re.compile(f"(?:{'|'.join(sorted(endings, key=len, reverse=True))})$")


_END_2, _END_3, _END_4 = _ending(list(_STEP_2)), _ending(list(_STEP_3)), _ending(_STEP_4.split())


def _measure(part: str) -> int:
    return len(_VOWEL_CONSONANT.findall(part))


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the stem of an English or Russian word, which its inflections and derivations share.

    Args:
        word: In lower case; a word with other characters than a to z, or а to я, is returned unchanged.

    Returns:
        The stem, which need not be a word.

    Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980.

    Example:
        >>> [stem(word) for word in ("layers", "layered", "aerodynamically", "gpt4", "книгами")]
        ['layer', 'layer', 'aerodynam', 'gpt4', 'книг']
    """
    if not _PLAIN.fullmatch(word):
        return russian_stem(word) if is_russian(word) else word
    word = _inflection(_CONSONANT_Y.sub("Y", word))
    if word[-1] in "yY" and _VOWEL.search(word, 0, len(word) - 1):
        word = word[:-1] + "i"
    for endings, becomes in ((_END_2, _STEP_2), (_END_3, _STEP_3)):
        if (found := endings.search(word)) and _measure(word[: found.start()]):
            word = word[: found.start()] + becomes[found[0]]
    if found := _END_4.search(word):
        rest = word[: found.start()]
        if _measure(rest) > 1 and (found[0] != "ion" or rest[-1] in "st"):
            word = rest
    if word[-1] == "e" and ((m := _measure(word[:-1])) > 1 or (m == 1 and not _SHORT.search(word[:-1]))):
        word = word[:-1]
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word.lower()


def _inflection(word: str) -> str:
    """Remove plural, past and participle endings (steps 1a and 1b)."""
    if word[-1] == "s":
        if word.endswith(("sses", "ies")):
            word = word[:-2]
        elif word[-2] != "s":
            word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) else word
    cut = 2 if word.endswith("ed") else 3 if word.endswith("ing") else 0
    if not cut or not _VOWEL.search(word, 0, len(word) - cut):
        return word
    word = word[:-cut]
    if word.endswith(("at", "bl", "iz")) or (_measure(word) == 1 and _SHORT.search(word)):
        return word + "e"
    return word[:-1] if _DOUBLE.search(word) else word


_STOP_WORDS: Final = """
a about after all also am an and any are as at be been before being but by can could did do does doing for from had has
have having he her here hers him his how i if in into is it its itself just may me might more most must my no nor not of
on once only or other our ours out over own same shall she should so some such than that the their theirs them then
there these they this those through to too under until up upon us very was we were what when where whether which while
who whom whose why will with within would you your yours
"""
STOP_STEMS: Final = frozenset(map(stem, _STOP_WORDS.split()))
"""Stems of stop words, which do not describe the subject of a query."""
