"""Tables of a PDF page without ruled lines: their cells are drawn row by row, or column by column.

Row by row, the order of the page's letters stays as it is: only the spaces between them change. Column by
column, it changes only if the columns are of one height, are mostly empty, and one of them has numbers, so that columns
of running text and addresses are never mixed.
"""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Any

import msgspec

__all__ = ["Aligned", "find_aligned", "may_be_aligned"]

_LEAST_ROWS = 3
_GAP = 0.8  # of the height of a line, between cells
_SAME_LINE = 0.4
_NEXT_LINE = 1.5  # the most from a line of a first cell to the next; more is the distance of rows
_NEXT_LINE_RIGHT = 2.4  # the same of the other cells
_HIGHEST = 8  # lines that a cell may begin above the first one of its row
_NEAR = 1.5  # points between the edges of cells that are aligned
_ALIGNED = 0.7  # of the cells of a column
_FULL = 0.6  # of the cells of a table
_NAMED = 0.8  # of the cells of its first column
_MOST_ROWS = 150
_MOST_COLUMNS = 30
_MOST_SEGMENTS = 20_000
_LONGEST = 1500  # characters of a cell
_LINE = 40  # characters of a cell: rows of longer ones that all have one line are columns of running text
_LEAST_COLUMNS = 3  # of a table that is drawn column by column
_WIDEST = 0.75  # the usual width of a cell, of the distance to the next column; columns of running text are full
_NUMBER = re.compile(r"\W{0,3}\d[\d.,:/%\s-]*\w{0,4}\W?$")
_NUMBERS = 0.8  # of the cells of a column of numbers
_MARKER = re.compile(r"[^\w\s]|[(\[]?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)\]]?")  # of the items of a list


class Aligned(msgspec.Struct):
    """Hold the rows of a table: of each cell, the ranges of letters that are its lines; none if it is empty."""

    start: int
    end: int
    rows: list[list[list[tuple[int, int]]]]


class _Segment(msgspec.Struct):
    """Hold letters on one line without a wide gap: their numbers from and to, and their place in points."""

    start: int
    end: int
    left: float
    right: float
    y: float
    height: float


_Row = list[list[_Segment]]
_Span = tuple[float, float]  # the left and the right edge


def may_be_aligned(raw: Any, textpage: Any) -> bool:
    """Return whether the page goes on to the right, after a gap or further up, often enough for a table.

    Args:
        raw: The functions of PDFium.
        textpage: The handle of the page's text.
    """
    left, top, right, bottom = (ctypes.c_double() for _ in range(4))
    jumps, columns, before, above = 0, 0, None, 0.0
    for number in range(min(raw.FPDFText_CountRects(textpage, 0, -1), _MOST_SEGMENTS)):
        raw.FPDFText_GetRect(textpage, number, left, top, right, bottom)
        height = top.value - bottom.value
        if before is not None and left.value - before > _GAP * height:
            jumps += 1
            columns += bottom.value - above > height
        before, above = right.value, bottom.value
    return jumps >= _LEAST_ROWS or columns >= _LEAST_COLUMNS - 1


def find_aligned(raw: Any, textpage: Any, letters: list[str]) -> list[Aligned]:
    """Return the tables of a page, in the order in which it draws them.

    Args:
        raw: The functions of PDFium.
        textpage: The handle of the page's text.
        letters: Its letters, an empty one where PDFium has none.
    """
    segments = list(_segments(raw, textpage, letters))
    if len(segments) > _MOST_SEGMENTS:
        return []
    found: list[Aligned] = []
    place = 0
    for first, last, rows in _drawn_by_columns(segments, letters):
        found += _drawn_by_rows(segments[place:first], letters)
        found.append(Aligned(segments[first].start, segments[last - 1].end, rows))
        place = last
    return found + _drawn_by_rows(segments[place:], letters)


def _drawn_by_rows(segments: list[_Segment], letters: list[str]) -> list[Aligned]:
    found = []
    for rows, columns in _blocks(_rows(segments)):
        table = _table(rows, columns)
        if _is_table(table, letters):
            number = 1 + max(place for row in table for place in row)
            cells = [
                [[(line.start, line.end) for line in row.get(place, ())] for place in range(number)] for row in table
            ]
            found.append(Aligned(rows[0][0][0].start, rows[-1][-1][-1].end, cells))
    return found


def _drawn_by_columns(
    segments: list[_Segment], letters: list[str]
) -> Iterator[tuple[int, int, list[list[list[tuple[int, int]]]]]]:
    """Yield the tables that are drawn column by column: the numbers of their segments from and to, and their rows."""
    stacks = list(_stacks(segments))
    at = 0
    while at + _LEAST_COLUMNS <= len(stacks):
        size = 1
        while at + size < len(stacks) and size < _MOST_COLUMNS and _is_beside(stacks[at + size - 1], stacks[at + size]):
            size += 1
        columns = [list(stack) for stack in stacks[at : at + size]]
        if size >= _LEAST_COLUMNS:
            # Text above the table looks like the beginning of its first column.
            top = max(segment.y + _SAME_LINE * segment.height for column in columns[1:] for segment in column)
            above = sum(segment.y > top for segment in columns[0])
            columns[0] = columns[0][above:]
            rows = _rows_of_columns(columns, letters)
            if rows:
                first = sum(map(len, stacks[:at])) + above
                yield first, first + sum(map(len, columns)), rows
                at += size
                continue
        at += 1


def _stacks(segments: list[_Segment]) -> Iterator[list[_Segment]]:
    """Yield segments that follow each other downwards with one left or right edge, or one center."""
    stack: list[_Segment] = []
    for segment in segments:
        if stack:
            down = stack[-1].y - segment.y > _SAME_LINE * segment.height
            edges = ((one.left, one.right, (one.left + one.right) / 2) for one in (stack[-1], segment))
            if not (down and any(abs(one - other) <= _NEAR for one, other in zip(*edges, strict=True))):
                yield stack
                stack = []
        stack.append(segment)
    if stack:
        yield stack


def _is_beside(stack: list[_Segment], following: list[_Segment]) -> bool:
    """Return whether a stack begins to the right of another and further up than that ends."""
    up = following[0].y - stack[-1].y > _SAME_LINE * following[0].height
    return up and min(one.left for one in following) > max(one.left for one in stack) + following[0].height


def _rows_of_columns(columns: list[list[_Segment]], letters: list[str]) -> list[list[list[tuple[int, int]]]]:
    """Return the rows of neighboring columns; none if they are not a table."""
    rows: list[dict[int, _Segment]] = []
    for y, place, segment in sorted(
        ((-segment.y, place, segment) for place, column in enumerate(columns) for segment in column),
        key=lambda at: at[:2],
    ):
        first = next(iter(rows[-1].values())) if rows else None
        if first is None or place in rows[-1] or y + first.y > _SAME_LINE * segment.height:
            rows.append({})
        rows[-1][place] = segment
    number = len(columns)
    if not (_LEAST_ROWS <= len(rows) <= _MOST_ROWS and sum(map(len, rows)) >= _NAMED * number * len(rows)):
        return []
    full = sum(len(row) == number for row in rows)
    if full < _NAMED * len(rows) or any(len(row) < 2 for row in rows):
        return []
    texts = [{place: "".join(letters[one.start : one.end]).strip() for place, one in row.items()} for row in rows]
    numbers = max(sum(_NUMBER.match(row.get(place, "")) is not None for row in texts[1:]) for place in range(1, number))
    if numbers < _NUMBERS * (len(rows) - 1):
        return []
    lefts = [min(one.left for one in column) for column in columns]
    widths = [
        sorted(one.right - one.left for one in column)[len(column) // 2] / (lefts[place + 1] - lefts[place])
        for place, column in enumerate(columns[:-1])
    ]
    if sum(widths) > _WIDEST * len(widths):
        return []
    return [[[(row[place].start, row[place].end)] if place in row else [] for place in range(number)] for row in rows]


def _segments(raw: Any, textpage: Any, letters: list[str]) -> Iterator[_Segment]:
    box, x, y = raw.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    segment: _Segment | None = None
    edge = 0.0  # of the letter before, also of a space
    for index, letter in enumerate(letters):
        if not letter or raw.FPDFText_IsGenerated(textpage, index) == 1:
            continue
        raw.FPDFText_GetLooseCharBox(textpage, index, box)
        raw.FPDFText_GetCharOrigin(textpage, index, x, y)
        height = max(box.top - box.bottom, 1.0)
        goes_on = (
            segment is not None
            and abs(y.value - segment.y) <= _SAME_LINE * segment.height
            and -height <= box.left - edge <= _GAP * height
        )
        edge = box.right
        if letter.isspace():
            if not goes_on:
                edge = float("-inf")  # the next one starts a new row
            continue
        if goes_on and segment is not None:
            segment.end = index + 1
            segment.right = max(segment.right, box.right)
        else:
            if segment is not None:
                yield segment
            segment = _Segment(index, index + 1, box.left, box.right, y.value, height)
    if segment is not None:
        yield segment


def _rows(segments: list[_Segment]) -> Iterator[_Row]:
    """Yield the cells of what may be rows; lines of running text are rows of one cell."""
    row: _Row = []
    low = high = right = before = float("inf")
    above = float("inf")  # the lowest line of the row before
    for segment in segments:
        if row:
            height = segment.height
            in_row = low - _SAME_LINE * height <= segment.y <= min(high + _HIGHEST * height, above)
            last = row[-1][-1]
            # Up and to the right is where the next cell begins, however narrow the gap.
            gap = -_NEAR if segment.y > last.y + _SAME_LINE * height else _GAP * height
            # Lines of text above a table look like lines of its first cell.
            level = len(row) == 1 and abs(segment.y - last.y) <= _SAME_LINE * height
            if in_row and segment.left - (last.right if level else right) > gap:
                before, right = right, segment.right
                row.append([segment])
            elif last.right > segment.left > before and (
                0 < last.y - segment.y <= (_NEXT_LINE if len(row) == 1 else _NEXT_LINE_RIGHT) * height
            ):
                row[-1].append(segment)
                right = max(right, segment.right)
            else:
                yield row
                above, row = low, []
        if not row:
            row, low, high, right, before = [[segment]], segment.y, segment.y, segment.right, float("-inf")
        low, high = min(low, segment.y), max(high, segment.y)
    if row:
        yield row


def _blocks(rows: Iterator[_Row]) -> Iterator[tuple[list[_Row], list[_Span]]]:
    """Yield rows that follow each other and have their cells in the same columns, and the edges of these."""
    block: list[_Row] = []
    columns: list[_Span] = []
    for row in chain(rows, [[]]):
        if block:
            merged = _merged([*columns, *map(_edges, row)])
            apart = len({_place(merged, column[0]) for column in columns}) == len(columns)
            fits = len(row) > 1 and len(merged) <= _MOST_COLUMNS and len(block) < _MOST_ROWS
            if fits and all(_distinct(merged, one) for one in ([row] if apart else [*block, row])):
                block.append(row)
                columns = merged
                continue
            if len(block) >= _LEAST_ROWS:
                yield block, columns
        block = [_without_text_above(row)] if len(row) > 1 else []
        columns = _merged(map(_edges, block[0])) if block else []


def _without_text_above(row: _Row) -> _Row:
    """Return the first row of a table without the lines of text before it, which look like lines of its first cell."""
    top = max(segment.y + _SAME_LINE * segment.height for cell in row[1:] for segment in cell)
    return [[segment for segment in row[0] if segment.y <= top] or row[0][-1:], *row[1:]]


def _edges(cell: list[_Segment]) -> _Span:
    return min(segment.left for segment in cell), max(segment.right for segment in cell)


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for left, right in sorted(spans):
        if merged and left <= merged[-1][1] + _NEAR:
            merged[-1] = merged[-1][0], max(merged[-1][1], right)
        else:
            merged.append((left, right))
    return merged


def _place(columns: list[_Span], left: float) -> int:
    return bisect_right(columns, (left, float("inf"))) - 1


def _distinct(columns: list[_Span], row: _Row) -> bool:
    return len({_place(columns, _edges(cell)[0]) for cell in row}) == len(row)


def _table(rows: list[_Row], columns: list[_Span]) -> list[dict[int, list[_Segment]]]:
    """Return the cells of each row by their columns; a name next to its column, as over numbers, belongs to it."""
    table = [{_place(columns, _edges(cell)[0]): cell for cell in row} for row in rows]
    counts = Counter(place for row in table for place in row)
    joined = [0]
    for place in range(1, len(columns)):
        alone = any(counts[one] == 1 and one in table[0] for one in (place - 1, place))
        both = any(place - 1 in row and place in row for row in table)
        joined.append(joined[-1] + (not alone or both))
    return [{joined[place]: cell for place, cell in row.items()} for row in table]


def _is_table(table: list[dict[int, list[_Segment]]], letters: list[str]) -> bool:
    number = 1 + max(place for row in table for place in row)
    texts = [
        {place: "".join("".join(letters[line.start : line.end]) for line in cell) for place, cell in row.items()}
        for row in table
    ]
    sizes = [len(text) for row in texts for text in row.values()]
    if number < 2 or len(sizes) < _FULL * number * len(table) or max(sizes) > _LONGEST:
        return False
    if sum(0 in row for row in table) < _NAMED * len(table):
        return False
    if all(len(cell) == 1 for row in table for cell in row.values()) and sum(sizes) > _LINE * len(sizes):
        return False
    if number == 2 and _is_list([(row[0], row[1]) for row in texts if len(row) == 2]):
        return False
    return all(_is_aligned([_edges(row[place]) for row in table[1:] if place in row]) for place in range(number))


def _is_aligned(spans: list[_Span]) -> bool:
    """Return whether most cells of a column begin or end at one place, or have one center."""
    most = 0
    for of in (lambda span: span[0], lambda span: span[1], lambda span: (span[0] + span[1]) / 2):
        places = sorted(map(of, spans))
        most = max([most, *(bisect_right(places, place + _NEAR) - number for number, place in enumerate(places))])
    return most >= _ALIGNED * len(spans)


def _is_list(rows: list[tuple[str, str]]) -> bool:
    """Return whether rows of two cells are the items of a list, the fields of a form, or a table of contents."""
    half = len(rows) / 2
    markers = sum(_MARKER.fullmatch(first) is not None for first, _ in rows)
    labels = sum(first.endswith((":", "：")) for first, _ in rows)
    pages = [second for _, second in rows]
    contents = all(page.isdecimal() for page in pages) and all(
        int(before) <= int(page) for before, page in pairwise(pages)
    )
    return markers > half or labels > half or contents
