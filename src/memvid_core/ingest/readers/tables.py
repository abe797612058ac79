"""CSV and XLSX: each row becomes a line that names its columns."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.extras import require

__all__ = ["read_csv", "read_xlsx"]

# The size of the sample on which delimiters are tried.
_SAMPLE = 1 << 16  # characters
_SAMPLE_ROWS = 200
_DELIMITERS = ",;\t|"
_MOST_COLUMNS = 16_384  # the limit of a sheet
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d[\d.,\s]*%?$")


def read_csv(path: Path) -> list[Section]:
    """Read CSV or TSV with any delimiter as one line per row, with ``row`` from 1 as in the file.

    A ``.tsv`` file is split at tabs. A first row that looks like names (distinct texts) names the columns:
    ``name: Ada; born: 1815``.

    Raises:
        IngestError: The file is not a table.
    """
    text = decode(path.read_bytes())
    # The limit is global to the process; a cell cannot be larger than its file.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text[:_SAMPLE])
    try:
        return _sections(map(_sparse, csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)), {})
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


def read_xlsx(path: Path) -> list[Section]:
    """Read XLSX with each sheet as a table: ``sheet`` is its name, ``row`` counts from 1 as in the program.

    A cell with a formula has its last computed value. The archive must have been checked.
    """
    openpyxl = require("openpyxl", "to read XLSX")
    # Read-only mode streams the rows, so a single cell in the last corner does not allocate the empty ones.
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    try:
        sections: list[Section] = []
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # some writers store wrong ones
            rows = sheet.iter_rows(values_only=True)
            sections += _sections(map(_sparse_values, rows), {"sheet": sheet.title})
        return sections
    finally:
        workbook.close()


# The non-empty cells of a row, by column from 0: a row may be 16,384 wide because of one cell.
_Row = dict[int, str]


def _sparse(row: list[str]) -> _Row:
    if len(row) > _MOST_COLUMNS:
        raise IngestError(f"a row of {len(row):,} columns, more than {_MOST_COLUMNS:,}: not a table")
    return {place: cleaned for place, cell in enumerate(row) if cell and (cleaned := " ".join(cell.split()))}


def _sparse_values(row: Iterable[Any]) -> _Row:
    cells = ((place, _cell(value)) for place, value in enumerate(row) if value is not None)
    return {place: cleaned for place, cell in cells if (cleaned := " ".join(cell.split()))}


def _sections(rows: Iterable[_Row], metadata: dict[str, Any]) -> list[Section]:
    names: _Row | None = None
    lines: list[str] = []
    sections: list[Section] = []
    first = expected = 0
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if names is None:
            names = row if _is_header(row) else {}
            if names:
                continue
        line = "; ".join(f"{names[place]}: {cell}" if place in names else cell for place, cell in row.items())
        # A gap starts a section: within a section, the line gives the row.
        if lines and number != expected:
            sections.append(Section("\n".join(lines), {**metadata, "row": first}, "rows"))
            lines = []
        first = first if lines else number
        expected = number + 1
        lines.append(line)
    if names and not sections and not lines:  # only a header
        lines, first = ["; ".join(names.values())], 1
    if lines:
        sections.append(Section("\n".join(lines), {**metadata, "row": first}, "rows"))
    return sections


def _is_header(row: _Row) -> bool:
    cells = list(row.values())
    return len(set(cells)) == len(cells) and not any(len(cell) > 200 or _NUMBER.match(cell) for cell in cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "seconds")
    return str(value)
