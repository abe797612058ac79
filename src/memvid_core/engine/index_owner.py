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

from memvid_core.system.atomic_files import create_file, write_file
from memvid_core.system.folders import matching

__all__ = ["place_of"]

_MOST_BYTES: Final = 1 << 16  # limit for a record
_COPIES: Final = "copy-"


class _Owner(msgspec.Struct, frozen=True):
    """The file that owns an index folder, and the identity of the folder: a copied folder has another one."""

    path: str
    file: tuple[int, int]
    folder: tuple[int, int]


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
        owner = _read(record) or _claimed(record, own)
        if owner == own:
            return root
        if owner.folder == own.folder and own.file != owner.file and own.path != owner.path and _there(owner):
            apart.mkdir(exist_ok=True)  # another thread or process may open the same copy
            write_file(apart / record.name, msgspec.json.encode(own), like=file)
            return apart
        write_file(record, msgspec.json.encode(own), like=file)
    except OSError:  # the folder cannot be read or written
        pass
    return root


def _own(root: Path, file: Path) -> _Owner:
    here, there = os.stat(file), os.stat(root)
    return _Owner(os.fspath(file), (here.st_dev, here.st_ino), (there.st_dev, there.st_ino))


def _there(owner: _Owner) -> bool:
    """Return whether a file exists at the path of the owner."""
    try:
        return stat.S_ISREG(os.stat(owner.path).st_mode)
    except (OSError, ValueError):
        return False


def _read(record: Path) -> _Owner | None:
    """Return the owner in a record; None if the record cannot be read."""
    try:
        with open(record, "rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=_Owner)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def _claimed(record: Path, own: _Owner) -> _Owner:
    """Become the owner, unless another process is faster; return the owner."""
    with suppress(FileExistsError):
        create_file(record, msgspec.json.encode(own), like=Path(own.path))
    return _read(record) or own


def _sweep(root: Path, name: str) -> None:
    """Delete the indexes of copies that no longer exist."""
    for apart in matching(root, f"{_COPIES}*"):
        owner = _read(apart / name)
        if owner is not None and not _there(owner):
            with suppress(OSError):
                shutil.rmtree(apart)
