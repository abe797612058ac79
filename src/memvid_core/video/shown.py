"""Payloads that players show: an SEI message with the envelope and the beginning of a payload, then a coded picture.

A payload of this kind ends with a slice of H.264, which a decoder shows as it is. The checksum covers all of it, as in
any other frame; only the layout differs::

    length SEI( user_data_unregistered( UUID envelope beginning ) )  length slice

A reader never decodes the slice.
"""

from __future__ import annotations

from typing import Final

from memvid_core.errors import DamagedFrameError
from memvid_core.video.bitstream import escaped, rbsp_of
from memvid_core.video.codec import ENVELOPE_BYTES, Sample, seal, unseal

__all__ = ["MARK", "Shown", "coded_payload", "coded_size", "is_delta", "is_shown", "sample", "sealed_shown"]

_IDR: Final = 5  # nal_unit_type
_LENGTH: Final = 4  # bytes before each NAL unit
_BEGINNING: Final = 28  # bytes of the payload before the slice
_UUID: Final = b"memvid picture 1"  # without zeros, so that it is never escaped
_SEALED: Final = ENVELOPE_BYTES + _BEGINNING
MARK: Final = bytes((6, 5, len(_UUID) + _SEALED)) + _UUID
"""The first bytes of the SEI message: NAL unit type 6, payload type 5, payload size, UUID (7.3.2.3, D.1.7)."""
_MOST_SEI: Final = len(MARK) + _SEALED + _SEALED // 2 + 2


class Shown(bytes):
    """A payload that ends with a slice of H.264, from its 29th byte on.

    Example:
        >>> Shown(bytes(28) + bytes([0x65])).is_key
        True
    """

    @property
    def is_key(self) -> bool:
        """Whether the picture depends on no other."""
        return self[_BEGINNING] & 31 == _IDR


def sample(payload: Shown, number: int) -> Sample:
    """Code a payload as the picture of frame ``number``."""
    sealed = seal(payload, number)
    sei = escaped(MARK + sealed[:_SEALED] + b"\x80")
    nal = sealed[_SEALED:]
    return b"".join((len(sei).to_bytes(4, "big"), sei, len(nal).to_bytes(4, "big"), nal)), payload.is_key


def is_shown(coded: bytes, start: int = _LENGTH) -> bool:
    """Return whether such an SEI message begins at ``start``."""
    return coded.startswith(MARK, start)


def is_delta(coded: bytes) -> bool:
    """Return whether a sample is such a picture, and depends on the one before it."""
    if not is_shown(coded):
        return False
    start = 2 * _LENGTH + int.from_bytes(coded[:_LENGTH], "big")
    return start < len(coded) and coded[start] & 31 != _IDR


def sealed_shown(coded: bytes, start: int = _LENGTH) -> bytes | None:
    """Return the payload in its envelope, whose SEI message begins at ``start`` of ``coded``; None if it is cut."""
    sei = rbsp_of(coded[start : start + _MOST_SEI])
    size = int.from_bytes(coded[start - _LENGTH : start], "big")
    head = sei[len(MARK) : len(MARK) + _SEALED]
    slice_at = start + size + _LENGTH
    if len(head) < _SEALED or not len(MARK) + _SEALED < size <= _MOST_SEI:
        return None
    length = int.from_bytes(head[:4], "little") - _BEGINNING
    return head + coded[slice_at : slice_at + length] if 0 < length <= len(coded) - slice_at else None


def coded_size(coded: bytes, start: int) -> int:
    """Return the size of the sample whose SEI message begins at ``start``, in bytes, with the length before it."""
    after = start + int.from_bytes(coded[start - _LENGTH : start], "big")
    return after - start + 2 * _LENGTH + int.from_bytes(coded[after : after + _LENGTH], "big")


def coded_payload(coded: bytes, number: int) -> bytes:
    """Return the payload of frame ``number``, checked.

    Raises:
        DamagedFrameError: The picture or what stands before it has changed.
    """
    sealed = sealed_shown(coded)
    if sealed is None or coded_size(coded, _LENGTH) != len(coded):
        raise DamagedFrameError(number, "its picture is cut, or its lengths do not match")
    return unseal(sealed, number)
