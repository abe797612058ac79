"""Where the vectors of an index lie: one row-major matrix of unit rows, in RAM or in a file that only grows.

Rows are numbered from 0 and stored as float16 or float32. A file store is written with positional writes. Another file
has one checksum a row, and every row is compared with it when it is read; unless there are very many, rows that were
read stay in RAM.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DimensionError, IndexStaleError, VectorError
from memvid_core.vectors import settings
from memvid_core.vectors.checked_rows import CheckedRows
from memvid_core.vectors.growing_file import GrowingFile, row_sums
from memvid_core.vectors.last_rows import LastRows

__all__ = ["FileRows", "IndexStaleError", "RamRows", "RowStore", "StoredDtype", "narrow", "normalized", "take", "widen"]

StoredDtype = Literal["float16", "float32"]
Matrix = NDArray[np.float32]

_BLOCK_FLOATS: Final = 1 << 20  # floats a temporary may hold while rows are converted: 4 MB, about the L2 caches
_PIECE_FLOATS: Final = 1 << 18  # floats read, compared and converted at once: stored as float16, 0.5 MB
_DTYPES: Final[dict[str, str]] = {"float16": "<f2", "float32": "<f4"}  # little-endian in files, whatever the machine


def normalized(vectors: NDArray[Any], dimension: int) -> Matrix:
    """Scale every row to length 1; rows that are all zero (records without a vector) stay zero.

    Args:
        vectors: (n, dimension), any real dtype.
        dimension: What the rows must have.

    Returns:
        A new C-order (n, dimension) float32 array.

    Raises:
        DimensionError: The shape is another.
        VectorError: A component is NaN or infinite.

    Example:
        >>> normalized(np.array([[3.0, 4.0], [0.0, 0.0]]), 2).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise DimensionError(f"vectors of shape {vectors.shape} do not fit an index of dimension {dimension}")
    if vectors.dtype.kind not in "biuf":
        raise VectorError(f"vectors of dtype {vectors.dtype} are not real numbers; give float32")
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        unit = np.array(vectors, dtype=np.float32, order="C")  # always a copy: it is scaled in place
        squares = np.einsum("ij,ij->i", unit, unit)
        # Squares of very large or very small floats leave float32's range: those rows are scaled in float64.
        odd = np.flatnonzero(~((squares > 1e-30) & (squares < 1e30)))
        squares[odd] = 1.0
        unit *= (1.0 / np.sqrt(squares))[:, None]
    if odd.size:
        exact = np.asarray(vectors[odd], dtype=np.float64)
        if not np.isfinite(exact).all():
            row = int(odd[np.flatnonzero(~np.isfinite(exact).all(axis=1))[0]])
            raise VectorError(f"vector {row} of {len(vectors)} has NaN or infinite components; give finite numbers")
        largest = np.abs(exact).max(axis=1, keepdims=True, initial=0.0)
        exact /= np.where(largest > 0.0, largest, 1.0)
        length = np.sqrt((exact * exact).sum(axis=1, keepdims=True))
        unit[odd] = exact / np.where(length > 0.0, length, 1.0)
    return unit


def widen(block: NDArray[Any], out: Matrix | None = None, scale: NDArray[np.float32] | None = None) -> Matrix:
    """Convert stored rows to float32, bit for bit what ``astype`` gives for finite numbers and four times as fast.

    A float16's exponent and fraction, shifted left by 13 bits, are a float32 that is 2**112 too small.

    Args:
        block: float16 or float32, any shape.
        out: float32 of the same shape to write to; a new array when not given.
        scale: (n,) float32 below 2**15, what each row of a matrix is multiplied by.

    Returns:
        The float32 rows (``block`` itself when it is float32 already and neither ``out`` nor ``scale`` is given).
    """
    if block.dtype == np.float32:
        if scale is not None:
            scaled: Matrix = np.multiply(block, scale[:, None], out=out)
            return scaled
        if out is None:
            return block
        np.copyto(out, block)
        return out
    if out is None:
        out = np.empty(block.shape, dtype=np.float32)
    bits = out.view(np.int32)
    np.copyto(bits, block.view(np.int16))  # sign-extends
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(-0x70000001), out=bits)  # 0x8fffffff: the sign, not its extension
    factor = np.float32(2.0**112)
    np.multiply(out, factor if scale is None else (factor * scale)[:, None], out=out)
    return out


def narrow(block: Matrix) -> NDArray[np.float16]:
    """Round float32 numbers to float16, several times as fast as ``astype``; halves round up.

    Args:
        block: float32, any shape, |x| <= 65504, the largest float16.

    Returns:
        A new float16 array.
    """
    scaled = block * np.float32(2.0**-112)  # now the exponent fits 5 bits, and float16's subnormals are float32's
    bits = scaled.view(np.int32)
    sign = bits >> 16
    np.bitwise_and(sign, np.int32(0x8000), out=sign)
    np.add(bits, np.int32(0x1000), out=bits)
    np.right_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(0x7FFF), out=bits)
    np.bitwise_or(bits, sign, out=bits)
    return bits.astype(np.uint16).view(np.float16)


def take(stored: NDArray[Any], rows: NDArray[np.int64], out: Matrix | None = None) -> Matrix:
    """Gather rows as float32, in blocks, so that a large request needs no large temporary.

    Args:
        stored: (n, d) float16 or float32.
        rows: (m,) row numbers below n.
        out: (m, d) float32 to write float16 rows to; a new array when not given.

    Returns:
        (m, d) float32.
    """
    if stored.dtype == np.float32:
        return np.asarray(stored.take(rows, axis=0), dtype=np.float32)
    if out is None:
        out = np.empty((len(rows), stored.shape[1]), dtype=np.float32)
    step = max(1, _BLOCK_FLOATS // stored.shape[1])
    for start in range(0, len(rows), step):
        widen(stored.take(rows[start : start + step], axis=0), out[start : start + step])
    return out


def _store(unit: Matrix, into: NDArray[Any]) -> None:
    """Write unit rows to an array of the stored dtype."""
    if into.dtype == np.float32:
        np.copyto(into, unit)
        return
    step = max(1, _BLOCK_FLOATS // 8 // unit.shape[1])
    for start in range(0, len(unit), step):
        into[start : start + step] = narrow(unit[start : start + step])


class RowStore(Protocol):
    """What the searches need from the matrix; ``RamRows`` and ``FileRows`` are it."""

    dimension: int
    dtype: np.dtype[Any]

    def sync(self, rows: int, kept: int) -> None:
        """See that ``rows`` rows can be read; those from ``kept`` on may be another's."""

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on."""

    def available(self) -> int:
        """Return how many rows there are, committed or not."""

    def read(self, rows: NDArray[np.int64], out: Matrix | None = None) -> Matrix:
        """Return some rows, (m, d) float32, in the order asked, each compared with its checksum.

        Rows of another dtype are written to ``out``, if it is given.
        """

    def check(self, rows: int) -> None:
        """Compare the first ``rows`` rows with their checksums, those that were not since the files changed."""

    def block(self, start: int, stop: int) -> Matrix:
        """Return rows that ``check`` has seen, (stop - start, d) float32, for reading one block after the other."""

    def copy_to(self, out: Matrix, start: int) -> None:
        """Write the rows from ``start`` on, each compared with its checksum, to ``out``, and nowhere else."""

    @property
    def one_by_one(self) -> bool:
        """Whether ``read`` fetches row after row, so that more threads would only wait for each other."""

    def flush(self) -> None:
        """Make what was written durable."""

    def close(self) -> None:
        """Let go of files and memory."""

    @property
    def nbytes(self) -> int:
        """Bytes on disk, or in RAM otherwise."""


class RamRows:
    """Rows in memory; the array at least doubles when it is full, so appending is linear in total."""

    def __init__(self, dimension: int, dtype: StoredDtype) -> None:
        self.dimension = dimension
        self.dtype = np.dtype(_DTYPES[dtype])
        self._array: NDArray[Any] = np.empty((0, dimension), dtype=self.dtype)
        self._rows = 0

    def sync(self, rows: int, kept: int) -> None:
        """See that there are so many: nobody else writes here."""
        if rows > self._rows:
            raise IndexStaleError(f"the vector index holds {self._rows} rows where {rows} were committed; rebuild it")

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on; arrays handed out before keep their rows below ``first_row``."""
        stop = first_row + len(unit)
        if stop > len(self._array):
            grown = np.empty((max(stop, 2 * len(self._array), 64), self.dimension), dtype=self.dtype)
            grown[:first_row] = self._array[:first_row]
            self._array = grown
        _store(unit, self._array[first_row:stop])
        self._rows = stop

    def available(self) -> int:
        """Return how many rows were written."""
        return self._rows

    def read(self, rows: NDArray[np.int64], out: Matrix | None = None) -> Matrix:
        """Return some rows as float32."""
        return take(self._array, rows, out)

    def check(self, rows: int) -> None:
        """Do nothing: the rows are in RAM."""

    def block(self, start: int, stop: int) -> Matrix:
        """Return rows one after the other."""
        return widen(self._array[start:stop])

    def copy_to(self, out: Matrix, start: int) -> None:
        """Write the rows from ``start`` on to ``out``."""
        widen(self._array[start : start + len(out)], out)

    @property
    def one_by_one(self) -> bool:
        """They are gathered at once."""
        return False

    def flush(self) -> None:
        """Do nothing: the rows are in RAM."""

    def close(self) -> None:
        """Let go of the memory."""
        self._array = np.empty((0, self.dimension), dtype=self.dtype)
        self._rows = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the rows written."""
        return self._rows * self.dimension * self.dtype.itemsize


class FileRows:
    """Rows in one file without a header; its name carries dimension and dtype, so another shape is another file.

    Args:
        folder: Where it lies.
        dimension: Components of a row.
        dtype: How they are stored.
        writable: Whether it may be written.
        first_row: Which row of an index the first of the file is, in its name; here rows count from 0.
    """

    def __init__(self, folder: Path, dimension: int, dtype: StoredDtype, *, writable: bool, first_row: int = 0) -> None:
        self.dimension = dimension
        self.dtype = np.dtype(_DTYPES[dtype])
        self._row_bytes = dimension * self.dtype.itemsize
        self.path = folder / (f"vectors-{dimension}.{dtype}" + (f".{first_row}" if first_row else ""))
        self._file = GrowingFile(self.path, writable=writable)
        self._sums = GrowingFile(self.path.with_name(self.path.name + ".sums"), writable=writable)
        self._checked = CheckedRows(self._file, self._sums, self._row_bytes, most_bytes=settings.DEFAULTS.kept_bytes)
        self._last = LastRows()

    def sync(self, rows: int, kept: int) -> None:
        """See that the files are still those that their names stand for, and long enough."""
        self._file.assert_named()
        self._checked.sync(rows, kept)
        self._last = LastRows()

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on, over whatever an unfinished write left there."""
        step = max(1, _BLOCK_FLOATS // self.dimension)
        for start in range(0, len(unit), step):
            part = unit[start : start + step]
            block = np.empty(part.shape, dtype=self.dtype)
            _store(part, block)
            first = first_row + start
            sums = row_sums(block, np.arange(first, first + len(block)))
            self._file.write(first * self._row_bytes, block.data.cast("B"))
            self._sums.write(first * sums.itemsize, sums.data.cast("B"))
        self._checked.forget(first_row)
        self._last = LastRows()

    @property
    def settled(self) -> int:
        """No row is read from a video."""
        return 0

    def total(self, start: int, stop: int) -> int:
        """Return the sum of the checksums of the rows from ``start`` to ``stop``, modulo 2**64."""
        if start >= stop:  # a reader's file need not exist
            return 0
        return int(self._sums.span(8 * start, 8 * (stop - start)).view(np.uint64).sum(dtype=np.uint64))

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files."""
        return self._file.path, self._sums.path

    def available(self) -> int:
        """Return how many whole rows the files hold."""
        return self._checked.available()

    def read(self, rows: NDArray[np.int64], out: Matrix | None = None) -> Matrix:
        """Return some rows as float32."""
        if self.dtype == np.float32:
            return self._taken(rows).view(np.float32)
        if out is None:
            out = np.empty((len(rows), self.dimension), dtype=np.float32)
        step = max(1, _BLOCK_FLOATS // self.dimension)
        for start in range(0, len(rows), step):
            stored = self._taken(rows[start : start + step]).view(self.dtype)
            widen(stored, out[start : start + step])
        return out

    def _taken(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the bytes of some rows; of those that do not stay in RAM, some that were read just now are there."""
        if self._checked.kept:
            return self._checked.take(rows)
        return self._last.read(self, rows, self._checked.take)

    def check(self, rows: int) -> None:
        """Read rows into RAM, compared with their checksums; too many for that are compared when they are read."""
        if self._checked.kept:
            self._checked.span(0, rows)

    def block(self, start: int, stop: int) -> Matrix:
        """Return rows one after the other."""
        return widen(self._checked.span(start, stop).view(self.dtype))

    def copy_to(self, out: Matrix, start: int) -> None:
        """Write the rows from ``start`` on to ``out``; the stored ones are not kept in RAM."""
        step = max(1, _PIECE_FLOATS // self.dimension)
        for first in range(0, len(out), step):
            part = out[first : first + step]
            stored = self._checked.passing(start + first, start + first + len(part))
            widen(stored.view(self.dtype), part)

    @property
    def one_by_one(self) -> bool:
        """Whether the rows are too many to stay in RAM."""
        return not self._checked.kept

    def flush(self) -> None:
        """Force the rows to the disk."""
        self._file.flush()
        self._sums.flush()

    def close(self) -> None:
        """Close the files and let go of the memory."""
        self._file.close()
        self._sums.close()
        self._checked.close()
        self._last = LastRows()

    @property
    def nbytes(self) -> int:
        """Size of the files."""
        return self._file.size() + self._sums.size()


def copy_rows(source: FileRows | RamRows, start: int, stop: int, target: FileRows, shift: int) -> None:
    """Write rows [``start``, ``stop``) to a file, ``shift`` rows further on."""
    if start < stop:
        source.check(stop)
    for first in range(start, stop, settings.DEFAULTS.settled_rows):
        last = min(first + settings.DEFAULTS.settled_rows, stop)
        target.write(first + shift, source.block(first, last))
