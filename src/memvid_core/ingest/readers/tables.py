"""CSV and XLSX: each row one line that names its columns."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.extras import require

__all__ = ["read_csv", "read_xlsx"]

_SAMPLE = 1 << 16
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d[\d.,\s]*%?$")


def read_csv(path: Path) -> list[Section]:
    """Read CSV or TSV, whatever delimiter it has: one line a row, ``row`` counted from 1 as in the file.

    A first row that reads like names (text, none twice) gives the columns theirs: ``name: Ada; born: 1815``.

    Raises:
        IngestError: Not a table.
    """
    text = decode(path.read_bytes())
    # The limit is the process's; a cell cannot be larger than its file.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        dialect: Any = csv.Sniffer().sniff(text[:_SAMPLE], _DELIMITERS)
        delimiter = dialect.delimiter
    except csv.Error:  # one column, or rows too unlike
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        # The quoting of the standard, whatever the sniffer makes of a sample: RFC 4180.
        return _sections(csv.reader(text.splitlines(keepends=True), delimiter=delimiter), {})
    except csv.Error as exc:
        raise IngestError(f"damaged: {exc}") from exc


def read_xlsx(path: Path) -> list[Section]:
    """Read XLSX: each sheet as a table, ``sheet`` its name, ``row`` counted from 1 as the program shows it.

    Cells with a formula have the value that was last computed. The file's archive was checked before.
    """
    openpyxl = require("openpyxl", "to read XLSX")
    # Read-only: streams the rows, so a lone cell in the last corner takes no memory for the empty ones before it.
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    try:
        sections: list[Section] = []
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # writers store wrong ones
            rows = ([_cell(value) for value in row] for row in sheet.iter_rows(values_only=True))
            sections += _sections(rows, {"sheet": sheet.title})
        return sections
    finally:
        workbook.close()


def _sections(rows: Iterable[list[str]], metadata: dict[str, Any]) -> list[Section]:
    names: list[str] | None = None
    lines: list[str] = []
    sections: list[Section] = []
    first = expected = 0
    for number, row in _numbered(rows):
        if names is None:
            names = row if _is_header(row) else []
            if names:
                continue
        line = "; ".join(_named(row, names))
        # A gap starts a section: within one, the line tells the row.
        if lines and number != expected:
            sections.append(Section("\n".join(lines), {**metadata, "row": first}, "rows"))
            lines = []
        first = first if lines else number
        expected = number + 1
        lines.append(line)
    if names and not sections and not lines:  # nothing but a header
        lines, first = ["; ".join(name for name in names if name)], 1
    if lines:
        sections.append(Section("\n".join(lines), {**metadata, "row": first}, "rows"))
    return sections


def _numbered(rows: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(rows, 1):
        cleaned = [" ".join(cell.split()) for cell in row]
        if any(cleaned):
            yield number, cleaned


def _named(row: list[str], names: list[str]) -> Iterator[str]:
    for place, cell in enumerate(row):
        if cell:
            name = names[place] if place < len(names) else ""
            yield f"{name}: {cell}" if name else cell


def _is_header(row: list[str]) -> bool:
    cells = [cell for cell in row if cell]
    return len(set(cells)) == len(cells) and not any(_NUMBER.match(cell) or len(cell) > 200 for cell in cells)


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
