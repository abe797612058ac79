"""Korean words that the end of a line divides: programs break lines between any two syllables, and leave no hyphen.

Nothing on the page tells such a break from one at a space. The words of the document do, as far as they are known from
within its lines, and so do syllables that begin or end no word.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

__all__ = ["BREAK", "KoreanLines"]

BREAK = "\ufdd0"  # no character: the end of a line within a cell, whose text is one line
"""The mark of a break in a text that is otherwise one line."""

_WORD = re.compile("[가-힣]+")
_DIVIDED = re.compile(f"((?<![가-힣])[가-힣]+|(?<![0-9])[0-9]+)([\n{BREAK}])(?=([가-힣]+)(.?))")
# Syllables that begin no word, and those that end none: stems of verbs and adjectives, as are all with ㅆ, ㄶ or ㅀ.
_NEVER_FIRST = frozenset("를는었았였겠렸셨랐렀겼녔웠킨혔")
_NEVER_LAST = frozenset("없앉얹받얻걷믿묻쏟뻗닫같깊높싶찾맞맺잊늦갚덮엎붙맡뱉흩읽맑젊닮굶넓밟짧좋놓쌓넣낳닿")
_STEM_ENDS = frozenset((6, 15, 20))  # the numbers of the final consonants ㄶ, ㅀ and ㅆ in a syllable
_FIRST_SYLLABLE, _FINALS = 0xAC00, 28
# Particles and endings that are no words of their own, and those that are taken from a word to find its stem.
_ENDINGS = """
을 를 는 의 에 에서 에게 에는 에도 에서는 에서도 에게서 에게는 으로 으로는 으로서 으로써 으로도 으로부터 로
로서 로써 로는 와 과 와의 과의 와는 과는 부터 까지 까지는 까지의 부터는 처럼 이며 이고 이다 이라는 이라고 라는
라고 이었다 였다 이었으며 였으며 이었고 들 들이 들은 들을 들의 들과 들에게 들에 들도 적인 적으로 적이고 습니다
니다 며 고 여 면서 지만
"""
_OF_STEMS = """
은 는 이 가 을 를 의 에 에서 에게 에는 에도 에서는 으로 으로는 로 로는 와 과 도 만 부터 까지 처럼 이다 이며
이고 이라는 라는 들 들이 들은 들을 들의 적 적인 적으로 했다 하였다 하는 하고 하여 해 한 된 되는 되어 되었다
됐다 할 함 하기 하지 했던 했으며 하며
"""
_PARTICLES = frozenset(_ENDINGS.split())
_SUFFIXES = tuple(sorted(_OF_STEMS.split(), key=len, reverse=True))
_LAST_SYLLABLES = frozenset("다요까죠")  # of sentences
# How likely it is before anything is known that a syllable ends a word, and that one begins a word.
_USUAL_LAST = frozenset("은는이가을를의에로고며다한된인와과도만서게지나해면던들적")
_ENDS_WORD, _ENDS_SELDOM, _BEGINS_WORD = 0.8, 0.15, 0.35
_PRIOR = 2.0  # occurrences that these count for
_LEAST_SCORE = -2.0  # logarithm of odds
_LONG_KNOWN, _SHORT_KNOWN = 1.5, 0.5
_DIVIDES = 0.15  # of the breaks of a document whose lines divide words
_COUNTED = re.compile("[년월일시분초개명세회위차대억만조원번여호층살점종권편장곳배]")
_FULL, _WIDE = 0.8, 0.5  # of the longest line near, and of the longest of the page
_NEAR = 3  # lines


class KoreanLines:
    """Join what the ends of lines divide in the pages of one document.

    Args:
        texts: The texts of the document, of which it learns the words.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: Counter[str] = Counter()
        self._stems: set[str] = set()
        self._pairs: set[tuple[str, str]] = set()
        self._last: Counter[str] = Counter()
        self._not_last: Counter[str] = Counter()
        self._first: Counter[str] = Counter()
        self._not_first: Counter[str] = Counter()
        breaks: list[tuple[str, str, str]] = []
        for text in texts:
            if _WORD.search(text):
                self._learn(text)
                breaks += [
                    (found[1], found[3], found[4]) for found in _DIVIDED.finditer(text) if not found[1].isdecimal()
                ]
        divided = sum(_is_impossible(*parts[:2]) or self._is_known(*parts) for parts in breaks)
        self._divides = divided >= max(1, _DIVIDES * len(breaks))

    def lines(self, text: str) -> str:
        """Return a text whose lines are those of a page, with divided words in the line in which they begin."""
        if _DIVIDED.search(text) is None:
            return text
        lines = text.split("\n")
        widths = [_width(line) for line in lines]
        full = [
            width >= max(_FULL * max(widths[max(at - _NEAR, 0) : at + _NEAR + 1]), _WIDE * max(widths))
            for at, width in enumerate(widths)
        ]
        ends: dict[int, bool] = {}
        place = 0
        for line, is_full in zip(lines, full, strict=True):
            place += len(line) + 1
            ends[place - 1] = is_full
        return self._joined(text, lambda at: ends.get(at, False), "\n")

    def line(self, text: str) -> str:
        """Return a text in which `BREAK` marks the ends of lines, as a line without them."""
        return self._joined(text, lambda at: True, BREAK).replace(BREAK, " ")

    def _joined(self, text: str, is_full: Callable[[int], bool], mark: str) -> str:
        pieces: list[str] = []
        begin = 0
        for found in _DIVIDED.finditer(text):
            before, end, after, sign = found.groups()
            at = found.end() - 1
            if end == mark and self._is_divided(before, after, sign, is_full(at)):
                pieces.append(text[begin:at])
                begin = at + 1
        return "".join([*pieces, text[begin:]])

    def _learn(self, text: str) -> None:
        """Count the words within lines; those at their ends may be divided."""
        for line in re.split(f"[\n{BREAK}]", text):
            found = [match for match in _WORD.finditer(line) if match.start() > 0 and match.end() < len(line)]
            for match in found:
                word = match.group()
                self._words[word] += 1
                self._stems.add(_stem(word))
                self._last[word[-1]] += 1
                self._not_last.update(word[:-1])
                self._first[word[0]] += 1
                self._not_first.update(word[1:])
            self._pairs.update(
                (one.group(), two.group())
                for one, two in pairwise(found)
                if two.start() == one.end() + 1 and line[one.end()] == " "
            )

    def _is_known(self, before: str, after: str, sign: str) -> bool:
        """Return whether two runs are one word that the document has elsewhere, or a word and its ending."""
        if (before, after) in self._pairs:
            return False
        ends = after in _LAST_SYLLABLES and sign in (".", "?", "!")
        return ends or after in _PARTICLES or before + after in self._words

    def _is_divided(self, before: str, after: str, sign: str, is_full: bool) -> bool:
        if before[0].isdecimal():
            return self._divides and is_full and _COUNTED.match(after) is not None
        if _is_impossible(before, after):
            return True
        if not self._divides or (before, after) in self._pairs:
            return False
        if self._is_known(before, after, sign):
            return True
        if not is_full:
            return False
        stem = _stem(before + after)
        return (len(stem) > len(before) and stem in self._stems) or self._score(before, after) < _LEAST_SCORE

    def _score(self, before: str, after: str) -> float:
        """Return the logarithm of the odds that two runs of syllables are two words."""
        ends = _ENDS_WORD if before[-1] in _USUAL_LAST else _ENDS_SELDOM
        odds = _odds(self._last[before[-1]], self._not_last[before[-1]], ends)
        odds += _odds(self._first[after[0]], self._not_first[after[0]], _BEGINS_WORD)
        for word in (before, after):
            if word in self._words:
                odds += _LONG_KNOWN if len(word) > 1 else _SHORT_KNOWN
        return odds


def _is_impossible(before: str, after: str) -> bool:
    """Return whether no word ends, or begins, as two runs of syllables do."""
    final = (ord(before[-1]) - _FIRST_SYLLABLE) % _FINALS
    return before[-1] in _NEVER_LAST or final in _STEM_ENDS or after[0] in _NEVER_FIRST


def _odds(yes: int, no: int, expected: float) -> float:
    return math.log((yes + _PRIOR * expected) / (no + _PRIOR * (1 - expected)))


def _stem(word: str) -> str:
    """Return a word without its last particle or ending.

    Example:
        >>> _stem("기술자들은"), _stem("나는")
        ('기술자', '나는')
    """
    for suffix in _SUFFIXES:
        if len(word) - len(suffix) >= 2 and word.endswith(suffix):
            return word[: -len(suffix)]
    return word


def _width(line: str) -> int:
    """Return the width of a line, in which a syllable counts twice."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)
