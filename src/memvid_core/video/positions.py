"""Places in a video file: fragments, the frames in them, and the torn tail of an interrupted write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEW", "Fragment", "FramePosition", "Position", "TornTail", "frame_places"]

FEW: Final = 16
"""The number of pictures in a small commit, for which lists are faster than NumPy."""


class FramePosition(NamedTuple):
    """Locate the coded pictures of a frame: offset and size in bytes."""

    offset: int
    size: int


class Position(NamedTuple):
    """Mark a position between two fragments: byte offset, and the numbers of the next frame and fragment."""

    offset: int
    frame: int
    fragment: int


class Fragment(NamedTuple):
    """Describe one fragment, read or written: its place, its number (from 1) and the places of its frames.

    ``offsets`` and ``sizes`` are int64 arrays with one entry per frame. ``damage`` describes damage of its boxes, if
    any; the frames themselves are checked when they are read.
    """

    start: int
    end: int
    sequence: int
    first_frame: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    damage: str | None = None
    footed: bool = True
    """Whether its footer, the last bytes of a write, is in place."""
    listed: bool = True
    """Whether its frames are those that its ``moof`` lists; otherwise they were searched for, and there may be more."""
    covered: int = 0
    """The number of bytes from its start that its parity covers; 0 without parity."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.offsets)

    def part(self, first: int, stop: int) -> Fragment:
        """Return the fragment with only the frames from ``first`` to ``stop - 1``."""
        at = slice(first - self.first_frame, stop - self.first_frame)
        return Fragment(
            self.start,
            self.end,
            self.sequence,
            first,
            self.offsets[at],
            self.sizes[at],
            self.damage,
            self.footed,
            self.listed,
            self.covered,
        )

    def until(self, end: int) -> Fragment:
        """Return the fragment with another end."""
        return Fragment(
            self.start,
            end,
            self.sequence,
            self.first_frame,
            self.offsets,
            self.sizes,
            self.damage,
            self.footed,
            self.listed,
            self.covered,
        )

    def frames(self) -> Iterator[tuple[int, FramePosition]]:
        """Yield the number and place of each frame, in order."""
        for number, (offset, size) in enumerate(
            zip(self.offsets.tolist(), self.sizes.tolist(), strict=True), self.first_frame
        ):
            yield number, FramePosition(offset, size)


class TornTail(NamedTuple):
    """Describe the end of a file after an interrupted write or truncation.

    ``fragment`` has the frames that are left of the last fragment, if known.
    """

    start: int
    size: int
    fragment: Fragment | None = None


def frame_places(
    data: int, sizes: Sequence[int] | NDArray[np.int64], keys: Sequence[bool] | NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offset and size in bytes of each frame of a fragment whose first picture is at ``data``."""
    if len(sizes) <= FEW and all(keys):  # one picture per frame
        starts = list(accumulate(map(int, sizes), initial=data))
        return np.array(starts[:-1], np.int64), np.array(sizes, np.int64)
    ends = np.cumsum(np.asarray(sizes, np.int64))
    first = (ends - sizes)[np.asarray(keys, bool)]
    return data + first, np.diff(first, append=ends[-1:])
