"""Checks of what callers give: the right value, or an error that names it and says what it should be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from memvid_core.agent.times import parse_time
from memvid_core.agent.trust import is_blank
from memvid_core.errors import InvalidInputError

__all__ = [
    "clock_of",
    "content_of",
    "count_of",
    "counter_of",
    "function_of",
    "ids_of",
    "mapping_of",
    "names_given",
    "path_of",
    "text_of",
    "texts_of",
]


def text_of(value: Any, name: str) -> str:
    """Return a text.

    Raises:
        InvalidInputError: It is not a str, or it is blank.

    Example:
        >>> text_of("party", "question")
        'party'
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"the {name} must be a text, not {value!r:.60}")
    if not value.strip():
        raise InvalidInputError(f"the {name} is empty")
    return value


def content_of(value: Any) -> str:
    """Return the content of an item, without spaces around it.

    Raises:
        InvalidInputError: It is not a text, or it is blank.
    """
    if not isinstance(value, str) or is_blank(value):
        raise InvalidInputError("memory_content must be a text that is not empty")
    return value.strip()


def count_of(value: Any, name: str, least: int = 0) -> int:
    """Return a whole number.

    Raises:
        InvalidInputError: It is not an int, or it is below ``least``.

    Example:
        >>> count_of(3, "k")
        3
    """
    if type(value) is not int or value < least:
        raise InvalidInputError(f"{name} must be a whole number of {least} or more, not {value!r:.60}")
    return value


def texts_of(values: Any, name: str) -> list[str]:
    """Return texts.

    Raises:
        InvalidInputError: It is one text, or no collection of texts.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInputError(f"{name} must be a list of texts, not {values!r:.60}")
    found = list(values)
    wrong = [value for value in found if not isinstance(value, str)]
    if wrong:
        raise InvalidInputError(f"{name} must be texts; {wrong[0]!r:.60} is not one")
    return found


def names_given(values: Any, name: str) -> tuple[str, ...]:
    """Return the names of categories, each once, without spaces around them; None gives none.

    Raises:
        InvalidInputError: They are not a list of names, or a name is blank.

    Example:
        >>> names_given(["habits", " habits "], "memory_categories")
        ('habits',)
    """
    found = [" ".join(value.split()) for value in texts_of(() if values is None else values, name)]
    if not all(found):
        raise InvalidInputError(f"{name} has a name that is empty")
    return tuple(dict.fromkeys(found))


def ids_of(ids: Any) -> list[str] | None:
    """Return ids as a list; one id is a list of one, and None stays None.

    Raises:
        InvalidInputError: They are not texts.
    """
    if ids is None:
        return None
    return [ids] if isinstance(ids, str) else texts_of(ids, "ids")


def mapping_of(value: Any, name: str) -> Mapping[str, Any]:
    """Return fields and their values; None is none.

    Raises:
        InvalidInputError: It is not a dict, or a key is not a str.
    """
    given = {} if value is None else value
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InvalidInputError(f"{name} must be a dict of fields, such as {{'user_id': 'ada'}}, not {value!r:.60}")
    return given


def path_of(value: Any, name: str) -> Path:
    """Return a path.

    Raises:
        InvalidInputError: It is not one.
    """
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError(f"{name} must be a path, not {value!r:.60}")
    if "://" in text:
        raise InvalidInputError(f"{name} must be a path, not the URL {text[:200]!r}: download it first")
    try:
        os.stat(text)
    except FileNotFoundError:
        return Path(text)
    except (OSError, UnicodeError) as exc:
        raise InvalidInputError(f"{name} is a path that cannot be used, {text[:60]!r}: {exc}") from exc
    return Path(text)


def function_of(value: Any, name: str) -> Callable[..., Any]:
    """Return a function.

    Raises:
        InvalidInputError: It cannot be called.
    """
    if not callable(value):
        raise InvalidInputError(f"{name} must be a function, not {value!r:.60}")
    function: Callable[..., Any] = value
    return function


def clock_of(clock: Callable[[], Any]) -> Callable[[], datetime]:
    """Return a clock that gives aware datetimes; one without a zone is in UTC.

    Raises:
        InvalidInputError: It cannot be called; and when it is asked, if it gives no time.
    """
    function_of(clock, "clock")
    return lambda: parse_time(clock(), name="the time of clock()")


def counter_of(count_tokens: Callable[[str], Any]) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text.

    Raises:
        InvalidInputError: It cannot be called; and when it is asked, if it gives no whole number.
    """
    function_of(count_tokens, "count_tokens")
    return lambda text: count_of(count_tokens(text), "the number that count_tokens gives")
