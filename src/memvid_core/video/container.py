"""VideoFile: an append-only fragmented MP4 file with a payload in each frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, MemoryExistsError, MemvidError
from memvid_core.video import mp4
from memvid_core.video.byte_check import ByteCheck
from memvid_core.video.codec import FrameCodec, RepairingCodec
from memvid_core.video.file import ByteFile
from memvid_core.video.fragments import Fragments
from memvid_core.video.init_segment import guess_head, read_head
from memvid_core.video.parity import CHECKSUM_BOX, checksum_of, parity_of, restore
from memvid_core.video.positions import Fragment, FramePosition, Position, TornTail, frame_places
from memvid_core.video.read_ahead import ReadAhead
from memvid_core.video.walk import Walk

__all__ = ["VideoFile"]

_BLOCK = 512  # minimum size of a disk write, in bytes
_COPIED = 1 << 20


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
        self.checksums = False
        """Whether every fragment of a codec with several pictures a frame ends with a checksum."""
        self.check: ByteCheck | None = None
        """What every byte that is read is held against, if that was asked for."""
        self._rebuilt: tuple[int, int, dict[int, bytes]] = (0, 0, {})  # start, end, payloads of the last repaired
        self._pictures = (head_size, 0)  # the number of the first picture at this offset

    @classmethod
    def create(cls, target: str | os.PathLike[str] | BinaryIO, codec: FrameCodec, about: bytes = b"") -> Self:
        """Create a video without frames, which players can open.

        Args:
            target: The path or file.
            codec: The codec of its pictures.
            about: The box of :func:`~memvid_core.video.mp4.about_box`, or nothing.

        Raises:
            MemoryExistsError: The path exists.
            MemoryNotFoundError: The folder does not exist.
        """
        head = codec.init_segment()
        head = mp4.with_user_data(head, about) if about else head
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
        video = VideoFile(self._file, self.codec, self.head_size, self.head_damage)
        video.checksums = self.checksums
        return video

    @property
    def start(self) -> Position:
        """The position of the first fragment."""
        return Position(self.head_size, 0, 0)

    @property
    def rate(self) -> int:
        """The number of pictures per second, as the head of the file says."""
        return mp4.parse_timescale(self._file.read(0, self.head_size)) or mp4.TIMESCALE

    @property
    def title(self) -> str | None:
        """The title in the head of the file; None if it has none."""
        return mp4.parse_title(self._file.read(0, self.head_size))

    @property
    def about(self) -> bytes:
        """The box with title, comment and cover in the head of the file; empty if it has none."""
        return mp4.parse_about(self._file.read(0, self.head_size))

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

    def in_place(self) -> bool:
        """Return whether the path, if there is one, names the open file."""
        return self._file.in_place()

    def replaced(self) -> bool:
        """Return whether another file replaced the one at the path since this one was opened."""
        return self._file.replaced()

    def resume(self, end: Position) -> None:
        """Continue from ``end``, a position that an earlier walk reached, without walking again."""
        self.end = end

    def append(self, payloads: Iterable[bytes], *, parity: bool = False) -> Fragment:
        """Append one fragment with a frame for each payload, durable on return. Removes any bytes after ``end`` first.

        Args:
            payloads: One for each frame.
            parity: Whether to add the parity that restores one damaged sector. A codec with several pictures a frame,
                which has redundancy of its own, always has a checksum instead.

        Raises:
            CodecError: A payload is too large for a frame.
            StorageError: The write failed; the file is unchanged.
        """
        at = self.end
        samples = self.codec.encode(payloads, at.frame)
        picture = self.next_picture(at)
        parts = mp4.fragment(samples, at.fragment + 1, picture, at.frame)
        covered = 0
        if parity or not self.codec.one_picture:  # other pictures cannot be made again, to compare their bytes
            covered = sum(map(len, parts))
            parts.append(mp4.parity_box(covered, parity_of(parts) if self.codec.one_picture else checksum_of(parts)))
        self._file.write(at.offset, parts)
        begins = [key or self.codec.one_picture for _, key in samples]
        offsets, sizes = frame_places(
            at.offset + len(parts[0]) + len(parts[1]), [len(data) for data, _ in samples], begins
        )
        end = at.offset + sum(map(len, parts))
        self.end = Position(end, at.frame + len(offsets), at.fragment + 1)
        self._pictures = (end, picture + len(samples))
        return Fragment(at.offset, end, at.fragment + 1, at.frame, offsets, sizes, covered=covered)

    def next_picture(self, at: Position) -> int:
        """Return the number of the first picture of a fragment at ``at``."""
        if self.codec.one_picture:
            return at.frame
        if at.offset == self.head_size:
            return 0
        if self._pictures[0] != at.offset:
            parity = mp4.parse_parity(self._file.read(at.offset - CHECKSUM_BOX, mp4.PARITY_BYTES))
            end = at.offset - (CHECKSUM_BOX if parity and parity.size == CHECKSUM_BOX else 0)
            footer = mp4.parse_footer(self._file.read(end - mp4.FOOTER_BYTES, mp4.FOOTER_BYTES))
            start = end - (footer.size if footer else 0)
            head = self._fragments.head(start) if footer and self.head_size <= start < at.offset else None
            # If the previous fragment is damaged, take a number above all possible pictures: time must not decrease.
            picture = head.first_picture + head.pictures if head else at.frame * 10_000
            self._pictures = (at.offset, min(picture, 1 << 62))
        return self._pictures[1]

    def check_bytes(self) -> ByteCheck:
        """Compare every byte that is read from now on with what a writer makes; return what will list the changes."""
        self.check = ByteCheck(self._file, self._ahead, self.codec.one_picture)
        self.check.begin(self.head_size)
        return self.check

    def head(self) -> bytes:
        """Return the boxes before the first fragment."""
        return self._file.read(0, self.head_size)

    def coded(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes of the file at ``offset``; fewer only at its end."""
        return self._file.read(offset, size)

    def begins_fragment(self, offset: int) -> bool:
        """Return whether a fragment begins at ``offset`` of the file."""
        return self._fragments.head(offset) is not None

    def pieces(self, offsets: NDArray[np.int64], size: int, *, mapped: bool) -> NDArray[np.uint8]:
        """Read ``size`` bytes of the file from each of up to 1,024 offsets: (n, size) uint8, zeros after its end.

        Args:
            offsets: (n,), n at least 1.
            size: At least 1.
            mapped: Whether the file may stay mapped, as far as it is read.

        Returns:
            An array that is valid until this thread's next call.
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
            payload = self._intact(self._file if fragment is None else self._ahead, number, place)
        except DamagedFrameError:
            repaired = self._repair(number, place, fragment)
            if repaired is None:
                raise
            return repaired
        if self.repaired:  # another program may have restored the file
            self.repaired.discard(number)
        return payload

    def intact(self, number: int, place: FramePosition) -> bytes:
        """Return the payload of frame ``number`` if it is intact at ``place``, without using redundancy.

        Raises:
            DamagedFrameError: The bytes have changed since they were written.
        """
        return self._intact(self._file, number, place)

    def _intact(self, file: ByteFile | ReadAhead, number: int, place: FramePosition) -> bytes:
        coded = file.read(place.offset, place.size)
        if len(coded) != place.size:
            raise DamagedFrameError(number, f"the file ends {place.size - len(coded)} bytes before it does")
        if self.check is None:
            return self.codec.decode(coded, number)
        payload, as_written = self.codec.decode_exactly(coded, number)
        self.check.picture(number, coded, as_written=as_written)
        return payload

    def _repair(self, number: int, place: FramePosition, fragment: Fragment | None) -> bytes | None:
        """Return the payload of a frame that cannot be decoded, rebuilt from its fragment's redundancy."""
        rebuilt = self._rebuilt
        if fragment is not None:
            if rebuilt[:2] != (fragment.start, fragment.end):
                rebuilt = self._rebuild(fragment, number)
        elif not rebuilt[0] <= place.offset < rebuilt[1]:
            # The caller may be walking; do not change ``end``.
            for found in self.again().walk(self.start):
                if isinstance(found, Fragment) and found.start <= place.offset < found.end:
                    rebuilt = self._rebuild(found, number)
                    break
        payload = rebuilt[2].get(number)
        if payload is not None:
            self.repaired.add(number)
        return payload

    def _rebuild(self, fragment: Fragment, number: int) -> tuple[int, int, dict[int, bytes]]:
        """Rebuild frame ``number`` and others of its fragment that cannot be decoded, also for the following reads."""
        if isinstance(self.codec, RepairingCodec):
            coded = [self._file.read(where.offset, where.size) for _, where in fragment.frames()]
            payloads = self.codec.repair(coded, fragment.first_frame)
        else:
            payloads = restore(self._file, self.codec, fragment, number)
        self._rebuilt = rebuilt = fragment.start, fragment.end, payloads
        return rebuilt

    def unwritten(self, fragment: Fragment) -> bool:
        """Return whether a disk block of a fragment is all zeros, as a block that was never written is.

        Pictures do not contain that many zeros in a row.
        """
        step, end = _BLOCK << 11, fragment.start + fragment.covered if fragment.covered else fragment.end
        for start in range(fragment.start - fragment.start % step, end, step):
            begin, stop = max(start, fragment.start), min(start + step, end)
            data = self._file.read(begin, stop - begin)
            padded = data.rjust(len(data) + begin % _BLOCK, b"\x01" if begin % _BLOCK > _BLOCK - 4 else b"\0")
            padded = padded.ljust(-(-len(padded) // _BLOCK) * _BLOCK, b"\x01" if len(padded) % _BLOCK < 4 else b"\0")
            if not np.frombuffer(padded, np.uint8).reshape(-1, _BLOCK).any(axis=1).all():
                return True
        return False

    def set_aside(self, tail: TornTail, head: int) -> Path | None:
        """Copy a torn tail to a new file next to this one; return its path, or None for a file object.

        Args:
            tail: The tail to copy.
            head: The number of bytes from the beginning of the file to copy first, so that the copy can be opened.

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

        ``end`` follows the walk; see :class:`~memvid_core.video.walk.Walk` for damaged fragments.
        """
        closing = CHECKSUM_BOX if self.checksums and not self.codec.one_picture else 0
        walk = Walk(self._file, self.codec, self._fragments, position, self.check, closing)
        self._ahead.forget()
        try:
            self.end = position
            for found in walk.found(self.size()):
                self.end = walk.end
                yield found
            self.end = walk.end
        finally:
            self._ahead.forget()

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
