"""HTML and EPUB."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.zipped import read_entry

__all__ = ["read_epub", "read_html"]

_BLOCK_TAGS = """
address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure footer
form header hr legend li main menu ol option p pre search section summary table tbody tfoot thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LEFT_OUT = frozenset(
    ("script", "style", "noscript", "template", "svg", "math", "head", "nav", "iframe", "object", "select", "canvas")
)
_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})"""
    rb"""|<\?xml[^>]{0,100}?encoding=["']([A-Za-z0-9_.:-]{1,40})""",
    re.IGNORECASE,
)
# WHATWG Encoding 4.2: Latin-1 means cp1252, EUC-KR means cp949, GB2312 means GB18030.
_MEANT = {
    "ascii": "cp1252", "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932",
}  # fmt: skip
_MOST_REPEATED = 1000
_OPF = "{http://www.idpf.org/2007/opf}"
_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_ENCRYPTED = "{http://www.w3.org/2001/04/xmlenc#}CipherReference"


def read_html(path: Path) -> list[Section]:
    """Read HTML as one section per heading, without scripts, styles and navigation; with its ``title``, if any."""
    return _html_sections(path.read_bytes(), {})


def read_epub(path: Path) -> list[Section]:
    """Read the chapters of an EPUB in reading order, with ``part`` from 1 and the book's ``title``.

    The archive must have been checked.

    Raises:
        IngestError: The chapters are encrypted (DRM), or the book lists missing parts.
    """
    with ZipFile(path) as archive:
        container = _xml(read_entry(archive, "META-INF/container.xml"))
        root = next((found.get("full-path") for found in container.iter(f"{_CONTAINER}rootfile")), None)
        if not root:
            raise IngestError("damaged: META-INF/container.xml does not name a package document")
        package = _xml(read_entry(archive, root))
        items = {item.get("id"): item for item in package.iter(f"{_OPF}item")}
        spine = [items[ref.get("idref")] for ref in package.iter(f"{_OPF}itemref") if ref.get("idref") in items]
        chapters = [
            posixpath.normpath(posixpath.join(posixpath.dirname(root), unquote(urlsplit(item.get("href", "")).path)))
            for item in spine
            if item.get("media-type") in ("application/xhtml+xml", "text/html")
        ]
        names = list(dict.fromkeys(chapters))
        # EPUB 3.3, 5.6.2: a chapter is in the spine only once.
        if len(chapters) - len(names) > _MOST_REPEATED:
            raise IngestError(f"its spine lists {len(chapters):,} chapters, of which {len(names):,} are different")
        _refuse_encrypted(archive, names)
        title = next(
            (found.text for found in package.iter("{http://purl.org/dc/elements/1.1/}title") if found.text), ""
        )
        sections: list[Section] = []
        for part, name in enumerate(names, 1):
            metadata: dict[str, Any] = {"part": part}
            if title:
                metadata["title"] = " ".join(title.split())
            sections += _html_sections(read_entry(archive, name), metadata)
        return sections


def _refuse_encrypted(archive: ZipFile, chapters: list[str]) -> None:
    if "META-INF/encryption.xml" not in archive.namelist():
        return
    # Fonts may be obfuscated in any book; chapters are encrypted only by DRM.
    listed = _xml(read_entry(archive, "META-INF/encryption.xml")).iter(_ENCRYPTED)
    locked = {unquote(reference.get("URI", "")) for reference in listed}
    if locked & set(chapters):
        raise IngestError("encrypted (DRM): its chapters cannot be read")


def _xml(data: bytes) -> Any:
    etree = require("lxml.etree", "to read EPUB")
    try:
        # No entities, no network, libxml2's limits on depth and size.
        return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except etree.XMLSyntaxError as exc:
        raise IngestError(f"damaged XML: {exc}") from exc


def _html_sections(data: bytes, metadata: dict[str, Any]) -> list[Section]:
    html: Any = require("lxml.html", "to read HTML")
    text = _html_text(data)
    # lxml rejects an encoding declaration in a str; the text is already decoded.
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
    if not text.strip():
        return []
    # huge_tree allows elements to nest 2,048 deep, browsers stop at 512; HTML has no custom entities to expand.
    parser = html.HTMLParser(no_network=True, huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = html.document_fromstring(text, parser=parser)
    except (html.etree.ParserError, html.etree.XMLSyntaxError, ValueError) as exc:
        raise IngestError(f"not HTML: {exc}") from exc
    if any("Excessive depth" in entry.message for entry in parser.error_log):
        raise IngestError("elements are nested more than 2,048 deep")
    title = root.findtext(".//title")
    if title and title.strip() and "title" not in metadata:
        metadata = {**metadata, "title": " ".join(title.split())}
    return _Walk(metadata).sections(root)


def _html_text(data: bytes) -> str:
    declared = _DECLARED.search(data[:2048])
    if declared and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        name = (declared.group(1) or declared.group(2)).decode("ascii")
        try:
            return data.decode(_MEANT.get(name.lower(), name))
        except (LookupError, UnicodeDecodeError):
            pass  # the declaration is wrong: ignore it
    return decode(data)


class _Walk:
    """Collect inline text into blocks in one pass over the tree, without recursion."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        self._builder = SectionBuilder(metadata)
        self._pieces: list[str] = []
        self._heading = 0
        self._cells = 0
        self._pre = 0
        self._prefix = ""

    def sections(self, root: Any) -> list[Section]:
        waiting = [(root, False)]
        while waiting:
            element, leaving = waiting.pop()
            tag = element.tag if isinstance(element.tag, str) else ""
            tag = tag.rpartition("}")[2].lower()
            if leaving:
                self._leave(tag)
                self._add(element.tail)
                continue
            if not tag or tag in _LEFT_OUT or element.get("hidden") is not None:
                self._add(element.tail)
                continue
            self._enter(tag)
            self._add(element.text)
            waiting.append((element, True))
            waiting.extend((child, False) for child in reversed(element))
        self._flush()
        return self._builder.finish()

    def _enter(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._flush()
            self._heading = _HEADINGS[tag]
        elif tag == "br":
            self._pieces.append("\n" if not self._cells else " ")
        elif tag in ("td", "th"):
            if self._cells:
                self._pieces.append(" | ")
            self._cells += 1
        elif tag in _BLOCKS and not self._cells:
            self._flush()
            self._pre += tag == "pre"
            self._prefix = "- " if tag == "li" else ""

    def _leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._flush()
        elif tag == "tr":
            self._cells = 0
            self._flush()
        elif tag in _BLOCKS and not self._cells:
            self._flush()
            self._pre -= tag == "pre"
        elif tag in _BLOCKS:
            self._pieces.append(" ")

    def _add(self, text: str | None) -> None:
        if text:
            self._pieces.append(text if self._pre else re.sub(r"\s+", " ", text))

    def _flush(self) -> None:
        text = "".join(self._pieces)
        self._pieces = []
        heading, self._heading = self._heading, 0
        if not text.strip():
            return
        if not self._pre:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
        if heading:
            self._builder.heading(heading, text)
        else:
            self._builder.block(self._prefix + text)
        self._prefix = ""
