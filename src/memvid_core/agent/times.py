"""Points in time: read from what messages carry, written as ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from memvid_core.errors import InvalidInputError

__all__ = ["isoformat", "later", "parse_time", "seconds", "utc_now"]

_MILLISECONDS: Final = 1e11
"""Numbers above this are milliseconds: as seconds, they would lie after the year 5000."""


def utc_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


def parse_time(value: Any, *, name: str = "created_at") -> datetime:
    """Read a time as an aware datetime; one without a zone is in UTC.

    Args:
        value: A datetime, ISO 8601 text, or seconds (or milliseconds) since 1970.
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
            found = datetime.fromisoformat(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value / 1000 if abs(value) > _MILLISECONDS else value, UTC)
        else:
            raise ValueError("no time")
    except (ValueError, OverflowError, OSError) as exc:
        raise InvalidInputError(f"{name} must be ISO 8601 text or seconds since 1970, not {value!r:.60}") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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
