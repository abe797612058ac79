"""The content of documents of known words, order and tables, in twelve scripts."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.documents.languages import SENTENCES, UNSPACED

__all__ = ["TABLES_ALONE", "Part", "Text", "make", "tokens"]

TABLES_ALONE = frozenset(("csv", "json", "jsonl", "ods", "xlsx"))
_ONE_TABLE = frozenset(("csv", "json", "jsonl"))
_MAIL = frozenset(("eml", "mbox", "msg"))
_RUN = re.compile(r"[0-9A-Za-z]+|[^\W0-9A-Za-z_][^\s0-9A-Za-z_.,;:!?|。、，！？：；「」《》()\[\]*#-]*")
_WRAP = re.compile(r"(?<=[^\x00-\x7f])\n(?=[^\x00-\x7f])")
_WORD = re.compile(r"\w[\w'’\u0900-\u097f\u0300-\u036f\u0590-\u05ff]*")


class Part(NamedTuple):
    """Hold a section of a document: its heading, its paragraphs, the items of its list, the rows of its table."""

    heading: str
    paragraphs: list[str]
    items: list[str]
    rows: list[list[str]]


class Text(NamedTuple):
    """Hold the content of a document."""

    language: str
    parts: list[Part]

    def blocks(self, format_name: str) -> Iterator[str]:
        """Yield its texts in reading order, as far as a format has them."""
        for part in self._parts(format_name):
            if format_name not in TABLES_ALONE:
                yield part.heading
                yield from part.paragraphs
                yield from part.items
            for row in part.rows:
                yield from row

    def rows(self, format_name: str) -> list[list[str]]:
        """Return the rows of its tables without their headers."""
        return [row for part in self._parts(format_name) for row in part.rows[1:]]

    def names(self, format_name: str) -> list[str]:
        """Return what a reader may repeat: the names of columns, and the headers of a mail."""
        headers = ["From ada@example.org", "To bob@example.org", "Subject", self.parts[0].heading]
        columns = [name for part in self._parts(format_name) for name in part.rows[0]]
        return [*columns, *(headers if format_name in _MAIL else [])]

    def _parts(self, format_name: str) -> list[Part]:
        return self.parts[:1] if format_name in _ONE_TABLE else self.parts


def make(language: str, seed: int, parts: int = 3, rows: int = 6) -> Text:
    """Return a text of whole sentences, each with a number of its own."""
    rng = random.Random(f"{language}{seed}")
    sentences = SENTENCES[language]
    numbers = iter(rng.sample(range(100_000, 999_999), parts * (12 + 3 * rows)))
    words = [
        word
        for sentence in sentences
        for word in (_WORD.findall(sentence) if language not in UNSPACED else [sentence[:4]])
    ]

    def sentence() -> str:
        return f"{rng.choice(sentences)} {next(numbers)}"

    def part() -> Part:
        # A sentence does not fit into one line of its cell.
        cells = [[f"{rng.choice(words)} {next(numbers)}", sentence(), f"{next(numbers)}"] for _ in range(rows - 1)]
        header = [f"{word} {letter}" for word, letter in zip(rng.sample(words, 3), "ABC", strict=True)]
        return Part(
            f"{rng.choice(words)} {next(numbers)}",
            [" ".join(sentence() for _ in range(3)) for _ in range(2)],
            [f"{rng.choice(words)} {next(numbers)}" for _ in range(3)],
            [header, *cells],
        )

    return Text(language, [part() for _ in range(parts)])


def tokens(text: str, language: str) -> list[str]:
    """Return the words of a text; where words are not divided by spaces, the numbers and pairs of letters."""
    if language not in UNSPACED:
        return _WORD.findall(text)
    # A line may end anywhere. A space within a word is an error, so pairs of letters are counted.
    pairs = (
        [run] if run.isascii() else [run[at : at + 2] for at in range(max(len(run) - 1, 1))]
        for run in _RUN.findall(_WRAP.sub("", text))
    )
    return [pair for of_run in pairs for pair in of_run]
