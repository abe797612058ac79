"""SQL functions for filters, where SQLite has no exact function of its own.

SQLite folds case for ASCII only and cannot access a key that contains a quote; some versions (such as 3.40) truncate a
JSON string at an escaped NUL. All functions are pure.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Any, Final

import msgspec

from memvid_core.system.sqlite_files import note_failure

__all__ = ["NUL_SIGN", "canonical", "casefold", "register_functions"]

NUL_SIGN: Final = "\u2400"  # replaces NUL in GLOB, where SQLite would stop reading

_dict_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])


def register_functions(connection: sqlite3.Connection) -> None:
    """Register the SQL functions of compiled filters. Call it once per connection, before its first filter.

    Args:
        connection: An open connection, which may be read-only.
    """
    for name, arguments, function in _FUNCTIONS:
        connection.create_function(name, arguments, function, deterministic=True)


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def noting(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except BaseException as exc:
            note_failure(exc)
            raise

    return noting


def casefold(text: str) -> str:
    """Remove differences of case and Unicode normal form from a string.

    Args:
        text: Any string.

    Returns:
        The full case folding (Unicode 3.13, D144) in normal form C, with NUL replaced by U+2400.

    Example:
        >>> casefold("STRASSE") == casefold("straße"), casefold("E\u0301") == "é"
        (True, True)
    """
    if text.isascii():
        return text.lower().replace("\0", NUL_SIGN)
    return unicodedata.normalize("NFC", text.casefold()).replace("\0", NUL_SIGN)


def _text(document: str, shown: int = 0) -> str:
    """Decode a JSON string; with ``shown``, replace NUL by U+2400."""
    text = str(json.loads(document))
    return text.replace("\0", NUL_SIGN) if shown else text


def _get(document: str | None, where: str | int) -> str | None:
    """Return the JSON text of a list item, or of the value at a JSON list of keys; None if it does not exist."""
    if document is None:
        return None
    if isinstance(where, int):
        return bytes(_list_decoder.decode(document)[where]).decode()
    for key in json.loads(where):
        if document[:1] != "{":
            return None
        found = _dict_decoder.decode(document).get(key)
        if found is None:
            return None
        document = bytes(found).decode()
    return document


def _same_as_any(document: str, others: str) -> bool:
    return canonical(json.loads(document)) in _canonical_set(others)


@lru_cache(maxsize=8)
def _canonical_set(others: str) -> frozenset[Hashable]:
    return frozenset(map(canonical, json.loads(others)))


def canonical(value: Any) -> Hashable:
    """Return a hashable form of a JSON value: 1 equals 1.0 but not True, and dicts are equal in any order.

    Args:
        value: A JSON value, decoded.

    Returns:
        A hashable object; two are equal if and only if the values are.

    Example:
        >>> canonical({"a": 1, "b": [True]}) == canonical({"b": [True], "a": 1.0})
        True
    """
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(canonical, value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, canonical(item)) for key, item in value.items()))
    return value  # type: ignore[no-any-return]


def _order(a: str, b: str) -> int:
    """Compare two JSON numbers: -1, 0 or 1. It is exact beyond 64 bits, where SQLite rounds to doubles."""
    x, y = json.loads(a), json.loads(b)
    return int(x > y) - int(x < y)


_FUNCTIONS: Final = (
    ("memvid_fold", 1, _noting(casefold)),
    ("memvid_text", -1, _noting(_text)),
    ("memvid_get", 2, _noting(_get)),
    ("memvid_same", 2, _noting(_same_as_any)),
    ("memvid_order", 2, _noting(_order)),
)
