"""Replacing the file of a memory after a compaction: building the next index, the swap, and deleting leftovers."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from memvid_core.engine.current_state import CurrentState
from memvid_core.engine.index_updater import IndexUpdater
from memvid_core.engine.indexing import Indexer
from memvid_core.engine.snapshot import Epoch
from memvid_core.errors import ReadOnlyError, StorageError
from memvid_core.journal import Journal
from memvid_core.system.atomic_files import remove_left
from memvid_core.system.folders import sync_folder

__all__ = ["begin_epoch", "delete_leftovers", "swap"]


def begin_epoch(current: CurrentState, made: Journal, key: str) -> tuple[Epoch, Indexer]:
    """Begin the index of a file that no other process knows yet, in a folder that no other process uses.

    Args:
        current: The memory.
        made: The file with the next epoch of the memory.
        key: The name of the compaction.
    """
    epoch = Epoch(made, current.place.building(made, key), current.cache_bytes)
    return epoch, Indexer(epoch, current.embedder, current.show_progress)


def swap(current: CurrentState, updater: IndexUpdater, built: Epoch) -> None:
    """Replace the file of the memory, and continue with the new one; the lock is held.

    Args:
        current: The memory.
        updater: Updates the index afterwards.
        built: The next epoch, made by :func:`begin_epoch`; its file has a temporary name in the memory's folder, or is
            in RAM.

    Raises:
        StorageError: The system refuses, as Windows does while another process reads. The old file is still there.
        ReadOnlyError: The file may be written, but not replaced; it is still there.
    """
    path, made = current.journal.video.target, built.journal
    index = current.place.settle(built.index, made)
    epoch = built if index is built.index else Epoch(built.hand_on(), index, current.cache_bytes)
    if isinstance(path, Path) and isinstance(made.video.target, Path):
        try:
            _swap_files(current, made, path, made.video.target)
        except (StorageError, ReadOnlyError):
            index.discard()
            updater.catch_up()  # on Windows the old file was opened again
            raise
    with current.lock:
        current.use(made, index, epoch)
        updater.catch_up()
        delete_leftovers(current)


def _swap_files(current: CurrentState, made: Journal, path: Path, new: Path) -> None:
    """Rename ``new`` to ``path`` while holding the lock on both."""
    current.seen = None  # after an interrupt from here on, the next call looks which file is there
    lock = current.turn.lock
    if os.name == "nt":  # Windows cannot replace an open file
        lock.keep_others_waiting()
        made.close()
        current.journal.close()
    try:
        os.replace(new, path)
    except OSError as exc:
        new.unlink(missing_ok=True)
        if os.name == "nt":
            journal = Journal.open(path, current.mode)
            if journal.video.descriptor is not None:
                lock.take_again(journal.video.descriptor)
            current.go_on_with(journal)
        # In a folder with the sticky bit, each may replace only his own files.
        if os.name != "nt" and exc.errno in (errno.EPERM, errno.EACCES):
            raise ReadOnlyError(f"{path}: no permission to replace it, as compaction does: its owner can") from exc
        raise StorageError(f"cannot swap the compacted file in ({exc}); close other readers and try again") from exc
    made.video.renamed(path)
    if os.name == "nt":
        made.video.reopen()
    if made.video.descriptor is not None:
        (lock.take_again if os.name == "nt" else lock.moved)(made.video.descriptor)
    with suppress(OSError):  # the swap is done; a power cut can only undo it
        sync_folder(path.parent)


def delete_leftovers(current: CurrentState) -> None:
    """Delete the files and indexes of earlier epochs and of compactions that were killed; the lock is held."""
    if current.path is not None:
        remove_left(current.path)
    current.place.sweep(current.journal.header)
