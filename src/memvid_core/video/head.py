"""The head of a file, ``ftyp`` and ``moov``: read, or told from the pictures that come after it."""

from __future__ import annotations

from functools import partial

import numpy as np

from memvid_core.errors import NotAMemoryError
from memvid_core.video import mp4
from memvid_core.video.codec import CodedPictures, FrameCodec, guess_codec, recognise_codec
from memvid_core.video.file import ByteFile
from memvid_core.video.fragments import Found, Fragments
from memvid_core.video.read_ahead import ReadAhead

__all__ = ["guess_head", "read_head"]

_HEAD_LIMIT = 1 << 20  # a head of ours has 709 bytes; nothing larger is read into memory
_GUESS_LIMIT = 1 << 26  # where the first sound fragment of a file without a head is looked for
_GUESSED_FRAMES = 8
_MOOV_BOXES = frozenset({b"mvhd", b"trak", b"mvex", b"udta"})


def read_head(file: ByteFile) -> tuple[FrameCodec, int]:
    """The codec that the boxes at the start of the file name, and their size in bytes.

    Raises:
        NotAMemoryError: There are none, or none of a memory.
    """
    start = file.read(0, 8)
    if len(start) < 8 or start[4:] != b"ftyp":
        what = "is empty" if not start else "is not an MP4"
        raise NotAMemoryError(f"{file.path or 'the file'} {what}")
    data = file.read(0, _HEAD_LIMIT)
    found = {box.type: box for box in list(mp4.boxes(data))[:2]}
    if set(found) != {b"ftyp", b"moov"}:
        raise NotAMemoryError(f"{file.path or 'the file'} is cut short, or not an MP4 that carries a memory")
    moov = found[b"moov"]
    inner = list(mp4.boxes(data, moov.content, moov.end))
    if not inner or inner[-1].end != moov.end or not _MOOV_BOXES.issuperset(box.type for box in inner):
        raise NotAMemoryError(f"the head of {file.path or 'the file'} is damaged, or not one of a memory")
    entry = mp4.parse_sample_entry(data[: moov.end])
    codec = None if entry is None else recognise_codec(entry)
    if codec is None:
        raise NotAMemoryError(f"{file.path or 'the file'} is an MP4, but not one that carries a memory")
    return codec, moov.end


def guess_head(file: ByteFile) -> tuple[FrameCodec, int] | None:
    """The codec told from the first pictures that can be read, and where fragments may begin; None if none can.

    Every registered codec is asked.
    """
    size = file.size()
    fragments = Fragments(file, ReadAhead(file), one_picture=False)
    place = fragments.next_sound(0, min(size, _GUESS_LIMIT), size)
    while place is not None:
        found = fragments.sound(place, size)
        if found is None or found.footer is None:  # it may be of another kind of MP4
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
