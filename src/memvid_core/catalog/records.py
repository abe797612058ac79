"""RecordTable: the ids and metadata of rows, and which of them were deleted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.catalog.commits import NO_COMMIT, CommitTable, NotedCommit, noted_commit
from memvid_core.catalog.rows import (
    HASH_MASK,
    SEED,
    CommitRow,
    RecordRow,
    Totals,
    id_hash,
    id_hashes,
    record_sum,
    record_sums,
)
from memvid_core.catalog.tables import CHECKED, NAME, marks, parts
from memvid_core.errors import IndexStaleError

__all__ = ["Changes", "RecordTable"]

_CHECKED_ROWS: Final = 16_384  # verified at a time
_ADDED_ROWS: Final = 256  # inserted at a time: with more tuples alive, the garbage collector visits every object
_DENSE: Final = 4  # if at least one row in this many is wanted, the whole range is read
_COLUMNS: Final = "row, id, born, died, dense, sum"
_NEWEST_OF_HASH: Final = f"SELECT {_COLUMNS} FROM records WHERE hash = ? ORDER BY row DESC LIMIT 1"
_NEWEST_OF_HASHES: Final = (
    "SELECT r.row, r.id, r.born, r.died, r.dense, r.sum FROM json_each(?) AS wanted CROSS JOIN records AS r "
    "WHERE r.row = (SELECT max(row) FROM records WHERE hash = wanted.value)"
)
_INSERT: Final = "INSERT INTO records VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?)"
# Returning many rows as JSON arrays takes a third of the time of one Python tuple per row.
_IDS: Final = (
    "SELECT json_group_array(row), json_group_array(id), json_group_array(sum), "
    f"json_group_array({SEED}) FROM records WHERE"
)

# Summed inside SQLite, which takes less time than returning the rows. The sum of NULL is 0; other types are damage.
_CHANGED_METADATA: Final = (
    "SELECT count(*), coalesce(group_concat(row), ''), coalesce(sum("
    "CASE typeof(metadata) WHEN 'null' THEN 0 WHEN 'text' THEN memvid_sum(CAST(metadata AS BLOB)) END "
    "IS NOT metadata_sum), 0) "
    "FROM records NOT INDEXED WHERE row >= ? AND row < ?"
)

_decode_numbers: Final = msgspec.json.Decoder(list[int]).decode
_decode_texts: Final = msgspec.json.Decoder(list[str]).decode

_Found = tuple[int, str, int, int | None, int, int]
"""A record read from the table: row, id, born, died, dense, checksum."""


class Changes(NamedTuple):
    """The changes of a range of commits, read from one state of the catalog.

    Attributes:
        commit: The last commit, or None.
        missing: Rows lost to damaged frames.
        sparse: Rows without a vector.
        dead: Deleted rows.
    """

    commit: CommitRow | None
    missing: NDArray[np.int64]
    sparse: NDArray[np.int64]
    dead: NDArray[np.int64]


class RecordTable(CommitTable):
    """The table of records. Every row has a checksum, and the last commit the totals of all rows."""

    def __init__(self, path: Path | None) -> None:
        self._hashes_verified = False
        self._metadata_verified = 0  # rows, from the first
        self._metadata_found = 0  # records among them
        super().__init__(path)

    # --- applying a commit; call these inside a transaction ---

    def whole_deletions(self) -> list[tuple[int, int]]:
        """Return (commit, row) for every deleted row, without damaged entries."""
        sql = "SELECT row, id, born, died, dense, sum FROM records WHERE died IS NOT NULL"
        with self.reading() as connection, CHECKED:
            return [
                (died, row)
                for row, record_id, born, died, dense, check in connection.execute(sql)
                if record_sum(row, record_id, born, died, dense) == check
            ]

    def add_records(self, records: Iterable[RecordRow]) -> None:
        """Insert new records."""
        self._newest()  # before any row is added
        rest = iter(records)
        while part := list(islice(rest, _ADDED_ROWS)):
            rows, ids, born, dense, metadata = zip(*part, strict=True)
            hashes, sums, metadata_sums = record_sums(rows, ids, born, dense, metadata)
            columns = (rows, ids, born, map(int, dense), hashes, sums, metadata_sums, metadata)
            self._writer.executemany(_INSERT, zip(*columns, strict=True))
            sparse = [row for row, has in zip(rows, dense, strict=True) if not has]
            before = self._newest().totals.hashes
            added = (before + sum(hashes) & HASH_MASK) - before
            self._add(Totals(len(part), added, len(sparse), sum(sparse)))

    def bury(self, rows: Sequence[int], number: int) -> None:
        """Mark rows as deleted by commit ``number``, which is the last commit or the one being applied."""
        if not rows:
            return
        for part in parts(rows):
            found = [record[:5] for record in self._of_rows(part) if record[3] is None]
            self._writer.executemany(
                "UPDATE records SET died = ?, sum = ? WHERE row = ?",
                [(number, record_sum(row, name, born, number, dense), row) for row, name, born, _, dense in found],
            )
            self._add(Totals(buried=len(found), buried_rows=sum(row for row, *_ in found)))
        newest = self._newest()
        if newest.row.number == number:  # the commit is stored already, with earlier totals
            self._put_commit(newest)

    def _of_rows(self, rows: Sequence[int]) -> list[_Found]:
        """Read some of the rows that are about to be changed, without metadata.

        Raises:
            IndexStaleError: If one is damaged, so that a new checksum would hide that, or has been lost.
        """
        with CHECKED:
            found: list[_Found] = self._writer.execute(
                f"SELECT {_COLUMNS} FROM records WHERE row IN ({marks(rows)})", rows
            ).fetchall()
            for record in found:
                _verify_record(record)
            last = self._noted()
            if last.row.rows == last.totals.present:  # else some are missing, because their frames are damaged
                wanted = {row for row in rows if row < last.row.rows}
                if not wanted <= {record[0] for record in found}:
                    raise IndexStaleError(f"{NAME} has lost rows; rebuild it")
        return found

    def _live_of(self, hashes: Sequence[int]) -> list[_Found]:
        """Read the live rows with ids of some hashes, which are about to be changed, without metadata.

        Raises:
            IndexStaleError: If one is damaged.
        """
        with CHECKED:
            found: list[_Found] = self._writer.execute(
                f"SELECT {_COLUMNS} FROM records WHERE hash IN ({marks(hashes)}) AND died IS NULL", hashes
            ).fetchall()
            for record in found:
                _verify_record(record)
        return found

    def bury_replaced(self, start: int, stop: int, number: int) -> None:
        """Mark rows before ``start`` as deleted if a row in [``start``, ``stop``) has the same id.

        For a commit with unreadable deletions: an id must not have two live records.
        """
        found = self._writer.execute(
            "SELECT row FROM records WHERE died IS NULL AND row < ? "
            "AND hash IN (SELECT hash FROM records WHERE row >= ? AND row < ?)",
            (start, start, stop),
        )
        self.bury([row for (row,) in found.fetchall()], number)

    # --- queries ---

    def live_rows(self, ids: Sequence[str], commit: int) -> dict[str, int]:
        """Return the row of each id that is live after ``commit``.

        Only the newest row of an id is read, however often it was written, unless it is newer than ``commit``.
        """
        if len(ids) > 1 and not self._noted().totals.present:  # there are no records yet
            self._verify_hashes()
            return {}
        found = self._newest_of_ids(ids)
        later = [record_id for _, record_id, born, *_ in found if born > commit]
        live = {
            record_id: row
            for row, record_id, born, died, *_ in [*found, *(self._of_ids(later) if later else ())]
            if born <= commit and (died is None or died > commit)
        }
        if len(live) < len(ids):  # a row that is not found may be lost
            self._verify_hashes()
        return live

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return every row with one of the ids, also deleted ones, (n,) int64, ascending."""
        self._verify_hashes()
        return np.array(sorted(row for row, *_ in self._of_ids(ids)), np.int64)

    def _newest_of_ids(self, ids: Sequence[str]) -> list[_Found]:
        """Return the columns of the newest row with each of the ids, without metadata."""
        with CHECKED:
            if len(ids) == 1 and ids[0].isascii():
                return _verified(self._fetch(_NEWEST_OF_HASH, (id_hash(ids[0]),)), ids)
            wanted = _valid(ids)
            hashes = f"[{','.join(map(str, id_hashes(wanted)))}]"
            return _verified(self._fetch(_NEWEST_OF_HASHES, (hashes,)), wanted)

    def _of_ids(self, ids: Sequence[str]) -> list[_Found]:
        """Return the columns of every row with one of the ids, without metadata."""
        wanted = _valid(ids)
        found: list[_Found] = []
        with CHECKED, self.reading() as connection:
            for part in parts(id_hashes(wanted)):
                sql = f"SELECT {_COLUMNS} FROM records WHERE hash IN ({marks(part)})"
                found += connection.execute(sql, part).fetchall()
            return _verified(found, wanted)

    def _verify_hashes(self) -> None:
        """Verify once that the index on the hashes is complete and sorted, so that a missing row does not exist.

        Raises:
            IndexStaleError: If it is damaged.
        """
        if self._hashes_verified or self._writer is self._reader or self._inside == threading.get_ident():
            return
        with CHECKED, self.snapshot() as connection:
            totals = self._noted().totals
            found = connection.execute("SELECT hash FROM records INDEXED BY records_hash ORDER BY hash")
            hashes = np.fromiter((number for (number,) in found), np.uint64)
        ascending = bool((hashes[1:] >= hashes[:-1]).all())
        if not ascending or len(hashes) != totals.present or int(hashes.sum()) & HASH_MASK != totals.hashes:
            raise IndexStaleError(f"the ids in {NAME} are damaged; rebuild it")
        self._hashes_verified = True

    def ids(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the id of each row, all of which must exist."""
        wanted = np.asarray(rows, np.int64)
        if not (wanted[1:] > wanted[:-1]).all():
            wanted = np.unique(wanted)
        found: dict[int, str] = {}
        with CHECKED:
            for sql, parameters in _selections(wanted):
                ((row_list, id_list, sum_list, seed_list),) = self._fetch(f"{_IDS} {sql}", parameters)
                ids, seeds = _decode_texts(id_list), _decode_numbers(seed_list)
                if list(map(xxhash.xxh32_intdigest, map(str.encode, ids), seeds)) != _decode_numbers(sum_list):
                    raise IndexStaleError(f"a row of {NAME} is damaged; rebuild it")
                found.update(zip(_decode_numbers(row_list), ids, strict=True))
            if not found.keys() >= set(
                wanted.tolist()
            ):  # a range may find deleted rows as well, so counts prove nothing
                raise IndexStaleError(f"{NAME} has lost rows; rebuild it")
        return found

    def verify_metadata(self, stop: int, start: int = 0) -> None:
        """Verify the metadata of the rows below ``stop``, each once. Call it before a filter or an order reads them.

        Args:
            stop: The number of rows after a commit.
            start: The number of rows after an earlier commit, whose metadata is not read.
        """
        if max(self._metadata_verified, start) >= stop:
            return
        if start > self._metadata_verified:
            with self.reading() as connection, CHECKED:
                if _verify_range(connection, start, stop) != self._present(stop) - self._present(start):
                    raise IndexStaleError(f"{NAME} has lost rows; rebuild it")
            return
        with self.reading() as connection, CHECKED:
            present = self._present(stop)
            found = self._metadata_found + _verify_range(connection, self._metadata_verified, stop)
            if found != present:
                raise IndexStaleError(f"{NAME} has lost rows; rebuild it")
            self._metadata_verified, self._metadata_found = stop, found

    def _present(self, stop: int) -> int:
        """Return how many of the first ``stop`` rows have a record, according to the commits."""
        return self._last_with(stop).totals.present

    def _last_with(self, rows: int) -> NotedCommit:
        """Return the last commit after which there are so many rows."""
        found = self._fetch("SELECT * FROM commits WHERE rows = ? ORDER BY number DESC LIMIT 1", (rows,))
        if not found:
            raise IndexStaleError(f"{NAME} has lost a commit; rebuild it")
        return noted_commit(found[0])

    def commit_columns(self, rows: int) -> tuple[int, ...]:
        """Return the columns of the last commit after which there are ``rows`` rows: they identify it.

        Raises:
            IndexStaleError: If there is none.
        """
        with CHECKED:
            return self._last_with(rows).values()

    def has_commit(self, columns: tuple[int, ...], rows: int) -> bool:
        """Return whether a commit has exactly these columns, and ``rows`` rows up to it."""
        with CHECKED:
            found = self._fetch("SELECT * FROM commits WHERE number = ?", columns[:1] or (-1,))
            noted = noted_commit(found[0]) if found else NO_COMMIT
            return noted.values() == columns and noted.row.rows == rows

    def changes(self, after: int, upto: int) -> Changes:
        """Return the changes of the commits in (``after``, ``upto``], from one state of the catalog.

        Args:
            after: A commit number; -1 for the beginning.
            upto: A commit number.

        Raises:
            IndexStaleError: If the rows contradict the commits.
        """
        with self.snapshot(), CHECKED:
            before, last = self._commit_before(after), self._commit_before(upto)
            start, stop = before.row.rows, last.row.rows
            missing = self._lost(stop - start - (last.totals.present - before.totals.present), start, stop)
            sparse = self.without_vector(start, stop)
            dead = self.dead(stop, after, upto)
            counted = Totals(
                stop - start - len(missing),
                last.totals.hashes - before.totals.hashes,
                len(sparse),
                int(sparse.sum()),
                len(dead),
                int(dead.sum()),
            )
            if before.totals.plus(counted) != last.totals:
                raise IndexStaleError(f"{NAME} has other rows than its commits added and deleted; rebuild it")
            return Changes(last.row if last is not NO_COMMIT else None, missing, sparse, dead)

    def _lost(self, claimed: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the missing rows in [``start``, ``stop``), if the commits claim that some are.

        To count the rows takes most of the time of opening a large index, and shows nothing that is used before it is
        compared: whoever reads a row that the table has lost is told so.
        """
        return self.missing(start, stop) if claimed else np.empty(0, np.int64)

    def dead(self, rows: int, after: int, upto: int) -> NDArray[np.int64]:
        """Return the rows below ``rows`` that a commit in (``after``, ``upto``] deleted, (n,) int64."""
        return self._rows("SELECT row FROM records WHERE died > ? AND died <= ? AND row < ?", (after, upto, rows))

    def without_vector(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the rows in [``start``, ``stop``) without a vector, (n,) int64."""
        return self._rows("SELECT row FROM records WHERE dense = 0 AND row >= ? AND row < ?", (start, stop))

    def missing(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the rows in [``start``, ``stop``) that were lost to damaged frames, (n,) int64, ascending."""
        with self.snapshot(), CHECKED:
            if self._count_rows(start, stop) == stop - start:
                return np.empty(0, np.int64)
            present = self._rows("SELECT row FROM records WHERE row >= ? AND row < ?", (start, stop))
        return np.setdiff1d(np.arange(start, stop, dtype=np.int64), present, assume_unique=True)

    def _count_rows(self, start: int, stop: int) -> int:
        """Count the rows in [``start``, ``stop``)."""
        ((first, last),) = self._fetch("SELECT (SELECT min(row) FROM records), (SELECT max(row) FROM records)")
        if first is not None and start <= first and last < stop:  # SQLite counts a whole table page by page
            ((count,),) = self._fetch("SELECT count(*) FROM records NOT INDEXED")
        else:
            ((count,),) = self._fetch("SELECT count(*) FROM records WHERE row >= ? AND row < ?", (start, stop))
        return int(count)

    def _rows(self, sql: str, parameters: tuple[int, ...]) -> NDArray[np.int64]:
        with CHECKED:
            return np.array([row for (row,) in self._fetch(sql, parameters)], np.int64)


def _verify_range(connection: sqlite3.Connection, start: int, stop: int) -> int:
    """Verify the metadata of the records in rows [``start``, ``stop``) and return how many there are."""
    return sum(
        _verify_metadata(connection, first, min(stop, first + _CHECKED_ROWS))
        for first in range(start, stop, _CHECKED_ROWS)
    )


def _verify_metadata(connection: sqlite3.Connection, first: int, last: int) -> int:
    """Verify the metadata of the records in rows [``first``, ``last``) and return how many there are.

    Raises:
        IndexStaleError: If some of it is damaged, or a record is in the wrong row.
    """
    found, rows, changed = connection.execute(_CHANGED_METADATA, (first, last)).fetchone()
    if changed:
        raise IndexStaleError(f"the metadata in {NAME} is damaged; rebuild it")
    if found == last - first:
        if rows != ",".join(map(str, range(first, last))):
            raise IndexStaleError(f"a row of {NAME} is damaged; rebuild it")
    else:
        asked = "FROM records NOT INDEXED WHERE row >= ? AND row < ?"
        for record in connection.execute(f"SELECT {_COLUMNS} {asked}", (first, last)):
            _verify_record(record)
    return int(found)


def _valid(ids: Sequence[str]) -> dict[str, None]:
    """Return ids, each once, without those that are not valid Unicode, which match no record."""
    if all(map(str.isascii, ids)):
        return dict.fromkeys(ids)
    return dict.fromkeys(each for each in ids if each.isascii() or each.encode(errors="ignore").decode() == each)


def _verified(found: list[_Found], ids: Collection[str]) -> list[_Found]:
    """Return rows that were found by the hashes of ids.

    Raises:
        IndexStaleError: If one is damaged, or has another id.
    """
    for record in found:
        _verify_record(record)
    if not {record[1] for record in found} <= set(ids):
        raise IndexStaleError(f"the ids in {NAME} are damaged; rebuild it")
    return found


def _verify_record(found: _Found) -> None:
    """Verify the checksum of a record.

    Raises:
        IndexStaleError: If it is damaged.
    """
    row, record_id, born, died, dense, check = found
    if record_sum(row, record_id, born, died, dense) != check:
        raise IndexStaleError(f"a row of {NAME} is damaged; rebuild it")


def _selections(rows: NDArray[np.int64]) -> Iterator[tuple[str, list[int]]]:
    """Yield SQL conditions that select ascending rows; a dense part is selected as a range."""
    for start in range(0, len(rows), _CHECKED_ROWS):
        part = rows[start : start + _CHECKED_ROWS]
        first, last = int(part[0]), int(part[-1])
        if last - first < _DENSE * len(part):
            yield "row >= ? AND row <= ?", [first, last]
        else:
            yield from ((f"row IN ({marks(some)})", some) for some in parts(part.tolist()))
