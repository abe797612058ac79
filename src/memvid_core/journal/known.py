"""Known: what an index still says of a journal, for where a damaged file does not tell it any more."""

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
    """The places of frames with rows, and the rows that were deleted.

    A frame is believed where its checksum, which covers its number, is right: so old places do no harm.

    Args:
        commit: The last commit that was taken in.
        rows: How many rows there are after it.
        load: Returns the places, and the deleted rows with the commits that deleted them; called when they are needed.
    """

    def __init__(self, commit: int, rows: int, load: Callable[[], _Loaded]) -> None:
        self.commit = commit
        self.rows = rows
        self._load = load
        self._loaded: _Loaded | None = None

    def load(self) -> _Loaded:
        """Read it all, if that was not done yet."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def pieces(self, video: VideoFile, first: int, stop: int, without: Collection[int] = ()) -> list[Piece]:
        """Read the frames whose rows begin in [``first``, ``stop``), as far as they are where the index has them.

        Args:
            video: The file.
            first: The first row.
            stop: The row after the last.
            without: Numbers of frames that need not be read.
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
        """Return the rows below ``rows`` that the commits beyond ``after`` and up to ``upto`` deleted, ascending."""
        return sorted(row for commit, row in self.load()[1] if after < commit <= upto and row < rows)
