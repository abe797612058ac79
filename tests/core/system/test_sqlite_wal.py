"""The write-ahead log is turned on although somebody else is at work in the same new database."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from memvid_core.system import sqlite_wal


def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    first = sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None)
    second = sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None, check_same_thread=False, timeout=0)
    first.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as refused:
        sqlite_wal.turn_on(second, patience=0.0)
    assert sqlite_wal.is_busy(refused.value)
    waiting = threading.Thread(target=sqlite_wal.turn_on, args=(second, 60.0))
    waiting.start()
    first.execute("COMMIT")
    waiting.join()
    for connection in (first, second):
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


def test_all_who_come_at_once_get_it(tmp_path: Path) -> None:
    """Without another try, one of three is refused in every fifth round."""
    for number in range(60):
        start, modes = threading.Barrier(3), list[str]()
        threads = [threading.Thread(target=_switch, args=(tmp_path / str(number), start, modes)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert modes == ["wal"] * 3


def _switch(path: Path, start: threading.Barrier, modes: list[str]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    start.wait()
    sqlite_wal.turn_on(connection, patience=60.0)
    modes.append(connection.execute("PRAGMA journal_mode").fetchone()[0])
    connection.close()


def test_what_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, and long enough to be told from one" * 50)
    connection = sqlite3.connect(tmp_path / "text")
    with pytest.raises(sqlite3.DatabaseError) as refused:
        sqlite_wal.turn_on(connection, patience=60.0)
    assert not sqlite_wal.is_busy(refused.value)
    connection.close()
