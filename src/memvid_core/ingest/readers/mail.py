"""Mail: .eml and .mbox, with their attachments."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from email.message import Message
from email.policy import EmailPolicy
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.nested import read_nested
from memvid_core.ingest.readers.pictures import Picture, of_data_url, read_pictures
from memvid_core.ingest.readers.remarks import leaving_out, warn

__all__ = [
    "DEEPEST",
    "MOST_PARTS",
    "facts_of",
    "html_texts",
    "is_whole",
    "mail_sections",
    "picture_sections",
    "read_eml",
    "read_mbox",
]

_FROM = re.compile(rb"^From [^\n]{0,300}\n", re.MULTILINE)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_NO_TEXT = re.compile(rb"<(?:style|script)\b", re.IGNORECASE)
_TAG = re.compile(rb"<[^<>]*>")
_WHOLE = 0.3  # of the letters of the best alternative
_LONGEST_HEADER = 10_000  # characters
MOST_PARTS = 1000
"""Parts of a message that are read."""
DEEPEST = 10
"""Messages within each other."""
_COMMENT = re.compile(r"\([^()]*\)")
_PADDING = re.compile(rb"[ \t]+(?=\r?\n|\Z)")
_FOOTER = re.compile(rb"\n--[ \r]*\n[\s\S]*")  # of a list, behind base64
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+=*")
_SIGNATURE = "-- "
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_HEADER = re.compile(rb"^[!-9;-~]{1,80}:", re.MULTILINE)


class _Policy(EmailPolicy):
    """Parse the beginning of a header: the parser of the standard library is recursive, and takes quadratic time."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return super().header_fetch_parse(name, value[:_LONGEST_HEADER])


_POLICY = _Policy()


def read_eml(path: Path) -> list[Section]:
    """Read a message: its sender, receivers, date and subject, its text, and its attachments as their own sections.

    Raises:
        IngestError: The file has no headers of a message.
    """
    return mail_sections(path.read_bytes(), {})


def read_mbox(path: Path) -> list[Section]:
    """Read the messages of a mailbox, with ``message`` from 1."""
    data = path.read_bytes()
    if not data.startswith(b"From "):
        raise IngestError("not a mailbox: it does not start with a line 'From '")
    starts = [
        found
        for found in _FROM.finditer(data)
        if found.start() == 0 or data[max(0, found.start() - 3) : found.start()].endswith((b"\n\n", b"\n\r\n"))
    ]
    sections: list[Section] = []
    for number, found in enumerate(starts, 1):
        end = starts[number].start() if number < len(starts) else len(data)
        message = _QUOTED_FROM.sub(rb"\1", data[found.end() : end])
        with leaving_out(f"message {number}"):
            sections += mail_sections(message, {"message": number})
    return sections


def mail_sections(data: bytes, metadata: dict[str, Any]) -> list[Section]:
    """Return the sections of a message, each with the given metadata."""
    if not _HEADER.search(data[:10_000]):
        raise IngestError("not a mail message: it has no headers")
    message = message_from_bytes(data, policy=_POLICY)
    return _sections(message, metadata, 0)


def _sections(message: Message, metadata: dict[str, Any], depth: int) -> list[Section]:
    about = {name: _header(message, name) for name in _SHOWN}
    metadata = {**metadata, **facts_of(about)}
    lines = [f"{name}: {value}" for name, value in about.items() if value]
    bodies: list[str] = []
    sections: list[Section] = []
    pictures: list[tuple[str, Picture]] = []
    linked: list[Picture] = []
    for number, part in enumerate(_leaves(message, 0)):
        if number >= MOST_PARTS:
            warn(f"a message has more than {MOST_PARTS:,} parts; the others were left out")
            break
        if part.get_content_type() == "message/rfc822":
            for inner in _parts(part)[:1] if depth < DEEPEST else ():
                sections += _sections(inner, {"attachment": "message"}, depth + 1)
            continue
        name = part.get_filename()
        content = _content(part)
        if part.get_content_disposition() == "attachment" or (name and part.get_content_maintype() != "text"):
            if part.get_content_maintype() == "image":
                pictures.append((_left_out(part), partial(_content, part)))
            elif part.get_content_maintype() in ("audio", "video"):
                warn(_left_out(part))
            elif content:
                sections += read_nested(name or _default_name(part), content, "attachment")
        elif part.get_content_maintype() == "text":
            with leaving_out(f"a part of the message ({part.get_content_type()})"):
                charset = part.get_content_charset()
                html = part.get_content_type() == "text/html"
                bodies += html_texts(content, charset, linked) if html else [_plain(part, decode(content, charset))]
        elif part.get_content_maintype() == "image":
            pictures.append((_left_out(part), partial(_content, part)))
    sections[:0] = picture_sections(metadata, bodies, pictures, linked)
    text = "\n\n".join(["\n".join(lines), *(body.strip() for body in bodies)])
    return [Section(text, metadata), *sections]


def _header(message: Message, name: str) -> str:
    try:
        value = message.get(name)
    except (ValueError, IndexError, AttributeError, TypeError):  # defects that the parser of headers does not expect
        value = None
    text = " ".join(str(value or "").split())
    if "\ufffd" in text:
        text = " ".join(_undeclared(message, name).split()) or text
    return text.encode("utf-8", "replace").decode("utf-8")


def _undeclared(message: Message, name: str) -> str:
    """Return a header of undeclared charset, decoded as the texts of the message are; empty if it is ASCII."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    data = raw.encode("utf-8", "surrogateescape")
    if data.isascii():
        return ""
    return decode(data, next(filter(None, (part.get_content_charset() for part in message.walk())), None))


def facts_of(about: dict[str, str]) -> dict[str, Any]:
    """Return the metadata of a message by its headers ``From``, ``To``, ``Date`` and ``Subject``."""
    facts: dict[str, Any] = {"from": about["From"], "to": about["To"], "heading": about["Subject"]}
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        facts["date"] = parsedate_to_datetime(about["Date"]).isoformat()
    return {name: value for name, value in facts.items() if value}


def _leaves(message: Message, depth: int) -> Iterator[Message]:
    """Yield the parts of a message to read: of alternatives the plain text, unless it is only a note, or the last."""
    if message.get_content_type() == "message/rfc822" and depth:
        yield message
        return
    parts = _parts(message)
    if not parts:
        yield message
        return
    if depth > DEEPEST * 5:
        raise IngestError("its parts are nested too deep")
    if message.get_content_type() == "multipart/alternative":
        plain = [part for part in parts if part.get_content_type() == "text/plain" and _content(part).strip()]
        parts = plain[:1] if plain and _is_whole(plain[0], parts[-1]) else parts[-1:]
    for part in parts:
        yield from _leaves(part, depth + 1)


def _parts(message: Message) -> list[Message]:
    parts = message.get_payload()
    return [part for part in parts if isinstance(part, Message)] if isinstance(parts, list) else []


def _is_whole(plain: Message, best: Message) -> bool:
    """Return whether a plain text has what the best alternative has; many are a note that there is HTML.

    RFC 2046, 5.1.4: the last alternative is the best, which mail programs show.
    """
    return best.get_content_type() != "text/html" or is_whole(_content(plain), _content(best))


def is_whole(plain: bytes, html: bytes) -> bool:
    """Return whether a plain text has the words of the HTML in the same message."""
    first, *others = _NO_TEXT.split(html)
    shown = _TAG.sub(b" ", b" ".join([first, *(other.partition(b"</")[2] for other in others)]))
    return len(b"".join(plain.split())) >= _WHOLE * len(b"".join(shown.split()))


def _content(part: Message) -> bytes:
    """Return the content of a part as RFC 2045 decodes it.

    The standard library keeps white space at the ends of lines, which encoders write as ``=20``, cuts base64 at its
    first padding, although several encoded texts may follow each other, and does not know an encoding with a comment.
    """
    payload = part.get_payload()
    encoding = _COMMENT.sub("", str(part.get("Content-Transfer-Encoding", ""))).strip(' \t;"').lower()
    if isinstance(payload, str) and encoding in ("quoted-printable", "base64"):
        data = payload.encode("utf-8", "surrogateescape")
        if encoding == "quoted-printable":
            return binascii.a2b_qp(_PADDING.sub(b"", data))
        return b"".join(map(_from_base64, _BASE64.findall(_NOT_BASE64.sub(b"", _FOOTER.sub(b"", data)))))
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _from_base64(data: bytes) -> bytes:
    data = data.rstrip(b"=")
    return binascii.a2b_base64(data[: len(data) - (len(data) % 4 == 1)] + b"==")


def _plain(part: Message, text: str) -> str:
    """Return a plain text with the lines joined that flow into one another: RFC 3676."""
    if str(part.get_param("format", "")).strip().lower() != "flowed":
        return text
    cut = 1 if str(part.get_param("delsp", "")).strip().lower() == "yes" else 0
    lines: list[str] = []
    before = -1  # the depth of a line that flows into the next
    for line in text.splitlines():
        rest = line.lstrip(">")
        depth = len(line) - len(rest)
        rest = rest.removeprefix(" ")  # which was added before spaces, ">" and "From "
        flows = rest.endswith(" ") and rest != _SIGNATURE
        shown = rest[: len(rest) - cut] if flows else rest
        if before == depth and rest != _SIGNATURE:
            lines[-1] += shown
        else:
            lines.append(f"{'>' * depth} {shown}" if depth and shown.strip() else ">" * depth + shown)
        before = depth if flows else -1
    return "\n".join(line.rstrip() for line in lines)


def html_texts(content: bytes, charset: str | None, pictures: list[Picture]) -> list[str]:
    """Return the text of a page of HTML, a piece for each heading; without any, its pictures are added to a list."""
    from memvid_core.ingest.readers.web import html_sections

    text = decode(content, charset)

    def shown(addresses: list[str]) -> list[Section]:
        pictures.extend(partial(of_data_url, address) for address in addresses)
        return []

    return [section.text for section in html_sections(text.encode("utf-8-sig"), {}, shown)]


def picture_sections(
    metadata: dict[str, Any], bodies: list[str], attached: list[tuple[str, Picture]], linked: list[Picture]
) -> list[Section]:
    """Return what the pictures of a message show that has nothing else; those beside a text are named in a warning.

    Args:
        metadata: The metadata of the message.
        bodies: Its texts.
        attached: The pictures in it, each with the warning that it is left out.
        linked: The pictures of its HTML, if that has no text.
    """
    if any(map(str.strip, bodies)):
        for why, _ in attached:
            warn(why)
        return []
    parts, part = ("messages", metadata["message"]) if "message" in metadata else ("", "")
    return read_pictures([picture for _, picture in attached] or linked, metadata, parts, part)


def _left_out(part: Message) -> str:
    return f"the attachment {part.get_filename() or 'without a name'} was left out: {part.get_content_type()}"


def _default_name(part: Message) -> str:
    kinds = {"text/plain": ".txt", "text/html": ".html", "application/pdf": ".pdf", "application/zip": ".zip"}
    return "attachment" + kinds.get(part.get_content_type(), "")
