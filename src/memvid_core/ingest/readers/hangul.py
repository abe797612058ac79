"""HWPX: documents of Hangul Office in their XML form (KS X 6101)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.ooxml import children, local, parse_xml
from memvid_core.ingest.readers.zipped import read_entry

__all__ = ["read_hwpx"]

_SECTION = re.compile(r"Contents/section(\d{1,5})\.xml$")
_AFTER = frozenset(("footNote", "endNote", "hiddenComment"))
_LEFT_OUT = frozenset(("secPr", "linesegarray", "deleteBegin", "script", "header", "footer", "autoNum", "newNum"))


def read_hwpx(path: Path) -> list[Section]:
    """Read the paragraphs and tables of a HWPX document in order; notes follow their paragraph.

    The archive must have been checked.

    Raises:
        IngestError: The document is encrypted or has no sections.
    """
    with ZipFile(path) as archive:
        parts = sorted((int(found.group(1)), name) for name in archive.namelist() if (found := _SECTION.match(name)))
        if not parts:
            raise IngestError("damaged: it has no Contents/section0.xml")
        builder = SectionBuilder()
        for _, name in parts:
            for paragraph in children(parse_xml(read_entry(archive, name)), "p"):
                _add(paragraph, builder)
    return builder.finish()


def _add(paragraph: Any, builder: SectionBuilder) -> None:
    blocks: list[Any] = []
    builder.block(_text(paragraph, blocks))
    while blocks:
        block = blocks.pop(0)
        if local(block) == "tbl":
            builder.table([[_cell(cell) for cell in children(row, "tc")] for row in children(block, "tr")])
        else:
            builder.block("\n".join(_text(found, blocks) for found in _paragraphs(block)))


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
        elif name in ("tbl", "drawText", "caption") or name in _AFTER:
            blocks.append(found)
        elif name == "equation":
            pieces += (" ".join("".join(script.itertext()).split()) for script in children(found, "script"))
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
