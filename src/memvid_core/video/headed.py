"""Payloads with little padding: an SEI message with the beginning of a payload, then a picture with the rest.

A picture has whole macroblocks of 384 bytes. A frame of vectors of 768 bytes ends 48 bytes into its last macroblock;
with these 48 bytes before the slice, it needs one macroblock less::

    length SEI( user_data_unregistered( UUID beginning of envelope and payload ) )  length slice

The payload is the same as in the other layout, so nothing but the codec knows of it.
"""

from __future__ import annotations

from typing import Final

from memvid_core.video.bitstream import MACROBLOCK_BYTES, escaped, rbsp_of, samples_of, slice_nal
from memvid_core.video.codec import ENVELOPE_BYTES, Sample, seal

__all__ = ["HEAD_PATTERN", "Headed", "fits_better", "head_of", "headed_sample", "is_headed", "sealed_headed"]

_LENGTH: Final = 4  # bytes before each NAL unit
_BEGIN: Final = b"\x06\x05"  # NAL unit type 6, payload type 5 (7.3.2.3, D.1.7); the payload size is one byte
_UUID: Final = b"memvid payload 1"  # without zeros, so that it is never escaped
_MARK_BYTES: Final = len(_BEGIN) + 1 + len(_UUID)
_LEAST: Final = ENVELOPE_BYTES + 36  # bytes before a slice that has samples: so a matrix begins with it, or in it
_MOST: Final = 254 - len(_UUID)  # one byte tells the size; and with more, little would be saved
_LARGEST: Final = 64 * 64 * MACROBLOCK_BYTES  # of all samples of a picture
HEAD_PATTERN: Final = _BEGIN + b"[\x11-\xfe]" + _UUID
"""A regular expression of the first bytes of the SEI message."""


class Headed(bytes):
    """A payload that is coded in this layout."""


def _before(size: int) -> int:
    """Return how many bytes of a sealed payload of ``size`` bytes are best put before the slice; 0 for none."""
    if size <= _MOST:
        return size
    rest = size % MACROBLOCK_BYTES
    return max(rest, _LEAST) if 0 < rest <= _MOST else 0


def fits_better(size: int, *, matrix: bool = False) -> bool:
    """Return whether a payload of ``size`` bytes takes less space in this layout.

    Args:
        size: The size of the payload.
        matrix: Whether it must be possible to read its bytes from the 37th on in the slice.

    Example:
        >>> fits_better(36 + 127 * 768, matrix=True), fits_better(100), fits_better(100, matrix=True)
        (True, True, False)
    """
    before = _before(size + ENVELOPE_BYTES)
    return before == _LEAST < size + ENVELOPE_BYTES if matrix else before > 0


def headed_sample(payload: bytes, number: int, columns: int, rows: int) -> Sample:
    """Code a payload for which :func:`fits_better` is true as the picture of frame ``number``."""
    sealed = seal(payload, number)
    before = _before(len(sealed))
    sei = escaped(b"".join((_BEGIN, bytes((len(_UUID) + before,)), _UUID, sealed[:before], b"\x80")))
    nal = slice_nal(sealed[before:], columns, rows, number & 1)
    return b"".join((len(sei).to_bytes(4, "big"), sei, len(nal).to_bytes(4, "big"), nal)), True


def is_headed(coded: bytes, start: int = _LENGTH) -> bool:
    """Return whether such an SEI message begins at ``start``."""
    return coded.startswith(_UUID, start + 3) and coded.startswith(_BEGIN, start)


def head_of(coded: bytes, start: int = _LENGTH) -> tuple[bytes, int]:
    """Return the bytes before the slice, fewer if they are cut, and the place of the slice.

    The lengths before the NAL units are not used, because damage to them does not matter.

    Args:
        coded: Bytes that contain the sample.
        start: Where its SEI message begins.
    """
    before = max(coded[start + 2] - len(_UUID), 0)
    begin = end = start + _MARK_BYTES
    head = b""
    while len(head) < before and end < len(coded):  # again, for as many bytes as were put in
        end += before - len(head)
        head = rbsp_of(coded[begin:end])
    return head, end + 1 + _LENGTH


def sealed_headed(coded: bytes, start: int = _LENGTH) -> bytes | None:
    """Return the payload in its envelope, whose SEI message begins at ``start`` of ``coded``; None if it is cut."""
    head, slice_at = head_of(coded, start)
    size = ENVELOPE_BYTES + int.from_bytes(head[:4], "little")
    if not ENVELOPE_BYTES <= len(head) <= size <= len(coded) - start:
        return None
    if len(head) == size:
        return head
    rest, stop = size - len(head), slice_at + 2 * size + MACROBLOCK_BYTES
    if not rest <= min(_LARGEST, len(coded) - slice_at):
        return None
    # A copy of what comes before, for each of many pictures, would take time that grows with its square.
    samples = (samples_of(coded, slice_at) if len(coded) <= stop else samples_of(coded[slice_at:stop]))[:rest]
    return head + samples if len(samples) == rest else None
