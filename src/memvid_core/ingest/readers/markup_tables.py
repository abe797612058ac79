"""Tables of markup languages: where their headers end, and as a line for each row where they are written otherwise."""

from __future__ import annotations

import csv
import re

__all__ = ["adoc_tables", "pipe_tables", "rst_tables"]

_DELIMITER = re.compile(r"[ \t]{0,8}\|?[ \t]*:?-+:?[ \t]*(?:[|+][ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_DIRECTIVE = re.compile(r"([ \t]*)\.\.[ \t]+(list|csv)-table::[ \t]*([^\n]*)$")
_OPTION = re.compile(r"[ \t]*:([\w-]+):[ \t]*(.*)$")
_BORDER = re.compile(r"[ \t]*\+(?:[-=]+\+)+[ \t]*$")
_ADOC_CELL = re.compile(r"(?<!\\)(?:(?<=[\s|])[\d.<^>+*aehlmsdv]{1,12})?\|")
_COLUMNS = re.compile(r'cols="?(?:(\d{1,3})\*|([^"\]]*))')


def pipe_tables(text: str) -> list[tuple[int, int, int]]:
    r"""Return the tables with ``|`` between their cells, as in Markdown and Org: start, end of the header, and end.

    Example:
        >>> text = "Stock:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEnd."
        >>> [text[start:end] for start, _, end in pipe_tables(text)]
        ['| a | b |\n|---|---|\n| 1 | 2 |']
    """
    tables: list[tuple[int, int, int]] = []
    place = 0
    before: tuple[int, str] = (0, "")
    lines = text.split("\n")
    for number, line in enumerate(lines):
        inside = bool(tables) and tables[-1][2] == place - 1
        if "|" in line and inside:
            tables[-1] = (*tables[-1][:2], place + len(line))
        elif number and "|" in before[1] and _DELIMITER.match(line) and ("|" in line or "+" in line):
            tables.append((before[0], place + len(line), place + len(line)))
        before = (place, line)
        place += len(line) + 1
    return [table for table in tables if table[2] > table[1]]


def rst_tables(text: str) -> str:
    """Return reStructuredText with the rows of its list, CSV and grid tables as lines."""
    lines = text.split("\n")
    made: list[str] = []
    at = 0
    while at < len(lines):
        found = _DIRECTIVE.match(lines[at])
        end, rows = at + 1, None
        if found:
            while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > len(found.group(1))):
                end += 1
            block = lines[at + 1 : end]
            rows = _list_rows(block) if found.group(2) == "list" else _csv_rows(block)
        elif _BORDER.match(lines[at]):
            while end < len(lines) and lines[end].lstrip().startswith(("|", "+")):
                end += 1
            rows = _grid_rows([line.strip() for line in lines[at:end]])
        if rows:
            title = [found.group(3), ""] if found and found.group(3) else []
            made += ["", *title, *(" | ".join(row) for row in rows), ""]
            at = end
        else:
            made.append(lines[at])
            at += 1
    return "\n".join(made)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _list_rows(block: list[str]) -> list[list[str]] | None:
    rows: list[list[list[str]]] = []
    row_at = cell_at = -1
    for line in block:
        if row_at < 0:
            found = re.match(r"([ \t]*)\*[ \t]+-(?=[ \t]|$)", line)
            if found is None:
                continue
            row_at, cell_at = len(found.group(1)), found.end() - 1
        cell = line[cell_at + 1 :].strip()
        if line[cell_at : cell_at + 1] == "-" and not line[:row_at].strip():
            if line[row_at : row_at + 1] == "*":
                rows.append([])
            rows[-1].append([cell])
        elif line.strip():
            rows[-1][-1].append(line.strip())
    return [[" ".join(filter(None, cell)) for cell in row] for row in rows] or None


def _csv_rows(block: list[str]) -> list[list[str]] | None:
    header: list[str] = []
    body: list[str] = []
    for line in block:
        option = None if body else _OPTION.match(line)
        if option is not None:
            header = [option.group(2)] if option.group(1) == "header" else header
        elif line.strip():
            body.append(line.strip())
    try:
        return list(csv.reader([*header, *body], skipinitialspace=True)) if body else None
    except csv.Error:
        return None


def _grid_rows(lines: list[str]) -> list[list[str]] | None:
    edges = [place for place, char in enumerate(lines[0]) if char == "+"]
    rows: list[list[str]] = []
    cells: list[list[str]] = []
    for line in lines:
        if len(line) != len(lines[0]) or any(line[place] not in "|+" for place in edges):
            return None  # cells over several columns, or letters that are wider on the screen
        if _BORDER.match(line):
            if cells:
                rows.append([" ".join(" ".join(cell).split()) for cell in cells])
            cells = []
        elif "+" in (line[place] for place in edges):
            return None  # cells over several rows
        else:
            cells = cells or [[] for _ in edges[1:]]
            for cell, start, end in zip(cells, edges, edges[1:], strict=False):
                cell.append(line[start + 1 : end])
    return rows or None


def adoc_tables(text: str) -> str:
    """Return AsciiDoc with the rows of its tables as lines, without the attributes of blocks."""
    made: list[str] = []
    table: list[str] | None = None
    columns = 0
    for line in text.split("\n"):
        bare = line.strip()
        if table is not None and bare == "|===":
            made += _adoc_rows(table, columns)
            table, columns = None, 0
        elif table is not None:
            table.append(line)
        elif bare == "|===":
            table = []
        elif re.fullmatch(r"\[[^\[\]\n]{0,300}\]", bare) and ("cols" in bare or "header" in bare or "options" in bare):
            found = _COLUMNS.search(bare)
            if found:
                columns = int(found.group(1)) if found.group(1) else found.group(2).count(",") + 1
        else:
            made.append(line)
    return "\n".join([*made, *(["|===", *table] if table is not None else [])])


def _adoc_rows(lines: list[str], columns: int) -> list[str]:
    """Return the rows of a table; without a number of columns, the cells of its first line are so many."""
    cells: list[str] = []
    for line in lines:
        first, *others = _ADOC_CELL.split(line)
        if not columns and others:
            columns = len(others)
        if first.strip() and cells:
            cells[-1] = f"{cells[-1]} {first.strip()}".strip()
        cells += [cell.replace("\\|", "|").strip() for cell in others]
    columns = columns or 1
    return [" | ".join(cells[at : at + columns]) for at in range(0, len(cells), columns)]
