"""Writing a journal anew: without what was deleted, with small commits merged, or through another codec."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import Action, Hint, MemoryFileError
from memvid_core.journal.entries import Batch, Entry, Header
from memvid_core.journal.journal import Journal
from memvid_core.model import Damage
from memvid_core.video import FrameCodec

__all__ = ["rewrite"]

_MERGED_BYTES = 32 << 20  # of content in one merged commit: what is held in memory at a time
_encode_row = msgspec.msgpack.Encoder().encode


@dataclass
class _Pending:
    """Content gathered for the next commit."""

    rows: list[bytes] = field(default_factory=list)
    matrices: list[NDArray[Any]] = field(default_factory=list)
    places: list[NDArray[np.int64]] = field(default_factory=list)
    model: bytes | None = None
    size: int = 0

    def take(self, entry: Entry, live: NDArray[np.bool_]) -> None:
        """The live records of a commit, behind what is there."""
        place_of: dict[int, int] = {}
        for row, record in zip(entry.row_numbers, entry.rows, strict=True):
            if row < len(live) and live[row]:
                place_of[row] = len(self.rows)
                self.rows.append(_encode_row(record))
                self.size += len(self.rows[-1])
        for numbers, matrix in entry.vectors:
            kept = np.array([row in place_of for row in numbers.tolist()], np.bool_)
            if kept.any():
                self.matrices.append(matrix[kept])
                self.places.append(np.array([place_of[row] for row in numbers[kept].tolist()], np.int64))
                self.size += self.matrices[-1].nbytes

    def batch(self) -> Batch:
        """All of it as one commit."""
        if not self.matrices:
            return Batch(self.rows, model=self.model)
        return Batch(self.rows, np.concatenate(self.matrices), np.concatenate(self.places), model=self.model)


def rewrite(
    source: Journal,
    target: str | os.PathLike[str] | BinaryIO,
    codec: FrameCodec,
    header: Header,
    live: NDArray[np.bool_],
    *,
    upto: int | None = None,
    keep_history: bool = False,
    drop_damaged: bool = False,
    acknowledged: int = 0,
    advance: Callable[[int], None] = lambda done: None,
) -> Journal:
    """Write the live records of ``source`` into a new journal.

    Args:
        source: What to read; it is replayed from its start.
        target: Where the new one goes.
        codec: How its frames are coded.
        header: Its first frame.
        live: Which rows of the source to keep, (rows,) of bool.
        upto: The last commit to read; None is the newest.
        keep_history: Write a commit for each commit, under its number and time, instead of merging them. What was
            deleted is left out all the same.
        drop_damaged: Go on where the source is damaged, with what can be read.
        acknowledged: The byte offset up to which commits of the source are known to be durable.
        advance: Called with the byte position reached in the source.

    Returns:
        The new journal, open and durable.

    Raises:
        MemoryFileError: The source is damaged, and ``drop_damaged`` is not set.
        StorageError: The target cannot be written.
    """
    made = Journal.create_with(target, codec, header)
    try:
        pending, last = _Pending(), None
        for entry in source.replay(source.start, acknowledged=acknowledged):
            if upto is not None and entry.number > upto:
                break
            _refuse(f"commit {entry.number}", entry.damage, drop_damaged)
            pending.model = entry.model or pending.model
            pending.take(entry, live)
            last = entry
            if keep_history or pending.size >= _MERGED_BYTES:
                made.append(pending.batch(), number=entry.number, at=entry.time)
                pending, last = _Pending(), None
            advance(entry.cursor.offset)
        _refuse("the end of the file", source.unfinished, drop_damaged)
        if last is not None:
            made.append(pending.batch(), number=last.number, at=last.time)
    except BaseException:
        made.close()
        raise
    return made


def _refuse(where: str, damage: Sequence[Damage], allowed: bool) -> None:
    if damage and not allowed:
        raise MemoryFileError(
            f"{where} is damaged ({damage[0].reason}), and a new file would make that loss final",
            hint=Hint(Action.DROP_DAMAGED),
        )
