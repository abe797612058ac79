"""The payload of a frame: a fixed header with a kind, and a body that may continue in the next frame.

Layout of a payload, little-endian: ``magic[4] version[1] kind[1] flags[2] items[4] row[8] commit[8]``, then the body.
The codec adds and verifies length and checksum (``memvid_core.video.codec.seal``), so payloads here are unchanged.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, UnsupportedFormatError
from memvid_core.journal import compression
from memvid_core.journal.scaled_vectors import scaled, unscaled
from memvid_core.model import Metric
from memvid_core.system.shared_work import run_together

__all__ = [
    "BLOCK_BYTES",
    "FIRST_VERSION",
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "PICTURE_VERSION",
    "UNPADDED_VERSION",
    "Flag",
    "FrameHeader",
    "Kind",
    "RecordBlock",
    "as_stored",
    "decode_blocks",
    "decode_rows",
    "decode_tombstones",
    "decode_vectors",
    "encode_blocks",
    "encode_rows",
    "encode_tombstones",
    "encode_vectors",
    "join_blocks",
    "matrix_place",
    "metric_flags",
    "metric_of",
    "pack",
    "parse",
    "raw_bytes",
    "vector_bytes",
]

FORMAT_VERSION = 3
"""The newest version; a file is written in one version. Each one may contain more than the one before."""
FIRST_VERSION = 1
PICTURE_VERSION = 2
"""The first version with pictures; its files do not say whether they may have some."""
UNPADDED_VERSION = 3
"""The first version with frames whose beginning is before the slice."""
_MAGIC = b"MVID"
_HEADER = struct.Struct("<4sBBHIQQ")
HEADER_BYTES = _HEADER.size

BLOCK_BYTES = 1 << 15  # of raw rows: 64 chunks of 500 characters. Twice as large is 4 % smaller, but read half as fast
_THREADED_BLOCKS = 16  # with fewer, starting threads costs more than it saves
_TASK_BLOCKS = 8  # per task of a thread, at least
_TASKS = 64  # in about as many
_LEAST_ROW = 4  # bytes: an array of two empty texts and an empty map
_MOST_ROWS = BLOCK_BYTES // _LEAST_ROW + 1  # a writer closes a block at BLOCK_BYTES


class Kind(enum.IntEnum):
    """The kind of a frame."""

    HEADER = 1
    RECORDS = 2
    VECTORS = 3
    TOMBSTONES = 4
    COMMIT = 5
    BLOBS = 6
    MODEL = 7
    PICTURE = 8


_KINDS = frozenset(int(kind) for kind in Kind) - {int(Kind.BLOBS)}


class Flag(enum.IntFlag):
    """The flags of a frame: how its body is encoded."""

    COMPRESSED = 1  # one zstd frame; in RECORDS each block is compressed instead
    ENCRYPTED = 2  # reserved: nonce, ciphertext and tag
    MORE = 4  # the body continues in the next frame
    METRIC = 0x38  # of HEADER and COMMIT: the number of the metric, 0 for cosine, times 8
    SKIPPABLE = 1 << 15  # a reader that does not know the kind may skip the frame


_SKIPPABLE, _ENCRYPTED = int(Flag.SKIPPABLE), int(Flag.ENCRYPTED)
_UNKNOWN_FLAGS = 0xFFFF & ~int(Flag.COMPRESSED | Flag.MORE | Flag.SKIPPABLE)
_METRICS: tuple[Metric, ...] = get_args(Metric)
_METRIC_FLAGS = int(Flag.METRIC)
_METRIC_UNIT = 8
_WITH_METRIC = frozenset({int(Kind.HEADER), int(Kind.COMMIT)})


class FrameHeader(NamedTuple):
    """The fixed part of a payload.

    ``items`` is the number of records, vectors or tombstones in the body, ``row`` the row of the first record,
    ``commit`` the number of the frame's commit.
    """

    kind: int
    flags: int
    items: int
    row: int
    commit: int


def parse(payload: bytes, number: int) -> tuple[FrameHeader, memoryview]:
    """Return header and body of a payload.

    Raises:
        DamagedFrameError: If it is not a payload of a memory.
        UnsupportedFormatError: If it has a newer format, or an unknown kind or flag.
    """
    if len(payload) < HEADER_BYTES or payload[:4] != _MAGIC:
        raise DamagedFrameError(number, "its payload has no MVID header")
    _, version, kind, flags, items, row, commit = _HEADER.unpack_from(payload)
    if not FIRST_VERSION <= version <= FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"frame {number} has format version {version}, and this memvid-core reads versions up to {FORMAT_VERSION}; "
            "upgrade memvid-core"
        )
    if flags & _ENCRYPTED and not flags & _SKIPPABLE:
        raise UnsupportedFormatError(f"frame {number} is encrypted, which needs a newer memvid-core; upgrade it")
    unknown = flags & _UNKNOWN_FLAGS
    if unknown and kind in _WITH_METRIC and metric_of(flags) is not None:
        unknown &= ~_METRIC_FLAGS
    if not flags & _SKIPPABLE and (kind not in _KINDS or unknown):
        raise UnsupportedFormatError(
            f"frame {number} has kind {kind} and flags {flags:#06x}, which need a newer memvid-core"
        )
    return FrameHeader(kind, flags, items, row, commit), memoryview(payload)[HEADER_BYTES:]


def metric_flags(metric: str) -> int:
    """Return the flags of HEADER and COMMIT frames for a metric.

    A reader that does not know the metric does not know the flags, so it refuses the file instead of using cosine.
    """
    return _METRIC_UNIT * _METRICS.index(metric)


def metric_of(flags: int) -> Metric | None:
    """Return the metric in the flags of a HEADER or COMMIT frame, or None if it is unknown.

    Example:
        >>> metric_of(metric_flags("manhattan"))
        'manhattan'
    """
    number = (flags & _METRIC_FLAGS) // _METRIC_UNIT
    return _METRICS[number] if number < len(_METRICS) else None


def pack(header: FrameHeader, body: bytes, capacity: int, version: int = FIRST_VERSION) -> list[bytes]:
    """Split a body into as many payloads as needed, all but the last flagged ``MORE``."""
    room = capacity - HEADER_BYTES
    pieces = [body[i : i + room] for i in range(0, len(body), room)] or [b""]
    payloads = []
    for i, piece in enumerate(pieces, 1):
        flags = header.flags | (Flag.MORE if i < len(pieces) else 0)
        head = _HEADER.pack(_MAGIC, version, header.kind, flags, header.items, header.row, header.commit)
        payloads.append(head + piece)
    return payloads


# --- RECORDS: a table of (rows, bytes) per block, then the blocks: zstd frames with arrays of [id, text, metadata] ---


class RecordBlock(NamedTuple):
    """Consecutive rows in one zstd frame: number of rows, byte offset in the body, and size in bytes."""

    rows: int
    start: int
    size: int


_BLOCK = struct.Struct("<II")
_encode_into = msgspec.msgpack.Encoder().encode_into
_rows_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode_rows(rows: Iterable[object]) -> list[bytes]:
    """Return each row in msgpack.

    Rows are written to a buffer first: msgspec 0.22's ``encode`` crashes the process when memory runs out.
    """
    buffer, encoded = bytearray(), []
    for row in rows:
        _encode_into(row, buffer)
        encoded.append(bytes(buffer))
    return encoded


def encode_blocks(rows: Sequence[bytes], block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Compress rows, each already in msgpack, to blocks; yield the number of rows and the bytes of each.

    Args:
        rows: One msgpack array ``[id, text, metadata]`` each.
        block_bytes: The raw size in bytes at which a block ends.
    """
    # As few containers as possible: for every 700, the garbage collector runs, and may visit all that the caller has.
    ends, size = [], 0
    for i, row in enumerate(rows, 1):
        size += len(row)
        if size >= block_bytes or i == len(rows):
            ends.append(i)
            size = 0
    step = len(ends) if len(ends) < _THREADED_BLOCKS else max(_TASK_BLOCKS, len(ends) // _TASKS)
    tasks, start = [], 0
    for at in range(0, len(ends), step or 1):
        some = ends[at : at + step]
        tasks.append(partial(_encode_some, rows, start, some))
        start = some[-1]
    done = run_together(tasks) if len(tasks) > 1 else [task() for task in tasks]
    for (first, end), data in zip(pairwise((0, *ends)), chain.from_iterable(done), strict=True):
        yield end - first, data


def _encode_some(rows: Sequence[bytes], start: int, ends: Sequence[int]) -> list[bytes]:
    """Compress the rows from ``start`` to each of the ends; zstd releases the interpreter lock."""
    return [_encode_block(rows[first:end]) for first, end in pairwise((start, *ends))]


def _encode_block(rows: Sequence[bytes]) -> bytes:
    return compression.compress(b"\xdd" + len(rows).to_bytes(4, "big") + b"".join(rows))  # a msgpack array 32


def join_blocks(blocks: Sequence[tuple[int, bytes]]) -> bytes:
    """Join blocks to the body of a RECORDS frame."""
    table = struct.pack("<I", len(blocks)) + b"".join(_BLOCK.pack(rows, len(data)) for rows, data in blocks)
    return table + b"".join(data for _, data in blocks)


def decode_blocks(body: bytes | memoryview, number: int) -> list[RecordBlock]:
    """Decode the block table of a RECORDS body.

    Raises:
        DamagedFrameError: If the table does not match the body.
    """
    if len(body) < 4:
        raise DamagedFrameError(number, "it has no block table")
    (count,) = struct.unpack_from("<I", body)
    start = 4 + count * _BLOCK.size
    if start > len(body):
        raise DamagedFrameError(number, f"its block table claims {count} blocks")
    blocks = []
    for rows, size in _BLOCK.iter_unpack(body[4:start]):
        blocks.append(RecordBlock(rows, start, size))
        start += size
    if start != len(body):
        raise DamagedFrameError(number, "its blocks do not fill it")
    return blocks


def raw_bytes(body: bytes | memoryview, block: RecordBlock, number: int = 0) -> int:
    """Return the decompressed size of a block, in bytes.

    Raises:
        DamagedFrameError: If the block claims an implausible number of rows or bytes.
    """
    size = compression.content_size(body[block.start : block.start + block.size], number)
    if not 0 < block.rows <= min(_MOST_ROWS, size // _LEAST_ROW):
        raise DamagedFrameError(number, f"a block of {size} bytes claims {block.rows} rows")
    return size


def decode_rows(
    body: bytes | memoryview, block: RecordBlock, number: int, size: int | None = None
) -> list[msgspec.Raw]:
    """Decode a block to its rows, each still in msgpack.

    Args:
        body: The body of a RECORDS frame.
        block: The block in the body.
        number: The frame's number.
        size: The result of :func:`raw_bytes`, if known.
    """
    size = raw_bytes(body, block, number) if size is None else size
    raw = compression.decompress_to(body[block.start : block.start + block.size], size, number)
    try:
        rows = _rows_decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise DamagedFrameError(number, f"its rows are not msgpack ({exc})") from exc
    if len(rows) != block.rows:
        raise DamagedFrameError(number, f"a block has {len(rows)} rows instead of {block.rows}")
    return rows


# --- VECTORS: dtype code, dimension, whether row numbers are listed; the numbers; the matrix in C order ---

_VECTORS = struct.Struct("<BBHI")
_DTYPES: dict[str, tuple[int, np.dtype[Any]]] = {
    "float16": (1, np.dtype("<f2")),
    "float32": (2, np.dtype("<f4")),
    "float64": (3, np.dtype("<f8")),
    "int8": (4, np.dtype("i1")),
}
_DTYPE_BY_CODE = {code: (name, dtype) for name, (code, dtype) in _DTYPES.items()}


def vector_bytes(dtype: str, dimension: int) -> int:
    """Return the size of one stored vector in bytes, without a listed row number."""
    return _DTYPES[dtype][1].itemsize * dimension + (4 if dtype == "int8" else 0)


def encode_vectors(matrix: NDArray[Any], rows: NDArray[np.int64], dtype: str) -> bytes:
    """Encode a matrix of vectors and their row numbers.

    Row numbers are listed only if they are not consecutive. ``int8`` has one float32 scale per row: the largest
    component becomes 127. Decoded vectors are encoded as before.

    Args:
        matrix: (n, d) of any float dtype.
        rows: (n,) row numbers, ascending.
        dtype: One of ``float16``, ``float32``, ``float64``, ``int8``.
    """
    code, stored = _DTYPES[dtype]
    listed = len(rows) > 0 and int(rows[-1] - rows[0]) != len(rows) - 1
    parts = [_VECTORS.pack(code, listed, 0, matrix.shape[1])]
    if listed:
        parts.append(rows.astype("<i8").tobytes())
    if dtype == "int8":
        scale, matrix = scaled(matrix)
        parts.append(scale.tobytes())
    parts.append(np.ascontiguousarray(matrix, dtype=stored).tobytes())
    return b"".join(parts)


def as_stored(matrix: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return vectors (n, d) as :func:`decode_vectors` returns them after :func:`encode_vectors`."""
    if dtype != "int8":
        return matrix.astype(_DTYPES[dtype][1], copy=False)
    scale, numbers = scaled(matrix)
    return unscaled(scale, numbers.astype(np.int8))


def decode_vectors(
    header: FrameHeader, body: bytes | memoryview, number: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Decode row numbers (n,) int64 and the matrix (n, d), float32 for ``int8`` and the stored dtype otherwise.

    Raises:
        DamagedFrameError: If the sizes do not match.
    """
    if len(body) < _VECTORS.size:
        raise DamagedFrameError(number, "it is too short for vectors")
    code, listed, _, dimension = _VECTORS.unpack_from(body)
    if not dimension or not header.items:
        raise DamagedFrameError(number, f"it claims {header.items} vectors of dimension {dimension}")
    if code not in _DTYPE_BY_CODE:
        raise UnsupportedFormatError(f"frame {number} stores vectors as type {code}, which needs a newer memvid-core")
    name, dtype = _DTYPE_BY_CODE[code]
    start, n = _VECTORS.size, header.items
    expected = start + n * (vector_bytes(name, dimension) + (8 if listed else 0))
    if len(body) != expected:
        raise DamagedFrameError(number, f"{n} vectors of dimension {dimension} take {expected} bytes, not {len(body)}")
    if listed:
        rows = np.frombuffer(body, "<i8", n, start).astype(np.int64)
        start += 8 * n
    else:
        rows = np.arange(header.row, header.row + n, dtype=np.int64)
    if name != "int8":
        return rows, np.frombuffer(body, dtype, n * dimension, start).reshape(n, dimension)
    scale = np.frombuffer(body, "<f4", n, start)
    matrix = np.frombuffer(body, dtype, n * dimension, start + 4 * n).reshape(n, dimension)
    return rows, unscaled(scale, matrix)


def matrix_place(header: FrameHeader, body: bytes | memoryview, number: int) -> tuple[int, str, int] | None:
    """Return dimension, dtype and byte offset of the matrix in a body; None if rows are listed or scaled.

    Raises:
        DamagedFrameError: If the sizes do not match.
    """
    if len(body) < _VECTORS.size:
        raise DamagedFrameError(number, "it is too short for vectors")
    code, listed, _, dimension = _VECTORS.unpack_from(body)
    name, dtype = _DTYPE_BY_CODE.get(code, ("", np.dtype("V")))
    if listed or name not in ("float16", "float32"):
        return None
    if len(body) != _VECTORS.size + header.items * dimension * dtype.itemsize:
        raise DamagedFrameError(number, "its vectors do not fill it")
    return dimension, name, _VECTORS.size


# --- TOMBSTONES: the row numbers of deleted records ---


def encode_tombstones(rows: Iterable[int]) -> bytes:
    """Encode deleted row numbers as a zstd frame of their differences."""
    sorted_rows = np.array(sorted(rows), np.int64)
    return compression.zstd_frame(np.diff(sorted_rows, prepend=0).astype("<i8").tobytes())


def decode_tombstones(
    header: FrameHeader, body: bytes | memoryview, number: int, rows: int = 1 << 62
) -> NDArray[np.int64]:
    """Decode deleted row numbers, (n,) int64, ascending.

    Args:
        header: The frame's header.
        body: The complete body.
        number: The frame's number.
        rows: The number of existing rows.

    Raises:
        DamagedFrameError: If their number is not that in the header, or a row does not exist.
    """
    free = 8 * min(header.items, rows)
    size = compression.content_size(body, number, free)
    if size != 8 * header.items or header.items > rows:
        raise DamagedFrameError(number, f"it has {size // 8} deletions instead of {header.items}")
    deltas = np.frombuffer(compression.decompress(body, number, free), "<i8")
    if len(deltas) and (deltas[0] < 0 or (deltas[1:] <= 0).any() or (deltas > rows).any()):
        raise DamagedFrameError(number, "its deletions are not in order")
    found = np.cumsum(deltas).astype(np.int64)
    if len(found) and found[-1] >= rows:
        raise DamagedFrameError(number, f"it deletes row {found[-1]} of {rows}")
    return found
