"""Compression of frame bodies: zstd frames, and limits on what a damaged or forged one may claim."""

from __future__ import annotations

import struct
import threading

import zstandard

from memvid_core.errors import DamagedFrameError, OutOfMemoryError

__all__ = ["RATIO_LIMIT", "compress", "content_size", "decompress", "decompress_to", "zstd_frame"]

_LEVEL = 3  # zstd; level 6 is 4 % smaller on prose and three times slower
_BODY_LIMIT = 1 << 30  # of decompressed bytes in one body; a larger one is damage
_PLAIN_BYTES = 1 << 20  # larger bodies that shrink more than RATIO_LIMIT are stored uncompressed
RATIO_LIMIT = 1 << 10
"""The maximum compression ratio of a large body."""
_FREE_BYTES = 1 << 26  # bodies of older versions may have any ratio up to this size
_STORED_BLOCK = (1 << 17) - 1


def compress(data: bytes) -> bytes:
    """Compress data to one zstd frame that includes its size (RFC 8878)."""
    packed = zstd_frame(data)
    return _stored(data) if len(data) >= _PLAIN_BYTES and len(data) > RATIO_LIMIT * len(packed) else packed


def zstd_frame(data: bytes) -> bytes:
    """Compress data to one zstd frame of any ratio.

    Raises:
        OutOfMemoryError: There is too little memory.
    """
    try:
        packed: bytes = _compressor().compress(data)
    except (zstandard.ZstdError, MemoryError) as exc:  # compression fails for no other reason
        raise OutOfMemoryError(f"{len(data)} bytes cannot be compressed: there is too little memory") from exc
    return packed


def _stored(data: bytes) -> bytes:
    """Return a zstd frame of raw blocks, because readers refuse compression ratios above :data:`RATIO_LIMIT`."""
    parts = [b"\x28\xb5\x2f\xfd\xe0", struct.pack("<Q", len(data))]  # single segment, content size of 8 bytes
    for start in range(0, len(data), _STORED_BLOCK):
        block = data[start : start + _STORED_BLOCK]
        last = start + len(block) == len(data)
        parts += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(parts)


_local = threading.local()


def _compressor() -> zstandard.ZstdCompressor:
    """Return the compressor of this thread."""
    made: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if made is None:
        made = _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return made


def _decompressor() -> zstandard.ZstdDecompressor:
    """Return the decompressor of this thread: it cannot be shared, and creating one takes as long as a small block."""
    made: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if made is None:
        made = _local.decompressor = zstandard.ZstdDecompressor()
    return made


def content_size(data: bytes | memoryview, number: int, free: int = _FREE_BYTES) -> int:
    """Return the decompressed size that ``data`` claims, if it is plausible.

    Raises:
        DamagedFrameError: If it is not a zstd frame, or claims an implausible size.
    """
    try:
        size = int(zstandard.frame_content_size(data))
    except zstandard.ZstdError as exc:
        raise DamagedFrameError(number, f"its body does not decompress ({exc})") from exc
    if not 0 <= size <= _BODY_LIMIT or (size > free and size > RATIO_LIMIT * len(data)):
        raise DamagedFrameError(number, f"its body claims {size} bytes")
    return size


def decompress(data: bytes | memoryview, number: int, free: int = _FREE_BYTES) -> bytes:
    """Decompress a zstd frame; its claimed size is checked before memory is allocated.

    Raises:
        DamagedFrameError: If it is not a zstd frame, or claims an implausible size.
    """
    return decompress_to(data, content_size(data, number, free), number)


def decompress_to(data: bytes | memoryview, size: int, number: int) -> bytes:
    """Decompress a zstd frame of a known size in bytes.

    Raises:
        DamagedFrameError: If it is not a zstd frame of this size, or one of more than 64 MiB that memory cannot hold.
        OutOfMemoryError: There is too little memory.
    """
    try:
        raw: bytes = _decompressor().decompress(data, max_output_size=size)
    except (zstandard.ZstdError, MemoryError) as exc:
        if size <= _FREE_BYTES and (isinstance(exc, MemoryError) or "memory" in str(exc)):
            raise OutOfMemoryError(f"the {size} bytes of frame {number} do not fit into memory") from exc
        raise DamagedFrameError(number, f"its body does not decompress ({exc})") from exc
    if len(raw) != size:
        raise DamagedFrameError(number, f"its body claims {size} bytes and has {len(raw)}")
    return raw
