"""An open memory as a video: in which frames records lie, what its pictures are, and which frames are in the cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memvid_core.engine.session import Session
from memvid_core.errors import StorageError
from memvid_core.journal.frames import Kind

__all__ = ["CacheState", "Pictures", "cache_state", "clear_cache", "frames_of", "picture_count", "pictures", "prefetch"]

_PCM_RATE = 30


class CacheState(NamedTuple):
    """What the cache of decoded frames holds, in bytes, and how often it was asked with and without success."""

    hits: int
    misses: int
    used: int
    limit: int


class Pictures(NamedTuple):
    """How the pictures of a memory are made.

    ``coding`` is ``"pcm"``, or ``"h264"``, ``"h265"`` or ``"av1"`` for a QR memory; ``rate`` is in pictures a second,
    ``width`` in pixels; ``crf`` is the quality of a QR memory's pictures, and None for the store, which has none.
    """

    coding: str
    rate: int
    width: int
    crf: int | None


def frames_of(session: Session, ids: Iterable[str]) -> dict[str, int]:
    """Return the number of the frame that carries each record; ids that are not there are left out."""
    wanted = list(ids)
    found = session.answer(lambda snapshot: snapshot.frames_of(wanted))
    return {record_id: frame.frame for record_id, frame in found.items()}


def prefetch(session: Session, frames: Iterable[int]) -> int:
    """Decode frames that carry records into the cache; return how many of these there were."""
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
    """Forget what was decoded."""
    session.indexed.epoch.reader.clear()


def pictures(session: Session) -> Pictures:
    """Return how the pictures of a memory are made."""
    codec = session.indexed.journal.video.codec
    settings = getattr(codec, "settings", None)
    if settings is None:
        return Pictures(codec.name, _PCM_RATE, codec.size[0], None)
    return Pictures(str(settings.video_codec), int(settings.fps), codec.size[0], int(settings.encoder.crf))


def picture_count(session: Session) -> int:
    """Return how many pictures the video has: one a frame, or as many as its symbols take."""
    video = session.indexed.journal.video
    try:
        return video._next_picture(video.end)
    except StorageError:
        return video.end.frame
