"""VideoFile: an append-only fragmented MP4 whose frames carry payloads."""

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

_SALVAGE_LIMIT = 1 << 28  # of damaged bytes in which frames are looked for one by one
_LEAST_FRAME = 64  # bytes that a frame takes at least: a gap hides no more frames than that allows
_MOST_FRAMES = 1 << 40  # no video has more, whatever a box says
_BLOCK = 512  # bytes that a disk writes at once, at least
_COPIED = 1 << 20
_REST = 1 << 12  # bytes of a commit's last picture and footer, at most
_ASKED = 3  # frames whose checksums are asked which number a fragment has


class FramePosition(NamedTuple):
    """Where the coded pictures of a frame lie: offset and size in bytes."""

    offset: int
    size: int


class Position(NamedTuple):
    """A place between two fragments: byte offset, and the numbers the next frame and fragment take."""

    offset: int
    frame: int
    fragment: int


class Fragment(NamedTuple):
    """One fragment as found or written: its place, its number (from 1) and the places of its frames.

    ``offsets`` and ``sizes`` are int64 arrays with one entry a frame; ``damage`` says what is wrong with its boxes, if
    anything (the frames themselves are checked when they are read).
    """

    start: int
    end: int
    sequence: int
    first_frame: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    damage: str | None = None
    footed: bool = True
    """Whether its footer is at its place, which the last bytes of a write are."""
    listed: bool = True
    """Whether its frames are those that its ``moof`` lists; otherwise they were looked for, and there may be more."""

    def __len__(self) -> int:
        """How many frames it has."""
        return len(self.offsets)

    def part(self, first: int, stop: int) -> Fragment:
        """The same place with the frames from ``first`` to ``stop - 1`` alone."""
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
        """The number and place of each frame, in order."""
        for number, (offset, size) in enumerate(
            zip(self.offsets.tolist(), self.sizes.tolist(), strict=True), self.first_frame
        ):
            yield number, FramePosition(offset, size)


class TornTail(NamedTuple):
    """Bytes at the end of the file of a write that never finished, or of a file that was cut short.

    ``fragment`` is what can be told of it: its frames as far as they are there.
    """

    start: int
    size: int
    fragment: Fragment | None = None


class VideoFile:
    """A video made of fragments, each appended whole.

    It finds its frames by its own walk over the fragments or by positions that the caller kept; FFmpeg is asked to
    decode single pictures, never to search the file.

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
        """What is wrong with the boxes that the file begins with, if anything."""
        self._ahead = ReadAhead(file)
        self._fragments = Fragments(file, self._ahead, codec.one_picture)
        self.codec = codec
        self.head_size = head_size
        self.end = Position(head_size, 0, 0)
        """Where the next fragment goes, as far as this object has walked or was told."""
        self.repaired: set[int] = set()
        """Numbers of the frames that could be read only with their fragment's redundancy."""
        self._rebuilt: tuple[int, int, dict[int, bytes]] = (0, 0, {})  # start, end, payloads of the last repaired
        self._pictures = (head_size, 0)  # the number that the first picture at this offset takes

    @classmethod
    def create(cls, target: str | os.PathLike[str] | BinaryIO, codec: FrameCodec) -> Self:
        """A new video with no frames. A player opens it at once.

        Raises:
            MemoryExistsError: The path is taken.
            MemoryNotFoundError: Its folder does not exist.
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
        """An existing video, for reading (``"r"``) or appending (``"a"``).

        Raises:
            MemoryNotFoundError: There is no such file.
            NotAMemoryError: It is no MP4, or none that a codec of ours wrote.
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
                return cls(file, codec, size, f"the head of the file is damaged, and was made up ({exc})")
        except BaseException:
            file.close()
            raise

    def guess_codec(self) -> bool:
        """Tell the codec from the pictures, as the one in the head reads none of them; return whether that worked."""
        guessed = guess_head(self._file)
        if guessed is None or guessed[0] == self.codec:
            return False
        self.codec, self.head_size = guessed
        self.head_damage = "the head of the file is damaged: no picture is what it says"
        self._fragments = Fragments(self._file, self._ahead, self.codec.one_picture)
        self._pictures = (self.head_size, 0)
        return True

    def again(self) -> VideoFile:
        """Another over the same open file, to walk without moving this one; closing either closes the file."""
        return VideoFile(self._file, self.codec, self.head_size, self.head_damage)

    @property
    def start(self) -> Position:
        """The place of the first fragment."""
        return Position(self.head_size, 0, 0)

    @property
    def target(self) -> Path | BinaryIO:
        """The path, or the file object, that this video is kept in."""
        return self._file.target

    def size(self) -> int:
        """The file's size now, in bytes."""
        return self._file.size()

    @property
    def descriptor(self) -> int | None:
        """The open file's descriptor; None where there is none."""
        return self._file.descriptor

    def stamp(self) -> tuple[int, int]:
        """Return what tells one content of the file from the next: its size and the time of the last change."""
        return self._file.stamp()

    def unchanged(self, stamp: tuple[int, int] | None) -> bool:
        """Return whether the path names the open file and its content has that stamp; False if that is not known."""
        return self._file.unchanged(stamp)

    def defer_sync(self, deferred: bool) -> None:
        """Say whether fragments are made durable by :meth:`sync` alone, as in a file that nobody else knows yet."""
        self._file.defer_sync(deferred)

    def sync(self) -> None:
        """Make all that was appended durable."""
        self._file.sync()

    def renamed(self, path: Path) -> None:
        """Take note of the path that the open file has now."""
        self._file.renamed(path)

    def reopen(self) -> None:
        """Open the file again after it was closed to be renamed."""
        self._file.reopen()

    def gone(self) -> bool:
        """Return whether the file was deleted or renamed since it was opened."""
        return self._file.gone()

    def replaced(self) -> bool:
        """Whether another file was swapped in under the path since this one was opened."""
        return self._file.replaced()

    def resume(self, end: Position) -> None:
        """Go on from ``end``, a place that an earlier walk reached, without walking again."""
        self.end = end

    def append(self, payloads: Iterable[bytes]) -> Fragment:
        """Add one fragment with a frame for each payload, durable on return. Anything after ``end`` is cut first.

        Raises:
            CodecError: A payload does not fit a frame.
            StorageError: The system refused the write; the file is as before.
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
        """The number that the first picture of a fragment at ``at`` takes."""
        if self.codec.one_picture:
            return at.frame
        if at.offset == self.head_size:
            return 0
        if self._pictures[0] != at.offset:
            footer = mp4.parse_footer(self._file.read(at.offset - mp4.FOOTER_BYTES, mp4.FOOTER_BYTES))
            start = at.offset - (footer.size if footer else 0)
            head = self._fragments.head(start) if footer and self.head_size <= start < at.offset else None
            # Past any picture there can be, if the fragment before is damaged: time must not run backwards.
            picture = head.first_picture + head.pictures if head else at.frame * 10_000
            self._pictures = (at.offset, min(picture, 1 << 62))
        return self._pictures[1]

    def coded(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes of the file from ``offset``, as they lie there; fewer only at its end."""
        return self._file.read(offset, size)

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> NDArray[np.uint8]:
        """Read ``size`` bytes of the file from each of up to 1,024 offsets: (n, size) uint8, zeros behind its end.

        Args:
            offsets: (n,), n at least 1.
            size: At least 1.
            mapped: Whether the file may stay mapped, as far as it is read.

        Returns:
            An array that is valid until this thread's next call.
        """
        return self._file.pieces(offsets, size, mapped=mapped)

    def read(self, number: int, place: FramePosition, fragment: Fragment | None = None) -> bytes:
        """The payload of frame ``number``: one positional read and one decode.

        Args:
            number: The frame's number.
            place: Where it lies.
            fragment: What it is a part of, for who reads one frame after the other in a walk; what cannot be decoded is
                looked for in its redundancy.

        Raises:
            DamagedFrameError: The bytes there are not what was written.
        """
        try:
            return self._intact(self._file if fragment is None else self._ahead, number, place)
        except DamagedFrameError:
            payload = self._repair(number, place, fragment)
            if payload is None:
                raise
            return payload

    def intact(self, number: int, place: FramePosition) -> bytes:
        """The payload of frame ``number``, if it lies undamaged at ``place``; no redundancy is asked.

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
        """The payload of a frame that cannot be decoded, out of its fragment's redundancy."""
        if not isinstance(self.codec, RepairingCodec):
            return None
        if fragment is not None:
            if self._rebuilt[:2] != (fragment.start, fragment.end):
                self._rebuild(fragment)
        elif not self._rebuilt[0] <= place.offset < self._rebuilt[1]:
            # The caller's own walk may be under way: leave ``end`` where it is.
            for found in self.again().walk(self.start):
                if isinstance(found, Fragment) and found.start <= place.offset < found.end:
                    self._rebuild(found)
                    break
        payload = self._rebuilt[2].get(number)
        if payload is not None:
            self.repaired.add(number)
        return payload

    def _rebuild(self, fragment: Fragment) -> None:
        """Rebuild what cannot be decoded of a fragment out of its redundancy, for the reads that come."""
        if isinstance(self.codec, RepairingCodec):
            coded = [self._file.read(where.offset, where.size) for _, where in fragment.frames()]
            self._rebuilt = (fragment.start, fragment.end, self.codec.repair(coded, fragment.first_frame))

    def unwritten(self, fragment: Fragment) -> bool:
        """Return whether a block of the disk that a fragment lies in is all zeros, as one that was never written is.

        No picture holds so many zeros in a row.
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
        """Copy a torn tail into a file beside this one; return its path, or None where there is no folder.

        Args:
            tail: What to copy.
            head: How many bytes of the beginning of the file go before it, so that the copy can be read by itself.

        Raises:
            StorageError: The system refused.
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
        """Number and payload of every frame, in order, at sequential speed.

        Raises:
            DamagedFrameError: At the first damaged frame.
        """
        for found in self.walk(self.start):
            if isinstance(found, Fragment):
                yield from self.read_fragment(found)

    def read_fragment(self, fragment: Fragment) -> Iterator[tuple[int, bytes]]:
        """Number and payload of each frame of ``fragment``, in order."""
        for number, place in fragment.frames():
            yield number, self.read(number, place)

    def frames(self) -> Iterator[tuple[int, FramePosition]]:
        """Number and place of every frame in the file, in order."""
        for found in self.walk(self.start):
            if isinstance(found, Fragment):
                yield from found.frames()

    def walk(self, position: Position) -> Iterator[Fragment | TornTail]:
        """The fragments from ``position`` to the end of the file, then the torn tail if there is one.

        Damaged boxes are stepped over: frames are found by the marks that their pictures begin with, and the walk
        goes on at the next sound fragment, whose own word for its number counts. ``end`` follows the walk.
        """
        self._ahead.forget()
        try:
            yield from self._walk(position, self.size())
        finally:
            self._ahead.forget()

    def _walk(self, position: Position, size: int) -> Iterator[Fragment | TornTail]:
        self.end = position
        certain = True  # whether the frame number reached is known, or damaged bytes hid how many frames they had
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
        """Move ``end`` behind a fragment; a copy of an earlier one does not set the numbers back."""
        frame = max(self.end.frame, fragment.first_frame + len(fragment))
        self.end = Position(fragment.end, frame, fragment.sequence)
        return fragment

    def _numbered(self, found: Found, at: Position, certain: bool) -> Fragment:
        """A sound fragment under the number that its witnesses agree on."""
        offsets, sizes = _frames(found.data, found.sizes, found.keys)
        end, damage = found.end, None
        cut = found.footer is None
        if cut:  # its write was stopped before the footer, or the file was cut short, and another came after it
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
        """Correct the places of frames that bytes too many or too few have moved; return where the last one ends."""
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
        """The number of a fragment's first frame, and what is wrong with who says so."""
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
        """Return whether one of a fragment's frames has the checksum of its place from ``first`` on."""
        count = len(offsets)
        for i in dict.fromkeys([*range(count)[-1:], *range(min(_ASKED, count))]):
            try:
                self.codec.decode(self._file.read(int(offsets[i]), int(sizes[i])), first + i)
            except DamagedFrameError:
                continue
            return True
        return False

    def _damaged(self, at: Position, stop: int) -> Iterator[Fragment]:
        """What is left in [``at``, ``stop``), cut where boxes say that a fragment began or ended."""
        cuts = {stop}
        footers: dict[int, mp4.Footer] = {}
        for end, footer in self._fragments.footers(at.offset, stop):
            footers[end] = footer
            # A footer without the beginning of its fragment stands alone: it tells that there was one.
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
        """Return whether bytes behind ``at`` end a fragment that was taken before its footer was written."""
        size = end - at.offset
        return footer is not None and size < min(footer.size, _REST) and footer.first_frame < at.frame

    def _searched(self, at: Position, end: int, footer: mp4.Footer | None) -> Fragment:
        """A part of the file whose boxes are damaged, with the frames that can be found in it."""
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
        """What the tail of the file holds of a fragment that is not there whole."""
        found = self._fragments.listed(at.offset, size)
        if found is None:
            searched = self._searched(at, size, None)
            return searched if len(searched) else None
        offsets, sizes = _frames(found.data, found.sizes, found.keys)
        there = offsets < size
        damage = "the file ends before it does"
        first, _ = self._first_frame(found, at.frame, True, offsets[there], sizes[there])
        listed = bool(there.all())
        return Fragment(
            at.offset, size, at.fragment + 1, first, offsets[there], sizes[there], damage, footed=False, listed=listed
        )

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _frames(
    data: int, sizes: Sequence[int] | NDArray[np.int64], keys: Sequence[bool] | NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset and size in bytes of each frame of a fragment whose first picture lies at ``data``."""
    if len(sizes) <= FEW and all(keys):  # one picture a frame
        starts = list(accumulate(map(int, sizes), initial=data))
        return np.array(starts[:-1], np.int64), np.array(sizes, np.int64)
    ends = np.cumsum(np.asarray(sizes, np.int64))
    first = (ends - sizes)[np.asarray(keys, bool)]
    return data + first, np.diff(first, append=ends[-1:])
