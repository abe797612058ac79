"""Files that appear whole or not at all: written under another name, and renamed when they are done."""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from memvid_core.errors import MemoryExistsError, MemoryNotFoundError, StorageError
from memvid_core.system.commit_lock import CommitLock
from memvid_core.system.file_lock import system_lock
from memvid_core.system.folders import sync_folder

__all__ = ["appearing", "being_compacted", "compacting", "held", "pass_mode_on", "remove_left", "replacing"]

_SUFFIX: Final = ".writing"
_COMPACTING: Final = ".compacting"


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Yield a path to write to, whose file takes the name ``target`` when the block ends well, and is gone when not.

    Raises:
        MemoryExistsError: The target is taken.
        MemoryNotFoundError: Its folder does not exist.
        StorageError: The system refused.
    """
    _check_folder(target)
    if os.path.lexists(target):
        raise _taken(target)
    with _temporary(target) as made:
        yield made
        if made.exists():
            _publish(made, target)


@contextmanager
def replacing(target: Path, *, like: Path | None = None, timeout: float = 30.0) -> Iterator[Path]:
    """Yield a path to write to, whose file takes the place of ``target`` when the block ends well.

    While the block runs, nobody can commit to a memory at ``target``.

    Args:
        target: The file to replace, or to make.
        like: The file whose mode and owner a new target gets; one that is replaced passes on its own.
        timeout: How many seconds to wait for others who commit to the target.

    Raises:
        LockedError: Somebody is writing to the target; the message names the process.
        MemoryNotFoundError: Its folder does not exist.
        StorageError: The system refused; the target stays as it was.
    """
    _check_folder(target)
    with held(target, timeout), _temporary(target) as made:
        yield made
        if made.exists():
            pass_mode_on(target if target.exists() else like, made)
            try:
                os.replace(made, target)
            except OSError as exc:
                raise StorageError(f"cannot replace {target}: {exc}") from exc
            with suppress(OSError):  # it is in place; a power cut may only undo that
                sync_folder(target.parent)


def pass_mode_on(source: Path | None, target: Path) -> None:
    """Give ``target`` the permissions of ``source``, and its owner where the system lets us."""
    if source is None:
        return
    with suppress(OSError):
        there = os.stat(source)
        os.chmod(target, stat.S_IMODE(there.st_mode))
        here = os.stat(target)
        if hasattr(os, "chown") and (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
            os.chown(target, there.st_uid, there.st_gid)


def _publish(made: Path, target: Path) -> None:
    try:
        if os.name == "nt":
            os.rename(made, target)  # which replaces nothing there
        else:
            os.link(made, target)
    except FileExistsError as exc:
        raise _taken(target) from exc
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise _taken(target) from None
        try:
            os.replace(made, target)
        except OSError as exc:
            raise StorageError(f"cannot put the file at {target}: {exc}") from exc
    with suppress(OSError):  # it is in place; a power cut may only undo that
        sync_folder(target.parent)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    remove_left(target)
    made = target.with_name(f"{_prefix(target)}{uuid.uuid4().hex[:12]}{_SUFFIX}")
    try:
        yield made
    finally:
        with suppress(OSError):  # Windows deletes no file that somebody reads; the next one does
            made.unlink(missing_ok=True)
        shutil.rmtree(made.with_name(made.name + ".index"), ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".{target.name[:180]}."


def compacting(target: Path, key: str) -> Path:
    """Return where the compaction named ``key`` writes what is to take the place of ``target``."""
    return target.with_name(f"{_prefix(target)}{key}{_COMPACTING}")


def being_compacted(target: Path) -> bool:
    """Return whether somebody is compacting ``target``, after deleting what those who were killed left."""
    pattern = f"{_escaped(_prefix(target))}*{_COMPACTING}"
    return any(not _remove_if_left(path) for path in target.parent.glob(pattern))


def remove_left(target: Path) -> None:
    """Delete what processes that were killed left of files that should have become ``target``."""
    for suffix in (_SUFFIX, _COMPACTING):
        for left in target.parent.glob(f"{_escaped(_prefix(target))}*{suffix}"):
            _remove_if_left(left)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _remove_if_left(path: Path) -> bool:
    """Delete what a killed process left; return whether it is gone. One that still writes holds the lock on it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as exc:
        return isinstance(exc, FileNotFoundError)
    try:
        if not system_lock().try_lock(descriptor):
            return False
        if os.name != "nt":  # which deletes no open file, and so none that somebody has just made
            _delete(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    if os.name == "nt":
        _delete(path)
    return True


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
        shutil.rmtree(path.with_name(path.name + ".index"), ignore_errors=True)


@contextmanager
def held(target: Path, timeout: float = 30.0) -> Iterator[None]:
    """Hold the lock on a file, if it is there: nobody can commit to a memory in it.

    Raises:
        LockedError: Somebody is writing to it; the message names the process.
    """
    try:
        descriptor = os.open(target, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        yield
        return
    except OSError as exc:
        raise StorageError(f"cannot replace {target}: {exc}") from exc
    lock = CommitLock()
    try:
        lock.acquire(descriptor, target, timeout)
        yield
    finally:
        lock.close()
        os.close(descriptor)


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise MemoryNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if target.exists() and not target.is_file():
        raise StorageError(f"{target} is a folder, a pipe or a device, and not a file")


def _taken(target: Path) -> MemoryExistsError:
    return MemoryExistsError(f"{target} exists; Memory.open opens it, or give another name")
