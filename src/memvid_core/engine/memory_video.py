"""A memory as a video: the frames of records, the settings of its pictures, and the cache of decoded frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memvid_core.engine.session import Session
from memvid_core.errors import StorageError
from memvid_core.journal.frames import Kind

__all__ = ["CacheState", "Pictures", "cache_state", "clear_cache", "frames_of", "picture_count", "pictures", "prefetch"]


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


def frames_of(session: Session, ids: Iterable[str]) -> dict[str, int]:
    """Return the frame number of each record by id; unknown ids are omitted."""
    wanted = list(ids)
    found = session.answer(lambda snapshot: snapshot.frames_of(wanted))
    return {record_id: frame.frame for record_id, frame in found.items()}


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
