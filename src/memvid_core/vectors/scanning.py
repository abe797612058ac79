"""Scans of codes: the distances of all rows' signs to a query's, and the weighed levels of some rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.system.shared_work import split_over_cores
from memvid_core.vectors.codes import BLOCK_ROWS
from memvid_core.vectors.exact import Rows
from memvid_core.vectors.matrix import Matrix
from memvid_core.vectors.quantizer import BITS, WORDS, Codes, Levels

__all__ = ["flags_of", "scan", "weigh"]

_GROUP: Final = 2  # blocks for which NumPy is called once: fewer calls, and what it writes stays in a core's cache
_THREAD_BLOCKS: Final = 24  # blocks from which a second thread pays
_PIECE_ROWS: Final = 512  # rows whose levels are made float32 at once: 0.6 MB
_THREAD_PIECES: Final = 8


class _Scratch(threading.local):
    """Buffers of one thread, kept between queries: fresh pages cost more than the scan of a small index."""

    def __init__(self) -> None:
        self.differing = np.empty((_GROUP, WORDS, BLOCK_ROWS), dtype=np.uint64)
        self.counts = np.empty((_GROUP, WORDS, BLOCK_ROWS), dtype=np.uint8)
        self.room = np.empty((_GROUP, BLOCK_ROWS), dtype=np.uint8)
        self.wide = np.empty((_PIECE_ROWS, BITS), dtype=np.float32)
        self._distances = np.empty(0, dtype=np.uint8)
        self._flags = np.empty(0, dtype=np.bool_)

    def distances(self, rows: int) -> NDArray[np.uint8]:
        """Return room for whole blocks."""
        if len(self._distances) < rows:
            self._distances = np.empty(rows + rows // 8, dtype=np.uint8)
            self._flags = np.empty(len(self._distances), dtype=np.bool_)
        return self._distances[:rows]

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """Return room for one answer a row, where there are distances."""
        return self._flags[:rows]


_scratch = _Scratch()


def _scan_blocks(blocks: Codes, query: Codes, distances: NDArray[np.uint8]) -> None:
    """Return the Hamming distances of one query to whole blocks; 256 becomes 255."""
    into = distances.reshape(-1, BLOCK_ROWS)
    for at in range(0, len(blocks), _GROUP):
        some, sums = blocks[at : at + _GROUP], into[at : at + _GROUP]
        differing, counts, room = (
            _scratch.differing[: len(some)],
            _scratch.counts[: len(some)],
            _scratch.room[: len(some)],
        )
        np.bitwise_xor(some, query, out=differing)
        np.bitwise_count(differing, out=counts)
        np.add(counts[:, 0], counts[:, 1], out=sums)
        np.add(sums, counts[:, 2], out=sums)
        np.invert(sums, out=room)  # what is left below 256
        np.minimum(room, counts[:, 3], out=room)
        np.add(sums, room, out=sums)


def scan(blocks: Codes, query: Codes, rows: int) -> NDArray[np.uint8]:
    """Return the Hamming distances of the first ``rows`` rows to a query's code, saturated at 255.

    Args:
        blocks: (b, 4, 8192) uint64.
        query: (4,) uint64.
        rows: At most 8192 b.

    Returns:
        (rows,) uint8 in a buffer of this thread, valid until its next scan.
    """
    distances = _scratch.distances(len(blocks) * BLOCK_ROWS)
    column = query[None, :, None]

    def work(first: int, last: int) -> None:
        _scan_blocks(blocks[first:last], column, distances[first * BLOCK_ROWS : last * BLOCK_ROWS])

    if len(blocks) >= _THREAD_BLOCKS:
        split_over_cores(work, len(blocks))
    else:
        work(0, len(blocks))
    return distances[:rows]


def weigh(take: Callable[[Rows], Levels], rows: Rows, weights: Matrix) -> NDArray[np.float32]:
    """Sum each row's levels times the query's weights: the cosine but for rounding and a constant.

    Args:
        take: Returns the levels of some rows, (m, width) int8.
        rows: (m,) row numbers.
        weights: (width,) float32.

    Returns:
        (m,) float32.
    """
    sums = np.empty(len(rows), dtype=np.float32)
    width = len(weights)

    def work(first: int, last: int) -> None:
        wide = _scratch.wide[:, :width]
        for start in range(first * _PIECE_ROWS, min(last * _PIECE_ROWS, len(rows)), _PIECE_ROWS):
            part = take(rows[start : start + _PIECE_ROWS])
            np.copyto(wide[: len(part)], part)
            np.vecdot(wide[: len(part)], weights, out=sums[start : start + len(part)])

    pieces = -(-len(rows) // _PIECE_ROWS)
    if pieces >= _THREAD_PIECES:
        split_over_cores(work, pieces)
    else:
        work(0, pieces)
    return sums


def flags_of(distances: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return room for one answer for each of some distances, valid until this thread's next scan."""
    return _scratch.flags(len(distances))
