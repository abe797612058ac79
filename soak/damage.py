"""Ways to damage a file: flipped bits, zeroed sectors, truncation, stray bytes, swapped, doubled or moved blocks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["KINDS", "Damaged", "damage"]

_SECTOR, _PAGE = 512, 4096


class Damaged(NamedTuple):
    """Describe a damaged file: its bytes, the change, and the bytes of the original that it affects."""

    data: bytes
    what: str
    touched: list[tuple[int, int]]
    small: bool
    """Whether at most one sector is affected."""


def _over(data: bytes, start: int, new: bytes) -> bytes:
    return data[:start] + new + data[start + len(new) :]


def _flip_bit(data: bytes, rng: random.Random) -> Damaged:
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    return Damaged(_over(data, at, bytes([data[at] ^ 1 << bit])), f"bit {bit} of {at}", [(at, at + 1)], True)


def _two_bits(data: bytes, rng: random.Random) -> Damaged:
    first = _flip_bit(data, rng)
    near = min(len(data) - 1, first.touched[0][0] + rng.randrange(1, _PAGE))
    changed = _over(first.data, near, bytes([first.data[near] ^ 1]))
    return Damaged(changed, f"{first.what} and bit 0 of {near}", [*first.touched, (near, near + 1)], False)


def _noise(data: bytes, rng: random.Random) -> Damaged:
    at, size = rng.randrange(len(data)), rng.choice([1, 4, 64])
    new = rng.randbytes(size)[: len(data) - at]
    return Damaged(_over(data, at, new), f"noise {at}+{len(new)}", [(at, at + len(new))], True)


def _block(data: bytes, rng: random.Random, size: int) -> tuple[int, int]:
    start = rng.randrange(-(-len(data) // _SECTOR)) * _SECTOR
    return start, min(len(data), start + size)


def _zeros(data: bytes, rng: random.Random) -> Damaged:
    size = rng.choice([_SECTOR, _SECTOR, _PAGE])
    start, stop = _block(data, rng, size)
    what = f"zeros {start}-{stop}"
    return Damaged(_over(data, start, bytes(stop - start)), what, [(start, stop)], size == _SECTOR)


def _cut(data: bytes, rng: random.Random) -> Damaged:
    last = rng.random() < 0.5
    keep = len(data) - rng.randrange(1, min(len(data), 6000)) if last else rng.randrange(len(data))
    if rng.random() < 0.3:
        keep -= keep % _SECTOR
    return Damaged(data[:keep], f"cut to {keep}", [(keep, len(data))], False)


def _stray(data: bytes, rng: random.Random) -> Damaged:
    at, size = rng.randrange(len(data) + 1), rng.choice([1, 5, 20, 40, _SECTOR])
    new = rng.choice([rng.randbytes(size), bytes(size)])
    return Damaged(data[:at] + new + data[at:], f"{size} stray bytes at {at}", [(at, at + 1)], size <= 40)


def _missing(data: bytes, rng: random.Random) -> Damaged:
    at, size = rng.randrange(len(data)), rng.choice([1, 7, _SECTOR])
    stop = min(len(data), at + size)
    return Damaged(data[:at] + data[stop:], f"without {at}-{stop}", [(at, stop)], True)


def _swapped(data: bytes, rng: random.Random) -> Damaged:
    size = rng.choice([_SECTOR, _PAGE])
    (one, stop), (other, end) = _block(data, rng, size), _block(data, rng, size)
    length = min(stop - one, end - other)
    changed = _over(_over(data, one, data[other : other + length]), other, data[one : one + length])
    return Damaged(changed, f"blocks {one} and {other}+{length} swapped", [(one, stop), (other, end)], False)


def _doubled(data: bytes, rng: random.Random) -> Damaged:
    start, stop = _block(data, rng, rng.choice([_SECTOR, _PAGE]))
    return Damaged(data[:stop] + data[start:], f"block {start}-{stop} twice", [(start, stop + 1)], False)


def _copied(data: bytes, rng: random.Random) -> Damaged:
    (start, stop), (other, end) = _block(data, rng, _SECTOR), _block(data, rng, _SECTOR)
    length = min(stop - start, end - other)
    changed = _over(data, other, data[start : start + length])
    return Damaged(changed, f"block {start} over {other}+{length}", [(other, end)], True)


def _tail(data: bytes, rng: random.Random) -> Damaged:
    size = rng.choice([1, 20, _SECTOR, _PAGE])
    new = rng.choice([rng.randbytes(size), bytes(size), data[-size:]])
    return Damaged(data + new, f"{len(new)} bytes more", [(len(data), len(data))], True)


KINDS: dict[str, Callable[[bytes, random.Random], Damaged]] = {
    "flip": _flip_bit,
    "two flips": _two_bits,
    "noise": _noise,
    "zeros": _zeros,
    "cut": _cut,
    "stray": _stray,
    "missing": _missing,
    "swapped": _swapped,
    "doubled": _doubled,
    "copied": _copied,
    "tail": _tail,
}


def damage(data: bytes, rng: random.Random) -> Damaged:
    """Damage a file in a random way that changes it; an empty file gets bytes."""
    while True:
        kind = rng.choice(list(KINDS)) if data else "tail"
        made = KINDS[kind](data, rng)
        if made.data != data:
            return made._replace(what=f"{kind}: {made.what}")
