"""ListReader: read the posting lists of one query, each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.words.near import Vocabulary
from memvid_core.words.postings import PLACE_BITS, Matches, PostingStore

__all__ = ["MAX_CHUNKS", "MAX_LISTS", "ListReader"]

MAX_LISTS: Final = 1 << 14
"""The maximum number of posting lists that the prefixes of one query read; further words are left out."""

MAX_CHUNKS: Final = 1 << 9
"""The maximum number of chunks of posting lists that are read to find near words."""


class ListReader:
    """Read the posting lists of one query: each token once, all prefixes within :data:`MAX_LISTS` lists."""

    def __init__(self, stores: Sequence[PostingStore], ends: Sequence[int]) -> None:
        self._stores = [*zip(stores, ends, strict=True)]
        self._allowance = MAX_LISTS
        self._found: dict[str, Matches] = {}
        self._sizes: dict[str, int] = {}
        self._places: dict[str, NDArray[np.int64]] = {}

    def find(self, token: str) -> Matches:
        """Find the rows that contain a token, and its number of occurrences in each."""
        if token not in self._found:
            parts, lists = [], 0
            for store, end in self._stores:
                matches, read = store.find(token, limit=self._limit(token))
                if len(matches.rows) and matches.rows[-1] >= end:
                    inside = int(np.searchsorted(matches.rows, end))
                    matches = Matches(matches.rows[:inside], matches.counts[:inside])
                if len(matches.rows):
                    parts.append(matches)
                lists += read
            self._found[token] = parts[0] if len(parts) == 1 else _end_to_end(parts)
            self._spend(token, lists)
        return self._found[token]

    def frequency(self, token: str) -> int:
        """Count the rows that contain a token, without joining its lists."""
        if token in self._found or token[-1] == "*" or any(store.rows > end for store, end in self._stores):
            return len(self.find(token).rows)
        if token not in self._sizes:
            self._sizes[token] = sum(store.frequency(token, limit=MAX_LISTS) for store, _ in self._stores)
        return self._sizes[token]

    def counts_of_all(self, exists: NDArray[np.bool_] | None, most: int) -> dict[str, int] | None:
        """Return the number of rows of each token.

        Args:
            exists: The rows that count, by row number; None for all.
            most: The maximum number of tokens.

        Returns:
            The numbers by token, without tokens of no row; None if there are more tokens, or rows that do not count.
        """
        found: dict[str, int] = {}
        for store, end in self._stores:
            if store.rows > end:
                return None
            for tokens, counts in store.counts_of_all(exists):
                for token, count in zip(tokens, counts, strict=True):
                    if count:
                        found[token] = found.get(token, 0) + count
                if len(found) > most:
                    return None
        return found

    def find_among(self, token: str, rows: NDArray[np.int64]) -> Matches:
        """Find which of a few rows, ascending, contain a token, and its number of occurrences in each."""
        return _end_to_end([store.find_among(token, rows, limit=MAX_LISTS) for store, _ in self._stores])

    def like(self, word: str) -> list[Vocabulary]:
        """Return the words that begin like one."""
        return [vocabulary for store, _ in self._stores for vocabulary in store.like(word, limit=MAX_CHUNKS)]

    def any_of(self, tokens: Sequence[str]) -> Matches:
        """Find the rows that contain any of some tokens, and the sum of their occurrences in each."""
        return _joined([self.find(token) for token in tokens])

    def any_of_phrases(self, phrases: Sequence[Sequence[str]]) -> Matches:
        """Find the rows that contain any of some phrases; a phrase of several tokens counts once."""
        return _joined([self._phrase(tuple(phrase)) for phrase in phrases])

    def _phrase(self, phrase: tuple[str, ...]) -> Matches:
        if len(phrase) == 1:
            return self.find(phrase[0])
        rows = self.rows_with(phrase)
        return Matches(rows, np.ones(len(rows), np.float32))

    def rows_with(self, phrase: tuple[str, ...]) -> NDArray[np.int64]:
        """Find the rows that contain the tokens of a phrase in sequence."""
        if len(phrase) == 1:
            return self.find(phrase[0]).rows
        rarest, *others = sorted(range(len(phrase)), key=lambda number: len(self._at(phrase[number])))
        starts = self._at(phrase[rarest]) - rarest
        for number in others:
            places = self._at(phrase[number])
            at = np.searchsorted(places, starts + number)
            starts = starts[np.append(places, -1)[at] == starts + number]
        rows: NDArray[np.int64] = np.unique(starts >> PLACE_BITS, return_counts=True)[0]  # as in engine/fusion
        return rows

    def _at(self, token: str) -> NDArray[np.int64]:
        """Find every position of a token."""
        if token not in self._places:
            places, lists = [np.zeros(0, np.int64)], 0
            for store, end in self._stores:
                found, read = store.places(token, limit=self._limit(token))
                places.append(found[: np.searchsorted(found, end << PLACE_BITS)])
                lists += read
            self._places[token] = np.concatenate(places)
            self._spend(token, lists)
        return self._places[token]

    def _limit(self, token: str) -> int:
        return self._allowance if token[-1] == "*" else MAX_LISTS

    def _spend(self, token: str, lists: int) -> None:
        if token[-1] == "*":
            self._allowance = max(0, self._allowance - lists)


def _end_to_end(parts: Sequence[Matches]) -> Matches:
    """Return the matches of successive ranges of rows as one."""
    rows = np.concatenate([np.zeros(0, np.int64), *(part.rows for part in parts)])
    return Matches(rows, np.concatenate([np.zeros(0, np.float32), *(part.counts for part in parts)]))


def _joined(found: Sequence[Matches]) -> Matches:
    """Return the rows of several matches, with the sums of their counts."""
    rows, places = np.unique(np.concatenate([np.zeros(0, np.int64), *(one.rows for one in found)]), return_inverse=True)
    counts = np.bincount(places, np.concatenate([np.zeros(0), *(one.counts for one in found)]), len(rows))
    return Matches(rows, counts.astype(np.float32))
