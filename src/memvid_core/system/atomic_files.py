"""Atomic files: written under a temporary name and renamed when they are complete."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Final

from memvid_core.errors import MemoryExistsError, MemoryNotFoundError, ReadOnlyError, StorageError, storage_errors
from memvid_core.system.commit_lock import CommitLock
from memvid_core.system.file_lock import still_named, system_lock, unshared
from memvid_core.system.folders import named, sync_folder
from memvid_core.system.permissions import pass_mode_on

__all__ = [
    "appearing",
    "being_compacted",
    "compaction_path",
    "create_file",
    "followed",
    "held",
    "remove_all_left",
    "remove_left",
    "replacing",
    "write_file",
    "writing_file",
]

_SUFFIX: Final = ".writing"
_CONTENT: Final = ".new"  # of a file that is closed, and opened again, before it is renamed
_COMPACTING: Final = ".compacting"
_LEFT: Final = re.compile(r"\..+\.[0-9a-f]{12}\.writing", re.DOTALL)
_KEY: Final = re.compile(r"[0-9a-f]{12}")
_NAME_BYTES: Final = 180  # of 255: the rest is for what is added to a name
_WAIT: Final = 30.0  # seconds


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Yield a path to write to; if the block succeeds, the file is renamed to ``target``, otherwise it is deleted.

    Raises:
        MemoryExistsError: The target exists.
        MemoryNotFoundError: The folder does not exist.
        ReadOnlyError: The folder may not be written.
        StorageError: A read or write failed.
    """
    _check_folder(target)
    if os.path.lexists(target):
        remove_left(target)  # a process may have been killed at the very end
        raise _taken(target)
    with _temporary(target) as made:
        yield made
        if _exists(made):
            try:
                _publish(made, target)
            except FileExistsError as exc:
                raise _taken(target) from exc
            except OSError as exc:
                raise StorageError(f"cannot put the file at {target}: {exc}") from exc
            with suppress(StorageError):  # the file is in place; a power failure may undo the rename
                sync_folder(target.parent)


@contextmanager
def replacing(target: Path, *, like: Path | None = None, timeout: float = _WAIT) -> Iterator[Path]:
    """Yield a path to write to; if the block succeeds, the file replaces ``target``.

    During the block, commits to a memory at ``target`` are blocked.

    Args:
        target: The file to replace or create. Of a link, the file that it leads to: the link stays.
        like: The file whose mode and owner a new target gets; an existing target keeps its own.
        timeout: How many seconds to wait for commits to the target.

    Raises:
        LockedError: Another process is writing to the target; the message names it.
        MemoryNotFoundError: The folder does not exist.
        ReadOnlyError: The folder may not be written.
        StorageError: A read or write failed; the target is unchanged.
    """
    target = followed(target)
    _check_folder(target)
    with held(target, timeout) as existing, _temporary(target) as made:
        yield made
        if _exists(made):
            with nullcontext() if existing else held(target, timeout):  # another process may have created it meanwhile
                pass_mode_on(target if _exists(target) else like, made)
                try:
                    os.replace(made, target)
                except OSError as exc:
                    raise StorageError(f"cannot replace {target}: {exc}") from exc
            with suppress(StorageError):  # the file is in place; a power failure may undo the rename
                sync_folder(target.parent)


@contextmanager
def writing_file(target: Path, *, like: Path | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file to write to; if the block succeeds, it replaces ``target``, otherwise it is deleted.

    The target is not a memory: no lock is waited for. Any number of threads and processes may write it at the same
    time; one of them is the last. An existing target keeps its mode and owner.

    Args:
        target: The file to replace or create.
        like: The file whose mode and owner a new target gets.
        durable: Whether the content reaches the disk before the name; False for what can be made again, which has
            a checksum or fails to parse where a power failure took the content.

    Raises:
        OSError: The target is a folder, a pipe or a device, or a read or write failed; the target is unchanged.
    """
    _check_regular(target)
    with _new_file(target) as (file, made):
        yield file
        file.flush()
        if durable:
            os.fsync(file.fileno())
        pass_mode_on(target if target.exists() else like, made)
        if os.name == "nt":  # Windows cannot rename an open file
            file.close()
        os.replace(made, target)
    if durable:
        with suppress(StorageError):  # the file is in place; a power failure may undo the rename
            sync_folder(target.parent)


def write_file(target: Path, data: bytes, *, like: Path | None = None, durable: bool = True) -> None:
    """Replace or create a file with ``data``, complete or not at all, as :func:`writing_file` does.

    Raises:
        OSError: A read or write failed; the target is unchanged.
    """
    with writing_file(target, like=like, durable=durable) as file:
        file.write(data)


def create_file(target: Path, data: bytes, *, like: Path | None = None, lock: Path | None = None) -> None:
    """Create a file with ``data``, durable and complete, or not at all.

    Args:
        target: The file; its folder exists.
        data: The content.
        like: The file whose mode and owner the target gets.
        lock: A file that is locked where the file system has no links, so that one of several processes creates the
            target; None where it does not matter which.

    Raises:
        FileExistsError: The target exists: another process was faster.
        OSError: A read or write failed.
    """
    with _new_file(target) as (file, made):
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        pass_mode_on(like, made)
        if os.name == "nt":
            file.close()
        _publish(made, target, lock)
    with suppress(StorageError):
        sync_folder(target.parent)


@contextmanager
def _new_file(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new file in the folder of ``target`` and its path; it is locked, and deleted unless it is renamed."""
    with _reserved(target) as (reserved, made), io.BufferedWriter(reserved) as file:
        yield file, made


@contextmanager
def _reserved(target: Path) -> Iterator[tuple[io.FileIO, Path]]:
    """Yield a new file in the folder of ``target``, locked so that :func:`remove_left` keeps it, and its path.

    In the end it is deleted, with a memory next to it, unless they were renamed.
    """
    remove_left(target)
    reserved = _Reserved(target)
    try:
        try:
            yield reserved.locked()
        finally:
            reserved.give_up()
    finally:  # again if an interrupt cut it
        reserved.give_up()


class _Reserved:
    def __init__(self, target: Path) -> None:
        self._target = target
        self._file: io.FileIO | None = None
        self._path: Path | None = None

    def locked(self) -> tuple[io.FileIO, Path]:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        while True:
            # A new path each time: whoever deletes the last one does so by its path.
            self._path = path = _temporary_path(self._target)
            self._file = file = unshared(os.open(path, flags, 0o666))
            try:
                if system_lock().try_lock(file.fileno()) and still_named(path, file.fileno()):
                    return file, path
            except OSError:  # a file system without locks, where nobody deletes what is left
                return file, path
            file.close()  # another process took it for a leftover, and deletes it

    def give_up(self) -> None:
        path, file = self._path, self._file
        if path is None:
            return
        content = _content(path)
        _delete_content(content)
        if file is not None and os.name == "nt":  # Windows cannot delete an open file
            file.close()
        if not _may_exist(content):
            _delete(path)
        if file is not None:
            file.close()
        self._path = None


def _publish(made: Path, target: Path, lock: Path | None = None) -> None:
    """Rename ``made`` to ``target``; raise FileExistsError if that exists."""
    try:
        if os.name == "nt":
            os.rename(made, target)  # does not replace an existing file on Windows
        else:
            os.link(made, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with nullcontext() if lock is None else held(lock, _WAIT):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target)) from None
            os.replace(made, target)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Yield the path of a new file, which is deleted unless it is renamed.

    Whoever writes it may close it and open it again, which gives up a lock on it: an empty file next to it is locked
    until the end, so that :func:`remove_left` keeps both.
    """
    with ExitStack() as stack:
        try:
            _, mark = stack.enter_context(_reserved(target))
        except PermissionError as exc:
            raise ReadOnlyError(f"{target}: no permission to write in {target.parent}") from exc
        except OSError as exc:
            raise StorageError(f"cannot write in {target.parent}: {exc}") from exc
        yield _content(mark)


def _content(mark: Path) -> Path:
    return mark.with_name(mark.name + _CONTENT)


def _temporary_path(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}{uuid.uuid4().hex[:12]}{_SUFFIX}")


def _prefix(target: Path) -> str:
    name, encoded = target.name, os.fsencode(target.name)
    return f".{name if len(encoded) <= _NAME_BYTES else encoded[:_NAME_BYTES].decode(errors='ignore')}."


def compaction_path(target: Path, key: str) -> Path:
    """Return the path to which the compaction named ``key`` writes the new content of ``target``."""
    return target.with_name(f"{_prefix(target)}{key}{_COMPACTING}")


def being_compacted(target: Path) -> bool:
    """Return whether ``target`` is being compacted; delete the leftovers of killed compactions."""
    return any(not _remove_if_left(path) for path in _temporaries(target, _COMPACTING))


def remove_left(target: Path) -> None:
    """Delete the leftovers of killed processes that were writing ``target``."""
    for suffix in (_SUFFIX, _COMPACTING):
        for left in _temporaries(target, suffix):
            _remove_if_left(left)


def remove_all_left(folder: Path) -> None:
    """Delete the leftovers of killed processes that were writing any file of ``folder``."""
    for left in named(folder, ".", _SUFFIX):
        if _LEFT.fullmatch(left.name):
            _remove_if_left(left)


def _temporaries(target: Path, suffix: str) -> list[Path]:
    start = _prefix(target)
    return [
        path for path in named(target.parent, start, suffix) if _KEY.fullmatch(path.name[len(start) : -len(suffix)])
    ]


def _remove_if_left(path: Path) -> bool:
    """Delete a leftover and return whether it is gone. A process that is still writing holds a lock on its file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as exc:
        return isinstance(exc, FileNotFoundError)
    try:
        if not system_lock().try_lock(descriptor):
            return False
        if not still_named(path, descriptor):  # another process has deleted it, or the writer has renamed it
            return not path.exists()
        remove_left(_content(path))  # which was being created itself
        _delete_content(_content(path))
        shutil.rmtree(_index(path), ignore_errors=True)
        if os.name != "nt":  # Windows deletes the file below, after closing it
            _delete(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    if os.name == "nt":
        _delete(path)
    return True


def _delete_content(path: Path) -> None:
    """Delete a new memory and its index; Windows cannot delete a file that is being read, which a later call does."""
    _delete(path)
    shutil.rmtree(_index(path), ignore_errors=True)


def _exists(path: Path) -> bool:
    with storage_errors():
        return path.exists()


def _may_exist(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _index(path: Path) -> Path:
    return path.with_name(path.name + ".index")


@contextmanager
def held(target: Path, timeout: float) -> Iterator[bool]:
    """Hold the lock on a file to block commits to the memory in it; yield whether it exists.

    Args:
        target: The file.
        timeout: The longest time to wait for the lock, in seconds.

    Raises:
        LockedError: Another process is writing to it; the message names the process.
        StorageError: The file cannot be opened or locked.
    """
    deadline = time.monotonic() + timeout
    lock, file = CommitLock(), None
    try:
        try:
            while (file := _opened(target)) is not None:
                lock.acquire(file.fileno(), target, max(0.0, round(deadline - time.monotonic(), 2)))
                if still_named(target, file.fileno()):
                    break
                lock.release()  # a compaction has replaced the file meanwhile
                file.close()
            yield file is not None
        finally:
            _release(lock, file)
    finally:  # again if an interrupt cut it
        _release(lock, file)


def _release(lock: CommitLock, file: io.FileIO | None) -> None:
    lock.close()
    if file is not None:
        file.close()


def _opened(target: Path) -> io.FileIO | None:
    """Open a file to lock it; return None if it does not exist."""
    try:
        return unshared(os.open(target, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StorageError(f"cannot replace {target}: {exc}") from exc


def followed(target: Path) -> Path:
    """Return the file that a link leads to, so that it is written and the link stays; any other path as it is."""
    real = os.path.realpath(target)  # os.path.exists raises nothing, also if a name is too long or may not be looked at
    return Path(real) if os.path.exists(real) or not os.path.exists(target) else target  # /dev/stdout has no real path


def _check_regular(target: Path) -> None:
    """Refuse to replace anything but a regular file, for example ``/dev/null``."""
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, "is a folder, a pipe or a device, not a regular file", os.fspath(target))


def _check_folder(target: Path) -> None:
    with storage_errors():  # a name may be too long
        there, file = target.exists(), target.is_file()
        folder = target.parent.is_dir()
    if not folder:
        raise MemoryNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if there and not file:
        raise StorageError(f"{target} is a folder, a pipe or a device, not a regular file")


def _taken(target: Path) -> MemoryExistsError:
    return MemoryExistsError(f"{target} exists; open it with Memory.open, or give another name")
