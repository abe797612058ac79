"""Files of the vector index: arrays that only grow, one checksum a row, and small files that are replaced whole.

What lies in these files is derived, so a byte that is not the one that was written never needs repair, but it must be
noticed: a wrong row is an ``IndexStaleError``, and the caller rebuilds the index from the journal.
"""

from __future__ import annotations

import io
import mmap
import os
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.errors import ClosedError, ReadOnlyError, StorageError
from memvid_core.index.stale import IndexStaleError

__all__ = [
    "GrowingFile",
    "Proof",
    "factors",
    "load_arrays",
    "numbered",
    "row_sums",
    "save_arrays",
    "words_of",
]

Sums = NDArray[np.uint64]

_SUM_SEED: Final = 0x6D656D76
_ROW_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_DIGEST_BYTES: Final = 16
_CHECK_SHARE: Final = 10  # files that others write all the time are checked for one part in so many of the time
_WRITER_SECONDS: Final = 1.0  # so long after others grew the files, more changes are taken to be theirs
_FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@lru_cache(maxsize=64)
def factors(words: int) -> Sums:
    """Odd factors, so that no change of a single word leaves a sum as it was."""
    return np.random.default_rng(_SUM_SEED).integers(0, 2**64, words, dtype=np.uint64) | np.uint64(1)


def words_of(rows: NDArray[Any]) -> Sums:
    """Rows as 64-bit words, filled up with zeros: (n, words) uint64."""
    size = rows.itemsize * rows.shape[1]
    if not size % 8 and rows.flags.c_contiguous:
        return rows.view(np.uint64)
    padded = np.zeros((len(rows), -(-size // 8) * 8), dtype=np.uint8)
    padded[:, :size] = np.ascontiguousarray(rows).view(np.uint8)
    return padded.view(np.uint64)


def row_sums(rows: NDArray[Any], numbers: NDArray[np.int64]) -> Sums:
    """One checksum a row: its 64-bit words times fixed odd factors, modulo 2**64, and its number.

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
    """A file that is written at positions and read through a map that is replaced, never resized.

    Args:
        path: Where it lies.
        writable: Whether it may be written.
        create: Whether a writable one is made when it is missing.

    Raises:
        StorageError: It cannot be opened.
    """

    def __init__(self, path: Path, *, writable: bool, create: bool = True) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writable = writable
        self._map: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._pages: mmap.mmap | None = None
        self._identity: tuple[int, int] | None = None
        self._fd = -1
        try:
            if writable and not create:
                self._fd = os.open(path, os.O_RDWR | _FLAGS)
            elif writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
            elif path.exists():  # a reader may come before the first vector was written
                self._fd = os.open(path, os.O_RDONLY | _FLAGS)
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
            try:
                return b"".join([os.pread(fd, size, position) for position in positions])
            except OSError as exc:
                raise StorageError(f"cannot read {self.path}: {exc.strerror}") from exc

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
        return self._status().st_size if self._opened() else 0

    def stamp(self) -> tuple[int, int]:
        """Size, and time of the last change: they differ when anybody wrote to the file, but within a clock tick."""
        if not self._opened():
            return 0, 0
        status = self._status()
        return status.st_size, status.st_mtime_ns

    def _status(self) -> os.stat_result:
        try:
            return os.fstat(self._fd)
        except OSError as exc:
            raise StorageError(f"cannot read {self.path}: {exc.strerror}") from exc

    def _opened(self) -> bool:
        if self._fd < 0:
            if self._writable or not self.path.exists():
                return False
            self._fd = os.open(self.path, os.O_RDONLY | _FLAGS)
        return True

    def named_stamp(self) -> tuple[int, int]:
        """The stamp of the file that the path names.

        Raises:
            IndexStaleError: It is not the one that is open: that was deleted, or another is in its place.
        """
        if not self._opened():
            return 0, 0
        try:
            there = os.stat(self.path)
        except OSError as exc:
            raise IndexStaleError(f"{self.path} was deleted; open the index again") from exc
        if self._identity is None:
            here = self._status()
            self._identity = here.st_ino, here.st_dev
        if (there.st_ino, there.st_dev) != self._identity:
            raise IndexStaleError(f"{self.path} was replaced; open the index again")
        return there.st_size, there.st_mtime_ns

    def mapped(self, size: int) -> NDArray[np.uint8]:
        """At least ``size`` bytes from the start, as one read-only array.

        Raises:
            IndexStaleError: The file is shorter, even if it was not when it was mapped.
        """
        if not size:
            return self._map
        with self._lock:
            there = self.size()
            if there < size:
                raise IndexStaleError(f"{self.path} holds {there} bytes where {size} were committed; rebuild the index")
            if len(self._map) < size:
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
            descriptor, self._fd = self._fd, -1  # forgotten first: a number closed twice may be another file's
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        """Codes that were replaced are let go of while another thread may still search them."""
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


class Proof:
    """How many rows of some files, from the first, were found right since anybody else changed the files.

    While it is entered, this object's owner writes, so earlier rows need not be checked.

    Args:
        files: What the rows lie in.
    """

    def __init__(self, *files: GrowingFile) -> None:
        self._files = files
        self._rows = 0
        self._counted = 0
        self._stamps: list[tuple[int, int]] = []
        self._writers = 0
        self._not_before = 0.0
        self._grown = -_WRITER_SECONDS  # when another process was last seen to have grown the files
        self._seen = np.zeros(0, dtype=np.bool_)  # rows beyond the first ones that were found right one by one

    def flags(self, there: int) -> NDArray[np.bool_]:
        """Which of ``there`` rows, or more, were found right one by one; the caller notes here what it finds."""
        self.known()
        flags = self._seen
        if len(flags) < there:
            self._seen = np.zeros(there + there // 2, dtype=np.bool_)
            self._seen[: len(flags)] = flags
        return self._seen if len(self._seen) >= there else np.zeros(there, dtype=np.bool_)

    def known(self) -> int:
        """How many rows need no check."""
        if not self._writers:
            stamps = [file.stamp() for file in self._files]
            if stamps != self._stamps and not self._resting():
                self._rows, self._stamps = 0, stamps
                self._seen = self._seen[:0]
        return self._rows

    def _resting(self) -> bool:
        """Whether the files change because another process is known to write, and were looked through a moment ago."""
        now = time.monotonic()
        return now < self._not_before and now < self._grown + _WRITER_SECONDS

    def found(self, rows: int, seconds: float) -> None:
        """So many rows are right; to see it took so long."""
        self._rows = max(self._rows, rows)
        self._seen[:rows] = True
        self._not_before = time.monotonic() + _CHECK_SHARE * seconds

    def sync(self, rows: int, stamps: list[tuple[int, int]]) -> None:
        """There are ``rows`` rows. When others wrote the new ones, what was found before stands."""
        if rows > self._counted and not self._writers:
            if stamps != self._stamps:
                self._stamps = stamps
                if self._counted:  # opening the files does not mean that another process writes
                    self._grown = time.monotonic()
            self.forget(self._counted)
        self._counted = rows

    def forget(self, first_row: int) -> None:
        """Rows from ``first_row`` on are others now, or will be."""
        self._rows = min(self._rows, first_row)
        self._seen[first_row:] = False

    def __enter__(self) -> None:
        self._writers += 1

    def __exit__(self, *exc: object) -> None:
        self._stamps = [file.stamp() for file in self._files]
        self._writers -= 1


def save_arrays(path: Path, **arrays: NDArray[Any] | np.generic) -> None:
    """Write arrays to one file, behind a digest of all of it; found whole under its name, or not at all.

    Raises:
        StorageError: The disk refused.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes a flag by keyword, too
    data = buffer.getvalue()
    half = path.with_name(path.name + ".part")
    try:
        with half.open("wb") as file:
            file.write(xxhash.xxh3_128_digest(data))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as exc:
        half.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {exc.strerror or exc}") from exc


def load_arrays(path: Path) -> Mapping[str, NDArray[Any]] | None:
    """What :func:`save_arrays` wrote; None when it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) <= _DIGEST_BYTES or xxhash.xxh3_128_digest(data[_DIGEST_BYTES:]) != data[:_DIGEST_BYTES]:
        return None
    with np.load(io.BytesIO(data[_DIGEST_BYTES:]), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
