"""Words of several indexes that are searched together: what each is asked, and the statistics that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from memvid_core.words.analyzer import parse
from memvid_core.words.bm25 import Extra, Shared, chosen_terms, live_rows
from memvid_core.words.lexical_index import LexicalIndex
from memvid_core.words.near import MAX_WORDS, asked_grams, by_distance, has_near, most_frequent, near_grams

__all__ = ["ShardWords", "Totals", "WordCounter", "shared_statistics"]


class Totals(NamedTuple):
    """The numbers of live rows and of their tokens, and the length normalization."""

    rows: int
    tokens: int
    b: float


class WordCounter(Protocol):
    """Counts words in all indexes."""

    def counts(self, tokens: Sequence[str]) -> Mapping[str, int]:
        """Return the number of live rows of each token."""
        ...

    def frequencies(self, tokens: Sequence[str]) -> Mapping[str, int]:
        """Return the number of rows of each token, including deleted ones."""
        ...

    def near(self, words: Sequence[str]) -> list[list[list[str]]]:
        """Return, for each missing word, the near tokens at distance 1, and for long words at distance 2."""
        ...

    def any_counts(self, groups: Sequence[Sequence[str]]) -> list[int]:
        """Return, for each group of tokens, the number of live rows with any of them."""
        ...


class ShardWords:
    """The words of one of several indexes; all numbers add up over the indexes.

    Args:
        index: The index.
        live: (n,) bool, its live rows, read-only.
    """

    def __init__(self, index: LexicalIndex, live: NDArray[np.bool_]) -> None:
        self._index, self._live = index, live

    def totals(self) -> tuple[int, int]:
        """Return the numbers of live rows and of their tokens."""
        counted = self._index.counted(self._live)
        return counted.rows, counted.tokens

    def lengths(self, first: int, step: int) -> list[int]:
        """Return the numbers of tokens of every ``step``-th live row, from the ``first``-th on."""
        counted = self._index.counted(self._live)
        lengths = counted.lengths if counted.exists is None else counted.lengths[counted.exists]
        found: list[int] = lengths[first::step].tolist()
        return found

    def counts(self, tokens: Sequence[str]) -> list[int]:
        """Return the number of live rows of each token."""
        with self._index.reading() as reader:
            counted = self._index.counted(self._live)
            return [live_rows(reader, counted, token) for token in tokens]

    def counts_of_all(self, most: int) -> dict[str, int] | None:
        """Return the number of live rows of each token that has any; None if there are more than ``most`` tokens."""
        with self._index.reading() as reader:
            return reader.counts_of_all(self._index.counted(self._live).exists, most)

    def frequencies(self, tokens: Sequence[str]) -> list[int]:
        """Return the number of rows of each token, including deleted ones."""
        return list(self._index.frequencies(tokens).values())

    def near(self, words: Sequence[str]) -> list[list[list[str]]]:
        """Return, for each missing word, the near tokens at distance 1, and for long words at distance 2."""
        with self._index.reading() as reader:
            return [[sorted(tokens) for tokens in by_distance(word, reader.like(word))] for word in words]

    def any_counts(self, groups: Sequence[Sequence[str]]) -> list[int]:
        """Return, for each group of tokens, the number of live rows with any of them."""
        with self._index.reading() as reader:
            found = [reader.any_of(group) for group in groups]
            inside = [one.rows[one.rows < len(self._live)] for one in found]
            return [int(np.count_nonzero(self._live[rows])) for rows in inside]


def shared_statistics(query: str, extra: Extra, totals: Totals, counter: WordCounter) -> Shared:
    """Return the statistics of a question over all indexes.

    Args:
        query: As for :meth:`LexicalIndex.search`.
        extra: As for :meth:`LexicalIndex.search`.
        totals: The totals of all indexes.
        counter: Counts words in all indexes.
    """
    parsed = parse(query)
    terms = chosen_terms(parsed.terms, counter.frequencies)
    counts = dict(counter.counts(list(terms)))
    near: dict[str, tuple[list[str], int]] = {}
    missing = [token for token in terms if not counts[token]]
    if extra.synonyms is not None:
        told = {token for said, _ in extra.synonyms.of_terms(parsed.terms) for token in said}
        missing = [token for token in missing if token not in told]
    if extra.fuzzy and missing:
        found = _near(parsed.terms, missing, counts, counter)
        several = [others for others in found.values() if not _is_counted(others, counts)]
        unknown = iter(counter.any_counts(several) if several else [])
        for token, others in found.items():  # their scores are added in this order, as in one index
            near[token] = others, counts[others[0]] if _is_counted(others, counts) else next(unknown)
    return Shared(*totals, terms, {token: counts[token] for token in terms}, near)


def _is_counted(tokens: Sequence[str], counts: Mapping[str, int]) -> bool:
    """Return whether the number of rows with any of some tokens is that of one token, which is known."""
    return len(tokens) == 1 and tokens[0] in counts


def _near(
    terms: Sequence[str], missing: Sequence[str], counts: dict[str, int], counter: WordCounter
) -> dict[str, list[str]]:
    """Return near tokens of missing ones; tokens are counted together, a few times at most."""

    def count(tokens: set[str]) -> None:
        unknown = sorted(tokens.difference(counts))
        if unknown:
            counts.update(counter.counts(unknown))

    count(set(terms))
    count(asked_grams(terms, counts.__getitem__))
    grams = near_grams(terms, counts.__getitem__)
    found = {token: others for token, others in grams.items() if token in missing}
    words = [token for token in missing if has_near(token)][:MAX_WORDS]
    nearest = counter.near(words) if words else []
    count({token for distances in nearest for tokens in distances for token in tokens})
    for word, distances in zip(words, nearest, strict=True):
        if others := most_frequent(distances, counts.__getitem__):
            found[word] = others
    return found
