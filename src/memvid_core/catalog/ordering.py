"""Sort rows by a metadata value."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from memvid_core.catalog.filter_conditions import value_at

__all__ = ["Key", "by_key", "by_value", "keys_of"]

_AT_ONCE: Final = 500  # rows per query
_NONE: Final[tuple[int, Any]] = (2, "")


Key = tuple[int, Any]
"""What rows are sorted by: the kind of a value, and the value."""


def by_value(connection: sqlite3.Connection, rows: Sequence[int], path: str, *, descending: bool = False) -> list[int]:
    """Sort rows by the value at a path: numbers, then strings; rows with neither always come last.

    Args:
        connection: One with the table ``records``.
        rows: Row numbers. The sort is stable.
        path: As in a filter: ``"page"``, ``"author.name"``, ``"$id"``.
        descending: Reverse the order: strings, then numbers, both descending.

    Returns:
        The same row numbers, sorted.
    """
    return by_key(rows, keys_of(connection, rows, path), descending=descending)


def by_key(rows: Sequence[int], keys: Mapping[int, Key], *, descending: bool = False) -> list[int]:
    """Sort rows by their keys, as :func:`by_value` does; rows without a key come last."""
    known = [row for row in rows if keys.get(row, _NONE) != _NONE]
    unknown = [row for row in rows if keys.get(row, _NONE) == _NONE]
    return sorted(known, key=keys.__getitem__, reverse=descending) + unknown


def keys_of(connection: sqlite3.Connection, rows: Sequence[int], path: str) -> dict[int, Key]:
    """Return the sort keys of rows by the value at a path."""
    value = value_at(path)
    keys: dict[int, Key] = {}
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        marks = ",".join("?" * len(part))
        found = connection.execute(
            f"SELECT r.row, {value.text} FROM records AS r WHERE r.row IN ({marks})", (*value.params, *part)
        )
        keys.update((row, _key(text)) for row, text in found)
    return keys


def _key(text: str | None) -> Key:
    value = None if text is None else json.loads(text)
    if isinstance(value, bool | int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else _NONE
