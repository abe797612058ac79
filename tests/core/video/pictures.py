"""A video's pictures, and what the outside world does to them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def pictures_of(path: Path) -> list[Picture]:
    """The luma of every picture of a video."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]


def transcode(
    pictures: Iterable[Picture],
    path: Path,
    encoder: str,
    options: dict[str, str],
    *,
    side: int | None = None,
    fps: int = 30,
    bit_rate: int = 0,
) -> None:
    """The pictures as another program would code them: limited range, its own key pictures, B-frames and lookahead."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=fps, options=options)
        stream.pix_fmt = "yuv420p"
        if bit_rate:
            stream.bit_rate = bit_rate
        for time, picture in enumerate(pictures):
            height, width = (side, side) if side else picture.shape
            if not time:
                stream.width, stream.height = width, height
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame = frame.reformat(width=width, height=height, format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def as_is(pictures: list[Picture]) -> list[Picture]:
    """All of them."""
    return pictures


def at_24_of_30(pictures: list[Picture]) -> list[Picture]:
    """Every fifth is dropped, as from 30 to 24 a second."""
    return [pictures[round(i * 30 / 24)] for i in range(len(pictures) * 24 // 30)]


def dropped(pictures: list[Picture]) -> list[Picture]:
    """One in twenty is dropped, at random."""
    rng = random.Random(1)
    gone = set(rng.sample(range(len(pictures)), max(1, len(pictures) // 20)))
    return [picture for i, picture in enumerate(pictures) if i not in gone]


def blacked_out(pictures: list[Picture]) -> list[Picture]:
    """One picture in twenty, all in one place, which is the worst."""
    start, count = len(pictures) // 3, max(1, len(pictures) // 20)
    return [picture * (not start <= i < start + count) for i, picture in enumerate(pictures)]


def cropped_and_bordered(pictures: list[Picture]) -> list[Picture]:
    """A part of the white margin is cut off, and dark bars are put around the rest, as around a player."""
    return [np.pad(picture[8:-8, 8:-8], ((150, 90), (30, 260)), constant_values=40) for picture in pictures]
