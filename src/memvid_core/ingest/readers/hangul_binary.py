"""HWP: documents of Hangul Office in their binary form (HWP 5.0, an OLE file of compressed records)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from struct import unpack

import msgspec

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.hangul_numbers import Head, Level, Numbers
from memvid_core.ingest.readers.ole import Ole, opened
from memvid_core.ingest.readers.pictures import Picture, read_pictures
from memvid_core.ingest.readers.remarks import leaving_out
from memvid_core.ingest.readers.zipped import HIGHEST_RATIO, MOST_UNPACKED, RATIO_COUNTS_FROM

__all__ = ["read_hwp"]

_FLAGS = 36  # where the flags are in FileHeader
_COMPRESSED, _PASSWORD, _DISTRIBUTED, _CERTIFIED = 1, 2, 4, 0x500
# Tags of records.
_NUMBERING, _PARAGRAPH_SHAPE, _PARAGRAPH, _TEXT, _CONTROL, _LIST, _EQUATION = 23, 25, 66, 67, 71, 72, 88
_MOST_RECORDS = 4_000_000
_DEEPEST = 100
_LONG = 0xFFF  # the size is in the next four bytes
# Signs below 32: those that take one unit, and those whose eight units refer to the next control of the paragraph.
_SINGLE = {0: "", 10: "\n", 13: "", 24: "-", 30: "\u00a0", 31: " "}
_OF_CONTROLS = frozenset((1, 2, 3, 11, 12, 14, 15, 16, 17, 18, 21, 22, 23))
_TAB, _UNITS = 9, 8
_CONTROL_SIGN = re.compile("[\x00-\x1f]")
_AFTER = frozenset((b"fn  ", b"en  ", b"tcmt", b"gso "))
_RUNNING = frozenset((b"head", b"foot"))
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".wmf", ".emf")
_STORED = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*")  # the beginnings of pictures
_COUNTED = frozenset((1, 2, 3, 4, 5))  # numbers of notes, pictures, tables and equations; 0 is the page
_KINDS = ("", "OUTLINE", "NUMBER", "BULLET")
_LEVELS = 7  # of a numbering
_MOST_COLUMNS = 16_384
_Block = str | list[list[str]]


class _Record(msgspec.Struct):
    """Hold a record, and those that belong to it."""

    tag: int
    data: bytes
    children: list[_Record] = []


def read_hwp(path: Path) -> list[Section]:
    """Read the paragraphs and tables of a HWP document in order; notes and text boxes follow their paragraph.

    Raises:
        IngestError: The document is encrypted, damaged, or unpacks to too much data.
        MissingExtraError: olefile is not installed.
    """
    with opened(path) as ole:
        flags = int.from_bytes(ole.read("FileHeader")[_FLAGS : _FLAGS + 4], "little")
        if flags & _PASSWORD or flags & _CERTIFIED:
            raise IngestError("encrypted: remove its password first")
        if flags & _DISTRIBUTED:
            raise IngestError("a document for distribution, which Hangul encrypts: save it as an ordinary .hwp or .pdf")
        streams = _Streams(ole, packed=bool(flags & _COMPRESSED), size=path.stat().st_size)
        info: list[_Record] = []
        with leaving_out("DocInfo"):
            info += _all(streams.records("DocInfo"))
        reader = _Reader(_heads(info), Numbers(_numberings(info)))
        number = 0
        while ole.has("BodyText", f"Section{number}"):
            with leaving_out(f"BodyText/Section{number}"):
                reader.read(streams.records("BodyText", f"Section{number}"))
            number += 1
        if not number:
            raise IngestError("damaged: it has no BodyText/Section0")
        return reader.sections() if reader.has_text else [*read_pictures(streams.pictures(), {}), *reader.sections()]


class _Streams:
    """Read streams of records within a limit on what they unpack to together."""

    def __init__(self, ole: Ole, *, packed: bool, size: int) -> None:
        self._ole = ole
        self._packed = packed
        self._left = min(MOST_UNPACKED, max(RATIO_COUNTS_FROM, HIGHEST_RATIO * size))

    def records(self, *name: str) -> list[_Record]:
        """Return the topmost records of a stream."""
        return _tree(self._unpacked(self._ole.read(*name), name, packed=self._packed))

    def pictures(self) -> list[Picture]:
        """Return the pictures of the document."""
        names = [name for name in self._ole.streams("BinData") if name.lower().endswith(_PICTURES)]
        return [partial(self._picture, "BinData", name) for name in names]

    def _picture(self, *name: str) -> bytes:
        data = self._ole.read(*name)
        return self._unpacked(data, name, packed=not data.startswith(_STORED))

    def _unpacked(self, data: bytes, name: tuple[str, ...], *, packed: bool) -> bytes:
        if packed:
            unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
            data = unpacking.decompress(data, self._left + 1)
            if len(data) <= self._left and not unpacking.eof:
                raise IngestError(f"damaged: its part {'/'.join(name)!r} is incomplete")
        self._left -= len(data)
        if self._left < 0:
            raise IngestError("refused: it would unpack to too much data: a bomb?")
        return data


def _tree(data: bytes) -> list[_Record]:
    top: list[_Record] = []
    path: list[_Record] = []
    at = number = 0
    while at + 4 <= len(data):
        header = int.from_bytes(data[at : at + 4], "little")
        tag, level, size = header & 0x3FF, header >> 10 & 0x3FF, header >> 20
        at += 4
        if size == _LONG:
            size = int.from_bytes(data[at : at + 4], "little")
            at += 4
        if at + size > len(data):
            raise IngestError("damaged: a record is longer than its part")
        number += 1
        if number > _MOST_RECORDS or level > _DEEPEST:
            raise IngestError("refused: its parts are too many, or nested too deep")
        record = _Record(tag, data[at : at + size])
        at += size
        del path[level:]
        (path[-1].children if path else top).append(record)
        path.append(record)
    return top


def _all(records: list[_Record]) -> Iterator[_Record]:
    for record in records:
        yield record
        yield from record.children


def _heads(info: list[_Record]) -> list[Head | None]:
    """Return what stands before the paragraphs of each shape."""
    heads: list[Head | None] = []
    for record in info:
        if record.tag == _PARAGRAPH_SHAPE:
            shape = int.from_bytes(record.data[:4], "little")
            kind = _KINDS[shape >> 23 & 3]
            numbering = int.from_bytes(record.data[30:32], "little")
            heads.append(Head(kind, shape >> 25 & 7, numbering) if kind else None)
    return heads


def _numberings(info: list[_Record]) -> dict[int, list[Level]]:
    """Return the levels of each numbering, by its number from 1."""
    numberings: dict[int, list[Level]] = {}
    for record in info:
        if record.tag == _NUMBERING:
            levels: list[tuple[int, str]] = []
            at = 0
            while len(levels) < _LEVELS and at + 14 <= len(record.data):
                about = int.from_bytes(record.data[at : at + 4], "little")
                size = 2 * int.from_bytes(record.data[at + 12 : at + 14], "little")
                text = record.data[at + 14 : at + 14 + size].decode("utf-16-le", "replace")
                levels.append((about >> 5 & 15, text))
                at += 14 + size
            # The number of the first level, then, in newer files, that of each.
            first = int.from_bytes(record.data[at : at + 2], "little")
            starts = [
                int.from_bytes(record.data[at + 2 + 4 * n : at + 6 + 4 * n], "little") for n in range(len(levels))
            ]
            starts[:1] = [starts[0] or first] if starts else []
            numberings[len(numberings) + 1] = [
                Level(kind, text, start or 1) for (kind, text), start in zip(levels, starts, strict=True)
            ]
    return numberings


class _Reader:
    def __init__(self, heads: list[Head | None], numbers: Numbers) -> None:
        self._heads = heads
        self._numbers = numbers
        self._builder = SectionBuilder()
        self._running: dict[str, None] = {}

    def read(self, records: list[_Record]) -> None:
        self._begin(records)
        for record in records:
            if record.tag == _PARAGRAPH:
                blocks: list[_Record] = []
                head, text = self._head(record), self._text(record, blocks)
                if head is not None and head.kind == "OUTLINE" and text.strip():
                    self._builder.heading(head.level + 1, text)
                else:
                    self._builder.block(text)
                self._add(blocks)

    def _begin(self, records: list[_Record]) -> None:
        """Begin a section, which chooses the numbering of headings."""
        controls = (child for record in records[:1] for child in record.children if child.tag == _CONTROL)
        section = next((control.data for control in controls if _name(control) == b"secd"), b"")
        self._numbers.outline = int.from_bytes(section[18:20], "little") if section else 1

    def _head(self, paragraph: _Record) -> Head | None:
        shape = int.from_bytes(paragraph.data[8:10], "little")
        return self._heads[shape] if shape < len(self._heads) else None

    @property
    def has_text(self) -> bool:
        """Whether it has any text so far, besides headers and footers."""
        return self._builder.has_text

    def sections(self) -> list[Section]:
        sections = self._builder.finish()
        if self._running:
            sections.append(Section("\n\n".join(self._running), {"heading": "Headers and footers"}))
        return sections

    def _add(self, blocks: list[_Record]) -> None:
        """Add controls that stand after the text that refers to them, and those in them."""
        waiting = blocks[::-1]
        while waiting:
            control = waiting.pop()
            inner: list[_Record] = []
            if _name(control) == b"tbl ":
                before, cells = _parts_of_table(control)
                self._builder.block("\n".join(self._text(found, inner) for found in before))
                self._builder.table(self._rows(cells))
            else:
                self._builder.block("\n".join(self._text(found, inner) for found in _paragraphs(control.children)))
            waiting += inner[::-1]

    def _rows(self, cells: list[tuple[bytes, list[_Record]]]) -> list[list[str]]:
        """Return the rows of a table; a cell over several rows stands in each, one over several columns once."""
        rows: dict[int, dict[int, str]] = {}
        for about, paragraphs in cells:
            column, row, _, height = (int.from_bytes(about[at : at + 2], "little") for at in (8, 10, 12, 14))
            text = self._cell(paragraphs)
            for down in range(min(max(height, 1), len(cells))):
                rows.setdefault(row + down, {})[column] = text
        return [[text for _, text in sorted(row.items())] for _, row in sorted(rows.items())]

    def _cell(self, paragraphs: list[_Record]) -> str:
        """Return the text of a cell in one line, with the tables in it."""
        texts: list[str] = []
        waiting = paragraphs[::-1]
        while waiting:
            blocks: list[_Record] = []
            texts.append(self._text(waiting.pop(), blocks))
            inner = [found for control in blocks for found in _paragraphs(control.children)]
            waiting += inner[::-1]
        return " ".join(" ".join(texts).split())

    def _text(self, paragraph: _Record, blocks: list[_Record]) -> str:
        """Return the text of a paragraph with its mark; its tables, boxes and notes are added to ``blocks``."""
        text = self._unmarked(paragraph, blocks)
        mark = self._numbers.next(self._head(paragraph)) if text.strip() else ""
        return f"{mark} {text}" if mark else text

    def _unmarked(self, paragraph: _Record, blocks: list[_Record]) -> str:
        controls = (child for child in paragraph.children if child.tag == _CONTROL)
        data = b"".join(child.data for child in paragraph.children if child.tag == _TEXT)
        units = _units(data)
        pieces: list[str] = []
        at = 0
        while found := _CONTROL_SIGN.search(units, at):
            pieces.append(units[at : found.start()])
            sign = ord(found.group())
            at = found.start() + (1 if sign in _SINGLE else _UNITS)
            pieces.append("\t" if sign == _TAB else _SINGLE.get(sign, ""))
            if sign in _OF_CONTROLS and (control := next(controls, None)) is not None:
                pieces.append(self._control(control, blocks))
        pieces.append(units[at:])
        # What the text does not refer to is still in the document.
        pieces += (self._control(control, blocks) for control in controls)
        return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _control(self, control: _Record, blocks: list[_Record]) -> str:
        """Return what a control shows within the text; one that stands after it is added to ``blocks``."""
        name, data = _name(control), control.data
        if name == b"tbl " or name in _AFTER:
            blocks.append(control)
        elif name in _RUNNING:
            inner: list[_Record] = []
            lines = [self._text(found, inner) for found in _paragraphs(control.children)]
            lines += [self._cell(_paragraphs(found.children)) for found in inner]
            if text := "\n".join(filter(str.strip, lines)):
                self._running[text] = None
        elif name == b"eqed":
            return " ".join(_string(child.data, 4) for child in control.children if child.tag == _EQUATION)
        elif name == b"tdut":  # text over text
            base = _string(data, 4)
            over = _string(data, 6 + 2 * int.from_bytes(data[4:6], "little"))
            return f"{base}({over})" if over else base
        elif name == b"tcps":  # signs on each other
            return _string(data, 4)
        elif name == b"atno" and int.from_bytes(data[4:8], "little") & 15 in _COUNTED:
            before, after = (data[at : at + 2].decode("utf-16-le", "replace").strip("\0") for at in (12, 14))
            return f"{before}{int.from_bytes(data[8:10], 'little')}{after}"
        return ""


def _units(data: bytes) -> str:
    """Return a character for each unit of UTF-16, so that the places in it are those of the units."""
    data = data[: len(data) // 2 * 2]
    text = data.decode("utf-16-le", "surrogatepass")
    return text if max(text, default="") <= "\uffff" else "".join(map(chr, unpack(f"<{len(data) // 2}H", data)))


def _name(control: _Record) -> bytes:
    return control.data[3::-1]


def _string(data: bytes, at: int) -> str:
    """Return a text whose length stands before it."""
    length = int.from_bytes(data[at : at + 2], "little")
    text = data[at + 2 : at + 2 + 2 * length].decode("utf-16-le", "replace")
    return " ".join(text.split())


def _parts_of_table(control: _Record) -> tuple[list[_Record], list[tuple[bytes, list[_Record]]]]:
    """Return the paragraphs of a table's caption, and of each cell with its properties."""
    caption: list[_Record] = []
    cells: list[tuple[bytes, list[_Record]]] = []
    target = caption
    inside = False
    for child in control.children:
        if child.tag == 77:
            inside = True
        elif child.tag == _LIST:
            target = caption
            if inside:
                target = []
                cells.append((child.data, target))
            target += _paragraphs(child.children)
        elif child.tag == _PARAGRAPH:
            target.append(child)
    return caption, cells


def _paragraphs(records: list[_Record]) -> list[_Record]:
    """Return the paragraphs among records, and in those that are no paragraphs, in order."""
    return list(_each_paragraph(records))


def _each_paragraph(records: list[_Record]) -> Iterator[_Record]:
    for record in records:
        if record.tag == _PARAGRAPH:
            yield record
        else:
            yield from _each_paragraph(record.children)
