"""Frames of records and the reader's cache: for citations, prefetching and statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memvid_core.errors import StorageError
from memvid_core.journal.frames import Kind
from memvid_core.memory import Memory

__all__ = [
    "CacheState",
    "cache_state",
    "clear_cache",
    "coding",
    "frames_of",
    "picture_rate",
    "picture_settings",
    "pictures",
    "prefetch",
]

_PCM_RATE = 30


class CacheState(NamedTuple):
    """Report the size of the cache of decoded frames in bytes, and its hits and misses."""

    hits: int
    misses: int
    used: int
    limit: int


def frames_of(memory: Memory, ids: Iterable[str]) -> dict[str, int]:
    """Return the number of the frame of each record; unknown ids are omitted.

    Example:
        >>> with Memory.create(":memory:") as memory:
        ...     ids = memory.add(["a", "b"], ids=["one", "two"])
        ...     frames_of(memory, ["two", "three"])
        {'two': 2}
    """
    snapshot = memory._snapshot()
    placement = snapshot.epoch.index.frame_table(Kind.RECORDS)
    found = {record_id: placement.find(row) for record_id, row in memory._rows(list(ids), snapshot).items()}
    return {record_id: place.frame for record_id, place in found.items() if place is not None}


def prefetch(memory: Memory, frames: Iterable[int]) -> int:
    """Decode frames of records into the cache; return the number of such frames."""
    indexed = memory._indexed
    memory._snapshot()
    done = 0
    for number in frames:
        place = indexed.index.catalog.frame(number)
        if place is not None and place.kind == Kind.RECORDS and place.items:
            indexed.epoch.reader.prefetch(place)
            done += 1
    return done


def cache_state(memory: Memory) -> CacheState:
    """Return the state of the cache."""
    blocks = memory._indexed.epoch.reader.blocks
    return CacheState(blocks.hits, blocks.misses, blocks.used, blocks.limit)


def clear_cache(memory: Memory) -> None:
    """Clear the cache."""
    memory._indexed.epoch.reader.clear()


def coding(memory: Memory) -> str:
    """Return the coding of the pictures: ``pcm``, or ``h264``, ``h265`` or ``av1`` for a QR memory."""
    codec = memory._indexed.journal.video.codec
    settings = getattr(codec, "settings", None)
    return codec.name if settings is None else str(settings.video_codec)


def picture_settings(memory: Memory) -> dict[str, int | None]:
    """Return the ``fps``, ``frame_size`` and ``crf`` of the pictures; ``pcm`` has no ``crf``."""
    codec = memory._indexed.journal.video.codec
    settings = getattr(codec, "settings", None)
    crf = None if settings is None else int(settings.encoder.crf)
    return {"fps": picture_rate(memory), "frame_size": codec.size[0], "crf": crf}


def picture_rate(memory: Memory) -> int:
    """Return the number of pictures per second."""
    settings = getattr(memory._indexed.journal.video.codec, "settings", None)
    return _PCM_RATE if settings is None else int(settings.fps)


def pictures(memory: Memory) -> int:
    """Return the number of pictures in the video: one per frame, or one per picture of its symbols."""
    video = memory._indexed.journal.video
    try:
        return video._next_picture(video.end)
    except StorageError:
        return video.end.frame
