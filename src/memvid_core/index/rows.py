"""Where the vectors of an index lie: one row-major matrix of unit rows, in RAM or in a file that only grows.

Rows are numbered from 0 and stored as float16 or float32. A file store is written with positional writes and read
through a memory map; a map is never resized: after growth a new one is opened, and whoever still holds the old one
keeps reading the rows that were committed when it was made.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import ClosedError, DimensionError, MemvidError, ReadOnlyError, StorageError, VectorError

__all__ = ["FileRows", "IndexStaleError", "RamRows", "RowStore", "StoredDtype", "narrow", "normalised", "take", "widen"]

StoredDtype = Literal["float16", "float32"]
Matrix = NDArray[np.float32]

_BLOCK_FLOATS: Final = 1 << 20  # floats a temporary may hold while rows are converted: 4 MB, about the L2 caches
_MAPPED_BYTES: Final = 256 << 20  # a larger matrix is not kept mapped as a whole
_DTYPES: Final[dict[str, str]] = {"float16": "<f2", "float32": "<f4"}  # little-endian in files, whatever the machine


class IndexStaleError(MemvidError):
    """The files hold fewer rows than the catalog committed: the caller rebuilds the index from the journal."""


def normalised(vectors: NDArray[Any], dimension: int) -> Matrix:
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
        >>> normalised(np.array([[3.0, 4.0], [0.0, 0.0]]), 2).tolist()
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


def widen(block: NDArray[Any], out: Matrix | None = None) -> Matrix:
    """Convert stored rows to float32, bit for bit what ``astype`` gives for finite numbers and four times as fast.

    A float16's exponent and fraction, shifted left by 13 bits, are a float32 that is 2**112 too small.

    Args:
        block: float16 or float32, any shape.
        out: float32 of the same shape to write to; a new array when not given.

    Returns:
        The float32 rows (``block`` itself when it is float32 already and ``out`` is not given).
    """
    if block.dtype == np.float32:
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
    np.multiply(out, np.float32(2.0**112), out=out)
    return out


def narrow(block: Matrix) -> NDArray[np.float16]:
    """Round float32 numbers of magnitude up to 1 to float16, several times as fast as ``astype``; halves round up.

    Args:
        block: float32, any shape, |x| <= 1.

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

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on."""

    def view(self, rows: int) -> NDArray[Any]:
        """The first ``rows`` rows, (rows, d), in the stored dtype, without a copy."""

    def available(self) -> int:
        """How many rows can be viewed."""

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows, (m, d) float32, in the order asked."""

    @property
    def one_by_one(self) -> bool:
        """Whether ``read`` fetches row after row, so that more threads would only wait for each other."""

    def passed(self, rows: int) -> None:
        """Take note that so many rows of a view were read one after another, so that mapped memory stays bounded."""

    def flush(self) -> None:
        """Make what was written durable."""

    def close(self) -> None:
        """Let go of files and memory."""

    @property
    def nbytes(self) -> int:
        """Bytes on disk, or in RAM where there is no disk."""


class RamRows:
    """Rows in memory; the array at least doubles when it is full, so appending is linear in total."""

    def __init__(self, dimension: int, dtype: StoredDtype) -> None:
        self.dimension = dimension
        self._dtype = np.dtype(_DTYPES[dtype])
        self._array: NDArray[Any] = np.empty((0, dimension), dtype=self._dtype)
        self._rows = 0

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on; arrays handed out before keep their rows below ``first_row``."""
        stop = first_row + len(unit)
        if stop > len(self._array):
            grown = np.empty((max(stop, 2 * len(self._array), 64), self.dimension), dtype=self._dtype)
            grown[:first_row] = self._array[:first_row]
            self._array = grown
        _store(unit, self._array[first_row:stop])
        self._rows = stop

    def view(self, rows: int) -> NDArray[Any]:
        """The first ``rows`` rows without a copy."""
        return self._array[:rows]

    def available(self) -> int:
        """How many rows were written."""
        return self._rows

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows as float32."""
        return take(self._array, rows)

    @property
    def one_by_one(self) -> bool:
        """They are gathered at once."""
        return False

    def passed(self, rows: int) -> None:
        """Nothing to do: nothing is mapped."""

    def flush(self) -> None:
        """Nothing to do: there is no disk under it."""

    def close(self) -> None:
        """Let go of the memory."""
        self._array = np.empty((0, self.dimension), dtype=self._dtype)
        self._rows = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the rows written."""
        return self._rows * self.dimension * self._dtype.itemsize


class FileRows:
    """Rows in one file without a header; its name carries dimension and dtype, so another shape is another file."""

    def __init__(self, folder: Path, dimension: int, dtype: StoredDtype, *, writable: bool) -> None:
        self.dimension = dimension
        self._dtype = np.dtype(_DTYPES[dtype])
        self._row_bytes = dimension * self._dtype.itemsize
        self._passed = 0
        self.path = folder / f"vectors-{dimension}.{dtype}"
        self._file = GrowingFile(self.path, writable=writable)

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on, over whatever an unfinished write left there."""
        step = max(1, _BLOCK_FLOATS // self.dimension)
        for start in range(0, len(unit), step):
            part = unit[start : start + step]
            block = np.empty(part.shape, dtype=self._dtype)
            _store(part, block)
            self._file.write((first_row + start) * self._row_bytes, block.data.cast("B"))

    def view(self, rows: int) -> NDArray[Any]:
        """The first ``rows`` rows, mapped."""
        flat = self._file.mapped(rows * self._row_bytes)
        return flat[: rows * self._row_bytes].view(self._dtype).reshape(rows, self.dimension)

    def available(self) -> int:
        """How many whole rows the file holds."""
        return self._file.size() // self._row_bytes

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows as float32.

        Of a large file they are read one by one: a page fault would map the pages around each row, too, which takes
        longer and leaves the whole matrix in the process's resident memory.
        """
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        needed = (int(rows.max()) + 1) * self._row_bytes
        if not self.one_by_one:
            return take(self.view(int(rows.max()) + 1), rows)
        pieces = self._file.read((rows * self._row_bytes).tolist(), self._row_bytes)
        if len(pieces) != len(rows) * self._row_bytes:
            raise IndexStaleError(f"{self.path} is shorter than the {needed} bytes that were committed; rebuild it")
        return widen(np.frombuffer(pieces, dtype=self._dtype).reshape(len(rows), self.dimension))

    @property
    def one_by_one(self) -> bool:
        """Whether the file is too large to stay mapped."""
        return self._file.size() > _MAPPED_BYTES and hasattr(os, "pread")

    def passed(self, rows: int) -> None:
        """Count what was read of the map; beyond the budget, give all of it back to the system."""
        self._passed += rows * self._row_bytes
        if self._passed > _MAPPED_BYTES:
            self._passed = 0
            self._file.release(_MAPPED_BYTES)

    def flush(self) -> None:
        """Force the rows to the disk."""
        self._file.flush()

    def close(self) -> None:
        """Close the file and let go of the map."""
        self._file.close()

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return self._file.size()


class GrowingFile:
    """A file that is written at positions and read through a map that is replaced, never resized."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writable = writable
        self._map: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._pages: mmap.mmap | None = None
        self._fd = -1
        flags = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            if writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
            elif path.exists():  # a reader may come before the first vector was written
                self._fd = os.open(path, os.O_RDONLY | flags)
        except OSError as exc:
            raise StorageError(f"cannot open {path}: {exc.strerror}") from exc

    def write(self, position: int, data: memoryview) -> None:
        """Write all of ``data`` at ``position``; the file grows as needed."""
        if not self._writable:
            raise ReadOnlyError(f"{self.path} was opened for reading only; open the index with writable=True")
        try:
            with self._lock:
                while data:  # a write may be cut short, by a signal or a nearly full disk
                    if hasattr(os, "pwrite"):
                        done = os.pwrite(self._fd, data, position)
                    else:
                        os.lseek(self._fd, position, os.SEEK_SET)
                        done = os.write(self._fd, data)
                    data, position = data[done:], position + done
        except OSError as exc:
            raise StorageError(f"cannot write {len(data)} bytes to {self.path}: {exc.strerror}") from exc

    def read(self, positions: list[int], size: int) -> bytes:
        """``size`` bytes from each position, joined; fewer where the file ends."""
        with self._lock:  # nobody may close the file, and its number go to another, in between
            fd = self._fd
            if fd < 0:
                raise ClosedError(f"{self.path} is closed; open the index again")
            return b"".join([os.pread(fd, size, position) for position in positions])

    def reserve(self, size: int) -> None:
        """Make the file at least ``size`` bytes long; what is new reads as zeros."""
        try:
            with self._lock:
                if self.size() < size:
                    os.ftruncate(self._fd, size)
        except OSError as exc:
            raise StorageError(f"cannot grow {self.path} to {size} bytes: {exc.strerror}") from exc

    def size(self) -> int:
        """Bytes in the file now."""
        if self._fd < 0:
            if self._writable or not self.path.exists():
                return 0
            self._fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        return os.fstat(self._fd).st_size

    def mapped(self, size: int) -> NDArray[np.uint8]:
        """At least ``size`` bytes from the start, as one read-only array.

        Raises:
            IndexStaleError: The file is shorter.
        """
        current = self._map
        if len(current) >= size:
            return current
        with self._lock:
            there = self.size()
            if there < size:
                raise IndexStaleError(f"{self.path} holds {there} bytes where {size} were committed; rebuild the index")
            # The array keeps the map alive; the last reader of an outgrown map closes it by letting go.
            self._pages = mmap.mmap(self._fd, there, access=mmap.ACCESS_READ)
            self._map = np.frombuffer(self._pages, dtype=np.uint8)
            return self._map

    def release(self, least: int) -> None:
        """Unmap the pages of a map of more than ``least`` bytes; the system caches them and maps them when read."""
        pages = self._pages
        if pages is not None and len(pages) > least and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)

    def flush(self) -> None:
        """Force what was written to the disk."""
        if self._writable and self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as exc:
                raise StorageError(f"cannot flush {self.path}: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the file; arrays handed out stay valid."""
        with self._lock:
            self._map = np.empty(0, dtype=np.uint8)
            self._pages = None
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
