"""Pictures as the file has them: of records, before the frame that begins with the record, and the title card."""

from __future__ import annotations

import re
from typing import Final

from memvid_core.errors import MemoryFileError
from memvid_core.journal import frames
from memvid_core.journal.checking import head_checksum
from memvid_core.journal.frames import Kind
from memvid_core.model import FrameLocation
from memvid_core.video import TornTail, VideoFile
from memvid_core.video.film import Film
from memvid_core.video.preview import HELD
from memvid_core.video.shown import MARK, coded_payload, coded_size

__all__ = ["film_in", "picture_before"]

_SEARCHED: Final = 12_288  # bytes before a frame: more than a picture and the frames that hold it
_MARK: Final = re.compile(re.escape(MARK))


def picture_before(video: VideoFile, place: FrameLocation) -> bytes | None:
    """Return the slice that shows the first record of a frame, or None if the record has no picture.

    Args:
        video: The file.
        place: A frame with records.
    """
    start = max(0, place.offset - _SEARCHED)
    coded = video.coded(start, place.offset - start)
    marks = [match.start() for match in _MARK.finditer(coded)]
    if len(marks) <= HELD:
        return None
    at, number = marks[-1 - HELD], place.frame - 1 - HELD
    try:
        payload = coded_payload(coded[at - 4 : at - 4 + coded_size(coded, at)], number)
        header, body = frames.parse(payload, number)
    except MemoryFileError:
        return None
    shows = header.kind == Kind.PICTURE and header.items and header.row == place.row
    return bytes(body) if shows else None


def film_in(video: VideoFile, head: bytes) -> Film | None:
    """Return what a file says about itself, to be said by another one; None if it says nothing.

    What is damaged is left out.

    Args:
        video: The file.
        head: The checksum of its head in its header; empty if unknown.
    """
    intact = not video.head_damage and (not head or head == head_checksum(video))
    about = video.about if intact and video.title is not None else b""
    kept = Film(about, _title_card(video.again()))
    return kept if any(kept) else None


def _title_card(video: VideoFile) -> bytes:
    """Return the slice of the card, which is frame 0; damaged boxes may come before it."""
    for found in video.walk(video.start):
        if isinstance(found, TornTail):
            break
        number, place = next(found.frames(), (None, None))
        if number is None or place is None:
            continue
        if number:
            break
        try:
            header, body = frames.parse(video.read(0, place, found), 0)
        except MemoryFileError:
            break
        return bytes(body) if header.kind == Kind.PICTURE and header.items == 0 else b""
    return b""
