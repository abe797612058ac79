"""Copies of torn tails in the folder of a memory: deleted once the memory has all their readable records."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import MemvidError
from memvid_core.journal import Row, rows_in, torn_copies
from memvid_core.model import Record

__all__ = ["copies_beside", "drop_needless"]


def copies_beside(indexed: IndexedJournal) -> list[Path]:
    """Return the copies of torn tails in the folder of a memory, oldest first."""
    path = indexed.journal.video.target
    return torn_copies(path) if isinstance(path, Path) else []


def drop_needless(indexed: IndexedJournal, snapshot: Snapshot) -> None:
    """Delete the copies if all their records are live and unchanged; keep a copy that cannot be read."""
    for path in copies_beside(indexed):
        rows = rows_in(path)
        if rows is not None and _all_live(snapshot, rows):
            with suppress(OSError):
                path.unlink()


def _all_live(snapshot: Snapshot, rows: list[Row]) -> bool:
    live = snapshot.epoch.index.catalog.live_rows([row[0] for row in rows], snapshot.commit)
    try:
        return all(row[0] in live and snapshot.epoch.record(live[row[0]]) == Record(*row) for row in rows)
    except MemvidError:
        return False
