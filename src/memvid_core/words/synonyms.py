"""Synonyms of a user: words and phrases that mean the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from memvid_core.errors import InvalidInputError
from memvid_core.model import GivenSynonyms, plain_query
from memvid_core.words.analyzer import parse

__all__ = ["Synonyms"]

Phrase = tuple[str, ...]
_LARGEST: Final = 16 << 20  # bytes of a file
_MOST: Final = 16  # synonyms of one query


class Synonyms:
    """Phrases with other phrases to search for.

    Args:
        groups: Pairs of a phrase and its synonyms.

    Example:
        >>> synonyms = Synonyms([("car", ["motor car", "Automobile"])])
        >>> list(synonyms.of_terms(("red", "car")))
        [(('car',), [('motor', 'car'), ('automobil',)])]
    """

    def __init__(self, groups: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._others: dict[Phrase, dict[Phrase, None]] = {}
        for said, others in groups:
            phrase = _tokens(said)
            known = self._others.setdefault(phrase, {}) if phrase else {}
            known.update((other, None) for other in map(_tokens, others) if other and other != phrase)
        self._longest = max(map(len, self._others), default=0)

    @classmethod
    def of(cls, given: GivenSynonyms | Synonyms | None) -> Synonyms | None:
        """Return the synonyms of a file or a dict; a file is read again when it has changed.

        Raises:
            InvalidInputError: The file cannot be read, or the value is of another type.
        """
        if given is None or isinstance(given, Synonyms):
            return given
        if isinstance(given, Mapping):
            return cls((said, [others] if isinstance(others, str) else others) for said, others in given.items())
        if not isinstance(given, str | os.PathLike):
            raise InvalidInputError(
                f"synonyms are the path of a file or a dict, not a value of type {type(given).__name__}"
            )
        path = os.fspath(given)
        try:
            status = os.stat(path)
            if status.st_size > _LARGEST:
                raise InvalidInputError(f"the file of synonyms {path!r} is larger than {_LARGEST >> 20} MiB")
            return _read(path, status.st_mtime_ns, status.st_size)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"the file of synonyms {path!r} cannot be read: {error}") from error

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


def _tokens(phrase: str) -> Phrase:
    return parse(plain_query(phrase)).terms


@lru_cache(maxsize=8)
def _read(path: str, changed: int, size: int) -> Synonyms:
    lines = (line for line in Path(path).read_text("utf-8-sig").splitlines() if not line.lstrip().startswith("#"))
    groups = [[phrase.strip() for phrase in line.split(",")] for line in lines]
    return Synonyms((said, others) for others in groups for said in others)
