"""Catalog: the contents of a memory and their locations, in SQLite. It is derived from the journal and disposable.

Every row has a checksum and every commit has totals, so that changed or lost rows are detected.
"""

from __future__ import annotations

from memvid_core.catalog.damage import DamageTable
from memvid_core.catalog.records import Changes
from memvid_core.catalog.rows import CommitRow, DamageRow, RecordRow
from memvid_core.catalog.run import CommitContents, RunTable
from memvid_core.model import FrameLocation

__all__ = ["Catalog", "Changes", "CommitContents", "CommitRow", "DamageRow", "RecordRow"]


class Catalog(RunTable, DamageTable):
    """The tables of one memory: records, frames, commits, models, damage, and the state of the index.

    One connection writes and another reads, each behind a lock, so that searches continue while a commit is applied.

    Args:
        path: The database; None keeps it in RAM.

    Raises:
        IndexStaleError: If the file is damaged or not a catalog of this version; delete and rebuild it. All methods
            raise it if they read damaged data.
    """

    def known(self) -> tuple[list[FrameLocation], list[tuple[int, int]]]:
        """Return every frame location, and (commit, row) of every deleted row, without damaged entries."""
        with self.snapshot():
            return self.whole_frames(), self.whole_deletions()
