"""A new memory at a path, or in place of the one that is there: never half of either."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memvid_core import Memory

__all__ = ["BUILDING", "new_memory"]

BUILDING = ".building"
"""What the name of a memory ends with while it is made to replace another."""


@contextmanager
def new_memory(target: Path, *, force: bool = False, **settings: Any) -> Iterator[Memory]:
    """Make a memory for the length of a ``with`` block.

    Where nothing is at the path it grows in place, so that each commit is there whatever happens next. Where a memory
    is, and ``force`` allows it, the new one grows beside it and takes its place at the end of the block; if the block
    fails, the old one is as it was. A memory that got no commit leaves no file.

    Args:
        target: Where it goes.
        force: Replace the memory that is there. Any other file is never replaced.
        settings: For `Memory.create`.

    Raises:
        MemoryExistsError: There is a file, and ``force`` is not set.
        NotAMemoryError: ``force`` is set, and the file is no memory.
        LockedError: Someone writes to the memory that is there.
    """
    from memvid_core import MemoryExistsError

    if not os.path.lexists(target):
        with _growing(target, settings) as memory:
            yield memory
    elif not force:
        raise MemoryExistsError(
            f"{target} exists; to replace it use --force, to add to it: memvid add {target} PATHS"
            if target.is_file()
            else f"{target} is no file that could be replaced; give another name"
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
        raise  # someone was quicker: what is there now is theirs
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
    from memvid_core.journal import Journal
    from memvid_core.system.atomic_files import held, pass_mode_on
    from memvid_core.system.folders import sync_folder

    try:
        Journal.open(target, "r").close()
    except NotAMemoryError as exc:
        raise NotAMemoryError(f"{target} is no memory, and only a memory is replaced: give another name") from exc
    beside = target.with_name(target.name + BUILDING)
    with held(target):
        _remove(beside)
        with _growing(beside, settings) as memory:
            yield memory
        if beside.exists():
            pass_mode_on(target, beside)
            os.replace(beside, target)
            sync_folder(target.parent)
            # Only a cache: where it cannot be moved, it is made anew.
            with suppress(OSError):
                shutil.rmtree(_index(target), ignore_errors=True)
                os.replace(_index(beside), _index(target))
            _remove(beside)


def _index(path: Path) -> Path:
    return path.with_name(path.name + ".index")


def _remove(path: Path) -> None:
    """Remove a memory and all that stands beside it."""
    shutil.rmtree(_index(path), ignore_errors=True)
    with suppress(OSError):
        path.unlink(missing_ok=True)
