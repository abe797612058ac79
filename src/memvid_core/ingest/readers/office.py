"""DOCX and PPTX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.extras import require

__all__ = ["read_docx", "read_pptx"]

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING = re.compile(r"heading ([1-9])$", re.IGNORECASE)
_NOTES = ("/footnotes", "/endnotes")  # endings of their relationship types


def read_docx(path: Path) -> list[Section]:
    """Read a DOCX as one section per heading; tables become lines of cells, footnotes and endnotes come last.

    The archive must have been checked.
    """
    docx = require("docx", "to read DOCX")
    document = docx.Document(str(path))
    levels = _levels(document.styles.element)
    builder = SectionBuilder()
    for block in _blocks(document.element.body):
        if block.tag == f"{_W}tbl":
            builder.block(_table(block))
            continue
        style = block.find(f"{_W}pPr/{_W}pStyle")
        name = style.get(f"{_W}val") if style is not None else None
        level = levels.get(name or "", 0)
        if level:
            builder.heading(level, _text(block))
        elif block.find(f"{_W}pPr/{_W}numPr") is not None or (name or "").startswith("List"):
            builder.block(f"- {_text(block)}" if _text(block).strip() else "")
        else:
            builder.block(_text(block))
    sections = builder.finish()
    notes = "\n\n".join(_notes(document.part))
    return [*sections, Section(notes, {"heading": "Notes"})] if notes else sections


def _levels(styles: Any) -> dict[str, int]:
    """Return the heading level of each paragraph style by its id; 0 for styles that are not headings.

    A style inherits from the style it is based on; chains may be long, and circular in damaged files.
    """
    own: dict[str, int] = {}
    base: dict[str, str] = {}
    for style in styles.iterchildren(f"{_W}style"):
        if style.get(f"{_W}type", "paragraph") != "paragraph":
            continue
        name, based = style.find(f"{_W}name"), style.find(f"{_W}basedOn")
        style_id = style.get(f"{_W}styleId", "")
        own[style_id] = _level("" if name is None else name.get(f"{_W}val", ""))
        base[style_id] = "" if based is None else based.get(f"{_W}val", "")
    levels: dict[str, int] = {}
    for style_id in own:
        chain: dict[str, None] = {}
        at = style_id
        while at in own and at not in chain and at not in levels and not own[at]:
            chain[at] = None
            at = base[at]
        level = levels.get(at, own.get(at, 0))
        levels.update(dict.fromkeys((*chain, style_id), level))
    return levels


def _level(name: str) -> int:
    found = _HEADING.match(name)
    return int(found.group(1)) if found else int(name.lower() == "title")


def _blocks(parent: Any) -> Iterator[Any]:
    # Content controls, insertions and custom XML contain paragraphs that python-docx's own iteration omits.
    for child in parent.iterchildren():
        if child.tag in (f"{_W}p", f"{_W}tbl"):
            yield child
        elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}customXml"):
            yield from _blocks(child)


def _text(block: Any) -> str:
    pieces: list[str] = []
    for element in block.iter():
        if element.tag == f"{_W}t" and not any(above.tag == _FALLBACK for above in element.iterancestors()):
            pieces.append(element.text or "")
        elif element.tag == f"{_W}tab" and element.getparent().tag == f"{_W}r":
            pieces.append("\t")
        elif element.tag in (f"{_W}br", f"{_W}cr") or (element.tag == f"{_W}p" and pieces):
            pieces.append("\n")
        elif element.tag == f"{_W}noBreakHyphen":
            pieces.append("-")
    return "".join(pieces)


def _table(table: Any) -> str:
    rows = []
    for row in table.iter(f"{_W}tr"):
        cells = [" ".join(_text(cell).split()) for cell in row.iterchildren(f"{_W}tc")]
        if any(cells):
            rows.append(" | ".join(cells))
    return "\n".join(rows)


def _notes(part: Any) -> Iterator[str]:
    etree = require("lxml.etree", "to read DOCX")
    for relation in part.rels.values():
        if not relation.is_external and relation.reltype.endswith(_NOTES):
            root = etree.fromstring(relation.target_part.blob, etree.XMLParser(resolve_entities=False, no_network=True))
            for note in root.iterchildren():
                text = _text(note).strip()
                if text:
                    yield text


def read_pptx(path: Path) -> list[Section]:
    """Read a PPTX as one section per slide, with ``page`` from 1 and its title as ``heading``; notes follow the text.

    The archive must have been checked.
    """
    pptx = require("pptx", "to read PPTX")
    sections = []
    for number, slide in enumerate(pptx.Presentation(str(path)).slides, 1):
        metadata: dict[str, Any] = {"page": number}
        title = slide.shapes.title
        if title is not None and title.text_frame.text.strip():
            metadata["heading"] = " ".join(title.text_frame.text.split())
        blocks = [block.replace("\v", "\n").strip() for block in _shapes(slide.shapes)]
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            blocks.append(slide.notes_slide.notes_text_frame.text.strip())
        sections.append(Section("\n\n".join(block for block in blocks if block), metadata))
    return sections


def _shapes(shapes: Any) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):  # a group
            yield from _shapes(shape.shapes)
        elif getattr(shape, "has_table", False):
            rows = ([" ".join(cell.text.split()) for cell in row.cells] for row in shape.table.rows)
            yield "\n".join(" | ".join(row) for row in rows)
        elif shape.has_text_frame:
            yield shape.text_frame.text
