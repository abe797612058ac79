"""ByteFile: positional reads and durable writes on a path or a file object."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import (
    Action,
    ClosedError,
    Hint,
    MemoryExistsError,
    MemoryNotFoundError,
    ReadOnlyError,
    StorageError,
)
from memvid_core.system.atomic_files import appearing
from memvid_core.system.file_lock import still_named, system_lock
from memvid_core.system.file_pieces import FilePieces
from memvid_core.system.folders import sync_folder

__all__ = ["ByteFile", "appearing_file"]

_locks: weakref.WeakKeyDictionary[BinaryIO, threading.RLock] = weakref.WeakKeyDictionary()
_MODES = {"r": "rb", "a": "r+b", "x": "x+b"}
_LOOK_PAUSE = 0.001  # seconds
_AT_ONCE = 1 << 18  # bytes per write
_PREAD = getattr(os, "pread", None)  # missing on Windows, where a lock protects seek and read


def _lock_of(target: str | os.PathLike[str] | BinaryIO) -> threading.RLock:
    """Return a new lock for a path, or the shared lock of a file object, whose position all readers share."""
    if isinstance(target, str | os.PathLike):
        return threading.RLock()
    return _locks.setdefault(target, threading.RLock())


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":  # on macOS, fsync leaves the data in the drive's cache
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


class ByteFile:
    """Read a file by position from any thread, and write at its end.

    Args:
        target: A path, or a binary file object that can seek (kept open by ``close``).
        mode: ``"r"`` to read, ``"a"`` to read and append, ``"x"`` to create.

    Raises:
        MemoryNotFoundError: The file, or the folder in which to create it, does not exist.
        MemoryExistsError: The mode is ``"x"`` and the path exists.
        StorageError: The system failed for another reason.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, mode: str) -> None:
        self.writable = mode != "r"
        self._lock = _lock_of(target)
        self._owned = isinstance(target, str | os.PathLike)
        self.path = Path(target) if isinstance(target, str | os.PathLike) else None
        if self.path is None:
            assert not isinstance(target, str | os.PathLike)
            self._file: BinaryIO | None = target
        else:
            self._file = _created(self.path) if mode == "x" else _open(self.path, mode)
            if mode == "x":
                try:
                    sync_folder(self.path.parent)
                except StorageError:
                    self._file.close()
                    self.path.unlink(missing_ok=True)
                    raise
        self._broken = False  # whether a write failed and could not be undone
        self._deferred = False  # whether writes become durable later, all together
        self._descriptor = self._file.fileno() if self._owned and self._file is not None else None
        try:
            self._identity = self._identified()
        except OSError as exc:
            self._file.close()
            raise StorageError(f"cannot open {self.path}: {exc}") from exc
        self._pieces: FilePieces | None = None
        self._pieced = False  # whether it was tried to read many pieces at once
        if self._owned:
            _open_files.add(self)

    def _forked(self) -> None:
        """Close the parent's file in a forked child, where its lock would outlive the parent."""
        file, self._file, self._descriptor = self._file, None, None
        self._pieces = None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _handle(self) -> BinaryIO:
        if self._file is None:
            raise ClosedError("this file is closed")
        return self._file

    @property
    def target(self) -> Path | BinaryIO:
        """The path, or the file object if there is none."""
        return self._handle() if self.path is None else self.path

    def size(self) -> int:
        """Return the current size of the file, in bytes."""
        file = self._handle()
        if self._descriptor is not None:
            return os.fstat(self._descriptor).st_size
        with self._lock:
            return file.seek(0, io.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer only at the end of the file, none before its beginning.

        Damaged bytes may claim that something begins there.
        """
        file = self._handle()
        if offset < 0:
            return b""
        try:
            if self._descriptor is not None and _PREAD is not None:
                data: bytes = _PREAD(self._descriptor, size, offset)
                return data if len(data) == size else _with_rest(self._descriptor, data, size, offset)
            with self._lock:
                file.seek(offset)
                data = file.read(size)
                while len(data) < size and (rest := file.read(size - len(data))):
                    data += rest
                return data
        except OSError as exc:
            raise StorageError(f"cannot read {size} bytes at {offset} of {self.path or 'the file'}: {exc}") from exc

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> NDArray[np.uint8]:
        """Read ``size`` bytes from each offset.

        Args:
            offsets: (n,), n in 1..1024.
            size: At least 1.
            mapped: Whether the file may stay mapped, as far as it is read.

        Returns:
            (n, size) uint8, valid until this thread's next call; zeros behind the end of the file.
        """
        found = self._at_once(offsets, size) if mapped else None
        if found is None:
            read = self._one_by_one(offsets.tolist(), size)
            data = b"".join(read)
            if len(data) < size * len(read):
                data = b"".join([piece.ljust(size, b"\0") for piece in read])
            found = np.frombuffer(data, dtype=np.uint8).reshape(len(read), size)
        return found

    def _one_by_one(self, offsets: list[int], size: int) -> list[bytes]:
        descriptor = self._descriptor
        if descriptor is None or _PREAD is None:
            return [self.read(offset, size) for offset in offsets]
        try:
            read: list[bytes] = [_PREAD(descriptor, size, offset) for offset in offsets]
            if sum(map(len, read)) < size * len(read):
                read = [_with_rest(descriptor, data, size, at) for data, at in zip(read, offsets, strict=True)]
            return read
        except OSError as exc:
            raise StorageError(f"cannot read {self.path}: {exc.strerror}") from exc

    def _at_once(self, offsets: NDArray[np.int64], size: int) -> NDArray[np.uint8] | None:
        """Return pieces that were read with one system call, or None if the system does not support it or it failed."""
        if not self._pieced and self._descriptor is not None:
            self._pieced = True
            with suppress(OSError):
                self._pieces = FilePieces(self._descriptor)
        pieces = self._pieces
        return None if pieces is None else pieces.read(offsets, size)

    def write(self, offset: int, parts: Iterable[bytes]) -> None:
        """Write ``parts`` at ``offset``, the valid end, and make them durable; on failure the file is unchanged.

        Raises:
            ReadOnlyError: The file was opened for reading.
            StorageError: The write failed, for example because the disk is full. Nothing was kept; or the message says
                that this is unknown, and every later write fails too.
        """
        if not self.writable:
            raise ReadOnlyError(f"{self.path or 'the file'} is open for reading only")
        file = self._handle()
        with self._lock:
            if self._broken:
                raise StorageError(
                    f"a write to {self.path or 'the file'} failed before, and the file may contain parts of it; "
                    "close the memory and open it again to write"
                )
            try:
                file.seek(offset)
                if self._descriptor is None or os.fstat(self._descriptor).st_size > offset:
                    file.truncate()
                for part in _gathered(parts):
                    _write_all(file, part)
                file.flush()
                if self._descriptor is not None and not self._deferred:
                    _sync(self._descriptor)
            except BaseException as exc:
                self._broken = not self._undo(offset)
                if isinstance(exc, OSError):
                    reason = "the disk is full" if exc.errno == errno.ENOSPC else str(exc)
                    kept = "nothing was kept"
                    if self._broken:
                        kept = "it is unknown whether parts were kept: close the memory and open it again"
                    raise StorageError(f"cannot write to {self.path or 'the file'}: {reason}; {kept}") from exc
                raise

    def defer_sync(self, deferred: bool) -> None:
        """Set whether writes become durable only by :meth:`sync`, as in a file that is not yet visible to others."""
        self._deferred = deferred

    def sync(self) -> None:
        """Make all writes durable.

        Raises:
            StorageError: The sync failed, and it is unknown which writes the disk has kept.
        """
        try:
            if self._descriptor is not None:
                _sync(self._descriptor)
        except OSError as exc:
            self._broken = True
            raise StorageError(f"cannot write to {self.path}: {exc}") from exc

    def _undo(self, offset: int) -> bool:
        """Truncate the file to ``offset`` bytes; return whether that worked."""
        try:
            self._handle().truncate(offset)
        except (OSError, ValueError):
            return False
        return True

    @property
    def descriptor(self) -> int | None:
        """The open file's descriptor; None for a file object or a closed file."""
        return self._descriptor

    def stamp(self) -> tuple[int, int]:
        """Return the size in bytes and the modification time in nanoseconds; they differ if the contents differ."""
        if self._descriptor is None:
            return self.size(), 0
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def unchanged(self, stamp: tuple[int, int] | None) -> bool:
        """Return whether the path still names the open file and its contents have this stamp; False if unknown."""
        if self._name is None:
            return self.stamp() == stamp
        try:
            there = os.stat(self._name)
        except OSError:
            return False
        return (there.st_size, there.st_mtime_ns) == stamp and (there.st_ino, there.st_dev) == self._identity

    def _identified(self) -> tuple[int, int] | None:
        """Return the inode and device of the open file."""
        self._name = None if self.path is None else os.fspath(self.path)  # os.stat is faster with a str
        here = None if self._descriptor is None else os.fstat(self._descriptor)
        return None if here is None else (here.st_ino, here.st_dev)

    def renamed(self, path: Path) -> None:
        """Record the new path of the open file."""
        self.path, self._name = path, os.fspath(path)

    def reopen(self) -> None:
        """Reopen the file after it was closed to be renamed."""
        assert self.path is not None
        self._file = _open(self.path, "a" if self.writable else "r")
        self._descriptor = self._file.fileno()
        self._identity = self._identified()

    def in_place(self) -> bool:
        """Return whether the path, if there is one, names the open file: it was neither replaced nor deleted."""
        there = self._at_path()
        if self.path is None or there is None:
            return self.path is None
        return self._descriptor is not None and (there.st_ino, there.st_dev) == self._identity

    def replaced(self) -> bool:
        """Return whether the path now names a different file, for example after a compaction."""
        there = self._at_path()
        if there is None:
            return False
        if self._descriptor is None:  # closed for a replacement that was interrupted
            return True
        return (there.st_ino, there.st_dev) != self._identity

    def gone(self) -> bool:
        """Return whether the file at the path was deleted or renamed."""
        return self.path is not None and self._at_path() is None

    def _at_path(self) -> os.stat_result | None:
        try:
            return None if self._name is None else os.stat(self._name)
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Close the file if it was opened here. Closing twice is allowed."""
        with self._lock:
            if self._file is not None and self._owned:
                self._file.close()
            self._pieces, self._pieced = None, False
            self._file = self._descriptor = None  # the system may reuse the descriptor


@contextmanager
def appearing_file(target: str | os.PathLike[str]) -> Iterator[ByteFile]:
    """Yield a new file to write, which appears at ``target`` if the block succeeds, complete, or not at all.

    Raises:
        MemoryExistsError: The target exists.
        MemoryNotFoundError: The folder does not exist.
        StorageError: A read or write failed.
    """
    with appearing(Path(target)) as made:
        file = ByteFile(made, "x")
        try:
            yield file
        finally:
            file.close()


_open_files: weakref.WeakSet[ByteFile] = weakref.WeakSet()


def _after_fork() -> None:
    for file in list(_open_files):
        file._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _with_rest(descriptor: int, data: bytes, size: int, offset: int) -> bytes:
    """Return ``size`` bytes from ``offset``, fewer only at the end of the file; a read may have returned fewer.

    File systems of networks and containers do that, and every system does beyond two gigabytes.
    """
    assert _PREAD is not None
    while data and len(data) < size and (rest := _PREAD(descriptor, size - len(data), offset + len(data))):
        data += rest
    return data


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in fewer parts: each part is a system call."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _AT_ONCE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write every byte: an unbuffered file on a nearly full disk writes fewer, and fails only on the next write."""
    left = memoryview(data)
    while left:
        taken = file.write(left)
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[taken:]


def _open(path: Path, mode: str) -> BinaryIO:
    try:
        # FileIO is a BinaryIO in practice; the caller closes it.
        file: BinaryIO = open(path, _MODES[mode], buffering=0, opener=_open_at_once)  # type: ignore[assignment]  # noqa: SIM115
    except FileNotFoundError as exc:
        if mode == "x" or not path.parent.exists():
            raise MemoryNotFoundError(f"the folder {path.parent} does not exist; create it first") from exc
        raise MemoryNotFoundError(f"{path} does not exist", hint=Hint(Action.CREATE, {"path": str(path)})) from exc
    except FileExistsError as exc:
        raise MemoryExistsError(f"{path} exists; open it with Memory.open") from exc
    except IsADirectoryError as exc:
        raise StorageError(f"{path} is a folder, not a file") from exc
    except PermissionError as exc:
        wanted = "read it" if mode == "r" else "write it; mode='r' opens a memory for reading"
        raise ReadOnlyError(f"{path}: no permission to {wanted}") from exc
    except OSError as exc:
        raise StorageError(f"cannot open {path}: {exc}") from exc
    try:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError as exc:
        file.close()
        raise StorageError(f"cannot open {path}: {exc}") from exc
    if not regular:
        file.close()
        raise StorageError(f"{path} is a pipe or a device, not a regular file")
    return file


def _created(path: Path) -> BinaryIO:
    """Create a file and lock it, so that other processes do not delete it as a leftover of a killed process."""
    while True:
        file = _open(path, "x")
        try:
            while not system_lock().try_lock(file.fileno()):  # another process checks briefly whether it is a leftover
                time.sleep(_LOOK_PAUSE)
            if still_named(path, file.fileno()):
                return file
        except OSError:  # without locks, other processes do not check either
            return file
        file.close()  # another process deleted it before it was locked


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
