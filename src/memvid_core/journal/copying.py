"""Rewrite a journal: without deleted records, with small commits merged, or with another codec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import Action, Hint, MemoryFileError, UnsupportedFormatError
from memvid_core.journal.entries import Batch, Entry, Header
from memvid_core.journal.frames import encode_rows
from memvid_core.journal.journal import Journal
from memvid_core.model import Damage
from memvid_core.video import FrameCodec
from memvid_core.video.film import Film

__all__ = ["MERGED_BYTES", "JournalCopy", "check_known", "copy_journal"]

MERGED_BYTES = 32 << 20
"""The size of a merged commit in bytes, which is kept in memory."""


@dataclass
class _Pending:
    """The contents collected for the next commit."""

    rows: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The rows' numbers in the source."""
    matrices: list[NDArray[Any]] = field(default_factory=list)
    places: list[NDArray[np.int64]] = field(default_factory=list)
    tombstones: Sequence[int] = ()
    model: bytes | None = None
    pictures: dict[int, bytes] = field(default_factory=dict)
    size: int = 0

    def take(self, entry: Entry, live: NDArray[np.bool_] | None) -> None:
        """Append the live records of a commit; ``live`` None appends all."""
        place_of: dict[int, int] = {}
        for row, record in zip(entry.row_numbers, entry.rows, strict=True):
            if live is None or (row < len(live) and live[row]):
                place_of[row] = len(self.rows)
                self.rows += encode_rows([record])
                self.numbers.append(row)
                self.size += len(self.rows[-1])
        for row, nal in entry.pictures.items():
            if row in place_of:
                self.pictures[place_of[row]] = nal
                self.size += len(nal)
        for numbers, matrix in entry.vectors:
            kept = np.array([row in place_of for row in numbers.tolist()], np.bool_)
            if kept.any():
                self.matrices.append(matrix[kept])
                self.places.append(np.array([place_of[row] for row in numbers[kept].tolist()], np.int64))
                self.size += self.matrices[-1].nbytes

    def batch(self) -> Batch:
        """Return the collected contents as one commit."""
        matrix = np.concatenate(self.matrices) if self.matrices else None
        places = np.concatenate(self.places) if self.places else None
        return Batch(self.rows, matrix, places, self.tombstones, self.model, self.pictures)


class JournalCopy:
    """Write a new journal: first the live records of another one, then the commits added to that meanwhile.

    Args:
        source: The journal to read, from its start.
        target: The path or file of the new journal.
        codec: The codec of the new journal.
        header: The header of the new journal.
        film: What the new file says about itself.
        drop_damaged: Continue with the readable records if the source is damaged.
        convert: Transforms the commits of the source before they are written.
        advance: Called with the byte position reached in the source.

    Raises:
        StorageError: If the target cannot be written.
    """

    def __init__(
        self,
        source: Journal,
        target: str | os.PathLike[str] | BinaryIO,
        codec: FrameCodec,
        header: Header,
        *,
        film: Film | None = None,
        drop_damaged: bool = False,
        convert: Callable[[Iterator[Entry]], Iterator[Entry]] = lambda entries: entries,
        advance: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.source = source
        self._convert = convert
        self.made = Journal.create_with(target, codec, header, film)
        """The new journal."""
        self._shows = self.made.shows and source.video.codec == codec
        self._drop_damaged = drop_damaged
        self._advance = advance
        self._kept: list[NDArray[np.int64]] = []  # rows of the source, ascending: their positions are the new numbers
        self._copied = np.zeros(0, np.int64)  # the same as one array, when all are known
        self._late: dict[int, int] = {}  # rows copied after that, with their new numbers

    def copy_live(
        self,
        live: NDArray[np.bool_],
        *,
        upto: int | None = None,
        keep_history: bool = False,
        acknowledged: int = 0,
        merged_bytes: int = MERGED_BYTES,
    ) -> Iterator[int]:
        """Write the live records, and yield the number of each written commit.

        Args:
            live: (rows,) bool, the rows of the source to keep.
            upto: The number of the last commit to read; None is the newest.
            keep_history: Write one commit for each commit, with its number and time, instead of merging them. Deleted
                records are left out.
            acknowledged: The byte offset in the source up to which commits are known to be durable.
            merged_bytes: The size of a merged commit, in bytes.

        Raises:
            MemoryFileError: If the source is damaged and ``drop_damaged`` is not set.
        """
        pending, last = _Pending(), None
        for entry in self._entries(upto, acknowledged):
            pending.model = entry.model or pending.model
            pending.take(entry, live)
            last = entry
            if keep_history or pending.size >= merged_bytes:
                yield self._write(pending, entry)
                pending, last = _Pending(), None
        if last is not None:
            yield self._write(pending, last)
        self._copied = np.concatenate(self._kept) if self._kept else self._copied
        self._kept = []

    def take_over(self, upto: int | None, acknowledged: int) -> int:
        """Copy each commit of the source after those that were read; return their number.

        Args:
            upto: The number of the last commit to copy; None is the newest, and the end of the source must be intact.
            acknowledged: The byte offset in the source up to which commits are known to be durable.

        Raises:
            MemoryFileError: If the source is damaged and ``drop_damaged`` is not set.
        """
        taken = 0
        for entry in self._entries(upto, acknowledged):
            first = self.made.cursor.row
            pending = _Pending(model=entry.model)
            pending.take(entry, None)
            self._late.update(zip(pending.numbers, count(first)))
            pending.tombstones = sorted(place for row in entry.tombstones if (place := self._place(row)) is not None)
            self.made.append(pending.batch(), number=entry.number, at=entry.time)
            taken += 1
        return taken

    def _entries(self, upto: int | None, acknowledged: int) -> Iterator[Entry]:
        """Read the next commits of the source; ``source.cursor`` is the position after the last yielded commit."""
        before = self.source.cursor
        if upto is not None and before.commit >= upto:
            return
        for entry in self._convert(self.source.replay(before, acknowledged=acknowledged)):
            if upto is not None and entry.number > upto:
                self.source.cursor = before
                return
            self._refuse(f"commit {entry.number}", entry.damage)
            check_known(entry)
            if not self._shows:
                entry.pictures = {}
            yield entry
            self._advance(entry.cursor.offset)
            if entry.number == upto:  # the commit after it may be incomplete
                return
            before = entry.cursor
        self._refuse("the end of the file", self.source.unfinished)

    def _write(self, pending: _Pending, last: Entry) -> int:
        self.made.append(pending.batch(), number=last.number, at=last.time)
        self._kept.append(np.array(pending.numbers, np.int64))
        return last.number

    def _place(self, row: int) -> int | None:
        """Return the new number of a row of the source, or None if it was left out."""
        place = int(np.searchsorted(self._copied, row))
        if place < len(self._copied) and self._copied[place] == row:
            return place
        return self._late.get(row)

    def _refuse(self, where: str, damage: Sequence[Damage]) -> None:
        lasting = [found for found in damage if not found.restored]
        if lasting and not self._drop_damaged:
            raise MemoryFileError(
                f"{where} is damaged ({lasting[0].reason}), and rewriting the file would make the loss permanent",
                hint=Hint(Action.DROP_DAMAGED),
            )


def check_known(entry: Entry) -> None:
    """Check that a commit has nothing that only a newer version knows, and that a rewriting would drop.

    Raises:
        UnsupportedFormatError: It has.
    """
    if entry.unknown:
        kinds = ", ".join(map(str, sorted(entry.unknown)))
        raise UnsupportedFormatError(
            f"commit {entry.number} has frames of kind {kinds}, which this memvid-core cannot rewrite; upgrade it"
        )


def copy_journal(
    source: Journal,
    target: str | os.PathLike[str] | BinaryIO,
    codec: FrameCodec,
    header: Header,
    live: NDArray[np.bool_],
    *,
    film: Film | None = None,
    upto: int | None = None,
    drop_damaged: bool = False,
    acknowledged: int = 0,
    convert: Callable[[Iterator[Entry]], Iterator[Entry]] = lambda entries: entries,
    advance: Callable[[int], None] = lambda done: None,
) -> Journal:
    """Write the live records of ``source`` to a new journal, with small commits merged.

    Args:
        source: The journal to read, from its start.
        target: The path or file of the new journal.
        codec: The codec of the new journal.
        header: The header of the new journal.
        live: (rows,) bool, the rows of the source to keep.
        film: What the new file says about itself.
        upto: The number of the last commit to read; None is the newest.
        drop_damaged: Continue with the readable records if the source is damaged.
        acknowledged: The byte offset in the source up to which commits are known to be durable.
        convert: Transforms the commits of the source before they are written.
        advance: Called with the byte position reached in the source.

    Returns:
        The new journal, open and durable.

    Raises:
        MemoryFileError: If the source is damaged and ``drop_damaged`` is not set.
        StorageError: If the target cannot be written.
    """
    copying = JournalCopy(
        source, target, codec, header, film=film, drop_damaged=drop_damaged, convert=convert, advance=advance
    )
    try:
        for _ in copying.copy_live(live, upto=upto, acknowledged=acknowledged):
            pass
    except BaseException:
        copying.made.close()
        raise
    return copying.made
