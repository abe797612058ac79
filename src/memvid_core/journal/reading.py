"""Reading: parse the frames of a fragment once, and assemble them to commits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import xxhash

from memvid_core.errors import DamagedFrameError
from memvid_core.journal import frames
from memvid_core.journal.entries import CommitFrame
from memvid_core.journal.frames import FrameHeader, Kind
from memvid_core.video import Fragment, FramePosition, VideoFile
from memvid_core.video.codec import RepairingCodec

__all__ = ["LAST_TIME", "MOST_COMMITS", "Piece", "Reading", "believable", "piece_of", "readings"]

_COMMIT = int(Kind.COMMIT)
MOST_COMMITS = 1 << 48
LAST_TIME = 253_402_300_799_999_999  # microseconds: the last day that a datetime supports
_commit_decoder = msgspec.msgpack.Decoder(CommitFrame)


class Piece(NamedTuple):
    """One readable frame: its number, position, header and body, and the XXH3-64 of its payload."""

    number: int
    place: FramePosition
    header: FrameHeader
    body: memoryview
    digest: bytes


@dataclass(slots=True)
class Reading:
    """The frames of one commit as they were read.

    ``unread`` lists the unreadable frames as (number, reason); ``restored`` the numbers of damaged frames that the
    parity of the fragment has restored; ``commit`` is the COMMIT frame, if readable.
    """

    fragment: Fragment
    pieces: list[Piece] = field(default_factory=list)
    unread: list[tuple[int, str]] = field(default_factory=list)
    commit: CommitFrame | None = None
    restored: list[int] = field(default_factory=list)

    @property
    def digests(self) -> list[bytes]:
        """The checksums of all frames covered by the chain."""
        return [piece.digest for piece in self.pieces if piece.header.kind != _COMMIT]

    @property
    def whole(self) -> bool:
        """Whether every frame is readable, except perhaps the COMMIT frame."""
        last = self.fragment.first_frame + len(self.fragment) - 1
        return bool(self.pieces) and self.fragment.listed and all(number == last for number, _ in self.unread)

    @property
    def number(self) -> int | None:
        """The number of the commit in the headers of the frames; None without a readable frame."""
        if self.commit is not None:
            return self.commit.number
        found = next((piece.header.commit for piece in self.pieces), None)
        return found if found is not None and found < MOST_COMMITS else None

    def rows(self) -> tuple[int, int] | None:
        """Return the first row and the row after the last, from the headers of frames with rows; None without them."""
        spans = [
            (piece.header.row, piece.header.row + piece.header.items)
            for piece in self.pieces
            if piece.header.kind in (Kind.RECORDS, Kind.VECTORS)
        ]
        return (min(start for start, _ in spans), max(stop for _, stop in spans)) if spans else None


def piece_of(number: int, place: FramePosition, header: FrameHeader, body: memoryview, payload: bytes) -> Piece:
    """Create a piece from a frame that was read."""
    return Piece(number, place, header, body, xxhash.xxh3_64_digest(payload))


def readings(video: VideoFile, fragment: Fragment, rows: int) -> Iterator[Reading]:
    """Yield the commits in a fragment: one, or several if the boxes between them are damaged.

    Args:
        video: The file.
        fragment: The fragment with the frames.
        rows: The maximum plausible number of rows.
    """
    found = Reading(fragment)
    first, listed = fragment.first_frame, fragment.listed
    for number, place in fragment.frames():
        try:
            payload = video.read(number, place, fragment)
            header, body = frames.parse(payload, number)
        except DamagedFrameError as exc:
            found.unread.append((number, str(exc)))
            continue
        if video.repaired and number in video.repaired and not isinstance(video.codec, RepairingCodec):
            found.restored.append(number)
        piece = piece_of(number, place, header, body, payload)
        if not listed and found.pieces and header.commit != found.pieces[-1].header.commit:
            yield _part(found, first, number)
            first, found = number, Reading(fragment)
        found.pieces.append(piece)
        if header.kind != _COMMIT:
            continue
        found.commit = _commit(piece, rows)
        if found.commit is not None and not _counts(found.commit, fragment, number):
            found.commit = None
        if not listed:
            yield _part(found, first, number + 1)
            first, found = number + 1, Reading(fragment)
    if found.pieces or found.unread or first == fragment.first_frame:
        yield found if fragment.listed else _part(found, first, fragment.first_frame + len(fragment))


def _counts(commit: CommitFrame, fragment: Fragment, number: int) -> bool:
    """Return whether a COMMIT frame is the last frame and has the right number of frames."""
    if fragment.listed:
        return commit.frames == len(fragment) == number + 1 - fragment.first_frame
    return 0 < commit.frames <= number + 1


def _part(found: Reading, first: int, stop: int) -> Reading:
    """Limit a reading to the frames [``first``, ``stop``) of a damaged fragment, and note frames that are missing."""
    found.fragment = found.fragment.part(first, stop)
    if found.commit is not None:
        begin = stop - found.commit.frames
        known = {number for number, _ in found.unread} | {piece.number for piece in found.pieces}
        missing = stop - max(begin, 0) - len(known)
        if missing > 0 and begin < first:
            found.unread.insert(0, (begin, f"{missing} frames of its commit were not found"))
    return found


def _commit(piece: Piece, rows: int) -> CommitFrame | None:
    """Decode a COMMIT frame; return None if its numbers are not plausible."""
    try:
        commit = _commit_decoder.decode(piece.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return commit if believable(commit, rows) else None


def believable(commit: CommitFrame, rows: int) -> bool:
    """Return whether a commit's numbers are plausible for a file with at most ``rows`` rows."""
    return (
        0 <= commit.number < MOST_COMMITS
        and 0 <= commit.added <= commit.rows <= rows
        and 0 <= commit.deleted <= rows
        and 0 <= commit.time <= LAST_TIME
    )
