"""Whose index lies in a folder that several files may share: copies of one memory have its id, and another content."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["place_of"]

_MOST_BYTES: Final = 1 << 16  # of a record
_COPIES: Final = "copy-"


class _Owner(msgspec.Struct, frozen=True):
    """The file whose index lies in a folder, and the folder as it was then: one that was copied has no owner yet."""

    path: str
    file: tuple[int, int]
    folder: tuple[int, int]


def place_of(root: Path, file: Path, memory_id: bytes) -> Path:
    """Return the folder for the indexes of a file: ``root``, or one in it if ``root`` has the index of another copy.

    The first file that is opened with a folder owns it, also after it was renamed, moved within its disk or put back
    from a backup; when it is gone, the next one does. So what the index knows of a file is held against that file.

    Args:
        root: A folder that several memories may share.
        file: The memory's file, which is there.
        memory_id: Its id, which its copies have, too.
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
            apart.mkdir()
            _write(apart / record.name, own)
            return apart
        _write(record, own)
    except OSError:  # it cannot be written, or not be looked at
        pass
    return root


def _own(root: Path, file: Path) -> _Owner:
    here, there = os.stat(file), os.stat(root)
    return _Owner(os.fspath(file), (here.st_dev, here.st_ino), (there.st_dev, there.st_ino))


def _there(owner: _Owner) -> bool:
    """Return whether a file is where the owner was."""
    try:
        return stat.S_ISREG(os.stat(owner.path).st_mode)
    except (OSError, ValueError):
        return False


def _read(record: Path) -> _Owner | None:
    """What a record says; None if there is none that can be read."""
    try:
        with open(record, "rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=_Owner)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def _claimed(record: Path, own: _Owner) -> _Owner:
    """Become the owner, unless another process is faster; return who is."""
    _write(record, own, replace=False)
    return _read(record) or own


def _write(record: Path, own: _Owner, *, replace: bool = True) -> None:
    made = record.with_name(f"{record.name}.{os.getpid()}")
    mode = stat.S_IMODE(os.stat(own.path).st_mode) & 0o666
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), mode)
    try:
        os.write(descriptor, msgspec.json.encode(own))
    finally:
        os.close(descriptor)
    try:
        if replace or not record.exists():
            os.replace(made, record)
    finally:
        made.unlink(missing_ok=True)


def _sweep(root: Path, name: str) -> None:
    """Delete the indexes of copies that are gone."""
    for apart in root.glob(f"{_COPIES}*"):
        owner = _read(apart / name)
        if owner is not None and not _there(owner):
            with suppress(OSError):
                shutil.rmtree(apart)
