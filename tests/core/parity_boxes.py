"""Make the parity of a commit unusable, for tests of damage that it cannot restore."""

from __future__ import annotations

from memvid_core.video import mp4

__all__ = ["without_parity"]


def without_parity(data: bytes | bytearray, offset: int) -> bytes:
    """Return the bytes of a memory with a wrong checksum in the parity of the commit at ``offset``."""
    made = bytearray(data)
    at = made.find(mp4.PARITY_MARK, offset)
    if at >= 0:
        made[at - 4 + mp4.PARITY_BYTES - 1] ^= 1
    return bytes(made)
