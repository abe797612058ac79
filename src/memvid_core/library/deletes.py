"""Objects that are named by their checksum, such as the rows of a shard that a library has deleted since."""

from __future__ import annotations

import os
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedLibraryError
from memvid_core.library.creating import created
from memvid_core.library.manifest import ShardEntry
from memvid_core.library.objects import Objects, digest

__all__ = ["Doomed", "read_checked", "read_deletes", "read_doomed", "write_checked", "write_deletes", "write_doomed"]

Doomed = set[tuple[str, str]]
"""What a vacuum deletes: folders, and the keys of what belongs together in them."""

_ROW = np.dtype("<u4")
_LARGEST: Final = 1 << 28  # bytes
_SALT: Final = 16  # random bytes: no name is used twice, so that a late vacuum deletes nothing that counts


def write_checked(objects: Objects, folder: str, data: bytes) -> str:
    """Write an object that is named by the checksum of random bytes and its data; return the checksum."""
    salted = os.urandom(_SALT) + data
    name = digest(salted)
    created(objects, f"{folder}/{name}", salted)
    return name


def read_checked(objects: Objects, folder: str, name: str, limit: int) -> bytes:
    """Read an object that is named by its checksum.

    Raises:
        DamagedLibraryError: It is missing, larger than ``limit`` bytes, or damaged.
    """
    data = objects.read(f"{folder}/{name}", limit + _SALT)
    if digest(data) != name or len(data) < _SALT:
        raise DamagedLibraryError(f"{folder}/{name}", "is damaged: its checksum does not match")
    return data[_SALT:]


def write_deletes(objects: Objects, rows: NDArray[np.int64]) -> str:
    """Write the deleted rows of a shard; return the checksum that names them, empty if there are none."""
    return write_checked(objects, "deletes", np.unique(rows).astype(_ROW).tobytes()) if len(rows) else ""


def read_deletes(objects: Objects, entry: ShardEntry) -> NDArray[np.int64]:
    """Return the deleted rows of a shard, ascending."""
    if not entry.deletes:
        return np.zeros(0, np.int64)
    data = read_checked(objects, "deletes", entry.deletes, _ROW.itemsize * entry.rows)
    if len(data) % _ROW.itemsize:
        raise DamagedLibraryError(f"deletes/{entry.deletes}", "is damaged")
    rows = np.frombuffer(data, _ROW).astype(np.int64)
    if len(rows) and int(rows[-1]) >= entry.rows:
        raise DamagedLibraryError(f"deletes/{entry.deletes}", f"belongs to another shard than {entry.name}")
    return rows


def write_doomed(objects: Objects, doomed: Doomed) -> str:
    """Write the list of what a vacuum deletes; return the checksum that names it."""
    return write_checked(objects, "vacuums", msgspec.json.encode(sorted(doomed)))


def read_doomed(objects: Objects, name: str) -> Doomed:
    """Return what a vacuum deletes, or has deleted."""
    if not name:
        return set()
    try:
        return set(msgspec.json.decode(read_checked(objects, "vacuums", name, _LARGEST), type=list[tuple[str, str]]))
    except (msgspec.DecodeError, RecursionError) as exc:
        raise DamagedLibraryError(f"vacuums/{name}", f"is damaged: {exc}") from exc
