"""Copying commits from one journal to another, with any codecs and vector dtypes."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import as_embedder, same_embedder
from memvid_core.errors import (
    Action,
    EmbedderMismatchError,
    Hint,
    InvalidInputError,
    MemoryFileError,
    VectorError,
)
from memvid_core.journal import Batch, Entry, Header, Journal
from memvid_core.journal.copying import check_known, copy_journal
from memvid_core.journal.frames import encode_rows
from memvid_core.journal.pictures import film_in
from memvid_core.model import GIVEN, Damage, Embedder, VectorDtype, is_fittable
from memvid_core.video import FrameCodec
from memvid_core.video.film import Film

__all__ = ["Conversion", "TargetVectors", "copy", "copy_live"]

_FLOAT16_MAX = 65504.0
_EVERYTHING = 1 << 62  # bytes; larger than any file


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """Report what was written: commits, records (including deleted ones if history is kept), and both file sizes.

    ``lost`` counts the records that could not be read; ``damage`` gives the reasons.
    """

    path: str
    codec: str
    vector_dtype: str
    commits: int
    records: int
    lost: int
    bytes: int
    source_bytes: int
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True)
class TargetVectors:
    """The vectors that the target of a conversion stores.

    Attributes:
        dtype: Their dtype, or ``"none"``.
        embedder: Computes vectors that the source does not store; None if it stores them, or none are needed.
    """

    dtype: str
    embedder: Embedder | None = None

    @classmethod
    def of(cls, header: Header, dtype: str, embedder: object) -> Self:
        """Check a dtype and an embedder against the header of the source.

        Raises:
            InvalidInputError: The dtype is unknown, or would drop vectors that cannot be computed again.
            EmbedderMismatchError: The embedder cannot compute the missing vectors.
        """
        if dtype not in get_args(VectorDtype):
            raise InvalidInputError(f"vector_dtype must be one of {', '.join(get_args(VectorDtype))}, not {dtype!r}")
        recorded = header.embedder
        if dtype == "none" and recorded == GIVEN:
            raise InvalidInputError("this memory's vectors were given and cannot be computed again; keep them")
        if dtype == "none" or header.vectors != "none":
            return cls(dtype)
        made = as_embedder(embedder)
        if not same_embedder(made, recorded):
            raise EmbedderMismatchError(
                f"this memory stores no vectors and was written by {recorded!r}; to store them, pass that embedder "
                f"instead of {made.name!r}, or keep vector_dtype='none'"
            )
        return cls(dtype, made)

    def applied(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Yield commits of the source with the vectors of the target.

        Raises:
            VectorError: A component is too large for the dtype.
        """
        for entry in entries:
            if self.dtype == "none":
                entry.vectors = []
            elif self.embedder is not None:
                entry.vectors = _embedded(entry, self.embedder)
            elif self.dtype == "float16":
                _check_float16(entry)
            yield entry


def _embedded(entry: Entry, embedder: Embedder) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
    if entry.model is not None and is_fittable(embedder):
        embedder.load(entry.model)
    if not entry.rows:
        return []
    matrix = embedder.embed_documents([text for _, text, _ in entry.rows])
    return [(np.array(entry.row_numbers, np.int64), matrix)] if len(matrix) else []


def _check_float16(entry: Entry) -> None:
    for _, matrix in entry.vectors:
        if matrix.size and float(np.abs(matrix).max()) > _FLOAT16_MAX:
            raise VectorError(
                "a component is larger than the float16 maximum (65504); convert with vector_dtype='float32'"
            )


def _header(source: Journal, vectors: TargetVectors, codec: FrameCodec, history_from: int) -> Header:
    # A new epoch, so that an index of the source is not used for the target.
    return msgspec.structs.replace(
        source.header,
        codec=codec.name,
        vectors=vectors.dtype,
        epoch=source.header.epoch + 1,
        history_from=history_from,
    )


def _film(source: Journal, codec: FrameCodec) -> Film | None:
    """Return what the source says about itself, if the target has the same pictures."""
    return film_in(source.video, source.header.head) if codec == source.video.codec else None


def copy(
    source: Journal,
    target: Path,
    codec: FrameCodec,
    vectors: TargetVectors,
    *,
    drop_damaged: bool,
    everything: bool = False,
    advance: Callable[[int], None] = lambda done: None,
) -> Conversion:
    """Copy every commit of ``source`` completely.

    Args:
        source: The journal to read.
        target: The file to create.
        codec: The codec of its pictures.
        vectors: The vectors that it stores.
        drop_damaged: Whether to continue without damaged records.
        everything: Whether to copy commits even if nothing proves that they were written completely.
        advance: Called with the byte offset reached in the source.
    """
    header = _header(source, vectors, codec, source.header.history_from)
    made = Journal.create_with(target, codec, header, _film(source, codec))
    shown = made.shows and codec == source.video.codec
    rows = _Rows(keep_ids=drop_damaged)
    damage: list[Damage] = []
    commits = 0
    try:
        acknowledged = _EVERYTHING if everything else 0
        for entry in vectors.applied(source.replay(source.start, acknowledged=acknowledged)):
            _check_damage(entry.damage, drop_damaged)
            entry.pictures = entry.pictures if shown else {}
            check_known(entry)
            before = len(rows.lost)
            made.append(rows.batch(entry), number=entry.number, at=entry.time)
            damage += entry.damage
            unexplained = len(rows.lost) - before - sum(item.records for item in entry.damage)
            if unexplained > 0:
                reason = f"{unexplained} records of this or a neighboring commit were not found"
                damage.append(Damage(None, entry.number, unexplained, reason))
            commits += 1
            advance(entry.cursor.offset)
        _check_damage(source.unfinished, drop_damaged)
        damage += source.unfinished
        return Conversion(
            path=os.fspath(target),
            codec=codec.name,
            vector_dtype=vectors.dtype,
            commits=commits,
            records=rows.written,
            lost=len(rows.lost),
            bytes=made.video.size(),
            source_bytes=source.video.size(),
            damage=tuple(damage),
        )
    finally:
        made.close()


def _check_damage(damage: Sequence[Damage], allowed: bool) -> None:
    if damage and not allowed:
        first = damage[0]
        where = "the end" if first.commit is None else f"commit {first.commit}"
        raise MemoryFileError(f"{where} is damaged ({first.reason})", hint=Hint(Action.DROP_DAMAGED))


class _Rows:
    """Renumber the rows of commits: rows that could not be read leave no gap.

    Args:
        keep_ids: Delete the earlier record of a repeated id, whose tombstone may be lost.
    """

    def __init__(self, *, keep_ids: bool) -> None:
        self.lost: list[int] = []
        self.written = 0
        self._next = 0
        self._places: dict[str, int] | None = {} if keep_ids else None
        self._ids: dict[int, str] = {}

    def batch(self, entry: Entry) -> Batch:
        """Return the content of a commit for the next rows of the target."""
        numbers = np.array(entry.row_numbers, np.int64)
        present = set(entry.row_numbers)
        if len(present) < entry.cursor.row - self._next:
            self.lost += [row for row in range(self._next, entry.cursor.row) if row not in present]
        self._next = max(self._next, entry.cursor.row)
        tombstones = {place for row in entry.tombstones if (place := self._place(row)) is not None}
        tombstones |= self._replaced(entry, tombstones)
        matrices, places = [], []
        for rows, matrix in entry.vectors:
            at = np.minimum(np.searchsorted(numbers, rows), max(len(numbers) - 1, 0))
            kept = numbers[at] == rows if len(numbers) else np.zeros(len(rows), np.bool_)
            matrices.append(matrix[kept])
            places.append(at[kept])
        self.written += len(entry.rows)
        return Batch(
            encode_rows(entry.rows),
            np.concatenate(matrices) if matrices else None,
            np.concatenate(places) if places else None,
            sorted(tombstones),
            entry.model,
            {int(np.searchsorted(numbers, row)): nal for row, nal in entry.pictures.items() if row in present},
        )

    def _place(self, row: int) -> int | None:
        """Return the target's row of a row of the source; None if it could not be read."""
        before = bisect_left(self.lost, row)
        return None if before < len(self.lost) and self.lost[before] == row else row - before

    def _replaced(self, entry: Entry, tombstones: set[int]) -> set[int]:
        if self._places is None:
            return set()
        for place in tombstones:
            record_id = self._ids.pop(place, None)
            if record_id is not None and self._places.get(record_id) == place:
                del self._places[record_id]
        deleted = set()
        for place, (record_id, _, _) in enumerate(entry.rows, self.written):
            if record_id in self._places:
                deleted.add(self._places[record_id])
                self._ids.pop(self._places[record_id], None)
            self._places[record_id] = place
            self._ids[place] = record_id
        return deleted


def copy_live(
    source: Journal,
    target: Path,
    codec: FrameCodec,
    vectors: TargetVectors,
    *,
    drop_damaged: bool,
    advance: Callable[[int], None] = lambda done: None,
) -> Conversion:
    """Copy the live records of ``source`` in few large commits: the state after its last commit when it is read first.

    Both passes read the same open file, and end at the same commit: others may write or replace it meanwhile.
    """
    total, last = 0, source.header.history_from
    tombstones: list[int] = []
    damage: list[Damage] = []
    reader = source.again()
    for entry in reader.replay(reader.start):
        total, last = entry.cursor.row, entry.number
        tombstones += entry.tombstones
        damage += entry.damage
    _check_damage([item for item in reader.unfinished if not item.restored], drop_damaged)
    live = np.ones(total, np.bool_)
    live[tombstones] = False
    header = _header(source, vectors, codec, last)
    made = copy_journal(
        source,
        target,
        codec,
        header,
        live,
        film=_film(source, codec),
        upto=last,
        drop_damaged=drop_damaged,
        convert=vectors.applied,
        advance=advance,
    )
    try:
        return Conversion(
            path=os.fspath(target),
            codec=codec.name,
            vector_dtype=vectors.dtype,
            commits=sum(1 for _ in made.replay(made.start)),
            records=made.cursor.row,
            lost=int(live.sum()) - made.cursor.row,
            bytes=made.video.size(),
            source_bytes=source.video.size(),
            damage=tuple(damage),
        )
    finally:
        made.close()
