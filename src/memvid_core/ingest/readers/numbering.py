"""The numbers that Word shows before list items and headings."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from memvid_core.ingest.readers.ooxml import attribute, child, children

__all__ = ["Numbering", "written"]

_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"),
    (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_GANADA = "가나다라마바사아자차카타파하"
_CHOSUNG = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"
_IROHA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
_CHINESE = "一二三四五六七八九十"
_LETTERS = {
    "lowerLetter": "abcdefghijklmnopqrstuvwxyz", "upperLetter": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ganada": _GANADA, "chosung": _CHOSUNG, "aiueo": _IROHA, "aiueoFullWidth": _IROHA,
    "decimalEnclosedCircle": "".join(map(chr, range(0x2460, 0x2474))),
    "chineseCounting": _CHINESE, "ideographDigital": _CHINESE, "japaneseCounting": _CHINESE,
    "koreanDigital": "일이삼사오육칠팔구", "russianLower": "абвгдежзиклмнопрстуфхцчшщыэюя",
    "arabicAlpha": "أبتثجحخدذرزسشصضطظعغفقكلمنهوي", "hebrew2": "אבגדהוזחטיכלמנסעפצקרשת",
}  # fmt: skip


class _Level(NamedTuple):
    kind: str
    text: str
    start: int


class Numbering:
    """Count the numbered paragraphs of a document in order.

    Args:
        part: The root of the numbering part, or None.
    """

    def __init__(self, part: Any) -> None:
        abstract: dict[str, Any] = {}
        self._levels: dict[str, dict[int, _Level]] = {}
        self._owner: dict[str, str] = {}
        self._by_style: dict[tuple[str, str], int] = {}
        self._counts: dict[str, dict[int, int]] = {}
        for found in () if part is None else children(part, "abstractNum"):
            abstract[attribute(found, "abstractNumId") or ""] = found
        for found in () if part is None else children(part, "num"):
            number, base = attribute(found, "numId") or "", child(found, "abstractNumId")
            owner = "" if base is None else attribute(base, "val") or ""
            overrides = [child(item, "lvl") for item in children(found, "lvlOverride")]
            starts = {
                _integer(attribute(item, "ilvl")): _integer(attribute(child(item, "startOverride"), "val"))
                for item in children(found, "lvlOverride")
                if child(item, "startOverride") is not None
            }
            self._read(number, [*children(abstract[owner], "lvl")] if owner in abstract else [], starts)
            self._read(number, [item for item in overrides if item is not None], starts)
            # Lists of one definition continue each other, unless they start again.
            self._owner[number] = number if starts else f"abstract {owner}"

    def _read(self, number: str, levels: list[Any], starts: dict[int, int]) -> None:
        for level in levels:
            at = _integer(attribute(level, "ilvl"))
            values = {
                name: "" if child(level, name) is None else attribute(child(level, name), "val") or ""
                for name in ("numFmt", "lvlText", "start", "pStyle")
            }
            start = starts.get(at, _integer(values["start"] or "1"))
            self._levels.setdefault(number, {})[at] = _Level(values["numFmt"], values["lvlText"], start)
            if values["pStyle"]:
                self._by_style[number, values["pStyle"]] = at

    def level_of(self, number: str, style: str) -> int:
        """Return the level that a style has in a list."""
        return self._by_style.get((number, style), 0)

    def next(self, number: str, level: int) -> str:
        """Count a paragraph and return its mark, such as ``"2.1."`` or ``"-"`` for a bullet; empty without one."""
        levels = self._levels.get(number)
        if number in ("", "0") or levels is None or level not in levels:
            return "-" if number not in ("", "0") else ""
        kind, text, start = levels[level]
        counts = self._counts.setdefault(self._owner[number], {})
        counts[level] = counts.get(level, start - 1) + 1
        for deeper in [at for at in counts if at > level]:
            del counts[deeper]
        if kind == "bullet":
            return "-"
        if kind == "none":
            return ""

        def shown(found: re.Match[str]) -> str:
            at = int(found.group(1)) - 1
            other = levels.get(at)
            return "" if other is None else written(counts.get(at, other.start), other.kind)

        return _PLACE.sub(shown, text)


def _integer(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdecimal() and len(text) < 10 else 0


def written(number: int, kind: str) -> str:
    """Return a number in a format of Word, such as ``"upperRoman"``; in figures if the format is unknown.

    Example:
        >>> written(4, "upperRoman"), written(2, "ganada"), written(28, "lowerLetter"), written(3, "other")
        ('IV', '나', 'bb', '3')
    """
    letters = _LETTERS.get(kind)
    if letters and kind in ("lowerLetter", "upperLetter") and number > 0:
        return letters[(number - 1) % 26] * ((number - 1) // 26 % 100 + 1)
    if letters and 0 < number <= len(letters):
        return letters[number - 1]
    if kind in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for value, sign in _ROMAN:
            roman += sign * (number // value)
            number %= value
        return roman if kind == "lowerRoman" else roman.upper()
    return f"{number:02}" if kind == "decimalZero" else str(number)
