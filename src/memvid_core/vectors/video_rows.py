"""VideoRows: rows that are read where they lie in the video, so that a large index keeps no second copy of them.

One checksum a row is kept, and one place a frame (``video_places``). The newest rows lie in a file as in ``FileRows``,
until there are enough to be looked up in the video; then the index goes on with a new, shorter file. Rows of a large
commit never get into the file: they stay in memory until the commit is in the video.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError
from memvid_core.model import FrameLocation
from memvid_core.system.folders import named
from memvid_core.vectors import settings
from memvid_core.vectors.growing_file import GrowingFile, load_arrays, row_sums, save_arrays
from memvid_core.vectors.kept_rows import KeptRows
from memvid_core.vectors.known_places import KnownPlaces, has_length_one, squares_of
from memvid_core.vectors.last_rows import LastRows
from memvid_core.vectors.matrix import FileRows, Matrix, RamRows, StoredDtype, copy_rows, widen
from memvid_core.vectors.video_places import (
    MOST_ESCAPES,
    NO_PLACE,
    NOWHERE,
    Bytes,
    FrameOfRows,
    Pictures,
    Places,
    crossed,
    lengthened,
    look_up,
    mended,
    unescaped,
    without_gaps,
)
from memvid_core.video.bitstream import MACROBLOCK_BYTES

__all__ = ["Pictures", "VideoRows"]

_SUM_BYTES: Final = 8
_PIECES: Final = 1024  # rows read with one call, at most
_PIECE_BYTES: Final = 1 << 20  # of them


class _State(NamedTuple):
    """What rows are read from; replaced as one.

    Attributes:
        settled: How many rows, from the first, are read from the video.
        places: Where they lie.
        file: The rows after them.
        pending: The same and those of a large commit, until it is in the video; None in between.
        base: How many rows were committed when those came.
    """

    settled: int
    places: Places
    file: FileRows
    pending: RamRows | None = None
    base: int = 0

    @property
    def tail(self) -> FileRows | RamRows:
        """The rows that are not read from the video."""
        return self.file if self.pending is None else self.pending


class VideoRows:
    """Rows in a video, but for the newest, which lie in a file.

    Args:
        folder: Where the places and the newest rows are kept.
        dimension: Components of a row.
        dtype: How they are stored, in the video and here.
        writable: Whether the folder may be written.
        pictures: The video.
        least_rows: Fewer rows all lie in the file.
    """

    def __init__(
        self,
        folder: Path,
        dimension: int,
        dtype: StoredDtype,
        *,
        writable: bool,
        pictures: Pictures,
        least_rows: int = 0,
    ) -> None:
        self.dimension, self._folder, self._name = dimension, folder, dtype
        self._writable, self._pictures, self._least_rows = writable, pictures, least_rows
        self._sums = GrowingFile(folder / f"video-{dimension}.{dtype}.sums", writable=writable)
        self._state = _State(0, NOWHERE, self._file(0))
        self.dtype = self._state.file.dtype
        self._row_bytes = dimension * self.dtype.itemsize
        self._last = LastRows()
        self._kept: KeptRows | None = None
        self.known = KnownPlaces()
        """Whether the places are those of these rows."""
        self._seen = np.zeros(0, dtype=np.bool_)  # rows that were found right since the video changed
        self._stamp = (0, 0)

    @property
    def settled(self) -> int:
        """How many rows, from the first, are read from the video."""
        return self._state.settled

    def _file(self, settled: int) -> FileRows:
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
        self._sums.forget(min(settled, self.settled) * _SUM_BYTES)
        places = NOWHERE
        if settled:
            arrays = load_arrays(self._places_path(settled))
            if arrays is None or set(arrays) != set(Places._fields):
                raise IndexStaleError(f"{self._places_path(settled)} is missing or damaged; rebuild the index")
            places = Places(**arrays)
        self._state = _State(settled, places, self._file(settled))

    @property
    def identity(self) -> int:
        """What identifies the places of rows in the video, for the catalog; 0 if they may be of other rows."""
        return self.known.identity(self._state.places)

    def prove(self) -> None:
        """Compare the places with what the catalog says of them, unless that was done.

        Raises:
            IndexStaleError: They are of other rows.
        """
        places = self._state.places
        self.known.check(places, partial(self._whole, places), self.dtype)

    def sync(self, rows: int, kept: int) -> None:
        """See that there are so many rows; those from ``kept`` on may be another's."""
        state = self._state
        if rows < state.settled or self._sums.size() < state.settled * _SUM_BYTES:
            raise IndexStaleError(f"the vector index cannot read {state.settled} rows from the video; rebuild it")
        if state.pending is not None and rows <= state.base:  # its commit may still be under way, in another thread
            return
        if state.pending is not None:
            self._state = state._replace(pending=None)
        state.file.sync(rows - state.settled, max(kept - state.settled, 0))

    def write(self, first_row: int, unit: Matrix) -> None:
        """Store unit rows from ``first_row`` on: in memory if they will be looked up in the video, or in the file.

        Whoever calls this calls ``settle`` or ``keep`` next.
        """
        state, stop = self._state, first_row + len(unit)
        if first_row < state.settled:
            raise IndexStaleError(f"row {first_row} lies in the video already, with {state.settled} rows; rebuild it")
        state = state._replace(pending=None)
        before = first_row - state.settled
        if self.due(stop) and before <= len(unit):
            pending = RamRows(self.dimension, self._name)
            if before:
                pending.write(0, state.file.block(0, before))
            pending.write(before, unit)
            state = state._replace(pending=pending, base=first_row)
        else:
            state.file.write(before, unit)
        self._state = state

    def keep(self) -> None:
        """Put rows into the file that are in memory, because their commit cannot be read from the video."""
        state = self._state
        if state.pending is not None:
            copy_rows(state.pending, state.base - state.settled, state.pending.available(), state.file, 0)
            self._state = state._replace(pending=None)

    def available(self) -> int:
        """Return how many rows there are, committed or not."""
        return self.settled + self._state.tail.available()

    # --- reading ---

    def read(self, rows: NDArray[np.int64], out: Matrix | None = None) -> Matrix:
        """Return some rows as float32, of length 1, each compared with its checksum."""
        state = self._state
        settled = state.settled
        inside = rows < settled
        if inside.all():
            return self._from_video(state, rows, out)
        out = np.empty((len(rows), self.dimension), dtype=np.float32)
        out[inside] = self._from_video(state, rows[inside])
        out[~inside] = state.tail.read(rows[~inside] - settled)
        return out

    def _from_video(self, state: _State, rows: NDArray[np.int64], out: Matrix | None = None) -> Matrix:
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        raw = self._last.read(state.places, rows, partial(self._proven, state))
        return self._widened(raw, state.places.scale_of(rows), out)

    def _proven(self, state: _State, rows: NDArray[np.int64]) -> Bytes:
        """Return rows, (m, row bytes) uint8, compared with their checksums."""
        kept = self._kept_rows(state.settled)
        if kept is None:
            raw = self._gathered(state, rows)
            self._prove(raw, rows, state.settled)
        else:
            raw = kept.take(rows, partial(self._gathered, state), partial(self._compare, settled=state.settled))
            kept.read_ahead(state.places.first, state.places.items, partial(self._proven_frame, state))
        return raw

    def _kept_rows(self, settled: int) -> KeptRows | None:
        """Return the rows in RAM; None where there are too many to keep, here or in the whole process."""
        kept = self._kept
        if kept is None or kept.count < settled:
            kept = self._kept = KeptRows.if_room(settled, self._row_bytes, kept, self)
        return kept

    def _proven_frame(self, state: _State, at: int) -> Bytes:
        """Return the rows of one frame, compared with their checksums."""
        raw = self._whole(state.places, at)
        self._compare(raw, np.arange(len(raw)) + state.places.first[at], state.settled)
        return raw

    def _gathered(self, state: _State, rows: NDArray[np.int64]) -> Bytes:
        """Read rows from the video, (m, row bytes) uint8, not yet compared with their checksums."""
        raw = np.empty((len(rows), self._row_bytes), dtype=np.uint8)
        starts, phases = state.places.of(rows, self._row_bytes)
        if (phases == phases[0]).all():
            phases = phases[:1]
        odd = np.flatnonzero(starts < 0)
        empty = odd[starts[odd] == NO_PLACE] if len(odd) else odd
        if len(odd):
            starts[odd] = ~starts[odd]
            starts[empty] = 0
        size = self._row_bytes + 2 * -(-self._row_bytes // MACROBLOCK_BYTES) + (MOST_ESCAPES if len(odd) else 0)
        step = max(1, min(_PIECES, _PIECE_BYTES // size))
        mapped = self._kept is not None  # the whole video would be in memory soon
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            coded = self._pictures.pieces(starts[part], size, mapped=mapped)
            within = odd[(odd >= first) & (odd < first + step)] - first if len(odd) else odd
            if len(within):
                coded = mended(coded, within, rows[part], starts[part], state.places, self._pictures, self._row_bytes)
            without_gaps(coded, phases if len(phases) == 1 else phases[part], raw[part])
        if len(empty):
            raw[empty] = 0
        return raw

    def _widened(self, raw: Bytes, scale: NDArray[np.float32] | None, out: Matrix | None = None) -> Matrix:
        stored = raw.view(self.dtype)
        return widen(stored, out) if scale is None else lengthened(stored, scale)

    def _prove(self, raw: Bytes, rows: NDArray[np.int64], settled: int) -> None:
        """Compare rows with their checksums, those that were not since the video changed; after they were read."""
        seen = self._seen_rows(settled)
        unseen = np.flatnonzero(~seen[rows])
        if len(unseen):
            self._compare(raw if len(unseen) == len(rows) else raw[unseen], rows[unseen], settled)
            seen[rows] = True

    def _seen_rows(self, settled: int) -> NDArray[np.bool_]:
        stamp = self._pictures.stamp()
        if stamp != self._stamp or len(self._seen) < settled:
            self._seen, self._stamp = np.zeros(settled, dtype=np.bool_), stamp
        return self._seen

    def _compare(self, raw: Bytes, rows: NDArray[np.int64], settled: int) -> None:
        """Compare rows with their checksums.

        Raises:
            IndexStaleError: One is not what was written.
        """
        size = settled * _SUM_BYTES
        wrong = np.flatnonzero(row_sums(raw, rows) != self._sums.start(size)[:size].view(np.uint64)[rows])
        if len(wrong):
            raise IndexStaleError(f"row {rows[wrong[0]]} is not what was written to the video; rebuild the index")

    def total(self, start: int, stop: int) -> int:
        """Return the sum of the checksums of the rows from ``start`` to ``stop``, in the video and in the file."""
        settled, file = self._state.settled, self._state.file
        inside = self._sums.start(size := _SUM_BYTES * min(stop, settled))[_SUM_BYTES * start : size].view(np.uint64)
        return int(inside.sum(dtype=np.uint64)) + file.total(max(start - settled, 0), max(stop - settled, 0))

    def check(self, rows: int) -> None:
        """Compare rows outside the video with their checksums; those in it are compared whenever they are read."""
        state = self._state
        state.tail.check(max(rows - state.settled, 0))

    def block(self, start: int, stop: int) -> Matrix:
        """Return rows one after the other; from the video, picture after picture."""
        state = self._state
        settled, places, tail = state.settled, state.places, state.tail
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
        found = self._widened(raw, None) if places.unit.all() else lengthened(raw.view(self.dtype))
        return found if end == stop else np.concatenate((found, tail.block(0, stop - settled)))

    def copy_to(self, out: Matrix, start: int) -> None:
        """Write the rows from ``start`` on to ``out``."""
        settled = self.settled
        if start < settled:
            np.copyto(out, self.block(start, start + len(out)))
        else:
            self._state.tail.copy_to(out, start - settled)

    def _whole(self, places: Places, at: int) -> Bytes:
        """Return the matrix of one frame, with one row of bytes for each row."""
        length = int(places.items[at]) * self._row_bytes
        phase, escapes = int(places.phase[at]), places.escapes_of(at)
        size = int(crossed(phase, length - 1)) + 1 + len(escapes)
        coded = self._pictures.read(int(places.begin[at]), size)
        return unescaped(coded, escapes, phase, length).reshape(-1, self._row_bytes)

    @property
    def one_by_one(self) -> bool:
        """Whether rows are read from the video, one after the other."""
        return self.settled > 0 or self._state.tail.one_by_one

    # --- from the file to the video ---

    def due(self, rows: int) -> int:
        """Return in how many frames, at most, the rows of the file must lie to look them up in the video; 0: not yet.

        Args:
            rows: How many there are.
        """
        new = rows - self.settled
        least = max(settings.DEFAULTS.settled_rows, self.settled >> 5)
        return new // settings.DEFAULTS.frame_rows if rows >= self._least_rows and new >= least else 0

    def settle(self, frames: Sequence[FrameLocation], rows: int) -> int:
        """Look rows up in the video, and go on with a file of those that cannot be read there.

        The files in use until now stay, for who reads them and for a transaction that fails.

        Args:
            frames: The frames of vectors from row ``settled`` on, in the order of their rows.
            rows: How many the catalog counts.

        Returns:
            How many rows are read from the video now; the caller notes it in the catalog.
        """
        known = self._state.places
        places = known.with_frames(self._looked_up(frames, rows))
        if len(places.first) > len(known.first):
            self._go_on(int(places.first[-1] + places.items[-1]), places, rows)
        return self.settled

    def _looked_up(
        self, frames: Iterable[FrameLocation], rows: int
    ) -> Iterator[tuple[FrameOfRows, bool, NDArray[np.float32]]]:
        """Yield frames that can be read in the video, whether their rows have length 1, and the squares of these.

        Writes the checksums of their rows.
        """
        settled = end = self.settled
        for frame in frames:
            one = look_up(self._pictures, frame, self.dimension, self._name, self._row_bytes)
            if one is None or one.first < end or one.first + len(one.matrix) > rows or not len(one.matrix):
                return
            lengths = squares_of(one.matrix, self.dtype)
            if lengths is None or not self._is_empty(end - settled, one.first - settled):
                return
            self._write_sums(end, one)
            yield one, has_length_one(lengths, self.dimension, self.dtype), lengths
            end = one.first + len(one.matrix)

    def _is_empty(self, start: int, stop: int) -> bool:
        """Return whether rows that lie between frames have no vector here, either."""
        tail = self._state.tail
        return start >= stop or not tail.block(start, stop).any()

    def _write_sums(self, end: int, frame: FrameOfRows) -> None:
        """Write the checksums of a frame's rows, and of those before it that have no vector."""
        rows = np.arange(end, frame.first + len(frame.matrix))
        raw = frame.matrix
        if frame.first > end:
            raw = np.concatenate((np.zeros((frame.first - end, self._row_bytes), dtype=np.uint8), raw))
        self._sums.write(end * _SUM_BYTES, row_sums(raw, rows).data.cast("B"))
        self._sums.forget(end * _SUM_BYTES)

    def _go_on(self, end: int, places: Places, rows: int) -> None:
        """Read rows below ``end`` from the video from now on, and copy the others to a new file."""
        settled, tail = self.settled, self._state.tail
        made = self._file(end)
        copy_rows(tail, end - settled, rows - settled, made, settled - end)
        save_arrays(self._places_path(end), **places._asdict())
        self._state = _State(end, places, made)
        self.known.take(places)

    def _sweep(self) -> None:
        """Delete what belongs to fewer rows in the video; the catalog counts those of now."""
        settled, name = self.settled, f"{self.dimension}.{self._name}"
        keep = {f"video-{name}.{settled}", f"video-{name}.sums", *(path.name for path in self._state.file.paths)}
        for path in (*named(self._folder, f"vectors-{name}"), *named(self._folder, f"video-{name}.")):
            if path.name not in keep:
                with contextlib.suppress(OSError):  # Windows refuses while another process has it open
                    path.unlink()

    def flush(self) -> None:
        """Force the rows to the disk, and delete files that nobody opens any more."""
        self._state.file.flush()
        self._sums.flush()
        if self._writable:
            self._sweep()

    def close(self) -> None:
        """Close the files; the video is the caller's."""
        self._state.file.close()
        self._sums.close()
        self._last, self._kept = LastRows(), None
        KeptRows.leave(self)

    @property
    def nbytes(self) -> int:
        """Size of the files, without the video."""
        places = self._places_path(self.settled)
        return self._state.file.nbytes + self._sums.size() + (places.stat().st_size if places.exists() else 0)
