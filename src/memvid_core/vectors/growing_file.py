"""Files of the vector index: arrays that only grow, one checksum a row, and small files that are replaced whole.

What lies in these files is derived, so a byte that is not the one that was written never needs repair, but it must be
noticed: a wrong row is an ``IndexStaleError``, and the caller rebuilds the index from the journal.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.errors import ClosedError, IndexStaleError, ReadOnlyError, StorageError
from memvid_core.system.atomic_files import writing_file

__all__ = [
    "GrowingFile",
    "Sums",
    "factors",
    "load_arrays",
    "numbered",
    "row_sums",
    "save_arrays",
    "words_of",
]

Sums = NDArray[np.uint64]

_FACTORS_STATE: Final = 0xDE47B908003AA9DF0906EF42AC169480  # of the generator of factors, from the seed "memv"
_FACTORS_STEP: Final = 0xD3DB8034E591F29B88DC29325A66019
_FACTORS_PRODUCT: Final = 0x2360ED051FC65DA44385DF649FCCF645
_WORD: Final = (1 << 64) - 1
_ROW_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_DIGEST_BYTES: Final = 16
_ARRAY_DTYPES: Final = ("|b1", "|i1", "<i4", "<i8", "<u8", "<f4", "<f8")  # of arrays in files
_encode_head: Final = msgspec.msgpack.Encoder().encode
_decode_head: Final = msgspec.msgpack.Decoder(list[tuple[str, str, tuple[int, ...]]]).decode
_FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)  # a link may come from an archive, and name any file of the user
_IS_LINK: Final = (errno.ELOOP, errno.EMLINK)


@lru_cache(maxsize=64)
def factors(words: int) -> Sums:
    """Return odd factors, so that no change of a single word leaves a sum as it was.

    They lie in no file, so they must be the same with every NumPy: they are computed here, by PCG64 (O'Neill 2014,
    XSL-RR). NumPy's random numbers may change from release to release, and their import takes a third of a first
    search.
    """
    state = _FACTORS_STATE
    numbers = np.empty(words, dtype=np.uint64)
    for at in range(words):
        state = (state * _FACTORS_PRODUCT + _FACTORS_STEP) & ((1 << 128) - 1)
        folded, turn = (state >> 64) ^ (state & _WORD), state >> 122
        numbers[at] = (folded >> turn | folded << (64 - turn)) & _WORD
    return numbers | np.uint64(1)


def words_of(rows: NDArray[Any]) -> Sums:
    """Return rows as 64-bit words, filled up with zeros: (n, words) uint64."""
    size = rows.itemsize * rows.shape[1]
    if not size % 8 and rows.flags.c_contiguous:
        return rows.view(np.uint64)
    padded = np.zeros((len(rows), -(-size // 8) * 8), dtype=np.uint8)
    padded[:, :size] = np.ascontiguousarray(rows).view(np.uint8)
    return padded.view(np.uint64)


def row_sums(rows: NDArray[Any], numbers: NDArray[np.int64]) -> Sums:
    """Return one checksum per row: its 64-bit words times fixed odd factors, modulo 2**64, and its number.

    A changed word always changes the sum; any other change does but for one time in 2**63. Rows that lie in each
    other's place do not fit either.

    Args:
        rows: (n, m) of any dtype.
        numbers: (n,) the row numbers.

    Returns:
        (n,) uint64.
    """
    words = words_of(rows)
    return numbered(np.vecdot(words, factors(words.shape[1])), numbers)


def numbered(sums: Sums, numbers: NDArray[np.int64]) -> Sums:
    """Sums of words, made sums of rows of these numbers; a row of zeros in row 0 has one that is not 0."""
    places = numbers.view(np.uint64) * _ROW_FACTOR
    places += sums
    places += _ROW_FACTOR
    return places


class GrowingFile:
    """A file that is written and read at positions. It is never mapped: who reads a page that was cut off is killed.

    Args:
        path: Where it lies.
        writable: Whether it may be written.
        create: Whether a writable one is made when it is missing.

    Raises:
        StorageError: It cannot be opened.
        IndexStaleError: It is not there, or its folder is being deleted.
    """

    def __init__(self, path: Path, *, writable: bool, create: bool = True) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writable = writable
        self._closed = False
        self._copy: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._identity: tuple[int, int] | None = None
        self._fd = -1
        if writable:
            if create:
                self._make_folder()
            self._fd = self._open(os.O_RDWR | (os.O_CREAT if create else 0))
        elif path.exists():  # a reader may come before the first vector was written
            self._fd = self._open(os.O_RDONLY)

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError) as exc:  # it was there, or its parent was, a moment ago
            raise IndexStaleError(f"{self.path.parent} is being deleted; open the index again") from exc

    def _open(self, flags: int) -> int:
        try:
            descriptor = os.open(self.path, flags | _FLAGS | _NO_LINK, 0o666)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise IndexStaleError(f"{self.path} is not a regular file; rebuild the index")
        except FileNotFoundError as exc:
            raise IndexStaleError(f"{self.path} was deleted; open the index again") from exc
        except (IsADirectoryError, PermissionError) as exc:
            raise IndexStaleError(f"cannot open {self.path}: {exc.strerror}; rebuild the index") from exc
        except OSError as exc:
            if exc.errno in _IS_LINK:
                raise IndexStaleError(f"{self.path} is a link; rebuild the index") from exc
            raise StorageError(f"cannot open {self.path}: {exc.strerror}") from exc
        return descriptor

    def write(self, position: int, data: memoryview) -> None:
        """Write all of ``data`` at ``position``; the file grows as needed."""
        if not self._writable:
            raise ReadOnlyError(f"{self.path} was opened for reading only; open the index with writable=True")
        try:
            with self._lock:
                while (done := _write(self._fd, data, position)) < len(data):
                    data, position = data[done:], position + done  # cut short, by a signal or a nearly full disk
        except OSError as exc:
            raise StorageError(f"cannot write {len(data)} bytes to {self.path}: {exc.strerror}") from exc

    def reserve(self, size: int) -> None:
        """Make the file at least ``size`` bytes long; what is new reads as zeros."""
        try:
            with self._lock:
                if self.size() < size:
                    os.ftruncate(self._fd, size)
        except OSError as exc:
            raise StorageError(f"cannot grow {self.path} to {size} bytes: {exc.strerror}") from exc

    def size(self) -> int:
        """Return bytes in the file now."""
        return self._status().st_size if self._opened() else 0

    def _status(self) -> os.stat_result:
        try:
            return os.fstat(self._fd)
        except OSError as exc:
            raise StorageError(f"cannot read {self.path}: {exc.strerror}") from exc

    def _opened(self) -> bool:
        if self._fd < 0:
            if self._writable or self._closed or not self.path.exists():
                return False
            self._fd = self._open(os.O_RDONLY)
        return True

    def assert_named(self) -> None:
        """Check that the path still names the file that is open.

        Raises:
            IndexStaleError: That was deleted, or another is in its place.
        """
        if not self._opened():
            return
        try:
            there = os.stat(self.path)
        except OSError as exc:
            raise IndexStaleError(f"{self.path} was deleted; open the index again") from exc
        if self._identity is None:
            here = self._status()
            self._identity = here.st_ino, here.st_dev
        if (there.st_ino, there.st_dev) != self._identity:
            raise IndexStaleError(f"{self.path} was replaced; open the index again")

    def span(self, position: int, size: int) -> NDArray[np.uint8]:
        """Read ``size`` bytes from a position: (size,) uint8.

        Raises:
            IndexStaleError: The file ends earlier.
        """
        found = np.empty(size, dtype=np.uint8)
        self.fill(position, found)
        return found

    def fill(self, position: int, target: NDArray[Any]) -> None:
        """Read the bytes of a C-contiguous array of any dtype from a position.

        Raises:
            IndexStaleError: The file ends earlier.
        """
        left, at = target.data.cast("B"), position
        with self._lock:
            descriptor = self._readable()
            try:
                while left:
                    done = _read_into(descriptor, left, at)
                    if not done:
                        raise self._too_short(position + target.nbytes)
                    left, at = left[done:], at + done
            except OSError as exc:
                raise StorageError(f"cannot read {self.path}: {exc.strerror}") from exc

    def pieces(self, positions: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """Read ``size`` bytes from each position: (n, size) uint8, read-only.

        Raises:
            IndexStaleError: The file ends earlier.
        """
        with self._lock:  # nobody may close the file, and its number go to another, in between
            descriptor = self._readable()
            try:
                if hasattr(os, "pread"):  # without a function of our own, which would take as long
                    found = b"".join([os.pread(descriptor, size, position) for position in positions.tolist()])
                else:
                    found = b"".join([_read(descriptor, size, position) for position in positions.tolist()])
            except OSError as exc:
                raise StorageError(f"cannot read {self.path}: {exc.strerror}") from exc
        if len(found) != len(positions) * size:
            raise self._too_short(int(positions.max()) + size)
        return np.frombuffer(found, dtype=np.uint8).reshape(-1, size)

    def start(self, size: int) -> NDArray[np.uint8]:
        """Return the first ``size`` bytes, or more, from a copy in RAM that is read once.

        Raises:
            IndexStaleError: The file ends earlier.
        """
        copy = self._copy
        if len(copy) < size:
            longer = np.empty(size, dtype=np.uint8)
            longer[: len(copy)] = copy
            self.fill(len(copy), longer[len(copy) :])
            copy = self._copy = longer
        return copy

    def forget(self, size: int) -> None:
        """Read the bytes of the copy after the first ``size`` again: another process may have changed them."""
        self._copy = self._copy[:size]

    def _readable(self) -> int:
        if not self._opened():
            raise self._missing()
        return self._fd

    def _missing(self) -> Exception:
        if self._closed:
            return ClosedError(f"{self.path} is closed; open the index again")
        return IndexStaleError(f"{self.path} is missing; rebuild the index")

    def _too_short(self, size: int) -> IndexStaleError:
        return IndexStaleError(f"{self.path} is shorter than the {size} bytes that were committed; rebuild the index")

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
            self._closed = True
            self._copy = np.empty(0, dtype=np.uint8)
            descriptor, self._fd = self._fd, -1  # forgotten first: a number closed twice may be another file's
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        """Codes that were replaced are let go of while another thread may still search them."""
        descriptor, self._fd = getattr(self, "_fd", -1), -1  # close may be called later, when the process ends
        if descriptor >= 0:
            os.close(descriptor)


def _write(descriptor: int, data: memoryview, position: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.write(descriptor, data)


def _read(descriptor: int, size: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, size)


def _read_into(descriptor: int, target: memoryview, position: int) -> int:
    """Read as many bytes as there are, up to the size of the target; return how many."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [target], position)
    found = _read(descriptor, len(target), position)
    target[: len(found)] = found
    return len(found)


def save_arrays(path: Path, **arrays: NDArray[Any] | np.generic) -> None:
    """Write arrays to one file, behind a digest of all of it; found whole under its name, or not at all.

    Raises:
        StorageError: The disk refused.
    """
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = _encode_head([(name, array.dtype.str, np.shape(arrays[name])) for name, array in plain.items()])
    parts = [len(head).to_bytes(4, "little") + head, *(array.tobytes() for array in plain.values())]
    data = b"".join([part.ljust(_aligned(len(part)), b"\0") for part in parts])
    try:
        with writing_file(path) as file:
            file.write(xxhash.xxh3_128_digest(data))
            file.write(data)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror or exc}") from exc


def load_arrays(path: Path) -> Mapping[str, NDArray[Any]] | None:
    """Read what :func:`save_arrays` wrote, read-only; None when it is missing or damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read()
    except (OSError, MemoryError):
        return None
    if xxhash.xxh3_128_digest(memoryview(data)[_DIGEST_BYTES:]) != data[:_DIGEST_BYTES]:
        return None
    begin = _DIGEST_BYTES + 4
    end = begin + int.from_bytes(data[_DIGEST_BYTES:begin], "little")
    arrays: dict[str, NDArray[Any]] = {}
    try:
        head, end = _decode_head(data[begin:end]), _aligned(end)
        for name, dtype, shape in head:
            if dtype not in _ARRAY_DTYPES or min(shape, default=0) < 0:
                return None
            arrays[name] = np.frombuffer(data, dtype, math.prod(shape), end).reshape(shape)
            end += _aligned(arrays[name].nbytes)
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return None
    return arrays if end == len(data) else None


def _aligned(size: int) -> int:
    """Return the next multiple of 16, so that every array begins at an address of its dtype."""
    return -(-size // 16) * 16
