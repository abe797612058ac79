"""Time words: the span of days that a text speaks of, in English and in Korean, seen from a day.

"Yesterday", "last week", "3 days ago", "in May 2023", "8 May", "어제", "지난주", "3일 전", "3월에". A month or a day
without a year is the last one before the day it is seen from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from memvid_core.agent.folding import has_hangul

__all__ = ["Span", "spans", "time_spoken_of"]


class Span(NamedTuple):
    """Days, the first and the last included."""

    first: date
    last: date

    def holds(self, day: date) -> bool:
        """Return whether a day lies inside."""
        return self.first <= day <= self.last


_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        [
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sep sept",
            "october oct",
            "november nov",
            "december dec",
        ],
        1,
    )
    for name in names.split()
}
_DAYS: Final = {
    name: number
    for number, name in enumerate(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"])
}
_KOREAN_DAYS: Final = {name: number for number, name in enumerate("월화수목금토일")}
_NUMBERS: Final = {
    **dict(
        zip(
            ["a", "an", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
            (1, 1, *range(1, 11)),
            strict=True,
        )
    ),
    "couple": 2,
    "few": 3,
}
_KOREAN_NUMBERS: Final = {"한": 1, "두": 2, "세": 3, "네": 4, "하루": 1, "이틀": 2, "사흘": 3, "나흘": 4}

_MONTH: Final = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DAY: Final = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR: Final = r"(?P<year>(?:19|20)\d\d)"
_COUNT: Final = r"(?P<count>\d{1,3}|" + "|".join(_NUMBERS) + ")"


def _days(first: date, count: int = 1) -> Span:
    return Span(first, first + timedelta(days=count - 1))


def _week(day: date, offset: int) -> Span:
    return _days(day - timedelta(days=day.weekday()) + timedelta(weeks=offset), 7)


def _month(year: int, month: int) -> Span:
    first = date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return Span(first, after - timedelta(days=1))


def _months_from(day: date, offset: int) -> Span:
    return _month(day.year, day.month + offset)


def _year(year: int) -> Span:
    return Span(date(year, 1, 1), date(year, 12, 31))


def _year_of(found: re.Match[str], now: date, month: int, day: int = 1) -> int:
    """Return the year that is named, or else of the last such day that is not after the present."""
    named = found.groupdict().get("year")
    if named:
        return int(named)
    return now.year if (month, day) <= (now.month, now.day if day > 1 else 31) else now.year - 1


def _date(found: re.Match[str], now: date) -> Span:
    name = found["month"].casefold()
    month, day = _MONTHS.get(name) or int(name), int(found["day"])
    return _days(date(_year_of(found, now, month, day), month, day))


def _named_month(found: re.Match[str], now: date) -> Span:
    name = found["month"].casefold()
    month = _MONTHS.get(name) or int(name)
    return _month(_year_of(found, now, month), month)


def _ago(found: re.Match[str], now: date) -> Span:
    word = found["count"].casefold()
    count = _NUMBERS.get(word) or _KOREAN_NUMBERS.get(word) or int(word)
    match found["unit"][:1].casefold():
        case "d" | "일":
            return _days(now - timedelta(days=count))
        case "w" | "주":
            return _days(now - timedelta(weeks=count, days=3), 7)
        case "m" | "달" | "개":
            return _months_from(now, -count)
        case _:
            return _year(now.year - count)


def _relative(found: re.Match[str], now: date) -> Span:
    offset = {"last": -1, "previous": -1, "past": -1, "this": 0, "next": 1}[found["which"].casefold()]
    match found["unit"].casefold():
        case "week":
            return _week(now, offset)
        case "weekend":
            saturday = now - timedelta(days=now.weekday() - 5)
            return _days(saturday + timedelta(weeks=offset if offset else 0), 2)
        case "month":
            return _months_from(now, offset)
        case "year":
            return _year(now.year + offset)
        case name:
            return _weekday(now, _DAYS[name], offset)


def _weekday(now: date, weekday: int, offset: int) -> Span:
    ahead = (weekday - now.weekday()) % 7
    if offset < 0:
        return _days(now + timedelta(days=ahead - 7))
    return _days(now + timedelta(days=ahead or 7 * offset))


def _korean_relative(found: re.Match[str], now: date) -> Span:
    offset = {"지": -1, "저": -1, "이": 0, "다": 1}[found["which"][:1]]
    unit = found["unit"]
    if unit == "주말":
        return _days(now - timedelta(days=now.weekday() - 5) + timedelta(weeks=offset), 2)
    if unit.endswith("요일"):
        return _weekday(now, _KOREAN_DAYS[unit[0]], offset)
    if unit == "주":
        return _week(now, offset)
    return _year(now.year + offset) if unit in ("해", "년") else _months_from(now, offset)


def _named(offset: int) -> Callable[[re.Match[str], date], Span]:
    return lambda _, now: _days(now + timedelta(days=offset))


def _named_year(offset: int) -> Callable[[re.Match[str], date], Span]:
    return lambda _, now: _year(now.year + offset)


_RULES: Final[list[tuple[str, Callable[[re.Match[str], date], Span]]]] = [
    (rf"\b{_YEAR}[-/.](?P<month>[01]?\d)[-/.](?P<day>[0-3]?\d)\b", _date),
    (rf"\b{_DAY} (?:of )?{_MONTH},? {_YEAR}\b", _date),
    (rf"\b{_MONTH} {_DAY},? {_YEAR}\b", _date),
    (rf"\b{_MONTH},? {_YEAR}\b", _named_month),
    (rf"\b{_DAY} (?:of )?{_MONTH}\b", _date),
    (rf"\b{_MONTH} {_DAY}\b(?! ?(?:%|hours|minutes|people))", _date),
    (rf"\b(?:in|since|during|last|of|this|early|late) (?!may (?:be|have|not)\b){_MONTH}\b", _named_month),
    (rf"\b(?:in|since|during|of|year) {_YEAR}\b", lambda found, _: _year(int(found["year"]))),
    (rf"\b(?:about |around )?{_COUNT}(?: of)? (?P<unit>days?|weeks?|months?|years?) (?:ago|back|before)\b", _ago),
    (r"\bday before yesterday\b", _named(-2)),
    (r"\byesterday\b|\blast night\b", _named(-1)),
    (r"\btoday\b|\bthis (?:morning|afternoon|evening)\b|\btonight\b", _named(0)),
    (r"\btomorrow\b", _named(1)),
    (rf"\b(?P<which>last|previous|past|this|next) (?P<unit>weekend|week|month|year|{'|'.join(_DAYS)})\b", _relative),
    (r"(?P<year>(?:19|20)\d\d)년 ?(?P<month>\d{1,2})월 ?(?P<day>\d{1,2})일", _date),
    (r"(?P<year>(?:19|20)\d\d)년 ?(?P<month>\d{1,2})월", _named_month),
    (r"(?<!\d)(?P<year>(?:19|20)\d\d)년", lambda found, _: _year(int(found["year"]))),
    (r"(?<!\d)(?P<month>\d{1,2})월 ?(?P<day>\d{1,2})일", _date),
    (r"(?<!\d)(?P<month>\d{1,2})월(?!요)", _named_month),
    (r"(?P<count>\d{1,3}|한|두|세|네) ?(?P<unit>일|주일?|달|개월|년) ?전", _ago),
    (
        r"(?P<count>하루|이틀|사흘|나흘)(?P<unit>) ?전",
        lambda f, now: _days(now - timedelta(_KOREAN_NUMBERS[f["count"]])),
    ),
    (r"그저께|그제|엊그제", _named(-2)),
    (r"어제|어젯밤|어저께", _named(-1)),
    (r"오늘", _named(0)),
    (r"내일", _named(1)),
    (r"모레", _named(2)),
    (r"재작년", _named_year(-2)),
    (r"작년", _named_year(-1)),
    (r"올해|금년", _named_year(0)),
    (r"내년", _named_year(1)),
    (r"(?P<which>지난번?|저번|이번|다음) ?(?P<unit>주말|[월화수목금토일]요일|주|달|해)", _korean_relative),
]
_COMPILED: Final = [(re.compile(pattern, re.IGNORECASE), read) for pattern, read in _RULES]
_ANY: Final = re.compile(
    r"(?:19|20)\d\d|\b(?:ago|back|before|yesterday|today|tonight|tomorrow|last|previous|past|this|next)\b|"
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|"
    r"\d ?[일월년주달개]|[년달주일월] ?전|"
    r"어제|어젯|어저께|그제|그저께|오늘|내일|모레|올해|금년|내년|작년|"
    r"지난|저번|이번|다음|이틀|사흘|나흘|하루"
)
"""Finds a lowered text that may name a time."""
_SIGNS: Final = (
    *("19", "20", "ago", "back", "before", "day", "tonight", "tomorrow", "last", "previous", "past", "this", "next"),
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
"""An English text without any of these names no time: that is seen twenty times faster."""
_KOREAN_FROM: Final = next(place for place, (pattern, _) in enumerate(_RULES) if has_hangul(pattern))


def spans(text: str, now: datetime) -> list[Span]:
    """Return the spans that a text names, seen from a day; each character counts for one of them.

    Example:
        >>> spans("What did she say yesterday?", datetime(2026, 5, 8))
        [Span(first=datetime.date(2026, 5, 7), last=datetime.date(2026, 5, 7))]
        >>> [span.first.isoformat() for span in spans("3월에 뭐라고 했지?", datetime(2026, 5, 8))]
        ['2026-03-01']
    """
    lowered = text.lower()
    if (lowered.isascii() and not any(sign in lowered for sign in _SIGNS)) or not _ANY.search(lowered):
        return []
    found: list[Span] = []
    for pattern, read in _COMPILED if has_hangul(text) else _COMPILED[:_KOREAN_FROM]:
        match = pattern.search(text)
        while match:
            with suppress(ValueError, OverflowError):  # the 31st of February, the year 0
                found.append(read(match, now.date()))
            text = text[: match.start()] + " " * len(match.group()) + text[match.end() :]
            match = pattern.search(text, match.end())
    return found


def time_spoken_of(text: str, said: datetime) -> str | None:
    """Return the day that a message speaks of, if it is a single one other than the day it was said; as ISO 8601.

    Example:
        >>> time_spoken_of("I went to the dentist yesterday.", datetime(2026, 5, 8))
        '2026-05-07'
    """
    named = {span.first for span in spans(text[:_READ], said) if span.first == span.last}
    return named.pop().isoformat() if len(named) == 1 and said.date() not in named else None


_READ: Final = 2_000
"""How many characters of a message are read for times: a longer one is a document, and speaks of many."""
