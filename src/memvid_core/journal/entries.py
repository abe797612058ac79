"""The data types of the journal: its header, a commit to write, a commit read, and a position between commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.journal.frames import FIRST_VERSION
from memvid_core.model import Damage, FrameLocation
from memvid_core.video import Position

__all__ = ["Batch", "CommitFrame", "Cursor", "Entry", "Header", "Row"]


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The contents of the first frame: the settings of the memory. Times are microseconds since 1970, UTC.

    ``epoch`` grows with each compaction, which writes a new file; ``history_from`` is the first commit that can still
    be opened with ``as_of``. ``format_version`` is the version of every frame of the file. ``pictures`` says whether
    records may have pictures; files of version 2 do not say it, because all of them may. ``head`` is the XXH3-64 of the
    boxes before the first fragment; files of earlier versions lack it.
    """

    memory_id: bytes
    codec: str
    vectors: str
    created: int
    format_version: int = FIRST_VERSION
    pictures: bool = False
    epoch: int = msgspec.field(default=0, name="generation")
    history_from: int = 0
    dimension: int | None = None
    metric: str = "cosine"
    embedder: str = ""
    description: str = ""
    head: bytes = b""


class CommitFrame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last frame of each commit. ``rows`` is the row count after it; ``chain`` covers everything before it.

    ``copy`` is a copy of the journal's header, in some commits.
    """

    number: int
    time: int
    rows: int
    added: int
    deleted: int
    frames: int
    previous: bytes
    chain: bytes
    copy: bytes = b""


class Cursor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A position between two commits: the start of the next one, number and chain of the last one, and the next row.

    ``last_*`` locate the COMMIT frame of the last commit, so that a later reader can check with one read that the file
    still contains this commit.
    """

    offset: int
    frame: int
    fragment: int
    commit: int
    row: int
    chain: bytes
    last_frame: int
    last_offset: int
    last_size: int

    @property
    def position(self) -> Position:
        """The position in the video."""
        return Position(self.offset, self.frame, self.fragment)


Row = tuple[str, str, dict[str, Any]]
"""Id, text and metadata of a record."""


@dataclass
class Batch:
    """The contents of a commit to write.

    Attributes:
        rows: Records in msgpack, ``[id, text, metadata]``.
        vectors: (m, d) vectors of some rows.
        vector_places: (m,) int64, the positions of these rows in the batch, ascending.
        tombstones: Rows to delete.
        model: The fit of the embedder, or None.
        pictures: Slices that show records in the film, by their positions in the batch.
    """

    rows: Sequence[bytes] = ()
    vectors: NDArray[Any] | None = None
    vector_places: NDArray[np.int64] | None = None
    tombstones: Sequence[int] = ()
    model: bytes | None = None
    pictures: Mapping[int, bytes] = field(default_factory=dict)

    def placed(self, row: int) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Return [(row numbers, vectors)] for a batch with first row ``row``; an empty list without vectors."""
        if self.vectors is None or self.vector_places is None or not len(self.vectors):
            return []
        return [(self.vector_places + row, self.vectors)]


@dataclass(slots=True)
class Entry:
    """One commit read from the file, with its contents decoded.

    ``row_numbers`` are the numbers of ``rows``; ``vectors`` is a list of (row numbers, matrix); ``damage`` lists what
    could not be read; ``pictures`` are slices that show records, by row; ``unknown`` has the kinds of frames that only
    a newer version knows, and that may be skipped. ``start`` and ``first_frame`` are its byte offset and first frame,
    ``cursor`` the position after it.
    """

    number: int
    time: int
    cursor: Cursor
    start: int
    first_frame: int
    row_frames: list[FrameLocation] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    vectors: list[tuple[NDArray[np.int64], NDArray[Any]]] = field(default_factory=list)
    tombstones: list[int] = field(default_factory=list)
    model: bytes | None = None
    damage: list[Damage] = field(default_factory=list)
    pictures: dict[int, bytes] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
