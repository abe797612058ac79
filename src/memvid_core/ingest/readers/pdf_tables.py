"""Tables of a PDF page whose cells are divided by lines: each row becomes a line, however its cells are broken."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from memvid_core.ingest.readers.pdf_turned import objects_of

__all__ = ["Table", "find_tables"]

_PATH = 2  # FPDF_PAGEOBJ_PATH
_LINE_TO, _MOVE_TO = 0, 2  # FPDF_SEGMENT_LINETO, FPDF_SEGMENT_MOVETO
_MOST_OBJECTS = 50_000  # of a page; a page with more is a drawing
_MOST_LINES = 4_000
_MOST_TABLES = 100
_THIN = 2.5  # points; a filled box that is not thicker is a line
_NEAR = 3.5  # points between the borders of neighboring cells
_SHORTEST = 4.0  # points
_MOST_CELLS = 20_000


class _Line(msgspec.Struct):
    """Hold a line: whether it is upright, where it is, and from where to where it goes, in points."""

    upright: bool
    at: float
    start: float
    end: float


class Table(msgspec.Struct):
    """Hold the grid of a table, from left to right and from top to bottom.

    Attributes:
        edges: The positions of the column's edges.
        levels: The positions of the rows' edges, from bottom to top.
        owners: Of each field of the grid, by row from the top and by column, the number of its cell.
    """

    edges: list[float]
    levels: list[float]
    owners: list[list[int]]

    def cell_at(self, x: float, y: float) -> int | None:
        """Return the number of the cell at a place, or None outside the table."""
        column, level = bisect_right(self.edges, x) - 1, bisect_right(self.levels, y) - 1
        if not (0 <= column < len(self.edges) - 1 and 0 <= level < len(self.levels) - 1):
            return None
        return self.owners[len(self.levels) - 2 - level][column]

    def place_in(self, cell: int) -> tuple[float, float]:
        """Return a place in a cell, in points."""
        row, column = next((row, owners.index(cell)) for row, owners in enumerate(self.owners) if cell in owners)
        bottom, top = self.levels[len(self.owners) - 1 - row], self.levels[len(self.owners) - row]
        return (self.edges[column] + self.edges[column + 1]) / 2, (bottom + top) / 2

    def rows(self, texts: dict[int, str]) -> list[list[str]]:
        """Return the cells by rows. A cell over several rows stands in each of them, one over several columns once."""
        rows: list[list[str]] = []
        above: set[int] = set()
        for owners in self.owners:
            cells = [owner for column, owner in enumerate(owners) if not column or owner != owners[column - 1]]
            if any(texts.get(owner) and owner not in above for owner in cells):
                rows.append([texts.get(owner, "") for owner in cells])
            above = set(cells)
        return rows


def find_tables(raw: Any, page: Any) -> list[Table]:
    """Return the grids of lines on a page that have at least two rows and two columns.

    Args:
        raw: The functions of PDFium.
        page: The handle of the page, whose forms are flat.
    """
    lines: list[_Line] = []
    for number, found in enumerate(objects_of(raw, page)):
        if number >= _MOST_OBJECTS:
            return []
        if raw.FPDFPageObj_GetType(found) == _PATH:
            lines += _lines_of(raw, found)
            if len(lines) > _MOST_LINES:
                return []
    tables = [table for group in _connected(lines) if (table := _grid(group)) is not None]
    return tables if len(tables) <= _MOST_TABLES else []


def _lines_of(raw: Any, path: Any) -> Iterator[_Line]:
    edges = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(path, *edges)
    left, bottom, right, top = (edge.value for edge in edges)
    if min(right - left, top - bottom) <= _THIN:
        upright = right - left < top - bottom
        ends = (bottom, top) if upright else (left, right)
        if ends[1] - ends[0] >= _SHORTEST:
            yield _Line(upright, (left + right) / 2 if upright else (bottom + top) / 2, *ends)
        return
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(path, fill, stroke)
    number = raw.FPDFPath_CountSegments(path)
    if not stroke.value or number > _MOST_LINES:
        return
    yield from _segments(raw, path, number)


def _segments(raw: Any, path: Any, number: int) -> Iterator[_Line]:
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(path, matrix)
    x, y = ctypes.c_float(), ctypes.c_float()
    first = before = (0.0, 0.0)
    for index in range(number):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == _MOVE_TO:
            first = point
        elif kind == _LINE_TO:
            yield from _line_between(before, point)
        before = point
        if raw.FPDFPathSegment_GetClose(segment):
            yield from _line_between(point, first)
            before = first


def _line_between(start: tuple[float, float], end: tuple[float, float]) -> Iterator[_Line]:
    for upright in (False, True):
        across, along = (0, 1) if upright else (1, 0)
        if abs(start[across] - end[across]) <= 0.5 and abs(start[along] - end[along]) >= _SHORTEST:
            yield _Line(upright, start[across], *sorted((start[along], end[along])))


def _connected(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Yield groups of lines that meet or cross."""
    parents = list(range(len(lines)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    upright = sorted((place for place, line in enumerate(lines) if line.upright), key=lambda place: lines[place].at)
    places = [lines[place].at for place in upright]
    for number, line in enumerate(lines):
        if line.upright:
            continue
        for place in upright[bisect_right(places, line.start - _NEAR) : bisect_right(places, line.end + _NEAR)]:
            if lines[place].start - _NEAR <= line.at <= lines[place].end + _NEAR:
                parents[root(place)] = root(number)
    groups: dict[int, list[_Line]] = {}
    for number, line in enumerate(lines):
        groups.setdefault(root(number), []).append(line)
    yield from groups.values()


def _grid(lines: list[_Line]) -> Table | None:
    edges = _merged(line.at for line in lines if line.upright)
    levels = _merged(line.at for line in lines if not line.upright)
    columns, rows = len(edges) - 1, len(levels) - 1
    if columns < 2 or rows < 2 or columns * rows > _MOST_CELLS:
        return None
    upright = [[line for line in lines if line.upright and abs(line.at - edge) <= _NEAR] for edge in edges]
    level = [[line for line in lines if not line.upright and abs(line.at - edge) <= _NEAR] for edge in levels]
    owners = [[row * columns + column for column in range(columns)] for row in range(rows)]
    for row in range(rows):
        low, high = levels[rows - 1 - row], levels[rows - row]
        for column in range(columns):
            if column and not _covers(upright[column], low, high):
                owners[row][column] = owners[row][column - 1]
            elif row and not _covers(level[rows - row], edges[column], edges[column + 1]):
                owners[row][column] = owners[row - 1][column]
    return Table(edges, levels, owners)


def _merged(places: Iterable[float]) -> list[float]:
    merged: list[float] = []
    for place in sorted(places):
        if merged and place - merged[-1] <= _NEAR:
            continue
        merged.append(place)
    return merged


def _covers(lines: list[_Line], start: float, end: float) -> bool:
    return any(min(line.end, end) - max(line.start, start) > 0.5 * (end - start) for line in lines)
