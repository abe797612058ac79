"""VectorPictures: the vectors of a journal as they lie in its video, for who reads single rows there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memvid_core.journal import frames
from memvid_core.journal.frames import Flag, Kind
from memvid_core.video import PcmCodec, VideoFile

__all__ = ["VectorPictures"]


class VectorPictures:
    """Bytes of a video, and where in a frame's payload the matrix of its vectors begins.

    Args:
        video: Coded as ``pcm``, and in a file: the samples of its pictures lie there as they are.
    """

    kind: int = Kind.VECTORS

    def __init__(self, video: VideoFile) -> None:
        self._video = video

    @staticmethod
    def of(video: VideoFile) -> VectorPictures | None:
        """Return the vectors of a video, if its samples lie in a file as they are."""
        plain = isinstance(video.codec, PcmCodec) and video.descriptor is not None
        return VectorPictures(video) if plain else None

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes from an offset of the file; fewer at its end."""
        return self._video.coded(offset, size)

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> NDArray[np.uint8]:
        """Read ``size`` bytes from each of up to 1,024 offsets; valid until this thread's next call.

        Args:
            offsets: (n,), n at least 1.
            size: At least 1.
            mapped: Whether the file may stay mapped, as far as it is read.

        Returns:
            (n, size) uint8; zeros behind the end of the file.
        """
        return self._video.pieces(offsets, size, mapped=mapped)

    def stamp(self) -> tuple[int, int]:
        """Return what tells one content of the file from the next."""
        return self._video.stamp()

    def matrix(self, payload: bytes, number: int) -> tuple[int, int, int, str, int] | None:
        """Return first row, rows, dimension, dtype and start of the matrix in a payload.

        None if it is no matrix of consecutive rows in one frame.

        Raises:
            DamagedFrameError: It is no payload of ours.
        """
        header, body = frames.parse(payload, number)
        if header.kind != Kind.VECTORS or header.flags & (Flag.MORE | Flag.COMPRESSED):
            return None
        found = frames.matrix_place(header, body, number)
        return None if found is None else (header.row, header.items, *found[:2], frames.HEADER_BYTES + found[2])
