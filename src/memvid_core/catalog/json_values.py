"""Convert Python values to JSON values, in the same way for stored metadata and for filters."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import numpy as np

__all__ = ["DEEPEST", "SCALARS", "plain", "replacement", "shortened"]

DEEPEST: Final = 64
"""The maximum nesting of lists and dicts inside one value."""
SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """Convert a JSON scalar to exactly its builtin type; return any other value unchanged.

    A subclass of str, int or float is converted by its content, as in ``json.dumps``, and not by its ``__str__``,
    ``__int__`` or ``__float__``. NumPy's numbers, booleans and strings are converted to Python's.

    Example:
        >>> from enum import Enum
        >>> class Kind(str, Enum):
        ...     NOTE = "note"
        >>> plain(Kind.NOTE), plain(np.int8(3)), plain([1])
        ('note', 3, [1])
    """
    if type(value) in SCALARS:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__pos__(value)
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return float(value) if value.dtype.kind == "f" else value.item()  # a long double's item is itself
    return value


def replacement(value: object) -> str:
    """Return advice for the end of an error message: what to use instead of a value that JSON cannot represent."""
    if isinstance(value, Enum):
        return f"; use its value, {type(value).__name__}.{value.name}.value"
    if isinstance(value, date | time):
        return "; use .isoformat() or .timestamp()"
    if isinstance(value, timedelta):
        return "; use .total_seconds()"
    if isinstance(value, np.datetime64 | np.timedelta64):
        return "; use str() of it"
    if isinstance(value, AbstractSet):
        return "; use a sorted list"
    if isinstance(value, np.ndarray):
        return "; use .tolist()"
    if isinstance(value, Decimal):
        return "; use float() or str() of it"
    if isinstance(value, bytes | bytearray):
        return "; use a str, such as .hex() of it"
    return "" if isinstance(value, Mapping) else "; use None, bool, int, float, str, and lists and dicts of them"


def shortened(path: str) -> str:
    """Shorten a path for an error message to its beginning and its end."""
    return path if len(path) <= 80 else f"{path[:50]} ... {path[-20:]}"
