"""SQLite files: schema checks, and one error for every kind of damage.

An index is derived from the memory, so a damaged one loses no data: code that catches :class:`IndexStaleError` rebuilds
it. Other errors (another process holds a lock, the disk is full) remain SQLite's own.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from memvid_core.errors import IndexStaleError, MemvidError

__all__ = [
    "SUFFIXES",
    "assert_schema",
    "checked",
    "create_tables",
    "harden",
    "identity_of",
    "is_damage",
    "note_failure",
    "refuse_links",
    "roll_back",
    "take_failure",
    "whole",
]

SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""The suffixes of a database file and of the files that SQLite adds to it."""

# Error codes of SQLite that concern the system and not the file.
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
    """Return whether an error means that the file is damaged, and not that the system failed."""
    if isinstance(exc, sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return False
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _ENVIRONMENT


class _Failure(threading.local):
    """The exception that an SQL function raised in this thread."""

    error: BaseException | None = None


_failure: Final = _Failure()


def note_failure(error: BaseException) -> None:
    """Store the exception of an SQL function in this thread, because SQLite only reports that a function failed."""
    _failure.error = error


def take_failure() -> BaseException | None:
    """Return and clear the exception that an SQL function raised in this thread, or None."""
    error, _failure.error = _failure.error, None
    return error


class whole:  # a class, because a generator costs a microsecond more each time
    """Convert SQLite's errors about a damaged file to IndexStaleError.

    Args:
        name: The name of the file, for the message.

    Raises:
        IndexStaleError: If the file is damaged.
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
    """Convert every error that reading a damaged file can raise to IndexStaleError; for code without user input.

    Args:
        name: The name of the file, for the message.

    Raises:
        IndexStaleError: If the file is damaged.
    """

    __slots__ = ()

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if exc is not None:
            super().__exit__(kind, exc, trace)
            if not isinstance(exc, MemvidError) and isinstance(exc, _BAD_VALUE):
                raise _stale(self._name, exc) from exc


def _stale(name: str, exc: Exception) -> IndexStaleError:
    code = getattr(exc, "sqlite_errorname", "")
    return IndexStaleError(f"{name} is damaged ({exc}{', ' if code else ''}{code}); rebuild the index")


def refuse_links(path: Path) -> None:
    """Refuse a database that is not a regular file, such as a link or a pipe.

    Raises:
        sqlite3.DatabaseError: If it is not a regular file.
    """
    for suffix in SUFFIXES:
        file = f"{path}{suffix}"  # not as Path, which takes five times as long, four times for each connection
        try:
            mode = os.lstat(file).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise sqlite3.DatabaseError(f"{file} is not a regular file; remove it")


def identity_of(path: Path, *, create: bool = False) -> tuple[int, int]:
    """Return the device and number of a database file.

    SQLite opens each file of a database by its name, for each connection. Connections are to the same database only if
    the name led to the same file before the first was opened and after the last has read from it.

    Args:
        path: The file.
        create: Whether to create it, empty, if it is missing.

    Raises:
        sqlite3.DatabaseError: If it is not a regular file, is missing, or cannot be created.
    """
    refuse_links(path)
    try:
        if create:
            with suppress(FileExistsError):  # to open and close one that exists would end SQLite's locks on it
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        found = path.stat()
    except OSError as exc:
        raise sqlite3.OperationalError(f"unable to open {path}: {exc}") from exc
    return found.st_dev, found.st_ino


def harden(connection: sqlite3.Connection) -> None:
    """Make a connection distrust the file: no functions in its schema, and cell sizes are checked."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def create_tables(connection: sqlite3.Connection, ddl: str) -> None:
    """Run several statements inside the open transaction, which ``executescript`` would commit."""
    for statement in ddl.split(";"):
        connection.execute(statement)


def assert_schema(connection: sqlite3.Connection, ddl: str) -> bool:
    """Check that a database contains exactly the tables and indexes of ``ddl``, before any of it is used.

    Returns:
        False if it is empty.

    Raises:
        sqlite3.DatabaseError: If it contains something else, such as the tables of another version.
    """
    expected = _schema(ddl)
    found = connection.execute(f"{_SCHEMA_OF} LIMIT ?", (len(expected) + 1,)).fetchall()
    if not found:
        return False
    if sorted(found, key=repr) != expected:
        raise sqlite3.DatabaseError("the database has other tables than this version creates")
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
    """End the open transaction, if any, also one left open by an interrupt."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
