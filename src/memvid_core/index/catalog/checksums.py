"""What records are looked up by, and the checksums of their rows."""

from __future__ import annotations

from typing import Final

import xxhash

__all__ = ["FACTORS", "HASH_MASK", "id_hash", "metadata_sum", "record_sum"]

HASH_MASK: Final = (1 << 62) - 1
"""The sum of all hashes is kept so far."""
FACTORS: Final = (0x1E3779B1, 0x05EBCA77, 0x02B2AE3D, 0x07D4EB2F)
"""Odd, and so small that SQLite's sums stay exact."""


def id_hash(record_id: str) -> int:
    """Return what a record is looked up by."""
    return xxhash.xxh3_64_intdigest(record_id.encode()) >> 1


def record_sum(row: int, record_id: str, born: int, died: int | None, dense: int) -> int:
    """Return the checksum of a record without its metadata."""
    # Odd factors: if one number differs, so does the initial value.
    a, b, c, d = FACTORS
    seed = row * a + born * b + (0 if died is None else died + 1) * c + dense * d
    return xxhash.xxh32_intdigest(record_id.encode(), seed & 0xFFFFFFFF)


def metadata_sum(metadata: str | None) -> int:
    """Return the checksum of a record's metadata."""
    return 0 if metadata is None else xxhash.xxh32_intdigest(metadata.encode(), 1)
