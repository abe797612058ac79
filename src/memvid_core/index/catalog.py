"""Catalog: what a memory holds and where, in SQLite; derived from the journal, and disposable."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.index import wal
from memvid_core.index.filters import register_functions
from memvid_core.model import Damage

__all__ = ["Catalog", "CommitRow", "FrameRow", "RecordRow"]

SCHEMA_VERSION = 2
_BUSY_SECONDS = 60.0  # another process may be rebuilding

_SCHEMA = """
CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE records (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, born INTEGER NOT NULL, died INTEGER, dense INTEGER NOT NULL,
    metadata TEXT
);
CREATE INDEX records_id ON records (id);
CREATE INDEX records_died ON records (died, row) WHERE died IS NOT NULL;
CREATE INDEX records_sparse ON records (row) WHERE dense = 0;
CREATE TABLE frames (
    frame INTEGER PRIMARY KEY, offset INTEGER NOT NULL, size INTEGER NOT NULL, kind INTEGER NOT NULL,
    row INTEGER NOT NULL, items INTEGER NOT NULL
);
CREATE INDEX frames_row ON frames (kind, row) WHERE items > 0;
CREATE TABLE commits (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, rows INTEGER NOT NULL, added INTEGER NOT NULL,
    deleted INTEGER NOT NULL, frames INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE models (number INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE damage (
    kind TEXT NOT NULL, frame INTEGER, number INTEGER, records INTEGER NOT NULL, vectors INTEGER NOT NULL,
    deletions INTEGER NOT NULL, reason TEXT NOT NULL
);
"""


RecordRow = tuple[int, str, int, bool, str | None]
"""A record as the catalog keeps it: row, id, the commit it came with, whether it has a vector, metadata as JSON."""


class FrameRow(NamedTuple):
    """A frame of records or vectors: number, place, kind, first row, and how many items (0: a continuation)."""

    frame: int
    offset: int
    size: int
    kind: int
    row: int
    items: int


class CommitRow(NamedTuple):
    """A commit: number, time in microseconds since 1970, rows after it, and what it did."""

    number: int
    time: int
    rows: int
    added: int
    deleted: int
    frames: int
    bytes: int


class Catalog:
    """The tables of one memory: records, frames, commits, models, and the state that says how far they reach.

    One connection writes and another reads, each behind a lock, so that searches go on while a commit is taken in.

    Args:
        path: The database; None keeps it in RAM.

    Raises:
        sqlite3.DatabaseError: The file is no database of this version; the caller deletes it and builds anew.
    """

    def __init__(self, path: Path | None) -> None:
        self._write_lock = threading.RLock()
        self._inside = False  # a transaction
        self._writer = self._reader = _connect(path)
        self._read_lock = self._write_lock
        try:
            if path is not None:
                wal.turn_on(self._writer, _BUSY_SECONDS)
                # In WAL mode this costs no fsync a commit, and a power cut leaves an old catalog, never a broken one.
                self._writer.execute("PRAGMA synchronous = NORMAL")
                self._reader, self._read_lock = _connect(path), threading.RLock()
            self._check_version()
        except BaseException:  # a broken file is deleted next, which Windows refuses while it is open
            self.close()
            raise

    def _check_version(self) -> None:
        with self.transaction():
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._writer.execute(statement)
                self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"catalog version {version}, expected {SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, one process at a time."""
        with self._write_lock:
            if self._inside:
                yield self._writer
                return
            try:  # around BEGIN too: a transaction that an interrupt left open would swallow all that come after
                self._inside = True
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._inside = False
                self._writer.execute("COMMIT")
            except BaseException:
                self._inside = False
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection for queries."""
        with self._read_lock:
            yield self._reader

    # --- state ---

    def state(self, key: str) -> bytes | None:
        """The value under ``key``."""
        with self.reading() as connection:
            found = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
            return None if found is None else bytes(found[0])

    def set_state(self, key: str, value: bytes | None) -> None:
        """Put ``value`` under ``key``, or take it away; call it inside a transaction."""
        if value is None:
            self._writer.execute("DELETE FROM state WHERE key = ?", (key,))
        else:
            self._writer.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))

    # --- taking a commit in; call these inside a transaction ---

    def add_records(self, records: Iterable[RecordRow]) -> None:
        """Take new records."""
        self._writer.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, NULL, ?, ?)", records)

    def add_frames(self, frames: Iterable[FrameRow]) -> None:
        """Take the places of frames with records or vectors."""
        self._writer.executemany("INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?, ?, ?)", frames)

    def add_commit(self, commit: CommitRow) -> None:
        """Take a commit's numbers."""
        self._writer.execute("INSERT OR REPLACE INTO commits VALUES (?, ?, ?, ?, ?, ?, ?)", commit)

    def add_model(self, number: int, data: bytes) -> None:
        """Take what an embedder learned, in force from commit ``number``."""
        self._writer.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (number, data))

    def bury(self, rows: Sequence[int], number: int) -> None:
        """Mark rows as deleted by commit ``number``."""
        self._writer.executemany(
            "UPDATE records SET died = ? WHERE row = ? AND died IS NULL", ((number, row) for row in rows)
        )

    def add_damage(self, kind: str, damage: Iterable[Damage]) -> None:
        """Take what is wrong in the file.

        Args:
            kind: ``"commit"``, ``"head"``, ``"end"`` (behind the last commit) or ``"missing"`` (no longer in the file).
            damage: What is wrong.
        """
        self._writer.executemany(
            "INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((kind, d.frame, d.commit, d.records, d.vectors, d.deletions, d.reason) for d in damage),
        )

    def clear_damage(self, kind: str) -> None:
        """Forget the damage of a kind: it is looked for again."""
        self._writer.execute("DELETE FROM damage WHERE kind = ?", (kind,))

    # --- questions ---

    def damage(self, kind: str | None = None) -> list[Damage]:
        """Return what is wrong in the file, of one kind or all."""
        with self.reading() as connection:
            found = connection.execute(
                "SELECT frame, number, records, reason, vectors, deletions FROM damage "
                "WHERE ? IN (kind, '') ORDER BY rowid",
                (kind or "",),
            ).fetchall()
        return [Damage(*row) for row in found]

    def live_rows(self, ids: Sequence[str], commit: int) -> dict[str, int]:
        """The row of each id that is live after ``commit``."""
        found: dict[str, int] = {}
        if not all(map(str.isascii, ids)):  # no record has an id that is not valid Unicode, and SQLite takes none
            ids = [record_id for record_id in ids if record_id.encode(errors="ignore").decode() == record_id]
        with self.reading() as connection:
            for start in range(0, len(ids), 500):
                part = ids[start : start + 500]
                marks = ",".join("?" * len(part))
                found.update(
                    connection.execute(
                        f"SELECT id, row FROM records WHERE id IN ({marks}) "
                        "AND born <= ? AND (died IS NULL OR died > ?)",
                        (*part, commit, commit),
                    )
                )
        return found

    def ids(self, rows: Sequence[int]) -> dict[int, str]:
        """The id of each row."""
        with self.reading() as connection:
            found: dict[int, str] = {}
            for start in range(0, len(rows), 500):
                part = [int(row) for row in rows[start : start + 500]]
                marks = ",".join("?" * len(part))
                found.update(connection.execute(f"SELECT row, id FROM records WHERE row IN ({marks})", part))
            return found

    def frames_after(self, kind: int, row: int) -> list[tuple[int, ...]]:
        """The frames of a kind whose first row is beyond ``row``, in the order of their rows."""
        with self.reading() as connection:
            return connection.execute(
                "SELECT * FROM frames WHERE items > 0 AND kind = ? AND row > ? ORDER BY row", (kind, row)
            ).fetchall()

    def frame(self, number: int) -> FrameRow | None:
        """The frame of records or vectors with that number."""
        with self.reading() as connection:
            found = connection.execute("SELECT * FROM frames WHERE frame = ?", (number,)).fetchone()
        return None if found is None else FrameRow(*found)

    def dead(self, rows: int, after: int, upto: int) -> NDArray[np.int64]:
        """Rows below ``rows`` that a commit in (``after``, ``upto``] deleted."""
        return self._rows("SELECT row FROM records WHERE died > ? AND died <= ? AND row < ?", (after, upto, rows))

    def without_vector(self, start: int, stop: int) -> NDArray[np.int64]:
        """Rows in [``start``, ``stop``) that have no vector."""
        return self._rows("SELECT row FROM records WHERE dense = 0 AND row >= ? AND row < ?", (start, stop))

    def missing(self, start: int, stop: int) -> NDArray[np.int64]:
        """Rows in [``start``, ``stop``) that a damaged frame took away."""
        with self.reading() as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM records WHERE row >= ? AND row < ?", (start, stop)
            ).fetchone()
        if count == stop - start:
            return np.empty(0, np.int64)
        there = self._rows("SELECT row FROM records WHERE row >= ? AND row < ?", (start, stop))
        return np.setdiff1d(np.arange(start, stop, dtype=np.int64), there, assume_unique=True)

    def _rows(self, sql: str, parameters: tuple[int, ...]) -> NDArray[np.int64]:
        with self.reading() as connection:
            return np.array([row for (row,) in connection.execute(sql, parameters)], np.int64)

    def commits(self) -> list[CommitRow]:
        """Every commit, oldest first."""
        with self.reading() as connection:
            return [CommitRow(*found) for found in connection.execute("SELECT * FROM commits ORDER BY number")]

    def commit(self, number: int) -> CommitRow | None:
        """The last commit whose number is at most ``number``."""
        return self._one_commit("number <= ? ORDER BY number DESC", number)

    def commit_at(self, time: int) -> CommitRow | None:
        """The last commit at or before ``time`` (microseconds since 1970)."""
        return self._one_commit("time <= ? ORDER BY number DESC", time)

    def _one_commit(self, condition: str, value: int) -> CommitRow | None:
        with self.reading() as connection:
            found = connection.execute(f"SELECT * FROM commits WHERE {condition} LIMIT 1", (value,)).fetchone()
        return None if found is None else CommitRow(*found)

    def model_number(self, commit: int) -> int | None:
        """Return the commit that brought what the embedder knew as of ``commit``, or None if it had learned nothing."""
        with self.reading() as connection:
            (number,) = connection.execute("SELECT max(number) FROM models WHERE number <= ?", (commit,)).fetchone()
        return None if number is None else int(number)

    def model_data(self, number: int) -> bytes | None:
        """Return the model that commit ``number`` brought."""
        with self.reading() as connection:
            found = connection.execute("SELECT data FROM models WHERE number = ?", (number,)).fetchone()
        return None if found is None else bytes(found[0])

    def close(self) -> None:
        """Close the connections."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            if self._reader is not self._writer:
                self._reader.close()


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        ":memory:" if path is None else path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    register_functions(connection)
    return connection
