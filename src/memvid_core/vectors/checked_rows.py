"""CheckedRows: rows of a growing file, compared with their checksums when they are read, and kept in RAM.

The file is read with system calls and never mapped: a process that reads a mapped page which another program has cut
off is killed (SIGBUS), while a system call returns fewer bytes. A committed row never changes, so a row that was read
and compared once stays right whatever happens to the file.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError, MemvidError
from memvid_core.vectors.growing_file import GrowingFile, Sums, row_sums
from memvid_core.vectors.kept_rows import lazy_bytes

__all__ = ["CheckedRows"]

_MANY: Final = 256  # rows whose checksums are read one by one, at most: then all are read at once
_KEPT_AFTER: Final = 4  # calls, about one search: to keep a row takes the first page of memory, which is slower
_AHEAD_AFTER: Final = 8  # calls, about two searches: a process may search only once
_AHEAD_BYTES: Final = 1 << 22  # read ahead by each later call, so that all rows are in RAM after some searches

Bytes = NDArray[np.uint8]


class CheckedRows:
    """Read rows, each compared with its checksum. Threads may share it.

    Args:
        file: The rows, one after the other.
        sums: Their checksums.
        row_bytes: Bytes per row.
        column: Which of the checksums of a row is meant.
        columns: How many checksums, of 8 bytes, a row has in ``sums``.
        most_bytes: The rows of a larger file are not kept in RAM, but read and compared each time; None: all are kept.
    """

    def __init__(
        self,
        file: GrowingFile,
        sums: GrowingFile,
        row_bytes: int,
        *,
        column: int = 0,
        columns: int = 1,
        most_bytes: int | None = None,
    ) -> None:
        self._file, self._sums = file, sums
        self._row_bytes, self._column, self._columns = row_bytes, column, columns
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._rows = 0  # committed, as far as is known
        self._calls = 0
        self._summed = 0  # rows whose checksums were read one by one
        self._ahead = 0  # rows below this were read ahead
        self._whole = 0  # and are all kept
        self._kept = np.empty((0, row_bytes), dtype=np.uint8), np.zeros(0, dtype=np.bool_)

    @property
    def kept(self) -> bool:
        """Whether rows that were read stay in RAM."""
        return self._most_bytes is None or self._rows * self._row_bytes <= self._most_bytes

    def available(self) -> int:
        """Return how many whole rows the files hold, committed or not."""
        return min(self._file.size() // self._row_bytes, self._sums.size() // (8 * self._columns))

    def sync(self, rows: int, kept: int) -> None:
        """Take note that ``rows`` rows are committed, and read those from ``kept`` on again: they may be another's.

        Raises:
            IndexStaleError: The files hold fewer.
        """
        there = self.available()
        if there < rows:
            raise IndexStaleError(
                f"{self._file.path} holds {there} rows where {rows} were committed; rebuild the index"
            )
        self.forget(kept)
        self._rows = rows

    def forget(self, first_row: int) -> None:
        """Read rows from ``first_row`` on again: they are written again, or were by another process."""
        with self._lock:
            self._sums.forget(first_row * 8 * self._columns)
            self._kept[1][first_row:] = False
            self._ahead, self._whole = min(self._ahead, first_row), min(self._whole, first_row)

    def take(self, rows: NDArray[np.int64]) -> Bytes:
        """Return some rows, (m, row bytes) uint8, in the order asked.

        Raises:
            IndexStaleError: One is not what was written.
        """
        if not len(rows):
            return np.empty((0, self._row_bytes), dtype=np.uint8)
        if not self.kept or self._calls < _KEPT_AFTER:
            self._calls += 1
            return self._gathered(rows)
        whole, (raw, there) = self._whole, self._kept
        stop = int(rows.max()) + 1
        if stop > whole:
            if stop > len(there) or not there[rows].all():
                raw = self._filled(rows, stop)
            self._read_ahead()
        return raw.take(rows, axis=0, mode="clip")  # they are inside; this does not look again

    def span(self, start: int, stop: int) -> Bytes:
        """Return the rows from ``start`` to ``stop``, (stop - start, row bytes) uint8; read-only where they are kept.

        Raises:
            IndexStaleError: One is not what was written.
        """
        if not self.kept:
            return self._read(start, stop)
        raw, there = self._kept
        if stop > len(there) or not there[start:stop].all():
            raw = self._filled_span(start, stop)
        return raw[start:stop]

    def passing(self, start: int, stop: int) -> Bytes:
        """Return the rows from ``start`` to ``stop`` for whoever keeps them: here they are not kept.

        Raises:
            IndexStaleError: One is not what was written.
        """
        raw, there = self._kept
        return raw[start:stop] if stop <= len(there) and there[start:stop].all() else self._read(start, stop)

    def _filled(self, rows: NDArray[np.int64], stop: int) -> Bytes:
        """Read the missing rows among some below ``stop``; return all that are kept."""
        with self._lock:
            raw, there = self._room(stop)
            missing = rows[~there[rows]]
            if len(missing):
                raw[missing] = self._gathered(missing)
                there[missing] = True
            return raw

    def _filled_span(self, start: int, stop: int) -> Bytes:
        """Read rows from the first to the last that is missing in a range; return all that are kept."""
        with self._lock:
            raw, there = self._room(stop)
            missing = np.flatnonzero(~there[start:stop]) + start
            if len(missing):
                first, end, step = int(missing[0]), int(missing[-1]) + 1, max(1, _AHEAD_BYTES // self._row_bytes)
                for at in range(first, end, step):  # fresh memory for all of them would take longer than the reading
                    below = min(at + step, end)
                    raw[at:below] = self._read(at, below)
                    there[at:below] = True
            return raw

    def _read_ahead(self) -> None:
        """Read some of the rows that nobody asked for yet; a damaged one is left to whoever asks for it."""
        self._calls += 1
        if self._calls <= _AHEAD_AFTER or self._ahead >= self._rows:
            return
        with self._lock:
            start = self._ahead
            stop = min(start + max(1, _AHEAD_BYTES // self._row_bytes), self._rows)
            raw, there = self._room(stop)
            self._ahead = max(start, stop)
            if not there[start:stop].all():
                with suppress(MemvidError):
                    raw[start:stop] = self._read(start, stop)
                    there[start:stop] = True
            if self._whole >= start and there[start:stop].all():
                self._whole = max(self._whole, stop)

    def _room(self, rows: int) -> tuple[Bytes, NDArray[np.bool_]]:
        raw, there = self._kept
        if rows > len(there):
            longer = max(rows, self._rows)
            longer += longer // 4 + 64
            room = lazy_bytes(longer * self._row_bytes).reshape(longer, self._row_bytes)
            grown = room, np.zeros(longer, dtype=np.bool_)
            grown[0][: len(there)], grown[1][: len(there)] = raw, there
            self._kept = grown
        return self._kept

    def _read(self, start: int, stop: int) -> Bytes:
        rows = np.arange(start, stop)
        raw = self._file.span(start * self._row_bytes, (stop - start) * self._row_bytes)
        stored = raw.reshape(-1, self._row_bytes)
        self._compare(stored, rows, self._sums.span(start * 8 * self._columns, len(rows) * 8 * self._columns))
        return stored

    def _gathered(self, rows: NDArray[np.int64]) -> Bytes:
        start = int(rows[0])
        if int(rows[-1]) - start == len(rows) - 1 > 0 and (rows[1:] > rows[:-1]).all():
            return self._read(start, start + len(rows))
        stored = self._file.pieces(rows * self._row_bytes, self._row_bytes)
        self._compare(stored, rows, self._sums_of(rows))
        return stored

    def _sums_of(self, rows: NDArray[np.int64]) -> Bytes:
        """Return the checksums of some rows; once they were many, all are read at once, and kept in RAM."""
        size = 8 * self._columns
        self._summed += len(rows)
        if self._summed < _MANY:
            return self._sums.pieces(rows * size, size)
        end = max(self._rows, int(rows.max()) + 1) * size
        return self._sums.start(end)[:end].reshape(-1, size).take(rows, axis=0)

    def _compare(self, stored: Bytes, rows: NDArray[np.int64], sums: Bytes) -> None:
        wanted: Sums = sums.view(np.uint64).reshape(-1, self._columns)[:, self._column]
        wrong = np.flatnonzero(row_sums(stored, rows) != wanted)
        if len(wrong):
            raise IndexStaleError(f"row {rows[wrong[0]]} of {self._file.path} is not what was written; rebuild it")

    def close(self) -> None:
        """Let go of the memory; arrays handed out stay valid."""
        with self._lock:
            self._rows = self._whole = 0
            self._kept = np.empty((0, self._row_bytes), dtype=np.uint8), np.zeros(0, dtype=np.bool_)
