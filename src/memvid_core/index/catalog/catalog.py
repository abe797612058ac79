"""Catalog: what a memory holds and where, in SQLite; derived from the journal, and disposable.

Every row has a checksum, and every commit the totals up to it, so that rows that were changed or lost are told.
"""

from __future__ import annotations

from memvid_core.index.catalog.damage import DamageTable
from memvid_core.index.catalog.records import Changes
from memvid_core.index.catalog.rows import CommitRow, DamageRow, RecordRow
from memvid_core.index.catalog.run import CommitContents, RunTable
from memvid_core.model import FrameLocation

__all__ = ["Catalog", "Changes", "CommitContents", "CommitRow", "DamageRow", "RecordRow"]


class Catalog(RunTable, DamageTable):
    """The tables of one memory: records, frames, commits, models, and the state that says how far they reach.

    One connection writes and another reads, each behind a lock, so that searches go on while a commit is taken in.

    Args:
        path: The database; None keeps it in RAM.

    Raises:
        IndexStaleError: The file is no catalog of this version, or damaged; the caller deletes it and builds anew. All
            methods raise it when what they read is not what was written.
    """

    def known(self) -> tuple[list[FrameLocation], list[tuple[int, int]]]:
        """Every place of a frame with rows, and every deleted row with its commit; damaged ones are left out."""
        with self.snapshot():
            return self.whole_frames(), self.whole_deletions()
