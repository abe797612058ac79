"""The contents of the symbols of a memory, and the rebuilding of lost ones.

The symbols of one commit are a *group*: data symbols, each a part of one frame's payload, then parity symbols. A symbol
    states its own place, so it can be read anywhere in a video, at any time and any number of times::

    magic 2  version 1  parity a block 1  stream 4  group 4  ordinal 4  data symbols 4  blocks 2  checksum 4  body
    body of a data symbol:   frame 4  part 1  parts 1  bytes
    body of a parity symbol: Reed-Solomon over (length 2, body) of every ``blocks``-th data symbol, padded with zeros
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.errors import CodecError, UnsupportedFormatError
from memvid_core.video.qr import reed_solomon

__all__ = ["OVERHEAD", "Group", "Symbol", "parse", "split"]

_HEAD = struct.Struct("<2sBBIIIIH")
_CHECK = struct.Struct("<I")
_PART = struct.Struct("<IBB")
_LENGTH = struct.Struct("<H")
_MAGIC = b"mQ"
_VERSION = 1
_HEAD_BYTES = _HEAD.size + _CHECK.size

OVERHEAD = _HEAD_BYTES + _LENGTH.size + _PART.size
"""The number of bytes of a symbol that are not payload."""


class Symbol(NamedTuple):
    """Hold one symbol.

    ``group`` is the number of the group's first frame. ``ordinal`` counts data symbols from 0 to ``total - 1``, then
    parity symbols, of which there are ``blocks`` times ``parity``.
    """

    stream: int
    group: int
    ordinal: int
    total: int
    blocks: int
    parity: int
    body: bytes

    @property
    def is_data(self) -> bool:
        """Whether the symbol carries a part of a payload."""
        return self.ordinal < self.total

    @property
    def part(self) -> tuple[int, int, int, bytes]:
        """The frame number, part number, number of parts and bytes of a data symbol."""
        frame, part, parts = _PART.unpack_from(self.body)
        return frame, part, parts, self.body[_PART.size :]

    def pack(self) -> bytes:
        """Return the bytes of the symbol."""
        head = _HEAD.pack(_MAGIC, _VERSION, self.parity, self.stream, self.group, self.ordinal, self.total, self.blocks)
        return head + _CHECK.pack(_checksum(head, self.body)) + self.body


def _checksum(head: bytes, body: bytes) -> int:
    return xxhash.xxh3_64_intdigest(body, xxhash.xxh3_64_intdigest(head)) & 0xFFFFFFFF


def parse(data: bytes) -> Symbol | None:
    """Parse the bytes of a symbol; return None if it does not belong to a memory.

    Raises:
        UnsupportedFormatError: The symbol has a newer version.
    """
    if len(data) < _HEAD_BYTES or data[:2] != _MAGIC:
        return None
    _, version, parity, stream, group, ordinal, count, blocks = _HEAD.unpack_from(data)
    body = data[_HEAD_BYTES:]
    if _CHECK.unpack_from(data, _HEAD.size)[0] != _checksum(data[: _HEAD.size], body):
        return None
    if version != _VERSION:
        raise UnsupportedFormatError(f"these symbols have version {version}, but this package reads version {_VERSION}")
    symbol = Symbol(stream, group, ordinal, count, blocks, parity, body)
    if not 0 < blocks <= count or ordinal >= count + blocks * parity or (symbol.is_data and len(body) < _PART.size):
        return None
    if parity and -(-count // blocks) + parity > reed_solomon.MAX_ROWS:  # not valid, and too large to rebuild
        return None
    return symbol


def split(
    payloads: Sequence[bytes], first: int, *, stream: int, room: int, share: float
) -> tuple[list[list[bytes]], list[bytes]]:
    """Split payloads into the contents of symbols.

    Args:
        payloads: The payloads of frames ``first``, ``first + 1``, ...
        first: The number of the first frame, which also identifies the group.
        stream: The number of the video.
        room: The number of bytes that a symbol carries.
        share: The share of the symbols that may be lost, 0 to 0.5.

    Returns:
        The data symbols of each frame, and the parity symbols.

    Raises:
        CodecError: A payload needs more than 255 symbols.
    """
    chunk = room - OVERHEAD
    bodies: list[list[bytes]] = []
    for number, payload in enumerate(payloads, first):
        parts = max(1, -(-len(payload) // chunk))
        if parts > 255:
            raise CodecError(f"a payload of {len(payload)} bytes needs {parts} symbols, more than 255")
        step = max(1, -(-len(payload) // parts))  # parts of equal size make the smallest parity symbols
        bodies.append([_PART.pack(number, i, parts) + payload[i * step : (i + 1) * step] for i in range(parts)])
    flat = [body for frame in bodies for body in frame]
    blocks, parity = _blocks(len(flat), share)

    def symbol(ordinal: int, body: bytes) -> bytes:
        return Symbol(stream, first, ordinal, len(flat), blocks, parity, body).pack()

    ordinals = iter(range(len(flat)))
    frames = [[symbol(next(ordinals), body) for body in frame] for frame in bodies]
    extra: list[bytes] = []
    if parity:
        length = max(map(len, flat)) + _LENGTH.size
        coded = [reed_solomon.encode(_matrix(flat[block::blocks], length), parity) for block in range(blocks)]
        # Ordinal count + j * blocks + b: blocks alternate, so that they share a burst of losses.
        rows = [coded[block][j].tobytes() for j in range(parity) for block in range(blocks)]
        extra = [symbol(len(flat) + i, row) for i, row in enumerate(rows)]
    return frames, extra


def _blocks(count: int, share: float) -> tuple[int, int]:
    """Return the number of Reed-Solomon blocks for ``count`` symbols, and parity rows per block, to lose ``share``."""
    if not share:
        return 1, 0
    blocks = 0
    while True:
        blocks += 1
        rows = -(-count // blocks)
        # One more row for several blocks: where data ends and parity begins, a burst may hit a block twice.
        parity = math.ceil(rows * share / (1 - share)) + (blocks > 1)
        if rows + parity <= reed_solomon.MAX_ROWS:
            return blocks, parity


def _matrix(bodies: Sequence[bytes], length: int) -> NDArray[np.uint8]:
    padded = b"".join((_LENGTH.pack(len(body)) + body).ljust(length, b"\0") for body in bodies)
    return np.frombuffer(padded, np.uint8).reshape(len(bodies), length)


class Group:
    """Collect the symbols of one commit.

    Example:
        >>> frames, extra = split([b"first payload", b"second"], 7, stream=1, room=50, share=0.3)
        >>> group = Group(parse(extra[0]))
        >>> group.add(parse(frames[0][0]))
        True
        >>> group.payloads()
        {7: b'first payload'}
        >>> group.rebuild()
        1
        >>> group.payloads()
        {7: b'first payload', 8: b'second'}
    """

    def __init__(self, symbol: Symbol) -> None:
        self.first = symbol.group
        self._shape = symbol[3:6]
        self._data: dict[int, bytes] = {}
        self._parity: dict[int, bytes] = {}
        self.add(symbol)

    @property
    def missing(self) -> int:
        """The number of data symbols that are neither seen nor rebuilt."""
        return int(self._shape[0]) - len(self._data)

    def add(self, symbol: Symbol) -> bool:
        """Add a symbol; return False if it is known or contradicts the others."""
        kept = self._data if symbol.is_data else self._parity
        if symbol[3:6] != self._shape or symbol.ordinal in kept:
            return False
        kept[symbol.ordinal] = symbol.body
        return True

    def rebuild(self) -> int:
        """Rebuild missing data symbols from the parity symbols, as far as possible; return how many."""
        count, blocks, _ = self._shape
        before = len(self._data)
        for block in sorted({(i - count) % blocks for i in self._parity}) if self.missing else ():
            parity = {(i - count) // blocks: row for i, row in self._parity.items() if (i - count) % blocks == block}
            lengths = {len(row) for row in parity.values()}
            ordinals = range(block, count, blocks)
            known = {i: self._data[ordinal] for i, ordinal in enumerate(ordinals) if ordinal in self._data}
            if len(lengths) != 1 or len(known) == len(ordinals):
                continue
            length = lengths.pop()
            if any(len(body) + _LENGTH.size > length for body in known.values()):
                continue
            rows = {i: _matrix([body], length)[0] for i, body in known.items()}
            coded = {j: np.frombuffer(row, np.uint8) for j, row in parity.items()}
            for i, row in (reed_solomon.rebuild(rows, coded, len(ordinals)) or {}).items():
                data = row.tobytes()
                (size,) = _LENGTH.unpack_from(data)
                self._data[ordinals[i]] = data[_LENGTH.size : _LENGTH.size + size]
        return len(self._data) - before

    def payloads(self) -> dict[int, bytes]:
        """Return the complete payloads by frame number."""
        found: dict[int, dict[int, bytes]] = {}
        wanted: dict[int, int] = {}
        for body in self._data.values():
            if len(body) >= _PART.size:
                frame, part, parts = _PART.unpack_from(body)
                found.setdefault(frame, {})[part] = body[_PART.size :]
                wanted[frame] = parts
        return {
            frame: b"".join(found[frame][i] for i in range(parts))
            for frame, parts in sorted(wanted.items())
            if all(i in found[frame] for i in range(parts))
        }

    def lost(self) -> list[int]:
        """Return the numbers of the frames that are incomplete."""
        frames = {_PART.unpack_from(body)[0] for body in self._data.values() if len(body) >= _PART.size}
        return sorted(frames - self.payloads().keys())
