"""Spellings of one name: many letters are written composed or decomposed; macOS and some shells decompose them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["NAMES", "spelled", "spellings"]

NAMES: Final = frozenset({"source", "entry", "attachment", "sheet", "heading"})
"""Metadata keys that hold names of files and of their parts. Filters find these in each spelling."""


def spellings(text: str) -> list[str]:
    """Return a text as it is, composed (NFC), and decomposed (NFD), each once.

    Example:
        >>> [len(form) for form in spellings("한글")], spellings("wing")
        ([2, 6], ['wing'])
    """
    if text.isascii():
        return [text]
    return list(dict.fromkeys((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))))


def spelled(path: str, values: Iterable[Any]) -> list[Any]:
    """Return the values that a filter looks for at a path: strings in each spelling, if names are there.

    Example:
        >>> len(spelled("source", ["é", 1])), len(spelled("user", ["é", 1]))
        (3, 2)
    """
    values = list(values)
    if path not in NAMES:
        return values
    return [form for value in values for form in (spellings(value) if isinstance(value, str) else [value])]
