"""Walk: finds the fragments of a video file one after the other, and the frames in damaged ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError
from memvid_core.video import mp4
from memvid_core.video.byte_check import ByteCheck
from memvid_core.video.codec import FoundFrame, FrameCodec
from memvid_core.video.file import ByteFile
from memvid_core.video.fragments import Found, Fragments
from memvid_core.video.parity import patches, restored_frames
from memvid_core.video.positions import Fragment, Position, TornTail, frame_places

__all__ = ["Walk"]

_BOXES_LIMIT: Final = 1 << 20  # maximum size of the boxes before the frames that are restored, in bytes
_CUT: Final = "the file ends before the end of the fragment; later commits, if there were any, are missing"
_RESTORED: Final = "the boxes around its frames are damaged, and were restored from its parity"
_SALVAGE_LIMIT: Final = 1 << 28  # bytes of damage that are searched for frames
_LEAST_FRAME: Final = 64  # minimum size of a frame in bytes: bounds the number of frames in a gap
_MOST_FRAMES: Final = 1 << 40  # larger frame numbers in a box are treated as damage
_REST: Final = 1 << 12  # maximum size of a commit's last picture and footer, in bytes
_RECENT: Final = 4  # number of fragments after which frames may go on
_ASKED: Final = 3  # number of frames used to check a fragment's frame numbers


class Walk:
    """One walk over the fragments of a file.

    Damaged boxes are skipped: frames are found by the first bytes of their pictures, and the walk continues at the next
    intact fragment, with the number that this fragment records.

    Args:
        file: The bytes of the video.
        codec: The codec of the pictures.
        fragments: Finds fragments in the bytes.
        position: The position of the first fragment of the walk.
        check: What undamaged fragments are held against, if every byte counts.
        closing: The size in bytes of the box that follows every footer; 0 if a footer ends a fragment.
    """

    def __init__(
        self,
        file: ByteFile,
        codec: FrameCodec,
        fragments: Fragments,
        position: Position,
        check: ByteCheck | None = None,
        closing: int = 0,
    ) -> None:
        self._file = file
        self._codec = codec
        self._fragments = fragments
        self._check = check
        self._closing = closing
        self.end = position
        """The position after the fragment that was found last."""
        # Where frames may go on: fragments out of place raise ``end.frame``, and copies of earlier ones lower the last.
        self._next_frames = deque([position.frame], _RECENT)
        self._most_intact = self._most_found = position.frame  # after the frames of intact fragments, and of any

    def found(self, size: int) -> Iterator[Fragment | TornTail]:
        """Yield the fragments up to the byte offset ``size``, then the torn tail, if any."""
        certain = True  # whether the frame number is known, or damaged bytes may hide frames
        while self.end.offset < size:
            at = self.end
            found = self._fragments.sound(at.offset, size)
            if found is not None:
                numbered = self._numbered(found, at, certain)
                if found.footer is not None and not found.parity and size - found.end < self._closing:
                    start, end, sequence, first = numbered.start, size, numbered.sequence, numbered.first_frame
                    rest = Fragment(start, end, sequence, first, numbered.offsets, numbered.sizes, _CUT, footed=False)
                    yield TornTail(start, size - start, rest)
                    return
                fragment = self._step(numbered)
                if self._check is not None and fragment.damage is None:
                    self._check.fragment(found, fragment)
                yield fragment
                certain = self.end.frame == fragment.first_frame + len(fragment)  # not after a copy of an earlier one
                continue
            if late := self._late_parity(at):
                self.end = at._replace(offset=at.offset + late)
                continue
            certain = False
            after = self._fragments.next_sound(at.offset + 1, size, size)
            stop = after
            if stop is None:
                stop = at.offset
                for end, footer in self._fragments.footers(at.offset, size):
                    parity = self._fragments.parity(end, footer.size)
                    stop = max(stop, end + (parity.size if parity else 0))
            for fragment in self._damaged(at, stop):
                yield self._step(fragment)
            self.end = self.end._replace(offset=stop)
            if after is None and stop < size:
                yield TornTail(stop, size - stop, self._torn(self.end, size))
                return

    def _step(self, fragment: Fragment) -> Fragment:
        """Move ``end`` after a fragment; a copy of an earlier fragment does not decrease the numbers."""
        next_frame = fragment.first_frame + len(fragment)
        self.end = Position(fragment.end, max(self.end.frame, next_frame), fragment.sequence)
        if len(fragment):
            self._next_frames.append(next_frame)
        if fragment.damage in (None, _RESTORED):
            self._most_intact = max(self._most_intact, next_frame)
        return fragment

    def _firsts(self, *likely: int) -> Iterator[int]:
        """Yield the numbers that the next frame may have, the likely ones first."""
        yield from dict.fromkeys((*likely, self._most_intact, self._most_found, *reversed(self._next_frames)))

    def _numbered(self, found: Found, at: Position, certain: bool) -> Fragment:
        """Return an intact fragment with the frame number that its boxes and checksums agree on."""
        offsets, sizes = frame_places(found.data, found.sizes, found.keys)
        end, damage = found.end, None
        cut = found.footer is None
        if cut:  # the write was interrupted before the footer, or the file was truncated; another fragment follows
            stop = min(end + _REST, self._file.size())
            after = self._fragments.next_sound(found.data, stop, self._file.size(), footed=True)
            cut = after is None or not end - mp4.FOOTER_BYTES <= after < end
            end = after or end
        if cut or not found.framed:
            damage = "the boxes around its frames are damaged; its frames were found"
        first, doubt = self._first_frame(found, at.frame, certain, offsets, sizes)
        if cut:
            first, moved = self._move(offsets, sizes, first, found.data, end if after else stop)
            if after is None:
                end = max(end, moved)
            elif not moved and found.end < after:  # its frames are in place; what follows is another fragment
                end = found.end
        covered, after = 0, None
        if found.sound_parity:
            covered = found.end - found.start if found.parity else 0
        else:
            damage = damage or "its parity is damaged"
            after = self._fragments.next_sound(end, end + found.parity, self._file.size())  # bytes may be missing
        end = end + found.parity if after is None else after
        footed = found.footer is not None
        return Fragment(
            found.start, end, at.fragment + 1, first, offsets, sizes, damage or doubt, footed, covered=covered
        )

    def _move(
        self, offsets: NDArray[np.int64], sizes: NDArray[np.int64], first: int, start: int, end: int
    ) -> tuple[int, int]:
        """Correct the locations of frames that inserted or missing bytes have shifted.

        Returns:
            The number of the first frame, and the byte offset after the last corrected frame; 0 if there is none.
        """
        last = 0
        coded = self._file.read(start, min(end - start, _SALVAGE_LIMIT))
        begin, places = self._look(coded, len(offsets), first)
        first = begin if places else first
        for number, offset, size in places:
            if offsets[number - first] != start + offset:
                offsets[number - first], sizes[number - first] = start + offset, size
                last = max(last, start + offset + size)
        return first, last

    def _first_frame(
        self, found: Found, own: int, certain: bool, offsets: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> tuple[int, str | None]:
        """Return the number of a fragment's first frame, and the damage of the boxes that record it."""
        said = [found.first_picture] if self._codec.one_picture else []
        if found.footer is not None:
            said.append(found.footer.first_frame)
        if not said and not certain:
            return next((number for number in self._firsts(own) if self._answers(number, offsets, sizes)), own), None
        if all(number == own for number in said):
            return own, None
        wrong = "its decode time or footer is damaged; its frames were found"
        agreed = said[0] if len(said) == 2 and said[0] == said[1] and said[0] < _MOST_FRAMES else None
        if agreed is not None and not certain and agreed >= own:
            return agreed, None
        for number in [*said, own]:
            if number < _MOST_FRAMES and self._answers(number, offsets, sizes):
                return number, None if agreed == number or said == [number] else wrong
        if certain or agreed is None:
            return own, wrong
        return agreed, None

    def _look(self, coded: bytes, count: int, *likely: int) -> tuple[int, list[FoundFrame]]:
        """Look for up to ``count`` frames, and return the number of the first, and those that were found.

        They have the likely numbers, or else those of which most are found: among moved bytes may be copies of others.
        """
        most: tuple[int, list[FoundFrame]] = (likely[0], [])
        for begin in self._firsts(*likely):
            places = self._codec.find(coded, begin, begin + count)
            if places and begin in likely:
                return begin, places
            if len(places) > len(most[1]):
                most = begin, places
        return most

    def _answers(self, first: int, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> bool:
        """Return whether the checksum of any frame matches its number, counted from ``first``."""
        count = len(offsets)
        for i in dict.fromkeys([*range(count)[-1:], *range(min(_ASKED, count))]):
            try:
                self._codec.decode(self._file.read(int(offsets[i]), int(sizes[i])), first + i)
            except DamagedFrameError:
                continue
            return True
        return False

    def _damaged(self, at: Position, stop: int) -> Iterator[Fragment]:
        """Yield the remains in [``at``, ``stop``), split where boxes mark the beginning or end of a fragment."""
        cuts = {stop}
        footers: dict[int, mp4.Footer] = {}
        for end, footer in self._fragments.footers(at.offset, stop):
            footers[end] = footer
            # A footer without the beginning of its fragment still shows that the fragment existed.
            begin = end - footer.size if footer.size <= end - at.offset else end - mp4.FOOTER_BYTES
            cuts.update(cut for cut in (end, begin) if at.offset < cut <= stop)
        cuts.update(place for place in self._fragments.heads(at.offset + 1, stop))
        start, frame, sequence = at.offset, at.frame, at.fragment
        for cut in sorted(cuts):
            if cut <= start:
                continue
            here, last = Position(start, frame, sequence), footers.get(cut)
            parity = None if last is None else self._fragments.parity(cut, last.size)
            found = None
            if parity is not None and parity.covered == cut - start:
                found = self._restored(here, parity)
            if found is None:
                found = self._searched(here, cut, last)
            if len(found) or not self._is_rest(at, cut, last):
                yield found if parity is None else found.until(cut + parity.size)
            start = cut + (parity.size if parity else 0)
            frame, sequence = max(frame, found.first_frame + len(found)), found.sequence

    def _late_parity(self, at: Position) -> int:
        """Return the size of a parity at ``at`` that was written after the fragment before it was taken in; else 0."""
        head = self._fragments.parity_head(at.offset)
        if head is None or head.covered > at.offset:
            return 0
        before = self._fragments.listed(at.offset - head.covered, at.offset + head.size)
        return before.parity if before is not None and before.end == at.offset and before.sound_parity else 0

    def _is_rest(self, at: Position, end: int, footer: mp4.Footer | None) -> bool:
        """Return whether the bytes after ``at`` end a fragment that was taken in before its footer was written."""
        size = end - at.offset
        if footer is None or size >= min(footer.size, _REST) or footer.first_frame >= at.frame:
            return False
        fragment = self._fragments.listed(end - footer.size, end)
        return fragment is not None and fragment.end == end

    def _restored(self, at: Position, parity: mp4.Parity) -> Fragment | None:
        """Return a fragment of which only the boxes are damaged, with the table of frames that its parity restores."""
        stop = at.offset + parity.covered
        limit = min(stop, at.offset + _BOXES_LIMIT)
        for patch in patches(self._file, at.offset, parity, at.offset, limit):
            table = self._fragments.table(at.offset, stop, patch)
            if table is None:
                continue
            offsets, sizes = frame_places(table.data, table.sizes, table.keys)
            there = Fragment(
                at.offset, stop, at.fragment + 1, table.first_picture, offsets, sizes, _RESTORED, covered=parity.covered
            )
            if restored_frames(self._file, self._codec, there, patch) is not None:
                return there
        return None

    def _searched(self, at: Position, end: int, footer: mp4.Footer | None) -> Fragment:
        """Search a part of the file with damaged boxes for frames."""
        size = end - at.offset
        first = at.frame
        if footer is not None and footer.size == size and first <= footer.first_frame < first + _MOST_FRAMES:
            first = footer.first_frame
        coded = self._file.read(at.offset, min(size, _SALVAGE_LIMIT))
        _, places = self._look(coded, size // _LEAST_FRAME + 1, first, at.frame)
        if places:
            self._most_found = max(self._most_found, places[-1][0] + 1)
            first = min(first, places[0][0]) if footer is not None else places[0][0]
        damage = (
            "its boxes are damaged; frames were looked for one by one"
            if places
            else (f"{size} bytes in which no frame can be read")
        )
        count = places[-1][0] + 1 - first if places else 0
        # A frame that is not there has the place of its fragment, whose redundancy may have it.
        offsets, sizes = np.full(count, at.offset, np.int64), np.zeros(count, np.int64)
        for number, offset, length in places:
            offsets[number - first], sizes[number - first] = at.offset + offset, length
        footed = footer is not None
        return Fragment(at.offset, end, at.fragment + 1, first, offsets, sizes, damage, footed, listed=False)

    def _torn(self, at: Position, size: int) -> Fragment | None:
        """Return the frames in the tail of the file of a fragment that is incomplete."""
        found = self._fragments.listed(at.offset, size)
        if found is None:
            searched = self._searched(at, size, None)
            return searched if len(searched) else None
        offsets, sizes = frame_places(found.data, found.sizes, found.keys)
        there = offsets < size
        first, _ = self._first_frame(found, at.frame, True, offsets[there], sizes[there])
        listed = bool(there.all())
        return Fragment(
            at.offset, size, at.fragment + 1, first, offsets[there], sizes[there], _CUT, footed=False, listed=listed
        )
