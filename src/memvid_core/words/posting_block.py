"""Build one block of posting lists from texts: transpose the table of the tokens of each row."""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import Final

import numpy as np

from memvid_core.words.analyzer import analyze, inflected, words
from memvid_core.words.chunks import Lists, no_lists, spans

__all__ = ["BLOCK_ROWS", "LAST_PLACE", "MAX_COUNT", "BlockBuilder", "Memo"]

BLOCK_ROWS: Final = 1 << 16
BLOCK_TOKENS: Final = 1 << 23
"""A block is full at this many rows or tokens. A build keeps one block in memory."""

PENDING_WORDS: Final = 1 << 16
"""This many words are collected as numbers before they are replaced by their tokens, all at once."""

LAST_PLACE: Final = (1 << 16) - 1
"""The last position that is stored. Beyond it words are found in a text, but not phrases."""

MAX_COUNT: Final = 255
"""The highest count of a token in a row: BM25 is flat beyond it."""

MEMO_WORDS: Final = 1 << 18
"""The maximum number of words that are cached with their tokens from one block to the next."""


class Memo(dict[str, tuple[tuple[str, ...], tuple[bytes, ...]]]):
    """Map a surface word to its tokens and spellings, analyzing it on first access."""

    def __missing__(self, word: str) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        found = analyze(word), tuple(f"{spelling}\t{token}".encode() for spelling, token in inflected(word))
        if len(word) <= 32 and len(self) < MEMO_WORDS:  # longer words rarely repeat and would fill the memory
            self[word] = found
        return found


class BlockBuilder:
    """Build the posting lists of one block: number the words, then replace them by the numbers of their tokens."""

    def __init__(self, first: int, memo: Memo) -> None:
        self.first = first
        self.lengths = array("i")
        self._stream = array("i")
        self._pending = array("i")
        self._ends: list[int] = []
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._words = _Numbered(self._numbers, memo)

    @property
    def full(self) -> bool:
        """Whether the block must be written before more rows are added."""
        return len(self.lengths) + len(self._ends) >= BLOCK_ROWS or len(self._stream) >= BLOCK_TOKENS

    def add_text(self, text: str) -> None:
        """Add the next row by its text."""
        self._pending.extend(map(self._words.__getitem__, words(text)))
        self._ends.append(len(self._pending))
        if len(self._pending) >= PENDING_WORDS:
            self._settle()

    def _settle(self) -> None:
        """Replace the collected words by their tokens, many at once in NumPy."""
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

    def add_tokens(self, tokens: list[str], spellings: list[bytes]) -> None:
        """Add the next row by its tokens and spellings."""
        self._settle()
        self._stream.extend(map(self._numbers.__getitem__, tokens))
        self.lengths.append(len(tokens))
        self._words.spellings.update(spellings)

    @property
    def spellings(self) -> list[bytes]:
        """The spellings of all rows, ascending."""
        return sorted(self._words.spellings)

    @property
    def tokens(self) -> int:
        """The number of tokens in all rows."""
        self._settle()
        return len(self._stream)

    def lists(self) -> Lists:
        """Return the posting lists of the block."""
        self._settle()
        if not self._stream:
            return no_lists()
        from scipy.sparse import csr_matrix  # a tenth of a second to import

        lengths = np.frombuffer(self.lengths, np.int32)
        ends = np.cumsum(lengths, dtype=np.int64)
        places = np.arange(len(self._stream)) - np.repeat(ends - lengths, lengths)
        cells = (
            np.minimum(places, LAST_PLACE).astype(np.uint16),
            np.frombuffer(self._stream, np.int32),
            np.append(0, ends),
        )
        # Transposing this table sorts it by token and keeps rows and positions in order: it only counts and moves,
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
        # Sort by token; tokens are numbered in the order of their first occurrence.
        names = [name.encode() for name in self._numbers]
        order = np.array(sorted(range(len(names)), key=names.__getitem__))
        sizes = np.diff(starts)
        after = np.append(0, np.cumsum(counts))[starts]
        row_at, place_at = spans(starts[:-1][order], sizes[order]), spans(after[:-1][order], np.diff(after)[order])
        return Lists(
            [names[number] for number in order.tolist()],
            np.append(0, np.cumsum(sizes[order])),
            rows[at][row_at].astype(np.uint16),
            counts[row_at].astype(np.uint8),
            place[place_at],
        )


class _Numbered(dict[str, int]):
    """Map a surface word to a number, and keep the numbers of its tokens."""

    def __init__(self, numbers: defaultdict[str, int], memo: Memo) -> None:
        super().__init__()
        self._numbers, self._memo = numbers, memo
        self.tokens, self.starts = array("i"), array("i", [0])
        self.spellings: set[bytes] = set()

    def __missing__(self, word: str) -> int:
        tokens, spellings = self._memo[word]
        self.tokens.extend(map(self._numbers.__getitem__, tokens))
        self.spellings.update(spellings)
        number = len(self.starts) - 1
        self.starts.append(len(self.tokens))
        if len(word) <= 32:  # longer words rarely repeat and would fill the memory
            self[word] = number
        return number
