"""Time words: the span of days that a text speaks of, in English and in Korean, seen from a day.

"Yesterday", "last week", "3 days ago", "in May 2023", "8 May", "어제", "지난주", "3일 전", "3월에". A month or a day
without a year is the last one before the day it is seen from; in what a message says, a day is the nearest one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
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


class Yearless(Span):
    """A day that was named without its year."""


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
_KOREAN_DAYS_AGO: Final = dict(
    zip(
        ["하루", "이틀", "사흘", "나흘", "닷새", "엿새", "이레", "여드레", "아흐레", "열흘", "보름", "며칠"],
        (*range(1, 11), 15, 3),
        strict=True,
    )
)
_KOREAN_COUNTED: Final = ("한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열", "열한", "열두")
_KOREAN_NUMBERS: Final = {
    **{word: number for number, word in enumerate(_KOREAN_COUNTED, 1)},
    **{word: number for number, word in enumerate("일이삼사오육칠팔구십", 1)},
    "몇": 3,
}
_YEARS: Final = {
    **{"last": -1, "previous": -1, "past": -1, "this": 0, "next": 1},
    **{"재작년": -2, "작년": -1, "지난해": -1, "올해": 0, "금년": 0, "내년": 1},
}
_KOREAN_WHICH: Final = {
    **{"지지난": -2, "저저번": -2, "지난": -1, "지난번": -1, "저번": -1, "이번": 0, "다음": 1, "다다음": 2},
}

_MONTH: Final = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DAY: Final = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR: Final = r"(?P<year>(?:19|20)\d\d)"
_OF_YEAR: Final = r"(?P<of_year>last|this|next) year"
_COUNT: Final = r"(?P<count>\d{1,3}|" + "|".join(_NUMBERS) + ")"
_KOREAN_OF_YEAR: Final = "(?P<of_year>재작년|작년|지난해|올해|금년|내년)"
_KOREAN_MONTH: Final = r"(?<!\d)(?P<month>\d{1,2})월"
_KOREAN_DAY: Final = r"(?<!\d)(?P<day>\d{1,2})일"
_KOREAN_COUNT: Final = (
    rf"(?P<count>(?<!\d)\d{{1,3}}|(?<![가-힣])(?:{'|'.join(sorted(_KOREAN_NUMBERS, key=len, reverse=True))}))"
)
_KOREAN_WHICH_ONE: Final = f"(?P<which>{'|'.join(sorted(_KOREAN_WHICH, key=len, reverse=True))})"


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


def _year_of(found: re.Match[str], now: date, month: int) -> int:
    """Return the year that is named, or else the last in which such a month has begun."""
    named = found.groupdict()
    if named.get("year"):
        year = int(named["year"])
        return year if year > 99 else 2000 + year
    if named.get("of_year"):
        return now.year + _YEARS[named["of_year"].casefold()]
    return now.year if month <= now.month else now.year - 1


def _month_of(found: re.Match[str]) -> int:
    name = found["month"].casefold()
    return _MONTHS.get(name) or int(name)


def _date(found: re.Match[str], now: date) -> Span:
    month, day = _month_of(found), int(found["day"])
    if any(found.groupdict().get(name) for name in ("year", "of_year")):
        return _days(date(_year_of(found, now, month), month, day))
    return Yearless(*_days(_before(now, month, day)))


def _before(now: date, month: int, day: int) -> date:
    """Return the last day of a month and a day that is not after another: the 29th of February is years ago."""
    for year in range(now.year, max(now.year - 9, 0), -1):
        with suppress(ValueError):
            if (found := date(year, month, day)) <= now:
                return found
    raise ValueError(f"no year has the day {day} of month {month}")


def _slashed_date(found: re.Match[str], now: date) -> Span:
    """Read 12/31/2025 and 31/12/2025; of 3/4/2025 nobody knows which is the month."""
    one, other = int(found["one"]), int(found["other"])
    if one <= 12 and other <= 12 and one != other:
        raise ValueError("a day or a month")
    day, month = max(one, other), min(one, other)
    return _days(date(int(found["year"]), month, day))


def _named_month(found: re.Match[str], now: date) -> Span:
    month = _month_of(found)
    return _month(_year_of(found, now, month), month)


def _relative_month(found: re.Match[str], now: date) -> Span:
    """Read "last December", which in December is that of the year before, and "next January"."""
    month, offset = _month_of(found), _offset(found)
    passed = {-1: month >= now.month, 1: month <= now.month}.get(offset, False)
    return _month(now.year + offset * passed, month)


def _offset(found: re.Match[str]) -> int:
    which = found["which"].casefold()
    return _YEARS[which] if which in _YEARS else _KOREAN_WHICH[which]


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
    return _period(found["unit"].casefold(), _offset(found), now)


def _before_last(found: re.Match[str], now: date) -> Span:
    return _period(found["unit"].casefold(), 2 if "after" in found.group().casefold() else -2, now)


def _period(unit: str, offset: int, now: date) -> Span:
    """Return the week, weekend, month, year or weekday that lies so many of them ahead."""
    match unit:
        case "week" | "주":
            return _week(now, offset)
        case "weekend" | "주말":
            return _days(_week(now, offset).first + timedelta(days=5), 2)
        case "month" | "달":
            return _months_from(now, offset)
        case "year" | "해":
            return _year(now.year + offset)
        case _:
            return _weekday(now, _weekday_of(unit), offset)


def _weekday_of(name: str) -> int:
    return _DAYS[name] if name in _DAYS else _KOREAN_DAYS[name[0]]


def _weekday(now: date, weekday: int, offset: int) -> Span:
    ahead = (weekday - now.weekday()) % 7
    if offset < 0:
        return _days(now + timedelta(days=ahead - 7))
    return _days(now + timedelta(days=ahead or 7 * offset))


def _day_of_week(found: re.Match[str], now: date) -> Span:
    """Read "Monday last week"."""
    return _days(_week(now, _offset(found)).first + timedelta(days=_weekday_of(found["unit"].casefold())))


def _day_of_month(found: re.Match[str], now: date) -> Span:
    """Read "the 5th of last month"."""
    return _days(_months_from(now, _offset(found)).first.replace(day=int(found["day"])))


def _named(offset: int) -> Callable[[re.Match[str], date], Span]:
    return lambda _, now: _days(now + timedelta(days=offset))


def _named_year(offset: int) -> Callable[[re.Match[str], date], Span]:
    return lambda _, now: _year(now.year + offset)


_Read = Callable[[re.Match[str], date], Span]
_WHICH: Final = frozenset({"last", "previous", "past", "this", "next"})
_A_MONTH: Final = frozenset(_MONTHS)
_A_YEAR: Final = frozenset({"2000"})
"""Stands for any year among the words of a text."""
_WEEKDAY: Final = f"(?P<unit>{'|'.join(_DAYS)})"
_ENGLISH: Final[list[tuple[Collection[str], str, _Read]]] = [
    (_A_YEAR, rf"\b{_YEAR}[-/.](?P<month>[01]?\d)[-/.](?P<day>[0-3]?\d)\b", _date),
    (_A_YEAR, rf"\b(?P<day>[0-3]?\d)\.(?P<month>[01]?\d)\.{_YEAR}\b", _date),
    (_A_YEAR, rf"\b(?P<one>[0-3]?\d)/(?P<other>[0-3]?\d)/{_YEAR}\b", _slashed_date),
    (_A_YEAR, rf"\b{_YEAR}-(?P<month>0[1-9]|1[0-2])\b", _named_month),
    (_A_MONTH, rf"\b{_DAY} (?:of )?{_MONTH},? (?:of )?(?:{_YEAR}|{_OF_YEAR})\b", _date),
    (_A_MONTH, rf"\b{_MONTH} {_DAY},? (?:of )?(?:{_YEAR}|{_OF_YEAR})\b", _date),
    ({"year"}, rf"\b{_OF_YEAR},? (?:on )?(?:the )?(?:{_DAY} (?:of )?{_MONTH})\b", _date),
    ({"year"}, rf"\b{_OF_YEAR},? (?:on )?(?:{_MONTH} {_DAY})\b", _date),
    (_A_MONTH, rf"\b{_MONTH},? (?:of )?(?:{_YEAR}|{_OF_YEAR})\b", _named_month),
    ({"year"}, rf"\b{_OF_YEAR},? in {_MONTH}\b", _named_month),
    ({"month"}, rf"\b{_DAY} of (?P<which>last|previous|this|next) month\b", _day_of_month),
    (_A_MONTH, rf"\b{_DAY} (?:of )?{_MONTH}\b", _date),
    (_A_MONTH, rf"\b{_MONTH} {_DAY}\b(?! ?(?:%|hours|minutes|people))", _date),
    (_A_MONTH, rf"\b(?P<which>last|previous|past|this|next) (?!may (?:be|have|not)\b){_MONTH}\b", _relative_month),
    (_A_MONTH, rf"\b(?:in|since|during|of|early|late) (?!may (?:be|have|not)\b){_MONTH}\b", _named_month),
    (_A_YEAR, rf"\b(?:in|since|during|of|year) {_YEAR}\b", lambda found, _: _year(int(found["year"]))),
    (
        {"ago", "back", "before"},
        rf"\b(?:about |around )?{_COUNT}(?: of)? (?P<unit>days?|weeks?|months?|years?) (?:ago|back|before)\b",
        _ago,
    ),
    ({"fortnight"}, r"\bfortnight (?:ago|back)\b", lambda _, now: _days(now - timedelta(weeks=2, days=3), 7)),
    ({"yesterday"}, r"\bday before yesterday\b", _named(-2)),
    ({"tomorrow"}, r"\bday after tomorrow\b", _named(2)),
    ({"yesterday", "night"}, r"\byesterday\b|\blast night\b", _named(-1)),
    ({"today", "tonight", "this"}, r"\btoday\b|\bthis (?:morning|afternoon|evening)\b|\btonight\b", _named(0)),
    ({"tomorrow"}, r"\btomorrow\b", _named(1)),
    ({"week"}, rf"\b{_WEEKDAY} (?:of )?(?P<which>last|previous|this|next) week\b", _day_of_week),
    ({"week"}, rf"\b(?P<which>last|previous|this|next) week,? (?:on )?{_WEEKDAY}\b", _day_of_week),
    ({"last", "next"}, r"\b(?P<unit>weekend|week|month|year) (?:before last|after next)\b", _before_last),
    (
        _WHICH,
        rf"\b(?P<which>last|previous|past|this|next) (?P<unit>weekend|week|month|year|{'|'.join(_DAYS)})\b",
        _relative,
    ),
]
"""Words of which a text has one that a pattern finds, the pattern, and what reads it."""
_KOREAN: Final[list[tuple[str, _Read]]] = [
    (rf"(?:{_KOREAN_OF_YEAR}|(?<!\d)(?P<year>(?:19|20)?\d\d)년) ?{_KOREAN_MONTH} ?{_KOREAN_DAY}", _date),
    (rf"(?:{_KOREAN_OF_YEAR}|(?<!\d)(?P<year>(?:19|20)?\d\d)년) ?{_KOREAN_MONTH}(?!요)", _named_month),
    (r"(?<!\d)(?P<year>(?:19|20)\d\d)년", lambda found, _: _year(int(found["year"]))),
    (rf"{_KOREAN_MONTH} ?{_KOREAN_DAY}", _date),
    (rf"{_KOREAN_WHICH_ONE} ?(?P<month>\d{{1,2}})월(?!요)", _relative_month),
    (rf"{_KOREAN_MONTH}(?!요)", _named_month),
    (rf"{_KOREAN_COUNT} ?(?P<unit>일|주일?|달|개월|년) ?전", _ago),
    (
        rf"(?P<count>{'|'.join(_KOREAN_DAYS_AGO)}) ?전",
        lambda found, now: _days(now - timedelta(_KOREAN_DAYS_AGO[found["count"]])),
    ),
    (r"그저께|그제|엊그제", _named(-2)),
    (r"어제|어젯밤|어저께", _named(-1)),
    (r"오늘", _named(0)),
    (r"내일모레|모레", _named(2)),
    (r"내일", _named(1)),
    (r"글피", _named(3)),
    (rf"{_KOREAN_WHICH_ONE} ?달 ?{_KOREAN_DAY}", _day_of_month),
    (rf"{_KOREAN_WHICH_ONE} ?주 ?(?P<unit>[월화수목금토일]요일)", _day_of_week),
    (_KOREAN_OF_YEAR, lambda found, now: _year(now.year + _YEARS[found["of_year"]])),
    (rf"{_KOREAN_WHICH_ONE} ?(?P<unit>주말|[월화수목금토일]요일|주|달|해)", _relative),
]
_ENGLISH_RULES: Final = [(frozenset(needs), re.compile(pattern), read) for needs, pattern, read in _ENGLISH]
_KOREAN_RULES: Final = [(re.compile(pattern), read) for pattern, read in _KOREAN]
_ANY: Final = re.compile(
    r"(?:19|20)\d\d|\b(?:ago|back|before|yesterday|today|tonight|tomorrow|last|previous|past|this|next)\b|"
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|"
    r"\d ?[일월년주달개]|[년달주일월] ?전|"
    r"어제|어젯|어저께|그제|그저께|오늘|내일|모레|올해|금년|내년|작년|"
    r"지난|저번|이번|다음|글피|(?:하루|[틀흘새레]|보름|며칠) ?전"
)
"""Finds a lowered text that may name a time."""
_SIGNS: Final = (
    *("19", "20", "ago", "back", "before", "day", "tonight", "tomorrow", "last", "previous", "past", "this", "next"),
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
"""An English text without any of these names no time: that is seen twenty times faster."""
_TOKEN: Final = re.compile(r"[a-z]+|\d+")


def spans(text: str, now: datetime) -> list[Span]:
    """Return the spans that a text names, seen from a day; each character counts for one of them.

    Example:
        >>> spans("What did she say yesterday?", datetime(2026, 5, 8))
        [Span(first=datetime.date(2026, 5, 7), last=datetime.date(2026, 5, 7))]
        >>> [span.first.isoformat() for span in spans("3월에 뭐라고 했지?", datetime(2026, 5, 8))]
        ['2026-03-01']
    """
    return [Span(*span) for span in _named_in(text, now)]


def _named_in(text: str, now: datetime) -> list[Span]:
    lowered = text.lower()
    if (lowered.isascii() and not any(sign in lowered for sign in _SIGNS)) or not _ANY.search(lowered):
        return []
    words = _words_of(lowered)
    rules = [(pattern, read) for needs, pattern, read in _ENGLISH_RULES if not needs.isdisjoint(words)]
    found: list[Span] = []
    text = lowered
    for pattern, read in [*rules, *_KOREAN_RULES] if has_hangul(text) else rules:
        match = pattern.search(text)
        while match:
            with suppress(ValueError, OverflowError):  # the 31st of February, the year 0
                found.append(read(match, now.date()))
            text = text[: match.start()] + " " * len(match.group()) + text[match.end() :]
            match = pattern.search(text, match.end())
    return found


def _words_of(lowered: str) -> set[str]:
    words = set(_TOKEN.findall(lowered))
    return words | _A_YEAR if any(len(word) == 4 and word.startswith(("19", "20")) for word in words) else words


def time_spoken_of(text: str, said: datetime) -> str | None:
    """Return the day that a message speaks of, if it is a single one other than the day it was said; as ISO 8601.

    A day without a year is the nearest one: "on 2 January", said in December, is in some days.

    Example:
        >>> time_spoken_of("I went to the dentist yesterday.", datetime(2026, 5, 8))
        '2026-05-07'
    """
    named = {_nearest(span, said.date()) for span in _named_in(text[:_READ], said) if span.first == span.last}
    return named.pop().isoformat() if len(named) == 1 and said.date() not in named else None


def _nearest(span: Span, said: date) -> date:
    """Return the day of a span, or the same day of the next year if no year was named and that is nearer."""
    if isinstance(span, Yearless):
        with suppress(ValueError, OverflowError):
            following = span.first.replace(year=span.first.year + 1)
            return min(span.first, following, key=lambda day: abs(day - said))
    return span.first


_READ: Final = 2_000
"""How many characters of a message are read for times: a longer one is a document, and speaks of many."""
