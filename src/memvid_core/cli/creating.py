"""Creating a memory at a path, or replacing the existing one, completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memvid_core.cli.options import WAIT
from memvid_core.cli.output import count, note

if TYPE_CHECKING:
    from memvid_core import Memory, MemoryExistsError

__all__ = ["new_memory"]


@contextmanager
def new_memory(
    target: Path, *, force: bool = False, whole: bool = False, task: str = "", **settings: Any
) -> Iterator[Memory]:
    """Create a memory for the duration of a ``with`` block.

    If the path is free, the memory is written in place, so every commit is durable as it is made. If a memory exists
    and ``force`` is set, the new one is written next to it and replaces it at the end of the block; if the block fails,
    the old one is unchanged. A memory without a commit leaves no file.

    Args:
        target: The path.
        force: Replace the existing memory. A file that is not a memory is never replaced.
        whole: Put the memory at the path at the end of the block, and leave nothing if the block fails, is stopped or
            is killed: a part would look like a complete memory, and no command continues it.
        task: What the block does. If a process was killed in the same task, its memory is opened and continued.
        settings: Arguments of `Memory.create`.

    Raises:
        MemoryExistsError: The file exists, and ``force`` is not set.
        NotAMemoryError: ``force`` is set, and the file is not a memory.
        LockedError: Another process is writing to the existing memory.
    """
    if os.path.lexists(target) and force:
        place = _replacing(target, settings, whole)
    elif task and not whole:
        place = _continued(target, task, settings)
    elif os.path.lexists(target):
        raise _taken(target)
    else:
        place = _at_the_end(target, settings) if whole else _growing(target, settings)
    with place as memory:
        yield memory


def _taken(target: Path) -> MemoryExistsError:
    from memvid_core import MemoryExistsError
    from memvid_core.system.atomic_files import remove_left

    remove_left(target)  # a process may have been killed at the very end
    return MemoryExistsError(
        f"{target} exists; replace it with --force, or add to it with: memvid add {target} PATHS"
        if target.is_file()
        else f"{target} is not a regular file and cannot be replaced; give another name"
    )


@contextmanager
def _continued(target: Path, task: str, settings: dict[str, Any]) -> Iterator[Memory]:
    """Create a memory, or open the one that a process left which was killed in the same task."""
    from memvid_core import Memory
    from memvid_core.rewriting.replaced import memory_id_of, remove_memory
    from memvid_core.system.unfinished import being_made, was_left

    what = task.encode("utf-8", "surrogateescape")
    if os.path.lexists(target) and not was_left(target, what):
        raise _taken(target)
    with being_made(target, what) as mark:
        if os.path.lexists(target):
            if not mark.left or mark.noted not in (b"", memory_id_of(target)):
                raise _taken(target)  # it is finished, or another memory has taken its place
            with Memory.open(target, embedder="given") as found:
                commits, records = len(found.history()), len(found)
            if commits and not mark.noted:
                raise _taken(target)
            if commits:
                note(f"{target} has {count(records, 'record')} of a run that was killed; continuing it")
                shared = {name: settings[name] for name in ("embedder", "index", "metric", "timeout")}
                with Memory.open(target, "a", **shared) as memory:
                    yield memory
                return
            remove_memory(target)
        with _growing(target, settings) as memory:
            mark.note(memory_id_of(target))
            yield memory


@contextmanager
def _at_the_end(target: Path, settings: dict[str, Any]) -> Iterator[Memory]:
    """Write a memory under another name, which a later run deletes if this one is killed, and rename it at the end."""
    from memvid_core.rewriting.replaced import move_index
    from memvid_core.system.atomic_files import appearing

    try:
        with appearing(target) as made:
            with _growing(made, settings, whole=True) as memory:
                yield memory
            if made.exists() and not os.path.lexists(target):  # otherwise the index there is another memory's
                move_index(made, target)
    except KeyboardInterrupt as exc:
        exc.args = (f"{target} was not created",)
        raise


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
def _replacing(target: Path, settings: dict[str, Any], whole: bool) -> Iterator[Memory]:
    from memvid_core import NotAMemoryError
    from memvid_core.rewriting.replaced import memory_id_of, replacing_memory

    try:
        memory_id_of(target)
    except NotAMemoryError as exc:
        raise NotAMemoryError(
            f"{target} is not a memory, and --force replaces only memories; give another name"
        ) from exc
    try:
        with replacing_memory(target, settings.get("timeout", WAIT)) as path, _growing(path, settings, whole) as memory:
            yield memory
    except KeyboardInterrupt as exc:
        exc.args = (f"{target} was not replaced",) if whole else exc.args
        raise
