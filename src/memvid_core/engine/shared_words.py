"""SharedWords: the words of a question, counted over all memories of a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from memvid_core.engine.search_request import SearchRequest
from memvid_core.vectors.among import Among, Found
from memvid_core.words.analyzer import parse
from memvid_core.words.bm25 import Extra, Shared, asked_too, length_step, sampled_normalization
from memvid_core.words.shard_words import Totals, WordCounter, shared_statistics
from memvid_core.words.wanted import Bar

__all__ = ["SharedWords", "Totals", "asked_together", "total_words"]


def total_words(rows: int, tokens: int, lengths: Callable[[int], Sequence[int]]) -> Totals:
    """Return the totals of all memories.

    Args:
        rows: The number of live rows.
        tokens: The number of their tokens.
        lengths: Returns the numbers of tokens of every so many-th live row.

    Example:
        >>> total_words(2, 10, lambda step: [3, 7][::step])
        Totals(rows=2, tokens=10, b=0.65)
    """
    sample = np.array(lengths(length_step(rows)), np.int32)
    return Totals(rows, tokens, sampled_normalization(sample, rows))


def asked_together(rows: Sequence[int], shared: Shared | None) -> list[tuple[Shared | None, Among]]:
    """Return what tells each of several memories how good rows the others have found.

    All of them must be asked for the same number of rows, of the same filter, and must answer.

    Args:
        rows: The number of live rows of each.
        shared: The statistics of the words of the question; None if it has none.
    """
    words = None if shared is None else shared._replace(bar=Bar())
    found, best, exact, total = Found(), Found(), Found(), max(sum(rows), 1)
    return [(words, Among(number, count / total, found, best, exact)) for number, count in enumerate(rows)]


class SharedWords:
    """The statistics of the words of questions over all memories.

    Args:
        totals: The totals.
        counter: Counts words in all memories.
    """

    def __init__(self, totals: Totals, counter: WordCounter) -> None:
        self._totals, self._counter = totals, counter
        self._latest: tuple[tuple[str, Extra], Shared] | None = None

    @property
    def mean_length(self) -> float:
        """The mean number of tokens of a live row."""
        return self._totals.tokens / self._totals.rows if self._totals.rows else 0.0

    def of(self, request: SearchRequest) -> Shared:
        """Return the statistics of a question; those of the latest one are kept."""
        assert request.text is not None
        question = request.text, request.extra
        if self._latest is None or self._latest[0] != question:
            self._latest = question, shared_statistics(*question, self._totals, self._counter)
        return self._latest[1]

    def asked_too(self, request: SearchRequest) -> dict[str, float]:
        """Return near words and synonyms of a question, with their weights."""
        assert request.text is not None
        return asked_too(parse(request.text), request.extra, self.of(request).near)

    def count(self, texts: Sequence[str]) -> None:
        """Count the words of several questions in one round."""
        self._counter.counts(sorted({term for text in texts for term in parse(text).terms}))
