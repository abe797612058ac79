"""The validation of the vectors of an embedder."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DimensionError, EmbeddingError, InvalidInputError, VectorError
from memvid_core.model import Vectors

__all__ = ["check_vector", "check_vectors"]

_AT_ONCE: Final = 64  # rows, which fit a cache of the processor
_SMALL: Final = 4096  # components that are compared in less time than two extremes are found
_FEW: Final = 3  # rows that struct packs faster than msgspec and NumPy
_FLOAT: Final = 0xCB  # the first byte of a float in msgpack, before eight bytes, big-endian
_FLOAT_BYTES: Final = 9
_encode_into: Final = msgspec.msgpack.Encoder().encode_into


def check_vectors(
    vectors: object,
    count: int,
    *,
    dtype: type[np.floating[Any]] | None = np.float32,
    given: bool = False,
    source: str = "the embedder",
) -> Vectors:
    """Convert the vectors of an embedder to a C-order matrix, and validate them.

    Args:
        vectors: An array ``(count, d)``, or an iterable of ``count`` sequences, arrays or tensors.
        count: The expected number of vectors.
        dtype: The dtype of the result; ``None`` keeps float64 (also for lists of Python floats) and converts all others
            to float32.
        given: Whether the vectors come from the caller and not from an embedder: a wrong number is then a
            ``VectorError``.
        source: The name of the embedder, for messages.

    Returns:
        A finite matrix ``(count, d)``, which may share memory with ``vectors``. ``(0, 0)``, with a ``UserWarning``, if
        an embedder returned an empty sequence for ``count > 0`` texts: the records are then stored without vectors.

    Raises:
        EmbeddingError: If the vectors are not an iterable, or their number is wrong.
        DimensionError: If the vectors have different dimensions.
        VectorError: If components are not finite numbers, or not in rows.

    Example:
        >>> check_vectors([[1, 2], [3, 4]], 2).shape
        (2, 2)
    """
    miscounted: type[InvalidInputError | EmbeddingError] = VectorError if given else EmbeddingError
    rows = vectors if isinstance(vectors, np.ndarray) else _tensor(vectors)
    if not isinstance(rows, (np.ndarray, list, tuple)):
        if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
            raise miscounted(
                f"got a value of type {type(vectors).__name__} from {source}: one vector per text is needed"
            )
        rows = list(rows)
    if isinstance(rows, np.ndarray) and rows.ndim == 0:
        raise VectorError(f"got one number from {source}: one vector per text is needed")
    if len(rows) != count:
        if len(rows) == 0 and not given:
            warnings.warn(
                f"{source} returned no vectors for {count} texts: they are stored without vectors", stacklevel=2
            )
            return np.zeros((0, 0), dtype=dtype or np.float32)
        raise miscounted(f"got {len(rows)} vectors for {count} texts from {source}: one vector per text is needed")
    if count == 0:
        width = rows.shape[1] if isinstance(rows, np.ndarray) and rows.ndim == 2 else 0
        return np.zeros((0, width), dtype=dtype or np.float32)
    if isinstance(rows, np.ndarray) and rows.dtype != object:
        matrix = _from_array(rows, dtype, source)
    else:
        matrix = _from_rows(rows, dtype, source)
    _check_finite(matrix, source)
    return matrix


def check_vector(
    vector: object,
    *,
    dtype: type[np.floating[Any]] | None = np.float32,
    given: bool = False,
    source: str = "the embedder",
) -> Vectors:
    """Convert one vector, such as of a query, to an array ``(d,)``; rules and errors are those of ``check_vectors``.

    An empty vector of an embedder returns an array ``(0,)`` with a ``UserWarning``: the query then has no vector.

    Example:
        >>> check_vector([0.5, 0.25]).tolist()
        [0.5, 0.25]
    """
    row = vector if isinstance(vector, np.ndarray) else _tensor(vector)
    if not isinstance(row, (np.ndarray, list, tuple)):
        if isinstance(row, (str, bytes)) or not isinstance(row, Iterable):
            error = VectorError if given else EmbeddingError
            raise error(f"got a value of type {type(vector).__name__} from {source}: a sequence of numbers is needed")
        row = list(row)
    if not given and np.ndim(row) and len(row) == 0:
        warnings.warn(f"{source} returned an empty vector for a query: the search uses no vector", stacklevel=2)
        return np.zeros(0, dtype=dtype or np.float32)
    one = [row] if isinstance(row, (list, tuple)) else row[np.newaxis]
    checked: Vectors = check_vectors(one, 1, dtype=dtype, given=given, source=source)[0]
    return checked


def _tensor(value: object) -> Any:
    """Convert a tensor of an external library to an array (checked on the type: a mock has every attribute)."""
    if hasattr(type(value), "detach"):
        value = value.detach().cpu()  # type: ignore[attr-defined]
    return np.asarray(value) if hasattr(type(value), "__array__") else value


def _target(dtype: np.dtype[Any], wished: type[np.floating[Any]] | None) -> type[np.floating[Any]]:
    return wished or (np.float64 if dtype.itemsize > 4 or dtype.kind != "f" else np.float32)


def _from_array(rows: NDArray[Any], dtype: type[np.floating[Any]] | None, source: str) -> Vectors:
    if rows.dtype.kind not in "fiu":
        raise VectorError(f"got vectors of dtype {rows.dtype} from {source}: components must be numbers")
    if rows.ndim != 2:
        raise VectorError(f"got an array of shape {rows.shape} from {source}: it must be (texts, dimension)")
    if rows.shape[1] == 0:
        raise VectorError(f"got vectors without components from {source}")
    target = _target(rows.dtype, dtype)
    if rows.dtype == target:
        return np.ascontiguousarray(rows)
    with np.errstate(over="ignore"):  # becomes infinite, and is reported as such
        return np.ascontiguousarray(rows, dtype=target)


def _from_rows(rows: Any, dtype: type[np.floating[Any]] | None, source: str) -> Vectors:
    if not all(type(row) is list or type(row) is tuple for row in rows):
        arrays = [_row_array(row, index, source) for index, row in enumerate(rows)]
        _check_widths([len(row) for row in arrays], source)
        return _from_array(np.stack(arrays), dtype, source)
    width = len(rows[0])
    _check_widths([len(row) for row in rows], source)
    matrix: NDArray[Any] = np.empty((len(rows), width), dtype=dtype or np.float64)
    code = {"float64": "d", "float32": "f"}.get(matrix.dtype.name)
    if code is None:
        return _from_rows(rows, np.float64, source).astype(matrix.dtype)
    # struct packs Python floats 1.5 to 3 times faster than np.array or np.fromiter, and rejects strings
    pack, view, stride = struct.Struct(f"={width}{code}").pack_into, matrix.data.cast("B"), matrix.strides[0]
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        if len(some) > _FEW and _filled(matrix[start : start + _AT_ONCE], some):
            continue
        for index, row in enumerate(some, start):
            try:
                pack(view, index * stride, *row)
            except (struct.error, OverflowError, TypeError, ValueError) as error:
                raise VectorError(
                    f"vector {index} of {source} has a component that is not a number in range: {error}"
                ) from error
    return matrix


def _filled(matrix: Vectors, rows: Sequence[Sequence[float]]) -> bool:
    """Fill a matrix (n, d) with rows of Python floats; return False if a component is something else, or not finite.

    msgspec writes a float as the byte 0xCB and eight bytes, in less than half of the time of struct.
    """
    buffer = bytearray()
    try:
        _encode_into(rows, buffer)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    count, width = matrix.shape
    first = _array_header(count) + _array_header(width)
    size = _array_header(width) + _FLOAT_BYTES * width
    if len(buffer) != _array_header(count) + count * size:
        return False
    # Each component that begins with the byte of a float ends where the next one begins.
    strides = (size, _FLOAT_BYTES)
    if not (np.ndarray((count, width), np.uint8, buffer, first, strides) == _FLOAT).all():
        return False
    with np.errstate(over="ignore"):
        matrix[:] = np.ndarray((count, width), ">f8", buffer, first + 1, strides)
    return bool(np.isfinite(matrix.min()) and np.isfinite(matrix.max()))


def _array_header(length: int) -> int:
    """Return the number of bytes before the items of an array of this length in msgpack."""
    return 1 if length < 1 << 4 else 3 if length < 1 << 16 else 5


def _row_array(row: object, index: int, source: str) -> NDArray[Any]:
    try:
        array = np.asarray(_tensor(row) if not isinstance(row, (list, tuple)) else row)
        if array.dtype == object:
            array = np.array([float(value) for value in array])
    except (TypeError, ValueError) as error:
        raise VectorError(f"vector {index} of {source} is not numeric: {error}") from error
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise VectorError(f"vector {index} of {source} is of type {type(row).__name__}, not a sequence of numbers")
    return array


def _check_widths(widths: list[int], source: str) -> None:
    if not widths[0]:
        raise VectorError(f"got vectors without components from {source}")
    if widths.count(widths[0]) != len(widths):
        index, width = next((i, w) for i, w in enumerate(widths) if w != widths[0])
        raise DimensionError(f"vector {index} of {source} has {width} components, the ones before have {widths[0]}")


def _check_finite(matrix: Vectors, source: str) -> None:
    if matrix.size < _SMALL and np.isfinite(matrix).all():
        return
    if np.isfinite(matrix.min()) and np.isfinite(matrix.max()):  # both propagate a NaN
        return
    row, column = np.argwhere(~np.isfinite(matrix))[0].tolist()
    value = matrix[row, column]
    raise VectorError(f"vector {row} of {source} is not finite: component {column} is {value}; it cannot be compared")
