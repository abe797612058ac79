"""Arguments that are counts."""

from __future__ import annotations

from memvid_core.errors import InvalidInputError

__all__ = ["check_count"]


def check_count(name: str, value: object, least: int = 0) -> None:
    """Refuse what is no whole number, or less than ``least``.

    Raises:
        InvalidInputError: The message says which argument it is.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInputError(f"{name} is {value!r}: a whole number, {least} or more")
