"""Copies of torn tails: the remains of interrupted writes, copied before the next write removed them."""

from __future__ import annotations

from pathlib import Path

from memvid_core.errors import MemvidError
from memvid_core.journal.contents import Contents
from memvid_core.journal.entries import CommitFrame, Row
from memvid_core.journal.header import NO_CHAIN, after
from memvid_core.journal.reading import readings
from memvid_core.video import TornTail, VideoFile

__all__ = ["rows_in", "torn_copies"]


def torn_copies(path: Path) -> list[Path]:
    """Return the copies of torn tails next to a memory, oldest first."""
    prefix = f"{path.name}.torn-"
    try:
        numbered = [
            (int(number), other)
            for other in path.parent.iterdir()
            if other.name.startswith(prefix) and (number := other.name[len(prefix) :]).isdecimal()
        ]
    except OSError:
        return []
    return [other for _, other in sorted(numbered)]


def rows_in(path: Path) -> list[Row] | None:
    """Return the readable records in a copy of a torn tail; None if it is not one, or was written without a head."""
    rows: list[Row] = []
    try:
        with VideoFile.open(path) as video:
            contents = Contents("none", None, video.size())
            for found in video.walk(video.start):
                fragment = found.fragment if isinstance(found, TornTail) else found
                for reading in () if fragment is None else readings(video, fragment, 1 << 62):
                    first, stop = reading.rows() or (0, 0)
                    commit = CommitFrame(reading.number or 0, 0, stop, stop - first, 0, 0, NO_CHAIN, NO_CHAIN)
                    rows += contents.entry(reading, commit, after(reading.fragment, commit), first).rows
    except MemvidError:
        return None
    return rows
