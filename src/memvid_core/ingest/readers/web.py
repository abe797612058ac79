"""HTML and EPUB."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.html_walk import HtmlWalk
from memvid_core.ingest.readers.zipped import read_entry

__all__ = ["html_sections", "read_epub", "read_html"]

_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_MOST_REPEATED = 1000
_OPF = "{http://www.idpf.org/2007/opf}"
_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_ENCRYPTED = "{http://www.w3.org/2001/04/xmlenc#}CipherReference"


def read_html(path: Path) -> list[Section]:
    """Read HTML as one section per heading, without scripts, styles and navigation; with its ``title``, if any."""
    return html_sections(path.read_bytes(), {})


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
            sections += html_sections(read_entry(archive, name), metadata)
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


def html_sections(data: bytes, metadata: dict[str, Any]) -> list[Section]:
    """Return the sections of an HTML page, each with the given metadata."""
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
    return HtmlWalk(metadata).sections(root)


def _html_text(data: bytes) -> str:
    declared = _DECLARED.search(data[:2048])
    return decode(data, declared.group(1).decode("ascii") if declared else None)
