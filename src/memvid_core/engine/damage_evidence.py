"""Evidence of damage: shows whether damage that an index has recorded is still in the file.

Another program can cut a memory and restore it, or a failing disk can recover. An index that was updated in between has
recorded damage, and must not report it for a file that is whole again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import xxhash

from memvid_core.catalog.catalog import DamageRow
from memvid_core.errors import StorageError
from memvid_core.journal import Cursor, Journal
from memvid_core.model import Damage

__all__ = [
    "all_damaged",
    "damage_of",
    "damage_row",
    "is_behind",
    "is_damaged",
    "missing_commits",
    "restored_bytes",
    "unreadable_bytes",
]

_PIECE = 1 << 20  # bytes that are read at once


class _Evidence(msgspec.Struct, frozen=True, array_like=True):
    """The checksum of bytes that could not be read as commits, or the position after a commit that was missing.

    ``last`` means that the file ended after these bytes, so that only a commit can follow.
    """

    start: int = 0
    stop: int = 0
    checksum: bytes = b""
    last: bool = False
    cursor: Cursor | None = None


def damage_row(damage: Damage, evidence: bytes = b"") -> DamageRow:
    """Return damage as a row of the catalog."""
    return DamageRow(
        damage.frame,
        damage.commit,
        damage.records,
        damage.reason,
        damage.vectors,
        damage.deletions,
        evidence,
        damage.restored,
    )


def damage_of(row: DamageRow) -> Damage:
    """Return a row of the catalog as the public type."""
    return Damage(row.frame, row.commit, row.records, row.reason, row.vectors, row.deletions, row.restored)


def unreadable_bytes(journal: Journal, start: int, stop: int) -> bytes:
    """Return evidence of damage in [``start``, ``stop``) of the file: it is there until these bytes change."""
    size = journal.video.size()
    stop = min(stop, size)
    return msgspec.msgpack.encode(_Evidence(start, stop, _checksum(journal, start, stop), stop == size))


def restored_bytes(start: int, stop: int) -> bytes:
    """Return evidence of damage in [``start``, ``stop``) that is gone already: the next look at it finds it gone."""
    return msgspec.msgpack.encode(_Evidence(start, stop, b"restored"))


def missing_commits(journal: Journal, known: Cursor) -> bytes:
    """Return evidence that the file lacks rows up to ``known``: they are missing until the file contains them."""
    if known.commit > journal.cursor.commit:
        return msgspec.msgpack.encode(_Evidence(cursor=known))
    return unreadable_bytes(journal, journal.start.offset, known.offset)  # its last commit is there, incompletely


def is_damaged(journal: Journal, row: DamageRow) -> bool:
    """Return whether recorded damage is still in the file, as far as its evidence shows."""
    if not row.evidence:
        return True
    evidence = msgspec.msgpack.decode(row.evidence, type=_Evidence)
    if evidence.cursor is not None:
        return not journal.holds(evidence.cursor)
    try:
        more = evidence.last and journal.video.size() > evidence.stop
        if more and not journal.video.begins_fragment(evidence.stop):  # what was cut there is back
            return False
    except StorageError:
        return True
    return _checksum(journal, evidence.start, evidence.stop) == evidence.checksum


def is_behind(row: DamageRow, offset: int) -> bool:
    """Return whether damage that was the end of the file is behind later commits, which end at ``offset``."""
    return bool(row.evidence) and msgspec.msgpack.decode(row.evidence, type=_Evidence).stop <= offset


def all_damaged(journal: Journal, rows: Iterable[DamageRow]) -> bool:
    """Return whether all recorded damage is still in the file; if not, the index reports losses that are none."""
    by_evidence = {row.evidence: row for row in rows}
    return all(is_damaged(journal, row) for row in by_evidence.values())


def _checksum(journal: Journal, start: int, stop: int) -> bytes:
    """Return the checksum of bytes of the file, and of their number; empty if they cannot be read."""
    digest = xxhash.xxh3_128()
    try:
        for at in range(start, min(stop, journal.video.size()), _PIECE):
            digest.update(journal.video.coded(at, min(_PIECE, stop - at)))
    except StorageError:
        return b""
    return digest.digest()
