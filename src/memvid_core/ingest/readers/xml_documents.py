"""XML: articles (JATS, DocBook) by heading, records as lines, other documents as the text of their elements."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.formulas import formula
from memvid_core.ingest.readers.ooxml import attribute, local, parse_xml
from memvid_core.ingest.readers.opendocument import flat_sections
from memvid_core.ingest.readers.tables import Row, row_sections

__all__ = ["read_xml"]

_ARTICLES = frozenset(("article", "book", "chapter", "section", "TEI", "dita", "topic", "book-part-wrapper"))
_TITLES = frozenset(("title", "article-title", "book-title", "head"))
_NESTED = frozenset(
    ("sec", "section", "chapter", "part", "abstract", "ack", "app", "ref-list", "sect1", "sect2", "sect3", "div")
)
_BLOCK_TAGS = """
p para simpara kwd disp-formula caption label list-item def listitem mixed-citation element-citation ref string-name
name aff contrib programlisting preformat code screen fn
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_LEFT_OUT = frozenset(("journal-meta", "permissions", "counts", "custom-meta-group", "self-uri", "object-id"))
_DEEPEST = 100


def read_xml(path: Path) -> list[Section]:
    """Read XML: an article as a section per heading, records as a line each with ``row``, else a block per element.

    OpenDocument that is one XML document is read as such.
    """
    data = path.read_bytes()
    text = decode(data)
    root = parse_xml(_without_declaration(text).encode())
    if local(root) == "document" and attribute(root, "mimetype"):
        return flat_sections(root)
    builder = SectionBuilder()
    if local(root) in _ARTICLES:
        _article(root, builder, 1)
        return builder.finish()
    records = [found for found in root if local(found)]
    names = Counter(local(found) for found in records)
    if len(records) > 1 and len(names) == 1 and all(_is_flat(found) for found in records):
        return _records(records)
    _blocks(root, builder)
    return builder.finish()


def _without_declaration(text: str) -> str:
    # The text is decoded; a declared encoding no longer holds.
    stripped = text.lstrip("\ufeff \n\t")
    return stripped.partition("?>")[2] if stripped.startswith("<?xml") else stripped


def _is_flat(record: Any) -> bool:
    return all(not len(field) for field in record)


def _records(records: list[Any]) -> list[Section]:
    places: dict[str, int] = {}
    rows: list[Row] = []
    for record in records:
        row: Row = {}
        fields = [*((str(key).rpartition("}")[2], str(value)) for key, value in record.items())]
        fields += [(local(field), "".join(field.itertext())) for field in record if local(field)]
        for name, value in fields:
            place = places.setdefault(name, len(places))
            value = " ".join(value.split())
            if value:
                row[place] = f"{row[place]}, {value}" if place in row else value
        rows.append(row)
    header = {place: name for name, place in places.items()}
    if not header:
        return [
            Section("\n".join(" ".join("".join(record.itertext()).split()) for record in records), {"row": 1}, "rows")
        ]
    # The header is not a row of the file, so that rows count from 1.
    return [
        Section(section.text, {**section.metadata, "row": section.metadata["row"] - 1}, section.kind)
        for section in row_sections([{place: f"{name}" for place, name in header.items()}, *rows], {})
    ]


def _article(element: Any, builder: SectionBuilder, level: int) -> None:
    for found in element:
        name = local(found)
        if not name or name in _LEFT_OUT:
            continue
        if name in _TITLES:
            builder.heading(level, _flat(found))
        elif name in ("table", "informaltable", "tgroup"):
            _table(found, builder)
        elif name in _BLOCKS:
            builder.block(_flat(found))
        elif level < _DEEPEST:
            _article(found, builder, level + 1 if name in _NESTED else level)
        if not len(found) and name not in _BLOCKS | _TITLES and (found.text or "").strip():
            builder.block(_flat(found))


def _table(table: Any, builder: SectionBuilder) -> None:
    rows = [found for found in table.iter() if local(found) in ("tr", "row")]
    builder.table(
        [[_flat(cell) for cell in row if local(cell) in ("td", "th", "entry")] for row in rows] or [[_flat(table)]]
    )


def _blocks(root: Any, builder: SectionBuilder) -> None:
    """Add a block for each outermost element that has text of its own."""
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if not local(element):
            continue
        if (element.text or "").strip() or any((found.tail or "").strip() for found in element):
            builder.block(_flat(element))
        else:
            waiting += reversed(element)


def _flat(element: Any) -> str:
    for found in element.iter():
        if local(found) == "math":
            found.text = formula(found)
            for item in list(found):
                found.remove(item)
    return " ".join("".join(element.itertext()).split())
