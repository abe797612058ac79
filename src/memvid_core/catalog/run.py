"""RunTable: apply a run of small commits with a few SQL statements, after computing their changes in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from memvid_core.catalog.frame_rows import FrameRows
from memvid_core.catalog.records import RecordTable
from memvid_core.catalog.rows import (
    HASH_MASK,
    CommitRow,
    RecordRow,
    Totals,
    id_hash,
    metadata_sum,
    record_sum,
)
from memvid_core.catalog.tables import NAME, parts
from memvid_core.errors import IndexStaleError
from memvid_core.model import FrameLocation

__all__ = ["CommitContents", "RunTable"]


class CommitContents(NamedTuple):
    """The contents of a commit: its catalog row, first row, records, frames, and the rows it deletes."""

    commit: CommitRow
    first_row: int
    records: Sequence[RecordRow]
    frames: Sequence[FrameLocation]
    tombstones: Sequence[int]


class _LiveRow(NamedTuple):
    """A live record: the values that its checksum covers, and the hash of its id."""

    row: int
    id: str
    born: int
    dense: int
    hash: int


class RunTable(RecordTable, FrameRows):
    """The tables of records and frames, with an operation that applies many small commits at once."""

    def add_run(self, run: Sequence[CommitContents]) -> None:
        """Apply consecutive small commits; call it inside a transaction.

        The result equals :meth:`add_records`, :meth:`add_frames`, :meth:`bury`, :meth:`add_commit` and
        :meth:`bury_replaced` for each commit.

        Raises:
            IndexStaleError: If one of the commits, or a later one, is stored already.
        """
        newest = self._newest()
        taken = _Run(newest.row.number, newest.totals, self._live_before(run))
        for contents in run:
            taken.take(contents)
        execute = self._writer.executemany
        execute("UPDATE records SET died = ?, sum = ? WHERE row = ?", taken.deaths())
        execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", taken.births())
        self.add_frames_of_many(contents.frames for contents in run)
        self._put_commits(taken.commits)

    def _live_before(self, run: Sequence[CommitContents]) -> list[_LiveRow]:
        """Return the live rows that a run may delete: its tombstones, and rows with the id of one of its records."""
        first = run[0].first_row
        rows = [row for contents in run for row in contents.tombstones if row < first]
        hashes = [id_hash(record_id) for contents in run for _, record_id, *_ in contents.records]
        found = [record for part in parts(rows) for record in self._of_rows(part)]
        found += [record for part in parts(hashes) for record in self._live_of(part)]
        live = [(row, name, born, dense) for row, name, born, died, dense, _ in found if died is None]
        return list({row: _LiveRow(row, name, born, dense, id_hash(name)) for row, name, born, dense in live}.values())


class _Run:
    """Compute the changes of consecutive commits to the catalog.

    Args:
        number: The number of the catalog's last commit.
        totals: The totals up to that commit.
        live: The live rows of the catalog that the commits may delete.
    """

    def __init__(self, number: int, totals: Totals, live: Iterable[_LiveRow]) -> None:
        self.totals = totals
        """The totals up to the last commit taken."""
        self._number = number
        self.commits: list[tuple[int, ...]] = []
        """The columns of the commits, without checksums."""
        self._live: dict[int, _LiveRow] = {}
        self._of_hash: dict[int, list[int]] = {}
        self._born: list[tuple[_LiveRow, str | None]] = []
        self._first = -1  # the first row of the run
        self._died: dict[int, tuple[int, _LiveRow]] = {}
        for row in live:
            self._remember(row)

    def _remember(self, row: _LiveRow) -> None:
        self._live[row.row] = row
        self._of_hash.setdefault(row.hash, []).append(row.row)

    def take(self, contents: CommitContents) -> None:
        """Add the changes of the next commit.

        Raises:
            IndexStaleError: If it is stored already.
        """
        commit = contents.commit
        if self._number >= commit.number:
            raise IndexStaleError(f"{NAME} has commit {commit.number} already; rebuild it")
        if self._first < 0:
            self._first = contents.first_row
        added = [self._added(record) for record in contents.records]
        replaced = (row for new in added for row in self._of_hash.get(new.hash, ()) if row < contents.first_row)
        deleted = self._bury([*contents.tombstones, *replaced], commit.number)
        self._count(added, deleted)
        self.commits.append((*commit, self._number, *self.totals))
        self._number = commit.number

    def _added(self, record: RecordRow) -> _LiveRow:
        row, record_id, born, dense, metadata = record
        made = _LiveRow(row, record_id, born, int(dense), id_hash(record_id))
        self._remember(made)
        self._born.append((made, metadata))
        return made

    def _bury(self, rows: Iterable[int], number: int) -> list[int]:
        """Delete the live ones of some rows, and return them."""
        deleted = []
        for row in rows:
            live = self._live.pop(row, None)
            if live is not None:
                self._died[row] = number, live
                deleted.append(row)
        return deleted

    def _count(self, added: list[_LiveRow], deleted: list[int]) -> None:
        present, hashes, sparse, sparse_rows, buried, buried_rows = self.totals
        bare = [row.row for row in added if not row.dense]
        for row in added:
            hashes += row.hash
        self.totals = Totals(
            present + len(added),
            hashes & HASH_MASK,
            sparse + len(bare),
            sparse_rows + sum(bare),
            buried + len(deleted),
            buried_rows + sum(deleted),
        )

    def births(self) -> Iterator[tuple[Any, ...]]:
        """Yield the table rows of the new records."""
        for new, metadata in self._born:
            row, record_id, born, dense, hashed = new
            died = self._died[row][0] if row in self._died else None
            check = record_sum(row, record_id, born, died, dense)
            yield row, record_id, born, died, dense, hashed, check, metadata_sum(metadata), metadata

    def deaths(self) -> Iterator[tuple[int, int, int]]:
        """Yield (commit, new checksum, row) for each deleted row from before the run."""
        for number, old in self._died.values():
            if old.row < self._first:
                yield number, record_sum(old.row, old.id, old.born, number, old.dense), old.row
