"""Parity: restores one damaged sector of a fragment.

The parity of a fragment is the exclusive or of its bytes, folded to a few kilobytes: byte ``j`` of the parity is the
exclusive or of the bytes ``j``, ``j + n``, ``j + 2n``, ... of the fragment, for ``n`` bytes of parity. Damage that is
shorter than ``n`` bytes changes each byte of the parity at most once. So the difference to the stored parity shows
which bytes changed, except for their position, and the checksums of the frames decide about that.

A fragment that restores its frames in another way has a checksum instead, in a box of the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError
from memvid_core.video import mp4
from memvid_core.video.codec import FrameCodec
from memvid_core.video.file import ByteFile
from memvid_core.video.positions import Fragment

__all__ = ["CHECKSUM_BOX", "Patch", "checksum_of", "difference", "parity_of", "patches", "restore", "restored_frames"]

_ROOM: Final = 64  # bytes that separate the end of the damage from its beginning in the parity
_SECTOR: Final = 4096 + _ROOM  # bytes of parity: a sector of a disk today
_SMALL_SECTOR: Final = 512 + _ROOM  # of a small fragment, which must not grow much: a sector of older disks
_CHECKSUM: Final = 8  # bytes of an XXH3-64, which restores nothing
CHECKSUM_BOX: Final = mp4.PARITY_BYTES + _CHECKSUM
"""Size of the box of a checksum, in bytes."""
_SMALL: Final = 1 << 17  # the size of a fragment, in bytes, from which on it has the larger parity
_PIECE: Final = 1 << 20  # bytes that are read at once
_GAPS: Final = 3  # how many of the longest undamaged parts of the parity may separate the end of damage from its start

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Patch:
    """Bytes in place of damaged ones, at an offset of the file."""

    offset: int
    data: bytes

    def read(self, file: ByteFile, offset: int, size: int) -> bytes:
        """Return what ``file`` has at ``offset``, with these bytes in place."""
        found = bytearray(file.read(offset, size))
        begin, end = max(offset, self.offset), min(offset + len(found), self.offset + len(self.data))
        if begin < end:
            found[begin - offset : end - offset] = self.data[begin - self.offset : end - self.offset]
        return bytes(found)


def checksum_of(parts: Iterable[bytes]) -> bytes:
    """Return the checksum of consecutive parts of a fragment, which takes the place of its parity."""
    hasher = xxhash.xxh3_64()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def parity_of(parts: Sequence[bytes]) -> bytes:
    """Return the parity of consecutive parts of a fragment."""
    size = sum(map(len, parts))
    folded, at = np.zeros(_SECTOR if size >= _SMALL else _SMALL_SECTOR, np.uint8), 0
    for part in parts:
        _fold(folded, np.frombuffer(part, np.uint8), at)
        at += len(part)
    return folded.tobytes()


def patches(file: ByteFile, start: int, parity: mp4.Parity, first: int, stop: int) -> Iterator[Patch]:
    """Yield the changes of [``first``, ``stop``) that would make a fragment match its parity.

    Args:
        file: The file.
        start: The offset of the fragment; its parity box follows what that box covers.
        parity: The values of the parity box.
        first: Where the damage was met.
        stop: The end of the damaged part.
    """
    end, length = start + parity.covered, parity.length
    wrong = difference(file, start, parity)
    for begin in _beginnings(wrong):
        rolled = np.roll(wrong, -begin)
        size = length - int((rolled[::-1] != 0).argmax())  # without the undamaged bytes at the end
        rows = range((first - start - begin - size) // length, (stop - start - begin) // length + 1)
        for offset in (start + begin + row * length for row in rows):
            here, until = max(offset, start), min(offset + size, end)
            if here < stop and first < until:
                found = np.frombuffer(file.read(here, until - here), np.uint8)
                yield Patch(here, (found ^ rolled[here - offset : here - offset + len(found)]).tobytes())


def difference(file: ByteFile, start: int, parity: mp4.Parity) -> Bytes:
    """Return the exclusive or of a stored parity or checksum and that of the bytes it covers: zeros if none changed.

    Args:
        file: The file.
        start: The offset of the fragment; its parity box follows what that box covers.
        parity: The values of the parity box.

    Returns:
        (length of the parity,) uint8; empty if the file ends before.
    """
    end = start + parity.covered
    wrong = np.frombuffer(file.read(end + mp4.PARITY_BYTES, parity.length), np.uint8).copy()
    if len(wrong) != parity.length:
        return wrong[:0]
    pieces = ((at - start, file.read(at, min(_PIECE, end - at))) for at in range(start, end, _PIECE))
    if parity.length == _CHECKSUM:
        return wrong ^ np.frombuffer(checksum_of(piece for _, piece in pieces), np.uint8)
    for at, piece in pieces:
        _fold(wrong, np.frombuffer(piece, np.uint8), at)
    return wrong


def restored_frames(file: ByteFile, codec: FrameCodec, fragment: Fragment, patch: Patch) -> dict[int, bytes] | None:
    """Return the payloads of the frames that a patch changes, by number; None if it does not restore them."""
    begins = (fragment.offsets < patch.offset + len(patch.data)) & (fragment.offsets + fragment.sizes > patch.offset)
    restored: dict[int, bytes] = {}
    for i in np.flatnonzero(begins).tolist() or [len(fragment) - 1]:
        number, offset, size = fragment.first_frame + i, int(fragment.offsets[i]), int(fragment.sizes[i])
        try:
            restored[number] = codec.decode(patch.read(file, offset, size), number)
        except DamagedFrameError:
            return None
    return restored


def restore(file: ByteFile, codec: FrameCodec, fragment: Fragment, number: int) -> dict[int, bytes]:
    """Return the payloads of frame ``number`` and of the others that the same damage reaches; empty if it is too much.

    Args:
        file: The file.
        codec: The codec of its pictures.
        fragment: The fragment of the frame.
        number: A frame that cannot be decoded.
    """
    i = number - fragment.first_frame
    if not fragment.covered or not 0 <= i < len(fragment):  # of damaged fragments, the numbers may be others
        return {}
    parity = mp4.parse_parity(file.read(fragment.start + fragment.covered, mp4.PARITY_BYTES))
    if parity is None or parity.length == _CHECKSUM:
        return {}
    first, size = int(fragment.offsets[i]), int(fragment.sizes[i])
    for patch in patches(file, fragment.start, parity, first, first + size):
        restored = restored_frames(file, codec, fragment, patch)
        if restored is not None and number in restored:
            return restored
    return {}


def _fold(folded: Bytes, data: Bytes, at: int) -> None:
    """Add the bytes ``at`` of a fragment to its parity."""
    length = len(folded)
    phase = at % length
    head = min(-phase % length, len(data))
    folded[phase : phase + head] ^= data[:head]
    lines = (len(data) - head) // length
    body = data[head : head + lines * length].reshape(lines, length)
    if lines:
        folded ^= np.bitwise_xor.reduce(body, axis=0)
    rest = data[head + lines * length :]
    folded[: len(rest)] ^= rest


def _beginnings(wrong: Bytes) -> list[int]:
    """Return where damage may begin in the parity: after each of the longest undamaged parts, which may go round."""
    damaged = np.flatnonzero(wrong)
    if not len(damaged):
        return []
    gaps = np.diff(damaged, prepend=damaged[-1] - len(wrong))
    longest: list[int] = damaged[np.argsort(-gaps, kind="stable")[:_GAPS]].tolist()
    return longest
