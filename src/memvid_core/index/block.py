"""One block of posting lists, built from texts: numbers for tokens, then one sort of (number, row, place)."""

from __future__ import annotations

import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.index.tokens import analyse, inflected, words

__all__ = [
    "BLOCK_ROWS",
    "INSERT_BLOCK",
    "INSERT_LIST",
    "INSERT_SPELLING",
    "LAST_PLACE",
    "MAX_COUNT",
    "SCHEMA",
    "BlockBuilder",
]

BLOCK_ROWS: Final = 1 << 16
BLOCK_TOKENS: Final = 1 << 23
"""A block is full at this many rows or tokens: what a build holds in memory at once."""

LAST_PLACE: Final = (1 << 16) - 1
"""Phrases are not found in a text beyond so many tokens; words are."""

MAX_COUNT: Final = 255
"""A token that occurs more often in a row counts as often as this: BM25 is flat there."""

SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE blocks (first INTEGER PRIMARY KEY, rows INTEGER NOT NULL, tokens INTEGER NOT NULL, lengths BLOB NOT NULL);
CREATE TABLE postings (first INTEGER, token TEXT, rows BLOB NOT NULL, counts BLOB NOT NULL, places BLOB NOT NULL,
                       PRIMARY KEY (first, token)) WITHOUT ROWID;
CREATE TABLE spellings (word TEXT, token TEXT, PRIMARY KEY (word, token)) WITHOUT ROWID;
CREATE TABLE tail (row INTEGER PRIMARY KEY, tokens TEXT NOT NULL);
"""
INSERT_BLOCK: Final = "INSERT INTO blocks VALUES (?, ?, ?, ?)"
INSERT_LIST: Final = "INSERT INTO postings VALUES (?, ?, ?, ?, ?)"
INSERT_SPELLING: Final = "INSERT OR IGNORE INTO spellings VALUES (?, ?)"


class BlockBuilder:
    """Turns texts into the posting lists of one block: numbers for tokens, then one sort of (number, row, place)."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.lengths = array("i")
        self._stream = array("i")
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._words = _Numbered(self._numbers)

    @property
    def full(self) -> bool:
        """Whether the block should be written and another begun."""
        return len(self.lengths) >= BLOCK_ROWS or len(self._stream) >= BLOCK_TOKENS

    def add_text(self, text: str) -> None:
        """Analyse the text of the next row."""
        before = len(self._stream)
        self._stream.extend(chain.from_iterable(map(self._words.__getitem__, words(text))))
        self.lengths.append(len(self._stream) - before)

    def add_tokens(self, tokens: list[str]) -> None:
        """Take the tokens of the next row."""
        self._stream.extend(map(self._numbers.__getitem__, tokens))
        self.lengths.append(len(tokens))

    def write(self, sqlite: sqlite3.Connection) -> None:
        """Insert the block and its lists."""
        lengths = np.frombuffer(self.lengths, np.int32) if self.lengths else np.zeros(0, np.int32)
        if not len(lengths):
            return
        size = (self.first, len(lengths), len(self._stream))
        sqlite.executemany(INSERT_SPELLING, sorted(self._words.spellings))
        sqlite.execute(INSERT_BLOCK, (*size, lengths.astype("<i4").tobytes()))
        if self._stream:
            sqlite.executemany(INSERT_LIST, self._lists(lengths))

    def _lists(self, lengths: NDArray[np.int32]) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
        names = sorted(self._numbers)
        rank = np.empty(len(names), np.int64)
        rank[np.fromiter(map(self._numbers.__getitem__, names), np.int64, len(names))] = np.arange(len(names))
        # One sort of 64-bit keys (token, row, place) is several times faster than sorting positions by token.
        keys = rank[np.frombuffer(self._stream, np.int32)] << 32
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        keys |= np.repeat(np.arange(len(lengths)) << 16, lengths)
        keys |= np.minimum(np.arange(len(keys)) - np.repeat(starts, lengths), LAST_PLACE)
        keys.sort()
        pairs = keys >> 16
        opens = np.flatnonzero(np.concatenate([[True], pairs[1:] != pairs[:-1]]))
        counts = np.diff(opens, append=len(keys))
        place = (keys & 0xFFFF).astype("<u2")
        row, token = (pairs[opens] & 0xFFFF).astype("<u2"), pairs[opens] >> 16
        if counts.max() > MAX_COUNT:
            place = place[np.arange(len(keys)) - np.repeat(opens, counts) < MAX_COUNT]
            counts = np.minimum(counts, MAX_COUNT)
        ends = np.concatenate([[0], np.cumsum(counts)])
        bounds = np.searchsorted(token, np.arange(len(names) + 1))
        place_bounds = ends[bounds].tolist()
        row_bytes, count_bytes = row.tobytes(), counts.astype(np.uint8).tobytes()
        place_bytes = place.tobytes()
        low = low_place = 0
        for name, high, high_place in zip(names, bounds[1:].tolist(), place_bounds[1:], strict=True):
            lists = row_bytes[2 * low : 2 * high], count_bytes[low:high], place_bytes[2 * low_place : 2 * high_place]
            yield (self.first, name, *lists)
            low, low_place = high, high_place


class _Numbered(dict[str, tuple[int, ...]]):
    """Surface word to the numbers of its tokens; a word is analysed when it is first met."""

    def __init__(self, numbers: defaultdict[str, int]) -> None:
        super().__init__()
        self._numbers = numbers
        self.spellings: set[tuple[str, str]] = set()

    def __missing__(self, word: str) -> tuple[int, ...]:
        numbers = tuple(map(self._numbers.__getitem__, analyse(word)))
        self.spellings.update(inflected(word))
        if len(word) <= 32:  # longer ones hardly come back, and would fill the memory
            self[word] = numbers
        return numbers
