"""The numbers that Hangul Office shows before headings and list items."""

from __future__ import annotations

import re
from typing import NamedTuple

from memvid_core.ingest.readers.numbering import written

__all__ = ["Head", "HeadKind", "Level", "Numbers"]

_PLACE = re.compile(r"\^([1-9nN])")
_CIRCLED_SYLLABLES, _CIRCLED_LETTERS, _CIRCLED_HANJA = 0x326E, 0x3260, 0x3280
# By the number of the format in HWP: its name in HWPX, and the name in Word, or the signs.
_FORMATS = (
    ("DIGIT", "decimal"),
    ("CIRCLED_DIGIT", "decimalEnclosedCircle"),
    ("ROMAN_CAPITAL", "upperRoman"),
    ("ROMAN_SMALL", "lowerRoman"),
    ("LATIN_CAPITAL", "upperLetter"),
    ("LATIN_SMALL", "lowerLetter"),
    ("CIRCLED_LATIN_CAPITAL", "".join(map(chr, range(0x24B6, 0x24D0)))),
    ("CIRCLED_LATIN_SMALL", "".join(map(chr, range(0x24D0, 0x24EA)))),
    ("HANGUL_SYLLABLE", "ganada"),
    ("CIRCLED_HANGUL_SYLLABLE", "".join(map(chr, range(_CIRCLED_SYLLABLES, _CIRCLED_SYLLABLES + 14)))),
    ("HANGUL_JAMO", "chosung"),
    ("CIRCLED_HANGUL_JAMO", "".join(map(chr, range(_CIRCLED_LETTERS, _CIRCLED_LETTERS + 14)))),
    ("HANGUL_PHONETIC", "koreanDigital"),
    ("IDEOGRAPH", "chineseCounting"),
    ("CIRCLED_IDEOGRAPH", "".join(map(chr, range(_CIRCLED_HANJA, _CIRCLED_HANJA + 10)))),
    ("DECAGON_CIRCLE", "갑을병정무기경신임계"),
    ("DECAGON_CIRCLE_HANJA", "甲乙丙丁戊己庚辛壬癸"),
)
_BY_NAME = {name: number for number, (name, _) in enumerate(_FORMATS)}

HeadKind = str
"""``"OUTLINE"``, ``"NUMBER"`` or ``"BULLET"``."""


class Head(NamedTuple):
    """Describe what stands before the paragraphs of a shape: its kind, its level from 0, and its numbering."""

    kind: HeadKind
    level: int
    numbering: int


class Level(NamedTuple):
    """Describe a level of a numbering: the number of its format, its text with ``^1`` for numbers, and its start."""

    format: int
    text: str
    start: int

    @classmethod
    def named(cls, name: str, text: str, start: int) -> Level:
        """Return a level whose format has a name, as in HWPX."""
        return cls(_BY_NAME.get(name, 0), text, start)


class Numbers:
    """Count the numbered paragraphs of a document in order.

    Args:
        levels: The levels of each numbering, by its number from 1.
    """

    def __init__(self, levels: dict[int, list[Level]]) -> None:
        self._levels = levels
        self._counts: dict[int, dict[int, int]] = {}
        self.outline = 1
        """The numbering of the headings of the section that is being read."""

    def next(self, head: Head | None) -> str:
        """Count a paragraph and return its mark, such as ``"2.1."``, or ``"-"`` for a bullet; empty without one."""
        if head is None or head.kind == "BULLET":
            return "" if head is None else "-"
        owner = self.outline if head.kind == "OUTLINE" else head.numbering
        levels = self._levels.get(owner, [])
        if head.level >= len(levels):
            return ""
        counts = self._counts.setdefault(owner, {})
        counts[head.level] = counts.get(head.level, levels[head.level].start - 1) + 1
        for deeper in [level for level in counts if level > head.level]:
            del counts[deeper]

        def number(level: int) -> str:
            if level >= len(levels):
                return ""
            signs, value = _FORMATS[levels[level].format % len(_FORMATS)][1], counts.get(level, levels[level].start)
            return signs[value - 1] if not signs.isascii() and 0 < value <= len(signs) else written(value, signs)

        def shown(found: re.Match[str]) -> str:
            if found.group(1) in "nN":  # the whole path
                path = ".".join(number(level) for level in range(head.level + 1))
                return f"{path}." if found.group(1) == "N" else path
            return number(int(found.group(1)) - 1)

        return _PLACE.sub(shown, levels[head.level].text)
