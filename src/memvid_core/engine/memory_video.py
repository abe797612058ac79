"""A memory as a video: the frames of records, the settings of its pictures, and the cache of decoded frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from memvid_core.engine.session import Session
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import StorageError
from memvid_core.journal.frames import Kind
from memvid_core.journal.pictures import picture_before
from memvid_core.model import FrameLocation, Record
from memvid_core.video.preview import HELD

__all__ = [
    "CacheState",
    "Pictures",
    "Scene",
    "cache_state",
    "clear_cache",
    "frames_of",
    "picture_count",
    "pictured_frames",
    "pictures",
    "prefetch",
    "scenes",
    "title_scene",
]

_LONGEST_SCENE = 6  # frames


class CacheState(NamedTuple):
    """The state of the cache of decoded frames: hits, misses, used bytes and the limit in bytes."""

    hits: int
    misses: int
    used: int
    limit: int


class Pictures(NamedTuple):
    """The settings of a memory's pictures.

    ``coding`` is ``"pcm"``, or ``"h264"``, ``"h265"`` or ``"av1"`` for a QR memory; ``rate`` is in pictures per second,
    ``width`` in pixels; ``crf`` is the quality of the pictures of a QR memory, and None for ``"pcm"``.
    """

    coding: str
    rate: int
    width: int
    crf: int | None


class Scene(NamedTuple):
    """The part of the video that has the records of one frame.

    ``start`` and ``end`` are in seconds; ``record`` is the first of its ``records`` live records.
    """

    start: float
    end: float
    record: Record
    records: int


def frames_of(session: Session, ids: Iterable[str]) -> dict[str, int]:
    """Return the frame number of each record by id; unknown ids are omitted."""
    wanted = list(ids)
    found = session.answer(lambda snapshot: snapshot.frames_of(wanted))
    return {record_id: frame.frame for record_id, frame in found.items()}


def pictured_frames(session: Session, ids: Iterable[str]) -> dict[str, int]:
    """Return the number of the frame that shows the picture of a record, by id; ids without a picture are omitted."""
    if not session.indexed.journal.shows:
        return {}
    wanted = list(ids)
    return session.answer(lambda snapshot: _pictured(snapshot, wanted))


def _pictured(snapshot: Snapshot, ids: list[str]) -> dict[str, int]:
    rows, video = snapshot.rows_of(ids), snapshot.epoch.journal.video
    return {
        record_id: place.frame - 1 - HELD
        for record_id, place in snapshot.frames_of(ids).items()
        if place.row == rows[record_id] and picture_before(video, place) is not None
    }


def prefetch(session: Session, frames: Iterable[int]) -> int:
    """Decode the frames that contain records into the cache; return their number."""
    wanted = list(frames)
    epoch = session.snapshot().epoch
    found = (epoch.index.catalog.frame(number) for number in wanted)
    carrying = [frame for frame in found if frame is not None and frame.kind == Kind.RECORDS and frame.items]
    for frame in carrying:
        epoch.reader.prefetch(frame)
    return len(carrying)


def cache_state(session: Session) -> CacheState:
    """Return the state of the cache."""
    blocks = session.indexed.epoch.reader.blocks
    return CacheState(blocks.hits, blocks.misses, blocks.used, blocks.limit)


def clear_cache(session: Session) -> None:
    """Empty the cache."""
    session.indexed.epoch.reader.clear()


def pictures(session: Session) -> Pictures:
    """Return the settings of a memory's pictures."""
    video = session.indexed.journal.video
    codec = video.codec
    settings = getattr(codec, "settings", None)
    if settings is None:
        return Pictures(codec.name, video.rate, codec.size[0], None)
    return Pictures(str(settings.video_codec), int(settings.fps), codec.size[0], int(settings.encoder.crf))


def picture_count(session: Session) -> int:
    """Return the number of pictures in the video: one per frame, or more for symbols."""
    video = session.indexed.journal.video
    try:
        return video.next_picture(video.end)
    except StorageError:
        return video.end.frame


def title_scene(session: Session) -> tuple[str, float] | None:
    """Return the title, and how long its card is on the screen, in seconds; None without a card."""
    journal = session.indexed.journal
    title = journal.video.title
    if title is None or not journal.shows or journal.start.frame <= 1 + HELD:
        return None
    return title, (1 + HELD) / journal.video.rate


def scenes(session: Session, where: Mapping[str, Any] | None = None) -> list[Scene]:
    """Return the parts of the video with live records, in order, each up to the next but six frames long at most.

    The pictures of a record belong to its part.

    Args:
        session: The memory.
        where: A filter for the records.
    """
    return session.answer(lambda snapshot: _scenes(snapshot, where))


def _scenes(snapshot: Snapshot, where: Mapping[str, Any] | None) -> list[Scene]:
    journal = snapshot.epoch.journal
    table = snapshot.epoch.index.frame_table(Kind.RECORDS)
    found: list[tuple[FrameLocation, list[int]]] = []
    for row in sorted(snapshot.selected(None, where)) if where else np.flatnonzero(snapshot.live).tolist():
        place = table.find(row)
        if place is None:
            continue
        if not found or found[-1][0] is not place:
            found.append((place, []))
        found[-1][1].append(row)
    starts = []
    for place, rows in found:
        shown = journal.shows and place.row == rows[0] and picture_before(journal.video, place) is not None
        starts.append(place.frame - (1 + HELD if shown else 0))
    rate = journal.video.rate
    return [
        Scene(start / rate, max(place.frame + 1, min(after, place.frame + _LONGEST_SCENE)) / rate, record, len(rows))
        for (place, rows), start, after in zip(found, starts, [*starts[1:], 1 << 62], strict=True)
        for record in [snapshot.record(rows[0])]
    ]
