"""Reading the synonyms that a user gives: a file, or a dict."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from memvid_core.errors import InvalidInputError
from memvid_core.model import GivenSynonyms, plain_query
from memvid_core.words.analyzer import parse
from memvid_core.words.synonyms import Phrase, Synonyms

__all__ = ["read_synonyms"]

_LARGEST: Final = 16 << 20  # bytes of a file


def read_synonyms(given: GivenSynonyms | None) -> Synonyms | None:
    """Return the synonyms of a file or a dict; a file is read again when it has changed.

    Raises:
        InvalidInputError: The file cannot be read, or the value is of another type.

    Example:
        >>> list(read_synonyms({"car": ["motor car", "Automobile"]}).of_terms(("red", "car")))
        [(('car',), [('motor', 'car'), ('automobil',)])]
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return _synonyms((said, [others] if isinstance(others, str) else others) for said, others in given.items())
    if not isinstance(given, str | os.PathLike):
        raise InvalidInputError(
            f"synonyms are the path of a file or a dict, not a value of type {type(given).__name__}"
        )
    path = os.fspath(given)
    try:
        status = os.stat(path)
        if status.st_size > _LARGEST:
            raise InvalidInputError(f"the file of synonyms {path!r} is larger than {_LARGEST >> 20} MiB")
        return _of_file(path, status.st_mtime_ns, status.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the file of synonyms {path!r} cannot be read: {error}") from error


@lru_cache(maxsize=8)
def _of_file(path: str, changed: int, size: int) -> Synonyms:
    lines = (line for line in Path(path).read_text("utf-8-sig").splitlines() if not line.lstrip().startswith("#"))
    groups = [[phrase.strip() for phrase in line.split(",")] for line in lines]
    return _synonyms((said, others) for others in groups for said in others)


def _synonyms(groups: Iterable[tuple[str, Iterable[str]]]) -> Synonyms:
    return Synonyms((_tokens(said), map(_tokens, others)) for said, others in groups)


def _tokens(phrase: str) -> Phrase:
    return parse(plain_query(phrase)).terms
