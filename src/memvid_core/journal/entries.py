"""The nouns of the journal: its header, a commit on the way in, a commit as it stands in the file, a place in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.journal.frames import FORMAT_VERSION
from memvid_core.model import Damage, FrameLocation
from memvid_core.video import Position

__all__ = ["Batch", "CommitFrame", "Cursor", "Entry", "Header", "Row"]


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first frame: what the memory is. Times are microseconds since 1970, UTC.

    ``epoch`` grows with each compaction, which writes a new file; ``history_from`` is the first commit whose past
    state can still be told after one.
    """

    memory_id: bytes
    codec: str
    vectors: str
    created: int
    format_version: int = FORMAT_VERSION
    epoch: int = msgspec.field(default=0, name="generation")
    history_from: int = 0
    dimension: int | None = None
    metric: str = "cosine"
    embedder: str = ""
    description: str = ""


class CommitFrame(msgspec.Struct, frozen=True, array_like=True):
    """The last frame of each commit. ``rows`` is how many there are after it; ``chain`` covers all that came before.

    ``copy`` is the journal's header once more, in some commits.
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


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A place between two commits: where the next one begins, the last one's number and chain, and the next row.

    ``last_*`` is where the last commit's COMMIT frame lies, so that a later reader can check with one read that the
    file it opens still is the one the cursor was taken from.
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
        """The place in the video."""
        return Position(self.offset, self.frame, self.fragment)


Row = tuple[str, str, dict[str, Any]]
"""Id, text and metadata of a record."""


@dataclass
class Batch:
    """What one commit is to hold.

    ``rows`` are in msgpack (``[id, text, metadata]``); ``vectors`` (m, d) belong to the rows whose places in this batch
    ``vector_places`` (m,) lists, ascending.
    """

    rows: Sequence[bytes] = ()
    vectors: NDArray[Any] | None = None
    vector_places: NDArray[np.int64] | None = None
    tombstones: Sequence[int] = ()
    model: bytes | None = None

    def placed(self, row: int) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
        """The vectors with their row numbers, where the batch's first row is ``row``; nothing if it has none."""
        if self.vectors is None or self.vector_places is None or not len(self.vectors):
            return []
        return [(self.vector_places + row, self.vectors)]


@dataclass
class Entry:
    """One commit as it stands in the file, with its content decoded.

    ``row_numbers`` and ``rows`` go together; ``vectors`` is a list of (row numbers, matrix); ``damage`` names what
    could not be read. ``start`` and ``first_frame`` are where it begins, ``cursor`` is the place after it.
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
