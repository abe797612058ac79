"""SQLite files of the index: opened only with the tables that are expected, and damage is one error.

An index is derived from the memory, so a damaged one is no loss: whoever meets :class:`IndexStaleError` makes it anew.
Trouble that is no damage (another process is at work, the disk is full) stays what SQLite calls it.
"""

from __future__ import annotations

import sqlite3
import stat
import struct
import threading
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from memvid_core.errors import MemvidError
from memvid_core.index.stale import IndexStaleError

__all__ = [
    "SUFFIXES",
    "assert_schema",
    "checked",
    "create_tables",
    "harden",
    "is_damage",
    "note_failure",
    "refuse_links",
    "roll_back",
    "take_failure",
    "whole",
]

SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""

# What SQLite reports of the system rather than of the file.
_ENVIRONMENT: Final = frozenset(
    getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        *("PERM", "ABORT", "BUSY", "LOCKED", "NOMEM", "READONLY", "INTERRUPT", "IOERR", "FULL", "CANTOPEN"),
        *("PROTOCOL", "MISUSE", "NOLFS", "AUTH"),
    )
)
_BAD_VALUE: Final = (
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
    msgspec.MsgspecError,
)


def is_damage(exc: sqlite3.Error) -> bool:
    """Return whether an error says that the file is not what was written, rather than that the system refuses."""
    if isinstance(exc, sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return False
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _ENVIRONMENT


class _Failure(threading.local):
    """What an SQL function raised in this thread."""

    error: BaseException | None = None


_failure: Final = _Failure()


def note_failure(error: BaseException) -> None:
    """Remember what an SQL function raised in this thread: SQLite only tells that a function failed."""
    _failure.error = error


def take_failure() -> BaseException | None:
    """Return what a function raised in this thread inside the statement that failed last; None if nothing."""
    error, _failure.error = _failure.error, None
    return error


class whole:  # a class, because a generator costs a microsecond more each time
    """Turn what SQLite says of a damaged file into one error.

    Args:
        name: What is read, for the message.

    Raises:
        IndexStaleError: The file is damaged.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, sqlite3.Error):
            failure = take_failure()
            if failure is not None and not isinstance(failure, Exception):
                raise failure from None  # Ctrl-C inside a function that SQLite called
            if is_damage(exc):
                raise _stale(self._name, exc) from exc
        elif isinstance(exc, UnicodeDecodeError):  # a text of SQLite's, an error message among them
            raise _stale(self._name, exc) from exc


class checked(whole):
    """Turn everything that reading back a damaged file can raise into one error; for code that takes no input.

    Args:
        name: What is read, for the message.

    Raises:
        IndexStaleError: The file is damaged.
    """

    __slots__ = ()

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if exc is not None:
            super().__exit__(kind, exc, trace)
            if not isinstance(exc, MemvidError) and isinstance(exc, _BAD_VALUE):
                raise _stale(self._name, exc) from exc


def _stale(name: str, exc: Exception) -> IndexStaleError:
    return IndexStaleError(f"{name} is damaged ({exc}); the index has to be made anew")


def refuse_links(path: Path) -> None:
    """Refuse a database that is no plain file: a link leads elsewhere, and a pipe never answers.

    Raises:
        sqlite3.DatabaseError: It is one.
    """
    for suffix in SUFFIXES:
        beside = path.with_name(path.name + suffix)
        try:
            mode = beside.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise sqlite3.DatabaseError(f"{beside} is no plain file")


def harden(connection: sqlite3.Connection) -> None:
    """Let a connection trust nothing that a file brings: no functions in its schema, no sizes of cells."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def create_tables(connection: sqlite3.Connection, ddl: str) -> None:
    """Run several statements; unlike ``executescript`` inside the transaction that is open."""
    for statement in ddl.split(";"):
        connection.execute(statement)


def assert_schema(connection: sqlite3.Connection, ddl: str) -> bool:
    """Check that a database holds the tables and indexes of ``ddl`` and nothing else, before any of it is used.

    Returns:
        False if it is empty.

    Raises:
        sqlite3.DatabaseError: It holds something else: of another version, or of a stranger.
    """
    expected = _schema(ddl)
    found = connection.execute(f"{_SCHEMA_OF} LIMIT ?", (len(expected) + 1,)).fetchall()
    if not found:
        return False
    if sorted(found, key=repr) != expected:
        raise sqlite3.DatabaseError("the database has other tables than this version writes")
    return True


_SCHEMA_OF: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"


@cache
def _schema(ddl: str) -> list[tuple[str | None, ...]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        create_tables(connection, ddl)
        return sorted(connection.execute(_SCHEMA_OF).fetchall(), key=repr)
    finally:
        connection.close()


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction, if one is open: also one that an interrupt left open."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
