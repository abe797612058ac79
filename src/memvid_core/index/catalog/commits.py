"""CommitTable: what each commit did, the totals up to it, and the models that commits brought."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import xxhash

from memvid_core.index.catalog.rows import CommitRow, Totals, row_sum
from memvid_core.index.catalog.tables import CHECKED, NAME, Tables, marks
from memvid_core.index.stale import IndexStaleError

__all__ = ["NO_COMMIT", "CommitTable", "NotedCommit"]

_NEWEST: Final = "newest"  # the key of the state under which the last commit is kept
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[int]).decode
_SELECT: Final = "SELECT * FROM commits"


class NotedCommit(NamedTuple):
    """A commit as the catalog keeps it: with the number of the one before it, and the totals up to it."""

    row: CommitRow
    previous: int
    totals: Totals

    def values(self) -> tuple[int, ...]:
        """Return its columns but for the checksum."""
        return (*self.row, self.previous, *self.totals)

    @classmethod
    def of(cls, values: tuple[int, ...] | list[int]) -> NotedCommit:
        """Return the commit with these columns."""
        return cls(CommitRow(*values[:7]), values[7], Totals(*values[8:]))


NO_COMMIT: Final = NotedCommit(CommitRow(-1, 0, 0, 0, 0, 0, 0), -1, Totals())
_INSERT: Final = f"INSERT OR REPLACE INTO commits VALUES ({marks([*NO_COMMIT.values(), 0])})"


class CommitTable(Tables):
    """The tables of commits and of models.

    The last commit is also a part of the state: taking one in asks for it, and whoever reads commits sees by it whether
    one was lost.
    """

    def __init__(self, path: Path | None) -> None:
        self._last: NotedCommit | None = None  # in a transaction, with the totals as they are becoming
        super().__init__(path)

    def _begin(self) -> None:
        super()._begin()
        self._last = None

    def _newest(self) -> NotedCommit:
        """The last commit; in a transaction with the totals as they are becoming."""
        if self._last is None:
            self._last = self._noted()
        return self._last

    def _noted(self) -> NotedCommit:
        """The last commit, as the state has it."""
        with CHECKED:
            noted = self.state(_NEWEST)
            return NO_COMMIT if noted is None else NotedCommit.of(_decode(noted))

    def _add(self, more: Totals) -> None:
        newest = self._newest()
        self._last = newest._replace(totals=newest.totals.plus(more))

    def add_commit(self, commit: CommitRow) -> None:
        """Take a commit's numbers, after its records and what it deleted; call it inside a transaction.

        Raises:
            IndexStaleError: It, or a later one, is there already.
        """
        newest = self._newest()
        previous = newest.row.number
        if previous >= commit.number:
            raise IndexStaleError(f"{NAME} has commit {commit.number} already")
        self._put_commit(NotedCommit(commit, previous, newest.totals))

    def _put_commit(self, commit: NotedCommit) -> None:
        values = commit.values()
        self._writer.execute(_INSERT, (*values, row_sum(*values)))
        self._note(commit)

    def _note(self, commit: NotedCommit) -> None:
        """Note which commit is the last, after its row was written."""
        self.set_state(_NEWEST, _encode(commit.values()))
        self._last = commit

    def _put_commits(self, rows: Sequence[tuple[int, ...]]) -> None:
        """Put commits that follow each other, and the last one, given by their columns but for the checksum."""
        self._writer.executemany(_INSERT, [(*row, row_sum(*row)) for row in rows])
        self._note(NotedCommit.of(rows[-1]))

    def commits(self) -> list[CommitRow]:
        """Every commit, oldest first."""
        with self.snapshot() as connection, CHECKED:
            found = [_commit(row) for row in connection.execute(f"{_SELECT} ORDER BY number")]
            numbers = [-1, *(commit.row.number for commit in found)]
            if [commit.previous for commit in found] != numbers[:-1] or numbers[-1] != self._last_commit():
                raise IndexStaleError(f"{NAME} has lost commits")
            return [commit.row for commit in found]

    def commit(self, number: int) -> CommitRow | None:
        """The last commit whose number is at most ``number``."""
        found = self._commit_before(number)
        return None if found is NO_COMMIT else found.row

    def commit_at(self, time: int) -> CommitRow | None:
        """The last commit at or before ``time`` (microseconds since 1970)."""
        with self.snapshot() as connection, CHECKED:
            found = connection.execute(
                "SELECT number FROM commits WHERE time <= ? ORDER BY number DESC LIMIT 1", (time,)
            ).fetchone()
            return None if found is None else self.commit(found[0])

    def _last_commit(self) -> int:
        return self._noted().row.number

    def _commit_before(self, number: int) -> NotedCommit:
        """The last commit whose number is at most ``number``."""
        with self.snapshot() as connection, CHECKED:
            found = connection.execute(
                f"{_SELECT} WHERE number <= ? ORDER BY number DESC LIMIT 1", (number,)
            ).fetchone()
            commit = NO_COMMIT if found is None else _commit(found)
            after = None
            if commit.row.number != self._last_commit():
                after = connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number LIMIT 1", (number,)).fetchone()
            # Whoever comes next knows who came before, and the state knows the last: none was lost in between.
            witness = self._last_commit() if after is None else _commit(after).previous
            if commit.row.number != witness:
                raise IndexStaleError(f"{NAME} has lost a commit")
            return commit

    # --- models ---

    def add_model(self, number: int, data: bytes) -> None:
        """Take what an embedder learned, in force from commit ``number``; call it inside a transaction."""
        check = xxhash.xxh32_intdigest(data, number & 0xFFFFFFFF)
        self._writer.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", (number, data, check))
        self._count("models", self._writer.execute("SELECT count(*) FROM models").fetchone()[0])

    def model_number(self, commit: int) -> int | None:
        """Return the commit that brought what the embedder knew as of ``commit``, or None if it had learned nothing."""
        with self.snapshot() as connection, CHECKED:
            numbers = [number for (number,) in connection.execute("SELECT number FROM models ORDER BY number")]
            if len(numbers) != self._counted("models"):
                raise IndexStaleError(f"{NAME} has lost a model")
            return max((number for number in numbers if number <= commit), default=None)

    def model_data(self, number: int) -> bytes | None:
        """Return the model that commit ``number`` brought."""
        with self.reading() as connection, CHECKED:
            found = connection.execute("SELECT data, sum FROM models WHERE number = ?", (number,)).fetchone()
            if found is None:
                return None
            if xxhash.xxh32_intdigest(found[0], number & 0xFFFFFFFF) != found[1]:
                raise IndexStaleError(f"a model in {NAME} is damaged")
            return bytes(found[0])


def _commit(found: tuple[Any, ...]) -> NotedCommit:
    if row_sum(*found[:-1]) != found[-1]:
        raise IndexStaleError(f"a commit in {NAME} is damaged")
    return NotedCommit.of(found[:-1])
