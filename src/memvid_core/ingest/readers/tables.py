"""CSV, and tables in general: each row becomes a line that names its columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode

__all__ = ["MOST_COLUMNS", "Row", "read_csv", "row_sections"]

# The size of the sample on which delimiters are tried.
_SAMPLE = 1 << 16  # characters
_SAMPLE_ROWS = 200
_DELIMITERS = ",;\t|"
MOST_COLUMNS = 16_384
"""The limit of a sheet."""
_LONGEST_NAME = 200
_MOST_TITLES = 10  # rows above the names of the columns
_NUMBER = re.compile(r"[-+]?[.,\s]*\d[\d.,\s]*%?$")
_AMOUNT = re.compile(r"[-+(€$£¥₩\s]{0,4}[.,\s]*\d[\d.,\s]*[^\W\d_%€$£¥₩)]{0,3}[%€$£¥₩)\s]{0,3}$")
_NOT_COMPUTED = ("=", "#")  # a formula, or its error
_NO_VALUES = frozenset({"", "-", "–", "—", "…", "...", "n/a", "n.a.", "na", "x"})  # dashes of any length
_YEAR = re.compile(r"(?:1[89]|2[01])\d\d$")

Row = dict[int, str]
"""The non-empty cells of a row, by column from 0: a row may be 16,384 wide because of one cell."""


def read_csv(path: Path) -> list[Section]:
    """Read CSV or TSV with any delimiter as one line per row, with ``row`` from 1 as in the file.

    A ``.tsv`` file is split at tabs. A first row that looks like names (distinct texts, or years) names the columns:
    ``name: Ada; born: 1815``. Rows above it that have one cell are titles.

    Raises:
        IngestError: The file is not a table.
    """
    text = decode(path.read_bytes())
    # The limit is global to the process; a cell cannot be larger than its file.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text[:_SAMPLE])
    try:
        return row_sections(map(_sparse, csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)), {})
    except csv.Error as exc:
        raise IngestError(f"damaged: {exc}") from exc


def _delimiter(sample: str) -> str:
    """Return the delimiter with which most rows of a text have the same number of columns, at least two.

    `csv.Sniffer` uses regular expressions that take exponential time on a few hundred quotes.
    """
    best, best_score = _DELIMITERS[0], (0.0, 0)
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(sample, newline="\n"), delimiter=delimiter)
        widths = Counter(len(row) for row in islice(rows, _SAMPLE_ROWS) if row)
        width, number = max(widths.items(), key=lambda item: (item[0] > 1, item[1], item[0]), default=(0, 0))
        score = (number / widths.total(), width) if width > 1 else (0.0, 0)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _sparse(row: list[str]) -> Row:
    if len(row) > MOST_COLUMNS:
        raise IngestError(f"a row of {len(row):,} columns, more than {MOST_COLUMNS:,}: not a table")
    return {place: cleaned for place, cell in enumerate(row) if cell and (cleaned := " ".join(cell.split()))}


def row_sections(rows: Iterable[Row], metadata: dict[str, Any]) -> list[Section]:
    """Return the rows of a table as sections in which a line is a row; ``row`` counts from 1.

    Args:
        rows: All rows, empty ones too.
        metadata: Metadata for every section.
    """
    numbered = enumerate(rows, 1)
    titles, header, names, rest = _beginning(numbered)
    lines: list[str] = []
    sections: list[Section] = []
    first = expected = 0
    for number, row in chain(titles, rest):
        named = names if number > header else {}
        line = "; ".join(f"{named[place]}: {cell}" if place in named else cell for place, cell in row.items())
        # A gap starts a section: within a section, the line gives the row.
        if lines and number != expected:
            sections.append(Section("\n".join(lines), {**metadata, "row": first}, "rows"))
            lines = []
        first = first if lines else number
        expected = number + 1
        lines.append(line)
    if names and not sections and not lines:  # only a header
        lines, first = ["; ".join(names.values())], header
    if lines:
        sections.append(Section("\n".join(lines), {**metadata, "row": first}, "rows"))
    return sections


_Numbered = tuple[int, Row]


def _beginning(rows: Iterator[_Numbered]) -> tuple[list[_Numbered], int, Row, Iterator[_Numbered]]:
    """Return the titles above a table, the number of its header, the names in it, and the rows from there on."""
    filled = ((number, row) for number, row in rows if row)
    titles: list[_Numbered] = []
    current = next(filled, None)
    while current is not None:
        following = next(filled, None)
        rest = filled if following is None else chain([following], filled)
        (number, row), below = current, {} if following is None else following[1]
        if len(row) == 1 and len(below) > 1 and len(titles) < _MOST_TITLES:
            titles.append(current)
            current = following
        elif _is_header(row, below):
            return titles, number, row, rest
        else:
            return titles, 0, {}, chain([current], rest)
    return titles, 0, {}, filled


def _is_header(row: Row, following: Row) -> bool:
    """Return whether a row names the columns: distinct texts, or years above other numbers."""
    cells = list(row.values())
    if len(set(cells)) != len(cells):
        return False
    if any(len(cell) > _LONGEST_NAME for cell in cells):
        return False
    numbers = {place: following.get(place, "") for place, cell in row.items() if _NUMBER.match(cell)}
    named = all(_is_year(row[place], below) for place, below in numbers.items())
    return named and (not numbers or any(below.lower() not in _NO_VALUES for below in numbers.values()))


def _is_year(cell: str, below: str) -> bool:
    """Return whether a cell is a year that names a column, and not a value such as the ones below it."""
    value = below.startswith(_NOT_COMPUTED) or below.lower() in _NO_VALUES or _AMOUNT.match(below)
    return bool(_YEAR.match(cell) and value) and not _YEAR.match(below)
