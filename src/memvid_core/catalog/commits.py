"""CommitTable: the counts of each commit, the totals up to it, and the models that commits contain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import xxhash

from memvid_core.catalog.rows import CommitRow, Totals, row_sum
from memvid_core.catalog.tables import CHECKED, NAME, Tables, marks
from memvid_core.errors import IndexStaleError

__all__ = ["NO_COMMIT", "CommitTable", "NotedCommit", "noted_commit"]

_NEWEST: Final = "newest"  # the key of the state under which the last commit is kept
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[int]).decode
_SELECT: Final = "SELECT * FROM commits"


class NotedCommit(NamedTuple):
    """A commit in the catalog, with the number of the previous commit and the totals up to it."""

    row: CommitRow
    previous: int
    totals: Totals

    def values(self) -> tuple[int, ...]:
        """Return the columns without the checksum."""
        return (*self.row, self.previous, *self.totals)

    @classmethod
    def of(cls, values: tuple[int, ...] | list[int]) -> NotedCommit:
        """Create a commit from its columns."""
        return cls(CommitRow(*values[:7]), values[7], Totals(*values[8:]))


NO_COMMIT: Final = NotedCommit(CommitRow(-1, 0, 0, 0, 0, 0, 0), -1, Totals())
_INSERT: Final = f"INSERT OR REPLACE INTO commits VALUES ({marks([*NO_COMMIT.values(), 0])})"


class CommitTable(Tables):
    """The tables of commits and of models.

    The last commit is also part of the state: the next commit builds on it, and readers of the table detect by it
    whether a commit was lost.
    """

    def __init__(self, path: Path | None) -> None:
        self._last: NotedCommit | None = None  # inside a transaction, with the new totals so far
        super().__init__(path)

    def _begin(self) -> None:
        super()._begin()
        self._last = None

    def _newest(self) -> NotedCommit:
        """Return the last commit; inside a transaction with the new totals so far."""
        if self._last is None:
            self._last = self._noted()
        return self._last

    def _noted(self) -> NotedCommit:
        """Return the last commit according to the state."""
        with CHECKED:
            noted = self.state(_NEWEST)
            return NO_COMMIT if noted is None else NotedCommit.of(_decode(noted))

    def _add(self, more: Totals) -> None:
        newest = self._newest()
        self._last = newest._replace(totals=newest.totals.plus(more))

    def add_commit(self, commit: CommitRow) -> None:
        """Insert a commit, after its records and deletions; call it inside a transaction.

        Raises:
            IndexStaleError: If it, or a later one, is stored already.
        """
        newest = self._newest()
        previous = newest.row.number
        if previous >= commit.number:
            raise IndexStaleError(f"{NAME} has commit {commit.number} already; rebuild it")
        self._put_commit(NotedCommit(commit, previous, newest.totals))

    def _put_commit(self, commit: NotedCommit) -> None:
        values = commit.values()
        self._writer.execute(_INSERT, (*values, row_sum(*values)))
        self._note(commit)

    def _note(self, commit: NotedCommit) -> None:
        """Record the last commit in the state, after its row was written."""
        self.set_state(_NEWEST, _encode(commit.values()))
        self._last = commit

    def _put_commits(self, rows: Sequence[tuple[int, ...]]) -> None:
        """Insert consecutive commits, given by their columns without checksums, and record the last one."""
        self._writer.executemany(_INSERT, [(*row, row_sum(*row)) for row in rows])
        self._note(NotedCommit.of(rows[-1]))

    def commits(self, after: int = -1) -> list[CommitRow]:
        """Return every commit after number ``after``, oldest first."""
        with self.snapshot() as connection, CHECKED:
            query = f"{_SELECT} WHERE number > ? ORDER BY number"
            found = [noted_commit(row) for row in connection.execute(query, (after,))]
            numbers = [min(after, found[0].previous) if found else -1, *(commit.row.number for commit in found)]
            whole = [commit.previous for commit in found] == numbers[:-1]
            if not whole or ((found or after < 0) and numbers[-1] != self._last_commit()):
                raise IndexStaleError(f"{NAME} has lost commits; rebuild it")
            return [commit.row for commit in found]

    def commit(self, number: int) -> CommitRow | None:
        """Return the last commit whose number is at most ``number``."""
        found = self._commit_before(number)
        return None if found is NO_COMMIT else found.row

    def commit_at(self, time: int) -> CommitRow | None:
        """Return the last commit at or before ``time`` (microseconds since 1970), or None."""
        with self.snapshot() as connection, CHECKED:
            found = connection.execute(
                "SELECT number FROM commits WHERE time <= ? ORDER BY number DESC LIMIT 1", (time,)
            ).fetchone()
            return None if found is None else self.commit(found[0])

    def _last_commit(self) -> int:
        return self._noted().row.number

    def _commit_before(self, number: int) -> NotedCommit:
        """Return the last commit whose number is at most ``number``."""
        with self.snapshot() as connection, CHECKED:
            found = connection.execute(
                f"{_SELECT} WHERE number <= ? ORDER BY number DESC LIMIT 1", (number,)
            ).fetchone()
            commit = NO_COMMIT if found is None else noted_commit(found)
            after = None
            if commit.row.number != self._last_commit():
                after = connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number LIMIT 1", (number,)).fetchone()
            # Each commit names the previous one and the state names the last, so a lost commit is detected.
            witness = self._last_commit() if after is None else noted_commit(after).previous
            if commit.row.number != witness:
                raise IndexStaleError(f"{NAME} has lost a commit; rebuild it")
            return commit

    # --- models ---

    def add_model(self, number: int, data: bytes) -> None:
        """Insert a model of the embedder that is used from commit ``number`` on; call it inside a transaction."""
        check = xxhash.xxh32_intdigest(data, number & 0xFFFFFFFF)
        self._writer.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (number, data, check))
        self._count("models", self._writer.execute("SELECT count(*) FROM models").fetchone()[0])

    def model_number(self, commit: int) -> int | None:
        """Return the commit that contains the model used as of ``commit``, or None if the embedder was not fitted."""
        with self.snapshot() as connection, CHECKED:
            numbers = [number for (number,) in connection.execute("SELECT number FROM models ORDER BY number")]
            if len(numbers) != self._counted("models"):
                raise IndexStaleError(f"{NAME} has lost a model; rebuild it")
            return max((number for number in numbers if number <= commit), default=None)

    def model_data(self, number: int) -> bytes | None:
        """Return the model in commit ``number``, or None."""
        with self.reading() as connection, CHECKED:
            found = connection.execute("SELECT data, sum FROM models WHERE number = ?", (number,)).fetchone()
            if found is None:
                return None
            if xxhash.xxh32_intdigest(found[0], number & 0xFFFFFFFF) != found[1]:
                raise IndexStaleError(f"a model in {NAME} is damaged; rebuild it")
            return bytes(found[0])


def noted_commit(found: tuple[Any, ...]) -> NotedCommit:
    """Return the commit of a row of the table, verified."""
    if row_sum(*found[:-1]) != found[-1]:
        raise IndexStaleError(f"a commit in {NAME} is damaged; rebuild it")
    return NotedCommit.of(found[:-1])
