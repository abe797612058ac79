"""Tables: the database of a catalog, its transactions and snapshots, and its key-value state."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import xxhash

from memvid_core.catalog.filter_compiler import register_functions
from memvid_core.errors import IndexStaleError
from memvid_core.system import sqlite_wal
from memvid_core.system.forks import free_in_forks
from memvid_core.system.sqlite_files import (
    assert_schema,
    checked,
    create_tables,
    harden,
    identity_of,
    refuse_links,
    roll_back,
    whole,
)
from memvid_core.system.sqlite_shared_memory import Connection

__all__ = ["CHECKED", "NAME", "Tables", "marks", "parts"]

SCHEMA_VERSION: Final = 5
NAME: Final = "the catalog of the index"
CHECKED: Final = checked(NAME)
"""Wraps code that reads stored data, and reports any damage as IndexStaleError."""
_WHOLE: Final = whole(NAME)
_BUSY_SECONDS: Final = 60.0  # another process may be rebuilding
_AT_ONCE: Final = 500  # parameters of one statement

_SCHEMA: Final = """
CREATE TABLE state (one INTEGER PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE records (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, born INTEGER NOT NULL, died INTEGER, dense INTEGER NOT NULL,
    hash INTEGER NOT NULL, sum INTEGER NOT NULL, metadata_sum INTEGER NOT NULL, metadata TEXT
);
CREATE INDEX records_hash ON records (hash);
CREATE INDEX records_died ON records (died, row) WHERE died IS NOT NULL;
CREATE INDEX records_sparse ON records (row) WHERE dense = 0;
CREATE TABLE frames (first INTEGER PRIMARY KEY, places BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE commits (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, rows INTEGER NOT NULL, added INTEGER NOT NULL,
    deleted INTEGER NOT NULL, frames INTEGER NOT NULL, bytes INTEGER NOT NULL, previous INTEGER NOT NULL,
    present INTEGER NOT NULL, hashes INTEGER NOT NULL, sparse INTEGER NOT NULL, sparse_rows INTEGER NOT NULL,
    buried INTEGER NOT NULL, buried_rows INTEGER NOT NULL, sum INTEGER NOT NULL
);
CREATE TABLE models (number INTEGER PRIMARY KEY, data BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE damage (
    item INTEGER PRIMARY KEY, kind TEXT NOT NULL, frame INTEGER, number INTEGER, records INTEGER NOT NULL,
    reason TEXT NOT NULL, vectors INTEGER NOT NULL, deletions INTEGER NOT NULL, evidence BLOB NOT NULL,
    restored INTEGER NOT NULL, sum INTEGER NOT NULL
)"""

_State = dict[str, bytes]
_sum: Final = xxhash.xxh32_intdigest
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_state: Final = msgspec.msgpack.Decoder(_State).decode


class Tables:
    """Open the database with one connection for writing and one for reading, each behind a lock.

    The state is one row with one checksum, so that a commit writes it once and no part of it can be lost separately.

    Args:
        path: The database; None keeps it in RAM.

    Raises:
        IndexStaleError: If the file is damaged or not a catalog of this version.
    """

    def __init__(self, path: Path | None) -> None:
        self._write_lock = threading.RLock()
        self._inside: int | None = None  # the thread in a transaction
        self._pinned = False  # whether a snapshot is being read
        self._state: _State | None = None  # with the changes of the open transaction
        self._written: _State = {}  # before the open transaction
        self._read: tuple[list[tuple[Any, ...]], _State] = [], {}  # the state that was read last
        with _WHOLE:
            before = None if path is None else identity_of(path, create=True)
            self._writer = self._reader = _connect(path)
        self._read_lock = self._write_lock
        free_in_forks(self._write_lock)
        try:
            if path is not None:
                with _WHOLE:
                    sqlite_wal.turn_on(self._writer, _BUSY_SECONDS)
                    # No fsync per commit in WAL mode: a power failure leaves an older catalog, never a broken one.
                    self._writer.execute("PRAGMA synchronous = NORMAL")
                    self._reader, self._read_lock = _connect(path), threading.RLock()
                    free_in_forks(self._read_lock)
            self._check_version()
            if path is not None:
                with _WHOLE:
                    self._reader.execute("SELECT 1 FROM sqlite_schema").fetchone()
                if identity_of(path) != before:
                    raise IndexStaleError(f"{NAME} was replaced while it was opened; open it again")
        except BaseException:  # the caller deletes a broken file, and Windows refuses that while it is open
            self.close()
            raise

    def _check_version(self) -> None:
        with self.transaction():
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if not assert_schema(self._writer, _SCHEMA):
                create_tables(self._writer, _SCHEMA)
                self._put_state({})
                self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"the catalog has version {version}, expected {SCHEMA_VERSION}")

    # --- transactions and snapshots ---

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the ``with`` block as one atomic transaction, one process at a time; its reads see its own writes."""
        with self._write_lock, _WHOLE:
            if self._inside is not None:
                yield self._writer
                return
            try:  # around BEGIN too: an open transaction left by an interrupt would absorb all later ones
                self._begin()
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

    def _begin(self) -> None:
        """Reset the cached values of an earlier transaction."""
        self._state = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for queries; inside a transaction of this thread, the writing one."""
        if self._inside == threading.get_ident():
            with _WHOLE:
                yield self._writer
        else:
            outermost = not self._read_lock._is_owned()  # type: ignore[attr-defined]
            with self._read_lock, _WHOLE:
                if outermost:
                    self._unpin()
                yield self._reader

    def _unpin(self) -> None:
        """End a snapshot that an interrupt left open, which would become outdated."""
        if (self._pinned or self._reader.in_transaction) and self._reader is not self._writer:
            self._pinned = False
            roll_back(self._reader)

    def _fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query, with less overhead than :meth:`reading`."""
        if self._inside == threading.get_ident():
            return self._writer.execute(sql, parameters).fetchall()
        outermost = not self._read_lock._is_owned()  # type: ignore[attr-defined]
        with self._read_lock:
            if outermost and (self._pinned or self._reader.in_transaction):
                self._unpin()
            return self._reader.execute(sql, parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Run all queries in the ``with`` block on one state, whatever others commit meanwhile. It can be nested.

        Queries of other threads wait until the block ends.
        """
        with self.reading() as connection:
            if connection is self._writer or self._pinned:
                yield connection
                return
            try:
                self._pinned = True
                connection.execute("BEGIN")
                connection.execute("SELECT 1 FROM state LIMIT 1").fetchone()  # SQLite opens the snapshot only now
                yield connection
            finally:
                self._pinned = False
                roll_back(connection)

    # --- state ---

    def state(self, key: str) -> bytes | None:
        """Return the value of ``key``, or None."""
        return self._states().get(key)

    def states(self, *keys: str) -> list[bytes | None]:
        """Return the values of some keys, all from one state."""
        state = self._states()
        return [state.get(key) for key in keys]

    def _states(self) -> _State:
        with CHECKED:
            return self._pending() if self._inside == threading.get_ident() else self._read_state()

    def _read_state(self) -> _State:
        found = self._fetch("SELECT value, sum FROM state")
        known, state = self._read
        if found != known or not found:
            state = _verified_state(found)
            self._read = found, state
        return state

    def _pending(self) -> _State:
        if self._state is None:
            self._written = self._read_state()
            self._state = dict(self._written)
        return self._state

    def set_state(self, key: str, value: bytes | None) -> None:
        """Set the value of ``key``, or delete it if None; call it inside a transaction."""
        if value is None:
            self._pending().pop(key, None)
        else:
            self._pending()[key] = bytes(value)

    def _write_state(self) -> None:
        """Write the state if the transaction changed it."""
        if self._state is not None and self._state != self._written:
            self._put_state(self._state)

    def _put_state(self, state: _State) -> None:
        value = _encode(state)
        self._writer.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", (value, xxhash.xxh32_intdigest(value)))

    def _count(self, key: str, number: int) -> None:
        self.set_state(key, str(number).encode())

    def _counted(self, key: str) -> int:
        return int(self.state(key) or 0)

    def close(self) -> None:
        """Close the connections."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            if self._reader is not self._writer:
                self._reader.close()


def _verified_state(found: Sequence[tuple[Any, ...]]) -> _State:
    if len(found) != 1:
        raise IndexStaleError(f"{NAME} has lost its state; rebuild it")
    value, check = found[0]
    if xxhash.xxh32_intdigest(value) != check:
        raise IndexStaleError(f"the state in {NAME} is damaged; rebuild it")
    return _decode_state(value)


def parts(values: Sequence[int]) -> Iterator[list[int]]:
    """Split values into lists that are short enough for one SQL statement."""
    for start in range(0, len(values), _AT_ONCE):
        yield list(values[start : start + _AT_ONCE])


def marks(values: Sequence[object]) -> str:
    """Return an SQL placeholder for each value."""
    return ",".join("?" * len(values))


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        refuse_links(path)
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    if path is not None:
        connection.watch(path)
    harden(connection)
    register_functions(connection)
    connection.create_function("memvid_sum", 1, _blob_sum, deterministic=True)
    return connection


def _blob_sum(metadata: bytes) -> int:
    """Return :func:`~memvid_core.catalog.rows.metadata_sum` of encoded metadata."""
    return _sum(metadata, 1)
