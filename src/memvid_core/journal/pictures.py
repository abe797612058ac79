"""Pictures of records: found in the file before the frame that begins with the record."""

from __future__ import annotations

import re
from typing import Final

from memvid_core.errors import MemoryFileError
from memvid_core.journal import frames
from memvid_core.journal.frames import Kind
from memvid_core.model import FrameLocation
from memvid_core.video import VideoFile
from memvid_core.video.preview import HELD
from memvid_core.video.shown import MARK, coded_payload, coded_size

__all__ = ["picture_before"]

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
