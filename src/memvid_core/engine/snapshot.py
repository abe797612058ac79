"""Epoch: one file of a memory with what is derived from it, and the snapshots of it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import Embedder
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.engine.validation import wanted_ids
from memvid_core.errors import ClosedError, DamagedFrameError, QueryError, StorageError
from memvid_core.index.catalog.ordering import by_value
from memvid_core.index.stale import IndexStaleError
from memvid_core.index.vectors.vector_index import VectorIndex
from memvid_core.index.words.lexical_index import LexicalIndex
from memvid_core.journal import Journal, RecordReader
from memvid_core.journal.frames import Kind
from memvid_core.model import FrameLocation, Record

__all__ = ["Epoch", "Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """The state after one commit: which rows are live, and which of those have a vector. Never changes.

    It keeps its epoch: rows are numbered anew by a compaction, and mean nothing in the file that it wrote.
    """

    epoch: Epoch
    commit: int
    time: int
    rows: int
    live: NDArray[np.bool_]
    dense: NDArray[np.bool_]
    embedder: Embedder | None = None
    """What made the vectors of this state: it knows what it knew then, whatever is learned later."""
    lost: int = 0
    """How many rows a damaged frame took away, with whatever they held."""

    @property
    def record_count(self) -> int:
        """The number of live records."""
        return int(np.count_nonzero(self.live))

    # --- which rows ---

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the rows of live records by id; ids that are not there are left out."""
        return self.epoch.index.catalog.live_rows(ids, self.commit)

    def ids_of(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of rows, in their order."""
        found = self.epoch.index.catalog.ids(rows)
        return [found[row] for row in rows]

    def mask(self, where: Mapping[str, Any] | None) -> NDArray[np.bool_]:
        """Return which rows are live and match a filter: bool, one a row."""
        if where is None or where == {}:
            return self.live
        return self.live & self.epoch.index.mask(where, self.rows)

    def selected(self, ids: Iterable[str] | str | None, where: Mapping[str, Any] | None) -> list[int]:
        """Return the live rows that ids, a filter or both at once name; without a filter, those of the ids."""
        rows = None if ids is None else list(self.rows_of(wanted_ids(ids)).values())
        if where is None:
            return rows or []
        mask = self.mask(where)
        return np.flatnonzero(mask).tolist() if rows is None else [row for row in rows if mask[row]]

    def ordered(self, where: Mapping[str, Any] | None, order_by: str | None, *, descending: bool) -> list[int]:
        """Return the live rows that match a filter, in the order of a metadata field, or as they were added.

        Raises:
            QueryError: ``order_by`` is not a str.
            FilterError: The filter is wrong.
        """
        rows: list[int] = np.flatnonzero(self.mask(where)).tolist()
        if order_by is None:
            return rows[::-1] if descending else rows
        if not isinstance(order_by, str):
            raise QueryError(f"order_by names a metadata field, as a str, not {order_by!r}")
        catalog = self.epoch.index.catalog
        catalog.verify_metadata(self.rows)
        with catalog.reading() as connection:
            return by_value(connection, rows, order_by, descending=descending)

    # --- what is in them ---

    def record(self, row: int) -> Record:
        """Return the record at ``row``, decoded from the video.

        Raises:
            DamagedFrameError: Its frame is damaged.
        """
        return self.epoch.record(row)

    def get(self, ids: Sequence[str]) -> list[Record]:
        """Return the records with some ids, in their order; ids that are not there are left out.

        Raises:
            IndexStaleError: The index names rows that hold other records.
            DamagedFrameError: A record's frame is damaged.
        """
        rows = self.rows_of(ids)
        wanted = [record_id for record_id in ids if record_id in rows]
        found = [self.epoch.record(rows[record_id]) for record_id in wanted]
        if [record.id for record in found] != wanted:
            raise IndexStaleError("the index leads to records of other ids")
        return found

    def records(self, after: int = -1) -> Iterator[tuple[int, Record]]:
        """Yield the live records of the rows beyond ``after`` with their rows, in the order they were added."""
        return self.epoch.records(self, after)

    def vectors(self, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) of rows; rows without one are left out.

        Raises:
            DamagedFrameError: A frame is damaged.
        """
        return self.epoch.vectors(self, rows)

    def vectors_of(self, ids: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return the stored vectors (d,) by id; ids that are not there or have none are left out."""
        rows = self.rows_of(ids)
        found = self.epoch.vectors(self, list(rows.values()))
        return {record_id: found[row] for record_id, row in rows.items() if row in found}

    def frames_of(self, ids: Sequence[str]) -> dict[str, FrameLocation]:
        """Return where in the file records lie, by id; ids that are not there are left out."""
        frames = self.epoch.index.frame_table(Kind.RECORDS)
        found = {record_id: frames.find(row) for record_id, row in self.rows_of(ids).items()}
        return {record_id: frame for record_id, frame in found.items() if frame is not None}

    # --- what searches them ---

    @property
    def vector_index(self) -> VectorIndex | None:
        """The index of vectors; None if no record has one."""
        return self.epoch.index.vectors()

    @property
    def lexical_index(self) -> LexicalIndex:
        """The index of words, which may not have been fed the newest rows yet."""
        return self.epoch.index.lexical()

    def lexical_index_in_ram(self) -> LexicalIndex:
        """Return an empty index of words in RAM, which replaces the one on disk for this process."""
        return self.epoch.index.lexical_in_ram()

    def missing(self, start: int, stop: int) -> set[int]:
        """Return the rows from ``start`` to ``stop`` that were lost to damaged frames."""
        return set(self.epoch.index.catalog.missing(start, stop).tolist())

    # --- in the presence of others ---

    def reading(self) -> AbstractContextManager[None]:
        """Raise ``ClosedError`` for what fails inside because another thread closed the memory."""
        return self.epoch.reading()

    def same_rows(self, other: Snapshot) -> bool:
        """Return whether a row number means the same record in both: no compaction lies between them."""
        return self.epoch.journal.header == other.epoch.journal.header

    def reduced_to(self, newer: Snapshot) -> Snapshot:
        """Return this state, read through a newer snapshot of the same rows: without what that has lost."""
        live = newer.live[: self.rows] & self.live
        return replace(newer, rows=self.rows, live=live, dense=newer.dense[: self.rows])


class _Reading:  # a class, because every question pays for it
    __slots__ = ("_epoch",)

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if self._epoch.closed and isinstance(exc, Exception) and not isinstance(exc, ClosedError):
            raise ClosedError("the memory was closed while it was being read") from exc


class Epoch:
    """A journal and its index, from one compaction to the next.

    A compaction, or a reader that sees one, goes on with another epoch. This one stays open for those who are
    still reading from it, in another thread or half-way through all records, and is closed when the last of them is
    done.

    Args:
        journal: The log.
        index: What is derived from it.
        cache_bytes: How much of what was read last to keep.
    """

    def __init__(self, journal: Journal, index: IndexFolder, cache_bytes: int) -> None:
        self.journal = journal
        self.index = index
        self.closed = False
        self._handed_on = False
        own = weakref.proxy(self)  # a circle would keep the files open until the collector comes by
        self.reader = RecordReader(journal.video, lambda number: own.record_frame(number), cache_bytes)

    def record_frame(self, number: int) -> FrameLocation:
        """The frame with that number, where a record goes on.

        Raises:
            DamagedFrameError: It is no such frame.
        """
        found = self.index.catalog.frame(number)
        if found is None:
            raise DamagedFrameError(number, "it is not where a record goes on")
        return found

    def empty(self, time: int = 0, embedder: Embedder | None = None) -> Snapshot:
        """The snapshot before the first commit."""
        return Snapshot(self, 0, time, 0, np.zeros(0, np.bool_), np.zeros(0, np.bool_), embedder)

    def record(self, row: int) -> Record:
        """The record at ``row``, decoded from the video.

        Raises:
            DamagedFrameError: Its frame is damaged.
        """
        return Record(*self.reader.row(row, self._place(Kind.RECORDS, row)))

    def _place(self, kind: Kind, row: int) -> FrameLocation:
        found = self.index.frame_table(kind).find(row)
        if found is None:
            raise StorageError(f"row {row} is in no frame that the index knows; delete the index folder to rebuild it")
        return found

    def records(self, snapshot: Snapshot, after: int = -1) -> Iterator[tuple[int, Record]]:
        """Yield the live records of the rows beyond ``after`` with their rows, in the order added."""
        place: FrameLocation | None = None
        for row in (after + 1 + np.flatnonzero(snapshot.live[after + 1 :])).tolist():
            if place is None or row >= place.row + place.items:
                place = self._place(Kind.RECORDS, row)
            yield row, Record(*self.reader.row(row, place))

    def vectors(self, snapshot: Snapshot, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """The vectors of ``rows`` as they are stored; rows without one are left out.

        Raises:
            DamagedFrameError: A frame is damaged.
        """
        if self.journal.header.vectors == "none":
            index = self.index.vectors()
            kept = [row for row in rows if index is not None and snapshot.dense[row]]
            return {} if index is None else dict(zip(kept, index.vectors(np.array(kept, np.int64)), strict=True))
        found: dict[int, NDArray[Any]] = {}
        held: dict[int, NDArray[Any]] = {}
        for row in sorted(rows):
            if row not in held and snapshot.dense[row]:
                place = self._place(Kind.VECTORS, row)
                numbers, matrix = self.reader.vectors(place)
                held = dict(zip(numbers.tolist(), matrix, strict=True))
            if row in held:
                found[row] = held[row]
        return found

    def reading(self) -> _Reading:
        """What fails in it because another thread closed the memory meanwhile says so.

        Raises:
            ClosedError: The memory was closed.
        """
        return _Reading(self)

    def hand_on(self) -> Journal:
        """Give the journal to another epoch, which closes it from now on."""
        self._handed_on = True
        return self.journal

    def close(self) -> None:
        """Close journal and index; closing twice is fine."""
        self.closed = True
        if not self._handed_on:
            self.journal.close()
        self.index.close()

    def __del__(self) -> None:
        self.close()
