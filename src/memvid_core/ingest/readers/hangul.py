"""HWPX: documents of Hangul Office in their XML form (KS X 6101)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.ooxml import child, children, local, parse_xml
from memvid_core.ingest.readers.zipped import read_entry

__all__ = ["read_hwpx"]

_SECTION = re.compile(r"Contents/section(\d{1,5})\.xml$")
_AFTER = frozenset(("footNote", "endNote", "hiddenComment"))
_LEFT_OUT = frozenset(("secPr", "linesegarray", "deleteBegin", "script", "newNum"))
_RUNNING = frozenset(("header", "footer"))
_COUNTED = frozenset(("FOOTNOTE", "ENDNOTE", "PICTURE", "TABLE", "EQUATION"))
_MOST_ROWS = 10_000  # that one cell is over


def read_hwpx(path: Path) -> list[Section]:
    """Read a HWPX document as one section per heading; notes and text boxes follow their paragraph.

    Headers and footers come last, each once. The archive must have been checked.

    Raises:
        IngestError: The document is encrypted or has no sections.
    """
    with ZipFile(path) as archive:
        parts = sorted((int(found.group(1)), name) for name in archive.namelist() if (found := _SECTION.match(name)))
        if not parts:
            raise IngestError("damaged: it has no Contents/section0.xml")
        levels = _levels(archive)
        builder = SectionBuilder()
        running: dict[str, None] = {}
        for _, name in parts:
            section = parse_xml(read_entry(archive, name))
            if local(section) != "sec":
                raise IngestError(f"damaged: its part {name!r} is no section")
            for paragraph in children(section, "p"):
                _add(paragraph, levels.get(paragraph.get("paraPrIDRef"), 0), builder, running)
    sections = builder.finish()
    if running:
        sections.append(Section("\n\n".join(running), {"heading": "Headers and footers"}))
    return sections


def _levels(archive: ZipFile) -> dict[str | None, int]:
    """Return the level of headings of the paragraph properties that have one, 1 for the topmost."""
    if "Contents/header.xml" not in archive.namelist():
        return {}
    levels: dict[str | None, int] = {}
    for found in parse_xml(read_entry(archive, "Contents/header.xml")).iter():
        if local(found) == "heading" and found.get("type") == "OUTLINE" and local(found.getparent()) == "paraPr":
            level = found.get("level") or ""
            levels[found.getparent().get("id")] = int(level) + 1 if level.isdecimal() else 1
    return levels


def _add(paragraph: Any, level: int, builder: SectionBuilder, running: dict[str, None]) -> None:
    blocks: list[Any] = []
    text = _text(paragraph, blocks)
    if level and text.strip():
        builder.heading(level, text)
    else:
        builder.block(text)
    while blocks:
        block = blocks.pop(0)
        if local(block) == "tbl":
            builder.table(_rows(block))
            continue
        lines = [_text(found, blocks) for found in _paragraphs(block)]
        if local(block) not in _RUNNING:
            builder.block("\n".join(lines))
        elif text := "\n".join(filter(str.strip, lines)):
            running[text] = None


def _rows(table: Any) -> list[list[str]]:
    """Return the rows of a table. A cell over several rows stands in each of them, one over several columns once."""
    rows: dict[int, dict[int, str]] = {}
    for number, row in enumerate(children(table, "tr")):
        for place, cell in enumerate(children(row, "tc")):
            address, span = child(cell, "cellAddr"), child(cell, "cellSpan")
            column = _number(address, "colAddr", place)
            text = _cell(cell)
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


def _cell(cell: Any) -> str:
    blocks: list[Any] = []
    texts = [_text(found, blocks) for found in _paragraphs(cell)]
    while blocks and len(texts) < 10_000:
        texts += [_text(found, blocks) for found in _paragraphs(blocks.pop(0))]
    return " ".join(" ".join(texts).split())


def _paragraphs(element: Any) -> Iterator[Any]:
    for found in element:
        if local(found) == "p":
            yield found
        elif local(found) not in _LEFT_OUT:
            yield from _paragraphs(found)
