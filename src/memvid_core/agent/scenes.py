"""Scenes of a video: a frame where the picture changes, found with PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from memvid_core.agent.captions import clock
from memvid_core.errors import InvalidInputError

__all__ = ["Scene", "scenes_of"]

_SIDE: Final = 32
_CHANGED: Final = 18.0
"""How much a picture differs from the last, in gray levels of 255 on average, where a scene begins."""
_APART: Final = 0.5
"""Seconds between two pictures that are compared."""
_MOST: Final = 64


class Scene(NamedTuple):
    """Where a scene begins, in seconds, and its first picture as PNG."""

    start: float
    png: bytes


def scenes_of(path: Path) -> tuple[str, list[Scene]]:
    """Return what a video is, and its scenes: 64 at most, spread over it.

    Raises:
        InvalidInputError: It is not a video that can be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InvalidInputError("it has no picture: memorize it as audio")
            stream = container.streams.video[0]
            scenes = _scenes(container, stream)
            seconds = scenes[-1][0] if container.duration is None else container.duration / av.time_base
            facts = f"Video {path.name}: {clock(seconds)} long, {stream.width} x {stream.height} pixels"
    except (av.FFmpegError, IndexError) as exc:
        raise InvalidInputError(f"no video that can be read: {exc}") from exc
    step = -(-len(scenes) // _MOST)
    return facts, [Scene(start, _png(frame)) for start, frame in scenes[::step]]


def _scenes(container: Any, stream: Any) -> list[tuple[float, Any]]:
    found: list[tuple[float, Any]] = []
    last: np.ndarray[Any, np.dtype[np.int16]] | None = None
    due = float("-inf")
    for frame in container.decode(stream):
        start = float(frame.time or 0.0)
        if start < due:
            continue
        due = start + _APART
        small = frame.reformat(_SIDE, _SIDE, "gray").to_ndarray().astype(np.int16)
        if last is None or float(np.abs(small - last).mean()) >= _CHANGED:
            found.append((start, frame))
            found = found if len(found) < _MOST * 4 else found[::2]
        last = small
    return found


def _png(frame: Any) -> bytes:
    import av

    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
    encoder.time_base = frame.time_base
    packets = [*encoder.encode(frame.reformat(format="rgb24")), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
