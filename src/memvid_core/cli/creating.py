"""Creating a memory at a path, or replacing the existing one, completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memvid_core.cli.options import WAIT

if TYPE_CHECKING:
    from memvid_core import Memory

__all__ = ["new_memory"]


@contextmanager
def new_memory(target: Path, *, force: bool = False, whole: bool = False, **settings: Any) -> Iterator[Memory]:
    """Create a memory for the duration of a ``with`` block.

    If the path is free, the memory is written in place, so every commit is durable as it is made. If a memory exists
    and ``force`` is set, the new one is written next to it and replaces it at the end of the block; if the block fails,
    the old one is unchanged. A memory without a commit leaves no file.

    Args:
        target: The path.
        force: Replace the existing memory. A file that is not a memory is never replaced.
        whole: Leave no file if the block fails or is stopped: it would look like a complete memory,
            and no command continues it.
        settings: Arguments of `Memory.create`.

    Raises:
        MemoryExistsError: The file exists, and ``force`` is not set.
        NotAMemoryError: ``force`` is set, and the file is not a memory.
        LockedError: Another process is writing to the existing memory.
    """
    from memvid_core import MemoryExistsError

    if not os.path.lexists(target):
        with _growing(target, settings, whole) as memory:
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
def _growing(path: Path, settings: dict[str, Any], whole: bool = False) -> Iterator[Memory]:
    from memvid_core import LockedError, Memory, MemoryExistsError
    from memvid_core.rewriting.replaced import remove_memory

    try:
        memory = Memory.create(path, **settings)
    except (LockedError, MemoryExistsError):
        raise  # another process created it first; the file is its own
    except BaseException:
        remove_memory(path)
        raise
    ended, filled = False, True

    def look() -> None:
        nonlocal filled
        filled = bool(memory.history())

    try:
        try:
            yield memory
            ended = True
        finally:
            try:
                _in_spite_of_an_interrupt(look)
            finally:
                _in_spite_of_an_interrupt(memory.close)
    except KeyboardInterrupt as exc:
        exc.args = exc.args or ((f"{path} was not created",) if whole else ())
        raise
    finally:
        if not filled or (whole and not ended):
            _in_spite_of_an_interrupt(lambda: remove_memory(path))


def _in_spite_of_an_interrupt(call: Callable[[], None]) -> None:
    """Call a function, and once more if an interrupt cut it, before the interrupt goes on."""
    try:
        call()
    except KeyboardInterrupt:
        call()
        raise


@contextmanager
def _replacing(target: Path, settings: dict[str, Any]) -> Iterator[Memory]:
    from memvid_core import NotAMemoryError
    from memvid_core.rewriting.replaced import memory_id_of, replacing_memory

    try:
        memory_id_of(target)
    except NotAMemoryError as exc:
        raise NotAMemoryError(
            f"{target} is not a memory, and --force replaces only memories; give another name"
        ) from exc
    with replacing_memory(target, settings.get("timeout", WAIT)) as path, _growing(path, settings) as memory:
        yield memory
