"""The text of a PDF page: its lines, and its tables row by row."""

from __future__ import annotations

import ctypes
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from memvid_core.ingest.readers.korean_lines import BREAK
from memvid_core.ingest.readers.pdf_aligned import find_aligned, may_be_aligned
from memvid_core.ingest.readers.pdf_lines import Sign, columns, is_vertical, joined, needs_places, signs_of
from memvid_core.ingest.readers.pdf_tables import Table, find_tables
from memvid_core.ingest.readers.pdf_turned import is_turned

__all__ = ["Aside", "PageText", "cells_of", "text_of"]

_HYPHEN = re.compile("(?:\ufffe|\x02)(?:\r?\n)?")  # PDFium's mark of a word divided at the end of a line
_RIGHT_LETTER = re.compile("[\u05d0-\u05ea\u0620-\u064a\u066e-\u06d3\ufb1d-\ufdff\ufe70-\ufefc]")
# Han, kana, their punctuation, Thai, Lao, Khmer and Myanmar.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff9f"
_WRAP = re.compile(f"(?<=[{_UNSPACED}])\n(?=[{_UNSPACED}])")
_HANGUL_BREAK = re.compile("(?<=[가-힣0-9])\n(?=[가-힣])")
_FULL_LINE = 0.8  # of the longest line of a page
_MOST_LETTERS = 200_000  # of a page whose letters are looked at one by one
_LONGEST_CELL = 1500  # characters; what has longer cells is the layout of a page
_MOST_ROUNDS = 4  # grids may overlap, so that without one of them another is a table
_FULL = 0.5  # of the cells of a table have text
_CUT = 0.005  # words that its edges cut, for each letter
_Target = tuple[int, int] | None  # the numbers of a table and of its cell; None outside of tables


class PageText(msgspec.Struct):
    """Hold the text of a page, the texts of the tables in it, a line per row, and whether OCR has read it."""

    text: str
    tables: list[str] = []
    recognized: bool = False
    placed: list[int] = []  # the numbers of the asides that are in its tables

    def rewritten(self, outside: Callable[[str], str], table: Callable[[str], str]) -> PageText:
        """Return the page with what is outside of its tables, and its tables, changed by a function each."""
        parts: list[str] = []
        tables: list[str] = []
        place = 0
        for found in self.tables:
            at = self.text.find(found, place)
            if at >= 0:
                tables.append(table(found))
                parts += [outside(self.text[place:at]), tables[-1]]
                place = at + len(found)
        return PageText("".join([*parts, outside(self.text[place:])]), tables, self.recognized)


def text_of(raw: Any, page: Any, textpage: Any, asides: Sequence[Aside] = ()) -> PageText:
    """Return the text of a page.

    Args:
        raw: The functions of PDFium.
        page: The page, with its handle as ``raw``.
        textpage: Its text, likewise.
        asides: Texts to put into the cells of tables in which they are, such as turned ones.
    """
    text = str(textpage.get_text_range())
    if len(text) > _MOST_LETTERS:
        return PageText(_plain(text))
    if is_vertical(raw, textpage.raw, text):
        return PageText(_unwrapped(columns(signs_of(raw, page.raw, textpage.raw))))
    tables = find_tables(raw, page.raw) if text.strip() else []
    if needs_places(text):
        return _Signs(signs_of(raw, page.raw, textpage.raw)).page(tables, asides)
    if tables:
        found = _Letters(raw, textpage.raw).page(tables, asides)
        if found.tables:
            return found
    if may_be_aligned(raw, textpage.raw):
        return _with_aligned(raw, textpage.raw)
    return PageText(_unwrapped(_plain(text)))


def cells_of(raw: Any, page: Any, textpage: Any) -> tuple[list[Aside], str]:
    """Return the text in each cell of the grids of lines on a page, and the text outside of them.

    There are none if a letter is slanted, or a line cuts a word: that is a stamp over the page, and no table's text.

    Args:
        raw: The functions of PDFium.
        page: The page, with its handle as ``raw``.
        textpage: Its text, likewise.
    """
    tables = find_tables(raw, page.raw)
    slanted = any(is_turned(raw, textpage.raw, index) for index in range(raw.FPDFText_CountChars(textpage.raw)))
    if not tables or slanted:
        return [], ""
    placed = needs_places(str(textpage.get_text_range()))
    reader = _Signs(signs_of(raw, page.raw, textpage.raw)) if placed else _Letters(raw, textpage.raw)
    cells: dict[_Target, list[Any]] = {}
    pieces = reader.pieces(tables)
    if _cut(pieces):
        return [], ""
    for piece in pieces:
        cells.setdefault(piece.cell, []).append(piece.what)
    outside = _unwrapped(reader.text(cells.pop(None, []))).strip("\n")
    texts = ((place, _flat(reader.text(found))) for place, found in cells.items() if place is not None)
    return [Aside(*tables[number].place_in(cell), text) for (number, cell), text in texts if text], outside


def _with_aligned(raw: Any, textpage: Any) -> PageText:
    """Return the text of a page in PDFium's order, with the rows of tables without ruled lines as lines."""
    codes = (raw.FPDFText_GetUnicode(textpage, index) for index in range(raw.FPDFText_CountChars(textpage)))
    letters = [chr(code) if code else "" for code in codes]

    def plain(start: int, end: int) -> str:
        return _plain("".join(letters[start:end]))

    def text_of_cell(lines: list[tuple[int, int]]) -> str:
        # What divides a word stands behind the line, or is its last letter.
        between = [letters[end:start] for (_, end), (start, _) in pairwise(lines)]
        ends = ["".join(filter(_HYPHEN.match, gap)) + "\n" for gap in between]
        return _plain(
            "".join("".join(letters[slice(*line)]) + end for line, end in zip(lines, [*ends, ""], strict=True))
        )

    parts: list[str] = []
    blocks: list[str] = []
    place = 0
    for table in find_aligned(raw, textpage, letters):
        rows = [" | ".join(_flat(text_of_cell(cell)) if cell else "" for cell in row) for row in table.rows]
        blocks.append("\n".join(rows))
        parts += [_unwrapped(plain(place, table.start)).strip("\n"), blocks[-1]]
        place = table.end
    parts.append(_unwrapped(plain(place, len(letters))).strip("\n"))
    return PageText("\n\n".join(filter(str.strip, parts)), blocks)


class Aside(msgspec.Struct):
    """Hold a text and where it is on its page, in points."""

    x: float
    y: float
    text: str


class _Piece(msgspec.Struct):
    """Hold a letter or a sign, the cell that it is in, and whether it belongs to the word of the piece before it."""

    what: str | Sign
    cell: _Target
    goes_on: bool


class _Reader:
    """Divide the text of a page into cells and what is between the tables."""

    def page(self, tables: list[Table], asides: Sequence[Aside]) -> PageText:
        """Return the text with its tables and the asides in them; grids that turn out to be none are left out."""
        for _ in range(_MOST_ROUNDS):
            pieces = self.pieces(tables)
            places = _places(pieces, tables, asides)
            turned: dict[tuple[int, int], list[str]] = {}
            for place, aside in zip(places, asides, strict=True):
                if place is not None:
                    turned.setdefault(place, []).append(aside.text)
            rows, good = self._tables(pieces, tables, turned)
            if len(good) == len(tables):
                blocks = ["\n".join(" | ".join(row) for row in found) for found in rows]
                text = "\n\n".join(filter(str.strip, self._parts(pieces, blocks)))
                return PageText(text, blocks, placed=[number for number, place in enumerate(places) if place])
            tables = good
        return PageText("\n\n".join(filter(str.strip, self._parts(self.pieces([]), []))))

    def _tables(
        self, pieces: list[_Piece], tables: list[Table], turned: Mapping[tuple[int, int], list[str]]
    ) -> tuple[list[list[list[str]]], list[Table]]:
        """Return the rows of each grid, and the grids that are tables."""
        cells: dict[int, dict[int, list[Any]]] = {}
        for piece in pieces:
            if piece.cell is not None:
                cells.setdefault(piece.cell[0], {}).setdefault(piece.cell[1], []).append(piece.what)
        cut = _cut(pieces)
        rows: list[list[list[str]]] = []
        good: list[Table] = []
        for number, table in enumerate(tables):
            texts = {cell: _flat(self.text(found)) for cell, found in cells.get(number, {}).items()}
            for (of, cell), found in turned.items():
                if of == number:
                    texts[cell] = " ".join(filter(None, (texts.get(cell), *found)))
            rows.append(_rows(table, texts))
            if cut[number] <= _CUT * sum(map(len, texts.values())) and _is_table(rows[-1]):
                good.append(table)
        return rows, good

    def _parts(self, pieces: list[_Piece], blocks: list[str]) -> list[str]:
        """Return the texts between the tables, and each table where it begins."""
        parts: list[str] = []
        between: list[Any] = []
        begun: set[int] = set()
        for piece in pieces:
            if piece.cell is None:
                between.append(piece.what)
            elif piece.cell[0] not in begun:
                begun.add(piece.cell[0])
                parts += [_unwrapped(self.text(between)).strip("\n"), blocks[piece.cell[0]]]
                between = []
        return [*parts, _unwrapped(self.text(between)).strip("\n")]

    def pieces(self, tables: list[Table]) -> list[_Piece]:
        """Return the pieces of the page in the order in which they are read."""
        raise NotImplementedError

    def text(self, pieces: list[Any]) -> str:
        """Return the text of pieces that follow each other."""
        raise NotImplementedError


class _Letters(_Reader):
    """Divide a text in the order in which PDFium reads it."""

    def __init__(self, raw: Any, textpage: Any) -> None:
        self._letters: list[tuple[str, float, float] | str] = []  # those that PDFium adds have no place
        x, y = ctypes.c_double(), ctypes.c_double()
        for index in range(raw.FPDFText_CountChars(textpage)):
            code = raw.FPDFText_GetUnicode(textpage, index)
            if code and raw.FPDFText_IsGenerated(textpage, index) == 1:
                self._letters.append(chr(code))
            elif code:
                raw.FPDFText_GetCharOrigin(textpage, index, x, y)
                # A slanted stamp over a table is in none of its cells.
                slanted = is_turned(raw, textpage, index)
                self._letters.append((chr(code), math.inf if slanted else x.value + 0.1, y.value))

    def pieces(self, tables: list[Table]) -> list[_Piece]:
        pieces: list[_Piece] = []
        cell: _Target = None
        before = " "
        for letter in self._letters:
            if isinstance(letter, tuple):
                cell = _target(tables, letter[1], letter[2])
            char = letter[0]
            slanted = isinstance(letter, tuple) and math.isinf(letter[1])
            pieces.append(_Piece(char, cell, not (slanted or char.isspace() or before.isspace())))
            before = " " if slanted else char
        return pieces

    def text(self, pieces: list[Any]) -> str:
        return _plain("".join(pieces))


class _Signs(_Reader):
    """Divide a text by the places of its signs."""

    def __init__(self, signs: list[Sign]) -> None:
        self._signs = signs

    def pieces(self, tables: list[Table]) -> list[_Piece]:
        pieces: list[_Piece] = []
        before: Sign | None = None
        for sign in self._signs:
            near = (
                before is not None
                and sign.y == before.y
                and min(abs(sign.left - before.right), abs(before.left - sign.right)) < 0.1 * sign.size
            )
            solid = before is not None and not sign.text.isspace() and not before.text.isspace()
            pieces.append(_Piece(sign, _target(tables, (sign.left + sign.right) / 2, sign.y), near and solid))
            before = sign
        return pieces

    def text(self, pieces: list[Any]) -> str:
        return joined(pieces)


def _places(pieces: list[_Piece], tables: list[Table], asides: Sequence[Aside]) -> list[_Target]:
    """Return the cell of each aside, or None: a table with less text of its own is turned as a whole."""
    places = [_target(tables, aside.x, aside.y) for aside in asides]
    own = {piece.cell for piece in pieces if piece.cell is not None}
    filled = Counter(cell[0] for cell in own)
    turned = Counter(place[0] for place in set(places) if place is not None)
    return [None if place is None or turned[place[0]] > filled[place[0]] else place for place in places]


def _cut(pieces: list[_Piece]) -> Counter[int]:
    """Count by tables how many words their edges cut: lines that cut words do not divide a table."""
    cut: Counter[int] = Counter()
    before: _Target = None
    for piece in pieces:
        if piece.goes_on and piece.cell != before:
            cut.update({place[0] for place in (piece.cell, before) if place is not None})
        before = piece.cell
    return cut


def _rows(table: Table, texts: dict[int, str]) -> list[list[str]]:
    rows = table.rows(texts)
    text = "".join(texts.values())
    right = len(_RIGHT_LETTER.findall(text))
    # In a table that is written from right to left, the first column is the one on the right.
    return [row[::-1] for row in rows] if 2 * right > sum(map(str.isalpha, text)) else rows


def _target(tables: list[Table], x: float, y: float) -> _Target:
    for number, table in enumerate(tables):
        cell = table.cell_at(x, y)
        if cell is not None:
            return number, cell
    return None


def _is_table(rows: list[list[str]]) -> bool:
    cells = [cell for row in rows for cell in row]
    full = sum(sum(map(bool, row)) > 1 for row in rows)
    return full > 1 and sum(map(bool, cells)) >= _FULL * len(cells) and max(map(len, cells)) <= _LONGEST_CELL


def _flat(text: str) -> str:
    """Return the text of a cell in one line, with marks where a break may divide a Korean word."""
    return " ".join(_HANGUL_BREAK.sub(BREAK, _WRAP.sub("", text)).split())


def _unwrapped(text: str) -> str:
    """Join lines that a full line divides between letters of a script without spaces between its words."""
    if not _WRAP.search(text):
        return text
    lines = text.split("\n")
    full = _FULL_LINE * max(map(len, lines))
    joined_lines: list[str] = []
    before = ""
    for line in lines:
        if len(before) >= full and _WRAP.search(f"{before[-1:]}\n{line[:1]}"):
            joined_lines[-1] += line
        else:
            joined_lines.append(line)
        before = line
    return "\n".join(joined_lines)


def _plain(text: str) -> str:
    # PDFium counts UTF-16 code units on some systems.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
