"""Committing: append to the journal, then to the index, while holding the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, repeat
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine.index_folder import Vectors
from memvid_core.engine.indexing import Indexer, change_of
from memvid_core.engine.snapshot import Epoch
from memvid_core.errors import IndexStaleError
from memvid_core.journal import Batch, Cursor, Entry
from memvid_core.system.shared_work import run_together

__all__ = ["NewRecords", "commit"]

_STAGED_ROWS: Final = 4096  # commits from this size on index their vectors while they are written


class NewRecords(NamedTuple):
    """New records in the form of the indexes: ids, metadata as JSON, and texts."""

    ids: Sequence[str]
    metadata: Sequence[str | None]
    texts: Sequence[str]


def commit(epoch: Epoch, indexer: Indexer, new: NewRecords, batch: Batch, unstored: NDArray[Any] | None) -> Entry:
    """Append one commit, durable on return, and add it to the index.

    Args:
        epoch: The file and its index, which has every commit of the file.
        indexer: Adds commits to the index.
        new: The records of the batch's rows.
        batch: The content of the commit.
        unstored: Vectors (n, d) for the index, if the journal stores none.
    """
    before = epoch.journal.cursor
    placed: Vectors = batch.placed(before.row)
    if unstored is not None and batch.vector_places is not None:
        placed = [(batch.vector_places + before.row, unstored)]
    index = epoch.index
    if not placed or len(new.ids) < _STAGED_ROWS or index.folder is None:  # in RAM, one thread has the only connection
        entry = epoch.journal.append(batch)
        with index.transaction():
            _apply(epoch, indexer, entry, before, new, batch, placed, staged=False)
        index.words.keep(before.row, new.texts)
        return entry
    # A large commit: its vectors are indexed while the journal compresses, writes and waits for the disk. If the
    # journal fails, the vectors are after the last row that counts, and the next commit overwrites them.
    both: tuple[Callable[[], Any], ...] = (
        partial(epoch.journal.append, batch),
        partial(index.stage_vectors, before.row, before.row + len(new.ids), placed),
    )
    with index.transaction():
        entry = cast(Entry, run_together(both)[0])
        _apply(epoch, indexer, entry, before, new, batch, placed, staged=True)
    return entry


def _apply(
    epoch: Epoch,
    indexer: Indexer,
    entry: Entry,
    before: Cursor,
    new: NewRecords,
    batch: Batch,
    placed: Vectors,
    *,
    staged: bool,
) -> None:
    """Add the commit to the index; call it inside a transaction."""
    if (indexer.cursor() or epoch.journal.start) != before:
        raise IndexStaleError("the index does not end where this commit begins")
    dense = np.zeros(len(new.ids), np.bool_)
    if batch.vector_places is not None:
        dense[batch.vector_places] = True
    rows = zip(count(before.row), new.ids, repeat(entry.number), dense.tolist(), new.metadata, strict=False)
    epoch.index.apply(change_of(entry, before.row, rows, placed)._replace(staged=staged))
