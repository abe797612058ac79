"""Where the vectors of an index lie: one row-major matrix of unit rows, in RAM or in a file that only grows.

Rows are numbered from 0 and stored as float16 or float32. A file store is written with positional writes and read
through a memory map; a map is never resized: after growth a new one is opened, and whoever still holds the old one
keeps reading the rows that were committed when it was made. Another file has one checksum a row, and every
row that is read is compared with it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DimensionError, VectorError
from memvid_core.index.stale import IndexStaleError
from memvid_core.index.vectors.growing_file import GrowingFile, Proof, row_sums

__all__ = ["FileRows", "IndexStaleError", "RamRows", "RowStore", "StoredDtype", "narrow", "normalized", "take", "widen"]

StoredDtype = Literal["float16", "float32"]
Matrix = NDArray[np.float32]

_BLOCK_FLOATS: Final = 1 << 20  # floats a temporary may hold while rows are converted: 4 MB, about the L2 caches
_MAPPED_BYTES: Final = 256 << 20  # a larger matrix is not kept mapped as a whole
_SUM_BYTES: Final = 8
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
    with np.errstate(over="ignore"):
        unit = np.array(vectors, dtype=np.float32, order="C")  # always a copy: it is scaled in place
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
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


def take(stored: NDArray[Any], rows: NDArray[np.int64]) -> Matrix:
    """Gather rows as float32, in blocks, so that a large request needs no large temporary.

    Args:
        stored: (n, d) float16 or float32.
        rows: (m,) row numbers below n.

    Returns:
        (m, d) float32.
    """
    if stored.dtype == np.float32:
        return np.asarray(stored.take(rows, axis=0), dtype=np.float32)
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

    def sync(self, rows: int) -> None:
        """Another may have written: see that ``rows`` rows can be read."""

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on."""

    def available(self) -> int:
        """How many rows there are, committed or not."""

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows, (m, d) float32, in the order asked, each compared with its checksum."""

    def check(self, rows: int) -> None:
        """Compare the first ``rows`` rows with their checksums, those that were not since the files changed."""

    def block(self, start: int, stop: int) -> Matrix:
        """Rows that ``check`` has seen, (stop - start, d) float32, for reading one block after the other."""

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

    def sync(self, rows: int) -> None:
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
        """How many rows were written."""
        return self._rows

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows as float32."""
        return take(self._array, rows)

    def check(self, rows: int) -> None:
        """Do nothing: the rows are in RAM."""

    def block(self, start: int, stop: int) -> Matrix:
        """Rows one after the other."""
        return widen(self._array[start:stop])

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
        self._passed = 0
        self._size = 0
        self.path = folder / (f"vectors-{dimension}.{dtype}" + (f".{first_row}" if first_row else ""))
        self._file = GrowingFile(self.path, writable=writable)
        self._sums = GrowingFile(self.path.with_name(self.path.name + ".sums"), writable=writable)
        self._proof = Proof(self._file)

    def sync(self, rows: int) -> None:
        """See that the files are still those that their names stand for, and long enough."""
        stamp = self._file.named_stamp()
        there = min(stamp[0] // self._row_bytes, self._sums.size() // _SUM_BYTES)
        if there < rows:
            raise IndexStaleError(f"the vector index holds {there} rows where {rows} were committed; rebuild it")
        self._size = stamp[0]
        self._proof.sync(rows, [stamp])

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on, over whatever an unfinished write left there."""
        step = max(1, _BLOCK_FLOATS // self.dimension)
        self._proof.forget(first_row)
        with self._proof:
            for start in range(0, len(unit), step):
                part = unit[start : start + step]
                block = np.empty(part.shape, dtype=self.dtype)
                _store(part, block)
                first = first_row + start
                sums = row_sums(block, np.arange(first, first + len(block)))
                self._file.write(first * self._row_bytes, block.data.cast("B"))
                self._sums.write(first * sums.itemsize, sums.data.cast("B"))
        self._size = max(self._size, (first_row + len(unit)) * self._row_bytes)

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files."""
        return self._file.path, self._sums.path

    def available(self) -> int:
        """How many whole rows the files hold."""
        return min(self._file.size() // self._row_bytes, self._sums.size() // _SUM_BYTES)

    def _mapped(self, rows: int) -> NDArray[Any]:
        """The first ``rows`` rows, as stored."""
        flat = self._file.mapped(rows * self._row_bytes)
        return flat[: rows * self._row_bytes].view(self.dtype).reshape(rows, self.dimension)

    def _compare(self, stored: NDArray[Any], rows: NDArray[np.int64], all_rows: int) -> None:
        """Compare rows with their checksums.

        Raises:
            IndexStaleError: One is not what was written.
        """
        wanted = self._sums.mapped(all_rows * _SUM_BYTES)[: all_rows * _SUM_BYTES].view(np.uint64)[rows]
        wrong = np.flatnonzero(row_sums(stored, rows) != wanted)
        if len(wrong):
            raise IndexStaleError(f"row {rows[wrong[0]]} of {self.path} is not what was written; rebuild the index")

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows as float32.

        Of a large file they are read one by one: a page fault would map the pages around each row, too, which takes
        longer and leaves the whole matrix in the process's resident memory.
        """
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        out = np.empty((len(rows), self.dimension), dtype=np.float32)
        step = max(1, _BLOCK_FLOATS // self.dimension)
        there = int(rows.max()) + 1
        seen = self._proof.flags(there)
        unseen = ~seen[rows]
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            stored = self._pieces(some) if self.one_by_one else self._mapped(there).take(some, axis=0)
            new = np.flatnonzero(unseen[start : start + step])
            if len(new):
                self._compare(stored if len(new) == len(stored) else stored[new], some[new], there)
            widen(stored, out[start : start + step])
        seen[rows] = True
        return out

    def _pieces(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows read one by one, as stored."""
        pieces = self._file.read((rows * self._row_bytes).tolist(), self._row_bytes)
        if len(pieces) != len(rows) * self._row_bytes:
            raise IndexStaleError(f"{self.path} is shorter than row {rows.max()}, which was committed; rebuild it")
        return np.frombuffer(pieces, dtype=self.dtype).reshape(len(rows), self.dimension)

    def check(self, rows: int) -> None:
        """Compare rows with their checksums, those that were not since another process changed the files."""
        known = self._proof.known()
        if known >= rows:
            return
        began = time.monotonic()
        stored = self._mapped(rows)
        step = max(1, _BLOCK_FLOATS // self.dimension)
        for start in range(known, rows, step):
            some = np.arange(start, min(start + step, rows))
            self._compare(stored[some[0] : some[-1] + 1], some, rows)
            self._pass(len(some))
        self._proof.found(rows, time.monotonic() - began)

    def block(self, start: int, stop: int) -> Matrix:
        """Rows one after the other; mapped memory stays bounded."""
        self._pass(stop - start)
        return widen(self._mapped(stop)[start:stop])

    @property
    def one_by_one(self) -> bool:
        """Whether the file is too large to stay mapped."""
        return self._size > _MAPPED_BYTES and hasattr(os, "pread")

    def _pass(self, rows: int) -> None:
        """Count what is read of the map; beyond the budget, give all of it back to the system."""
        self._passed += rows * self._row_bytes
        if self._passed > _MAPPED_BYTES:
            self._passed = 0
            self._file.release(_MAPPED_BYTES)

    def flush(self) -> None:
        """Force the rows to the disk."""
        self._file.flush()
        self._sums.flush()

    def close(self) -> None:
        """Close the files and let go of the maps."""
        self._file.close()
        self._sums.close()

    @property
    def nbytes(self) -> int:
        """Size of the files."""
        return self._file.size() + self._sums.size()
