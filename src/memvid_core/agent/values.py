"""Values: the weekdays, times, dates, sums, numbers, codes and names in a sentence, in English and in Korean.

What corrects a value has one of the same kind: "it's at six" may correct "the party is at five", and "it's a nice day"
corrects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Values", "alike", "any_of", "values_of"]

_NUMBER: Final = (
    r"(?:\d+(?:[.,]\d+)*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|twenty|thirty|"
    r"forty|fifty|hundred|thousand)"
)
_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|march|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_ONLY_MONTH: Final = r"(?i:\b(?:january|february|april|june|july|august|september|october|november|december)\b)"
_NAME: Final = r"(?!I\b|I['’]|(?:OK|TV|AM|PM)\b)(?:[A-Z][a-z]\w*|[A-Z]{2,})"
_COUNTED: Final = r"(?:한|두|세|네|다섯|여섯|일곱|여덟|아홉|열한|열두|열)"
_KINDS: Final = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("code", r"(?i)[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?a:(?<![\w-])\d{2,4}(?:-\d{3,4}){1,3}(?![\w-]))"),
        ("date", rf"(?i)\b\d{{4}}-\d\d-\d\d\b|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b|\d{{1,2}}월 ?\d{{1,2}}일"),
        ("date", rf"(?i)\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\b|\bthe \d{{1,2}}(?:st|nd|rd|th)\b"),
        ("month", rf"{_ONLY_MONTH}|(?:(?<=\b[a-z]{{2}} )|(?<=\buntil ))(?:March|May)\b|(?<!\d)\d{{1,2}}월(?! ?\d)"),
        ("weekday", r"(?i)\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|[월화수목금토일]요일"),
        ("clock", r"(?i)\b\d{1,2}(?::\d\d)? ?(?:am|pm|a\.m\.|p\.m\.|o['’]clock)(?!\w)|\b\d{1,2}:\d\d\b|\bnoon\b"),
        ("clock", rf"(?i)\b(?:at|until|till) (?:half past |a? ?quarter (?:past|to) )?{_NUMBER}\b(?! \w)|\bmidnight\b"),
        ("clock", rf"(?:(?:오전|오후|아침|저녁|밤|새벽) )?(?:\d{{1,2}}|{_COUNTED}) ?시(?!간)(?: ?(?:\d+분|반))?"),
        ("money", rf"(?i)[$€£₩] ?\d[\d,.]*|\b{_NUMBER} ?(?:euros?|dollars?|pounds?|won|bucks)\b"),
        ("money", r"\d[\d,.]* ?(?:만|천|백만|억)? ?(?:원|달러|유로)"),
        (
            "ordinal",
            r"(?i)\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)\b|\b\d+(?:st|nd|rd|th)\b",
        ),
        ("code", r"(?a:\b(?=\w*\d)(?=\w*[A-Za-z])\w{3,})"),
        ("number", rf"(?:\d+|{_COUNTED}) ?(?:층|번|호|명|잔|개|일|시간|분|살|세|주|개월|년)(?![가-힣]{{2}})"),
        ("number", rf"(?i)(?<!\w){_NUMBER}(?![a-z])"),
        ("name", rf"(?<!^)(?<![.!?:] )\b(?:(?:Dr|Mr|Mrs|Ms|Prof)\. )?{_NAME}(?: (?!I\b)[A-Z]\w*)*"),
    )
)
_NUMERIC: Final = frozenset({"number", "clock", "money", "ordinal"})


class Values(NamedTuple):
    """The values of a text by kind, and the text without them."""

    of: dict[str, frozenset[str]]
    rest: str


def values_of(text: str) -> Values:
    """Return the values in a text; each place of it counts once, as the first kind that it has.

    Example:
        >>> sorted(values_of("Dinner with Max is on Friday at seven").of)
        ['clock', 'name', 'weekday']
        >>> sorted(values_of("회의는 금요일 세 시야").of)
        ['clock', 'weekday']
    """
    found: dict[str, frozenset[str]] = {}
    for kind, pattern in _KINDS:
        spans = frozenset(" ".join(match.group().casefold().split()) for match in pattern.finditer(text))
        if spans:
            found[kind] = found.get(kind, frozenset()) | spans
            text = pattern.sub("\x00", text)
    return Values(found, text)


def alike(new: Values, old: Values) -> bool:
    """Return whether a text has another value of a kind that an older text has, too; a bare number is like any."""
    if any(new.of[kind] - old.of[kind] for kind in new.of.keys() & old.of.keys()):
        return True
    if new.of.keys() & old.of.keys():
        return False
    bare = "number" in new.of or "number" in old.of
    return bare and bool(_NUMERIC & new.of.keys()) and bool(_NUMERIC & old.of.keys())


def any_of(kinds: Iterable[str]) -> Values:
    """Return values that are like any of some kinds."""
    return Values({kind: frozenset({"\x00"}) for kind in kinds}, "")
