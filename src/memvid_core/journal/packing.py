"""Packing: encode a commit as the payloads of its frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.journal import frames
from memvid_core.journal.entries import Batch, CommitFrame
from memvid_core.journal.frames import FIRST_VERSION, Flag, FrameHeader, Kind
from memvid_core.video.headed import Headed, fits_better
from memvid_core.video.shown import Shown

__all__ = ["Body", "Payloads", "bodies", "chain", "picture_bodies"]

Body = tuple[FrameHeader, bytes]
"""The header and the contents of a frame, or of several frames if the contents are larger than one."""


def bodies(
    batch: Batch, row: int, number: int, *, dtype: str, capacity: int, held: Sequence[bytes] = ()
) -> Iterator[Body]:
    """Yield the contents of a commit lazily, so that only the encoded pictures are kept in memory.

    Args:
        batch: The contents of the commit.
        row: Its first row.
        number: The number of the commit.
        dtype: The dtype of stored vectors.
        capacity: The largest payload of a frame, in bytes.
        held: The slices that keep a picture on the screen.
    """
    if batch.model is not None:
        yield FrameHeader(Kind.MODEL, Flag.SKIPPABLE, 0, row, number), batch.model
    if not batch.pictures:
        yield from _record_bodies(batch.rows, row, number, capacity)
    else:
        for start, stop in pairwise([*sorted({0, *batch.pictures}), len(batch.rows)]):
            if start in batch.pictures:  # the frame after a picture begins with the record that it shows
                yield from picture_bodies([batch.pictures[start], *held], row + start, number, 1)
            yield from _record_bodies(batch.rows[start:stop], row + start, number, capacity)
    for rows, matrix in batch.placed(row):
        yield from _vector_bodies(matrix, rows, number, dtype, capacity)
    if batch.tombstones:
        header = FrameHeader(Kind.TOMBSTONES, 0, len(batch.tombstones), 0, number)
        yield header, frames.encode_tombstones(batch.tombstones)


def picture_bodies(slices: Sequence[bytes], row: int, number: int, items: int) -> Iterator[Body]:
    """Yield the frames of a picture and of those after it that show the same.

    Args:
        slices: The picture, then the others.
        row: The row of the record that it shows.
        number: The number of the commit.
        items: The number of records that it shows; 0 for a title card.
    """
    for i, nal in enumerate(slices):
        yield FrameHeader(Kind.PICTURE, 0, 0 if i else items, row, number), nal


def _record_bodies(rows: Sequence[bytes], row: int, number: int, capacity: int) -> Iterator[Body]:
    """Yield RECORDS frames, each with as many blocks as fit."""
    room = capacity - frames.HEADER_BYTES
    # A frame should contain several whole blocks, so that damage costs only its own rows: small pictures, small blocks.
    block_bytes = min(frames.BLOCK_BYTES, 2 * room)
    held: list[tuple[int, bytes]] = []
    used = count = 0
    for block in frames.encode_blocks(rows, block_bytes):
        size = len(block[1]) + 8
        if held and used + size > room - 4:
            yield FrameHeader(Kind.RECORDS, 0, count, row, number), frames.join_blocks(held)
            row += count
            held, used, count = [], 0, 0
        held.append(block)
        used += size
        count += block[0]
    if held:
        yield FrameHeader(Kind.RECORDS, 0, count, row, number), frames.join_blocks(held)


def _vector_bodies(
    matrix: NDArray[Any], rows: NDArray[np.int64], number: int, dtype: str, capacity: int
) -> Iterator[Body]:
    """Yield VECTORS frames, each with as many rows as fit."""
    room = capacity - frames.HEADER_BYTES - 8
    listed = int(rows[-1] - rows[0]) != len(rows) - 1
    step = max(1, room // (frames.vector_bytes(dtype, matrix.shape[1]) + (8 if listed else 0)))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        header = FrameHeader(Kind.VECTORS, 0, len(rows[part]), int(rows[start]), number)
        yield header, frames.encode_vectors(matrix[part], rows[part], dtype)


class Payloads:
    """Iterate once over the payloads of a commit; the last one is the COMMIT frame with the chained checksum.

    After the iteration, ``commit`` is complete and ``with_rows`` has the headers of the frames with rows, by their
    place in the commit.

    Args:
        given: The contents of the commit.
        commit: The COMMIT frame without ``frames`` and ``chain``.
        capacity: The largest payload of a frame, in bytes.
        metric: The metric of the memory.
        version: The version of the format of the file.
    """

    def __init__(
        self,
        given: Iterable[Body],
        commit: CommitFrame,
        capacity: int,
        metric: str = "cosine",
        version: int = FIRST_VERSION,
    ) -> None:
        self._given = given
        self._version = version
        self._unpadded = version >= frames.UNPADDED_VERSION
        self._flags = frames.metric_flags(metric)
        self._capacity = capacity
        self.commit = commit
        self.with_rows: dict[int, FrameHeader] = {}

    def __iter__(self) -> Iterator[bytes]:
        digests: list[bytes] = []
        for header, body in self._given:
            for i, payload in enumerate(frames.pack(header, body, self._capacity, self._version)):
                if header.kind in (Kind.RECORDS, Kind.VECTORS):
                    self.with_rows[len(digests)] = header if i == 0 else header._replace(items=0)
                digests.append(xxhash.xxh3_64_digest(payload))
                yield Shown(payload) if header.kind == Kind.PICTURE else self._laid_out(payload, header.kind)
        linked = chain(self.commit, digests)
        self.commit = msgspec.structs.replace(self.commit, frames=len(digests) + 1, chain=linked)
        last = FrameHeader(Kind.COMMIT, self._flags, 0, self.commit.rows, self.commit.number)
        [payload] = frames.pack(last, msgspec.msgpack.encode(self.commit), 1 << 30, self._version)
        yield self._laid_out(payload, last.kind)

    def _laid_out(self, payload: bytes, kind: int) -> bytes:
        """Return a payload in the layout that takes the least space; HEADER frames tell older readers the version."""
        if not self._unpadded or kind == Kind.HEADER or not fits_better(len(payload), matrix=kind == Kind.VECTORS):
            return payload
        return Headed(payload)


def chain(commit: CommitFrame, digests: Iterable[bytes]) -> bytes:
    """Return BLAKE2b-128 (RFC 7693) over the previous chain, the commit's numbers, and XXH3-64 of each payload."""
    digest = hashlib.blake2b(commit.previous, digest_size=16)
    digest.update(msgspec.msgpack.encode((commit.number, commit.time, commit.rows, commit.added, commit.deleted)))
    for payload_digest in digests:
        digest.update(payload_digest)
    return digest.digest()
