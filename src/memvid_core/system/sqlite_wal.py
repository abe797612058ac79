"""Switch a database to SQLite's write-ahead log while other connections may open it."""

from __future__ import annotations

import sqlite3
import time

__all__ = ["is_busy", "turn_on"]


def is_busy(exc: BaseException) -> bool:
    """Return whether SQLite raised an error because another connection holds a lock."""
    return isinstance(exc, sqlite3.Error) and getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def turn_on(connection: sqlite3.Connection, patience: float) -> None:
    """Switch a database permanently to the write-ahead log.

    If two connections switch a new database at the same moment, as a writer and a reader do after a compaction, SQLite
    refuses one at once, whatever its timeout, because each holds a lock that the other waits for. So this retries.

    Args:
        connection: A connection without an open transaction.
        patience: The maximum time to retry, in seconds.

    Raises:
        sqlite3.OperationalError: If it stays locked, or cannot be written.
    """
    deadline, pause = time.monotonic() + patience, 0.001
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if not is_busy(exc) or time.monotonic() > deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        else:
            return
