"""Chunks: posting lists sorted by token, a few kilobytes in one blob, each with a checksum.

A block of rows has chunks and a directory with the first token and the checksums of each. A token is looked up by
bisection, and everything that is read is verified. So a missing token is known to be absent: the only chunk that could
contain it was read and is intact.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError

__all__ = [
    "Chunk",
    "Directory",
    "Lists",
    "PostingBlock",
    "checksum",
    "cut",
    "cut_spellings",
    "joined",
    "no_lists",
    "spans",
]

CHUNK_BYTES: Final = 1 << 13
_HEAD: Final = struct.Struct("<II")  # number of tokens, and their length in bytes
_KEPT_SPANS: Final = 32  # of a chunk, with about half of its bytes


def checksum(data: bytes, seed: int = 0) -> int:
    """Return 63 bits of xxh3, which fit into an SQLite integer."""
    return xxhash.xxh3_64_intdigest(data, seed) >> 1


class Lists(NamedTuple):
    """Posting lists of ascending tokens.

    Attributes:
        tokens: UTF-8, ascending, unique.
        starts: (tokens + 1,) int64, the start of each token's rows.
        rows: (postings,) uint16, ascending in each list, counted from the block's first row.
        counts: (postings,) uint8, occurrences of the token in the row.
        places: (sum of ``counts``,) uint16, the positions in the rows.
    """

    tokens: Sequence[bytes]
    starts: NDArray[np.int64]
    rows: NDArray[np.uint16]
    counts: NDArray[np.uint8]
    places: NDArray[np.uint16]


def no_lists() -> Lists:
    """Return the lists of rows without tokens."""
    return Lists([], np.zeros(1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint8), np.zeros(0, np.uint16))


class Directory(msgspec.Struct, array_like=True, frozen=True):
    """Describe a block: its size and its chunks.

    ``base`` is the number of its first chunk; chunks of spellings follow the chunks of lists. Keys are joined by line
    feeds. ``sums`` are little-endian uint64: of the lists and of the positions of each chunk, then of the spellings.
    """

    rows: int
    tokens: int
    base: int
    keys: bytes
    spelling_keys: bytes
    sums: bytes
    lengths: bytes


class Chunk:
    """Decode the lists of one chunk."""

    def __init__(self, data: bytes) -> None:
        count, size = _HEAD.unpack_from(data)
        self._tokens = data[_HEAD.size : _HEAD.size + size]
        at = _HEAD.size + size
        self._starts = np.frombuffer(data, "<u4", count + 1, at)
        at += 4 * (count + 1)
        postings = int(self._starts[-1])
        self.rows = np.frombuffer(data, "<u2", postings, at)
        self.counts = np.frombuffer(data, np.uint8, postings, at + 2 * postings)
        self._spans: dict[bytes, tuple[int, int]] = {}  # a question asks for the same token several times

    @property
    def tokens(self) -> list[bytes]:
        """The tokens of the chunk."""
        return self._tokens[1:-1].split(b"\n")

    @property
    def starts(self) -> NDArray[np.int64]:
        """The start of each token's rows, (tokens + 1,) int64."""
        return self._starts.astype(np.int64)

    def span(self, key: bytes) -> tuple[int, int]:
        """Return start and stop of a token's rows; an empty range if the chunk lacks the token."""
        known = self._spans.get(key)
        if known is None:
            if len(self._spans) == _KEPT_SPANS:
                self._spans = {}
            known = self._spans[key] = self._found(b"\n" + key + b"\n")
        return known

    def _found(self, line: bytes) -> tuple[int, int]:
        found = self._tokens.find(line)
        if found < 0:
            return 0, 0
        number = self._tokens.count(b"\n", 0, found)
        return int(self._starts[number]), int(self._starts[number + 1])

    def range(self, low: bytes, high: bytes, limit: int) -> tuple[int, int, int]:
        """Return start and stop of the rows of at most ``limit`` tokens in [``low``, ``high``), and their number."""
        tokens = self.tokens
        first = bisect_left(tokens, low)
        last = min(bisect_left(tokens, high), first + limit)
        if last <= first:
            return 0, 0, 0
        return int(self._starts[first]), int(self._starts[last]), last - first

    def place_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return start and stop of the positions of the postings in [``start``, ``stop``)."""
        before = int(self.counts[:start].sum(dtype=np.int64))
        return before, before + int(self.counts[start:stop].sum(dtype=np.int64))


class PostingBlock:
    """Find and verify the chunks of a block by its directory.

    Args:
        first: The first row of the block.
        data: The encoded directory.
        check: The checksum of the directory.

    Raises:
        IndexStaleError: If the directory is damaged.
    """

    def __init__(self, first: int, data: bytes, check: int) -> None:
        if checksum(data, first) != check:
            raise IndexStaleError(
                f"the directory of the block at row {first} of the lexical index is damaged; rebuild it"
            )
        directory = msgspec.msgpack.decode(data, type=Directory)
        self.first, self.check = first, check
        self.rows, self.tokens, self.base = directory.rows, directory.tokens, directory.base
        self.lengths = np.frombuffer(directory.lengths, "<i4").astype(np.int32)
        self._keys = directory.keys.split(b"\n") if directory.keys else []
        self._spelling_keys = directory.spelling_keys.split(b"\n") if directory.spelling_keys else []
        self._sums = np.frombuffer(directory.sums, "<u8").reshape(-1, 2).tolist()
        if len(self.lengths) != self.rows or len(self._sums) != self.chunks:
            raise IndexStaleError(
                f"the directory of the block at row {first} of the lexical index is inconsistent; rebuild it"
            )

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return len(self._keys) + len(self._spelling_keys)

    def chunk_of(self, key: bytes) -> int | None:
        """Return the only chunk that may contain a token, or None if no chunk can."""
        number = bisect_right(self._keys, key) - 1
        return None if number < 0 else number

    def chunks_of(self, low: bytes, high: bytes) -> range:
        """Return the chunks that may contain tokens in [``low``, ``high``)."""
        return range(max(0, bisect_right(self._keys, low) - 1), bisect_left(self._keys, high))

    def spelling_chunks_of(self, low: bytes, high: bytes) -> range:
        """Return the chunks that may contain spellings in [``low``, ``high``)."""
        lists = len(self._keys)
        keys = self._spelling_keys
        return range(lists + max(0, bisect_right(keys, low) - 1), lists + bisect_left(keys, high))

    @property
    def list_chunks(self) -> range:
        """The chunks with lists."""
        return range(len(self._keys))

    @property
    def spelling_chunks(self) -> range:
        """The chunks with spellings."""
        return range(len(self._keys), self.chunks)

    def verified(self, number: int, column: int, data: object) -> bytes:
        """Verify data that was read from a chunk, and return it.

        Args:
            number: The chunk's number in the block.
            column: 0 for lists or spellings, 1 for positions.
            data: The value of the column.

        Raises:
            IndexStaleError: If it is damaged.
        """
        if not isinstance(data, bytes) or checksum(data, self.base + number) != self._sums[number][column]:
            raise IndexStaleError(f"a posting list of the rows from {self.first} on is damaged; rebuild the index")
        return data


def cut(lists: Lists) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Split lists into chunks; yield the first token, the lists and the positions of each."""
    if not lists.tokens:
        return
    starts, ends = lists.starts[:-1], lists.starts[1:]
    place_ends = np.append(0, np.cumsum(lists.counts, dtype=np.int64))
    sizes = 3 * (ends - starts) + np.fromiter(map(len, lists.tokens), np.int64, len(lists.tokens)) + 5
    group = (np.cumsum(sizes) - sizes) // CHUNK_BYTES
    large = sizes > CHUNK_BYTES
    opens = np.ones(len(sizes), np.bool_)
    opens[1:] = (group[1:] != group[:-1]) | large[1:] | large[:-1]
    bounds = np.append(np.flatnonzero(opens), len(sizes)).tolist()
    rows, counts, places = lists.rows.astype("<u2", copy=False), lists.counts, lists.places.astype("<u2", copy=False)
    for low, high in pairwise(bounds):
        start, stop = int(lists.starts[low]), int(lists.starts[high])
        tokens = b"\n".join(lists.tokens[low:high])
        head = _HEAD.pack(high - low, len(tokens) + 2)
        offsets = (lists.starts[low : high + 1] - start).astype("<u4").tobytes()
        data = (head, b"\n", tokens, b"\n", offsets, rows[start:stop].tobytes(), counts[start:stop].tobytes())
        yield lists.tokens[low], b"".join(data), places[place_ends[start] : place_ends[stop]].tobytes()


def cut_spellings(spellings: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Split ascending spellings into chunks; yield the first spelling and all spellings of each."""
    for start in range(0, len(spellings), CHUNK_BYTES // 16):
        part = spellings[start : start + CHUNK_BYTES // 16]
        yield part[0], b"\n".join(part)


def joined(parts: Sequence[tuple[int, Chunk, bytes]]) -> Lists:
    """Join chunks of several blocks into the lists of one.

    Args:
        parts: In the order of the rows: the offset to add to the rows of a chunk, the chunk, and its positions.
    """
    if not parts:
        return no_lists()
    names = [chunk.tokens for _, chunk, _ in parts]
    tokens = sorted(set().union(*names))
    number_of = dict(zip(tokens, range(len(tokens)), strict=True))
    numbers = np.fromiter((number_of[token] for part in names for token in part), np.int64)
    rows = np.concatenate([chunk.rows + np.uint16(shift) for shift, chunk, _ in parts])
    counts = np.concatenate([chunk.counts for _, chunk, _ in parts])
    places = np.concatenate([np.frombuffer(data, "<u2") for _, _, data in parts])
    sizes = np.concatenate([np.diff(chunk.starts) for _, chunk, _ in parts])
    order = np.argsort(numbers, kind="stable")  # equal tokens stay in the order of the blocks
    starts = np.append(0, np.cumsum(sizes))
    postings = spans(starts[:-1][order], sizes[order])
    place_starts = np.append(0, np.cumsum(counts, dtype=np.int64))
    place_sizes = np.diff(place_starts[starts])
    at = spans(place_starts[starts[:-1]][order], place_sizes[order])
    totals = np.bincount(numbers, weights=sizes, minlength=len(tokens)).astype(np.int64)
    return Lists(tokens, np.append(0, np.cumsum(totals)), rows[postings], counts[postings], places[at])


def spans(starts: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Concatenate the numbers of several ranges.

    Example:
        >>> spans(np.array([5, 9]), np.array([2, 3])).tolist()
        [5, 6, 9, 10, 11]
    """
    after = np.append(0, np.cumsum(sizes))
    numbers: NDArray[np.int64] = np.arange(after[-1]) + np.repeat(starts - after[:-1], sizes)
    return numbers
