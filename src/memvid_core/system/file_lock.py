"""The operating system's exclusive lock on an open file, with one interface for all systems."""

from __future__ import annotations

import io
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

__all__ = ["FlockLock", "RangeLock", "SystemLock", "locked", "still_named", "system_lock", "unshared"]

_FAR: Final = 1 << 62  # beyond the end of any file; Windows can lock bytes that do not exist


class SystemLock(Protocol):
    """An operating system's exclusive lock on an open file."""

    def try_lock(self, descriptor: int, *, shared: bool = False) -> bool:
        """Take the lock if it is free; return whether it was taken.

        Args:
            descriptor: The open file.
            shared: Whether others may hold it as shared at the same time.

        Raises:
            OSError: The file system does not support locks.
        """

    def unlock(self, descriptor: int) -> None:
        """Release the lock."""


class FlockLock:
    """Use ``flock`` (Linux, macOS): the lock belongs to the open file, so two opens in a process exclude each other."""

    def __init__(self) -> None:
        import fcntl

        self._flock: Callable[[int, int], None] = fcntl.flock
        self._exclusive, self._unlock = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN
        self._shared = fcntl.LOCK_SH | fcntl.LOCK_NB

    def try_lock(self, descriptor: int, *, shared: bool = False) -> bool:
        """Take the lock if it is free."""
        try:
            self._flock(descriptor, self._shared if shared else self._exclusive)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Release the lock."""
        self._flock(descriptor, self._unlock)


class RangeLock:
    """Use ``LockFileEx`` (Windows) on one byte far beyond the end of the file, which does not block I/O.

    Args:
        kernel: ``kernel32``, or a substitute in a test.
        handle_of: A function that returns the system's handle of a descriptor.
    """

    _AT_ONCE: Final = 0x1  # LOCKFILE_FAIL_IMMEDIATELY
    _EXCLUSIVE: Final = 0x2  # LOCKFILE_EXCLUSIVE_LOCK
    _TAKEN: Final = (33, 158, 997)  # ERROR_LOCK_VIOLATION, ERROR_NOT_LOCKED, ERROR_IO_PENDING

    def __init__(self, kernel: Any = None, handle_of: Callable[[int], int] | None = None) -> None:
        import ctypes

        if kernel is None or handle_of is None:
            import msvcrt

            kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
            handle_of = msvcrt.get_osfhandle  # type: ignore[attr-defined,unused-ignore]
        self._kernel = kernel
        self._handle_of: Callable[[int], int] = handle_of
        self._pointer = ctypes.c_void_p

        class Overlapped(ctypes.Structure):
            """The position of the byte, as the system expects it."""

            _fields_ = (
                ("internal", ctypes.c_void_p),
                ("internal_high", ctypes.c_void_p),
                ("offset", ctypes.c_uint32),
                ("offset_high", ctypes.c_uint32),
                ("event", ctypes.c_void_p),
            )

        self._place: Callable[[], Any] = lambda: ctypes.byref(
            Overlapped(None, None, _FAR & 0xFFFFFFFF, _FAR >> 32, None)
        )
        self._error: Callable[[], int] = getattr(ctypes, "get_last_error", lambda: 0)

    def try_lock(self, descriptor: int, *, shared: bool = False) -> bool:
        """Take the lock if it is free."""
        flags = self._AT_ONCE if shared else self._AT_ONCE | self._EXCLUSIVE
        handle = self._pointer(self._handle_of(descriptor))
        if self._kernel.LockFileEx(handle, flags, 0, 1, 0, self._place()):
            return True
        error = self._error()
        if error and error not in self._TAKEN:
            raise OSError(0, f"LockFileEx failed with error {error}")
        return False

    def unlock(self, descriptor: int) -> None:
        """Release the lock."""
        self._kernel.UnlockFileEx(self._pointer(self._handle_of(descriptor)), 0, 1, 0, self._place())


def system_lock() -> SystemLock:
    """Return the lock of the current system."""
    return RangeLock() if sys.platform == "win32" else FlockLock()


def still_named(path: Path, descriptor: int) -> bool:
    """Return whether a path still names an open file; ask it after locking the file.

    Between opening and locking, another process may delete the file and a third one may create another under the same
    path: the lock says nothing about that one.

    Raises:
        OSError: The path cannot be read.
    """
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock on a file, which is created, during a block, as far as the file system has locks.

    Args:
        path: The file.
        seconds: How long to wait for the lock; then the block runs without it.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = unshared(os.open(path, flags, 0o666))
    except OSError:
        yield
        return
    with file:
        lock, deadline = system_lock(), time.monotonic() + seconds
        with suppress(OSError):
            while not lock.try_lock(file.fileno()) and time.monotonic() < deadline:
                time.sleep(0.001)
        yield


_unshared: weakref.WeakSet[io.FileIO] = weakref.WeakSet()


def unshared(descriptor: int) -> io.FileIO:
    """Return an open file whose lock is not shared with forked children; close it instead of its descriptor.

    A child may outlive a parent that is killed, and would hold the lock as long as it lives. In the child, the file is
    the null device, so that whatever closes it there closes no other file.
    """
    file = io.FileIO(descriptor, "r+")
    _unshared.add(file)
    return file


def _after_fork() -> None:
    inherited = [file.fileno() for file in list(_unshared) if not file.closed]
    _unshared.clear()
    if inherited:
        with suppress(OSError):
            nothing = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            for descriptor in inherited:
                os.dup2(nothing, descriptor, inheritable=False)
            os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
