"""VideoFile: an append-only fragmented MP4 file with a payload in each frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, count
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, MemoryExistsError, MemvidError
from memvid_core.video import mp4
from memvid_core.video.codec import FrameCodec, RepairingCodec
from memvid_core.video.file import ByteFile
from memvid_core.video.fragments import FEW, Found, Fragments
from memvid_core.video.head import guess_head, read_head
from memvid_core.video.read_ahead import ReadAhead

__all__ = ["Fragment", "FramePosition", "Position", "TornTail", "VideoFile"]

_SALVAGE_LIMIT = 1 << 28  # bytes of damage that are searched for frames
_LEAST_FRAME = 64  # minimum size of a frame in bytes: bounds the number of frames in a gap
_MOST_FRAMES = 1 << 40  # larger frame numbers in a box are treated as damage
_BLOCK = 512  # minimum size of a disk write, in bytes
_COPIED = 1 << 20
_REST = 1 << 12  # maximum size of a commit's last picture and footer, in bytes
_ASKED = 3  # number of frames used to check a fragment's frame numbers


class FramePosition(NamedTuple):
    """Locate the coded pictures of a frame: offset and size in bytes."""

    offset: int
    size: int


class Position(NamedTuple):
    """Mark a position between two fragments: byte offset, and the numbers of the next frame and fragment."""

    offset: int
    frame: int
    fragment: int


class Fragment(NamedTuple):
    """Describe one fragment, read or written: its place, its number (from 1) and the places of its frames.

    ``offsets`` and ``sizes`` are int64 arrays with one entry per frame. ``damage`` describes damage of its boxes, if
    any; the frames themselves are checked when they are read.
    """

    start: int
    end: int
    sequence: int
    first_frame: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    damage: str | None = None
    footed: bool = True
    """Whether its footer, the last bytes of a write, is in place."""
    listed: bool = True
    """Whether its frames are those that its ``moof`` lists; otherwise they were searched for, and there may be more."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.offsets)

    def part(self, first: int, stop: int) -> Fragment:
        """Return the fragment with only the frames from ``first`` to ``stop - 1``."""
        at = slice(first - self.first_frame, stop - self.first_frame)
        return Fragment(
            self.start,
            self.end,
            self.sequence,
            first,
            self.offsets[at],
            self.sizes[at],
            self.damage,
            self.footed,
            self.listed,
        )

    def frames(self) -> Iterator[tuple[int, FramePosition]]:
        """Yield the number and place of each frame, in order."""
        for number, (offset, size) in enumerate(
            zip(self.offsets.tolist(), self.sizes.tolist(), strict=True), self.first_frame
        ):
            yield number, FramePosition(offset, size)


class TornTail(NamedTuple):
    """Describe the end of a file after an interrupted write or truncation.

    ``fragment`` has the frames that are left of the last fragment, if known.
    """

    start: int
    size: int
    fragment: Fragment | None = None


class VideoFile:
    """A video of fragments; each fragment is appended completely.

    Frames are located by walking the fragments, or by positions that the caller stored. FFmpeg only decodes single
    pictures; it never parses the file.

    Example:
        >>> import io
        >>> from memvid_core.video import PcmCodec
        >>> video = VideoFile.create(io.BytesIO(), PcmCodec())
        >>> fragment = video.append([b"one", b"two"])
        >>> [video.read(number, place) for number, place in fragment.frames()]
        [b'one', b'two']
        >>> [payload for _, payload in video]
        [b'one', b'two']
    """

    def __init__(self, file: ByteFile, codec: FrameCodec, head_size: int, head_damage: str | None = None) -> None:
        self._file = file
        self.head_damage = head_damage
        """The damage of the boxes at the beginning of the file, if any."""
        self._ahead = ReadAhead(file)
        self._fragments = Fragments(file, self._ahead, codec.one_picture)
        self.codec = codec
        self.head_size = head_size
        self.end = Position(head_size, 0, 0)
        """The position of the next fragment, as far as it is known to this object."""
        self.repaired: set[int] = set()
        """The numbers of frames that were read with the redundancy of their fragment."""
        self._rebuilt: tuple[int, int, dict[int, bytes]] = (
            0,
            0,
            {},
        )  # start, end, payloads of the fragment repaired last
        self._pictures = (head_size, 0)  # the number of the first picture at this offset

    @classmethod
    def create(cls, target: str | os.PathLike[str] | BinaryIO, codec: FrameCodec) -> Self:
        """Create a video without frames, which players can open.

        Raises:
            MemoryExistsError: The path exists.
            MemoryNotFoundError: The folder does not exist.
        """
        head = codec.init_segment()
        file = ByteFile(target, "x")
        try:
            file.write(0, [head])
        except BaseException:
            file.close()
            if file.path is not None:
                file.path.unlink(missing_ok=True)
            raise
        return cls(file, codec, len(head))

    @classmethod
    def open(cls, target: str | os.PathLike[str] | BinaryIO, mode: str = "r") -> Self:
        """Open an existing video, for reading (``"r"``) or appending (``"a"``).

        Raises:
            MemoryNotFoundError: The file does not exist.
            NotAMemoryError: The file is not an MP4, or was not written by a known codec.
        """
        file = ByteFile(target, mode)
        try:
            try:
                codec, size = read_head(file)
                return cls(file, codec, size)
            except MemvidError as exc:
                guessed = guess_head(file)
                if guessed is None:
                    raise
                codec, size = guessed
                return cls(file, codec, size, f"the head of the file is damaged and was reconstructed ({exc})")
        except BaseException:
            file.close()
            raise

    def guess_codec(self) -> bool:
        """Determine the codec from the pictures if the one in the head cannot read them; return whether it changed."""
        guessed = guess_head(self._file)
        if guessed is None or guessed[0] == self.codec:
            return False
        self.codec, self.head_size = guessed
        self.head_damage = "the head of the file is damaged: its codec does not match the pictures"
        self._fragments = Fragments(self._file, self._ahead, self.codec.one_picture)
        self._pictures = (self.head_size, 0)
        return True

    def again(self) -> VideoFile:
        """Return a second VideoFile on the same open file, for an independent walk; closing either closes the file."""
        return VideoFile(self._file, self.codec, self.head_size, self.head_damage)

    @property
    def start(self) -> Position:
        """The position of the first fragment."""
        return Position(self.head_size, 0, 0)

    @property
    def target(self) -> Path | BinaryIO:
        """The path, or the file object, of this video."""
        return self._file.target

    def size(self) -> int:
        """Return the current size of the file, in bytes."""
        return self._file.size()

    @property
    def descriptor(self) -> int | None:
        """The open file's descriptor; None for a file object."""
        return self._file.descriptor

    def stamp(self) -> tuple[int, int]:
        """Return size and modification time of the file; they differ if its contents differ."""
        return self._file.stamp()

    def unchanged(self, stamp: tuple[int, int] | None) -> bool:
        """Return whether the path still names the open file and its contents have this stamp; False if unknown."""
        return self._file.unchanged(stamp)

    def defer_sync(self, deferred: bool) -> None:
        """Set whether fragments become durable only by :meth:`sync`, as in a file that is not yet visible to others."""
        self._file.defer_sync(deferred)

    def sync(self) -> None:
        """Make all appended fragments durable."""
        self._file.sync()

    def renamed(self, path: Path) -> None:
        """Record the new path of the open file."""
        self._file.renamed(path)

    def reopen(self) -> None:
        """Reopen the file after it was closed to be renamed."""
        self._file.reopen()

    def gone(self) -> bool:
        """Return whether the file was deleted or renamed since it was opened."""
        return self._file.gone()

    def replaced(self) -> bool:
        """Return whether another file replaced the one at the path since this one was opened."""
        return self._file.replaced()

    def resume(self, end: Position) -> None:
        """Continue from ``end``, a position that an earlier walk reached, without walking again."""
        self.end = end

    def append(self, payloads: Iterable[bytes]) -> Fragment:
        """Append one fragment with a frame for each payload, durable on return. Removes any bytes after ``end`` first.

        Raises:
            CodecError: A payload is too large for a frame.
            StorageError: The write failed; the file is unchanged.
        """
        at = self.end
        samples = self.codec.encode(payloads, at.frame)
        picture = self._next_picture(at)
        parts = mp4.fragment(samples, at.fragment + 1, picture, at.frame)
        self._file.write(at.offset, parts)
        offsets, sizes = _frames(
            at.offset + len(parts[0]) + len(parts[1]), [len(data) for data, _ in samples], [key for _, key in samples]
        )
        end = at.offset + sum(map(len, parts))
        self.end = Position(end, at.frame + len(offsets), at.fragment + 1)
        self._pictures = (end, picture + len(samples))
        return Fragment(at.offset, end, at.fragment + 1, at.frame, offsets, sizes)

    def _next_picture(self, at: Position) -> int:
        """Return the number of the first picture of a fragment at ``at``."""
        if self.codec.one_picture:
            return at.frame
        if at.offset == self.head_size:
            return 0
        if self._pictures[0] != at.offset:
            footer = mp4.parse_footer(self._file.read(at.offset - mp4.FOOTER_BYTES, mp4.FOOTER_BYTES))
            start = at.offset - (footer.size if footer else 0)
            head = self._fragments.head(start) if footer and self.head_size <= start < at.offset else None
            # If the previous fragment is damaged, take a number above all possible pictures: time must not decrease.
            picture = head.first_picture + head.pictures if head else at.frame * 10_000
            self._pictures = (at.offset, min(picture, 1 << 62))
        return self._pictures[1]

    def coded(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes of the file at ``offset``; fewer only at its end."""
        return self._file.read(offset, size)

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> NDArray[np.uint8]:
        """Read ``size`` bytes of the file from each of up to 1,024 offsets: (n, size) uint8, zeros behind its end.

        Args:
            offsets: (n,), n at least 1.
            size: At least 1.
            mapped: Whether the file may stay mapped, as far as it is read.

        Returns:
            An array that is valid until this thread's read failed.
        """
        return self._file.pieces(offsets, size, mapped=mapped)

    def read(self, number: int, place: FramePosition, fragment: Fragment | None = None) -> bytes:
        """Return the payload of frame ``number``, with one positional read and one decode.

        Args:
            number: The number of the frame.
            place: The location of its pictures.
            fragment: The fragment of the frame, if it is read in a walk; its redundancy is used if decoding fails.

        Raises:
            DamagedFrameError: The bytes have changed since they were written.
        """
        try:
            return self._intact(self._file if fragment is None else self._ahead, number, place)
        except DamagedFrameError:
            payload = self._repair(number, place, fragment)
            if payload is None:
                raise
            return payload

    def intact(self, number: int, place: FramePosition) -> bytes:
        """Return the payload of frame ``number`` if it is undamaged at ``place``, without repairing it from redundancy.

        Raises:
            DamagedFrameError: The bytes there are not what was written.
        """
        return self._intact(self._file, number, place)

    def _intact(self, file: ByteFile | ReadAhead, number: int, place: FramePosition) -> bytes:
        coded = file.read(place.offset, place.size)
        if len(coded) != place.size:
            raise DamagedFrameError(number, f"the file ends {place.size - len(coded)} bytes before it does")
        return self.codec.decode(coded, number)

    def _repair(self, number: int, place: FramePosition, fragment: Fragment | None) -> bytes | None:
        """Return the payload of a frame that cannot be decoded, rebuilt from its fragment's redundancy."""
        if not isinstance(self.codec, RepairingCodec):
            return None
        if fragment is not None:
            if self._rebuilt[:2] != (fragment.start, fragment.end):
                self._rebuild(fragment)
        elif not self._rebuilt[0] <= place.offset < self._rebuilt[1]:
            # The caller may be walking; do not change ``end``.
            for found in self.again().walk(self.start):
                if isinstance(found, Fragment) and found.start <= place.offset < found.end:
                    self._rebuild(found)
                    break
        payload = self._rebuilt[2].get(number)
        if payload is not None:
            self.repaired.add(number)
        return payload

    def _rebuild(self, fragment: Fragment) -> None:
        """Rebuild the frames of a fragment that cannot be decoded, for the following reads."""
        if isinstance(self.codec, RepairingCodec):
            coded = [self._file.read(where.offset, where.size) for _, where in fragment.frames()]
            self._rebuilt = (fragment.start, fragment.end, self.codec.repair(coded, fragment.first_frame))

    def unwritten(self, fragment: Fragment) -> bool:
        """Return whether a disk block of a fragment is all zeros, as a block that was never written is.

        Pictures do not contain that many zeros in a row.
        """
        step = _BLOCK << 11
        for start in range(fragment.start - fragment.start % step, fragment.end, step):
            begin, stop = max(start, fragment.start), min(start + step, fragment.end)
            data = self._file.read(begin, stop - begin)
            padded = data.rjust(len(data) + begin % _BLOCK, b"\x01" if begin % _BLOCK > _BLOCK - 4 else b"\0")
            padded = padded.ljust(-(-len(padded) // _BLOCK) * _BLOCK, b"\x01" if len(padded) % _BLOCK < 4 else b"\0")
            if not np.frombuffer(padded, np.uint8).reshape(-1, _BLOCK).any(axis=1).all():
                return True
        return False

    def set_aside(self, tail: TornTail, head: int) -> Path | None:
        """Copy a torn tail to a new file next to this one; return its path, or None for a file object.

        Args:
            tail: What to copy.
            head: How many bytes of the beginning of the file go before it, so that the copy can be read by itself.

        Raises:
            StorageError: The copy failed.
        """
        path = self._file.path
        if path is None:
            return None
        for n in count(1):
            target = path.with_name(f"{path.name}.torn-{n}")
            try:
                made = ByteFile(target, "x")
            except MemoryExistsError:
                continue
            try:
                stop = tail.start + tail.size
                parts = (self._file.read(at, min(_COPIED, stop - at)) for at in range(tail.start, stop, _COPIED))
                made.write(0, chain([self._file.read(0, min(head, tail.start))], parts))
            except BaseException:
                made.close()
                target.unlink(missing_ok=True)
                raise
            made.close()
            return target
        return None  # pragma: no cover - there is always a next number

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and payload of every frame, in order, reading sequentially.

        Raises:
            DamagedFrameError: At the first damaged frame.
        """
        for found in self.walk(self.start):
            if isinstance(found, Fragment):
                yield from self.read_fragment(found)

    def read_fragment(self, fragment: Fragment) -> Iterator[tuple[int, bytes]]:
        """Yield the number and payload of each frame of ``fragment``, in order."""
        for number, place in fragment.frames():
            yield number, self.read(number, place)

    def frames(self) -> Iterator[tuple[int, FramePosition]]:
        """Yield the number and place of every frame in the file, in order."""
        for found in self.walk(self.start):
            if isinstance(found, Fragment):
                yield from found.frames()

    def walk(self, position: Position) -> Iterator[Fragment | TornTail]:
        """Yield the fragments from ``position`` to the end of the file, then the torn tail, if any.

        Damaged boxes are skipped: frames are found by the first bytes of their pictures, and the walk continues at the
            next intact fragment, with the number that this fragment records. ``end`` follows the walk.
        """
        self._ahead.forget()
        try:
            yield from self._walk(position, self.size())
        finally:
            self._ahead.forget()

    def _walk(self, position: Position, size: int) -> Iterator[Fragment | TornTail]:
        self.end = position
        certain = True  # whether the frame number is known, or damaged bytes may hide frames
        while self.end.offset < size:
            at = self.end
            found = self._fragments.sound(at.offset, size)
            if found is not None:
                yield self._step(self._numbered(found, at, certain))
                certain = True
                continue
            certain = False
            after = self._fragments.next_sound(at.offset + 1, size, size)
            stop = after
            if stop is None:
                stop = max((end for end, _ in self._fragments.footers(at.offset, size)), default=at.offset)
            for fragment in self._damaged(at, stop):
                yield self._step(fragment)
            self.end = self.end._replace(offset=stop)
            if after is None and stop < size:
                yield TornTail(stop, size - stop, self._torn(self.end, size))
                return

    def _step(self, fragment: Fragment) -> Fragment:
        """Move ``end`` after a fragment; a copy of an earlier fragment does not decrease the numbers."""
        frame = max(self.end.frame, fragment.first_frame + len(fragment))
        self.end = Position(fragment.end, frame, fragment.sequence)
        return fragment

    def _numbered(self, found: Found, at: Position, certain: bool) -> Fragment:
        """Return an intact fragment with the frame number that its boxes and checksums agree on."""
        offsets, sizes = _frames(found.data, found.sizes, found.keys)
        end, damage = found.end, None
        cut = found.footer is None
        if cut:  # the write was interrupted before the footer, or the file was truncated; another fragment follows
            stop = min(end + _REST, self.size())
            after = self._fragments.next_sound(found.data, stop, self.size(), footed=True)
            cut = after is None or not end - mp4.FOOTER_BYTES <= after < end
            end = after or end
        if cut or not found.framed:
            damage = "the boxes around its frames are damaged; its frames were found"
        first, doubt = self._first_frame(found, at.frame, certain, offsets, sizes)
        if cut:
            moved = self._move(offsets, sizes, first, found.data, end if after else stop)
            end = end if after else max(end, moved)
        return Fragment(
            found.start, end, at.fragment + 1, first, offsets, sizes, damage or doubt, found.footer is not None
        )

    def _move(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64], first: int, start: int, end: int) -> int:
        """Correct the locations of frames that inserted or missing bytes have shifted."""
        last = 0
        coded = self._file.read(start, min(end - start, _SALVAGE_LIMIT))
        for number, offset, size in self.codec.find(coded, first, first + len(offsets)):
            if offsets[number - first] != start + offset:
                offsets[number - first], sizes[number - first] = start + offset, size
                last = max(last, start + offset + size)
        return last

    def _first_frame(
        self, found: Found, own: int, certain: bool, offsets: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> tuple[int, str | None]:
        """Return the number of a fragment's first frame, and the damage of the boxes that record it."""
        said = [found.first_picture] if self.codec.one_picture else []
        if found.footer is not None:
            said.append(found.footer.first_frame)
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

    def _answers(self, first: int, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> bool:
        """Return whether the checksum of any frame matches its number, counted from ``first``."""
        count = len(offsets)
        for i in dict.fromkeys([*range(count)[-1:], *range(min(_ASKED, count))]):
            try:
                self.codec.decode(self._file.read(int(offsets[i]), int(sizes[i])), first + i)
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
            found = self._searched(Position(start, frame, sequence), cut, footers.get(cut))
            if len(found) or not self._is_rest(at, cut, footers.get(cut)):
                yield found
            start, frame, sequence = cut, max(frame, found.first_frame + len(found)), found.sequence

    @staticmethod
    def _is_rest(at: Position, end: int, footer: mp4.Footer | None) -> bool:
        """Return whether the bytes after ``at`` end a fragment that was taken in before its footer was written."""
        size = end - at.offset
        return footer is not None and size < min(footer.size, _REST) and footer.first_frame < at.frame

    def _searched(self, at: Position, end: int, footer: mp4.Footer | None) -> Fragment:
        """Search a part of the file with damaged boxes for frames."""
        size = end - at.offset
        first = at.frame
        if footer is not None and footer.size == size and first <= footer.first_frame < first + _MOST_FRAMES:
            first = footer.first_frame
        coded = self._file.read(at.offset, min(size, _SALVAGE_LIMIT))
        places = self.codec.find(coded, first, first + size // _LEAST_FRAME + 1)
        if not places and first != at.frame:
            places = self.codec.find(coded, at.frame, at.frame + size // _LEAST_FRAME + 1)
        if places:
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
        offsets, sizes = _frames(found.data, found.sizes, found.keys)
        there = offsets < size
        damage = "the file ends before the end of the fragment"
        first, _ = self._first_frame(found, at.frame, True, offsets[there], sizes[there])
        listed = bool(there.all())
        return Fragment(
            at.offset, size, at.fragment + 1, first, offsets[there], sizes[there], damage, footed=False, listed=listed
        )

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _frames(
    data: int, sizes: Sequence[int] | NDArray[np.int64], keys: Sequence[bool] | NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offset and size in bytes of each frame of a fragment whose first picture is at ``data``."""
    if len(sizes) <= FEW and all(keys):  # one picture per frame
        starts = list(accumulate(map(int, sizes), initial=data))
        return np.array(starts[:-1], np.int64), np.array(sizes, np.int64)
    ends = np.cumsum(np.asarray(sizes, np.int64))
    first = (ends - sizes)[np.asarray(keys, bool)]
    return data + first, np.diff(first, append=ends[-1:])
