"""The SQLite file of a posting store: tables, opening, copying, its state, and the tail in RAM."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.system import sqlite_wal
from memvid_core.system.sqlite_files import SUFFIXES, harden, refuse_links
from memvid_core.system.sqlite_shared_memory import Connection
from memvid_core.words.chunks import checksum

__all__ = [
    "SCHEMA",
    "WRITE_MARK",
    "WRITE_STATE",
    "State",
    "Tail",
    "connect",
    "copy_store",
    "decoded",
    "delete_store",
    "sum_of_blocks",
    "sum_of_row",
]

SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE blocks (first INTEGER PRIMARY KEY, sum INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE postings (number INTEGER PRIMARY KEY, lists BLOB NOT NULL, places BLOB NOT NULL);
CREATE TABLE tail (row INTEGER PRIMARY KEY, tokens TEXT NOT NULL, spellings TEXT NOT NULL, sum INTEGER NOT NULL)"""
WRITE_STATE: Final = "INSERT OR REPLACE INTO meta VALUES ('state', ?), ('mark', ?)"
WRITE_MARK: Final = "INSERT OR REPLACE INTO meta VALUES ('mark', ?)"
_BUSY_SECONDS: Final = 300  # another process may be indexing a large batch
_STATE: Final = struct.Struct("<QQQQ")  # revision, rows, checksum of the blocks, next number of a chunk


class State(NamedTuple):
    """The state of a posting file, which every change updates.

    Attributes:
        revision: Grows with every change.
        rows: The row after the last one.
        blocks: The checksum of the set of blocks.
        next_chunk: The next free chunk number.
    """

    revision: int
    rows: int
    blocks: int
    next_chunk: int

    def encoded(self) -> bytes:
        """Encode the state with its checksum."""
        data = _STATE.pack(*self)
        return data + checksum(data).to_bytes(8, "little")


def decoded(data: object) -> State:
    """Decode a stored state and verify its checksum.

    Raises:
        IndexStaleError: If it is damaged.
    """
    if not isinstance(data, bytes) or checksum(data[:-8]).to_bytes(8, "little") != data[-8:]:
        raise IndexStaleError("the state of the lexical index is damaged; rebuild it")
    return State(*_STATE.unpack(data[:-8]))


def sum_of_blocks(blocks: Sequence[tuple[int, int]]) -> int:
    """Return the checksum of a set of blocks, given as (first row, checksum of the directory)."""
    return checksum(b"".join(struct.pack("<qq", first, check) for first, check in blocks))


def sum_of_row(row: int, tokens: str, spellings: str) -> int:
    """Return the checksum of a row of the tail."""
    return checksum(f"{tokens}\0{spellings}".encode(), row)


class Tail:
    """The rows since the last block, in RAM."""

    def __init__(self) -> None:
        self.rows = self.size = 0
        self.lists: dict[str, dict[int, list[int]]] = {}
        self.spellings: set[bytes] = set()

    def add(self, row: int, tokens: Sequence[str], spellings: Sequence[bytes]) -> None:
        """Add the next row."""
        for place, token in enumerate(tokens):
            self.lists.setdefault(token, {}).setdefault(row, []).append(place)
        self.spellings.update(spellings)
        self.rows += 1
        self.size += len(tokens)


def delete_store(path: Path) -> None:
    """Delete the file of a store, and those that SQLite keeps next to it."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def copy_store(source: Path, target: Path, mark: bytes) -> None:
    """Copy the file of a store in one consistent state.

    Raises:
        StorageError: If it cannot be copied, or is not the file of a store.
    """
    try:
        with closing(_connect_reader(source)) as opened, closing(sqlite3.connect(target)) as copied:
            opened.backup(copied)
            with copied:
                copied.execute(WRITE_MARK, (mark,))
    except sqlite3.Error as error:
        raise StorageError(f"cannot copy the lexical index {source} to {target}: {error}") from error


def connect(path: Path | None, writable: bool) -> sqlite3.Connection:
    """Open the file of a store, or one in RAM."""
    if path is None:
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    refuse_links(path)
    if not writable:
        return _connect_reader(path)
    sqlite = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS, factory=Connection
    )
    sqlite.watch(path)
    try:
        harden(sqlite)
        # A power failure may undo the last commits but never damages the file; the row count shows what is missing.
        sqlite_wal.turn_on(sqlite, _BUSY_SECONDS)
        for pragma in ("synchronous = NORMAL", "journal_size_limit = 4194304"):
            sqlite.execute(f"PRAGMA {pragma}")
    except BaseException:
        sqlite.close()
        raise
    return sqlite


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Open a file for reading; as immutable if its folder is read-only, too, because then nobody writes."""
    uri = path.resolve().as_uri()
    for mode in ("mode=ro", "immutable=1"):
        sqlite = sqlite3.connect(
            f"{uri}?{mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=30, factory=Connection
        )
        if mode == "mode=ro":
            sqlite.watch(path)
        try:
            harden(sqlite)
            sqlite.execute("SELECT 1 FROM sqlite_schema").fetchall()
        except sqlite3.OperationalError as error:
            sqlite.close()
            failure = error
        except BaseException:
            sqlite.close()
            raise
        else:
            return sqlite
    raise failure
