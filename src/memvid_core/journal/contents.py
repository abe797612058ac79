"""Contents: decode the frames of a commit, and count and report everything that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, OutOfMemoryError, UnsupportedFormatError
from memvid_core.journal import compression, frames, packing
from memvid_core.journal.entries import CommitFrame, Cursor, Entry, Row
from memvid_core.journal.frames import Flag, FrameHeader, Kind
from memvid_core.journal.reading import Reading
from memvid_core.model import Damage, FrameLocation

__all__ = ["Contents", "chain_fits"]

_MORE = int(Flag.MORE)
_RECORDS, _VECTORS, _TOMBSTONES, _MODEL = map(int, (Kind.RECORDS, Kind.VECTORS, Kind.TOMBSTONES, Kind.MODEL))
_PICTURE = int(Kind.PICTURE)
_KNOWN = frozenset(map(int, Kind)) - {int(Kind.BLOBS)}
_WITH_ROWS = (_RECORDS, _VECTORS)
_FREE_BYTES = 1 << 28  # of decompressed rows, allowed for a file of any size
_UNREADABLE = (DamagedFrameError, msgspec.DecodeError, RecursionError, OverflowError)


def _refuse(code: int, data: memoryview) -> NoReturn:
    raise msgspec.ValidationError(f"it contains a value of the extension type {code}")


_decode: Callable[[msgspec.Raw], Row] = msgspec.msgpack.Decoder(Row, ext_hook=_refuse).decode
_check_json = msgspec.json.Encoder().encode


class _Body(NamedTuple):
    """A complete body: the number of its first frame, its header, its data, and whether the frame before is missing."""

    number: int
    header: FrameHeader
    data: bytes | memoryview
    after_gap: bool


class Contents:
    """Decode the commits of one journal in order.

    Args:
        vectors: The dtype of stored vectors, or ``"none"``.
        dimension: The dimension of the vectors, if known.
        size: The size of the file in bytes, which limits the total decompressed size.
    """

    def __init__(self, vectors: str, dimension: int | None, size: int) -> None:
        self._stored = vectors != "none"
        self.dimension = dimension
        self._left = _FREE_BYTES + compression.RATIO_LIMIT * size

    def entry(
        self, reading: Reading, commit: CommitFrame, cursor: Cursor, begin: int, deleted: Sequence[int] = ()
    ) -> Entry:
        """Decode a commit.

        Args:
            reading: The frames of the commit.
            commit: Its COMMIT frame.
            cursor: The position after it.
            begin: Its first row.
            deleted: Rows that it is known to have deleted, in addition to those that can be read.
        """
        fragment = reading.fragment
        entry = Entry(commit.number, commit.time, cursor, fragment.start, fragment.first_frame)
        unread = list(reading.unread)
        refused: set[int] = set()
        for body in _bodies(reading, entry):
            try:
                if body.after_gap and body.header.kind == _MODEL:  # a model begins a commit: this is a continuation
                    raise DamagedFrameError(body.number, "the frame that it continues cannot be read")
                self._take(entry, body, begin, commit.rows)
            except MemoryError as exc:  # not damage, which the index would remember
                raise OutOfMemoryError(f"frame {body.number} does not fit into memory ({exc})") from exc
            except _UNREADABLE as exc:
                refused.add(body.number)
                unread.append((body.number, str(exc) or type(exc).__name__))
            except UnsupportedFormatError as exc:
                if not body.after_gap:
                    raise
                unread.append((body.number, f"the frame that it continues cannot be read ({exc})"))
        entry.tombstones = sorted({*entry.tombstones, *deleted}) if deleted else entry.tombstones
        if refused:
            placed = [place for place in entry.row_frames if begin <= place.row < commit.rows]
            entry.row_frames = [place for place in placed if place.frame not in refused]
        self._name_losses(entry, commit, unread, begin, listed=fragment.listed)
        return entry

    def _take(self, entry: Entry, body: _Body, begin: int, stop: int) -> None:
        """Decode one body into ``entry``; its rows must be in [``begin``, ``stop``)."""
        number, header, data, _ = body
        kind = header.kind
        if kind == _RECORDS:
            self._take_records(entry, body, begin, stop)
        elif kind == _VECTORS:
            self._take_vectors(entry, *frames.decode_vectors(header, data, number), number, (begin, stop))
        elif kind == _TOMBSTONES:
            entry.tombstones += frames.decode_tombstones(header, data, number, stop).tolist()
        elif kind == _MODEL:
            entry.model = bytes(data)
        elif kind == _PICTURE:
            if header.items and data and begin <= header.row < stop:
                entry.pictures[header.row] = bytes(data)
        elif kind not in _KNOWN:
            entry.unknown.add(kind)

    def _take_records(self, entry: Entry, body: _Body, begin: int, stop: int) -> None:
        number, header, data, _ = body
        row = header.row
        least = entry.row_numbers[-1] + 1 if entry.row_numbers else begin
        if not least <= row <= row + header.items <= stop:
            raise DamagedFrameError(number, f"its {header.items} rows from {row} on are outside of its commit")
        blocks = frames.decode_blocks(data, number)
        if sum(block.rows for block in blocks) != header.items:
            raise DamagedFrameError(number, "its blocks contain another number of rows than its header says")
        for block in blocks:
            try:
                size = frames.raw_bytes(data, block, number)
                self._left -= size
                if self._left < 0:
                    raise DamagedFrameError(number, "its rows are too large for a file of this size")
                raws = frames.decode_rows(data, block, number, size)
            except DamagedFrameError as exc:
                entry.damage.append(Damage(number, entry.number, block.rows, str(exc)))
                row += block.rows
                continue
            for raw in raws:
                try:
                    record = _decode(raw)
                    if record[2]:
                        _check_json(record[2])
                except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, OverflowError) as exc:
                    entry.damage.append(
                        Damage(number, entry.number, 1, f"frame {number} is damaged: row {row} is not a record ({exc})")
                    )
                else:
                    entry.rows.append(record)
                    entry.row_numbers.append(row)
                row += 1

    def _take_vectors(
        self, entry: Entry, rows: NDArray[np.int64], matrix: NDArray[Any], number: int, span: tuple[int, int]
    ) -> None:
        if self.dimension is None:
            self.dimension = matrix.shape[1]
        if matrix.shape[1] != self.dimension:
            raise DamagedFrameError(number, f"its vectors have dimension {matrix.shape[1]}, not {self.dimension}")
        good = _good_rows(rows, matrix, span)
        if good is not None:
            lost = int(len(good) - good.sum())
            reason = f"frame {number} is damaged: {lost} of its vectors are not finite, or outside of its commit"
            entry.damage.append(Damage(number, entry.number, 0, reason, vectors=lost))
            rows, matrix = rows[good], matrix[good]
        if len(rows):
            entry.vectors.append((rows, matrix))

    def _name_losses(
        self, entry: Entry, commit: CommitFrame, unread: list[tuple[int, str]], begin: int, *, listed: bool
    ) -> None:
        """Count the losses of a commit, and report them with its first unreadable frame."""
        complete = len(entry.rows) == commit.rows - begin and len(entry.tombstones) >= commit.deleted
        if complete and listed and not unread:
            return
        reported = sum(item.records for item in entry.damage)
        records = max(0, commit.rows - begin - len(entry.rows) - reported)
        deletions = max(0, commit.deleted - len(entry.tombstones))
        vectors = 0
        if self._stored and (unread or not listed) and not ((records or deletions) and len(unread) == 1):
            found = sum(len(rows) for rows, _ in entry.vectors)
            vectors = max(0, len(entry.rows) - found - sum(item.vectors for item in entry.damage))
        # Without its COMMIT frame, the number of deletions in a commit is unknown.
        if not (records or vectors or deletions) and not commit.frames and len(unread) > 1:
            deletions = 1
        if not unread and (records or deletions or vectors):
            unread.append((-1, "some of its frames are missing"))
        for number, reason in unread:
            frame = None if number < 0 else number
            entry.damage.append(Damage(frame, commit.number, records, reason, vectors, deletions))
            records = vectors = deletions = 0


def _good_rows(rows: NDArray[np.int64], matrix: NDArray[Any], span: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return which vectors are finite and have an ascending row in [``span[0]``, ``span[1]``), (n,) bool; None: all."""
    if len(rows) == 1 and span[0] <= rows.item() < span[1] and 0 not in np.isfinite(matrix).tobytes():
        return None  # in a small part of the time of what follows
    good = (rows >= span[0]) & (rows < span[1])
    good[1:] &= rows[1:] > rows[:-1]
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(matrix.sum(dtype=np.float64))
    if not finite:
        good &= np.isfinite(matrix).all(axis=1)
    return None if good.all() else good


def _bodies(reading: Reading, entry: Entry) -> list[_Body]:
    """Return the complete bodies in the frames, and append frames with rows to ``entry.row_frames``."""
    whole: list[_Body] = []
    parts: list[memoryview] = []
    number, header, after_gap = 0, FrameHeader(0, 0, 0, 0, 0), False
    expected = reading.fragment.first_frame
    for at, place, head, part, _ in reading.pieces:
        kind, flags, items, row, _ = head
        continues = bool(parts) and at == expected and kind == header.kind
        if kind in _WITH_ROWS:
            entry.row_frames.append(FrameLocation(at, place[0], place[1], kind, row, 0 if continues else items))
        if not continues:
            number, header, after_gap, parts = at, head, at != expected, []
        expected = at + 1
        if flags & _MORE:
            parts.append(part)
        else:
            whole.append(_Body(number, header, b"".join((*parts, part)) if parts else part, after_gap))
            parts = []
    return whole


def chain_fits(reading: Reading, commit: CommitFrame) -> bool:
    """Return whether a commit's chained checksum matches the frames that were read."""
    return not reading.unread and packing.chain(commit, reading.digests) == commit.chain
