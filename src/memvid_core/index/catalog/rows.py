"""The rows of the catalog's tables, and their checksums."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import xxhash

__all__ = [
    "HASH_MASK",
    "SEED",
    "CommitRow",
    "DamageRow",
    "RecordRow",
    "Totals",
    "id_hash",
    "metadata_sum",
    "record_sum",
    "row_sum",
]

HASH_MASK: Final = (1 << 62) - 1
"""The sum of all hashes is kept so far."""
_FACTORS: Final = (0x1E3779B1, 0x05EBCA77, 0x02B2AE3D, 0x07D4EB2F)  # odd, and so small that SQLite's sums stay exact
_WORD: Final = 0xFFFFFFFF
_encode: Final = msgspec.msgpack.Encoder().encode

SEED: Final = "((row & {m}) * {} + (born & {m}) * {} + (coalesce(died + 1, 0) & {m}) * {} + dense * {}) & {m}".format(
    *_FACTORS, m=_WORD
)
"""In SQL, where the checksum of a record begins: the checksum is XXH32 of its id, seeded with it."""

RecordRow = tuple[int, str, int, bool, str | None]
"""A record as the catalog keeps it: row, id, the commit it came with, whether it has a vector, metadata as JSON."""


class CommitRow(NamedTuple):
    """A commit: number, time in microseconds since 1970, rows after it, and what it did."""

    number: int
    time: int
    rows: int
    added: int
    deleted: int
    frames: int
    bytes: int


class DamageRow(NamedTuple):
    """Damage found in the journal: where, as far as it is known, what cannot be read because of it, and why."""

    frame: int | None
    commit: int | None
    records: int
    reason: str
    vectors: int = 0
    deletions: int = 0


class Totals(NamedTuple):
    """Of all commits up to one: records, their hashes; those without a vector, and deleted ones, with their rows."""

    present: int = 0
    hashes: int = 0
    sparse: int = 0
    sparse_rows: int = 0
    buried: int = 0
    buried_rows: int = 0

    def plus(self, more: Totals) -> Totals:
        """Return the sums."""
        return Totals(*map(int.__add__, self, more))


def row_sum(*values: object) -> int:
    """Return the checksum of a row of any table but the records."""
    return xxhash.xxh32_intdigest(_encode(values))


def record_sum(row: int, record_id: str, born: int, died: int | None, dense: int) -> int:
    """Return the checksum of a record without its metadata."""
    # Odd factors: if one number differs, so does the seed.
    a, b, c, d = _FACTORS
    seed = row * a + born * b + (0 if died is None else died + 1) * c + dense * d
    return xxhash.xxh32_intdigest(record_id.encode(), seed & _WORD)


def id_hash(record_id: str) -> int:
    """Return what records are looked up by."""
    return xxhash.xxh3_64_intdigest(record_id.encode()) >> 1


def metadata_sum(metadata: str | None) -> int:
    """Return the checksum of a record's metadata."""
    return 0 if metadata is None else xxhash.xxh32_intdigest(metadata.encode(), 1)
