"""Places: where the rows of vectors lie in a video.

The samples of an I_PCM macroblock are plain bytes (ITU-T H.264, 7.3.5), so a row of vectors lies in the file in runs of
up to 384 bytes with two bytes between macroblocks. What moves it are the bytes that emulation prevention puts in
(7.4.1): their positions are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError
from memvid_core.model import FrameLocation
from memvid_core.vectors.matrix import Matrix, narrow, normalized, widen
from memvid_core.video.bitstream import LARGEST_SLICE, MACROBLOCK_BYTES, escape_places
from memvid_core.video.codec import ENVELOPE_BYTES, unseal
from memvid_core.video.headed import head_of, is_headed

__all__ = [
    "MOST_ESCAPES",
    "NOWHERE",
    "NO_PLACE",
    "Bytes",
    "FrameOfRows",
    "Pictures",
    "Places",
    "Where",
    "crossed",
    "lengthened",
    "look_up",
    "mended",
    "squares",
    "unescaped",
    "without_gaps",
]

_STRIDE: Final = MACROBLOCK_BYTES + 2  # a macroblock after the first begins with its type and alignment
_LENGTH_BYTES: Final = 4  # before each picture
_START_BYTES: Final = 5  # of a picture, up to its first sample
_FRAME_BITS: Final = 32
_LEAST_SQUARE: Final = 2.0**-29  # of a length: with a smaller one, widening to length 1 would leave float32's range
NO_PLACE: Final = np.iinfo(np.int64).min  # of a row without a vector
MOST_ESCAPES: Final = 4
"""Within a row that is read with others; one with more is read on its own."""
_EXPONENT: Final = np.uint16(0x7C00)  # all of whose bits are set in a float16 that is not a number

Bytes = NDArray[np.uint8]


class Pictures(Protocol):
    """A video, as much of it as is needed to find vectors there; ``kind`` is that of their frames in the catalog."""

    kind: int

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes from an offset of the file; fewer at its end."""

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> Bytes:
        """Read ``size`` bytes from each of up to 1,024 offsets: (n, size), valid until this thread's next call."""

    def stamp(self) -> tuple[int, int]:
        """Return what tells one content of the file from the next."""

    def matrix(self, payload: bytes, number: int) -> tuple[int, int, int, str, int] | None:
        """Return first row, rows, dimension, dtype and start of the matrix in a payload; None if it has none."""


class Where(NamedTuple):
    """Where rows lie.

    Attributes:
        start: (m,) int64, where in the file the first byte is; turned around, so below 0, if an escape lies within the
            row; the smallest number there is for a row without a vector.
        phase: (m,) int64, how many samples of its macroblock come before it.
    """

    start: NDArray[np.int64]
    phase: NDArray[np.int64]


class FrameOfRows(NamedTuple):
    """A frame of vectors, looked up: its first row, its rows as bytes, and its line in the places."""

    first: int
    matrix: Bytes
    begin: int
    phase: int
    escapes: NDArray[np.int64]


class Places(NamedTuple):
    """Where matrices of rows lie in the video, in the order of their rows.

    Attributes:
        first: (f,) int64, the first row of each frame.
        items: (f,) int64, how many rows it has.
        begin: (f,) int64, where in the file the first byte of its matrix is.
        phase: (f,) int64, how many samples of its macroblock come before that byte.
        escapes: (e,) int64, ascending: the number of a frame, times 2**32, and how many bytes of the matrix and of
            macroblocks' beginnings come before a byte that emulation prevention put into it.
        unit: (f,) bool, whether the rows of a frame have length 1, but for a rounding to their dtype.
        squares: (n,) float32, the squared length of each row of all frames.
    """

    first: NDArray[np.int64]
    items: NDArray[np.int64]
    begin: NDArray[np.int64]
    phase: NDArray[np.int64]
    escapes: NDArray[np.int64]
    unit: NDArray[np.bool_]
    squares: NDArray[np.float32]

    def digest(self) -> int:
        """Return what identifies them."""
        hashed = xxhash.xxh3_64()
        for part in self:
            hashed.update(np.ascontiguousarray(part).tobytes())
        return hashed.intdigest()

    def with_frames(self, frames: Iterable[tuple[FrameOfRows, bool, NDArray[np.float32]]]) -> Places:
        """Add frames, each with whether its rows have length 1, and the squares of their lengths."""
        lines: list[int] = []  # flat, because the garbage collector runs for every 700 more containers
        units: list[bool] = []
        escapes, squares = [self.escapes], [self.squares]
        for frame, has_unit_rows, of_rows in frames:
            number = len(self.first) + len(units)
            lines += (frame.first, len(frame.matrix), frame.begin, frame.phase)
            units.append(has_unit_rows)
            escapes.append(frame.escapes | number << _FRAME_BITS)
            squares.append(of_rows)
        new = np.array(lines, dtype=np.int64).reshape(-1, 4).T
        first, items, begin, phase = (np.concatenate(pair) for pair in zip(self[:4], new, strict=True))
        unit = np.concatenate((self.unit, np.array(units, dtype=np.bool_)))
        return Places(first, items, begin, phase, np.concatenate(escapes), unit, np.concatenate(squares))

    def escapes_of(self, at: int) -> NDArray[np.int64]:
        """Return the escapes in one frame, counted from the first byte of its matrix."""
        low, high = self.escapes.searchsorted([at << _FRAME_BITS, (at + 1) << _FRAME_BITS])
        return self.escapes[low:high] - (at << _FRAME_BITS)

    def escapes_within(self, row: int, row_bytes: int) -> NDArray[np.int64]:
        """Return the places of escapes in the bytes of a row that has some: ascending (n,)."""
        at = int(self.first.searchsorted(row, side="right")) - 1
        phase, offset, key = int(self.phase[at]), (row - int(self.first[at])) * row_bytes, at << _FRAME_BITS
        ends = [key | crossed(phase, offset), key | crossed(phase, offset + row_bytes - 1)]
        low, high = self.escapes.searchsorted(ends, side="right").tolist()
        within: NDArray[np.int64] = self.escapes[low:high] - ends[0] + np.arange(high - low)
        return within

    def of(self, rows: NDArray[np.int64], row_bytes: int) -> Where:
        """Return where some rows lie, (m,) int64."""
        frame, within, absent = self._frames_of(rows)
        offset, phase = within * row_bytes, self.phase[frame]
        start, stop = crossed(phase, offset), crossed(phase, offset + row_bytes - 1)
        found = self.begin[frame] + start
        if len(self.escapes):
            key = frame << _FRAME_BITS
            before = self.escapes.searchsorted(key | start, side="right")
            inside = self.escapes.searchsorted(key | stop, side="right") > before
            found += before - self.escapes.searchsorted(key)
            found[inside] = ~found[inside]
        found[absent] = NO_PLACE
        return Where(found, (phase + offset) % MACROBLOCK_BYTES)

    def scale_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return what rows are multiplied by to have length 1, (m,) float32.

        It is NaN where float32 is not exact enough for that. None if all rows of the video have length 1.
        """
        if self.unit.all():
            return None
        frame, within, absent = self._frames_of(rows)
        squares = self.squares[(np.cumsum(self.items) - self.items)[frame] + within]
        with np.errstate(divide="ignore"):
            usual = (squares > _LEAST_SQUARE) & (squares < 1e30)
            scale = np.where(usual, 1.0 / np.sqrt(squares), np.float32(np.nan))
        scale[absent] = 0
        return scale

    def _frames_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the frame of each row, its number within the frame, and whether it has no vector; then both are 0."""
        frame = np.maximum(self.first.searchsorted(rows, side="right") - 1, 0)
        within = rows - self.first[frame]
        absent = (within < 0) | (within >= self.items[frame])
        within[absent] = 0
        return frame, within, absent


_NONE: Final = np.empty(0, dtype=np.int64)
NOWHERE: Final = Places(_NONE, _NONE, _NONE, _NONE, _NONE, np.empty(0, dtype=np.bool_), np.empty(0, dtype=np.float32))


def crossed(phase: Any, length: Any) -> Any:
    """Count bytes and macroblock starts from a byte at ``phase`` of its macroblock to one ``length`` further on."""
    return length + 2 * ((phase + length) // MACROBLOCK_BYTES - phase // MACROBLOCK_BYTES)


def _samples(plain: Bytes, phase: int, length: int) -> Bytes:
    """Return so many samples from one at ``phase`` of its macroblock on, without what lies between macroblocks."""
    count = -(-(phase + length) // MACROBLOCK_BYTES)
    laid = plain
    if phase or len(plain) < count * _STRIDE:
        laid = np.zeros(count * _STRIDE, dtype=np.uint8)
        laid[phase : phase + len(plain)] = plain[: len(laid) - phase]
    lines = laid[: count * _STRIDE].reshape(count, _STRIDE)
    return lines[:, :MACROBLOCK_BYTES].reshape(-1)[phase : phase + length]


def unescaped(coded: bytes, escapes: NDArray[np.int64], phase: int, length: int) -> Bytes:
    """Return so many samples out of the bytes of a file that begin at one of them.

    Args:
        coded: The bytes; where there are too few, the others are zeros.
        escapes: Positions of bytes that emulation prevention put in, counted without those.
        phase: How many samples of its macroblock come before the first.
        length: How many samples.
    """
    raw = np.frombuffer(coded, dtype=np.uint8)
    inside = (escapes + np.arange(len(escapes)))[: len(raw)]
    inside = inside[inside < len(raw)]
    return _samples(np.delete(raw, inside) if len(inside) else raw, phase, length)


def without_gaps(coded: Bytes, phases: NDArray[np.int64], out: Bytes) -> None:
    """Leave out what lies between macroblocks: the same bytes of all rows that begin at the same sample of one.

    Args:
        coded: (m, at least what a row takes) uint8, rows as they lie in the video, without escapes.
        phases: At which sample of its macroblock each row begins, (m,); (1,) where all begin at the same.
        out: (m, row bytes) uint8, written.
    """
    row_bytes = out.shape[1]
    for one in np.unique(phases).tolist() if len(phases) > 1 else phases.tolist():
        rows: Any = np.flatnonzero(phases == one) if len(phases) > 1 else slice(None)
        source = done = 0
        while done < row_bytes:
            run = min(MACROBLOCK_BYTES - (one + done) % MACROBLOCK_BYTES, row_bytes - done)
            out[rows, done : done + run] = coded[rows, source : source + run]
            source, done = source + run + 2, done + run


def mended(
    coded: Bytes,
    odd: NDArray[np.int64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    places: Places,
    pictures: Pictures,
    row_bytes: int,
) -> Bytes:
    """Take the escapes out of rows that have some within.

    Args:
        coded: (m, size) uint8, rows as they lie in the video.
        odd: Which of them have escapes.
        rows: (m,) their numbers.
        starts: (m,) where in the file they begin.
        places: Where all rows lie.
        pictures: The video.
        row_bytes: Bytes of a row.
    """
    if not coded.flags.writeable:
        coded = coded.copy()
    for at in odd.tolist():
        escapes = places.escapes_within(int(rows[at]), row_bytes)
        line = coded[at]
        if len(escapes) <= MOST_ESCAPES:
            for escape in (escapes - np.arange(len(escapes))).tolist():
                line[escape:-1] = line[escape + 1 :]
        else:
            more = pictures.read(int(starts[at]), len(line) + len(escapes))
            plain = np.delete(np.frombuffer(more.ljust(len(line) + len(escapes), b"\0"), np.uint8), escapes)
            line[:] = plain[: len(line)]
    return coded


def look_up(pictures: Pictures, frame: FrameLocation, dimension: int, dtype: str, row_bytes: int) -> FrameOfRows | None:
    """Find the matrix of a frame in its picture; None when it is damaged, or holds no such rows."""
    coded = pictures.read(frame.offset, frame.size)
    head, begin = head_of(coded) if is_headed(coded) else (b"", _LENGTH_BYTES)
    picture = np.frombuffer(coded, dtype=np.uint8)[begin : begin + LARGEST_SLICE]
    places = escape_places(picture)
    positions = places - np.arange(len(places))  # in what has no escapes
    plain = (np.delete(picture, places) if len(places) else picture)[_START_BYTES:]
    sealed = ENVELOPE_BYTES + int.from_bytes(head[:4] or plain[:4].tobytes(), "little")
    if not len(head) < sealed <= len(head) + len(plain):
        return None
    try:
        samples = _samples(plain, 0, sealed - len(head))
        payload = unseal(head + samples.tobytes() if head else samples.data, frame.frame)
        place = pictures.matrix(payload, frame.frame)
    except DamagedFrameError:
        return None
    if place is None or place[2:4] != (dimension, dtype) or place[0] != frame.row:
        return None
    first, items, _, _, start = place
    sample = ENVELOPE_BYTES + start - len(head)
    if sample < 0:
        return None
    before = _START_BYTES + int(crossed(0, sample))  # bytes of the picture before the matrix
    relative = positions - before
    length = int(crossed(sample, items * row_bytes - 1)) + 1
    matrix = np.frombuffer(payload, dtype=np.uint8, offset=start).reshape(items, row_bytes)
    begin += frame.offset + before + int(np.count_nonzero(relative <= 0))
    escapes = relative[(relative > 0) & (relative < length)]
    return FrameOfRows(first, matrix, begin, sample % MACROBLOCK_BYTES, escapes)


def squares(stored: NDArray[Any], wide: Matrix) -> NDArray[np.float32] | None:
    """Return the squared length of each row; None if a number in them is infinite or NaN.

    Args:
        stored: (n, d) float16 or float32.
        wide: The same as float32.
    """
    if stored.dtype == np.float16 and ((stored.view(np.uint16) & _EXPONENT) == _EXPONENT).any():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        found: NDArray[np.float32] = np.einsum("ij,ij->i", wide, wide)
    return found if stored.dtype == np.float16 or np.isfinite(wide).all() else None


def lengthened(stored: NDArray[Any], scale: NDArray[np.float32] | None = None) -> Matrix:
    """Return rows as float32, of length 1 but for a rounding to their dtype, exactly as they are in a file of rows.

    Args:
        stored: (n, d) float16 or float32.
        scale: (n,) float32, as :meth:`Places.scale_of` returns it.
    """
    found = _unit(stored) if scale is None or np.isnan(scale).any() else widen(stored, scale=scale)
    return found if stored.dtype == np.float32 else widen(narrow(found))


def _unit(stored: NDArray[Any]) -> Matrix:
    wide = widen(stored, np.empty(stored.shape, dtype=np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.einsum("ij,ij->i", wide, wide)  # as in normalized: a row is the same whichever way it is read
    if ((lengths > 1e-30) & (lengths < 1e30)).all():
        wide *= (1.0 / np.sqrt(lengths))[:, None]
        return wide
    return normalized(wide, wide.shape[1])
