"""VideoRows: rows that are read where they lie in the video, so that a large index keeps no second copy of them.

The samples of an I_PCM macroblock are plain bytes (ITU-T H.264, 7.3.5), so a row of vectors lies in the file in runs of
up to 384 bytes with two bytes between macroblocks. What moves it are the bytes that emulation prevention puts in
(7.4.1): their positions are kept, and found by a search for each row. The newest rows lie in a file as in ``FileRows``,
until there are enough to be looked up in the video; then the index goes on with a new, shorter file.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError
from memvid_core.index.stale import IndexStaleError
from memvid_core.index.vectors.growing_file import GrowingFile, load_arrays, row_sums, save_arrays
from memvid_core.index.vectors.matrix import FileRows, Matrix, StoredDtype, normalised, widen
from memvid_core.model import FrameLocation
from memvid_core.video.bitstream import MACROBLOCK_BYTES
from memvid_core.video.codec import ENVELOPE_BYTES, unseal

__all__ = ["Pictures", "VideoRows"]

_SUM_BYTES: Final = 8
_STRIDE: Final = MACROBLOCK_BYTES + 2  # a macroblock after the first begins with its type and alignment
_LENGTH_BYTES: Final = 4  # before each picture
_START_BYTES: Final = 5  # of a picture, up to its first sample
_ESCAPE: Final = re.compile(rb"\x00\x00\x03")
_LEAST_ROWS: Final = 4096  # that are looked up in the video at once; one in 32 of many rows
_FRAME_ROWS: Final = 16  # rows a frame must hold on average: to look up smaller ones takes longer than it saves
_APART: Final = 4e-3  # between a row of the video and of the index, both rounded to float16
_FRAME_BITS: Final = 32

Bytes = NDArray[np.uint8]


class Pictures(Protocol):
    """A video, as much of it as is needed to find vectors there; ``kind`` is that of their frames in the catalog."""

    kind: int

    def read(self, offsets: Sequence[int], size: int) -> list[bytes]:
        """Read ``size`` bytes from each offset of the file; fewer at its end."""

    def matrix(self, payload: bytes, number: int) -> tuple[int, int, int, str, int] | None:
        """Return first row, rows, dimension, dtype and start of the matrix in a payload; None if it has none."""


class Places(NamedTuple):
    """Where matrices of rows lie in the video, in the order of their rows.

    Attributes:
        first: (f,) int64, the first row of each frame.
        items: (f,) int64, how many rows it has.
        begin: (f,) int64, where in the file the first byte of its matrix is.
        phase: (f,) int64, how many samples of its macroblock come before that byte.
        escapes: (e,) int64, ascending: the number of a frame, times 2**32, and how many bytes of the matrix and of
            macroblocks' beginnings come before a byte that emulation prevention put into it.
    """

    first: NDArray[np.int64]
    items: NDArray[np.int64]
    begin: NDArray[np.int64]
    phase: NDArray[np.int64]
    escapes: NDArray[np.int64]


_NOWHERE: Final = Places(*(np.empty(0, dtype=np.int64) for _ in Places._fields))


class _State(NamedTuple):
    """How many rows are read from the video, where they lie, and the file of those after them; replaced as one."""

    settled: int
    places: Places
    tail: FileRows


class _Found(NamedTuple):
    """A frame of vectors, looked up: its first row, its rows as bytes, and its line in the places."""

    first: int
    matrix: Bytes
    begin: int
    phase: int
    escapes: NDArray[np.int64]


def _crossed(phase: Any, length: Any) -> Any:
    """Bytes and beginnings of macroblocks from a byte at ``phase`` of its macroblock to one ``length`` further on."""
    return length + 2 * ((phase + length) // MACROBLOCK_BYTES - phase // MACROBLOCK_BYTES)


def _samples(plain: Bytes, phase: int, length: int) -> Bytes:
    """So many samples from one at ``phase`` of its macroblock on, without what lies between macroblocks."""
    count = -(-(phase + length) // MACROBLOCK_BYTES)
    laid = np.zeros(count * _STRIDE, dtype=np.uint8)
    laid[phase : phase + len(plain)] = plain[: len(laid) - phase]
    return laid.reshape(count, _STRIDE)[:, :MACROBLOCK_BYTES].reshape(-1)[phase : phase + length]


def _unit(stored: NDArray[Any]) -> Matrix:
    """Rows as float32, of length 1."""
    wide = widen(stored, np.empty(stored.shape, dtype=np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", wide, wide)  # as in normalised: a row is the same whichever way it is read
    if ((squares > 1e-30) & (squares < 1e30)).all():
        wide *= (1.0 / np.sqrt(squares))[:, None]
        return wide
    return normalised(wide, wide.shape[1])


class VideoRows:
    """Rows in a video, but for the newest, which lie in a file.

    Args:
        folder: Where the places and the newest rows are kept.
        dimension: Components of a row.
        dtype: How they are stored, in the video and here.
        writable: Whether the folder may be written.
        pictures: The video.
    """

    def __init__(self, folder: Path, dimension: int, dtype: StoredDtype, *, writable: bool, pictures: Pictures) -> None:
        self.dimension = dimension
        self._folder, self._name, self._writable = folder, dtype, writable
        self._pictures = pictures
        self._sums = GrowingFile(folder / f"video-{dimension}.{dtype}.sums", writable=writable)
        self._state = _State(0, _NOWHERE, self._tail(0))
        self.dtype = self._state.tail.dtype
        self._row_bytes = dimension * self.dtype.itemsize

    @property
    def settled(self) -> int:
        """How many rows, from the first, are read from the video."""
        return self._state.settled

    def _tail(self, settled: int) -> FileRows:
        return FileRows(self._folder, self.dimension, self._name, writable=self._writable, first_row=settled)

    def _places_path(self, settled: int) -> Path:
        return self._folder / f"video-{self.dimension}.{self._name}.{settled}"

    def follow(self, settled: int) -> None:
        """Go on with the files that belong to so many rows in the video.

        Raises:
            IndexStaleError: They are missing or damaged.
        """
        if settled == self.settled:
            return
        places = _NOWHERE
        if settled:
            arrays = load_arrays(self._places_path(settled))
            if arrays is None or set(arrays) != set(Places._fields):
                raise IndexStaleError(f"{self._places_path(settled)} is missing or damaged; rebuild the index")
            places = Places(**arrays)
        self._state = _State(settled, places, self._tail(settled))

    def sync(self, rows: int) -> None:
        """See that there are so many rows."""
        settled = self.settled
        if rows < settled or self._sums.size() < settled * _SUM_BYTES:
            raise IndexStaleError(f"the vector index cannot read {settled} rows from the video; rebuild it")
        self._state.tail.sync(rows - settled)

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on, in the file."""
        if first_row < self.settled:
            raise IndexStaleError(f"row {first_row} lies in the video already, with {self.settled} rows; rebuild it")
        self._state.tail.write(first_row - self.settled, unit)

    def available(self) -> int:
        """How many rows there are, committed or not."""
        return self.settled + self._state.tail.available()

    # --- reading ---

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Some rows as float32, of length 1, each compared with its checksum."""
        settled, places, tail = self._state
        inside = rows < settled
        if inside.all():
            return self._from_video(places, settled, rows)
        out = np.empty((len(rows), self.dimension), dtype=np.float32)
        out[inside] = self._from_video(places, settled, rows[inside])
        out[~inside] = tail.read(rows[~inside] - settled)
        return out

    def _from_video(self, places: Places, settled: int, rows: NDArray[np.int64]) -> Matrix:
        raw = np.zeros((len(rows), self._row_bytes), dtype=np.uint8)
        if len(rows):
            frame = places.first.searchsorted(rows, side="right") - 1
            within = rows - places.first[frame]
            there = np.flatnonzero((frame >= 0) & (within < places.items[frame]))  # the others have no vector
            if len(there) == len(rows):
                self._fetch(places, frame, within, raw)
            elif len(there):
                some = np.empty((len(there), self._row_bytes), dtype=np.uint8)
                self._fetch(places, frame[there], within[there], some)
                raw[there] = some
            self._compare(raw, rows, settled)
        return _unit(raw.view(self.dtype))

    def _fetch(self, places: Places, frame: NDArray[np.int64], within: NDArray[np.int64], out: Bytes) -> None:
        """Read rows by their frames and their places there."""
        offset, phase = within * self._row_bytes, places.phase[frame]
        start = _crossed(phase, offset)
        stop = _crossed(phase, offset + self._row_bytes - 1) + 1
        key = frame << _FRAME_BITS
        before = places.escapes.searchsorted(key | start, side="right")
        inside = places.escapes.searchsorted(key | (stop - 1), side="right") - before
        offsets = places.begin[frame] + start + before - places.escapes.searchsorted(key)
        size = int((stop - start + inside).max())
        pieces = self._pictures.read(offsets.tolist(), size)
        data = b"".join(pieces)
        if len(data) < size * len(pieces):  # some lie at the end of the file
            data = b"".join([piece.ljust(size, b"\0") for piece in pieces])
        coded = np.frombuffer(data, dtype=np.uint8).reshape(len(frame), size)
        odd = np.flatnonzero(inside)
        if len(odd):
            coded = coded.copy()
        for at in odd.tolist():
            escapes = places.escapes[before[at] : before[at] + inside[at]] - key[at] - start[at]
            plain = np.delete(coded[at], escapes + np.arange(len(escapes)))
            coded[at, : len(plain)] = plain
        self._take_samples(coded, (phase + offset) % MACROBLOCK_BYTES, out)

    def _take_samples(self, coded: Bytes, phase: NDArray[np.int64], out: Bytes) -> None:
        """Leave out what lies between macroblocks: the same bytes of all rows that begin at the same sample of one."""
        for one in np.unique(phase).tolist():
            same = phase == one
            rows: Any = slice(None) if same.all() else np.flatnonzero(same)
            source = done = 0
            while done < self._row_bytes:
                run = min(MACROBLOCK_BYTES - (one + done) % MACROBLOCK_BYTES, self._row_bytes - done)
                out[rows, done : done + run] = coded[rows, source : source + run]
                source, done = source + run + 2, done + run

    def _compare(self, raw: Bytes, rows: NDArray[np.int64], settled: int) -> None:
        """Compare rows with their checksums.

        Raises:
            IndexStaleError: One is not what was written.
        """
        size = settled * _SUM_BYTES
        wrong = np.flatnonzero(row_sums(raw, rows) != self._sums.mapped(size)[:size].view(np.uint64)[rows])
        if len(wrong):
            raise IndexStaleError(f"row {rows[wrong[0]]} is not what was written to the video; rebuild the index")

    def check(self, rows: int) -> None:
        """Compare rows in the file with their checksums; those in the video are compared whenever they are read."""
        state = self._state
        state.tail.check(max(rows - state.settled, 0))

    def block(self, start: int, stop: int) -> Matrix:
        """Rows one after the other; from the video, picture after picture."""
        settled, places, tail = self._state
        tail.check(max(stop - settled, 0))
        if start >= settled:
            return tail.block(start - settled, stop - settled)
        end = min(stop, settled)
        raw = np.zeros((end - start, self._row_bytes), dtype=np.uint8)
        first = max(int(places.first.searchsorted(start, side="right")) - 1, 0)
        for at in range(first, int(places.first.searchsorted(end))):
            row, items = int(places.first[at]), int(places.items[at])
            if row + items > start:
                whole = self._whole(places, at)[max(start - row, 0) : end - row]
                raw[max(row - start, 0) :][: len(whole)] = whole
        self._compare(raw, np.arange(start, end), settled)
        unit = _unit(raw.view(self.dtype))
        return unit if end == stop else np.concatenate((unit, tail.block(0, stop - settled)))

    def _whole(self, places: Places, at: int) -> Bytes:
        """The matrix of one frame, a row of bytes a row."""
        length = int(places.items[at]) * self._row_bytes
        phase = int(places.phase[at])
        low, high = places.escapes.searchsorted([at << _FRAME_BITS, (at + 1) << _FRAME_BITS])
        escapes = places.escapes[low:high] - (at << _FRAME_BITS)
        size = int(_crossed(phase, length - 1)) + 1 + len(escapes)
        coded = np.frombuffer(self._pictures.read([int(places.begin[at])], size)[0], dtype=np.uint8)
        inside = (escapes + np.arange(len(escapes)))[: len(coded)]
        plain = np.delete(coded, inside[inside < len(coded)])
        return _samples(plain, phase, length).reshape(-1, self._row_bytes)

    @property
    def one_by_one(self) -> bool:
        """Whether rows are read from the video, one after the other."""
        return self.settled > 0 or self._state.tail.one_by_one

    # --- from the file to the video ---

    def due(self, rows: int) -> int:
        """In how many frames, at most, the rows of the file must lie to look them up in the video; 0: not yet.

        Args:
            rows: How many the catalog counts.
        """
        new = rows - self.settled
        return new // _FRAME_ROWS if new >= max(_LEAST_ROWS, self.settled >> 5) else 0

    def settle(self, frames: Sequence[FrameLocation], rows: int) -> int:
        """Look rows up in the video, and go on with a file of those that cannot be read there.

        The files in use until now stay, for who reads them and for a transaction that fails.

        Args:
            frames: The frames of vectors from row ``settled`` on, in the order of their rows.
            rows: How many the catalog counts.

        Returns:
            How many rows are read from the video now; the caller notes it in the catalog.
        """
        settled, places, tail = self._state
        tail.check(rows - settled)
        end = settled
        lines: list[tuple[int, int, int, int]] = []
        escapes = [places.escapes]
        for frame in frames:
            found = self._look_up(frame)
            if found is None or not self._agrees(found, end, rows):
                break
            numbers = np.arange(end, found.first + len(found.matrix))
            raw = np.zeros((len(numbers), self._row_bytes), dtype=np.uint8)
            raw[found.first - end :] = found.matrix
            self._sums.write(end * _SUM_BYTES, row_sums(raw, numbers).data.cast("B"))
            escapes.append(found.escapes | (len(places.first) + len(lines)) << _FRAME_BITS)
            lines.append((found.first, len(found.matrix), found.begin, found.phase))
            end = int(numbers[-1]) + 1
        if lines:
            new = np.array(lines, dtype=np.int64).T
            first, items, begin, phase = (np.concatenate(pair) for pair in zip(places[:4], new, strict=True))
            self._go_on(end, Places(first, items, begin, phase, np.concatenate(escapes)), rows)
        return self.settled

    def _go_on(self, end: int, places: Places, rows: int) -> None:
        """Read rows below ``end`` from the video from now on, and copy the others to a new file."""
        settled, _, tail = self._state
        made = self._tail(end)
        for start in range(end, rows, _LEAST_ROWS):
            stop = min(start + _LEAST_ROWS, rows)
            made.write(start - end, tail.block(start - settled, stop - settled))
        self._sums.flush()
        save_arrays(self._places_path(end), **places._asdict())
        self._state = _State(end, places, made)

    def _look_up(self, frame: FrameLocation) -> _Found | None:
        """Find the matrix of a frame in its picture; None when it is damaged or of another kind."""
        (coded,) = self._pictures.read([frame.offset], frame.size)
        picture = coded[_LENGTH_BYTES:]
        positions = np.array([found.end() - 1 for found in _ESCAPE.finditer(picture)], dtype=np.int64)
        plain = np.delete(np.frombuffer(picture, dtype=np.uint8), positions)[_START_BYTES:]
        sealed = ENVELOPE_BYTES + int.from_bytes(plain[:4].tobytes(), "little")
        if sealed > len(plain):
            return None
        try:
            payload = unseal(_samples(plain, 0, sealed).data, frame.frame)
            place = self._pictures.matrix(payload, frame.frame)
        except DamagedFrameError:
            return None
        if place is None or place[2:4] != (self.dimension, self._name) or place[0] != frame.row:
            return None
        first, items, _, _, start = place
        sample = ENVELOPE_BYTES + start
        before = _START_BYTES + int(_crossed(0, sample))  # bytes of the picture before the matrix
        length = int(_crossed(sample, items * self._row_bytes - 1)) + 1
        relative = positions - np.arange(len(positions)) - before
        matrix = np.frombuffer(payload, dtype=np.uint8, offset=start).reshape(items, self._row_bytes)
        begin = frame.offset + _LENGTH_BYTES + before + int(np.count_nonzero(relative <= 0))
        return _Found(first, matrix, begin, sample % MACROBLOCK_BYTES, relative[(relative > 0) & (relative < length)])

    def _agrees(self, found: _Found, end: int, rows: int) -> bool:
        """Whether a frame goes on where the one before it ended, with the rows that are in the file."""
        stop = found.first + len(found.matrix)
        if found.first < end or stop > rows or not len(found.matrix):
            return False
        stored = found.matrix.view(self.dtype)
        if not np.isfinite(stored).all():
            return False
        settled, _, tail = self._state
        kept = tail.block(end - settled, stop - settled)
        gap = found.first - end
        return not kept[:gap].any() and bool((np.abs(_unit(stored) - kept[gap:]) <= _APART).all())

    def _sweep(self) -> None:
        """Delete what belongs to fewer rows in the video; the catalog counts those of now."""
        settled, name = self.settled, f"{self.dimension}.{self._name}"
        keep = {f"video-{name}.{settled}", f"video-{name}.sums", *(path.name for path in self._state.tail.paths)}
        for path in (*self._folder.glob(f"vectors-{name}*"), *self._folder.glob(f"video-{name}.*")):
            if path.name not in keep:
                with contextlib.suppress(OSError):  # Windows refuses while another process has it open
                    path.unlink()

    def flush(self) -> None:
        """Force the rows to the disk, and delete files that nobody opens any more."""
        self._state.tail.flush()
        self._sums.flush()
        if self._writable:
            self._sweep()

    def close(self) -> None:
        """Close the files; the video is the caller's."""
        self._state.tail.close()
        self._sums.close()

    @property
    def nbytes(self) -> int:
        """Size of the files, without the video."""
        places = self._places_path(self.settled)
        return self._state.tail.nbytes + self._sums.size() + (places.stat().st_size if places.exists() else 0)
