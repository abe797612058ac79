"""Synonyms: phrases of tokens that mean the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

__all__ = ["Phrase", "Synonyms"]

Phrase = tuple[str, ...]
_MOST: Final = 16  # synonyms of one query


class Synonyms:
    """Phrases with other phrases to search for.

    Args:
        groups: Pairs of a phrase and its synonyms, as tokens.

    Example:
        >>> synonyms = Synonyms([(("car",), [("motor", "car"), ("automobil",)])])
        >>> list(synonyms.of_terms(("red", "car")))
        [(('car',), [('motor', 'car'), ('automobil',)])]
    """

    def __init__(self, groups: Iterable[tuple[Phrase, Iterable[Phrase]]]) -> None:
        self._others: dict[Phrase, dict[Phrase, None]] = {}
        for phrase, others in groups:
            known = self._others.setdefault(phrase, {}) if phrase else {}
            known.update((other, None) for other in others if other and other != phrase)
        self._longest = max(map(len, self._others), default=0)

    def of_terms(self, terms: Sequence[str]) -> Iterator[tuple[Phrase, list[Phrase]]]:
        """Yield each phrase in the terms of a query that has synonyms, with these: the longest phrase at each place."""
        place, left = 0, _MOST
        while place < len(terms) and left > 0:
            for size in range(min(self._longest, len(terms) - place), 0, -1):
                phrase = tuple(terms[place : place + size])
                if phrase in self._others:
                    others = list(self._others[phrase])[:left]
                    left -= len(others)
                    yield phrase, others
                    place += size - 1
                    break
            place += 1
