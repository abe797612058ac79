"""Creating a memory at a path, or replacing the existing one, completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memvid_core.cli.options import WAIT

if TYPE_CHECKING:
    from memvid_core import Memory

__all__ = ["BUILDING", "new_memory"]

BUILDING = ".building"
"""The suffix of a new memory's name until it replaces the existing one."""


@contextmanager
def new_memory(target: Path, *, force: bool = False, **settings: Any) -> Iterator[Memory]:
    """Create a memory for the duration of a ``with`` block.

    If the path is free, the memory is written in place, so every commit is durable as it is made. If a memory exists
    and ``force`` is set, the new one is written next to it and replaces it at the end of the block; if the block fails,
    the old one is unchanged. A memory without a commit leaves no file.

    Args:
        target: The path.
        force: Replace the existing memory. A file that is not a memory is never replaced.
        settings: Arguments of `Memory.create`.

    Raises:
        MemoryExistsError: The file exists, and ``force`` is not set.
        NotAMemoryError: ``force`` is set, and the file is not a memory.
        LockedError: Another process is writing to the existing memory.
    """
    from memvid_core import MemoryExistsError

    if not os.path.lexists(target):
        with _growing(target, settings) as memory:
            yield memory
    elif not force:
        raise MemoryExistsError(
            f"{target} exists; replace it with --force, or add to it with: memvid add {target} PATHS"
            if target.is_file()
            else f"{target} is not a regular file and cannot be replaced; give another name"
        )
    else:
        with _replacing(target, settings) as memory:
            yield memory


@contextmanager
def _growing(path: Path, settings: dict[str, Any]) -> Iterator[Memory]:
    from memvid_core import LockedError, Memory, MemoryExistsError

    try:
        memory = Memory.create(path, **settings)
    except (LockedError, MemoryExistsError):
        raise  # another process created it first; the file is its own
    except BaseException:
        _remove(path)
        raise
    filled = False
    try:
        try:
            yield memory
        finally:
            filled = bool(memory.history())
            memory.close()
    finally:
        if not filled:
            _remove(path)


@contextmanager
def _replacing(target: Path, settings: dict[str, Any]) -> Iterator[Memory]:
    from memvid_core import NotAMemoryError
    from memvid_core.rewriting.replaced import memory_id_of
    from memvid_core.system.atomic_files import held, pass_mode_on
    from memvid_core.system.folders import sync_folder

    try:
        memory_id_of(target)
    except NotAMemoryError as exc:
        raise NotAMemoryError(
            f"{target} is not a memory, and --force replaces only memories; give another name"
        ) from exc
    building = target.with_name(target.name + BUILDING)
    with held(target, settings.get("timeout", WAIT)):
        _remove(building)
        with _growing(building, settings) as memory:
            yield memory
        if building.exists():
            pass_mode_on(target, building)
            os.replace(building, target)
            sync_folder(target.parent)
            # The index is derived: if it cannot be moved, it is rebuilt.
            with suppress(OSError):
                shutil.rmtree(_index(target), ignore_errors=True)
                os.replace(_index(building), _index(target))
            _remove(building)


def _index(path: Path) -> Path:
    return path.with_name(path.name + ".index")


def _remove(path: Path) -> None:
    """Remove a memory and its index."""
    shutil.rmtree(_index(path), ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)
