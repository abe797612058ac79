"""Messages: large answers of an actor, in values that Ray sends at once.

A value of more than 100 KB goes through Ray's object store, which takes longer than two small messages. So the arrays
of answers become one run of bytes, which is cut into several values of one task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARTS", "answers_of", "message"]

PARTS: Final = 5
"""The number of values of a message; the later ones may be None."""

_WITH_THE_REST: Final = 1 << 14  # bytes of arrays that go with what is not an array
_LEAST: Final = 90_000  # bytes of a part, unless all are larger
_ALIGNED: Final = 8  # bytes

_Array = slice
"""Where an array lies in the bytes of a message: start, dtype and shape. It is a built-in type, which no answer has: a
class of this module would be another one where the module was imported twice."""


def message(answers: Sequence[Any]) -> tuple[Any, ...]:
    """Return answers as :data:`PARTS` values.

    Args:
        answers: What shards have answered: arrays in them, or in tuples in them, become bytes.

    Returns:
        The values: the answers without the bytes of the arrays, and these.

    Example:
        >>> sent = message([(np.array([3, 1]), "a text"), None])
        >>> len(sent), answers_of(sent)
        (5, [(array([3, 1]), 'a text'), None])
    """
    data = bytearray()

    def replaced(array: NDArray[Any]) -> _Array:
        data.extend(bytes(-len(data) % _ALIGNED))
        start = len(data)
        data.extend(array.tobytes())
        return _Array(start, array.dtype.str, array.shape)

    told = [_mapped(answer, np.ndarray, replaced) for answer in answers]
    if len(data) <= _WITH_THE_REST:
        return ((told, bytes(data)), *[None] * (PARTS - 1))
    size = max(_LEAST, -(-len(data) // (PARTS - 1)))
    parts = [bytes(data[size * number : size * (number + 1)]) or None for number in range(PARTS - 1)]
    return ((told, b""), *parts)


def answers_of(values: Sequence[Any]) -> list[Any]:
    """Return the answers of a message; their arrays can be written to.

    Args:
        values: What :func:`message` has returned.
    """
    (told, first), *parts = values
    data = bytearray().join([first, *(part for part in parts if part is not None)])
    return [_mapped(answer, _Array, lambda one: np.ndarray(one.step, one.stop, data, one.start)) for answer in told]


def _mapped(answer: Any, kind: type[Any], change: Callable[[Any], Any]) -> Any:
    """Return an answer with what is of a type changed, in it and in the tuples in it."""
    if isinstance(answer, kind):
        return change(answer)
    if not isinstance(answer, tuple):
        return answer
    changed = [_mapped(one, kind, change) for one in answer]
    return type(answer)._make(changed) if hasattr(answer, "_make") else tuple(changed)
