"""The few SQL functions that filters need because SQLite has no exact way of its own.

SQLite folds case for ASCII only and cannot reach a key that holds a quote; some versions (3.40 is one) cut a JSON
string at an escaped NUL. All of these are pure functions of their arguments.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from typing import Any, Final

import msgspec

__all__ = ["NUL_SIGN", "fold", "register_functions"]

NUL_SIGN: Final = "\u2400"  # stands for NUL where SQLite would stop reading: in GLOB

_dict_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])


def register_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the SQL functions that compiled filters call: once each, before its first filter.

    Args:
        connection: An open connection; read-only ones too.
    """
    connection.create_function("memvid_fold", 1, fold, deterministic=True)
    connection.create_function("memvid_text", -1, _text, deterministic=True)
    connection.create_function("memvid_get", 2, _get, deterministic=True)
    connection.create_function("memvid_same", 2, _same_as_any, deterministic=True)
    connection.create_function("memvid_order", 2, _order, deterministic=True)


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
    value = json.loads(document)
    return any(_same(value, other) for other in json.loads(others))


def _same(a: Any, b: Any) -> bool:
    """Equality of JSON values: 1 is 1.0 but not True, dicts in any order."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    return bool(a == b)


def _order(a: str, b: str) -> int:
    """-1, 0 or 1 for two JSON numbers, exact beyond 64 bits, where SQLite would round to doubles."""
    x, y = json.loads(a), json.loads(b)
    return int(x > y) - int(x < y)
