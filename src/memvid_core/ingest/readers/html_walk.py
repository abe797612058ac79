"""The blocks of an HTML tree in the order in which a browser shows them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.formulas import formula
from memvid_core.ingest.readers.numbering import written
from memvid_core.ingest.readers.pictures import described

__all__ = ["HtmlWalk"]

_BLOCK_TAGS = """
address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure footer
form header hr legend li main menu ol option p pre search section summary table tbody td tfoot th thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LEFT_OUT = frozenset(
    ("script", "style", "noscript", "template", "title", "head", "nav", "iframe", "object", "canvas", "rp", "datalist")
)
# What groups the shapes of a drawing; other elements are shapes, or are drawn only where they are used.
_GROUPS = frozenset(("svg", "g", "a", "switch"))
_LABELS = frozenset(("text", "foreignobject"))
# A table with one of these is for layout, or has cells that are documents of their own.
_KINDS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_LAYOUT = frozenset(("table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "ul", "ol", "form", "blockquote"))
_WITHOUT_VALUE = frozenset(("hidden", "password", "submit", "button", "reset", "image", "file"))
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_MOST_SPANNED = 1000  # rows or columns


class _Numbered(NamedTuple):
    """Hold the number of the next item of a list, what is added for each item, and how numbers are written."""

    next: int
    step: int
    kind: str


class HtmlWalk:
    """Collect inline text into blocks in one pass over the tree, without recursion.

    Args:
        metadata: Metadata for every section.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        self._builder = SectionBuilder(metadata)
        self._pieces: list[str] = []
        self._heading = 0
        self._pre = 0
        self._prefix = ""
        self._lists: list[_Numbered | None] = []

    def sections(self, root: Any) -> list[Section]:
        """Return a section per heading."""
        self._visit(root)
        self._flush()
        return self._builder.finish()

    def _visit(self, root: Any) -> None:
        waiting = [(root, False)]
        while waiting:
            element, leaving = waiting.pop()
            tag = _tag(element)
            if leaving:
                self._leave(tag)
                self._add(element.tail)
                continue
            if not tag or _is_invisible(element, tag):
                self._add(element.tail)
                continue
            if tag == "table" and not _is_layout(element):
                self._flush()
                self._table(element)
                self._add(element.tail)
                continue
            replaced = _replaced(element, tag)
            if replaced is not None:
                self._pieces.append(replaced)
                self._add(element.tail)
                continue
            self._enter(element, tag)
            self._add(element.text)
            waiting.append((element, True))
            waiting.extend((child, False) for child in reversed(element))

    def _enter(self, element: Any, tag: str) -> None:
        if tag in _HEADINGS:
            self._flush()
            self._heading = _HEADINGS[tag]
        elif tag == "br":
            self._pieces.append("\n")
        elif tag == "rt":
            self._pieces.append("(")
        elif tag in _BLOCKS:
            self._flush()
            self._pre += tag == "pre"
            if tag in ("ol", "ul", "menu", "dir"):
                self._lists.append(_numbered(element) if tag == "ol" else None)
            self._prefix = self._mark(element) if tag == "li" else ""

    def _mark(self, element: Any) -> str:
        """Return the mark of a list item: its number, or a hyphen."""
        numbered = self._lists[-1] if self._lists else None
        if numbered is None:
            return "- "
        number = _integer(element.get("value"), numbered.next)
        self._lists[-1] = numbered._replace(next=number + numbered.step)
        return f"{written(number, numbered.kind)}. "

    def _leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._flush()
        elif tag == "rt":
            self._pieces.append(")")
        elif tag in _BLOCKS:
            self._flush()
            self._pre -= tag == "pre"
            if tag in ("ol", "ul", "menu", "dir") and self._lists:
                self._lists.pop()

    def _add(self, text: str | None) -> None:
        if text:
            self._pieces.append(text if self._pre else re.sub(r"\s+", " ", text))

    def _flush(self) -> None:
        text = "".join(self._pieces)
        self._pieces = []
        heading, self._heading = self._heading, 0
        if not text.strip():
            return
        if not self._pre:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
        if heading:
            self._builder.heading(heading, text)
        else:
            self._builder.block(self._prefix + text)
        self._prefix = ""

    def _table(self, table: Any) -> None:
        """Add a table of data: cells that span rows stand in each of them."""
        rows: list[list[str]] = []
        spans: dict[int, tuple[int, str]] = {}
        for row in (found for found in table.iter() if _tag(found) in ("tr", "caption")):
            if _tag(row) == "caption":
                self._builder.block(_cell_text(row))
                continue
            if _is_invisible(row, "tr"):
                continue
            cells: list[str] = []
            for cell in (found for found in row if _tag(found) in ("td", "th") and not _is_invisible(found, "td")):
                _fill(cells, spans)
                text = _cell_text(cell)
                if (down := _integer(cell.get("rowspan"), 1)) > 1:
                    spans[len(cells)] = (min(down, _MOST_SPANNED), text)
                cells.append(text)
            _fill(cells, spans)
            rows.append(cells)
            spans = {column: (left - 1, text) for column, (left, text) in spans.items() if left > 1}
        if rows:
            self._builder.table(rows)


def _fill(cells: list[str], spans: dict[int, tuple[int, str]]) -> None:
    """Add the cells from rows above that span the next columns; the first row of a span has its own cell."""
    while len(cells) in spans and spans[len(cells)][0] > 0:
        cells.append(spans[len(cells)][1])


def _tag(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2].lower().removeprefix("svg:") if isinstance(tag, str) else ""


def _is_invisible(element: Any, tag: str) -> bool:
    if tag in _LEFT_OUT or element.get("hidden") is not None:
        return True
    style = element.get("style")
    return style is not None and _INVISIBLE.search(style) is not None


def _is_layout(table: Any) -> bool:
    if (table.get("role") or "").lower() in ("presentation", "none"):
        return True
    return any(_tag(found) in _LAYOUT for found in table.iter() if found is not table)


def _replaced(element: Any, tag: str) -> str | None:
    """Return the text of an element: a picture's description, a drawing's labels, a formula, a field's value."""
    if tag in ("img", "area"):
        return described(element.get("alt"))
    if tag == "svg":
        labels = _labels(element)
        return "\n".join(["", *labels, ""]) if len(labels) > 1 else f" {' '.join(labels)} "
    if tag == "math":
        try:
            return formula(element)
        except RecursionError:
            return " ".join("".join(element.itertext()).split())
    if tag == "input":
        kind = (element.get("type") or "text").lower()
        if kind in ("checkbox", "radio"):
            return "☒ " if element.get("checked") is not None else "☐ "
        return "" if kind in _WITHOUT_VALUE else f" {element.get('value') or ''} "
    if tag == "select":
        options = [found for found in element.iter() if _tag(found) == "option"]
        chosen = [found for found in options if found.get("selected") is not None] or options[:1]
        return " " + ", ".join(" ".join("".join(found.itertext()).split()) for found in chosen) + " "
    return None


def _labels(drawing: Any) -> list[str]:
    """Return the texts that a drawing (SVG) shows, in the order in which it draws them."""
    texts: list[str] = []
    waiting = [drawing]
    while waiting:
        element = waiting.pop()
        tag = _tag(element)
        if not tag or _is_invisible(element, tag) or element.get("display") == "none":
            continue
        if tag in _LABELS:
            texts.append(_cell_text(element))
        elif tag in _GROUPS:
            waiting.extend(reversed(element))
    return list(filter(None, texts))


def _cell_text(cell: Any) -> str:
    """Return the text of a cell on one line; blocks and line breaks in it are spaces."""
    pieces: list[str] = []
    waiting = [(cell, False)]
    while waiting:
        element, leaving = waiting.pop()
        tag = _tag(element)
        if not leaving and tag and not _is_invisible(element, tag):
            replaced = _replaced(element, tag)
            if replaced is None:
                pieces += (" " if tag in _BLOCKS or tag == "br" else "(" if tag == "rt" else "", element.text or "")
                waiting.append((element, True))
                waiting.extend((child, False) for child in reversed(element))
                continue
            pieces.append(replaced)
        if leaving:
            pieces.append(" " if tag in _BLOCKS else ")" if tag == "rt" else "")
        if element is not cell:
            pieces.append(element.tail or "")
    return " ".join("".join(pieces).split())


def _numbered(element: Any) -> _Numbered:
    back = element.get("reversed") is not None
    items = sum(found.tag == "li" for found in element) if back else 1
    kind = _KINDS.get((element.get("type") or "").strip(), "decimal")
    return _Numbered(_integer(element.get("start"), items), -1 if back else 1, kind)


def _integer(text: str | None, default: int) -> int:
    text = (text or "").strip()
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 10 else default
