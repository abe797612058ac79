"""Checks of arguments that are counts."""

from __future__ import annotations

from memvid_core.errors import InvalidInputError

__all__ = ["check_count"]


def check_count(name: str, value: object, least: int = 0) -> None:
    """Check that a value is an integer of at least ``least``.

    Raises:
        InvalidInputError: It is not; the message names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInputError(f"{name} must be an integer of {least} or more, not {value!r}")
