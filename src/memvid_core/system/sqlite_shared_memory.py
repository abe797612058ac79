"""Connections to databases whose shared memory may be cut off by another program.

SQLite maps the file ``-shm`` of a database in WAL mode, and a process that reads a page of a map which was cut off is
killed (SIGBUS). Its content is derived from the write-ahead log: filled with zeros, SQLite reads the log again. So the
file gets its length back before each statement. What remains is a file that is cut while a statement runs.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from os import stat, truncate  # what checks that an event loop never blocks replaces them in os; these take 2 us
from time import monotonic
from typing import Any, Final

__all__ = ["Connection"]

_SECONDS: Final = 0.0005  # between two looks, so that the statements of a commit share one
_execute: Final = sqlite3.Connection.execute
_executemany: Final = sqlite3.Connection.executemany


class Connection(sqlite3.Connection):
    """A connection that gives the shared memory of its database the length back that it had."""

    _shared: str | None = None
    _size = 0
    _looked = math.inf  # when the length was compared last; never, if there is nothing to look after

    def watch(self, database: str | os.PathLike[str]) -> None:
        """Look after the shared memory of this database from now on; on Windows, a mapped file cannot be cut off."""
        if os.name == "posix":
            self._shared, self._looked = f"{os.path.realpath(database)}-shm", 0.0

    def mend(self) -> None:
        """Give the shared memory its length back. By its name: to close the file would release SQLite's locks on it."""
        if self._shared is None:
            return
        self._looked = monotonic()
        with contextlib.suppress(OSError):  # it was deleted: what is mapped stays
            size = stat(self._shared).st_size
            if size < self._size:
                truncate(self._shared, self._size)
            else:
                self._size = size

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement."""
        if monotonic() - self._looked > _SECONDS:
            self.mend()
        return _execute(self, *arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement for each of some rows."""
        if monotonic() - self._looked > _SECONDS:
            self.mend()
        return _executemany(self, *arguments)

    def backup(self, *arguments: Any, **options: Any) -> None:
        """Copy the database."""
        self.mend()
        super().backup(*arguments, **options)

    def close(self) -> None:
        """Close the connection; the last one writes the log into the database."""
        self.mend()
        super().close()
