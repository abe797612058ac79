"""VectorPictures: read the vectors of single rows directly from the video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memvid_core.journal import frames
from memvid_core.journal.frames import Flag, Kind
from memvid_core.video import PcmCodec, VideoFile

__all__ = ["VectorPictures"]


class VectorPictures:
    """Read bytes of a video, and find the matrix of vectors in a frame's payload.

    Args:
        video: A video in a file with the codec ``pcm``, whose samples are stored unchanged.
    """

    kind: int = Kind.VECTORS

    def __init__(self, video: VideoFile) -> None:
        self._video = video

    @staticmethod
    def of(video: VideoFile) -> VectorPictures | None:
        """Return the vectors of a video, or None if its samples are not stored unchanged in a file."""
        plain = isinstance(video.codec, PcmCodec) and video.descriptor is not None
        return VectorPictures(video) if plain else None

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at an offset of the file; fewer at its end."""
        return self._video.coded(offset, size)

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> NDArray[np.uint8]:
        """Read ``size`` bytes at each of up to 1,024 offsets; the result is valid until this thread's next call.

        Args:
            offsets: (n,) int64, byte offsets in the file; n at least 1.
            size: The number of bytes, at least 1.
            mapped: Whether the parts that are read may stay mapped into memory.

        Returns:
            (n, size) uint8; zeros beyond the end of the file.
        """
        return self._video.pieces(offsets, size, mapped=mapped)

    def stamp(self) -> tuple[int, int]:
        """Return a stamp that changes with the content of the file."""
        return self._video.stamp()

    def matrix(self, payload: bytes, number: int) -> tuple[int, int, int, str, int] | None:
        """Return first row, number of rows, dimension, dtype and byte offset of the matrix in a payload.

        Return None if the payload is not a matrix of consecutive rows in one frame.

        Raises:
            DamagedFrameError: If the payload is damaged.
        """
        header, body = frames.parse(payload, number)
        if header.kind != Kind.VECTORS or header.flags & (Flag.MORE | Flag.COMPRESSED):
            return None
        found = frames.matrix_place(header, body, number)
        return None if found is None else (header.row, header.items, *found[:2], frames.HEADER_BYTES + found[2])
