"""The initialization segment of a file, ``ftyp`` and ``moov``: read, or determined from the pictures after it."""

from __future__ import annotations

from functools import partial

import numpy as np

from memvid_core.errors import NotAMemoryError
from memvid_core.video import mp4
from memvid_core.video.codec import CodedPictures, FrameCodec, guess_codec, recognize_codec
from memvid_core.video.file import ByteFile
from memvid_core.video.fragments import Found, Fragments
from memvid_core.video.read_ahead import ReadAhead

__all__ = ["guess_head", "read_head"]

_HEAD_READ = 1 << 12  # our heads have 709 bytes, and up to 3,000 about the memory
_HEAD_LIMIT = 1 << 20  # larger heads are not read into memory
_GUESS_LIMIT = 1 << 26  # range in which the first intact fragment of a file without a head is searched
_GUESSED_FRAMES = 8
_MOOV_BOXES = frozenset({b"mvhd", b"trak", b"mvex", b"udta"})


def read_head(file: ByteFile) -> tuple[FrameCodec, int]:
    """Return the codec that the boxes at the beginning of the file name, and their size in bytes.

    Raises:
        NotAMemoryError: The boxes are missing, or not those of a memory.
    """
    data = file.read(0, _HEAD_READ)
    if len(data) < 8 or data[4:8] != b"ftyp":
        what = "is empty" if not data else "is not an MP4"
        raise NotAMemoryError(f"{file.path or 'the file'} {what}")
    if len(list(mp4.boxes(data))) < 2:
        data = file.read(0, _HEAD_LIMIT)
    found = {box.type: box for box in list(mp4.boxes(data))[:2]}
    if set(found) != {b"ftyp", b"moov"}:
        raise NotAMemoryError(f"{file.path or 'the file'} is truncated, or an MP4 without a memory")
    moov = found[b"moov"]
    inner = list(mp4.boxes(data, moov.content, moov.end))
    if not inner or inner[-1].end != moov.end or not _MOOV_BOXES.issuperset(box.type for box in inner):
        raise NotAMemoryError(f"the head of {file.path or 'the file'} is damaged, or not that of a memory")
    entry = mp4.parse_sample_entry(data[: moov.end])
    codec = None if entry is None else recognize_codec(entry)
    if codec is None:
        raise NotAMemoryError(f"{file.path or 'the file'} is an MP4 without a memory")
    return codec, moov.end


def guess_head(file: ByteFile) -> tuple[FrameCodec, int] | None:
    """Determine the codec from the first readable pictures, and the offset of the fragments; return None if unknown.

    Tries every registered codec.
    """
    size = file.size()
    fragments = Fragments(file, ReadAhead(file), one_picture=False)
    place = fragments.next_sound(0, min(size, _GUESS_LIMIT), size)
    while place is not None:
        found = fragments.sound(place, size)
        if found is None or found.footer is None:  # it may belong to another kind of MP4
            place = fragments.next_sound(place + 1, min(size, _GUESS_LIMIT), size)
            continue
        sizes = np.asarray(found.sizes, np.int64)
        starts = (found.data + sizes.cumsum() - sizes).tolist()
        coded = [
            file.read(start, length)
            for start, length in list(zip(starts, sizes.tolist(), strict=True))[-_GUESSED_FRAMES:]
        ]
        pictures = CodedPictures(
            coded, found.first_picture + len(starts) - len(coded), all(found.keys), partial(_all, file, found)
        )
        codec = guess_codec(pictures)
        if codec is not None:
            return codec, min(place, len(codec.init_segment()))
        place = fragments.next_sound(place + 1, min(size, _GUESS_LIMIT), size)
    return None


def _all(file: ByteFile, found: Found) -> bytes:
    return file.read(found.data, int(np.sum(found.sizes)))
