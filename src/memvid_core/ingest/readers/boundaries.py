"""The places where a text may be split: paragraphs, sentences, lines, words, graphemes.

Each level finds the last split in a range, and the end of the unit that starts at a place, in time that does not depend
on the length of the text. ``chunking`` tries the levels from the strongest to the weakest.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Protocol

import sentencex  # type: ignore[import-untyped]

__all__ = ["Breaks", "Graphemes", "Level", "Lines", "Words", "code_levels", "prose_levels", "row_levels"]

# sentencex takes quadratic time on CJK paragraphs and on unclosed quotes, so it only gets windows of limited size.
_WINDOW = 2_048
# No script has longer clusters (Unicode's Stream-Safe Text Format allows 30 marks), so these may be split.
_LONGEST_GRAPHEME = 64

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_ITEM = re.compile(r"\n(?=[^\S\n]*(?:[-*+•‣◦|]|\d{1,9}[.)])\s)")
_BLANK_LINE = re.compile(r"\n(?:[^\S\n]*\n)+")
_INNER = re.compile(r"[\s)\]}]")
_DEFINITION = re.compile(
    r"\n(?=(?:(?:export|default|public|private|protected|internal|static|abstract|final|async|pub|unsafe|extern)\s+){0,5}"
    r"(?:def|class|func|function|fn|interface|struct|enum|trait|impl|module|namespace|type|object|sub|proc)\s)"
)
# After white space, a zero-width space, or a clause mark of a script without spaces.
_WORD_END = re.compile(r"[\s\u200b、，；：]")


class Level(Protocol):
    """A kind of place to split."""

    def last(self, low: int, high: int) -> int:
        """Return the last split in ``(low, high]``, or ``low`` if there is none."""
        ...

    def first(self, low: int, high: int) -> int:
        """Return the first split in ``[low, high)``, or ``high`` if there is none."""
        ...

    def unit_end(self, start: int, reach: int) -> int:
        """Return the end of the unit at ``start``, without white space; beyond ``start + reach``, any larger value."""
        ...


class Breaks:
    """Split at places known in advance: paragraphs, sentences, definitions."""

    def __init__(self, text: str, places: Iterable[int]) -> None:
        self._places = array("q", sorted({p for p in places if 0 < p < len(text)}))
        self._places.append(len(text))
        self._ends = array("q")
        place, end = 0, 0
        for until in self._places:  # looks back one place at most, so the time is linear for any white space
            end = place + len(text[place:until].rstrip()) if not text[place:until].isspace() else end
            place = until
            self._ends.append(end)

    def last(self, low: int, high: int) -> int:
        """See `Level.last`."""
        at = bisect_right(self._places, high) - 1
        return self._places[at] if at >= 0 and self._places[at] > low else low

    def first(self, low: int, high: int) -> int:
        """See `Level.first`."""
        at = bisect_right(self._places, low - 1)
        return min(self._places[at], high) if at < len(self._places) else high

    def unit_end(self, start: int, reach: int) -> int:
        """See `Level.unit_end`."""
        at = bisect_right(self._places, start)
        return self._ends[at] if at < len(self._ends) else self._ends[-1]


class Lines:
    """Split at the ends of lines."""

    def __init__(self, text: str) -> None:
        self._text = text

    def last(self, low: int, high: int) -> int:
        """See `Level.last`."""
        if high >= len(self._text):
            return high
        return max(self._text.rfind("\n", low, high) + 1, low)

    def first(self, low: int, high: int) -> int:
        """See `Level.first`."""
        if low == 0:
            return 0
        at = self._text.find("\n", low - 1, high - 1)
        return at + 1 if at >= 0 else high

    def unit_end(self, start: int, reach: int) -> int:
        """See `Level.unit_end`."""
        stop = start + reach + 1
        at = self._text.find("\n", start, stop)
        return at if at >= 0 else min(stop, len(self._text))


class Words:
    """Split at white space, and at the clause marks of scripts without spaces."""

    def __init__(self, text: str) -> None:
        self._text = text

    def last(self, low: int, high: int) -> int:
        """See `Level.last`."""
        if high >= len(self._text):
            return high
        found = _WORD_END.search(self._text[low:high][::-1])
        return high - found.start() if found else low

    def first(self, low: int, high: int) -> int:
        """See `Level.first`."""
        if low == 0:
            return 0
        found = _WORD_END.search(self._text, low - 1, high - 1)
        return found.end() if found else high

    def unit_end(self, start: int, reach: int) -> int:
        """See `Level.unit_end`."""
        stop = start + reach + 1
        found = _WORD_END.search(self._text, start, stop)
        if not found:
            return min(stop, len(self._text))
        return found.start() if found.group().isspace() else found.end()


class Graphemes:
    """Split between user-perceived characters (UAX #29, extended grapheme clusters).

    Implements the rules of the annex with the tables of `unicodedata`; where a table is missing, characters are kept
    together. A cluster of more than 64 code points may be split.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def last(self, low: int, high: int) -> int:
        """See `Level.last`; never ``low`` when ``high > low``."""
        place = high
        while place > max(low, high - _LONGEST_GRAPHEME):
            if self.parts(place):
                return place
            place -= 1
        return high

    def first(self, low: int, high: int) -> int:
        """See `Level.first`."""
        for place in range(low, min(high, low + _LONGEST_GRAPHEME)):
            if self.parts(place):
                return place
        return min(low, high)

    def unit_end(self, start: int, reach: int) -> int:
        """See `Level.unit_end`."""
        return min(start + 1, len(self._text))

    def parts(self, place: int) -> bool:
        """Return whether ``place`` is a boundary between two graphemes."""
        text = self._text
        if place <= 0 or place >= len(text):
            return True
        before, after = text[place - 1], text[place]
        if before < "\u0300" and after < "\u0300":
            return not (before == "\r" and after == "\n")  # GB3; no other rule joins Latin
        if _extends(after) or before == "\u200d" or _prepends(before):  # GB9, GB9a, GB9b, GB11
            return False
        if unicodedata.combining(before) == 9 and unicodedata.category(after) == "Lo":  # GB9c: a virama joins
            return False
        if _is_regional(before) and _is_regional(after):  # GB12: flags are pairs
            run = place - 1
            while run > max(0, place - 2 * _LONGEST_GRAPHEME) and _is_regional(text[run - 1]):
                run -= 1
            return (place - run) % 2 == 0
        return not _hangul_joins(before, after)


def prose_levels(text: str, language: str) -> list[Level]:
    """Return the levels of prose: paragraph, sentence or list item, line, word, grapheme."""
    paragraphs = [found.end() for found in _PARAGRAPH.finditer(text)]
    items = (found.end() for found in _ITEM.finditer(text))
    sentences = Breaks(text, [*paragraphs, *items, *_sentences(text, language)])
    return [Breaks(text, paragraphs), sentences, Lines(text), Words(text), Graphemes(text)]


def code_levels(text: str) -> list[Level]:
    """Return the levels of source code: top-level block, blank line, line, word, grapheme."""
    blank = [found.end() for found in _BLANK_LINE.finditer(text)]
    top = [place for place in blank if place < len(text) and not _INNER.match(text, place)]
    for found in _DEFINITION.finditer(text):
        # A decorator, an attribute or a comment belongs to the following definition.
        line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        if line.strip() and not line.lstrip().startswith(("@", "#", "//", "/*", "*", "--", "[")):
            top.append(found.end())
    return [Breaks(text, top), Breaks(text, blank), Lines(text), Words(text), Graphemes(text)]


def row_levels(text: str) -> list[Level]:
    """Return the levels of a table with one row per line: row, word, grapheme."""
    return [Lines(text), Words(text), Graphemes(text)]


def _sentences(text: str, language: str) -> Iterator[int]:
    start = 0
    while start < len(text):
        window = text[start : start + _WINDOW]
        found = [boundary["start_index"] for boundary in sentencex.get_sentence_boundaries(language, window)]
        whole = start + len(window) >= len(text)
        if not whole and len(found) > 1 and found[-1] > 0:
            window = window[: found[-1]]  # the last sentence may continue in the next window
        yield from (
            start + place for place in found if place > 0
        )  # 0 may be inside a sentence that is longer than a window
        start += len(window)


def _extends(char: str) -> bool:
    return (
        unicodedata.category(char)[0] == "M"
        or char in "\u200c\u200d\uff9e\uff9f\u0e33\u0eb3"  # the last two: Thai and Lao AM
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
    )


def _prepends(char: str) -> bool:
    return unicodedata.category(char) == "Cf" and ("\u0600" <= char <= "\u08ff" or "\U00011000" <= char <= "\U00011fff")


def _is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _hangul_joins(before: str, after: str) -> bool:  # GB6 to GB8
    left, right = _hangul(before), _hangul(after)
    return right in {"L": ("L", "V", "LV", "LVT"), "V": ("V", "T"), "LV": ("V", "T"), "T": ("T",), "LVT": ("T",)}.get(
        left, ()
    )


def _hangul(char: str) -> str:
    code = ord(char)
    if 0xAC00 <= code <= 0xD7A3:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    return ""
