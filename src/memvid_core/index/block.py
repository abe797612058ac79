"""One block of posting lists, built from texts: the table of which tokens a row has, transposed."""

from __future__ import annotations

import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Iterator
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

PENDING_WORDS: Final = 1 << 16
"""So many words wait as numbers until they are replaced by their tokens, all at once."""

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
    """Turns texts into the posting lists of one block: each word to its number, then all of them to those of tokens."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.lengths = array("i")
        self._stream = array("i")
        self._pending = array("i")
        self._ends: list[int] = []
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._words = _Numbered(self._numbers)

    @property
    def full(self) -> bool:
        """Whether the block should be written and another begun."""
        return len(self.lengths) + len(self._ends) >= BLOCK_ROWS or len(self._stream) >= BLOCK_TOKENS

    def add_text(self, text: str) -> None:
        """Analyse the text of the next row."""
        self._pending.extend(map(self._words.__getitem__, words(text)))
        self._ends.append(len(self._pending))
        if len(self._pending) >= PENDING_WORDS:
            self._settle()

    def _settle(self) -> None:
        """Replace the words that wait by their tokens: many at once, in NumPy."""
        if not self._ends:
            return
        starts = np.array(self._words.starts)
        pending = np.frombuffer(self._pending, np.int32) if self._pending else np.zeros(0, np.int32)
        first, sizes = starts[pending], np.diff(starts)[pending]
        after = np.append(0, np.cumsum(sizes))
        at = np.arange(after[-1]) + np.repeat(first - after[:-1], sizes)
        self._stream.frombytes(np.array(self._words.tokens)[at].tobytes())
        self.lengths.frombytes(np.diff(after[np.array(self._ends)], prepend=0).astype(np.int32).tobytes())
        self._pending = array("i")
        self._ends.clear()

    def add_tokens(self, tokens: list[str]) -> None:
        """Take the tokens of the next row."""
        self._settle()
        self._stream.extend(map(self._numbers.__getitem__, tokens))
        self.lengths.append(len(tokens))

    def write(self, sqlite: sqlite3.Connection) -> None:
        """Insert the block and its lists."""
        self._settle()
        lengths = np.frombuffer(self.lengths, np.int32) if self.lengths else np.zeros(0, np.int32)
        if not len(lengths):
            return
        size = (self.first, len(lengths), len(self._stream))
        sqlite.executemany(INSERT_SPELLING, sorted(self._words.spellings))
        sqlite.execute(INSERT_BLOCK, (*size, lengths.astype("<i4").tobytes()))
        if self._stream:
            sqlite.executemany(INSERT_LIST, self._lists(lengths))

    def _lists(self, lengths: NDArray[np.int32]) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
        """Yield each token with its lists, in the order of the tokens."""
        from scipy.sparse import csr_matrix  # a tenth of a second to import

        ends = np.cumsum(lengths, dtype=np.int64)
        places = np.arange(len(self._stream)) - np.repeat(ends - lengths, lengths)
        cells = (
            np.minimum(places, LAST_PLACE).astype(np.uint16),
            np.frombuffer(self._stream, np.int32),
            np.append(0, ends),
        )
        # Transposing this table sorts it by token and leaves rows and places in their order: it only counts and moves,
        # which is faster than sorting keys.
        columns = csr_matrix(cells, shape=(len(lengths), len(self._numbers))).tocsc()
        rows, place, bounds = columns.indices, columns.data, columns.indptr
        opens = np.empty(len(rows), np.bool_)
        np.not_equal(rows[1:], rows[:-1], out=opens[1:])
        opens[bounds[:-1]] = True  # every number has a token, so no column is empty
        at = np.flatnonzero(opens)
        counts = np.diff(at, append=len(rows))
        starts = np.searchsorted(at, bounds)
        if counts.max() > MAX_COUNT:
            place = place[np.arange(len(rows)) - np.repeat(at, counts) < MAX_COUNT]
            counts = np.minimum(counts, MAX_COUNT)
        place_starts = np.append(0, np.cumsum(counts))[starts]
        row_bytes, count_bytes = rows[at].astype("<u2").tobytes(), counts.astype(np.uint8).tobytes()
        place_bytes = place.astype("<u2", copy=False).tobytes()
        spans = [
            *zip(starts.tolist(), starts[1:].tolist(), place_starts.tolist(), place_starts[1:].tolist(), strict=False)
        ]
        for name, number in sorted(self._numbers.items()):
            low, high, low_place, high_place = spans[number]
            lists = row_bytes[2 * low : 2 * high], count_bytes[low:high], place_bytes[2 * low_place : 2 * high_place]
            yield (self.first, name, *lists)


class _Numbered(dict[str, int]):
    """Surface word to a number, and the numbers of its tokens; a word is analysed when it is first met."""

    def __init__(self, numbers: defaultdict[str, int]) -> None:
        super().__init__()
        self._numbers = numbers
        self.tokens, self.starts = array("i"), array("i", [0])
        self.spellings: set[tuple[str, str]] = set()

    def __missing__(self, word: str) -> int:
        self.tokens.extend(map(self._numbers.__getitem__, analyse(word)))
        self.spellings.update(inflected(word))
        number = len(self.starts) - 1
        self.starts.append(len(self.tokens))
        if len(word) <= 32:  # longer ones hardly come back, and would fill the memory
            self[word] = number
        return number
