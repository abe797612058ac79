"""FrameRows: the locations of frames with records and vectors in the video, one table row per commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final

import msgspec
import xxhash

from memvid_core.catalog.tables import CHECKED, NAME, Tables
from memvid_core.errors import IndexStaleError
from memvid_core.model import FrameLocation

__all__ = ["FrameRows"]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[FrameLocation]).decode


class FrameRows(Tables):
    """The table of frames. The frames of a commit are packed into one row, keyed by the number of the first."""

    def add_frames(self, frames: Iterable[FrameLocation]) -> None:
        """Insert a commit's frames with records or vectors, ascending; call it inside a transaction."""
        placed = list(frames)
        if not placed:
            return
        places, first = _encode(placed), placed[0].frame
        self._writer.execute("INSERT INTO frames VALUES (?, ?, ?)", (first, places, _sum(first, places)))
        for kind in {frame.kind for frame in placed}:
            added = sum(frame.kind == kind and frame.items > 0 for frame in placed)
            self._count(f"frames {kind}", self._counted(f"frames {kind}") + added)

    def add_frames_of_many(self, commits: Iterable[Sequence[FrameLocation]]) -> None:
        """Insert the frames of many commits; call it inside a transaction."""
        placed = [frames for frames in commits if frames]
        rows = ((frames[0].frame, _encode(frames)) for frames in placed)
        self._writer.executemany(
            "INSERT INTO frames VALUES (?, ?, ?)", ((first, places, _sum(first, places)) for first, places in rows)
        )
        added: Counter[int] = Counter()
        for frame in chain.from_iterable(placed):
            added[frame.kind] += frame.items > 0
        for kind, count in added.items():
            self._count(f"frames {kind}", self._counted(f"frames {kind}") + count)

    def frames_after(self, kind: int, row: int, most: int | None = None) -> list[FrameLocation]:
        """Return the frames of a kind whose first row is greater than ``row``, in the order of their rows.

        If there are more than ``most``, stop with the first that is too many.
        """
        with self.snapshot(), CHECKED:
            found: list[FrameLocation] = []
            for frames in self._backwards(row):
                found += [frame for frame in frames if frame.kind == kind and frame.items > 0 and frame.row > row]
                if most is not None and len(found) > most:
                    return found
            found.sort(key=lambda frame: frame.row)
            if row < 0 and len(found) != self._counted(f"frames {kind}"):
                raise IndexStaleError(f"{NAME} has lost frames; rebuild it")
            return found

    def frames_with(self, kind: int, row: int) -> list[FrameLocation]:
        """Return the frames of a kind in the commit that contains ``row``, found by bisection; empty if none has it."""
        with self.snapshot(), self.reading() as connection, CHECKED:
            [[low, high]] = connection.execute("SELECT coalesce(min(first), 0), coalesce(max(first), -1) FROM frames")
            frames: list[FrameLocation] = []
            while low <= high:
                middle = (low + high) // 2
                found = connection.execute(
                    "SELECT first, places, sum FROM frames WHERE first <= ? ORDER BY first DESC LIMIT 1", (middle,)
                ).fetchone()
                if found is None:
                    raise IndexStaleError(f"{NAME} has lost frames; rebuild it")
                probed = _verified(found)
                if probed[0].row <= row:
                    frames, low = probed, middle + 1
                else:
                    high = min(middle, probed[0].frame) - 1
            kept = [frame for frame in frames if frame.kind == kind and frame.items > 0]
            return kept if kept and kept[0].row <= row < kept[-1].row + kept[-1].items else []

    def _backwards(self, row: int) -> Iterator[list[FrameLocation]]:
        """Yield the frames of each commit, newest first, down to the commit that contains ``row``."""
        with self.reading() as connection:
            for found in connection.execute("SELECT first, places, sum FROM frames ORDER BY first DESC"):
                frames = _verified(found)
                yield frames
                if frames[0].row <= row:
                    return

    def whole_frames(self) -> list[FrameLocation]:
        """Return every frame, ascending, without those in damaged table rows."""
        placed: list[FrameLocation] = []
        with self.reading() as connection, CHECKED:
            for found in connection.execute("SELECT first, places, sum FROM frames ORDER BY first"):
                with suppress(IndexStaleError):
                    placed += _verified(found)
        return placed

    def frame(self, number: int) -> FrameLocation | None:
        """Return the frame with a number, or None if it has neither records nor vectors."""
        with CHECKED:
            found = self._fetch(
                "SELECT first, places, sum FROM frames WHERE first <= ? ORDER BY first DESC LIMIT 1", (number,)
            )
            frames = _verified(found[0]) if found else []
            return next((frame for frame in frames if frame.frame == number), None)


def _sum(first: int, places: bytes) -> int:
    return xxhash.xxh32_intdigest(places, first & 0xFFFFFFFF)


def _verified(found: tuple[Any, ...]) -> list[FrameLocation]:
    first, places, check = found
    if _sum(first, places) != check:
        raise IndexStaleError(f"the frames in {NAME} are damaged; rebuild it")
    return _decode(places)
