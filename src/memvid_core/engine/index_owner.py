"""The owner of an index folder that several files share: copies of a memory have the same id but other contents."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from memvid_core.errors import LockedError, StorageError
from memvid_core.system.atomic_files import create_file, held, write_file
from memvid_core.system.folders import named

__all__ = ["place_of"]

_MOST_BYTES: Final = 1 << 16  # limit for a record
_COPIES: Final = "copy-"
_RAW: Final = "\0"  # before the bytes of a path that is not Unicode
_WAIT: Final = 10.0  # seconds for another process that takes the place of the same owner


class _Owner(msgspec.Struct, frozen=True):
    """The file that owns an index folder, and the identity of the folder: a copied folder has another one."""

    path: str
    file: tuple[int, int]
    folder: tuple[int, int]

    def is_another(self, own: _Owner) -> bool:
        """Return whether this is another file than ``own``, which exists and owns the same folder."""
        return self.folder == own.folder and self.file != own.file and self.path != own.path and _there(self)


def place_of(root: Path, file: Path, memory_id: bytes) -> Path:
    """Return the folder for the indexes of a file: ``root``, or a subfolder if ``root`` has the index of another copy.

    The first file that is opened with a folder owns it, even after the file was renamed, moved within its disk or
    restored from a backup; when the file is gone, the next file becomes the owner. So an index is only compared with
    the file that it was made from.

    Args:
        root: A folder that several memories may share.
        file: The memory's file, which exists.
        memory_id: The id of the memory, which its copies share.
    """
    try:
        own = _own(root, file)
        apart = root / f"{_COPIES}{hashlib.blake2b(os.fsencode(file), digest_size=8).hexdigest()}"
        if apart.is_dir():
            return apart
        record = root / f"owner-{memory_id.hex()[:16]}"
        _sweep(root, record.name)
        if _read(record) is None:
            with suppress(FileExistsError):  # another process is faster, or the record is damaged
                create_file(record, msgspec.json.encode(own), like=file)
        if _read(record) == own or _owned_by_now(record, own, file):
            for each in (record, _second(record)):
                if _parsed(each) != own:
                    write_file(each, msgspec.json.encode(own), like=file)
            return root
        apart.mkdir(exist_ok=True)  # another thread or process may open the same copy
        write_file(apart / record.name, msgspec.json.encode(own), like=file)
        return apart
    except (OSError, StorageError, LockedError):  # the folder cannot be read, written or locked
        return root


def _own(root: Path, file: Path) -> _Owner:
    here, there = os.stat(file), os.stat(root)
    path = os.fspath(file)
    try:
        path.encode()
    except UnicodeEncodeError:
        path = f"{_RAW}{os.fsencode(file).hex()}"
    return _Owner(path, (here.st_dev, here.st_ino), (there.st_dev, there.st_ino))


def _there(owner: _Owner) -> bool:
    """Return whether a file exists at the path of the owner, or may exist where this process cannot look."""
    try:
        path = bytes.fromhex(owner.path[1:]) if owner.path.startswith(_RAW) else owner.path
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True


def _second(record: Path) -> Path:
    """Return the path of the second copy of a record: while one can be read, no other file takes the folder."""
    return record.with_name(f"second-{record.name}")


def _read(record: Path) -> _Owner | None:
    """Return the owner in a record, or in its second copy if it is damaged; None if neither can be read."""
    return _parsed(record) or _parsed(_second(record))


def _parsed(record: Path) -> _Owner | None:
    try:
        with open(record, "rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=_Owner)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def _owned_by_now(record: Path, own: _Owner, file: Path) -> bool:
    """Take the place of an owner that is gone or whose records are damaged; return False if there is another owner.

    Several copies may try it at the same time: one of them is the owner, and the others see it.
    """
    with held(record, _WAIT):
        owner = _read(record)
        if owner is not None and owner.is_another(own):
            return False
        write_file(record, msgspec.json.encode(own), like=file)
        return True


def _sweep(root: Path, name: str) -> None:
    """Delete the indexes of copies that no longer exist."""
    for apart in named(root, _COPIES):
        owner = _read(apart / name)
        if owner is not None and not _there(owner):
            with suppress(OSError):
                shutil.rmtree(apart)
