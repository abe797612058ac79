"""VideoFile: an append-only fragmented MP4 whose frames carry payloads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError, NotAMemoryError, StorageError
from memvid_core.video import bmff
from memvid_core.video.codec import FrameCodec, RepairingCodec, recognise_codec
from memvid_core.video.file import ByteFile

__all__ = ["Fragment", "FramePosition", "Position", "TornTail", "VideoFile"]

_HEAD_LIMIT = 1 << 20  # a head of ours has 709 bytes; nothing larger is read into memory
_MOOF_LIMIT = 1 << 26  # eight million pictures in one commit
_SALVAGE_LIMIT = 1 << 30  # of a fragment whose pictures must be decoded to find its frames
_WINDOW = 1 << 20
_MOOV_BOXES = frozenset({b"mvhd", b"trak", b"mvex", b"udta"})


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

    def __len__(self) -> int:
        """How many frames it has."""
        return len(self.offsets)

    def frames(self) -> Iterator[tuple[int, FramePosition]]:
        """The number and place of each frame, in order."""
        for number, (offset, size) in enumerate(
            zip(self.offsets.tolist(), self.sizes.tolist(), strict=True), self.first_frame
        ):
            yield number, FramePosition(offset, size)


class TornTail(NamedTuple):
    """Bytes at the end of the file of a write that never finished."""

    start: int
    size: int


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

    def __init__(self, file: ByteFile, codec: FrameCodec, head_size: int) -> None:
        self._file = file
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
            head = _read_head(file)
            entry = bmff.parse_sample_entry(head)
            codec = None if entry is None else recognise_codec(entry)
            if codec is None:
                raise NotAMemoryError(f"{file.path or 'the file'} is an MP4, but not one that carries a memory")
        except BaseException:
            file.close()
            raise
        return cls(file, codec, len(head))

    def again(self) -> VideoFile:
        """Another over the same open file, to walk without moving this one; closing either closes the file."""
        return VideoFile(self._file, self.codec, self.head_size)

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
        parts = bmff.fragment(samples, at.fragment + 1, picture, at.frame)
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
            footer = bmff.parse_footer(self._file.read(at.offset - bmff.FOOTER_BYTES, bmff.FOOTER_BYTES))
            head = None if footer is None or footer.size > at.offset else self._moof_at(at.offset - footer.size)
            # Past any picture there can be, if the fragment before is damaged: time must not run backwards.
            picture = head.first_picture + len(head.sizes) if head else at.frame * 10_000
            self._pictures = (at.offset, picture)
        return self._pictures[1]

    def _moof_at(self, offset: int) -> bmff.FragmentHead | None:
        """What the ``moof`` box at ``offset`` says, if there is a sound one."""
        header = self._file.read(offset, 8)
        if len(header) < 8 or header[4:] != b"moof":
            return None
        size = int.from_bytes(header[:4], "big")
        if not 8 <= size <= min(_MOOF_LIMIT, self.size() - offset):
            return None
        head = bmff.parse_moof(self._file.read(offset, size))
        if head is None or head.data_offset - size not in (8, 16) or not head.sizes:
            return None
        if not (self.codec.one_picture or head.keys[0]):
            return None
        return head

    def coded(self, offsets: Sequence[int], size: int) -> list[bytes]:
        """Read ``size`` bytes of the file from each offset, as they lie there; fewer at its end.

        Raises:
            StorageError: The system refuses.
        """
        descriptor = self.descriptor
        if descriptor is None or not hasattr(os, "pread"):
            return [self._file.read(offset, size) for offset in offsets]
        try:
            return [os.pread(descriptor, size, offset) for offset in offsets]
        except OSError as exc:
            raise StorageError(f"cannot read {self.target}: {exc.strerror}") from exc

    def read(self, number: int, place: FramePosition) -> bytes:
        """The payload of frame ``number``: one positional read and one decode.

        Raises:
            DamagedFrameError: The bytes there are not what was written.
        """
        coded = self._file.read(place.offset, place.size)
        if len(coded) != place.size:
            raise DamagedFrameError(number, f"the file ends {place.size - len(coded)} bytes before it does")
        try:
            return self.codec.decode(coded, number)
        except DamagedFrameError:
            payload = self._repair(number, place)
            if payload is None:
                raise
            return payload

    def _repair(self, number: int, place: FramePosition) -> bytes | None:
        """The payload of a frame that cannot be decoded, out of its fragment's redundancy."""
        if not isinstance(self.codec, RepairingCodec):
            return None
        if not self._rebuilt[0] <= place.offset < self._rebuilt[1]:
            # The caller's own walk may be under way: leave ``end`` where it is.
            for found in self.again().walk(self.start):
                if isinstance(found, Fragment) and found.start <= place.offset < found.end:
                    coded = [self._file.read(where.offset, where.size) for _, where in found.frames()]
                    self._rebuilt = (found.start, found.end, self.codec.repair(coded, found.first_frame))
        payload = self._rebuilt[2].get(number)
        if payload is not None:
            self.repaired.add(number)
        return payload

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

        Damaged boxes are stepped over: frames are found by their length prefixes where that is possible, and the walk
        goes on at the next whole fragment. ``end`` follows the walk.
        """
        size = self.size()
        self.end = position
        certain = True  # whether the frame number reached is known, or a damaged fragment hid how many frames it had
        while self.end.offset < size:
            found = self._fragment_at(self.end, size, certain)
            if found is None:
                found = self._salvage(self.end, size)
                if found is None:
                    yield TornTail(self.end.offset, size - self.end.offset)
                    return
                certain = certain and len(found) > 0
            else:
                certain = True
            self.end = Position(found.end, found.first_frame + len(found), found.sequence)
            yield found

    def _fragment_at(self, at: Position, size: int, certain: bool) -> Fragment | None:
        """The fragment at ``at`` if its ``moof`` holds and at least one of ``mdat`` and footer agrees with it."""
        head = self._moof_at(at.offset)
        if head is None:
            return None
        keys = (True,) * len(head.sizes) if self.codec.one_picture else head.keys
        payload = sum(head.sizes)
        data = at.offset + head.data_offset
        end = data + payload + bmff.FOOTER_BYTES
        if end > size:
            return None
        footer = bmff.parse_footer(self._file.read(end - bmff.FOOTER_BYTES, bmff.FOOTER_BYTES))
        if footer is not None and footer.size != end - at.offset:
            footer = None
        mdat = bmff.mdat_header(payload)
        agrees = self._file.read(data - len(mdat), len(mdat)) == mdat
        if footer is None and not agrees:
            return None
        damage = None if footer and agrees else "the boxes around its frames are damaged; its frames were found"
        first = head.first_picture if self.codec.one_picture or footer is None else footer.first_frame
        if first != at.frame and certain:
            if footer is not None or self.codec.one_picture:
                damage = "its decode time or footer is damaged; its frames were found"
            first = at.frame
        offsets, sizes = _frames(data, head.sizes, keys)
        return Fragment(at.offset, end, at.fragment + 1, first, offsets, sizes, damage)

    def _salvage(self, at: Position, size: int) -> Fragment | None:
        """What is left of a fragment whose boxes are damaged, or None if its writing never finished."""
        end = self._next_fragment(at.offset + 1, size)
        if end is None:
            footer = bmff.parse_footer(self._file.read(size - bmff.FOOTER_BYTES, bmff.FOOTER_BYTES))
            if footer is None or footer.size > size - at.offset:
                return None
            end = size
        first, places = at.frame, list[FramePosition]()
        if isinstance(self.codec, RepairingCodec):
            coded = self._file.read(at.offset, min(end - at.offset, _SALVAGE_LIMIT))
            start = coded.find(b"mdat") + 4
            found = self.codec.locate(coded[start : -bmff.FOOTER_BYTES]) if start > 4 else None
            if found is not None:
                first = found[0]
                places = [FramePosition(at.offset + start + offset, length) for offset, length in found[1]]
        elif self.codec.single_nal:
            places = self._pictures_between(at.offset, end - bmff.FOOTER_BYTES)
        offsets, sizes = (np.array([place[i] for place in places], np.int64) for i in (0, 1))
        damage = "its boxes are damaged; frames were looked for one by one"
        return Fragment(at.offset, end, at.fragment + 1, first, offsets, sizes, damage)

    def _next_fragment(self, start: int, size: int) -> int | None:
        """The offset of the first whole fragment at or after ``start``."""
        for offset in range(start, size, _WINDOW):
            window = self._file.read(offset, _WINDOW + 7)  # a moof header may lie across two windows
            at = window.find(b"moof", 4)
            while at >= 0:
                place = Position(offset + at - 4, 0, 0)
                if self._fragment_at(place, size, False) is not None:
                    return place.offset
                at = window.find(b"moof", at + 1)
        return None

    def _pictures_between(self, start: int, end: int) -> list[FramePosition]:
        """Pictures by their four-byte lengths, from the first ``mdat`` after ``start``; none if they do not add up."""
        at = self._file.read(start, min(end - start, _MOOF_LIMIT)).find(b"mdat")
        places: list[FramePosition] = []
        offset = start + at + 4
        while at >= 0 and offset < end:
            length = int.from_bytes(self._file.read(offset, 4), "big") + 4
            if length <= 4 or offset + length > end:
                return []
            places.append(FramePosition(offset, length))
            offset += length
        return places

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _frames(data: int, sizes: Sequence[int], keys: Sequence[bool]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset and size in bytes of each frame of a fragment whose first picture lies at ``data``."""
    ends = np.cumsum(np.array(sizes, np.int64))
    starts = (ends - sizes)[np.array(keys, bool)]
    return data + starts, np.diff(starts, append=ends[-1:])


def _read_head(file: ByteFile) -> bytes:
    """The ``ftyp`` and ``moov`` boxes at the start of the file."""
    start = file.read(0, 8)
    if len(start) < 8 or start[4:] != b"ftyp":
        what = "is empty" if not start else "is not an MP4"
        raise NotAMemoryError(f"{file.path or 'the file'} {what}")
    data = file.read(0, _HEAD_LIMIT)
    found = {box.type: box for box in list(bmff.boxes(data))[:2]}
    if set(found) != {b"ftyp", b"moov"}:
        raise NotAMemoryError(f"{file.path or 'the file'} is cut short, or not an MP4 that carries a memory")
    moov = found[b"moov"]
    inner = list(bmff.boxes(data, moov.content, moov.end))
    if not inner or inner[-1].end != moov.end or not _MOOV_BOXES.issuperset(box.type for box in inner):
        raise NotAMemoryError(f"the head of {file.path or 'the file'} is damaged, or not one of a memory")
    return data[: moov.end]
