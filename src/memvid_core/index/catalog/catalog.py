"""Catalog: what a memory holds and where, in SQLite; derived from the journal, and disposable.

Every row has a checksum, and every commit the totals up to it, so that rows that were changed or lost are told.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.index import wal
from memvid_core.index.catalog.rows import (
    HASH_MASK,
    CommitContents,
    CommitRow,
    DamageRow,
    LiveRow,
    RecordRow,
    Totals,
    id_hash,
    metadata_sum,
    record_sum,
    row_sum,
)
from memvid_core.index.catalog.run import Run
from memvid_core.index.database import assert_schema, checked, create_tables, harden, refuse_links, roll_back, whole
from memvid_core.index.filters.compiler import register_functions
from memvid_core.index.stale import IndexStaleError
from memvid_core.model import FrameLocation

__all__ = ["Catalog", "Changes", "CommitContents", "CommitRow", "DamageRow", "RecordRow"]

SCHEMA_VERSION: Final = 2
_BUSY_SECONDS: Final = 60.0  # another process may be rebuilding
_AT_ONCE: Final = 500  # parameters of one statement
_CHECKED_ROWS: Final = 16_384  # whose metadata is verified at a time
_NAME: Final = "the catalog of the index"
_KEYS: Final = ""  # under it the state keeps the names of its keys
_MAY_BE_LOST: Final = frozenset({"boot", "synced"})  # without them less is trusted

_SCHEMA: Final = """
CREATE TABLE state (key TEXT PRIMARY KEY, value, sum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, born INTEGER NOT NULL, died INTEGER, dense INTEGER NOT NULL,
    hash INTEGER NOT NULL, sum INTEGER NOT NULL, metadata_sum INTEGER NOT NULL, metadata TEXT
);
CREATE INDEX records_hash ON records (hash);
CREATE INDEX records_died ON records (died, row) WHERE died IS NOT NULL;
CREATE INDEX records_sparse ON records (row) WHERE dense = 0;
CREATE TABLE frames (
    frame INTEGER PRIMARY KEY, offset INTEGER NOT NULL, size INTEGER NOT NULL, kind INTEGER NOT NULL,
    row INTEGER NOT NULL, items INTEGER NOT NULL, sum INTEGER NOT NULL
);
CREATE INDEX frames_row ON frames (kind, row) WHERE items > 0;
CREATE TABLE commits (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, rows INTEGER NOT NULL, added INTEGER NOT NULL,
    deleted INTEGER NOT NULL, frames INTEGER NOT NULL, bytes INTEGER NOT NULL, previous INTEGER NOT NULL,
    present INTEGER NOT NULL, hashes INTEGER NOT NULL, sparse INTEGER NOT NULL, sparse_rows INTEGER NOT NULL,
    buried INTEGER NOT NULL, buried_rows INTEGER NOT NULL, sum INTEGER NOT NULL
);
CREATE TABLE models (number INTEGER PRIMARY KEY, data BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE damage (
    item INTEGER PRIMARY KEY, kind TEXT NOT NULL, frame INTEGER, number INTEGER, records INTEGER NOT NULL,
    reason TEXT NOT NULL, vectors INTEGER NOT NULL, deletions INTEGER NOT NULL, sum INTEGER NOT NULL
)"""


class Changes(NamedTuple):
    """What the commits after one and up to another did, all read from one state of the catalog.

    Attributes:
        commit: The last of them; None if there is none.
        missing: Rows that a damaged frame took away.
        sparse: Rows that have no vector.
        dead: Rows that were deleted.
    """

    commit: CommitRow | None
    missing: NDArray[np.int64]
    sparse: NDArray[np.int64]
    dead: NDArray[np.int64]


class _Commit(NamedTuple):
    row: CommitRow
    previous: int
    totals: Totals


_NO_COMMIT: Final = _Commit(CommitRow(-1, 0, 0, 0, 0, 0, 0), -1, Totals())


def _verified(found: Sequence[Any]) -> Sequence[Any]:
    """Return what was read of a row without its last column, the checksum.

    Raises:
        IndexStaleError: It is not what was written.
    """
    if row_sum(*found[:-1]) != found[-1]:
        raise IndexStaleError(f"a row of {_NAME} is damaged")
    return found[:-1]


class Catalog:
    """The tables of one memory: records, frames, commits, models, and the state that says how far they reach.

    One connection writes and another reads, each behind a lock, so that searches go on while a commit is taken in.

    Args:
        path: The database; None keeps it in RAM.

    Raises:
        IndexStaleError: The file is no catalog of this version, or damaged; the caller deletes it and builds anew. All
            methods raise it when what they read is not what was written.
    """

    def __init__(self, path: Path | None) -> None:
        self._write_lock = threading.RLock()
        self._inside: int | None = None  # the thread in a transaction
        self._pinned = False  # whether a snapshot is being read
        self._state: dict[str, bytes] | None = None  # as the transaction leaves it
        self._written: dict[str, bytes] = {}  # as it found it
        self._last: _Commit | None = None  # likewise, with the totals as they are becoming
        self._read: tuple[list[tuple[Any, ...]], dict[str, bytes]] = [], {}  # the state, as it was read last
        self._hashes_verified = False
        self._metadata_verified = 0
        with whole(_NAME):
            self._writer = self._reader = _connect(path)
        self._read_lock = self._write_lock
        try:
            if path is not None:
                with whole(_NAME):
                    wal.turn_on(self._writer, _BUSY_SECONDS)
                    # In WAL mode this costs no fsync a commit; a power cut leaves an old catalog, never a broken one.
                    self._writer.execute("PRAGMA synchronous = NORMAL")
                    self._reader, self._read_lock = _connect(path), threading.RLock()
            self._check_version()
        except BaseException:  # a broken file is deleted next, which Windows refuses while it is open
            self.close()
            raise

    def _check_version(self) -> None:
        with self.transaction():
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if not assert_schema(self._writer, _SCHEMA):
                create_tables(self._writer, _SCHEMA)
                self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"catalog version {version}, expected {SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, one process at a time; what is read in it, is read from its own state."""
        with self._write_lock, whole(_NAME):
            if self._inside is not None:
                yield self._writer
                return
            try:  # around BEGIN too: a transaction that an interrupt left open would swallow all that come after
                self._state = self._last = None
                roll_back(self._writer)
                self._inside = threading.get_ident()
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._write_state()
                self._inside = None
                self._writer.execute("COMMIT")
            except BaseException:
                self._inside = None
                roll_back(self._writer)
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection for queries; in a transaction of this thread, that one."""
        if self._inside == threading.get_ident():
            with whole(_NAME):
                yield self._writer
        else:
            outermost = not self._read_lock._is_owned()  # type: ignore[attr-defined]
            with self._read_lock, whole(_NAME):
                if outermost and (self._pinned or self._reader.in_transaction) and self._reader is not self._writer:
                    self._pinned = False  # what an interrupt left pinned would grow old
                    roll_back(self._reader)
                yield self._reader

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Answer all questions in the block from one state, whatever others commit meanwhile; it can be nested.

        Other threads wait with their questions until the block ends.
        """
        with self.reading() as connection:
            if connection is self._writer or self._pinned:
                yield connection
                return
            try:
                self._pinned = True
                connection.execute("BEGIN")
                connection.execute("SELECT 1 FROM state LIMIT 1").fetchone()  # SQLite looks at the file only now
                yield connection
            finally:
                self._pinned = False
                roll_back(connection)

    # --- state ---

    def state(self, key: str) -> bytes | None:
        """The value under ``key``."""
        return self.states(key)[0]

    def states(self, *keys: str) -> list[bytes | None]:
        """The values under some keys, all from one state."""
        if self._inside == threading.get_ident():
            with checked(_NAME):
                state = self._pending()
        else:
            with self.reading() as connection, checked(_NAME):
                state = self._read_state(connection)
        return [state.get(key) for key in keys]

    def _read_state(self, connection: sqlite3.Connection) -> dict[str, bytes]:
        found = connection.execute("SELECT key, value, sum FROM state").fetchall()  # few rows: so a lost one is told
        known, state = self._read
        if found != known or not found:
            state = _verified_state(found)
            self._read = found, state
        return state

    def _pending(self) -> dict[str, bytes]:
        if self._state is None:
            self._written = self._read_state(self._writer)
            self._state = dict(self._written)
        return self._state

    def set_state(self, key: str, value: bytes | None) -> None:
        """Put ``value`` under ``key``, or take it away; call it inside a transaction."""
        if value is None:
            self._pending().pop(key, None)
        else:
            self._pending()[key] = bytes(value)

    def _write_state(self) -> None:
        """Write what the transaction changed of the state."""
        state = self._state
        if state is None or state == self._written:
            return
        for key in self._written.keys() - state.keys():
            self._writer.execute("DELETE FROM state WHERE key = ?", (key,))
        for key, value in state.items():
            if self._written.get(key) != value:
                self._put(key, value)
        if self._written.keys() != state.keys():
            self._put(_KEYS, _names(state))

    def _put(self, key: str, value: bytes) -> None:
        check = xxhash.xxh32_intdigest(key.encode() + b"\0" + value)
        self._writer.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (key, value, check))

    def _count(self, key: str, number: int) -> None:
        self.set_state(key, str(number).encode())

    def _counted(self, key: str) -> int:
        return int(self.state(key) or 0)

    # --- taking a commit in; call these inside a transaction ---

    def _newest(self) -> _Commit:
        """The last commit; in a transaction with the totals as they are becoming."""
        if self._last is None:
            self._last = self._commit_before(None)
        return self._last

    def _add(self, **added: int) -> None:
        newest = self._newest()
        self._last = newest._replace(totals=newest.totals.plus(**added))

    def add_records(self, records: Iterable[RecordRow]) -> None:
        """Take new records."""
        self._newest()  # before any row is added
        self._writer.executemany(
            "INSERT INTO records VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?)", self._checked_records(records)
        )

    def _checked_records(self, records: Iterable[RecordRow]) -> Iterator[tuple[Any, ...]]:
        present = hashes = sparse = sparse_rows = 0
        for row, record_id, born, dense, metadata in records:
            hashed = id_hash(record_id)
            present += 1
            hashes += hashed
            if not dense:
                sparse += 1
                sparse_rows += row
            check = record_sum(row, record_id, born, None, int(dense))
            yield row, record_id, born, int(dense), hashed, check, metadata_sum(metadata), metadata
        before = self._newest().totals.hashes
        hashes = (before + hashes & HASH_MASK) - before
        self._add(present=present, hashes=hashes, sparse=sparse, sparse_rows=sparse_rows)

    def add_frames(self, frames: Iterable[FrameLocation]) -> None:
        """Take the places of frames with records or vectors."""
        placed = list(frames)
        self._writer.executemany(
            "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?)", ((*frame, row_sum(*frame)) for frame in placed)
        )
        for kind in {frame.kind for frame in placed}:
            added = sum(frame.kind == kind and frame.items > 0 for frame in placed)
            self._count(f"frames {kind}", self._counted(f"frames {kind}") + added)

    def add_commit(self, commit: CommitRow) -> None:
        """Take a commit's numbers, after its records and what it deleted.

        Raises:
            IndexStaleError: It, or a later one, is there already.
        """
        newest = self._newest()
        previous = newest.row.number
        if previous >= commit.number:
            raise IndexStaleError(f"{_NAME} has commit {commit.number} already")
        self._put_commit(_Commit(commit, previous, newest.totals))
        self._count("last_commit", commit.number)

    def _put_commit(self, commit: _Commit) -> None:
        row = (*commit.row, commit.previous, *commit.totals)
        marks = ", ".join("?" * (len(row) + 1))
        self._writer.execute(f"INSERT OR REPLACE INTO commits VALUES ({marks})", (*row, row_sum(*row)))
        self._last = commit

    def add_model(self, number: int, data: bytes) -> None:
        """Take what an embedder learned, in force from commit ``number``."""
        check = xxhash.xxh32_intdigest(data, number & 0xFFFFFFFF)
        self._writer.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (number, data, check))
        self._count("models", self._writer.execute("SELECT count(*) FROM models").fetchone()[0])

    def bury(self, rows: Sequence[int], number: int) -> None:
        """Mark rows as deleted by commit ``number``, which is the last or the one being taken in."""
        for part in _parts(rows):
            found = self._writer.execute(
                f"SELECT row, id, born, dense FROM records WHERE row IN ({_marks(part)}) AND died IS NULL", part
            ).fetchall()
            self._writer.executemany(
                "UPDATE records SET died = ?, sum = ? WHERE row = ?",
                [(number, record_sum(row, name, born, number, dense), row) for row, name, born, dense in found],
            )
            self._add(buried=len(found), buried_rows=sum(row for row, *_ in found))
        newest = self._newest()
        if newest.row.number == number:  # it is there already, with what it had deleted so far
            self._put_commit(newest)

    def bury_replaced(self, start: int, stop: int, number: int) -> None:
        """Mark rows before ``start`` as deleted whose ids the rows in [``start``, ``stop``) have, too.

        For a commit whose deletions cannot be read: there must not be two records of one id.
        """
        found = self._writer.execute(
            "SELECT row FROM records WHERE died IS NULL AND row < ? "
            "AND hash IN (SELECT hash FROM records WHERE row >= ? AND row < ?)",
            (start, start, stop),
        )
        self.bury([row for (row,) in found.fetchall()], number)

    def add_run(self, run: Sequence[CommitContents]) -> None:
        """Take small commits that follow each other, all at once; call it inside a transaction.

        It does what the methods above do for each of them, :meth:`bury_replaced` among them, in few statements.

        Raises:
            IndexStaleError: One of them, or a later one, is there already.
        """
        newest = self._newest()
        taken = Run(newest.row.number, newest.totals, self._live_before(run))
        for contents in run:
            taken.take(contents)
        execute = self._writer.executemany
        execute("UPDATE records SET died = ?, sum = ? WHERE row = ?", taken.deaths())
        execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", taken.births())
        self.add_frames([frame for contents in run for frame in contents.frames])
        marks = ", ".join("?" * len(taken.commits[0]))
        execute(f"INSERT INTO commits VALUES ({marks})", taken.commits)
        last = run[-1].commit
        self._last = _Commit(last, taken.before_last, taken.totals)
        self._count("last_commit", last.number)

    def _live_before(self, run: Sequence[CommitContents]) -> list[LiveRow]:
        """The live rows that a run of commits may delete: those it names, and those with the id of one of its own."""
        first = run[0].first_row
        rows = [row for contents in run for row in contents.tombstones if row < first]
        hashes = [id_hash(record_id) for contents in run for _, record_id, *_ in contents.records]
        found: dict[int, LiveRow] = {}
        for column, values in (("row", rows), ("hash", hashes)):
            for part in _parts(values):
                asked = f"{column} IN ({_marks(part)}) AND died IS NULL"
                rows_found = self._writer.execute(f"SELECT row, id, born, dense, hash FROM records WHERE {asked}", part)
                found.update((row[0], LiveRow(*row)) for row in rows_found)
        return list(found.values())

    def add_damage(self, kind: str, found: Iterable[DamageRow]) -> None:
        """Take what is wrong in the file, so that every open can tell it; call it inside a transaction.

        Args:
            kind: ``"commit"``, ``"head"``, ``"end"`` (behind the last commit) or ``"missing"`` (no longer in the file).
            found: What is wrong.
        """
        (last,) = self._writer.execute("SELECT coalesce(max(item), 0) FROM damage").fetchone()
        for item, damage in enumerate(found, last + 1):
            row = (item, kind, *damage)
            self._writer.execute("INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, row_sum(*row)))
        self._count_damage()

    def clear_damage(self, kind: str) -> None:
        """Forget the damage of a kind, which is looked for again; call it inside a transaction."""
        self._writer.execute("DELETE FROM damage WHERE kind = ?", (kind,))
        self._count_damage()

    def _count_damage(self) -> None:
        self._count("damage", self._writer.execute("SELECT count(*) FROM damage").fetchone()[0])

    # --- questions ---

    def damage(self, kind: str | None = None) -> list[DamageRow]:
        """Return what is wrong in the file, of one kind or all, in the order noted."""
        with self.snapshot() as connection, checked(_NAME):
            found = [_verified(row) for row in connection.execute("SELECT * FROM damage ORDER BY item")]
            if len(found) != self._counted("damage"):
                raise IndexStaleError(f"{_NAME} has lost what it knew of damage")
            return [DamageRow(*values) for _, of_kind, *values in found if kind in (None, of_kind)]

    def live_rows(self, ids: Sequence[str], commit: int) -> dict[str, int]:
        """The row of each id that is live after ``commit``."""
        return {
            record_id: row
            for row, record_id, born, died, _ in self._of_ids(ids)
            if born <= commit and (died is None or died > commit)
        }

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Every row that has one of some ids, deleted ones too, ascending."""
        return np.array(sorted(row for row, *_ in self._of_ids(ids)), np.int64)

    def _of_ids(self, ids: Sequence[str]) -> list[tuple[int, str, int, int | None, int]]:
        """What the records table has of every row of some ids, but for the metadata."""
        if not all(map(str.isascii, ids)):  # no record has an id that is not valid Unicode
            ids = [record_id for record_id in ids if record_id.encode(errors="ignore").decode() == record_id]
        wanted = dict.fromkeys(ids)
        found: list[tuple[int, str, int, int | None, int]] = []
        with self.reading() as connection, checked(_NAME):
            for part in _parts([id_hash(record_id) for record_id in wanted]):
                sql = f"SELECT row, id, born, died, dense, sum FROM records WHERE hash IN ({_marks(part)})"
                found += [_record(row) for row in connection.execute(sql, part)]
            if not all(record_id in wanted for _, record_id, *_ in found):
                raise IndexStaleError(f"the ids in {_NAME} are damaged")
            if len(wanted) > len({record_id for _, record_id, *_ in found}):
                self._verify_hashes(connection)
        return found

    def _verify_hashes(self, connection: sqlite3.Connection) -> None:
        """Check once that the index on the hashes has all in order, so that an id that is not found is not there."""
        if self._hashes_verified or connection is self._writer:
            return
        with self.snapshot():
            totals = self._commit_before(None).totals
            found = connection.execute("SELECT hash FROM records INDEXED BY records_hash ORDER BY hash")
            hashes = np.fromiter((number for (number,) in found), np.uint64)
        ascending = bool((hashes[1:] >= hashes[:-1]).all())
        if not ascending or len(hashes) != totals.present or int(hashes.sum()) & HASH_MASK != totals.hashes:
            raise IndexStaleError(f"the ids in {_NAME} are damaged")
        self._hashes_verified = True

    def ids(self, rows: Sequence[int]) -> dict[int, str]:
        """The id of each row, all of which must be there."""
        found: dict[int, str] = {}
        with self.reading() as connection, checked(_NAME):
            for part in _parts([int(row) for row in rows]):
                sql = f"SELECT row, id, born, died, dense, sum FROM records WHERE row IN ({_marks(part)})"
                for row, record_id, born, died, dense, check in connection.execute(sql, part):
                    if record_sum(row, record_id, born, died, dense) != check:
                        raise IndexStaleError(f"row {row} of {_NAME} is damaged")
                    found[row] = record_id
            if len(found) < len(rows) and not all(row in found for row in rows):
                raise IndexStaleError(f"{_NAME} has lost rows")
        return found

    def verify_metadata(self, stop: int) -> None:
        """Check the metadata of the rows below ``stop``, each once; call it before a filter or an order reads them."""
        with self.reading() as connection, checked(_NAME):
            while (first := self._metadata_verified) < stop:
                last = min(stop, first + _CHECKED_ROWS)
                for text, check in connection.execute(
                    "SELECT metadata, metadata_sum FROM records NOT INDEXED WHERE row >= ? AND row < ?", (first, last)
                ):
                    if metadata_sum(text) != check:
                        raise IndexStaleError(f"the metadata in {_NAME} is damaged")
                self._metadata_verified = last

    def frames_after(self, kind: int, row: int) -> list[FrameLocation]:
        """The frames of a kind whose first row is beyond ``row``, in the order of their rows."""
        with self.snapshot() as connection, checked(_NAME):
            sql = "SELECT * FROM frames WHERE items > 0 AND kind = ? AND row > ? ORDER BY row"
            found = [FrameLocation(*_verified(frame)) for frame in connection.execute(sql, (kind, row))]
            if row < 0 and len(found) != self._counted(f"frames {kind}"):
                raise IndexStaleError(f"{_NAME} has lost frames")
            return found

    def frame(self, number: int) -> FrameLocation | None:
        """The frame of records or vectors with that number."""
        with self.reading() as connection, checked(_NAME):
            found = connection.execute("SELECT * FROM frames WHERE frame = ?", (number,)).fetchone()
            return None if found is None else FrameLocation(*_verified(found))

    def changes(self, after: int, upto: int) -> Changes:
        """Tell what the commits beyond ``after`` and up to ``upto`` did, from one state of the catalog.

        Args:
            after: A commit's number; -1 for all from the beginning.
            upto: A commit's number.

        Raises:
            IndexStaleError: Rows are not as the commits say.
        """
        with self.snapshot(), checked(_NAME):
            before, last = self._commit_before(after), self._commit_before(upto)
            start, stop = before.row.rows, last.row.rows
            missing = self.missing(start, stop)
            sparse = self.without_vector(start, stop)
            dead = self.dead(stop, after, upto)
            there = Totals(
                stop - start - len(missing),
                last.totals.hashes - before.totals.hashes,
                len(sparse),
                int(sparse.sum()),
                len(dead),
                int(dead.sum()),
            )
            if before.totals.plus(**there._asdict()) != last.totals:
                raise IndexStaleError(f"{_NAME} has other rows than its commits added and deleted")
            return Changes(last.row if last is not _NO_COMMIT else None, missing, sparse, dead)

    def dead(self, rows: int, after: int, upto: int) -> NDArray[np.int64]:
        """Rows below ``rows`` that a commit in (``after``, ``upto``] deleted."""
        return self._rows("SELECT row FROM records WHERE died > ? AND died <= ? AND row < ?", (after, upto, rows))

    def without_vector(self, start: int, stop: int) -> NDArray[np.int64]:
        """Rows in [``start``, ``stop``) that have no vector."""
        return self._rows("SELECT row FROM records WHERE dense = 0 AND row >= ? AND row < ?", (start, stop))

    def missing(self, start: int, stop: int) -> NDArray[np.int64]:
        """Rows in [``start``, ``stop``) that a damaged frame took away."""
        with self.snapshot() as connection, checked(_NAME):
            (count,) = connection.execute(
                "SELECT count(*) FROM records WHERE row >= ? AND row < ?", (start, stop)
            ).fetchone()
            if count == stop - start:
                return np.empty(0, np.int64)
            there = self._rows("SELECT row FROM records WHERE row >= ? AND row < ?", (start, stop))
        return np.setdiff1d(np.arange(start, stop, dtype=np.int64), there, assume_unique=True)

    def _rows(self, sql: str, parameters: tuple[int, ...]) -> NDArray[np.int64]:
        with self.reading() as connection, checked(_NAME):
            return np.array([row for (row,) in connection.execute(sql, parameters)], np.int64)

    def commits(self) -> list[CommitRow]:
        """Every commit, oldest first."""
        with self.snapshot() as connection, checked(_NAME):
            found = [_commit(row) for row in connection.execute("SELECT * FROM commits ORDER BY number")]
            numbers = [-1, *(commit.row.number for commit in found)]
            if [commit.previous for commit in found] != numbers[:-1] or numbers[-1] != self._last_commit():
                raise IndexStaleError(f"{_NAME} has lost commits")
            return [commit.row for commit in found]

    def commit(self, number: int) -> CommitRow | None:
        """The last commit whose number is at most ``number``."""
        found = self._commit_before(number)
        return None if found is _NO_COMMIT else found.row

    def commit_at(self, time: int) -> CommitRow | None:
        """The last commit at or before ``time`` (microseconds since 1970)."""
        with self.snapshot() as connection, checked(_NAME):
            found = connection.execute(
                "SELECT number FROM commits WHERE time <= ? ORDER BY number DESC LIMIT 1", (time,)
            ).fetchone()
            return None if found is None else self.commit(found[0])

    def _last_commit(self) -> int:
        found = self.state("last_commit")
        return -1 if found is None else int(found)

    def _commit_before(self, number: int | None) -> _Commit:
        """The last commit whose number is at most ``number``; None: of all."""
        with self.snapshot() as connection, checked(_NAME):
            bound = (1 << 62) if number is None else number
            found = connection.execute(
                "SELECT * FROM commits WHERE number <= ? ORDER BY number DESC LIMIT 1", (bound,)
            ).fetchone()
            commit = _NO_COMMIT if found is None else _commit(found)
            after = None
            if commit.row.number != self._last_commit():
                sql = "SELECT * FROM commits WHERE number > ? ORDER BY number LIMIT 1"
                after = connection.execute(sql, (bound,)).fetchone()
            # Whoever comes next knows who came before, and the state knows the last: none was lost in between.
            witness = self._last_commit() if after is None else _commit(after).previous
            if commit.row.number != witness:
                raise IndexStaleError(f"{_NAME} has lost a commit")
            return commit

    def model_number(self, commit: int) -> int | None:
        """Return the commit that brought what the embedder knew as of ``commit``, or None if it had learned nothing."""
        with self.snapshot() as connection, checked(_NAME):
            numbers = [number for (number,) in connection.execute("SELECT number FROM models ORDER BY number")]
            if len(numbers) != self._counted("models"):
                raise IndexStaleError(f"{_NAME} has lost a model")
            return max((number for number in numbers if number <= commit), default=None)

    def model_data(self, number: int) -> bytes | None:
        """Return the model that commit ``number`` brought."""
        with self.reading() as connection, checked(_NAME):
            found = connection.execute("SELECT data, sum FROM models WHERE number = ?", (number,)).fetchone()
            if found is None:
                return None
            if xxhash.xxh32_intdigest(found[0], number & 0xFFFFFFFF) != found[1]:
                raise IndexStaleError(f"a model in {_NAME} is damaged")
            return bytes(found[0])

    def close(self) -> None:
        """Close the connections."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            if self._reader is not self._writer:
                self._reader.close()


def _record(found: tuple[Any, ...]) -> tuple[int, str, int, int | None, int]:
    row, record_id, born, died, dense, check = found
    if record_sum(row, record_id, born, died, dense) != check:
        raise IndexStaleError(f"row {row} of {_NAME} is damaged")
    return row, record_id, born, died, dense


def _commit(found: Sequence[Any]) -> _Commit:
    values = _verified(found)
    return _Commit(CommitRow(*values[:7]), values[7], Totals(*values[8:]))


def _names(state: dict[str, bytes]) -> bytes:
    return "\n".join(sorted(key for key in state if key not in _MAY_BE_LOST)).encode()


def _verified_state(found: Sequence[tuple[Any, ...]]) -> dict[str, bytes]:
    state: dict[str, bytes] = {}
    for key, value, check in found:
        if xxhash.xxh32_intdigest(key.encode() + b"\0" + value) != check:
            raise IndexStaleError(f"the state in {_NAME} is damaged")
        state[key] = value
    if state.pop(_KEYS, b"") != _names(state):
        raise IndexStaleError(f"the state in {_NAME} has lost a key")
    return state


def _parts(values: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(values), _AT_ONCE):
        yield list(values[start : start + _AT_ONCE])


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        refuse_links(path)
    connection = sqlite3.connect(
        ":memory:" if path is None else path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    harden(connection)
    register_functions(connection)
    return connection
