"""Messages of Outlook: .msg files (MS-OXMSG), with their attachments."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.mail import DEEPEST, MOST_PARTS, facts_of, html_texts, is_whole, picture_sections
from memvid_core.ingest.readers.nested import read_nested
from memvid_core.ingest.readers.ole import Ole, opened
from memvid_core.ingest.readers.pictures import Picture
from memvid_core.ingest.readers.remarks import leaving_out, warn
from memvid_core.ingest.readers.rtf import rtf_sections

__all__ = ["read_msg"]

# Property ids of MS-OXPROPS.
_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER, _SENDER_ADDRESSES = (0x0042, 0x0C1A), (0x5D02, 0x5D01, 0x0065, 0x0C1F)
_SHOWN_TO, _SHOWN_CC = 0x0E04, 0x0E03
_SENT, _DELIVERED = 0x0039, 0x0E06
_NAME, _ADDRESSES, _KIND_OF_RECIPIENT = 0x3001, (0x39FE, 0x3003), 0x0C15
_FILE_NAMES, _DATA, _MEDIA_TYPE = (0x3707, 0x3704, 0x3001), 0x3701, 0x370E
_CODE_PAGES = (0x3FFD, 0x3FDE)
_TO, _CC = 1, 2
_TEXT, _BYTES_TEXT, _BINARY = 0x001F, 0x001E, 0x0102
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_ENTRY = 16  # bytes of a property
_UNREAD = ("image/", "audio/", "video/")
_PICTURE_SUFFIX = re.compile(r"\.(?:png|jpe?g|gif|bmp|tiff?|webp|emf|wmf)$", re.IGNORECASE)
_UNREAD_SUFFIX = re.compile(r"\.(?:png|jpe?g|gif|bmp|tiff?|webp|emf|wmf|mp3|wav|m4a|mp4|mov|avi)$", re.IGNORECASE)
# Code pages whose codec is not called cp and the number.
_CODECS = {
    20127: "ascii", 20866: "koi8-r", 21866: "koi8-u", 50220: "iso-2022-jp", 50221: "iso-2022-jp", 50222: "iso-2022-jp",
    50225: "iso-2022-kr", 51932: "euc-jp", 51949: "euc-kr", 54936: "gb18030", 65001: "utf-8",
} | {28590 + part: f"iso-8859-{part}" for part in (*range(1, 10), 13, 15)}  # fmt: skip
# The start of the dictionary: MS-OXRTFCP 2.1.2.1.
_COMMON_RTF = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
_WINDOW = 4096
_INVERTED = 0xFFFFFFFF


def read_msg(path: Path) -> list[Section]:
    """Read a message: its sender, receivers, date and subject, its text, and its attachments as their own sections.

    The text is chosen as in mail: the plain text, unless it is only a note that there is HTML; without both, the RTF.

    Raises:
        IngestError: The file is damaged.
    """
    with opened(path) as ole:
        return _sections(ole, (), {}, 0)


class _Object:
    """Read the properties of a message, a recipient or an attachment."""

    def __init__(self, ole: Ole, place: tuple[str, ...], header: int, codec: str | None = None) -> None:
        self._ole = ole
        self.place = place
        data = ole.read(*place, "__properties_version1.0")[header:]
        entries = (data[at : at + _ENTRY] for at in range(0, len(data) - _ENTRY + 1, _ENTRY))
        self._fixed = {int.from_bytes(entry[2:4], "little"): entry[8:] for entry in entries}
        pages = filter(None, map(self.number, _CODE_PAGES))
        self.codec = codec or next((_CODECS.get(page, f"cp{page}") for page in pages), None)

    def number(self, name: int) -> int:
        return int.from_bytes(self._fixed.get(name, b"")[:4], "little")

    def time(self, *names: int) -> datetime | None:
        for name in names:
            ticks = int.from_bytes(self._fixed.get(name, b"")[:8], "little")  # of 100 ns
            if 0 < ticks < 1 << 60:
                return (_EPOCH + timedelta(microseconds=ticks // 10)).replace(microsecond=0)
        return None

    def text(self, *names: int) -> str:
        """Return the first of the properties that has text."""
        for name in names:
            text = self._stream(name, _TEXT).decode("utf-16-le", "replace").rstrip("\0")
            if not text and (found := self._stream(name, _BYTES_TEXT).rstrip(b"\0")):
                text = decode(found, self.codec)
            if text.strip():
                return text.replace("\r\n", "\n").replace("\r", "\n")
        return ""

    def line(self, *names: int) -> str:
        return " ".join(self.text(*names).split())

    def data(self, name: int) -> bytes:
        return self._stream(name, _BINARY)

    def _stream(self, name: int, kind: int) -> bytes:
        return self._ole.read(*self.place, f"__substg1.0_{name:04X}{kind:04X}")


def _sections(ole: Ole, place: tuple[str, ...], metadata: dict[str, Any], depth: int) -> list[Section]:
    message = _Object(ole, place, 24 if place else 32)
    about = _about(ole, message)
    lines = [f"{name}: {value}" for name, value in about.items() if value]
    linked: list[Picture] = []
    bodies = _bodies(message, linked)
    text = "\n\n".join(["\n".join(lines), *(body.strip() for body in bodies)])
    metadata = {**metadata, **facts_of(about)}
    sections = [Section(text, metadata)]
    pictures: list[tuple[str, Picture]] = []
    attachments = ole.storages(place, "__attach_version1.0_#")
    if len(attachments) > MOST_PARTS:
        warn(f"a message has more than {MOST_PARTS:,} attachments; the others were left out")
    for found in attachments[:MOST_PARTS]:
        with leaving_out(f"the attachment {found[-1]}"):
            sections += _attachment(ole, _Object(ole, found, 8, message.codec), depth, pictures)
    sections[1:1] = picture_sections(metadata, bodies, pictures, linked)
    return sections


def _about(ole: Ole, message: _Object) -> dict[str, str]:
    receivers: dict[int, list[str]] = {}
    for place in ole.storages(message.place, "__recip_version1.0_#")[:MOST_PARTS]:
        found = _Object(ole, place, 8, message.codec)
        who = _who(found.line(_NAME), [found.line(name) for name in _ADDRESSES])
        if who:
            receivers.setdefault(found.number(_KIND_OF_RECIPIENT), []).append(who)
    sent = message.time(_SENT, _DELIVERED)
    return {
        "From": _who(message.line(*_SENDER), [message.line(name) for name in _SENDER_ADDRESSES]),
        "To": ", ".join(receivers.get(_TO, ())) or message.line(_SHOWN_TO),
        "Cc": ", ".join(receivers.get(_CC, ())) or message.line(_SHOWN_CC),
        "Date": format_datetime(sent) if sent else "",
        "Subject": message.line(_SUBJECT),
    }


def _who(name: str, addresses: list[str]) -> str:
    # Addresses within an Exchange server are paths, such as /O=EXAMPLE/CN=ADA.
    address = next((found for found in addresses if "@" in found), "")
    if not address or address == name:
        return name or address
    return f"{name} <{address}>" if name else address


def _bodies(message: _Object, pictures: list[Picture]) -> list[str]:
    """Return the text of a message; a form of it that is damaged is left out for another.

    The pictures of HTML without text are added to a list.
    """
    plain, page, html = "", b"", b""
    with leaving_out("the plain text"):
        plain = message.text(_BODY)
    with leaving_out("the HTML"):
        page = message.data(_HTML)
        html = page or message.text(_HTML).encode()
        if html.strip() and not (plain.strip() and is_whole(plain.encode(), html)):
            return html_texts(html, message.codec if page else "utf-8", pictures)
    if plain.strip():
        return [plain]
    texts: list[str] = []
    with leaving_out("the RTF"):
        if packed := message.data(_RTF):
            texts += [section.text for section in rtf_sections(_unpacked(packed))]
    return texts


def _attachment(ole: Ole, found: _Object, depth: int, pictures: list[tuple[str, Picture]]) -> Iterator[Section]:
    """Yield the sections of an attachment; a picture is added to a list, with the warning that it is left out."""
    inner = (*found.place, f"__substg1.0_{_DATA:04X}000D")
    name = found.line(*_FILE_NAMES)
    if ole.has(*inner, "__properties_version1.0"):
        if depth < DEEPEST:
            yield from _sections(ole, inner, {"attachment": name or "message"}, depth + 1)
        else:
            warn(f"{name or 'a message'} was left out: nested more than {DEEPEST} deep")
        return
    content, kind = found.data(_DATA), found.line(_MEDIA_TYPE)
    if kind.startswith(_UNREAD) or _UNREAD_SUFFIX.search(name):
        why = f"the attachment {name} was left out: {kind or 'no text'}"
        if kind.startswith("image/") or _PICTURE_SUFFIX.search(name):
            pictures.append((why, partial(bytes, content)))
        else:
            warn(why)
    elif content:
        yield from read_nested(name or "attachment", content, "attachment")
    elif name:
        warn(f"the attachment {name} was left out: it is not in the message")


def _unpacked(data: bytes) -> bytes:
    """Return compressed RTF as it was: MS-OXRTFCP 2.1.3.1.

    Raises:
        IngestError: The data are damaged.
    """
    if len(data) < 16 or data[8:12] not in (b"LZFu", b"MELA"):
        raise IngestError("damaged: its RTF is not compressed as Outlook does it")
    size = int.from_bytes(data[4:8], "little")
    if data[8:12] == b"MELA":
        return data[16 : 16 + size]
    data = data[: int.from_bytes(data[:4], "little") + 4]
    # The checksum is CRC-32 without its inversions.
    if zlib.crc32(data[16:], _INVERTED) ^ _INVERTED != int.from_bytes(data[12:16], "little"):
        raise IngestError("damaged: the checksum of its RTF is wrong")
    made = bytearray(_COMMON_RTF)
    start, at = len(made), 16
    while at < len(data) and len(made) - start < size:
        flags = data[at]
        at += 1
        for bit in range(8):
            if not flags >> bit & 1:
                made += data[at : at + 1]
                at += 1
                continue
            token = int.from_bytes(data[at : at + 2], "big")
            at += 2
            place, length = token >> 4, (token & 15) + 2
            # The dictionary is a ring; its end is where the next byte goes.
            back = (len(made) - place) % _WINDOW
            if back == 0 or at > len(data):
                return bytes(made[start : start + size])
            if back > len(made):
                raise IngestError("damaged: its RTF refers to text that is not there")
            for _ in range(length):
                made.append(made[-back])
    return bytes(made[start : start + size])
