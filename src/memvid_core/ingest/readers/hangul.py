"""HWPX: documents of Hangul Office in their XML form (KS X 6101)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.hangul_numbers import Head, Level, Numbers
from memvid_core.ingest.readers.ooxml import child, children, local, parse_xml
from memvid_core.ingest.readers.pictures import Picture, read_pictures
from memvid_core.ingest.readers.remarks import leaving_out
from memvid_core.ingest.readers.zipped import Parts

__all__ = ["read_hwpx"]

_SECTION = re.compile(r"Contents/section(\d{1,5})\.xml$")
_AFTER = frozenset(("footNote", "endNote", "hiddenComment"))
_LEFT_OUT = frozenset(("secPr", "linesegarray", "deleteBegin", "script", "newNum"))
_RUNNING = frozenset(("header", "footer"))
_COUNTED = frozenset(("FOOTNOTE", "ENDNOTE", "PICTURE", "TABLE", "EQUATION"))
_HEADS = frozenset(("OUTLINE", "NUMBER", "BULLET"))
_MOST_ROWS = 10_000  # that one cell is over


def read_hwpx(path: Path) -> list[Section]:
    """Read a HWPX document as one section per heading; notes and text boxes follow their paragraph.

    Headers and footers come last, each once. Damaged parts are left out with a warning.

    Raises:
        IngestError: The document is encrypted or has no sections.
    """
    with Parts(path) as parts:
        texts = sorted((int(found.group(1)), name) for name in parts.names if (found := _SECTION.match(name)))
        if not texts:
            raise IngestError("damaged: it has no Contents/section0.xml")
        marks = _Marks(parts)
        builder = SectionBuilder()
        running: dict[str, None] = {}
        for _, name in texts:
            with leaving_out(name):
                section = parse_xml(parts.read(name))
                if local(section) != "sec":
                    raise IngestError("damaged: it is not a section")
                marks.begin(section)
                for paragraph in children(section, "p"):
                    _add(paragraph, marks, builder, running)
        sections = builder.finish() or read_pictures(_pictures(parts, [name for _, name in texts]), {})
    if running:
        sections.append(Section("\n\n".join(running), {"heading": "Headers and footers"}))
    return sections


def _pictures(parts: Parts, sections: list[str]) -> list[Picture]:
    """Return the pictures that sections show, each once, in order; damaged sections were named before."""
    places: dict[str, str] = {}
    if "Contents/content.hpf" in parts.names:
        with leaving_out("Contents/content.hpf"):
            listed = parse_xml(parts.read("Contents/content.hpf")).iter()
            places = {found.get("id", ""): found.get("href", "") for found in listed if local(found) == "item"}
    found: dict[str, Picture] = {}
    for name in sections:
        with leaving_out(name):
            for picture in parse_xml(parts.read(name)).iter():
                if local(picture) == "img" and (reference := picture.get("binaryItemIDRef")):
                    found[reference] = partial(parts.read, places.get(reference, reference))
    return list(found.values())


class _Marks:
    """Know the levels of headings, and what stands before paragraphs: numbers and bullets."""

    def __init__(self, parts: Parts) -> None:
        self._heads: dict[str | None, Head] = {}
        levels: dict[int, list[Level]] = {}
        with leaving_out("Contents/header.xml"):
            header = "Contents/header.xml" in parts.names
            for found in parse_xml(parts.read("Contents/header.xml")).iter() if header else ():
                kind = found.get("type")
                if local(found) == "heading" and kind in _HEADS and local(found.getparent()) == "paraPr":
                    head = Head(kind, _number(found, "level", 0), _number(found, "idRef", 0))
                    self._heads[found.getparent().get("id")] = head
                elif local(found) == "numbering":
                    levels[_number(found, "id", 0)] = [
                        Level.named(level.get("numFormat") or "", level.text or "", _number(level, "start", 1))
                        for level in children(found, "paraHead")
                    ]
        self._numbers = Numbers(levels)

    def begin(self, section: Any) -> None:
        """Begin a section, which chooses the numbering of headings."""
        properties = next((found for found in section.iter() if local(found) == "secPr"), None)
        self._numbers.outline = _number(properties, "outlineShapeIDRef", 1)

    def level(self, paragraph: Any) -> int:
        """Return the level of a heading, 1 for the topmost; 0 for other paragraphs."""
        head = self._heads.get(paragraph.get("paraPrIDRef"))
        return head.level + 1 if head is not None and head.kind == "OUTLINE" else 0

    def shown(self, paragraph: Any, blocks: list[Any]) -> str:
        """Return the text of a paragraph with its mark; its tables, boxes and notes are added to ``blocks``."""
        text = _text(paragraph, blocks)
        mark = self._numbers.next(self._heads.get(paragraph.get("paraPrIDRef"))) if text.strip() else ""
        return f"{mark} {text}" if mark else text


def _add(paragraph: Any, marks: _Marks, builder: SectionBuilder, running: dict[str, None]) -> None:
    blocks: list[Any] = []
    level, text = marks.level(paragraph), marks.shown(paragraph, blocks)
    if level and text.strip():
        builder.heading(level, text)
    else:
        builder.block(text)
    while blocks:
        block = blocks.pop(0)
        if local(block) == "tbl":
            builder.table(_rows(block, marks))
            continue
        lines = [marks.shown(found, blocks) for found in _paragraphs(block)]
        if local(block) not in _RUNNING:
            builder.block("\n".join(lines))
        elif text := "\n".join(filter(str.strip, lines)):
            running[text] = None


def _rows(table: Any, marks: _Marks) -> list[list[str]]:
    """Return the rows of a table. A cell over several rows stands in each of them, one over several columns once."""
    rows: dict[int, dict[int, str]] = {}
    for number, row in enumerate(children(table, "tr")):
        for place, cell in enumerate(children(row, "tc")):
            address, span = child(cell, "cellAddr"), child(cell, "cellSpan")
            column = _number(address, "colAddr", place)
            text = _cell(cell, marks)
            for down in range(min(_number(span, "rowSpan", 1), _MOST_ROWS)):
                rows.setdefault(number + down, {})[column] = text
    return [[text for _, text in sorted(row.items())] for _, row in sorted(rows.items())]


def _number(element: Any, name: str, default: int) -> int:
    value = "" if element is None else element.get(name) or ""
    return int(value) if value.isdecimal() and len(value) < 10 else default


def _text(element: Any, blocks: list[Any]) -> str:
    """Return the text of a paragraph; its tables, boxes and notes are added to ``blocks``."""
    pieces: list[str] = []
    for found in element:
        name = local(found)
        if name == "t":
            pieces.append(found.text or "")
            for mark in found:
                pieces.append(
                    {"tab": "\t", "lineBreak": "\n", "nbSpace": " ", "fwSpace": " ", "hyphen": "-"}.get(local(mark), "")
                )
                pieces.append(mark.tail or "")
        elif name in ("tbl", "drawText", "caption") or name in _AFTER or name in _RUNNING:
            blocks.append(found)
        elif name == "equation":
            pieces += (" ".join("".join(script.itertext()).split()) for script in children(found, "script"))
        elif name == "autoNum":
            pieces.append(found.get("num") or "" if found.get("numType") in _COUNTED else "")
        elif name not in _LEFT_OUT:
            pieces.append(_text(found, blocks))
    return "".join(pieces)


def _cell(cell: Any, marks: _Marks) -> str:
    blocks: list[Any] = []
    texts = [marks.shown(found, blocks) for found in _paragraphs(cell)]
    while blocks and len(texts) < 10_000:
        texts += [marks.shown(found, blocks) for found in _paragraphs(blocks.pop(0))]
    return " ".join(" ".join(texts).split())


def _paragraphs(element: Any) -> Iterator[Any]:
    for found in element:
        if local(found) == "p":
            yield found
        elif local(found) not in _LEFT_OUT:
            yield from _paragraphs(found)
