"""Files of Outlook and Hangul, written by other packages, or record by record."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path

from aspose.email_foss import cfb, msg

COMPRESSED = 1


def write_ole(path: Path, streams: dict[str, bytes]) -> Path:
    """Write an OLE file; names of streams may have a storage before a slash."""
    root = cfb.CFBStorage("Root Entry")
    storages = {"": root}
    for name, data in streams.items():
        storage, _, own = name.rpartition("/")
        if storage not in storages:
            storages[storage] = root.add_storage(cfb.CFBStorage(storage))
        storages[storage].add_stream(cfb.CFBStream(own, data))
    cfb.CFBWriter.write_file(cfb.CFBDocument(root), path)
    return path


def record(tag: int, level: int, data: bytes) -> bytes:
    """Return a record of HWP."""
    size = min(len(data), 0xFFF)
    long = struct.pack("<I", len(data)) if size == 0xFFF else b""
    return struct.pack("<I", tag | level << 10 | size << 20) + long + data


def paragraph(text: str, *controls: bytes, level: int = 0, shape: int = 0) -> bytes:
    """Return a paragraph of HWP; a number sign in the text stands for its next control."""
    units = text.replace("#", "\x0b" + "0" * 6 + "\x0b").replace("\t", "\t" + "0" * 6 + "\t") + "\r"
    head = record(66, level, struct.pack("<IIHH", len(units), 0, shape, 0))
    return head + record(67, level + 1, units.encode("utf-16-le", "surrogatepass")) + b"".join(controls)


def control(name: str, *records: bytes, level: int = 1, data: bytes = b"") -> bytes:
    """Return a control of HWP, with the records in it."""
    return record(71, level, name.encode()[::-1] + data) + b"".join(records)


def cells(*texts: tuple[int, int, int, str], level: int = 2) -> bytes:
    """Return the cells of a table: row, column, how many rows it is over, and text."""
    made = record(77, level, b"\0" * 8)
    for row, column, height, text in texts:
        made += record(72, level, struct.pack("<HHIHHHH", 1, 0, 0, column, row, 1, height))
        made += paragraph(text, level=level)
    return made


Numbering = tuple[tuple[int, str, int], ...]
"""Of each level: the number of its format, its text and its start."""


def numbering(levels: Numbering) -> bytes:
    """Return a numbering of HWP, laid out as Hangul does: seven levels, the start of the first, and all starts."""
    levels = levels + ((0, "", 1),) * (7 - len(levels))
    heads = b"".join(
        struct.pack("<IHHiH", 0xC | kind << 5, 0, 50, -1, len(text)) + text.encode("utf-16-le")
        for kind, text, _ in levels
    )
    return record(23, 0, heads + struct.pack("<H7I", levels[0][2], *(start for *_, start in levels)))


def section_start(outline: int) -> bytes:
    """Return the control at the beginning of a section, which chooses the numbering of its headings."""
    return control("secd", data=struct.pack("<IHHHIH", 0, 1134, 0, 0, 8000, outline) + b"\0" * 16)


def write_hwp(
    path: Path,
    *sections: bytes,
    flags: int = COMPRESSED,
    shapes: tuple[int | tuple[int, int], ...] = (0,),
    numberings: tuple[Numbering, ...] = (),
    more: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a document of Hangul; ``shapes`` are the properties of its paragraphs, with a numbering or without.

    ``more`` are other streams, such as pictures.
    """
    pairs = (shape if isinstance(shape, tuple) else (shape, 0) for shape in shapes)
    info = b"".join(map(numbering, numberings))
    info += b"".join(record(25, 0, struct.pack("<I26xH14x", shape, number)) for shape, number in pairs)
    header = b"HWP Document File".ljust(32, b"\0") + struct.pack("<II", 0x05000300, flags)
    streams = {"FileHeader": header.ljust(256, b"\0"), "DocInfo": packed(info)}
    streams |= {f"BodyText/Section{number}": packed(section) for number, section in enumerate(sections)}
    return write_ole(path, streams | dict(more or {}))


def packed(data: bytes) -> bytes:
    """Return data as Hangul compresses them."""
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(data) + packing.flush()


def outlook(message: EmailMessage, path: Path) -> Path:
    """Write a mail message as Outlook does."""
    msg.MapiMessage.from_email_message(message).save(path)
    return path
