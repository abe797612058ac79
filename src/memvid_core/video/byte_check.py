"""ByteCheck: compares the bytes around payloads with those that a writer makes of the same contents."""

from __future__ import annotations

from typing import Final, NamedTuple

from memvid_core.video import mp4
from memvid_core.video.file import ByteFile
from memvid_core.video.fragments import Found
from memvid_core.video.parity import difference
from memvid_core.video.positions import Fragment
from memvid_core.video.read_ahead import ReadAhead

__all__ = ["ByteCheck", "Changed"]

_BOXES: Final = "bits of the boxes around its frames have changed, outside of its contents"
_PICTURE: Final = "bits of its picture have changed, outside of its contents"
_PICTURES: Final = "bits have changed: its checksum does not match"
_NO_CHECKSUM: Final = "its checksum is missing"


class Changed(NamedTuple):
    """Describe bytes that differ from those that were written: the frame, None for boxes, and the reason."""

    frame: int | None
    reason: str


class ByteCheck:
    """Compare each byte of a walk that no checksum covers with the byte that a writer makes of what was read.

    A frame's checksum covers its payload. The payloads determine pictures, boxes and footers around them, except the
    numbers of fragments and pictures, which continue those of the fragment before. Pictures that another encoder may
    make differently have a checksum of all bytes of the fragment.

    Args:
        file: The file.
        ahead: The same, read from front to back.
        one_picture: Whether every frame is one picture, which the payload determines.
    """

    def __init__(self, file: ByteFile, ahead: ReadAhead, one_picture: bool) -> None:
        self.changed: list[Changed] = []
        """What was found; a caller may remove it."""
        self.checksum_expected = False
        """Whether every fragment of pictures that cannot be made again has a checksum."""
        self._file = file
        self._ahead = ahead
        self._one_picture = one_picture
        self.begin(-1)

    def begin(self, offset: int) -> None:
        """Set the offset of the first fragment of the file."""
        self._offset = offset  # of the next fragment, unless damaged bytes are between
        self._sequence = self._likely = 1  # its number; if the one before has a wrong one, it may continue either
        self._picture = 0  # the number of its first picture

    def fragment(self, found: Found, fragment: Fragment) -> None:
        """Check the boxes of an undamaged fragment, and its checksum if its pictures cannot be made again."""
        start, count = found.start, len(found.sizes)
        moof = self._ahead.peek(start, mp4.MOOF_BYTES + mp4.ENTRY_BYTES * count)
        sequence = mp4.sequence_of(moof)
        if self._offset != start:  # damaged bytes before hide the numbers
            self._sequence = self._likely = sequence or 1
            self._picture = found.first_picture
        picture = fragment.first_frame if self._one_picture else self._picture
        if (
            (sequence != self._sequence and sequence != self._likely)
            or found.first_picture != picture
            or found.footer is None
            or found.footer.first_frame != fragment.first_frame
            or found.footer_lost
            or (self._one_picture and not mp4.only_keys(moof, count))
        ):
            self.changed.append(Changed(None, _BOXES))
        if not self._one_picture:
            self._compare(found)
        self._offset = fragment.end
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._likely = self._sequence if sequence is None else (sequence + 1) & 0xFFFFFFFF
        self._picture = picture + count

    def _compare(self, found: Found) -> None:
        parity = mp4.parse_parity(self._file.read(found.end, mp4.PARITY_BYTES)) if found.parity else None
        if parity is None:
            if self.checksum_expected:
                self.changed.append(Changed(None, _NO_CHECKSUM))
        elif difference(self._file, found.start, parity).any():
            self.changed.append(Changed(None, _PICTURES))

    def picture(self, number: int) -> None:
        """Record that the picture of a frame differs from the one that its payload makes."""
        self.changed.append(Changed(number, _PICTURE))
