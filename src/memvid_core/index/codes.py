"""Sign codes: how a vector becomes 256 bits, and where the bits of all rows lie.

A ``Quantizer`` is fitted once on a sample: the mean, the directions in which the rows spread most, and a random
rotation among those, so that every bit carries as much as any other (Gong and Lazebnik, "Iterative Quantization",
CVPR 2011, whose random rotation is kept and whose iterations are not: they gave nothing here). It is stored with its
codes under a generation number. A later fit writes a new generation beside the old one; codes of committed rows
never change within a generation, so a reader may keep the one it has.
"""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import StorageError
from memvid_core.index.rows import GrowingFile, Matrix

__all__ = [
    "BITS",
    "BLOCK_ROWS",
    "WORDS",
    "CodeStore",
    "Codes",
    "FileCodes",
    "Quantizer",
    "RamCodes",
    "load_codes",
    "save_codes",
]

BITS: Final = 256
WORDS: Final = BITS // 64
BLOCK_ROWS: Final = 8192  # 256 KB of codes: with the temporaries of a scan they fit a core's L2 cache

Codes = NDArray[np.uint64]

_BLOCK_BYTES: Final = WORDS * BLOCK_ROWS * 8
_ENCODE_ROWS: Final = 4096
_EIGEN_DIMENSION: Final = 768  # above it a full eigendecomposition takes longer than a few subspace iterations
_SEED: Final = 0x6D656D76


@dataclass(frozen=True)
class Quantizer:
    """Centre and directions: bit j of a row is whether its projection on direction j is beyond the centre's.

    Attributes:
        directions: (256, d) float32, unit rows.
        offsets: (256,) float32, the centre's projections.
        fitted_rows: How many rows there were when it was fitted.
    """

    directions: Matrix
    offsets: NDArray[np.float32]
    fitted_rows: int

    @classmethod
    def fit(cls, sample: Matrix, rows: int) -> Quantizer:
        """Fit to a sample of unit rows; the same sample gives the same quantizer on one machine.

        Args:
            sample: (m, d), m >= 1, spread evenly over the rows.
            rows: How many rows it stands for.
        """
        dimension = sample.shape[1]
        centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        basis = _principal(sample - centre, min(dimension, BITS))
        kept = basis.shape[1]
        random = np.random.default_rng(_SEED)
        turns = [np.linalg.qr(random.standard_normal((kept, kept)))[0] for _ in range(-(-BITS // kept))]
        rotation = np.concatenate(turns, axis=1)[:, :BITS].astype(np.float32)
        directions = np.ascontiguousarray((basis @ rotation).T)
        return cls(directions, np.vecdot(directions, centre), rows)

    def encode(self, unit: Matrix) -> Codes:
        """Codes of unit rows: (n, 4) uint64."""
        codes = np.empty((len(unit), WORDS), dtype=np.uint64)
        for start in range(0, len(unit), _ENCODE_ROWS):
            part = unit[start : start + _ENCODE_ROWS]
            # One query is projected row by row: a BLAS product would wake its threads for a few microseconds of work.
            projected = np.vecdot(self.directions, part) if len(part) == 1 else part @ self.directions.T
            projected = projected.reshape(len(part), BITS)
            signs = np.packbits(projected > self.offsets, axis=1)
            codes[start : start + len(signs)] = signs.view(np.uint64)
        return codes


def _principal(centred: Matrix, count: int) -> Matrix:
    """Orthonormal (d, count): the directions of largest variance."""
    dimension = centred.shape[1]
    if dimension <= _EIGEN_DIMENSION:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        return np.ascontiguousarray(vectors[:, ::-1][:, :count], dtype=np.float32)
    # Halko, Martinsson, Tropp 2011, algorithm 4.4: a few power iterations from a random start.
    basis = np.random.default_rng(_SEED).standard_normal((dimension, count)).astype(np.float32)
    for _ in range(3):
        basis = np.linalg.qr(centred.T @ (centred @ basis) + np.float32(1e-6) * basis)[0]
    return basis


class CodeStore(Protocol):
    """Codes in blocks of 8192 rows, word by word: (blocks, 4, 8192) uint64."""

    def write(self, first_row: int, codes: Codes) -> None:
        """Store (n, 4) codes from ``first_row`` on."""

    def blocks(self, rows: int) -> Codes:
        """The blocks that hold the first ``rows`` rows, without a copy."""

    def flush(self) -> None:
        """Make what was written durable."""

    def close(self) -> None:
        """Let go of files and memory."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""


class RamCodes:
    """Code blocks in memory."""

    def __init__(self) -> None:
        self._blocks: Codes = np.empty((0, WORDS, BLOCK_ROWS), dtype=np.uint64)

    def write(self, first_row: int, codes: Codes) -> None:
        """Store codes from ``first_row`` on."""
        needed = _block_count(first_row + len(codes))
        if needed > len(self._blocks):
            grown = np.zeros((max(needed, len(self._blocks) * 3 // 2), WORDS, BLOCK_ROWS), dtype=np.uint64)
            grown[: len(self._blocks)] = self._blocks
            self._blocks = grown
        for block, start, part in _parts(first_row, codes):
            self._blocks[block, :, start : start + len(part)] = part.T

    def blocks(self, rows: int) -> Codes:
        """The blocks of the first ``rows`` rows."""
        return self._blocks[: _block_count(rows)]

    def flush(self) -> None:
        """Nothing to do: there is no disk under it."""

    def close(self) -> None:
        """Let go of the memory."""
        self._blocks = np.empty((0, WORDS, BLOCK_ROWS), dtype=np.uint64)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks."""
        return self._blocks.nbytes


class FileCodes:
    """Code blocks in a file, whole blocks always, so that readers map them again only once in 8192 rows."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._file = GrowingFile(path, writable=writable)

    def write(self, first_row: int, codes: Codes) -> None:
        """Store codes from ``first_row`` on."""
        self._file.reserve(_block_count(first_row + len(codes)) * _BLOCK_BYTES)
        for block, start, part in _parts(first_row, codes):
            words = np.ascontiguousarray(part.T)
            at = block * _BLOCK_BYTES + start * 8
            if len(part) == BLOCK_ROWS:
                self._file.write(at, words.data.cast("B"))
            else:
                for word in range(WORDS):
                    self._file.write(at + word * BLOCK_ROWS * 8, words[word].data.cast("B"))

    def blocks(self, rows: int) -> Codes:
        """The blocks of the first ``rows`` rows, mapped."""
        size = _block_count(rows) * _BLOCK_BYTES
        return self._file.mapped(size)[:size].view(np.uint64).reshape(-1, WORDS, BLOCK_ROWS)

    def flush(self) -> None:
        """Force the codes to the disk."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return self._file.size()


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


_PARAMETERS: Final = re.compile(r"quantizer-(\d+)\.npz")


def _generations(folder: Path) -> list[int]:
    """Generation numbers that have their parameters, newest first."""
    names = (_PARAMETERS.fullmatch(path.name) for path in folder.glob("quantizer-*.npz"))
    return sorted((int(name[1]) for name in names if name), reverse=True)


def load_codes(folder: Path, dimension: int, rows: int, *, writable: bool) -> tuple[int, Quantizer, FileCodes] | None:
    """Open the newest generation that covers ``rows`` rows; None when there is none.

    A file that is damaged or of another dimension is passed over: codes can be made again from the rows.
    """
    for generation in _generations(folder):
        try:
            with (
                (folder / f"quantizer-{generation}.npz").open("rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                quantizer = Quantizer(arrays["directions"], arrays["offsets"], int(arrays["fitted_rows"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
        shapes = quantizer.directions.shape, quantizer.offsets.shape
        dtypes = {quantizer.directions.dtype, quantizer.offsets.dtype}
        if shapes != ((BITS, dimension), (BITS,)) or dtypes != {np.dtype(np.float32)}:
            continue
        path = folder / f"codes-{generation}.bits"
        if path.exists() and path.stat().st_size >= _block_count(rows) * _BLOCK_BYTES:
            return generation, quantizer, FileCodes(path, writable=writable)
    return None


def save_codes(folder: Path, quantizer: Quantizer, fill: Any) -> tuple[int, FileCodes]:
    """Write a new generation; its parameters come last, under their name at once, so it is found whole or not at all.

    Args:
        folder: Where the index lies.
        quantizer: What the codes are made with.
        fill: Called with the empty ``FileCodes`` to write all codes to it.

    Returns:
        The generation's number and its codes. Older generations are removed where no reader holds them.
    """
    older = [int(name.stem.rsplit("-", 1)[1]) for name in folder.glob("codes-*.bits") if name.stem[6:].isdigit()]
    generation = max([*older, *_generations(folder)], default=0) + 1
    codes = FileCodes(folder / f"codes-{generation}.bits", writable=True)
    try:
        fill(codes)
        codes.flush()
        half = folder / f"quantizer-{generation}.npz.part"
        with half.open("wb") as file:
            np.savez(
                file,
                directions=quantizer.directions,
                offsets=quantizer.offsets,
                fitted_rows=np.int64(quantizer.fitted_rows),
            )
        os.replace(half, folder / f"quantizer-{generation}.npz")
    except OSError as exc:
        codes.close()
        for path in (folder / f"codes-{generation}.bits", folder / f"quantizer-{generation}.npz.part"):
            path.unlink(missing_ok=True)
        if isinstance(exc, StorageError):
            raise
        raise StorageError(f"cannot write quantizer-{generation}.npz in {folder}: {exc.strerror}") from exc
    for old in older:
        # Windows refuses while a reader has it mapped; the next fit tries again.
        with contextlib.suppress(OSError):
            (folder / f"quantizer-{old}.npz").unlink(missing_ok=True)
            (folder / f"codes-{old}.bits").unlink(missing_ok=True)
    return generation, codes
