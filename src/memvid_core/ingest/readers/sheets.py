"""XLSX: the rows of each visible sheet, streamed from their XML."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.drawings import chart_title, drawing_text, pictures_of
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.ooxml import Package, attribute, child, children, local
from memvid_core.ingest.readers.pictures import Picture, read_pictures
from memvid_core.ingest.readers.remarks import lose, warn
from memvid_core.ingest.readers.tables import MOST_COLUMNS, Row, row_sections

__all__ = ["read_xlsx"]

_BLOCK = 1 << 20
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]{0,200}?ref="([A-Z]{1,3}\d{1,7}):([A-Z]{1,3}\d{1,7})"')
_MOST_MERGED = 10_000
_LONGEST_MERGED = 100_000  # rows
_MOST_ROWS = 1_048_576
_CELL = re.compile(r"([A-Z]{1,3})(\d{1,7})$")
# ECMA-376-1, 18.8.30: the numbers of the built-in formats for dates and times.
_BUILT_IN = {str(number): "date" for number in (*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59))}
_BUILT_IN |= {"9": "%0", "10": "%2"}
_NOT_LETTERS = re.compile(r'"[^"]*"|\\.|\[(?!h|m|s)[^\]]*\]|_.|\*.', re.IGNORECASE)
_EPOCH = datetime.datetime(1899, 12, 30)  # noqa: DTZ001  # sheets have no time zones
_EPOCH_1904 = datetime.datetime(1904, 1, 1)  # noqa: DTZ001
_LAST_DAY = 2_958_466  # 9999-12-31


def read_xlsx(path: Path) -> list[Section]:
    """Read XLSX with each visible sheet as a table: ``sheet`` is its name, ``row`` counts from 1 as in the program.

    A cell with a formula has its last computed value, or the formula if none was stored. A cell that is merged over
    several rows stands in each of them. Comments and charts follow their sheet. Hidden sheets, and damaged parts,
    are left out with a warning.
    """
    with Package(path) as package:
        return _Workbook(package).sections()


class _Workbook:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._part = package.main()
        self._tree = package.main_tree("workbook")
        properties = child(self._tree, "workbookPr")
        old = properties is not None and attribute(properties, "date1904") in ("1", "true")
        self._epoch = _EPOCH_1904 if old else _EPOCH
        self._strings: list[str] = []
        self._no_strings = ""  # why there are none
        self._read_strings()
        self._formats = self._number_formats()

    def sections(self) -> list[Section]:
        relations = self._package.relations(self._part)
        sections: list[Section] = []
        hidden: list[str] = []
        listed = child(self._tree, "sheets")
        for sheet in () if listed is None else children(listed, "sheet"):
            name = sheet.get("name", "")
            relation = relations.get(next((str(value) for key, value in sheet.items() if key.endswith("}id")), ""))
            if sheet.get("state", "visible") != "visible":
                hidden.append(name)
            elif relation is None:
                lose(f"sheet {name!r}", "damaged: it is not in the file")
            elif relation.kind in ("worksheet", "chartsheet"):
                before = len(sections)
                if relation.kind == "worksheet":
                    sections += row_sections(self._until_damage(relation.target, name), {"sheet": name})
                sections += self._extras(relation.target, name)
                if len(sections) == before:
                    sections += read_pictures(self._pictures(relation.target), {"sheet": name}, "sheets", name)
        if hidden:
            warn(f"hidden sheets were left out: {', '.join(map(repr, hidden))}")
        return sections

    def _read_strings(self) -> None:
        """Read the texts to which cells refer. A sheet that needs them is lost with them."""
        for part in self._package.related(self._part, "sharedStrings"):
            try:
                self._strings += [_string(item) for item in self._elements(part, "si")]
            except IngestError as exc:
                self._no_strings = str(exc)

    def _number_formats(self) -> list[str]:
        """Return the kind of each cell style's number format, as `_kind_of`."""
        for tree in self._package.trees(*self._package.related(self._part, "styles")):
            formats = child(tree, "numFmts")
            custom = {
                found.get("numFmtId", ""): _kind_of(found.get("formatCode", ""))
                for found in (() if formats is None else children(formats, "numFmt"))
            }
            cells = child(tree, "cellXfs")
            numbers = [found.get("numFmtId", "0") for found in (() if cells is None else children(cells, "xf"))]
            return [custom.get(number) or _BUILT_IN.get(number, "") for number in numbers]
        return []

    def _elements(self, part: str, name: str) -> Iterator[Any]:
        """Yield the elements with a name, and free each one after it was used."""
        etree = require("lxml.etree", "to read XLSX")
        with self._package.open(part) as file:
            try:
                events = etree.iterparse(
                    file, events=("end",), tag=f"{{*}}{name}", resolve_entities=False, no_network=True
                )
                for _, element in events:
                    yield element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
            except etree.XMLSyntaxError as exc:
                raise IngestError(f"damaged: {part}: {exc}") from exc

    def _until_damage(self, part: str, name: str) -> Iterator[Row]:
        """Yield the rows of a sheet up to the place where it is damaged, if it is."""
        number = 0
        try:
            for row in self._rows(part):
                number += 1
                yield row
        except IngestError as exc:
            lose(f"sheet {name!r} from row {number + 1} on" if number else f"sheet {name!r}", str(exc))

    def _rows(self, part: str) -> Iterator[Row]:
        merged = self._merged(part)
        above: dict[int, tuple[int, str]] = {}
        expected = 1
        for element in self._elements(part, "row"):
            given = element.get("r", "")
            number = int(given) if given.isdecimal() and len(given) < 8 else expected
            if number < expected or number > _MOST_ROWS:
                raise IngestError(f"damaged: row {number} follows row {expected - 1} in {part}")
            for between in range(expected, number):
                yield self._filled({}, between, merged, above)
            yield self._filled(self._cells(element), number, merged, above)
            expected = number + 1

    def _filled(
        self, row: Row, number: int, merged: dict[tuple[int, int], int], above: dict[int, tuple[int, str]]
    ) -> Row:
        """Return a row with the values of the cells above that are merged with its own."""
        for column, (last, text) in list(above.items()):
            if number > last:
                del above[column]
            elif row:  # rows without a value of their own stay empty
                row.setdefault(column, text)
        if merged:
            for column, text in row.items():
                end = merged.get((number, column))
                if end is not None:
                    above[column] = (end, text)
        return dict(sorted(row.items())) if above else row

    def _merged(self, part: str) -> dict[tuple[int, int], int]:
        """Return the last rows of merged cells by the row and the column of their first cells.

        They are listed after the cells, so the part is searched first.
        """
        found: dict[tuple[int, int], int] = {}
        tail = b""
        with self._package.open(part) as file:
            while (block := file.read(_BLOCK)) and len(found) < _MOST_MERGED:
                for first, last in _MERGED.findall(tail + block):
                    (row, column), (end, _) = _place(first.decode()), _place(last.decode())
                    if row < end <= row + _LONGEST_MERGED:
                        found[row, column] = end
                tail = block[-300:]
        return found

    def _cells(self, row: Any) -> Row:
        cells: Row = {}
        column = -1
        for cell in children(row, "c"):
            place = cell.get("r", "")
            column = _place(place)[1] if place else column + 1
            if not 0 <= column < MOST_COLUMNS:
                raise IngestError(f"damaged: a cell {place!r}")
            text = " ".join(self._cell(cell).split())
            if text:
                cells[column] = text
        return cells

    def _cell(self, cell: Any) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            inline = child(cell, "is")
            return "" if inline is None else _string(inline)
        value = child(cell, "v")
        text = "" if value is None else value.text or ""
        if not text:
            formula = child(cell, "f")
            return f"={formula.text}" if formula is not None and formula.text else ""
        if kind == "s":
            if self._no_strings:
                raise IngestError(self._no_strings)
            return self._strings[int(text)] if text.isdecimal() and int(text) < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if text == "1" else "FALSE"
        if kind == "d":
            return text.replace("T00:00:00", "").replace("T", " ")
        if kind != "n":
            return text
        style = cell.get("s", "0")
        known = style.isdecimal() and int(style) < len(self._formats)
        return _number(text, self._formats[int(style)] if known else "", self._epoch)

    def _pictures(self, part: str) -> list[Picture]:
        return [
            picture
            for drawing in self._package.related(part, "drawing")
            for tree in self._package.trees(drawing)
            for picture in pictures_of(self._package, drawing, tree)
        ]

    def _extras(self, part: str, sheet: str) -> list[Section]:
        """Return the comments, text boxes and charts of a sheet."""
        lines = []
        for kind in ("comments", "threadedComment"):
            for tree in self._package.trees(*self._package.related(part, kind)):
                for comment in tree.iter():
                    if local(comment) in ("comment", "threadedComment"):
                        text = " ".join(_string(comment).split())
                        if text and not text.startswith("[Threaded comment]"):
                            lines.append(f"Comment on {comment.get('ref', '')}: {text}")
        for found in self._package.related(part, "drawing"):
            for tree in self._package.trees(found):
                lines += [drawing_text(box) for box in tree.iter() if local(box) == "txBody"]
            lines += filter(None, map(chart_title, self._package.trees(*self._package.related(found, "chart"))))
        text = "\n\n".join(line for line in lines if line)
        return [Section(text, {"sheet": sheet})] if text else []


def _string(item: Any) -> str:
    """Return the text of a string item, without its phonetic reading."""
    pieces = []
    for found in item.iter():
        if local(found) in ("t", "text") and local(found.getparent()) != "rPh":
            pieces.append(found.text or "")
    return "".join(pieces)


def _place(text: str) -> tuple[int, int]:
    """Return the row from 1 and the column from 0 of a cell.

    Example:
        >>> _place("B3"), _place("AA1"), _place("?")
        ((3, 1), (1, 26), (0, -1))
    """
    found = _CELL.match(text)
    if found is None:
        return 0, -1
    column = 0
    for letter in found.group(1):
        column = column * 26 + ord(letter) - 64
    return int(found.group(2)), column - 1


def _kind_of(code: str) -> str:
    """Return the kind of a number format: ``"date"``, ``"%"`` with its decimals, or empty for other numbers.

    Example:
        >>> _kind_of("yyyy-mm-dd"), _kind_of("0.0%"), _kind_of('0 "days"')
        ('date', '%1', '')
    """
    bare = _NOT_LETTERS.sub("", code.partition(";")[0]).lower()
    if bare.rstrip().endswith("%"):
        return f"%{len(bare.partition('.')[2].rstrip(' %'))}"
    dated = any(letter in bare for letter in "dmyhs") and not any(char in bare for char in "#?")
    return "date" if dated and "general" not in bare else ""


def _number(text: str, kind: str, epoch: datetime.datetime) -> str:
    """Return a stored number as shown: without digits that only double precision adds, or as a date or percentage."""
    try:
        value = float(text)
    except ValueError:
        return text
    if kind == "date" and 0 <= value < _LAST_DAY:
        return _date(value, epoch)
    if kind.startswith("%"):
        return f"{value:.{kind[1:]}%}"
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(float(f"{value:.15g}"))


def _date(value: float, epoch: datetime.datetime) -> str:
    if value < 1:
        return str(datetime.timedelta(seconds=round(value * 86_400))).rjust(8, "0")
    # The format counts a 29 February 1900.
    day = value + 1 if epoch is _EPOCH and value < 60 else value
    moment = epoch + datetime.timedelta(seconds=round(day * 86_400))
    return moment.date().isoformat() if moment.time() == datetime.time() else moment.isoformat(" ", "seconds")
