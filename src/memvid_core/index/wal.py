"""SQLite's write-ahead log, turned on although another connection opens the same new database."""

from __future__ import annotations

import sqlite3
import time

__all__ = ["is_busy", "turn_on"]


def is_busy(exc: BaseException) -> bool:
    """Whether SQLite refused something because another connection is at work."""
    return isinstance(exc, sqlite3.Error) and getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def turn_on(connection: sqlite3.Connection, patience: float) -> None:
    """Switch a database to the write-ahead log, for good.

    Of two that switch a new database at the same moment, as a writer and a reader do after a compaction, SQLite refuses
    one at once, whatever its timeout: each holds what the other waits for.

    Args:
        connection: In no transaction.
        patience: For how many seconds to try.

    Raises:
        sqlite3.OperationalError: It is locked all that time, or cannot be written.
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
