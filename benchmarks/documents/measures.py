"""What a reader kept of a document: its words, their order, and the rows of its tables."""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

from benchmarks.documents.corpus import TABLES_ALONE, Made, Part, Text, tokens

__all__ = ["Measured", "common", "golden_texts", "measure"]


class Measured(NamedTuple):
    """Hold what a reader made of one file, each a share of 1."""

    kept: float
    twice: float
    order: float
    rows: float


def measure(made: Made, read: str) -> Measured:
    """Compare a text that was read with the content of the document."""
    language = made.text.language
    wanted, found = tokens("\n".join(made.text.blocks(made.format)), language), tokens(read, language)
    there, got = Counter(wanted), Counter(found)
    lines = [tokens(line, language) for line in read.split("\n")]
    rows = [tokens(" ".join(row), language) for row in made.text.rows(made.format)]
    # Lines of records repeat the names of columns between the cells.
    right = sum(any(common(row, line) == len(row) for line in lines if len(line) >= len(row)) for row in rows)
    names = Counter(tokens(" ".join(made.text.names(made.format)), language))
    # Records repeat the names of columns, so their order is that of the values.
    values = [word for word in wanted if word not in names] if made.format in TABLES_ALONE else wanted
    return Measured(
        (there & got).total() / there.total(),
        Counter({word: count for word, count in (got - there).items() if word not in names}).total() / there.total(),
        common(values, found) / len(values),
        right / len(rows),
    )


def common(first: list[str], second: list[str]) -> int:
    """Return the length of the longest common subsequence (Hyyrö 2004: bits of one large number).

    Example:
        >>> common(list("abcbdab"), list("bdcaba"))
        4
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    all_ones = (1 << len(first)) - 1
    row = all_ones
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & all_ones
    return len(first) - row.bit_count()


def golden_texts(content: str) -> list[Text]:
    """Return the texts of a PDF that ``--golden`` printed."""
    return [Text(language, [Part(*part) for part in parts]) for language, parts in json.loads(content)]
