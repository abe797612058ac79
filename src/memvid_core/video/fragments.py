"""Fragments in the bytes of a file: intact ones, and the marks of damaged ones.

Every value in a box is checked against the bytes of the file before it is used. The work is linear in the bytes read,
for any content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.video import mp4
from memvid_core.video.file import ByteFile
from memvid_core.video.parity import Patch
from memvid_core.video.positions import FEW
from memvid_core.video.read_ahead import ReadAhead

__all__ = ["Found", "Fragments"]

_MOOF_LIMIT = 1 << 26  # eight million pictures in one commit
_FIRST_READ = 1 << 12
_WINDOW = 1 << 20


class Found(NamedTuple):
    """Describe a fragment with a valid ``moof``.

    ``sizes`` and ``keys`` have one entry per picture; the first picture is at ``data``. ``end`` is the end of its
    footer, even if that is missing. ``footer`` holds the footer's values; ``framed`` says whether the ``mdat`` box
    matches the pictures. ``parity`` is the size of the parity box after the footer, 0 without one;
    ``sound_parity`` says whether it is intact. ``footer_lost`` says that the footer is damaged, and that its values are
    from other boxes.
    """

    start: int
    data: int
    end: int
    first_picture: int
    sizes: Sequence[int] | NDArray[np.int64]
    keys: Sequence[bool] | NDArray[np.bool_]
    footer: mp4.Footer | None
    framed: bool
    parity: int = 0
    sound_parity: bool = True
    footer_lost: bool = False


class Fragments:
    """Find the fragments in a file.

    Args:
        file: The file.
        ahead: The same, read from front to back.
        one_picture: Whether every picture begins a frame.
    """

    def __init__(self, file: ByteFile, ahead: ReadAhead, one_picture: bool) -> None:
        self._file = file
        self._ahead = ahead
        self._one_picture = one_picture

    def head(self, offset: int) -> mp4.FragmentHead | None:
        """Return the values in the fixed part of a ``moof`` at ``offset``, or None if there is none."""
        return None if offset < 0 else mp4.parse_moof(self._file.read(offset, mp4.MOOF_BYTES))

    def listed(self, offset: int, size: int) -> Found | None:
        """Return the fragment that the ``moof`` at ``offset`` describes, even if some of its bytes are missing."""
        start = self._ahead.read(offset, _FIRST_READ) if offset >= 0 else b""
        head = mp4.parse_moof(start)
        if head is None or head.size > min(_MOOF_LIMIT, size - offset):
            return None
        table = self._table(offset, head, start)
        if table is None or not (self._one_picture or table[1][0]):
            return None
        sizes, keys = table
        if self._one_picture:
            keys = [True] * len(sizes) if head.pictures <= FEW else np.ones(len(sizes), np.bool_)
        payload = sum(sizes) if head.pictures <= FEW else int(np.sum(sizes))
        data = offset + head.data_offset
        end = data + payload + mp4.FOOTER_BYTES
        mdat = mp4.mdat_header(payload)
        framed = head.data_offset - head.size == len(mdat) and self._read(data - len(mdat), len(mdat)) == mdat
        after = self._read(end - mp4.FOOTER_BYTES, mp4.FOOTER_BYTES + mp4.PARITY_BYTES) if end <= size else b""
        footer = mp4.parse_footer(after[: mp4.FOOTER_BYTES])
        if footer is not None and footer.size != end - offset:
            footer = None
        found = Found(offset, data, end, head.first_picture, sizes, keys, footer, framed)
        parity = mp4.parse_parity(after[mp4.FOOTER_BYTES :])
        if parity is None or parity.covered != end - offset or parity.size > size - end:
            return found
        if footer is None and self._one_picture:  # the parity was written after the footer
            found = found._replace(footer=mp4.Footer(head.first_picture, end - offset), footer_lost=True)
        fits = mp4.parity_fits(self._read(end, parity.size), parity)
        return found._replace(parity=parity.size, sound_parity=fits)

    def sound(self, offset: int, size: int) -> Found | None:
        """Return the fragment at ``offset`` if its ``moof`` is valid and matches ``mdat`` or footer."""
        found = self.listed(offset, size)
        return found if found is not None and found.end <= size and (found.footer or found.framed) else None

    def next_sound(self, start: int, stop: int, size: int, *, footed: bool = False) -> int | None:
        """Return the offset of the first intact fragment that begins in [``start``, ``stop``).

        Args:
            start: The first offset.
            stop: The end of the range.
            size: The size of the file in bytes.
            footed: Only consider fragments with a footer in place.
        """
        for place in self._marks(b"moof", 4, start, stop):
            found = self.sound(place, size)
            if found is not None and (found.footer or not footed):
                return place
        return None

    def footers(self, start: int, stop: int) -> Iterator[tuple[int, mp4.Footer]]:
        """Yield the end and the values of each footer in [``start``, ``stop``)."""
        for place in self._marks(mp4.FOOTER_MARK, 4, start, stop):
            footer = mp4.parse_footer(self._file.read(place, mp4.FOOTER_BYTES))
            if footer is not None and place + mp4.FOOTER_BYTES <= stop:
                yield place + mp4.FOOTER_BYTES, footer

    def table(self, offset: int, stop: int, patch: Patch) -> Found | None:
        """Return the fragment in [``offset``, ``stop``) that its boxes describe with a patch applied, or None."""
        head = mp4.parse_moof(patch.read(self._file, offset, mp4.MOOF_BYTES))
        if head is None or head.size > stop - offset or not self._one_picture:
            return None
        boxes = patch.read(self._file, offset, head.data_offset)
        entries = mp4.parse_entries(boxes[mp4.MOOF_BYTES : head.size])
        if entries is None:
            return None
        sizes, _ = entries
        payload = stop - offset - head.data_offset - mp4.FOOTER_BYTES
        if int(sizes.sum()) != payload or boxes[head.size :] != mp4.mdat_header(payload):
            return None
        footer = mp4.Footer(head.first_picture, stop - offset)
        keys = np.ones(len(sizes), np.bool_)
        return Found(offset, offset + head.data_offset, stop, head.first_picture, sizes, keys, footer, True)

    def parity_head(self, offset: int) -> mp4.Parity | None:
        """Return the values of the parity box at ``offset``; its contents are not checked."""
        return mp4.parse_parity(self._read(offset, mp4.PARITY_BYTES))

    def parity(self, offset: int, covered: int) -> mp4.Parity | None:
        """Return the values of the parity box at ``offset`` if it is intact, and of the ``covered`` bytes before it."""
        parity = mp4.parse_parity(self._read(offset, mp4.PARITY_BYTES))
        if parity is None or parity.covered != covered or not mp4.parity_fits(self._read(offset, parity.size), parity):
            return None
        return parity

    def heads(self, start: int, stop: int) -> Iterator[int]:
        """Yield the offset of each ``moof`` in [``start``, ``stop``) with a valid fixed part."""
        for place in self._marks(b"moof", 4, start, stop):
            if self.head(place) is not None:
                yield place

    def _read(self, offset: int, size: int) -> bytes:
        return self._ahead.peek(offset, size) if offset >= 0 else b""

    def _table(
        self, offset: int, head: mp4.FragmentHead, start: bytes
    ) -> tuple[Sequence[int] | NDArray[np.int64], Sequence[bool] | NDArray[np.bool_]] | None:
        """Return sizes and kinds of the pictures; reads growing parts, so that a false size does not cost memory."""
        if head.pictures <= FEW:
            return mp4.parse_few_entries(start[mp4.MOOF_BYTES : head.size], head.pictures)
        parts = []
        at, stop, chunk = mp4.MOOF_BYTES, head.size, _FIRST_READ
        data = start[at : min(stop, len(start) - (len(start) - at) % mp4.ENTRY_BYTES)]
        while True:
            entries = mp4.parse_entries(data)
            if entries is None or not data:
                return None
            parts.append(entries)
            at += len(data)
            if at >= stop:
                break
            chunk *= 2
            data = self._file.read(offset + at, min(chunk, stop - at))
            data = data[: len(data) - len(data) % mp4.ENTRY_BYTES]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([sizes for sizes, _ in parts]), np.concatenate([keys for _, keys in parts])

    def _marks(self, mark: bytes, before: int, start: int, stop: int) -> Iterator[int]:
        """Yield the places in [``start``, ``stop``) that are ``before`` bytes before a ``mark``."""
        for offset in range(start, stop, _WINDOW):
            window = self._file.read(offset, min(_WINDOW, stop - offset) + before + len(mark) - 1)
            at = window.find(mark, before)
            while at >= 0:
                yield offset + at - before
                at = window.find(mark, at + 1)
