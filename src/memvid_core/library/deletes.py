"""The rows of a shard that a library has deleted after it was sealed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedLibraryError, MemoryExistsError
from memvid_core.library.manifest import ShardEntry
from memvid_core.library.objects import Objects, digest

__all__ = ["read_checked", "read_deletes", "write_checked", "write_deletes"]

_ROW = np.dtype("<u4")


def write_checked(objects: Objects, folder: str, data: bytes) -> str:
    """Write an object that is named by its checksum; return the checksum."""
    name = digest(data)
    try:
        objects.create(f"{folder}/{name}", data)
    except MemoryExistsError:
        if not objects.touch(f"{folder}/{name}"):  # a vacuum deleted it, because nothing named it
            return write_checked(objects, folder, data)
        read_checked(objects, folder, name, len(data))  # the same bytes, unless the one that is there is damaged
    return name


def read_checked(objects: Objects, folder: str, name: str, limit: int) -> bytes:
    """Read an object that is named by its checksum.

    Raises:
        DamagedLibraryError: It is missing, larger than ``limit`` bytes, or damaged.
    """
    data = objects.read(f"{folder}/{name}", limit)
    if digest(data) != name:
        raise DamagedLibraryError(f"{folder}/{name}", "is damaged: its checksum does not match")
    return data


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
