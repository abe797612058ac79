"""The last commit of a file, found from a known one on, without reading records."""

from __future__ import annotations

from pathlib import Path

from memvid_core.video import Fragment, Position, VideoFile

__all__ = ["last_commit"]


def last_commit(path: Path, known: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the end of the last commit and the place of its COMMIT frame.

    Args:
        path: The file.
        known: What an earlier call returned for the same file, which has grown since.

    Returns:
        Byte offset, frame number and fragment number of the end, and the byte offset of the COMMIT frame of the last
        commit whose boxes are intact; 0 if there is none.

    Raises:
        NotAMemoryError: It is not an MP4 of a known codec.
    """
    with VideoFile.open(path) as video:
        end, proof = (video.start, 0) if known is None else (Position(*known[:3]), known[3])
        for found in video.walk(end):
            if not isinstance(found, Fragment):
                break
            end = video.end
            if found.damage is None and len(found):
                proof = int(found.offsets[-1])
    return (*end, proof)
