"""The data types of the public API: records, hits, commits, damage and the properties of a memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

__all__ = [
    "Commit",
    "Damage",
    "FrameLocation",
    "Hit",
    "IndexName",
    "MemoryInfo",
    "Metric",
    "Recency",
    "Record",
    "VerifyReport",
]

IndexName = Literal["auto", "exact", "sklearn", "quantized", "ivf"]
"""How vectors are searched; see ``docs/search.md``."""

Metric = Literal["cosine", "euclidean", "manhattan", "chebyshev"]
"""How vectors are compared. The file format numbers them in this order, from 0."""

Metadata = dict[str, Any]


class Record(msgspec.Struct, frozen=True, gc=False):
    """The unit that is stored and found: an id, a text and metadata.

    LangChain calls it a Document, LlamaIndex a node.

    Example:
        >>> Record("a", "hello", {"page": 1}).metadata["page"]
        1
    """

    id: str
    text: str
    metadata: Metadata = {}


class Hit(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A record with the score and the rank (from 0) that a search gave it.

    ``score`` is in [0, 1], higher is better; its meaning depends on the mode (``memvid_core.index.fusion``).
    ``cosine`` is the cosine of query and record, in [-1, 1], if the search used vectors. In a memory with another
    metric it is None, and ``distance`` is the distance in that metric. ``vector`` and ``explain`` (the scores of each
    part of the search) are set if they were requested.
    """

    record: Record
    score: float
    rank: int
    cosine: float | None = None
    vector: Any = None
    explain: dict[str, float] | None = None
    distance: float | None = None

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def text(self) -> str:
        """The record's text."""
        return self.record.text

    @property
    def metadata(self) -> dict[str, Any]:
        """The record's metadata."""
        return self.record.metadata

    def __repr__(self) -> str:
        return f"Hit({self.score:.3f}, {self.record!r})"


class Recency(msgspec.Struct, frozen=True):
    """Rank older records lower.

    ``field`` is a metadata path to a time, in seconds since 1970 or as ISO 8601 text (UTC if it has no time zone). A
    record without a time is treated as very old. ``half_life`` is in seconds, ``weight`` in [0, 1] is the maximum share
    of a score that age can remove, and ``now`` is the current time.
    """

    field: str
    half_life: float
    weight: float = 0.5
    now: float | None = None


class Commit(msgspec.Struct, frozen=True):
    """One atomic change: its number (from 1), UTC time, and what it did."""

    number: int
    time: datetime
    added: int
    deleted: int
    frames: int
    bytes: int


class Damage(msgspec.Struct, frozen=True):
    """One damaged part of the file: its position, the loss, and the reason.

    ``frame`` and ``commit`` are numbers, or None if unknown. ``records``, ``vectors`` and ``deletions`` are the numbers
    of unreadable records, of readable records without their vectors, and of unreadable deletions, whose records
    reappear. If all three are 0, nothing is lost.
    """

    frame: int | None
    commit: int | None
    records: int
    reason: str
    vectors: int = 0
    deletions: int = 0


class VerifyReport(msgspec.Struct, frozen=True):
    """The result of ``verify``.

    ``repaired`` lists the frames of a QR memory that were reconstructed from parity symbols: no data is lost, but fewer
    further losses can be repaired. ``torn_copies`` are the files next to the memory that contain the records of
    interrupted writes.
    """

    commits: int
    frames: int
    records: int
    bytes: int
    torn_bytes: int
    damage: tuple[Damage, ...] = ()
    repaired: tuple[int, ...] = ()
    torn_copies: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every byte that matters is what was written."""
        return not self.damage and not self.torn_bytes


class MemoryInfo(msgspec.Struct, frozen=True):
    """The properties and the state of a memory.

    ``lost`` is the number of records in frames that are damaged or missing. ``damage`` lists the damage that is known
    without reading the whole file, which :meth:`Memory.verify` does. ``torn_bytes`` are the bytes of an interrupted
    write at the end of the file, or of a truncated copy; ``torn_copies`` are the files next to the memory that contain
    the records of such writes.
    """

    path: str
    format_version: int
    codec: str
    records: int
    deleted: int
    lost: int
    commits: int
    frames: int
    bytes: int
    index_bytes: int
    dimension: int | None
    vector_dtype: str
    metric: str
    embedder: str
    created: datetime
    modified: datetime
    description: str = ""
    damage: tuple[Damage, ...] = ()
    torn_bytes: int = 0
    torn_copies: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not (self.damage or self.torn_bytes)


class FrameLocation(NamedTuple):
    """The position of a frame of records or vectors in the file, and the rows in it.

    ``frame`` is its number, ``offset`` and ``size`` are in bytes, ``kind`` is the kind of the frame, ``row`` its first
    row and ``items`` the number of rows that begin in it (0: it continues the frame before).
    """

    frame: int
    offset: int
    size: int
    kind: int
    row: int
    items: int
