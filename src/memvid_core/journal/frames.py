"""The payload of a frame: a fixed header, a kind, and a body that may go on in the next frame.

Layout of a payload, little-endian: ``magic[4] version[1] kind[1] flags[2] items[4] row[8] commit[8]``, then the body.
Length and checksum are the codec's (``memvid_core.video.codec.seal``), so a payload that arrives here is the one that
was written.
"""

from __future__ import annotations

import enum
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, UnsupportedFormatError
from memvid_core.model import Metric

__all__ = [
    "BLOCK_BYTES",
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "RATIO_LIMIT",
    "Block",
    "Flag",
    "FrameHeader",
    "Kind",
    "compress",
    "content_size",
    "decode_blocks",
    "decode_rows",
    "decode_tombstones",
    "decode_vectors",
    "decompress",
    "encode_blocks",
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

FORMAT_VERSION = 1
_MAGIC = b"MVID"
_HEADER = struct.Struct("<4sBBHIQQ")
HEADER_BYTES = _HEADER.size

_LEVEL = 3  # zstd; level 6 is 4 % smaller on prose and three times slower
BLOCK_BYTES = 1 << 15  # of raw rows: 64 chunks of 500 characters. Twice as much is 4 % smaller and half as fast to read
_THREADED_BLOCKS = 16  # with fewer, starting threads costs more than it saves
_TASK_BLOCKS = 8  # for a thread at a time
_BODY_LIMIT = 1 << 30  # of anything decompressed at once: a file that claims more is not believed
_PLAIN_BYTES = 1 << 20  # from here on, what shrinks more than RATIO_LIMIT is stored as it is
RATIO_LIMIT = 1 << 10
"""How many times its compressed size a body may have, where it is large."""
_FREE_BYTES = 1 << 26  # what older versions wrote may have any ratio up to this size
_LEAST_ROW = 4  # bytes: an array of two empty texts and an empty map
_MOST_ROWS = BLOCK_BYTES // _LEAST_ROW + 1  # a writer closes a block at BLOCK_BYTES
_STORED_BLOCK = (1 << 17) - 1


class Kind(enum.IntEnum):
    """What a frame holds."""

    HEADER = 1
    RECORDS = 2
    VECTORS = 3
    TOMBSTONES = 4
    COMMIT = 5
    BLOBS = 6
    MODEL = 7


_KINDS = frozenset(int(kind) for kind in Kind) - {int(Kind.BLOBS)}


class Flag(enum.IntFlag):
    """How a frame's body is coded."""

    COMPRESSED = 1  # one zstd frame; RECORDS compress their blocks themselves
    ENCRYPTED = 2  # reserved
    MORE = 4  # the body goes on in the next frame
    METRIC = 0x38  # of HEADER and COMMIT: the number of the metric, 0 for cosine, times 8
    SKIPPABLE = 1 << 15  # a reader that does not know the kind may pass over it


_SKIPPABLE = int(Flag.SKIPPABLE)
_UNKNOWN_FLAGS = 0xFFFF & ~int(Flag.COMPRESSED | Flag.MORE | Flag.SKIPPABLE)
_METRICS: tuple[Metric, ...] = get_args(Metric)
_METRIC_FLAGS = int(Flag.METRIC)
_METRIC_UNIT = 8
_WITH_METRIC = frozenset({int(Kind.HEADER), int(Kind.COMMIT)})


class FrameHeader(NamedTuple):
    """The fixed part of a payload.

    ``items`` is how many records, vectors or tombstones the body holds, ``row`` the first record's row number,
    ``commit`` the commit that the frame belongs to.
    """

    kind: int
    flags: int
    items: int
    row: int
    commit: int


def parse(payload: bytes, number: int) -> tuple[FrameHeader, memoryview]:
    """Header and body of a payload.

    Raises:
        DamagedFrameError: It is no payload of ours.
        UnsupportedFormatError: It is of a newer format, or coded in a way that this version does not know.
    """
    if len(payload) < HEADER_BYTES or payload[:4] != _MAGIC:
        raise DamagedFrameError(number, "its payload does not begin as one")
    _, version, kind, flags, items, row, commit = _HEADER.unpack_from(payload)
    if version != FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"frame {number} is of format version {version}, and this is a reader of version {FORMAT_VERSION}; "
            "a newer memvid-core opens it"
        )
    unknown = flags & _UNKNOWN_FLAGS
    if unknown and kind in _WITH_METRIC and metric_of(flags) is not None:
        unknown &= ~_METRIC_FLAGS
    if not flags & _SKIPPABLE and (kind not in _KINDS or unknown):
        raise UnsupportedFormatError(
            f"frame {number} has kind {kind} and flags {flags:#06x}, which need a newer memvid-core"
        )
    return FrameHeader(kind, flags, items, row, commit), memoryview(payload)[HEADER_BYTES:]


def metric_flags(metric: str) -> int:
    """The flags of HEADER and COMMIT frames in a memory with this metric.

    A reader that does not know the metric does not know the flags, and refuses the file instead of comparing by cosine.
    """
    return _METRIC_UNIT * _METRICS.index(metric)


def metric_of(flags: int) -> Metric | None:
    """The metric that the flags of a HEADER or COMMIT frame name; None if it is not known.

    Example:
        >>> metric_of(metric_flags("manhattan"))
        'manhattan'
    """
    number = (flags & _METRIC_FLAGS) // _METRIC_UNIT
    return _METRICS[number] if number < len(_METRICS) else None


def pack(header: FrameHeader, body: bytes, capacity: int) -> list[bytes]:
    """The payloads that carry ``body``: one, or as many as it takes, all but the last flagged ``MORE``."""
    room = capacity - HEADER_BYTES
    pieces = [body[i : i + room] for i in range(0, len(body), room)] or [b""]
    payloads = []
    for i, piece in enumerate(pieces, 1):
        flags = header.flags | (Flag.MORE if i < len(pieces) else 0)
        head = _HEADER.pack(_MAGIC, FORMAT_VERSION, header.kind, flags, header.items, header.row, header.commit)
        payloads.append(head + piece)
    return payloads


def compress(data: bytes) -> bytes:
    """One zstd frame that says its size (RFC 8878)."""
    packed = _packed(data)
    return _stored(data) if len(data) >= _PLAIN_BYTES and len(data) > RATIO_LIMIT * len(packed) else packed


def _packed(data: bytes) -> bytes:
    packed: bytes = _compressor().compress(data)
    return packed


def _stored(data: bytes) -> bytes:
    """A zstd frame of raw blocks: what claims a thousand times its size is not believed by who reads it."""
    parts = [b"\x28\xb5\x2f\xfd\xe0", struct.pack("<Q", len(data))]  # single segment, content size of 8 bytes
    for start in range(0, len(data), _STORED_BLOCK):
        block = data[start : start + _STORED_BLOCK]
        last = start + len(block) == len(data)
        parts += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(parts)


_local = threading.local()


def _compressor() -> zstandard.ZstdCompressor:
    """One for each thread, as :func:`_decompressor` has it."""
    made: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if made is None:
        made = _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return made


def _decompressor() -> zstandard.ZstdDecompressor:
    """One for each thread: it cannot be shared, and making one takes as long as a small block."""
    made: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if made is None:
        made = _local.decompressor = zstandard.ZstdDecompressor()
    return made


def content_size(data: bytes | memoryview, number: int, free: int = _FREE_BYTES) -> int:
    """How large ``data`` says it is decompressed, if that can be believed.

    Raises:
        DamagedFrameError: It is no zstd frame, or claims more than any writer packs into so few bytes.
    """
    try:
        size = int(zstandard.frame_content_size(data))
    except zstandard.ZstdError as exc:
        raise DamagedFrameError(number, f"its body does not decompress ({exc})") from exc
    if not 0 <= size <= _BODY_LIMIT or (size > free and size > RATIO_LIMIT * len(data)):
        raise DamagedFrameError(number, f"its body claims {size} bytes")
    return size


def decompress(data: bytes | memoryview, number: int, free: int = _FREE_BYTES) -> bytes:
    """What ``compress`` was given; the size it claims is checked before memory is taken.

    Raises:
        DamagedFrameError: It is no zstd frame, or claims too much.
    """
    return _decompressed(data, content_size(data, number, free), number)


def _decompressed(data: bytes | memoryview, size: int, number: int) -> bytes:
    try:
        raw: bytes = _decompressor().decompress(data, max_output_size=size)
    except (zstandard.ZstdError, MemoryError) as exc:
        raise DamagedFrameError(number, f"its body does not decompress ({exc})") from exc
    if len(raw) != size:
        raise DamagedFrameError(number, f"its body claims {size} bytes and has {len(raw)}")
    return raw


# --- RECORDS: a table of (rows, bytes) a block, then the blocks: arrays of [id, text, metadata], a zstd frame each ---


class Block(NamedTuple):
    """Consecutive rows in one zstd frame: where in the body it lies, and how many rows it holds."""

    rows: int
    start: int
    size: int


_BLOCK = struct.Struct("<II")
_rows_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode_blocks(rows: Sequence[bytes], block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Rows, each already in msgpack, as compressed blocks: how many rows, and the bytes.

    Args:
        rows: One msgpack array ``[id, text, metadata]`` each.
        block_bytes: Raw size at which a block is closed.
    """
    parts: list[Sequence[bytes]] = []
    start, size = 0, 0
    for i, row in enumerate(rows, 1):
        size += len(row)
        if size >= block_bytes or i == len(rows):
            parts.append(rows[start:i])
            start, size = i, 0
    if len(parts) < _THREADED_BLOCKS:
        yield from map(_encode_block, parts)
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # zstd works outside the interpreter's lock
        some = (parts[at : at + _TASK_BLOCKS] for at in range(0, len(parts), _TASK_BLOCKS))
        for blocks in pool.map(lambda given: list(map(_encode_block, given)), some):
            yield from blocks


def _encode_block(rows: Sequence[bytes]) -> tuple[int, bytes]:
    return len(rows), compress(b"\xdd" + len(rows).to_bytes(4, "big") + b"".join(rows))  # a msgpack array 32


def join_blocks(blocks: Sequence[tuple[int, bytes]]) -> bytes:
    """The body of a RECORDS frame."""
    table = struct.pack("<I", len(blocks)) + b"".join(_BLOCK.pack(rows, len(data)) for rows, data in blocks)
    return table + b"".join(data for _, data in blocks)


def decode_blocks(body: bytes | memoryview, number: int) -> list[Block]:
    """The table of a RECORDS body."""
    if len(body) < 4:
        raise DamagedFrameError(number, "it has no block table")
    (count,) = struct.unpack_from("<I", body)
    start = 4 + count * _BLOCK.size
    if start > len(body):
        raise DamagedFrameError(number, f"its block table claims {count} blocks")
    blocks = []
    for rows, size in _BLOCK.iter_unpack(body[4:start]):
        blocks.append(Block(rows, start, size))
        start += size
    if start != len(body):
        raise DamagedFrameError(number, "its blocks do not fill it")
    return blocks


def raw_bytes(body: bytes | memoryview, block: Block, number: int = 0) -> int:
    """How many bytes the rows of a block take, decompressed.

    Raises:
        DamagedFrameError: The block claims more rows or bytes than it can have.
    """
    size = content_size(body[block.start : block.start + block.size], number)
    if not 0 < block.rows <= min(_MOST_ROWS, size // _LEAST_ROW):
        raise DamagedFrameError(number, f"a block of {size} bytes claims {block.rows} rows")
    return size


def decode_rows(body: bytes | memoryview, block: Block, number: int, size: int | None = None) -> list[msgspec.Raw]:
    """The rows of one block, each still in msgpack.

    Args:
        body: The body of a RECORDS frame.
        block: Which block of it.
        number: The frame's number.
        size: What :func:`raw_bytes` said of the block, if it was asked.
    """
    size = raw_bytes(body, block, number) if size is None else size
    raw = _decompressed(body[block.start : block.start + block.size], size, number)
    try:
        rows = _rows_decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise DamagedFrameError(number, f"its rows are not msgpack ({exc})") from exc
    if len(rows) != block.rows:
        raise DamagedFrameError(number, f"a block says {block.rows} rows and holds {len(rows)}")
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
    """How many bytes one stored vector takes, without a listed row number."""
    return _DTYPES[dtype][1].itemsize * dimension + (4 if dtype == "int8" else 0)


def encode_vectors(matrix: NDArray[Any], rows: NDArray[np.int64], dtype: str) -> bytes:
    """A matrix of vectors and the rows they belong to.

    Row numbers are listed only where they are not consecutive. ``int8`` keeps one float32 scale a row: the largest
    component becomes 127.

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
        scale = np.abs(matrix).max(axis=1, initial=0.0).astype("<f4") / np.float32(127)
        divisor = np.where(scale == 0, np.float32(1), scale)[:, None]
        parts.append(scale.tobytes())
        matrix = np.clip(np.rint(matrix / divisor), -127, 127)
    parts.append(np.ascontiguousarray(matrix, dtype=stored).tobytes())
    return b"".join(parts)


def decode_vectors(
    header: FrameHeader, body: bytes | memoryview, number: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Row numbers (n,) and the matrix (n, d), float32 for ``int8`` and the stored dtype otherwise.

    Raises:
        DamagedFrameError: The sizes do not add up.
    """
    if len(body) < _VECTORS.size:
        raise DamagedFrameError(number, "it is too short for vectors")
    code, listed, _, dimension = _VECTORS.unpack_from(body)
    if not dimension or not header.items:
        raise DamagedFrameError(number, f"it says it holds {header.items} vectors of dimension {dimension}")
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
    return rows, matrix.astype(np.float32) * scale[:, None]


def matrix_place(header: FrameHeader, body: bytes | memoryview, number: int) -> tuple[int, str, int] | None:
    """Dimension and dtype of the matrix in a body, and where it begins; None if rows are listed, or scaled.

    Raises:
        DamagedFrameError: The sizes do not add up.
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
    """Deleted row numbers as a zstd frame of differences, which are small."""
    sorted_rows = np.array(sorted(rows), np.int64)
    return _packed(np.diff(sorted_rows, prepend=0).astype("<i8").tobytes())


def decode_tombstones(
    header: FrameHeader, body: bytes | memoryview, number: int, rows: int = 1 << 62
) -> NDArray[np.int64]:
    """The row numbers, ascending.

    Args:
        header: The frame's header.
        body: The whole body.
        number: The frame's number.
        rows: How many rows there are to delete.

    Raises:
        DamagedFrameError: They are not as many as the header says, or not rows that are there.
    """
    free = 8 * min(header.items, rows)
    size = content_size(body, number, free)
    if size != 8 * header.items or header.items > rows:
        raise DamagedFrameError(number, f"it says {header.items} deletions and holds {size // 8}")
    deltas = np.frombuffer(decompress(body, number, free), "<i8")
    if len(deltas) and (deltas[0] < 0 or (deltas[1:] <= 0).any() or (deltas > rows).any()):
        raise DamagedFrameError(number, "its deletions are not in order")
    found = np.cumsum(deltas).astype(np.int64)
    if len(found) and found[-1] >= rows:
        raise DamagedFrameError(number, f"it deletes row {found[-1]} of {rows}")
    return found
