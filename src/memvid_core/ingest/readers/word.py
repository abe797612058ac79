"""DOCX as Word shows it: numbers, boxes, formulas, charts, notes, comments, headers and footers; no hidden text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.drawings import graphic_blocks, pictures_of
from memvid_core.ingest.readers.formulas import formula
from memvid_core.ingest.readers.nested import read_nested
from memvid_core.ingest.readers.numbering import Numbering
from memvid_core.ingest.readers.ooxml import Package, attribute, child, children, local, path_of
from memvid_core.ingest.readers.pictures import described, read_pictures
from memvid_core.ingest.readers.remarks import leaving_out
from memvid_core.ingest.readers.word_styles import Styles

__all__ = ["read_docx"]

# Elements that only wrap blocks, rows or cells, at every level.
_WRAPPERS = frozenset(("customXml", "ins", "moveTo", "sdt", "sdtContent", "smartTag"))
_LEFT_OUT = frozenset(("del", "moveFrom", "delText", "instrText", "rPr", "pPr", "sdtPr", "rt", "tblPr", "tcPr", "trPr"))
_BREAKS = {"br": "\n", "cr": "\n", "tab": "\t", "ptab": "\t", "noBreakHyphen": "-"}
_OFF = ("0", "false", "off", "none")
_ONLY_NUMBERS = re.compile(r"[\s\d/|–—-]*$")


def read_docx(path: Path) -> list[Section]:
    """Read a DOCX as one section per heading, in the order in which Word shows it.

    Tables become a line of cells per row. Footnotes and endnotes, comments, and the texts of headers and footers, each
    once, are sections at the end. Deleted and hidden text is left out. Damaged parts but the text itself are left out
    with a warning.
    """
    with Package(path) as package:
        return _Document(package, package.main()).sections()


class _Document:
    def __init__(self, package: Package, part: str) -> None:
        self._package = package
        self._part = part
        styles, numbering = (package.related(part, kind) for kind in ("styles", "numbering"))
        self._styles = Styles(next(package.trees(*styles[:1]), None))
        self._numbering = Numbering(next(package.trees(*numbering[:1]), None))
        self._builder = SectionBuilder()
        self._boxes: list[Any] = []
        self._notes: dict[tuple[str, str], int] = {}

    def sections(self) -> list[Section]:
        body = child(self._package.main_tree("document"), "body")
        if body is not None:
            self._blocks(body)
        sections = self._builder.finish()
        if body is not None and not sections:
            sections += self._pictures(body)
        relations = {kind: self._package.related(self._part, kind) for kind in _EXTRA_KINDS}
        for heading, texts in (
            ("Notes", self._notes_of(relations)),
            ("Comments", self._comments(relations["comments"])),
            ("Headers and footers", self._running(relations["header"] + relations["footer"])),
        ):
            if texts:
                sections.append(Section("\n\n".join(texts), {"heading": heading}))
        return sections

    def _pictures(self, body: Any) -> list[Section]:
        """Return what the pictures of a document without text show, also those at the top and bottom of its pages."""
        running = [name for kind in ("header", "footer") for name in self._package.related(self._part, kind)]
        found = pictures_of(self._package, self._part, body)
        for part in running:
            for tree in self._package.trees(part):
                found += pictures_of(self._package, part, tree)
        return read_pictures(found, {})

    def _blocks(self, parent: Any) -> None:
        for found in _unwrapped(parent):
            name = local(found)
            if name == "p":
                self._paragraph(found)
            elif name == "tbl":
                self._builder.table(self._table(found))
            elif name == "altChunk":
                self._foreign(found)
            elif name in ("oMath", "oMathPara"):
                self._builder.block(formula(found))

    def _paragraph(self, paragraph: Any) -> None:
        text = self._text(paragraph)
        properties = child(paragraph, "pPr")
        style = _value(path_of(paragraph, "pPr", "pStyle"))
        if text.strip():
            mark = self._mark(properties, style)
            level = self._styles.level(style, properties)
            text = f"{mark} {text}" if mark else text
            if level:
                self._builder.heading(level, text)
            else:
                self._builder.block(text)
        self._flush_boxes(paragraph)

    def _mark(self, properties: Any, style: str) -> str:
        direct = None if properties is None else child(properties, "numPr")
        number, level = self._styles.list_of(style)
        if direct is not None:
            number = _value(child(direct, "numId")) or number
            chosen = _value(child(direct, "ilvl"))
            level = int(chosen) if chosen.isdecimal() else level or 0
        elif number and level is None:
            level = self._numbering.level_of(number, style)
        return self._numbering.next(number, level or 0)

    def _flush_boxes(self, element: Any) -> None:
        """Add the charts, diagrams and text boxes that are anchored in a paragraph after it."""
        if any(local(found) in ("chart", "relIds") for found in element.iter()):
            for block in graphic_blocks(self._package, self._part, element):
                if isinstance(block, str):
                    self._builder.block(block)
                else:
                    self._builder.table(block)
        boxes, self._boxes = self._boxes, []
        for box in boxes:
            self._blocks(box)

    def _text(self, element: Any) -> str:
        pieces: list[str] = []
        self._collect(element, pieces)
        return "".join(pieces)

    def _collect(self, element: Any, pieces: list[str]) -> None:
        for found in element:
            name = local(found)
            if name == "t":
                pieces.append(found.text or "")
            elif name in _BREAKS:
                pieces.append(_BREAKS[name] if attribute(found, "type") != "page" else "\n")
            elif name in ("oMath", "oMathPara"):
                pieces.append(formula(found))
            elif name == "AlternateContent":
                self._alternative(found, pieces)
            elif name == "txbxContent":
                self._boxes.append(found)
            elif name in ("footnoteReference", "endnoteReference"):
                pieces.append(self._reference(found))
            elif name == "ruby":
                self._ruby(found, pieces)
            elif name == "sym":
                pieces.append(_symbol(found))
            elif name == "docPr":
                pieces.append(_description(found))
            elif name == "checkBox":
                checked = child(found, "checked")
                pieces.append("☒" if checked is not None and attribute(checked, "val") not in _OFF else "☐")
            elif name == "p" and pieces:
                pieces.append("\n")
                self._collect(found, pieces)
            elif name not in _LEFT_OUT and not (name == "r" and self._styles.hidden(found)):
                self._collect(found, pieces)

    def _alternative(self, element: Any, pieces: list[str]) -> None:
        """Read the first form of alternative content that has any: the others repeat it for older programs."""
        for form in children(element, "Choice", "Fallback"):
            before = len(pieces), len(self._boxes)
            self._collect(form, pieces)
            if "".join(pieces[before[0] :]).strip() or len(self._boxes) > before[1]:
                return
            if any(local(found) in ("chart", "relIds") for found in form.iter()):
                return

    def _ruby(self, element: Any, pieces: list[str]) -> None:
        base, reading = child(element, "rubyBase"), child(element, "rt")
        pieces.append("" if base is None else self._text(base))
        over = "" if reading is None else self._text(reading)
        pieces.append(f"({over})" if over else "")

    def _reference(self, element: Any) -> str:
        key = (local(element).removesuffix("Reference"), attribute(element, "id") or "")
        return f"[{self._notes.setdefault(key, len(self._notes) + 1)}]"

    def _table(self, table: Any) -> list[list[str]]:
        rows: list[list[str]] = []
        above: dict[int, str] = {}
        for row in _unwrapped(table):
            if local(row) != "tr" or path_of(row, "trPr", "del") is not None:
                continue
            column, cells, current = 0, [], {}
            for cell in _unwrapped(row):
                if local(cell) != "tc":
                    continue
                merge = path_of(cell, "tcPr", "vMerge")
                # A cell that is merged over several rows stands in each of them.
                going_on = merge is not None and attribute(merge, "val") != "restart"
                text = above.get(column, "") if going_on else self._cell(cell)
                if merge is not None:
                    current[column] = text
                cells.append(text)
                span = _value(path_of(cell, "tcPr", "gridSpan"))
                column += int(span) if span.isdecimal() and 0 < int(span) < 1000 else 1
            above = current
            rows.append(cells)
        return rows

    def _cell(self, cell: Any) -> str:
        texts = []
        for found in _unwrapped(cell):
            if local(found) == "tbl":
                texts += [" | ".join(row) for row in self._table(found)]
            elif local(found) == "p":
                mark = self._mark(child(found, "pPr"), _value(path_of(found, "pPr", "pStyle")))
                text = self._text(found)
                texts.append(f"{mark} {text}" if mark and text.strip() else text)
        boxes, self._boxes = self._boxes, []
        texts += [self._text(box) for box in boxes]
        return " ".join(" ".join(texts).split())

    def _notes_of(self, relations: dict[str, list[str]]) -> list[str]:
        notes: list[tuple[int, str]] = []
        for kind in ("footnote", "endnote"):
            for tree in self._package.trees(*relations[f"{kind}s"]):
                for found in children(tree, kind):
                    text = self._flat(found)
                    if text:
                        number = self._notes.get((kind, attribute(found, "id") or ""), 0)
                        notes.append((number, f"[{number}] {text}" if number else text))
        return [text for _, text in sorted(notes, key=lambda note: note[0] or len(notes) + 1)]

    def _comments(self, parts: list[str]) -> list[str]:
        comments = []
        for tree in self._package.trees(*parts):
            for found in children(tree, "comment"):
                text, author = self._flat(found), attribute(found, "author")
                if text:
                    comments.append(f"{author}: {text}" if author else text)
        return comments

    def _running(self, parts: list[str]) -> list[str]:
        texts = map(self._flat, self._package.trees(*sorted(parts)))
        return list(dict.fromkeys(text for text in texts if not _ONLY_NUMBERS.match(text)))

    def _flat(self, element: Any) -> str:
        lines = []
        for found in _unwrapped(element):
            if local(found) == "p":
                lines.append(self._text(found).strip())
            elif local(found) == "tbl":
                lines += [" | ".join(cells) for cells in self._table(found)]
        while self._boxes:
            lines.append(self._text(self._boxes.pop(0)).strip())
        return "\n".join(line for line in lines if line)

    def _foreign(self, element: Any) -> None:
        """Add a document of any format that is embedded in the text."""
        relation = self._package.relations(self._part).get(attribute(element, "id") or "")
        if relation is None:
            return
        with leaving_out(relation.target):
            for section in read_nested(relation.target, self._package.read(relation.target), "attachment"):
                self._builder.block(section.text)


_EXTRA_KINDS = ("footnotes", "endnotes", "comments", "header", "footer")


def _unwrapped(parent: Any) -> Iterator[Any]:
    """Yield the children of an element without the wrappers that may stand at any level."""
    for found in parent:
        name = local(found)
        if name == "AlternateContent":
            form = child(found, "Choice")
            yield from _unwrapped(form if form is not None else found)
        elif name in _WRAPPERS:
            yield from _unwrapped(found)
        elif name not in _LEFT_OUT:
            yield found


def _value(element: Any) -> str:
    return "" if element is None else attribute(element, "val") or ""


def _symbol(element: Any) -> str:
    code = attribute(element, "char") or ""
    try:
        char = chr(int(code, 16))
    except (ValueError, OverflowError):
        return ""
    return "" if "\ue000" <= char <= "\uf8ff" else char


def _description(element: Any) -> str:
    """Return the description of a picture; decorative pictures and shapes with a text have none."""
    parent = element.getparent()
    if any(local(found) == "txbxContent" for found in parent.iter()):
        return ""
    return described(attribute(element, "descr"))
