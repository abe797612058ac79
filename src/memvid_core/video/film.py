"""What a memory's film says about it: metadata in the head of the file, a title card, and pictures of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from memvid_core.video import drawing
from memvid_core.video.codec import FrameCodec
from memvid_core.video.mp4 import about_box
from memvid_core.video.pcm import PcmCodec
from memvid_core.video.preview import HELD, coded_picture, held_picture

__all__ = ["Film", "can_make", "film_of", "picture_of", "pictures_after", "shows_pictures"]

_CARD_BYTES: Final = 3_300  # of 4,000: the rest is for the frames that hold it, and what stands around them
_IMAGE_BYTES: Final = 8_300  # of 9,000
_MOST_NAME, _MOST_COMMENT = 120, 240  # characters
_COMMENT: Final = "A memory: texts that are searched by meaning and by words. Open it with memvid-core."


class Film(NamedTuple):
    """What a new file says about itself: the box in its head, and its title card as a slice, empty without one."""

    about: bytes
    card: bytes


def shows_pictures(codec: FrameCodec) -> bool:
    """Return whether files of this codec may have pictures: it is ``pcm``, and a frame has room for them."""
    return isinstance(codec, PcmCodec) and min(codec.size) >= drawing.LEAST_SIDE


def can_make(codec: FrameCodec) -> bool:
    """Return whether pictures for files of this codec can be made here, where Pillow may not be installed."""
    return shows_pictures(codec) and drawing.can_draw()


def film_of(title: str, description: str, facts: Sequence[str], codec: FrameCodec) -> Film:
    """Make what a new file says about itself.

    Args:
        title: The name of the memory.
        description: Its description; may be empty.
        facts: Further lines for the card, such as counts.
        codec: The codec of its pictures.
    """
    name = " ".join(title.split())[:_MOST_NAME] or "memory"
    about = " ".join(description.split())[:_MOST_COMMENT]
    comment = f"{about} - {_COMMENT}" if about else _COMMENT
    if not can_make(codec):
        return Film(about_box(name, comment), b"")
    card = drawing.title_card(name, [line for line in (about, *facts) if line], *codec.size)
    return Film(about_box(name, comment, drawing.cover(name)), coded_picture(card, None, _CARD_BYTES) or b"")


def picture_of(image: bytes, codec: FrameCodec) -> bytes | None:
    """Return an image file as a slice for the film; None if libx264 cannot code it.

    Raises:
        InvalidInputError: It is not an image, or has too many pixels.
    """
    return coded_picture(*drawing.fitted(image, *codec.size), _IMAGE_BYTES)


def pictures_after(codec: FrameCodec) -> list[bytes]:
    """Return the slices that keep a picture on the screen."""
    columns, rows = codec.size[0] // 16, codec.size[1] // 16
    return [held_picture(columns, rows, nth) for nth in range(1, HELD + 1)]
