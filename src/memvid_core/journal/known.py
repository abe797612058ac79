"""Known: the knowledge of an index about a journal, for the repair of a damaged file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from memvid_core.errors import DamagedFrameError
from memvid_core.journal import frames
from memvid_core.journal.reading import Piece, piece_of
from memvid_core.model import FrameLocation
from memvid_core.video import FramePosition, VideoFile

__all__ = ["Known"]

_Loaded = tuple[Sequence[FrameLocation], Sequence[tuple[int, int]]]


class Known:
    """The locations of frames with rows, and the deleted rows.

    A frame is used only if its checksum, which covers its number, is right, so outdated locations do no harm.

    Args:
        commit: The last commit in the index.
        rows: The row count after it.
        load: Function that returns the locations, and (commit, row) of each deleted row; called when first needed.
    """

    def __init__(self, commit: int, rows: int, load: Callable[[], _Loaded]) -> None:
        self.commit = commit
        self.rows = rows
        self._load = load
        self._loaded: _Loaded | None = None

    def load(self) -> _Loaded:
        """Load the locations and deleted rows, once."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def pieces(self, video: VideoFile, first: int, stop: int, without: Collection[int] = ()) -> list[Piece]:
        """Read the frames with a first row in [``first``, ``stop``), as far as the locations are right.

        Args:
            video: The file.
            first: The first row.
            stop: The row after the last one.
            without: Numbers of frames to skip.
        """
        found: list[Piece] = []
        for place in self.load()[0]:
            if first <= place.row < stop and place.frame not in without:
                try:
                    payload = video.intact(place.frame, FramePosition(place.offset, place.size))
                    header, body = frames.parse(payload, place.frame)
                except DamagedFrameError:
                    continue
                if (header.kind, header.row) == (place.kind, place.row):
                    found.append(piece_of(place.frame, FramePosition(place.offset, place.size), header, body, payload))
        return sorted(found, key=lambda piece: piece.number)

    def deleted(self, after: int, upto: int, rows: int) -> list[int]:
        """Return the rows below ``rows`` that the commits in (``after``, ``upto``] deleted, ascending."""
        return sorted(row for commit, row in self.load()[1] if after < commit <= upto and row < rows)
