"""Codes: where the signs and levels of all rows lie.

A quantizer (``quantizer``) is stored with the codes that it made under a fit number. A later fit writes a new fit
next to the old one; codes of committed rows never change within a fit, so a reader may keep the one it has.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.system.folders import named
from memvid_core.vectors.checked_rows import CheckedRows
from memvid_core.vectors.growing_file import (
    GrowingFile,
    factors,
    load_arrays,
    numbered,
    row_sums,
    save_arrays,
)
from memvid_core.vectors.quantizer import BITS, WORDS, Codes, Levels, Quantizer

__all__ = [
    "BLOCK_ROWS",
    "CodeStore",
    "FileCodes",
    "RamCodes",
    "copy_codes",
    "is_newest",
    "load_codes",
    "newest_codes",
    "save_codes",
]

BLOCK_ROWS: Final = 8192  # 256 KB of codes: with the temporaries of a scan they fit a core's L2 cache

_BLOCK_BYTES: Final = WORDS * BLOCK_ROWS * 8
_NOTHING: Final = 0, 0, 0
_SUM_BYTES: Final = 16  # of a row: 8 for its signs, 8 for its levels


class CodeStore(Protocol):
    """Signs in blocks of 8192 rows, word by word: (blocks, 4, 8192) uint64; levels row by row."""

    def write(self, first_row: int, signs: Codes, levels: Levels) -> None:
        """Store (n, 4) signs and (n, width) levels from ``first_row`` on."""

    def blocks(self, rows: int) -> Codes:
        """Return the blocks that hold the signs of the first ``rows`` rows, without a copy.

        Raises:
            IndexStaleError: Those of a row are not what was written.
        """

    def levels(self, rows: NDArray[np.int64]) -> Levels:
        """Return the levels of some rows, (m, width), in the order asked.

        Raises:
            IndexStaleError: Those of a row are not what was written.
        """

    def sync(self, rows: int, kept: int) -> None:
        """See that there are the codes of ``rows`` rows; those from ``kept`` on may be another's."""

    def flush(self) -> None:
        """Make what was written durable."""

    def close(self) -> None:
        """Let go of files and memory."""

    @property
    def keeps_levels(self) -> bool:
        """Whether levels are in RAM once they were asked for."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""


class RamCodes:
    """Codes in memory.

    Args:
        width: Levels of a row.
    """

    def __init__(self, width: int) -> None:
        self._blocks: Codes = np.empty((0, WORDS, BLOCK_ROWS), dtype=np.uint64)
        self._levels: Levels = np.empty((0, width), dtype=np.int8)

    def write(self, first_row: int, signs: Codes, levels: Levels) -> None:
        """Store codes from ``first_row`` on."""
        needed = _block_count(first_row + len(signs))
        if needed > len(self._blocks):
            blocks = max(needed, len(self._blocks) * 3 // 2)
            self._blocks = _grown(self._blocks, blocks)
            self._levels = _grown(self._levels, blocks * BLOCK_ROWS)
        for block, start, part in _parts(first_row, signs):
            self._blocks[block, :, start : start + len(part)] = part.T
        self._levels[first_row : first_row + len(levels)] = levels

    def blocks(self, rows: int) -> Codes:
        """Return the blocks of the first ``rows`` rows."""
        return self._blocks[: _block_count(rows)]

    def levels(self, rows: NDArray[np.int64]) -> Levels:
        """Return the levels of some rows."""
        found: Levels = self._levels.take(rows, axis=0)
        return found

    def sync(self, rows: int, kept: int) -> None:
        """Do nothing: nobody else writes here."""

    def flush(self) -> None:
        """Do nothing: the rows are in RAM."""

    def close(self) -> None:
        """Let go of the memory."""
        self._blocks, self._levels = self._blocks[:0].copy(), self._levels[:0].copy()

    @property
    def keeps_levels(self) -> bool:
        """True."""
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self._blocks.nbytes + self._levels.nbytes


def copy_codes(source: CodeStore, rows: int, target: CodeStore) -> None:
    """Write the codes of the first ``rows`` rows of a store to another."""
    for block, signs in enumerate(source.blocks(rows)):
        numbers = np.arange(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, rows))
        target.write(int(numbers[0]), signs.T[: len(numbers)], source.levels(numbers))


class FileCodes:
    """Codes in two files, always of whole blocks, and in RAM once they were read: all signs, and the levels asked for.

    A third has two checksums a row: of its signs, which a search reads of all rows, and of its levels, which it reads
    of few.

    Args:
        folder: Where they lie.
        fit: In their names.
        width: Levels of a row.
        writable: Whether they may be written.
        create: Whether they are made when they are missing.
        most_bytes: Levels that take more are not kept in RAM, but read and compared each time; None: all are kept.
        digest: What identifies the quantizer that makes them.

    Raises:
        StorageError: They cannot be opened.
    """

    settled = 0
    """No code is read from a video."""

    def __init__(
        self,
        folder: Path,
        fit: int,
        width: int,
        *,
        writable: bool,
        create: bool = True,
        most_bytes: int | None = None,
        digest: int = 0,
    ) -> None:
        self._width, self._digest = width, digest
        self._signs, self._levels, self._sums = self._files = [
            GrowingFile(path, writable=writable, create=create) for path in _files(folder, fit)
        ]
        self._checked = CheckedRows(self._levels, self._sums, width, column=1, columns=2, most_bytes=most_bytes)
        self._lock = threading.Lock()
        self._blocks: Codes = np.empty((0, WORDS, BLOCK_ROWS), dtype=np.uint64)
        self._known = 0  # rows whose signs are in RAM
        self._written = _NOTHING  # last: its first row, the row after it, and the sum of their checksums

    def write(self, first_row: int, signs: Codes, levels: Levels) -> None:
        """Store codes from ``first_row`` on."""
        blocks = _block_count(first_row + len(signs))
        self._signs.reserve(blocks * _BLOCK_BYTES)
        self._levels.reserve(blocks * BLOCK_ROWS * self._width)
        for block, start, part in _parts(first_row, signs):
            words = np.ascontiguousarray(part.T)
            at = block * _BLOCK_BYTES + start * 8
            if len(part) == BLOCK_ROWS:
                self._signs.write(at, words.data.cast("B"))
            else:
                for word in range(WORDS):
                    self._signs.write(at + word * BLOCK_ROWS * 8, words[word].data.cast("B"))
        if len(levels):
            self._levels.write(first_row * self._width, levels.data.cast("B"))
            numbers = np.arange(first_row, first_row + len(levels))
            sums = np.empty((len(levels), 2), dtype=np.uint64)
            sums[:, 0], sums[:, 1] = _sign_sums(signs.T, numbers), row_sums(levels, numbers)
            self._sums.write(first_row * _SUM_BYTES, sums.data.cast("B"))
            self._forget(first_row)
            self._written = first_row, first_row + len(levels), int(sums.sum(dtype=np.uint64))

    def _forget(self, first_row: int) -> None:
        self._written = _NOTHING
        self._checked.forget(first_row)
        with self._lock:
            self._known = min(self._known, first_row)

    def blocks(self, rows: int) -> Codes:
        """Return the blocks of the first ``rows`` rows; they are read once, and compared with their checksums."""
        with self._lock:
            needed = _block_count(rows)
            if needed > len(self._blocks):
                self._blocks = _grown(self._blocks, needed + needed // 2)
            while self._known < rows:
                block, start = divmod(self._known, BLOCK_ROWS)
                self._known = self._take_signs(block, start, min(BLOCK_ROWS, rows - block * BLOCK_ROWS))
            return self._blocks[:needed]

    def _take_signs(self, block: int, start: int, stop: int) -> int:
        """Read the signs of some rows of a block; return the row after the last."""
        first = block * BLOCK_ROWS
        numbers = np.arange(first + start, first + stop)
        size, at = (stop - start) * 8, block * _BLOCK_BYTES + start * 8
        signs = self._blocks[block]
        if len(numbers) == BLOCK_ROWS:
            self._signs.fill(at, signs)
        else:
            words = self._signs.pieces(np.arange(WORDS) * (BLOCK_ROWS * 8) + at, size)
            signs = words.view(np.uint64).reshape(WORDS, -1)
        sums = self._sums.span(int(numbers[0]) * _SUM_BYTES, len(numbers) * _SUM_BYTES).view(np.uint64)
        wrong = np.flatnonzero(_sign_sums(signs, numbers) != sums[::2])
        if len(wrong):
            raise IndexStaleError(
                f"the codes of row {numbers[wrong[0]]} in {self._signs.path} are not what was written; rebuild them"
            )
        if len(numbers) < BLOCK_ROWS:
            self._blocks[block, :, start:stop] = signs
        return first + stop

    def total(self, start: int, stop: int) -> int:
        """Return the sum of the checksums of the codes of some rows; that from row 0 on tells what made them, too."""
        if start >= stop:
            return 0
        first, end, total = self._written
        if (first, end) != (start, stop):
            sums = self._sums.span(_SUM_BYTES * start, _SUM_BYTES * (stop - start)).view(np.uint64)
            total = int(sums.sum(dtype=np.uint64))
        return total + (0 if start else self._digest)

    def levels(self, rows: NDArray[np.int64]) -> Levels:
        """Return the levels of some rows; they are read once, and compared with their checksums."""
        return self._checked.take(rows).view(np.int8)

    @property
    def keeps_levels(self) -> bool:
        """Whether levels are in RAM once they were asked for."""
        return self._checked.kept

    def holds(self, rows: int) -> bool:
        """Return whether the files are long enough for so many rows."""
        blocks = _block_count(rows)
        long_enough = self._signs.size() >= blocks * _BLOCK_BYTES
        long_enough &= self._levels.size() >= blocks * BLOCK_ROWS * self._width
        return long_enough and self._sums.size() >= rows * _SUM_BYTES

    def sync(self, rows: int, kept: int) -> None:
        """See that there are the codes of so many rows; those from ``kept`` on may be another's.

        Raises:
            IndexStaleError: There are not.
        """
        if self._signs.size() < _block_count(rows) * _BLOCK_BYTES:
            raise IndexStaleError(f"{self._signs.path} has no codes of {rows} rows, which were committed; rebuild it")
        self._checked.sync(rows, kept)
        self._forget(kept)

    def flush(self) -> None:
        """Force the codes to the disk."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        self._checked.close()

    @property
    def nbytes(self) -> int:
        """Size of the files."""
        return sum(file.size() for file in self._files)


def _sign_sums(words: Codes, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return one checksum per row from its signs, (4, n), and its number."""
    weights = factors(WORDS)
    if len(numbers) == 1:
        return numbered(np.vecdot(words.T, weights), numbers)
    sums = words[0] * weights[0]
    for word, weight in zip(words[1:], weights[1:], strict=True):
        sums += word * weight
    return numbered(sums, numbers)


def _files(folder: Path, fit: int) -> tuple[Path, Path, Path]:
    """Return where the signs, the levels and the checksums of a fit lie."""
    return (
        folder / f"codes-{fit}.bits",
        folder / f"codes-{fit}.levels",
        folder / f"codes-{fit}.sums",
    )


def _grown(array: NDArray[Any], length: int) -> NDArray[Any]:
    """Return a longer copy, with zeros at its end."""
    longer = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def _block_count(rows: int) -> int:
    return -(-rows // BLOCK_ROWS)


def _parts(first_row: int, codes: Codes) -> list[tuple[int, int, Codes]]:
    """Cut codes at block borders: (block, row within it, codes)."""
    parts = []
    done = 0
    while done < len(codes):
        block, start = divmod(first_row + done, BLOCK_ROWS)
        part = codes[done : done + BLOCK_ROWS - start]
        parts.append((block, start, part))
        done += len(part)
    return parts


_PARAMETERS: Final = "quantizer-"  # and the number of the fit
_CODES: Final = re.compile(r"codes-(\d+)\.(?:bits|levels|sums)")


def _fits(folder: Path) -> list[int]:
    """Fit numbers that have their parameters, newest first."""
    try:
        numbers = [name[len(_PARAMETERS) :] for name in os.listdir(folder) if name.startswith(_PARAMETERS)]
        return sorted((int(number) for number in numbers if number.isdecimal()), reverse=True)
    except FileNotFoundError as exc:
        raise IndexStaleError(f"{folder} was deleted; open the index again") from exc
    except OSError as exc:
        raise StorageError(f"cannot list {folder}: {exc.strerror}") from exc


def newest_codes(folder: Path) -> int:
    """Return the number of the newest fit; 0 when there is none."""
    return max(_fits(folder), default=0)


def is_newest(folder: Path, fit: int) -> bool:
    """Return whether a fit that was found is still the newest, without listing the folder.

    A new fit has the next number, and removes the parameters of this one.
    """
    parameters = f"{folder}{os.sep}{_PARAMETERS}"
    return os.path.exists(f"{parameters}{fit}") and not os.path.exists(f"{parameters}{fit + 1}")


def load_codes(
    folder: Path, dimension: int, rows: int, *, writable: bool, most_bytes: int | None = None
) -> tuple[int, Quantizer, FileCodes] | None:
    """Open the newest fit that covers ``rows`` rows; None when there is none.

    A file that is damaged or of another dimension is passed over: codes can be made again from the rows.
    """
    for fit in _fits(folder):
        arrays = load_arrays(folder / f"quantizer-{fit}")
        if arrays is None or set(arrays) != {"directions", "offsets", "step", "fitted_rows"}:
            continue
        directions = arrays["directions"]
        quantizer = Quantizer(directions, arrays["offsets"], float(arrays["step"]), int(arrays["fitted_rows"]))
        if directions.shape != (BITS, dimension):
            continue
        try:
            codes = FileCodes(
                folder,
                fit,
                quantizer.width,
                writable=writable,
                create=False,
                most_bytes=most_bytes,
                digest=quantizer.digest,
            )
        except (StorageError, IndexStaleError):  # another process replaced them a moment ago
            continue
        if codes.holds(rows):
            return fit, quantizer, codes
        codes.close()
    return None


def save_codes(
    folder: Path, quantizer: Quantizer, fill: Callable[[FileCodes], None], *, most_bytes: int | None = None
) -> tuple[int, FileCodes]:
    """Write a new fit; its parameters come last, under their name at once, so it is found whole or not at all.

    Args:
        folder: Where the index lies.
        quantizer: What the codes are made with.
        fill: Called with the empty ``FileCodes`` to write all codes to it.
        most_bytes: As for ``FileCodes``.

    Returns:
        The fit's number and its codes. Older fits are removed where no reader holds them.
    """
    older = {int(name[1]) for path in named(folder, "codes-") if (name := _CODES.fullmatch(path.name))}
    fit = max([*older, *_fits(folder)], default=0) + 1
    codes = FileCodes(folder, fit, quantizer.width, writable=True, most_bytes=most_bytes, digest=quantizer.digest)
    try:
        fill(codes)
        codes.flush()
        save_arrays(
            folder / f"quantizer-{fit}",
            directions=quantizer.directions,
            offsets=quantizer.offsets,
            step=np.float64(quantizer.step),
            fitted_rows=np.int64(quantizer.fitted_rows),
        )
    except BaseException:
        codes.close()
        for path in _files(folder, fit):
            path.unlink(missing_ok=True)
        raise
    for old in older:
        for path in (folder / f"quantizer-{old}", *_files(folder, old)):
            with contextlib.suppress(OSError):  # Windows refuses while a reader has it mapped; the next fit tries again
                path.unlink(missing_ok=True)
    return fit, codes
