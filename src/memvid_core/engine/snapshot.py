"""Epoch: one file of a memory with what is derived from it, and the snapshots of it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import Embedder
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.errors import ClosedError, DamagedFrameError, StorageError
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
    def records(self) -> int:
        """How many records there are."""
        return int(np.count_nonzero(self.live))


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
