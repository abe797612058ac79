"""Snapshot and Epoch: the state after one commit, and the file and index that it is read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.ordering import Key, by_value, keys_of
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.engine.validation import wanted_ids
from memvid_core.errors import ClosedError, IndexStaleError, QueryError
from memvid_core.journal import Journal, RecordReader
from memvid_core.journal.frames import Kind
from memvid_core.model import Embedder, FrameLocation, Record
from memvid_core.vectors.vector_index import VectorIndex
from memvid_core.words.lexical_index import LexicalIndex

__all__ = ["Epoch", "Snapshot"]

_ALL_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Snapshot:
    """The state after one commit: which rows are live, and which of those have a vector. Immutable.

    It keeps its epoch open: a compaction renumbers rows, so they are only valid in the file that they were read from.

    Attributes:
        epoch: The file and the index.
        commit: The number of the commit.
        time: The time of the commit, in microseconds since 1970.
        rows: The number of rows, live or not.
        live: Which rows are live: bool, (rows,).
        dense: Which live rows have a vector: bool, (rows,).
    """

    epoch: Epoch
    commit: int
    time: int
    rows: int
    live: NDArray[np.bool_]
    dense: NDArray[np.bool_]
    embedder: Embedder | None = None
    """The embedder, in the state that made the vectors of this snapshot."""
    lost: int = 0
    """The number of rows lost to damaged frames."""

    @property
    def record_count(self) -> int:
        """The number of live records."""
        return int(np.count_nonzero(self.live))

    # --- which rows ---

    def live_places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places (n,) of live rows among all live ones: those without the deleted rows before them."""
        bits, before = self._ranks
        words = rows >> 6
        earlier = bits[words] & ~(np.uint64(_ALL_BITS) << (rows & 63).astype(np.uint64))
        places: NDArray[np.int64] = before[words] + np.bitwise_count(earlier)
        return places

    @cached_property
    def _ranks(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """For each 64 rows: a bit for each live one, the first row lowest; and the number of live rows before them."""
        packed = np.zeros(-(-len(self.live) // 64) * 8, np.uint8)
        packed[: -(-len(self.live) // 8)] = np.packbits(self.live, bitorder="little")
        bits = packed.view("<u8").astype(np.uint64)
        counts = np.bitwise_count(bits).astype(np.int64)
        return bits, np.cumsum(counts) - counts

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the rows of live records by id; unknown ids are omitted."""
        return self.epoch.index.catalog.live_rows(ids, self.commit)

    def ids_of(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of rows, in their order."""
        found = self.epoch.index.catalog.ids(rows)
        return [found[row] for row in rows]

    def mask(self, where: Mapping[str, Any] | None) -> NDArray[np.bool_]:
        """Return which rows are live and match a filter: bool, (rows,)."""
        if where is None or where == {}:
            return self.live
        return self.live & self.epoch.index.mask(where, self.rows)

    def selected(self, ids: Iterable[str] | str | None, where: Mapping[str, Any] | None) -> list[int]:
        """Return the live rows with some ids that match a filter; either of the two may be None."""
        rows = None if ids is None else list(self.rows_of(wanted_ids(ids)).values())
        if where is None:
            return rows or []
        mask = self.mask(where)
        return np.flatnonzero(mask).tolist() if rows is None else [row for row in rows if mask[row]]

    def ordered(self, where: Mapping[str, Any] | None, order_by: str | None, *, descending: bool) -> list[int]:
        """Return the live rows that match a filter, in the order of a metadata field, or as they were added.

        Raises:
            QueryError: ``order_by`` is not a str.
            FilterError: The filter is invalid.
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

    def sort_keys(self, rows: Sequence[int], order_by: str) -> dict[int, Key]:
        """Return what :meth:`ordered` sorts rows by."""
        with self.epoch.index.catalog.reading() as connection:
            return keys_of(connection, rows, order_by)

    # --- the contents of rows ---

    def record(self, row: int) -> Record:
        """Return the record at ``row``, decoded from the video.

        Raises:
            DamagedFrameError: Its frame is damaged.
        """
        return self.epoch.record(row)

    def get(self, ids: Sequence[str]) -> list[Record]:
        """Return the records with some ids, in their order; unknown ids are omitted.

        Raises:
            IndexStaleError: The index is damaged: its rows contain other records.
            DamagedFrameError: A record's frame is damaged.
        """
        rows = self.rows_of(ids)
        wanted = [record_id for record_id in ids if record_id in rows]
        found = [self.epoch.record(rows[record_id]) for record_id in wanted]
        if [record.id for record in found] != wanted:
            raise IndexStaleError("the index leads to records of other ids")
        return found

    def records(self, after: int = -1) -> Iterator[tuple[int, Record]]:
        """Yield the live records after row ``after`` with their rows, in the order they were added."""
        return self.epoch.records(self, after)

    def vectors(self, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) of rows; rows without a vector are omitted.

        Raises:
            DamagedFrameError: A frame is damaged.
        """
        return self.epoch.vectors(self, rows)

    def vectors_of(self, ids: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return the stored vectors (d,) by id; ids without a record or a vector are omitted."""
        rows = self.rows_of(ids)
        found = self.epoch.vectors(self, list(rows.values()))
        return {record_id: found[row] for record_id, row in rows.items() if row in found}

    def frames_of(self, ids: Sequence[str]) -> dict[str, FrameLocation]:
        """Return the locations of records in the file by id; unknown ids are omitted."""
        frames = self.epoch.index.frame_table(Kind.RECORDS)
        found = {record_id: frames.find(row) for record_id, row in self.rows_of(ids).items()}
        return {record_id: frame for record_id, frame in found.items() if frame is not None}

    # --- indexes ---

    @property
    def vector_index(self) -> VectorIndex | None:
        """The vector index; None if no record has a vector."""
        return self.epoch.index.vectors()

    @property
    def lexical_index(self) -> LexicalIndex:
        """The lexical index, which may lack the newest rows."""
        return self.epoch.index.words.index()

    def lexical_index_in_ram(self) -> LexicalIndex:
        """Return an empty lexical index in RAM, which replaces the one on disk for this process."""
        return self.epoch.index.words.in_ram()

    def missing(self, start: int, stop: int) -> set[int]:
        """Return the rows from ``start`` to ``stop`` that were lost to damaged frames."""
        return set(self.epoch.index.catalog.missing(start, stop).tolist())

    # --- concurrent changes ---

    def reading(self) -> AbstractContextManager[None]:
        """Return a context that raises ``ClosedError`` if a read in it fails because the memory was closed."""
        return self.epoch.reading()

    def same_rows(self, other: Snapshot) -> bool:
        """Return whether a row number means the same record in both, that is, no compaction was between them."""
        return self.epoch.journal.header == other.epoch.journal.header

    def reduced_to(self, newer: Snapshot) -> Snapshot:
        """Return this state in the epoch of a newer snapshot of the same rows, without the rows that it has lost."""
        live = newer.live[: self.rows] & self.live
        return replace(newer, rows=self.rows, live=live, dense=newer.dense[: self.rows])


class _Reading:  # a class, because it is faster than a generator and used by every search
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

    After a compaction, the memory continues with another epoch. This one stays open for readers in other threads or in
    the middle of an iteration, and is closed when the last of them is done.

    Args:
        journal: The journal.
        index: Its index.
        cache_bytes: The size of the cache of decoded frames.
    """

    def __init__(self, journal: Journal, index: IndexFolder, cache_bytes: int) -> None:
        self.journal = journal
        self.index = index
        self.closed = False
        self._handed_on = False
        self.reader = RecordReader(journal.video, lambda number: index.catalog.frame(number), cache_bytes)

    def empty(self, time: int = 0, embedder: Embedder | None = None) -> Snapshot:
        """Return the snapshot before the first commit."""
        return Snapshot(self, 0, time, 0, np.zeros(0, np.bool_), np.zeros(0, np.bool_), embedder)

    def record(self, row: int) -> Record:
        """Return the record at ``row``, decoded from the video.

        Raises:
            DamagedFrameError: Its frame is damaged.
        """
        return Record(*self.reader.row(row, self._place(Kind.RECORDS, row)))

    def _place(self, kind: Kind, row: int) -> FrameLocation:
        found = self.index.frame_table(kind).find(row)
        if found is None:
            raise IndexStaleError(f"the index has lost the frame of row {row}; rebuild it")
        return found

    def records(self, snapshot: Snapshot, after: int = -1) -> Iterator[tuple[int, Record]]:
        """Yield the live records after row ``after`` with their rows, in the order added."""
        place: FrameLocation | None = None
        for row in (after + 1 + np.flatnonzero(snapshot.live[after + 1 :])).tolist():
            if place is None or row >= place.row + place.items:
                place = self._place(Kind.RECORDS, row)
            yield row, Record(*self.reader.row(row, place))

    def vectors(self, snapshot: Snapshot, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) of rows; rows without a vector are omitted.

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
        """Return a context that raises ``ClosedError`` if a read in it fails because the memory was closed.

        Raises:
            ClosedError: Another thread closed the memory.
        """
        return _Reading(self)

    def hand_on(self) -> Journal:
        """Return the journal for use in another epoch, which then closes it."""
        self._handed_on = True
        return self.journal

    def close(self) -> None:
        """Close journal and index. Closing twice is allowed."""
        self.closed = True
        if not self._handed_on:
            self.journal.close()
        self.index.close()

    def __del__(self) -> None:
        self.close()
