"""Splitting lists into groups that fit a filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

__all__ = ["in_groups"]

# A filter becomes one SQL expression, whose size SQLite limits.
_ITEMS_A_FILTER = 100

T = TypeVar("T")


def in_groups(items: list[T]) -> Iterator[list[T]]:
    """Yield a list in groups of at most 100."""
    for start in range(0, len(items), _ITEMS_A_FILTER):
        yield items[start : start + _ITEMS_A_FILTER]
