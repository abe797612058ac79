"""The few SQL functions that filters need because SQLite has no exact way of its own.

SQLite folds case for ASCII only and cannot reach a key that holds a quote; some versions (3.40 is one) cut a JSON
string at an escaped NUL. All of these are pure functions of their arguments.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Any, Final

import msgspec

from memvid_core.index.database import note_failure

__all__ = ["NUL_SIGN", "canonical", "fold", "register_functions"]

NUL_SIGN: Final = "\u2400"  # stands for NUL where SQLite would stop reading: in GLOB

_dict_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the SQL functions that compiled filters call: once each, before its first filter.

    Args:
        connection: An open connection; read-only ones too.
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


def fold(text: str) -> str:
    """What strings that differ only in case or Unicode normal form have in common.

    Args:
        text: Any string.

    Returns:
        Its full case folding (Unicode 3.13, D144) in normal form C, NUL shown as U+2400.

    Example:
        >>> fold("STRASSE") == fold("straße"), fold("E\u0301") == "é"
        (True, True)
    """
    if text.isascii():
        return text.lower().replace("\0", NUL_SIGN)
    return unicodedata.normalize("NFC", text.casefold()).replace("\0", NUL_SIGN)


def _text(document: str, shown: int = 0) -> str:
    """A JSON string, decoded whole; with ``shown``, its NULs made visible."""
    text = str(json.loads(document))
    return text.replace("\0", NUL_SIGN) if shown else text


def _get(document: str | None, where: str | int) -> str | None:
    """The JSON text of a list's item, or of what a JSON list of keys leads to; None where there is nothing."""
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
    """Return what equal JSON values have in common: 1 is 1.0 but not True, dicts are equal in any order.

    Args:
        value: A JSON value, decoded.

    Returns:
        Something hashable, equal for equal values alone.

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
    """-1, 0 or 1 for two JSON numbers, exact beyond 64 bits, where SQLite would round to doubles."""
    x, y = json.loads(a), json.loads(b)
    return int(x > y) - int(x < y)


_FUNCTIONS: Final = (
    ("memvid_fold", 1, _noting(fold)),
    ("memvid_text", -1, _noting(_text)),
    ("memvid_get", 2, _noting(_get)),
    ("memvid_same", 2, _noting(_same_as_any)),
    ("memvid_order", 2, _noting(_order)),
)
