"""The plain values in a pickle, read without importing or calling anything that it names."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any

__all__ = ["Stored", "attributes", "plain", "read_values"]

# A pickle of N bytes can name one list many times; written out, its values may be at most this many times N.
_GROWTH = 50
_DEEPEST = 100


class Stored:
    """Stand for an instance of any class in a pickle: its arguments and its state, without the class."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# Written in Python: the one in C reserves memory for the number that a pickle gives to a memo.
class _ValuesOnly(pickle._Unpickler):
    """Read a pickle in which every class and function becomes `Stored`."""

    def find_class(self, module: str, name: str) -> type[Stored]:
        return Stored

    def persistent_load(self, pid: Any) -> Stored:
        return Stored(pid)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("it uses registered extensions")


def read_values(data: bytes) -> Any:
    """Return what a pickle holds; instances of classes are `Stored`.

    Nothing is imported, and no function named in the pickle is called.

    Args:
        data: The pickle, of any protocol.

    Raises:
        ValueError: It is not a pickle, or is damaged.

    Example:
        >>> read_values(pickle.dumps({"a": [1, 2.5]}))
        {'a': [1, 2.5]}
    """
    try:
        return _ValuesOnly(io.BytesIO(data)).load()
    except Exception as exc:  # a damaged pickle raises errors of many types
        raise ValueError(f"not a readable pickle: {exc!r}") from exc


def attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an instance in a pickle, also of a pydantic model, or a dict as it is."""
    if isinstance(value, dict):
        return value
    state = value.state if isinstance(value, Stored) else None
    if isinstance(state, dict):
        inner = state.get("__dict__")
        return inner if isinstance(inner, dict) else state
    raise ValueError("a value without attributes")


def plain(value: Any, size: int) -> Any:
    """Return a value of JSON's types as it is; everything else becomes a string.

    Args:
        value: A value out of a pickle.
        size: The number of bytes of that pickle, which limits the size of the result.

    Raises:
        ValueError: The value contains itself, or is much larger than its pickle.
    """
    return _plain(value, iter(range(1000 + size * _GROWTH)), 0)


def _plain(value: Any, budget: Iterator[int], depth: int) -> Any:
    cost = 1 + len(value) // 64 if isinstance(value, str | bytes) else 1
    if depth > _DEEPEST or any(next(budget, None) is None for _ in range(cost)):
        raise ValueError("its values are nested too deeply, or contain each other")
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, budget, depth + 1) for item in value]
    return _described(value)


def _described(value: Any) -> str:
    if isinstance(value, Stored):
        return " ".join(item for item in value.arguments if isinstance(item, str))
    return repr(value)
