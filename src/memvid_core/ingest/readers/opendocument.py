"""OpenDocument: texts (.odt), sheets (.ods) and presentations (.odp)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.formulas import formula
from memvid_core.ingest.readers.ooxml import attribute, child, children, local, parse_xml
from memvid_core.ingest.readers.opendocument_parts import About
from memvid_core.ingest.readers.pictures import described, read_pictures
from memvid_core.ingest.readers.remarks import warn
from memvid_core.ingest.readers.tables import MOST_COLUMNS, Row, row_sections
from memvid_core.ingest.readers.zipped import Parts

__all__ = ["flat_sections", "read_opendocument"]

_LEFT_OUT = frozenset(
    (
        *("tracked-changes", "sequence-decls", "variable-decls", "user-field-decls", "forms", "settings"),
        "binary-data",  # a picture in a file that is one XML document
    )
)
_CONTAINERS = frozenset(("section", "index-body", "text", "page", "frame", "text-box", "g", "custom-shape", "rect"))
_LETTER = re.compile(r"[^\W\d_]")
_MOST_REPEATED = 1000  # equal rows or cells with content
_MOST_ROWS = 1_048_576


def read_opendocument(path: Path) -> list[Section]:
    """Read an OpenDocument file: a section per heading, sheet or slide; notes and comments come last.

    Deleted text and hidden sheets are left out. Damaged parts but the content itself are left out with a warning.

    Raises:
        IngestError: The file is encrypted or has no content.
    """
    with Parts(path) as parts:
        manifest = "META-INF/manifest.xml"
        if manifest in parts.names and b"encryption-data" in parts.read(manifest):
            raise IngestError("encrypted: remove its password first")
        tree = parse_xml(parts.read("content.xml"))
        return _sections(tree, About(parts, tree))


def flat_sections(root: Any) -> list[Section]:
    """Return the sections of an OpenDocument file that is one XML document (.fodt, .fods, .fodp)."""
    return _sections(root, About(None, root))


def _sections(tree: Any, about: About) -> list[Section]:
    hidden = _hidden_styles(tree)
    body = next((found for found in children(tree, "body")), None)
    kind = None if body is None else next((found for found in body if local(found)), None)
    if kind is None:
        raise IngestError("damaged: its content has no body")
    if local(kind) == "spreadsheet":
        return _sheets(kind, hidden, about)
    if local(kind) == "presentation":
        pages = enumerate(children(kind, "page"), 1)
        return [section for number, page in pages for section in _slide(page, number, about)]
    text = _Text(SectionBuilder(), about)
    text.blocks(kind)
    sections = text.finish() if text.has_text else [*read_pictures(about.pictures(kind), {}), *text.finish()]
    running = dict.fromkeys(filter(_LETTER.search, map(text.flat, about.running)))
    if running:
        sections.append(Section("\n\n".join(running), {"heading": "Headers and footers"}))
    return sections


def _hidden_styles(tree: Any) -> set[str]:
    return {
        attribute(style, "name") or ""
        for style in tree.iter()
        if local(style) == "style"
        for found in style
        if local(found) == "table-properties" and attribute(found, "display") == "false"
    }


class _Text:
    def __init__(self, builder: SectionBuilder, about: About) -> None:
        self._builder = builder
        self._about = about
        self._charts: list[Any] = []
        self._notes: list[str] = []
        self._comments: list[str] = []

    def finish(self) -> list[Section]:
        sections = self._builder.finish()
        for heading, texts in (("Notes", self._notes), ("Comments", self._comments)):
            if texts:
                sections.append(Section("\n\n".join(texts), {"heading": heading}))
        return sections

    @property
    def has_text(self) -> bool:
        """Whether it has any text so far, besides notes and comments."""
        return self._builder.has_text

    def blocks(self, parent: Any) -> None:
        for found in parent:
            name = local(found)
            if self._about.is_hidden(found):
                continue
            if name == "h":
                text = attribute(found, "outline-level") or "1"
                level = int(text) if text.isdecimal() and len(text) < 3 else 1
                self._builder.heading(level, f"{self._about.number(level)} {self.inline(found)}")
            elif name == "p":
                self._builder.block(self.inline(found))
            elif name == "list":
                self._list(found, 1, "")
            elif name == "object":
                self._builder.block(self._embedded(found))
            elif name == "table":
                self._builder.table(list(self._table(found)))
            elif name in ("title", "desc"):
                self._builder.block(described("".join(found.itertext())))
            elif name not in _LEFT_OUT and name != "notes":
                self.blocks(found)
            self._flush_charts()

    def _flush_charts(self) -> None:
        charts, self._charts = self._charts, []
        for chart in charts:
            for found in chart.iter():
                if _is_title(found):
                    self._builder.block(self.flat(found))
                elif local(found) == "table":
                    self._builder.table(list(self._table(found)))

    def _embedded(self, element: Any) -> str:
        """Return a formula as text; a chart follows its paragraph."""
        root = self._about.embedded(element)
        if root is None:
            return ""
        if local(root) == "math":
            return formula(root)
        self._charts.append(root)
        return ""

    def chart_titles(self, sheet: Any) -> None:
        """Add the titles of the charts on a sheet, whose values are in its cells."""
        for found in sheet.iter():
            root = self._about.embedded(found) if local(found) == "object" else None
            for title in () if root is None else root.iter():
                if _is_title(title):
                    self._builder.block(self.flat(title))

    def flat(self, element: Any) -> str:
        """Return the paragraphs of an element as lines."""
        return "\n".join(filter(str.strip, (self.inline(found) for found in _paragraphs(element))))

    def _list(self, element: Any, depth: int, style: str) -> None:
        style = attribute(element, "style-name") or style
        goes_on = attribute(element, "continue-numbering") == "true" or attribute(element, "continue-list")
        if depth == 1 and not goes_on:
            self._about.begin(style)
        for item in children(element, "list-item", "list-header"):
            mark = ""
            for found in item:
                if local(found) == "list":
                    self._list(found, depth + 1, style)
                elif local(found) in ("p", "h") and (text := self.inline(found)).strip():
                    if local(item) == "list-item" and not mark:
                        mark = self._about.mark(style, depth, attribute(item, "start-value"))
                        text = f"{mark} {text}"
                    if local(found) == "h":
                        self._builder.heading(depth, text.removeprefix("- "))
                    else:
                        self._builder.block(text)

    def _table(self, table: Any) -> Iterator[list[str]]:
        """Yield the rows of a table. A cell over several rows stands in each of them."""
        over: dict[int, tuple[int, str]] = {}  # how many rows it still is over
        for row in _rows_of(table):
            cells: list[str] = []
            for column, cell in enumerate(children(row, "table-cell", "covered-table-cell")):
                text = " ".join(" ".join(self.inline(found) for found in _paragraphs(cell)).split())
                rows = _count(cell, "number-rows-spanned")
                left, above = over.pop(column, (0, ""))
                if local(cell) == "covered-table-cell" and left:
                    text = text or above
                    rows = left
                if rows > 1:
                    over[column] = (rows - 1, text)
                cells.append(text)
            yield cells

    def inline(self, element: Any) -> str:
        if self._about.is_hidden(element):
            return ""
        pieces = [element.text or ""]
        for found in element:
            name = local(found)
            if name == "object":
                pieces.append(self._embedded(found))
            elif name == "s":
                count = attribute(found, "c") or "1"
                pieces.append(" " * min(int(count) if count.isdecimal() else 1, 100))
            elif name in ("tab", "line-break"):
                pieces.append("\t" if name == "tab" else "\n")
            elif name == "note":
                pieces.append(self._note(found))
            elif name == "annotation":
                author = child(found, "creator")
                text = "\n".join(self.inline(part) for part in children(found, "p", "list"))
                self._comments.append(f"{author.text}: {text}" if author is not None and author.text else text)
            elif name == "ruby":
                base, over = child(found, "ruby-base"), child(found, "ruby-text")
                pieces.append("" if base is None else self.inline(base))
                pieces.append("" if over is None else f"({self.inline(over)})")
            elif name not in ("annotation-end", "bookmark", "title", "desc") and name not in _LEFT_OUT:
                pieces.append(self.inline(found))
                if name in ("p", "h"):
                    pieces.append("\n")
            pieces.append(found.tail or "")
        return "".join(pieces)

    def _note(self, element: Any) -> str:
        body = child(element, "note-body")
        text = "" if body is None else "\n".join(self.inline(found) for found in children(body, "p"))
        self._notes.append(f"[{len(self._notes) + 1}] {text}")
        return f"[{len(self._notes)}]"


def _is_title(element: Any) -> bool:
    return local(element) == "title" and local(element.getparent()) == "chart"


def _slide(page: Any, number: int, about: About) -> list[Section]:
    titles = [frame for frame in children(page, "frame") if attribute(frame, "class") in ("title", "subtitle")]
    title = next((" ".join("".join(frame.itertext()).split()) for frame in titles), "")
    metadata: dict[str, Any] = {"page": number, "slide": number}
    builder = SectionBuilder({**metadata, "heading": title} if title else metadata)
    text = _Text(builder, about)
    text.blocks(page)
    shown = [] if text.has_text else read_pictures(about.pictures(page), metadata, "slides", number)
    for notes in children(page, "notes"):
        text.blocks(notes)
    return [*shown, *text.finish()]


def _sheets(spreadsheet: Any, hidden: set[str], about: About) -> list[Section]:
    sections: list[Section] = []
    left_out: list[str] = []
    for table in children(spreadsheet, "table"):
        name = attribute(table, "name") or ""
        if attribute(table, "style-name") in hidden:
            left_out.append(name)
            continue
        text = _Text(SectionBuilder(), about)
        found = list(row_sections(_sheet_rows(table, text), {"sheet": name}))
        text.chart_titles(table)
        found += [Section(part.text, {"sheet": name}) for part in text.finish()]
        sections += found or read_pictures(about.pictures(table), {"sheet": name}, "sheets", name)
    if left_out:
        warn(f"hidden sheets were left out: {', '.join(map(repr, left_out))}")
    return sections


def _sheet_rows(table: Any, text: _Text) -> Iterator[Row]:
    number = 0
    for row in _rows_of(table):
        cells: Row = {}
        column = 0
        for cell in children(row, "table-cell", "covered-table-cell"):
            repeated = _count(cell, "number-columns-repeated")
            shown = " ".join(" ".join(text.inline(found) for found in _paragraphs(cell)).split())
            for note in children(cell, "annotation"):
                text.inline(_wrapped(note))
            if shown:
                if column + repeated > MOST_COLUMNS:
                    raise IngestError(f"a row of more than {MOST_COLUMNS:,} columns: not a table")
                cells |= dict.fromkeys(range(column, column + min(repeated, _MOST_REPEATED)), shown)
            column += repeated
        times = _count(row, "number-rows-repeated")
        number += times
        if number > _MOST_ROWS and cells:
            raise IngestError(f"a sheet of more than {_MOST_ROWS:,} rows")
        if not cells and number >= _MOST_ROWS:  # the empty rest of the sheet
            return
        for _ in range(min(times, _MOST_REPEATED) if cells else times):
            yield dict(cells)


def _wrapped(note: Any) -> Any:
    wrapper = note.makeelement("wrapper")
    wrapper.append(note)
    return wrapper


def _rows_of(table: Any) -> Iterator[Any]:
    for found in table:
        if local(found) == "table-row":
            yield found
        elif local(found) in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows_of(found)


def _paragraphs(cell: Any) -> Iterator[Any]:
    for found in cell:
        if local(found) in ("p", "h"):
            yield found
        elif local(found) not in _LEFT_OUT and local(found) not in ("annotation", "title", "desc"):
            yield from _paragraphs(found)


def _count(element: Any, name: str) -> int:
    text = attribute(element, name) or "1"
    return max(1, int(text)) if text.isdecimal() and len(text) < 9 else 1
