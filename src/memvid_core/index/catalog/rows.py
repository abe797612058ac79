"""The rows of the catalog's tables, and their checksums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import xxhash

from memvid_core.model import FrameLocation

__all__ = [
    "HASH_MASK",
    "CommitContents",
    "CommitRow",
    "DamageRow",
    "LiveRow",
    "RecordRow",
    "Totals",
    "id_hash",
    "metadata_sum",
    "record_sum",
    "row_sum",
]

HASH_MASK: Final = (1 << 62) - 1
"""The sum of all hashes is kept so far."""

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


class CommitContents(NamedTuple):
    """A commit with what it holds: its numbers, its first row, its records, their frames, and the rows it deletes."""

    commit: CommitRow
    first_row: int
    records: Iterable[RecordRow]
    frames: Sequence[FrameLocation]
    tombstones: Sequence[int]


class LiveRow(NamedTuple):
    """What the checksum of a record covers, and the hash of its id."""

    row: int
    id: str
    born: int
    dense: int
    hash: int


class Totals(NamedTuple):
    """Of all commits up to one: records, their hashes; those without a vector, and deleted ones, with their rows."""

    present: int = 0
    hashes: int = 0
    sparse: int = 0
    sparse_rows: int = 0
    buried: int = 0
    buried_rows: int = 0

    def plus(self, **added: int) -> Totals:
        """Return the totals with some numbers added."""
        return self._replace(**{name: getattr(self, name) + number for name, number in added.items()})


def row_sum(*values: object) -> int:
    """Return the checksum of a row of any table but the records."""
    return xxhash.xxh32_intdigest("\0".join(map(str, values)).encode())


def record_sum(row: int, record_id: str, born: int, died: int | None, dense: int) -> int:
    """Return the checksum of a record without its metadata."""
    # Odd factors: if either number differs, so does the initial value.
    mixed = row * 0x9E3779B1 ^ born * 0x85EBCA77 ^ (0 if died is None else died + 1) * 0xC2B2AE3D ^ dense * 0x27D4EB2F
    return xxhash.xxh32_intdigest(record_id.encode(), mixed & 0xFFFFFFFF)


def id_hash(record_id: str) -> int:
    """Return what records are looked up by."""
    return xxhash.xxh3_64_intdigest(record_id.encode()) >> 1


def metadata_sum(metadata: str | None) -> int:
    """Return the checksum of a record's metadata."""
    return 0 if metadata is None else xxhash.xxh32_intdigest(metadata.encode(), 1)
