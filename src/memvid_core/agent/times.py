"""Points in time: read from what messages carry, written as ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from memvid_core.errors import InvalidInputError

__all__ = ["isoformat", "later", "parse_time", "seconds", "utc_now"]

_MILLISECONDS: Final = 1e11
"""Numbers above this are milliseconds: as seconds, they would lie after the year 5000."""

_SECONDS: Final = re.compile(r"\d{9,13}(?:\.\d+)?")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_YEAR: Final = r"(?P<year>\d{4})(?!\d)"
_DAY: Final = r"(?<!\d)(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_WRITTEN_DAYS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})(?:[-/]|\. ?|년 ?)(?P<month>\d{1,2})(?:[-/]|\. ?|월 ?)(?P<day>\d{1,2})(?!\d)(?:일|\.)?",
        rf"{_DAY}(?: of)?[ -]{_MONTH},?[ -]?(?: ?of )?{_YEAR}",
        rf"(?<![a-z]){_MONTH}[ -]{_DAY},?[ -]{_YEAR}",
        rf"{_DAY}\. ?(?P<month>\d{{1,2}})\. ?{_YEAR}",
        rf"(?<!\d)(?P<day>1[3-9]|[23]\d)[/-](?P<month>\d{{1,2}})[/-]{_YEAR}",
        rf"(?<!\d)(?P<month>\d{{1,2}})[/-](?P<day>1[3-9]|[23]\d)[/-]{_YEAR}",
    )
)
"""Days as people write them; of 3/4/2025 nobody knows which is the month."""
_WRITTEN_CLOCK: Final = re.compile(
    r"(?:(?P<half>오전|오후) ?)?(?<!\d)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)?"
    r"(?: ?(?P<ampm>[ap])\.?m\b\.?)?(?: ?(?P<zone>(?:utc|gmt|z)\b|[+-]\d\d:?\d\d))?"
)
_LONGEST: Final = 60
_BESIDE: Final = re.compile(
    r"(?:\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b\.?|[월화수목금토일]요일|\b(?:on|at|the)\b|"
    r"[\s,()|-])*"
)


def utc_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


def parse_time(value: Any, *, name: str = "created_at") -> datetime:
    """Read a time as an aware datetime; one without a zone is in UTC.

    Args:
        value: A datetime, ISO 8601 text, seconds (or milliseconds) since 1970, or a day as it is written, with or
            without a clock, such as ``"1:56 pm on 8 May, 2026"``, if it is clear which is the month.
        name: What the value is called in an error.

    Raises:
        InvalidInputError: It is none of these.

    Example:
        >>> parse_time("2026-05-08").isoformat()
        '2026-05-08T00:00:00+00:00'
    """
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, str):
            found = _read(" ".join(value.split()))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value / 1000 if abs(value) > _MILLISECONDS else value, UTC)
        else:
            raise ValueError("no time")
    except (ValueError, OverflowError, OSError) as exc:
        raise InvalidInputError(f"{name} must be ISO 8601 text or seconds since 1970, not {value!r:.60}") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _read(text: str) -> datetime:
    """Read a time; ValueError if it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        if _SECONDS.fullmatch(text):
            return parse_time(float(text))
    lowered = text.lower() if len(text) <= _LONGEST else ""
    clock = _WRITTEN_CLOCK.search(lowered)
    rest = f"{lowered[: clock.start()]} {lowered[clock.end() :]}" if clock else lowered
    rest = " ".join(rest.split())
    day = next((found for pattern in _WRITTEN_DAYS if (found := pattern.search(rest))), None)
    if day is None or not _BESIDE.fullmatch(f"{rest[: day.start()]} {rest[day.end() :]}"):
        raise ValueError("no time")
    month = day["month"]
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3]) + 1
    return _at(datetime(int(day["year"]), number, int(day["day"]), tzinfo=UTC), clock)


def _at(day: datetime, clock: re.Match[str] | None) -> datetime:
    if clock is None:
        return day
    hour = int(clock["hour"])
    if half := clock["half"] or clock["ampm"]:
        if not 1 <= hour <= 12:
            raise ValueError("no hour")
        hour = hour % 12 + 12 * (half in ("오후", "p"))
    zone = clock["zone"] or ""
    offset = f"{zone[:3]}:{zone[-2:]}" if zone[:1] in ("+", "-") else "+00:00"
    return datetime.fromisoformat(f"{day:%Y-%m-%d}T{hour:02}:{clock['minute']}:{clock['second'] or '00'}{offset}")


def isoformat(time: datetime) -> str:
    """Write a time as ISO 8601, to the second.

    Example:
        >>> isoformat(parse_time(0))
        '1970-01-01T00:00:00+00:00'
    """
    return time.isoformat(timespec="seconds")


def seconds(text: str | None) -> float:
    """Return the seconds since 1970 of a stored time, for sorting; minus infinity if there is none.

    Example:
        >>> seconds("1970-01-01T00:01:00+00:00"), seconds(None)
        (60.0, -inf)
    """
    if text is None:
        return float("-inf")
    try:
        return parse_time(text).timestamp()
    except (InvalidInputError, OverflowError):
        return float("-inf")


def later(one: str, other: str) -> str:
    """Return the later of two stored times.

    Example:
        >>> later("2026-01-01T00:00:00+00:00", "2026-01-01T09:00:00+05:00")
        '2026-01-01T09:00:00+05:00'
    """
    return max(one, other, key=seconds)
