"""The data types of a library: its properties, its shards and versions, and reports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from memvid_core.model import Hit

__all__ = [
    "BuildReport",
    "CompactReport",
    "LibraryDamage",
    "LibraryHits",
    "LibraryInfo",
    "LibraryReport",
    "LibraryShard",
    "LibraryVersion",
    "SearchReport",
    "VacuumReport",
]


class SearchReport(msgspec.Struct, frozen=True):
    """Which shards answered a search.

    Attributes:
        asked: The number of shards that were asked; the others have no records that match the filter.
        answered: The number of shards that answered.
        failed: Why shards did not answer, by the name of the file.
        rows_missing: The number of records in the shards that did not answer.
    """

    asked: int
    answered: int
    failed: dict[str, str] = {}
    rows_missing: int = 0

    @property
    def complete(self) -> bool:
        """Whether every shard that was asked answered."""
        return not self.failed


class LibraryHits(list[Hit]):
    """Hits, best first, with the report of the search.

    Args:
        hits: The hits.
        report: Which shards answered.
    """

    def __init__(self, hits: Iterable[Hit], report: SearchReport) -> None:
        super().__init__(hits)
        self.report = report


class LibraryVersion(msgspec.Struct, frozen=True):
    """One version of a library: its number (from 1), UTC time, what was changed, and counts of records and shards."""

    number: int
    time: datetime
    change: str
    added: int
    deleted: int
    records: int
    shards: int


class LibraryShard(msgspec.Struct, frozen=True):
    """One shard of a version: the name of its file, counts of records that count and of deleted rows, and its bytes."""

    file: str
    records: int
    deleted: int
    bytes: int


class BuildReport(msgspec.Struct, frozen=True):
    """What a build or another change has committed: the version, and counts of new shards and of records."""

    version: int
    shards: int
    added: int
    deleted: int


class CompactReport(msgspec.Struct, frozen=True):
    """What a compaction has committed: the version, and counts of shards replaced, shards written, records dropped."""

    version: int
    replaced: int
    written: int
    dropped: int


class VacuumReport(msgspec.Struct, frozen=True):
    """What a vacuum has deleted, or would delete: the number of versions, the names of files, and their bytes.

    ``kept`` are files that the system did not delete, because another process reads them; the next vacuum tries again.
    """

    versions: int
    files: tuple[str, ...]
    bytes: int
    kept: tuple[str, ...] = ()


class LibraryInfo(msgspec.Struct, frozen=True):
    """The properties and sizes of a library.

    ``deleted`` counts records that were deleted or replaced and are still in the files.
    """

    path: str
    id: str
    version: int
    records: int
    deleted: int
    shards: int
    bytes: int
    dimension: int | None
    vector_dtype: str
    metric: str
    embedder: str
    partition_by: tuple[str, ...]
    created: datetime
    modified: datetime


class LibraryDamage(msgspec.Struct, frozen=True):
    """A damaged object of a library: its name, the number of records that it affects, and the reason."""

    name: str
    records: int
    reason: str


class LibraryReport(msgspec.Struct, frozen=True):
    """The report of ``verify``: counts of what was read, the damage, and files that no version names.

    ``orphans`` are the leftovers of interrupted builds; they do no harm.
    """

    versions: int
    shards: int
    records: int
    bytes: int
    damage: tuple[LibraryDamage, ...] = ()
    orphans: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no object is damaged."""
        return not self.damage
