"""Marks of files that grow in place: the mark of a killed process tells that its file is not finished."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from memvid_core.errors import LockedError
from memvid_core.system.file_lock import still_named, system_lock, unshared

__all__ = ["Mark", "being_made", "finished", "was_left"]

_SUFFIX: Final = ".making"
_MOST_NOTED: Final = 64
_FLAGS: Final = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Mark:
    """The mark of a file that is being made.

    Args:
        descriptor: The open mark; None if there can be none.
        task: What makes the file.

    Attributes:
        left: Whether a killed process left the mark, in the same task.
        noted: What that process noted; empty if nothing.
    """

    def __init__(self, descriptor: int | None, task: bytes) -> None:
        self._descriptor = descriptor
        self._head = task + b"\0"
        found = b"" if descriptor is None else os.read(descriptor, len(self._head) + _MOST_NOTED)
        self.left = found.startswith(self._head)
        self.noted = found[len(self._head) :] if self.left else b""
        if not self.left:
            self.note(b"")

    def note(self, which: bytes) -> None:
        """Note which file is being made, such as by its id: another one may take its place."""
        if self._descriptor is not None:
            with suppress(OSError):  # a full disk: the file itself says so
                os.truncate(self._descriptor, 0)
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, self._head + which)


@contextmanager
def being_made(target: Path, task: bytes) -> Iterator[Mark]:
    """Mark a file as unfinished during a block, and yield the mark, which a killed process may have left.

    The mark is a locked file next to it, which is deleted at the end of the block, and stays if the process is killed.

    Args:
        target: The file, which grows during the block.
        task: What the block does, without zero bytes. The mark of another task is replaced.

    Raises:
        LockedError: Another process is making the file.
    """
    mark = _mark_of(target)
    try:
        file = _opened(mark, os.O_CREAT)
    except OSError:  # the file itself cannot be made either, which says why
        yield Mark(None, task)
        return
    if file is None:
        raise LockedError(f"another process is making {target}")
    try:
        yield Mark(file.fileno(), task)
    finally:
        _close_and_delete(mark, file)


def was_left(target: Path, task: bytes) -> bool:
    """Return whether a file has the mark of a task: a process is doing it, or was killed while it did."""
    try:
        return _mark_of(target).read_bytes().startswith(task + b"\0")
    except OSError:
        return False


def finished(target: Path) -> None:
    """Delete the mark of a killed process that was making a file, which is complete now."""
    mark = _mark_of(target)
    with suppress(OSError):
        file = _opened(mark)
        if file is not None:
            _close_and_delete(mark, file)


def _opened(mark: Path, flags: int = 0) -> io.FileIO | None:
    """Return a mark, open and locked; None if another process holds it."""
    while True:
        file = unshared(os.open(mark, _FLAGS | flags, 0o666))
        held = False
        try:
            if not _locked(file.fileno()):
                return None
            held = still_named(mark, file.fileno())
            if held:
                return file
        finally:
            if not held:
                file.close()


def _close_and_delete(mark: Path, file: io.FileIO) -> None:
    """Delete a mark while it is locked, so that none that another process has just made is deleted."""
    try:
        if os.name != "nt":
            _delete(mark)
        else:  # which cannot delete an open file: who opens it meanwhile finds nothing that was left
            with suppress(OSError):
                file.truncate(0)
    finally:
        file.close()
        if os.name == "nt":
            _delete(mark)


def _locked(descriptor: int) -> bool:
    try:
        return system_lock().try_lock(descriptor)
    except OSError:  # a file system without locks
        return True


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _mark_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{_SUFFIX}")
