"""RecordReader: read single records from their frames, through a cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError
from memvid_core.journal import frames
from memvid_core.journal.entries import Row
from memvid_core.journal.frames import Flag, FrameHeader, RecordBlock
from memvid_core.model import FrameLocation
from memvid_core.video import FramePosition, VideoFile

__all__ = ["ByteCache", "RecordReader"]

V = TypeVar("V")
_decode: Callable[[msgspec.Raw], Row] = msgspec.msgpack.Decoder(Row).decode


class ByteCache(Generic[V]):
    """Cache the most recently used values up to a size in bytes; thread-safe.

    Example:
        >>> cache: ByteCache[str] = ByteCache(10)
        >>> for key in "abc":
        ...     _ = cache.get(key, lambda: (key * 2, 4))
        >>> "a" in cache, "c" in cache
        (False, True)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._items: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def get(self, key: Hashable, load: Callable[[], tuple[V, int]]) -> V:
        """Return the value of ``key``; if it is not cached, ``load`` returns it and its size in bytes."""
        with self._lock:
            held = self._items.get(key)
            if held is not None:
                self._items.move_to_end(key)
                self.hits += 1
                return held[0]
            self.misses += 1
        value, size = load()  # outside the lock: if two threads load the same key, the later value is kept
        with self._lock:
            replaced = self._items.pop(key, None)
            self.used += size - (replaced[1] if replaced else 0)
            self._items[key] = (value, size)
            while self.used > self.limit and len(self._items) > 1:
                self.used -= self._items.popitem(last=False)[1][1]
        return value

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._items.clear()
            self.used = 0


class RecordReader:
    """Read rows by number, decoding only their frames and blocks.

    Args:
        video: The file.
        locate: Function from a frame number to its FrameLocation, for bodies that continue in the next frame; None if
            that frame continues none.
        cache_bytes: The size of the cache in bytes: half for frame bodies, half for rows of decompressed blocks.
    """

    def __init__(
        self, video: VideoFile, locate: Callable[[int], FrameLocation | None], cache_bytes: int = 128 << 20
    ) -> None:
        self._video = video
        self._locate = locate
        self._bodies: ByteCache[tuple[memoryview | bytes, list[RecordBlock]]] = ByteCache(cache_bytes // 2)
        self.blocks: ByteCache[list[msgspec.Raw]] = ByteCache(cache_bytes // 2)

    def row(self, row: int, place: FrameLocation) -> Row:
        """Return id, text and metadata of ``row``, which is in the frame at ``place``.

        Raises:
            DamagedFrameError: If the frame is damaged.
        """
        first = place.row
        _, table = self._bodies.get(place.frame, lambda: self._body(place))
        for i, block in enumerate(table):
            if row - first < block.rows:
                rows = self.blocks.get((place.frame, i), partial(self._block, place, i))
                return _decode(rows[row - first])
            first += block.rows
        raise DamagedFrameError(place.frame, f"it does not contain row {row}")

    def prefetch(self, place: FrameLocation) -> None:
        """Decode a whole frame into the cache."""
        _, table = self._bodies.get(place.frame, lambda: self._body(place))
        for i in range(len(table)):
            self.blocks.get((place.frame, i), partial(self._block, place, i))

    def vectors(self, place: FrameLocation) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return row numbers (n,) and matrix (n, d) of the VECTORS frame at ``place``.

        Raises:
            DamagedFrameError: If the frame is damaged.
        """
        header, body = self._assemble(place)
        return frames.decode_vectors(header, body, place.frame)

    def clear(self) -> None:
        """Clear the cache."""
        self._bodies.clear()
        self.blocks.clear()

    def _assemble(self, place: FrameLocation) -> tuple[FrameHeader, memoryview | bytes]:
        """Return header and body of the frame at ``place``, including continuation frames."""
        number, parts = place.frame, []
        first, part = frames.parse(self._video.read(number, FramePosition(place.offset, place.size)), number)
        header = first
        parts.append(part)
        while header.flags & Flag.MORE:
            number += 1
            found = self._locate(number)
            if found is None:
                raise DamagedFrameError(number, "it is not a continuation frame")
            place = found
            header, part = frames.parse(self._video.read(number, FramePosition(place.offset, place.size)), number)
            parts.append(part)
        return first, parts[0] if len(parts) == 1 else b"".join(parts)

    def _body(self, place: FrameLocation) -> tuple[tuple[memoryview | bytes, list[RecordBlock]], int]:
        _, body = self._assemble(place)
        return (body, frames.decode_blocks(body, place.frame)), len(body)

    def _block(self, place: FrameLocation, index: int) -> tuple[list[msgspec.Raw], int]:
        body, table = self._bodies.get(place.frame, lambda: self._body(place))
        size = frames.raw_bytes(body, table[index], place.frame)
        return frames.decode_rows(body, table[index], place.frame, size), size
