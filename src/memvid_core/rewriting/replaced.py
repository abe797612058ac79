"""Replacing the memory in a file by another one, completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from memvid_core.journal import Journal
from memvid_core.system.atomic_files import held
from memvid_core.system.folders import sync_folder
from memvid_core.system.permissions import pass_mode_on

__all__ = ["memory_id_of", "move_index", "remove_memory", "replacing_memory"]

_BUILDING = ".building"


def memory_id_of(path: Path) -> bytes:
    """Return the id of the memory in a file, which is opened for it and closed again.

    Raises:
        NotAMemoryError: The file is not a memory.
        MemoryNotFoundError: The file does not exist.
    """
    journal = Journal.open(path, "r")
    journal.close()
    return journal.header.memory_id


@contextmanager
def replacing_memory(target: Path, timeout: float) -> Iterator[Path]:
    """Yield the path for a new memory, which replaces the existing one at the end of the block, with its index.

    Commits to the existing memory wait until then. If the block fails or writes nothing, it is unchanged.

    Args:
        target: The existing memory.
        timeout: The longest time to wait for its lock, in seconds.

    Raises:
        LockedError: Another process is writing to the existing memory.
    """
    building = target.with_name(target.name + _BUILDING)
    with held(target, timeout):
        remove_memory(building)
        yield building
        if building.exists():
            pass_mode_on(target, building)
            os.replace(building, target)
            sync_folder(target.parent)
            move_index(building, target)
            remove_memory(building)


def move_index(source: Path, target: Path) -> None:
    """Move the index of a memory that is renamed. It is derived: if it cannot be moved, it is rebuilt."""
    with suppress(OSError):
        shutil.rmtree(_index(target), ignore_errors=True)
        os.replace(_index(source), _index(target))


def remove_memory(path: Path) -> None:
    """Remove a memory and its index, as far as they exist."""
    shutil.rmtree(_index(path), ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _index(path: Path) -> Path:
    return path.with_name(path.name + ".index")
