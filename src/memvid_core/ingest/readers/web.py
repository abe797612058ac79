"""HTML and EPUB."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.html_walk import HtmlWalk
from memvid_core.ingest.readers.pictures import Picture, of_data_url, read_pictures
from memvid_core.ingest.readers.remarks import warn
from memvid_core.ingest.readers.zipped import Parts

__all__ = ["html_sections", "read_epub", "read_html"]

_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_MOST_REPEATED = 1000
_MOST_NAMED = 5
_DEEPEST_FRAME = 3
_MOST_FALLBACKS = 10
_TEXT_TYPES = frozenset(("application/xhtml+xml", "text/html", "image/svg+xml"))
_OPF = "{http://www.idpf.org/2007/opf}"
_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_ENCRYPTED = "{http://www.w3.org/2001/04/xmlenc#}CipherReference"


def read_html(path: Path) -> list[Section]:
    """Read HTML as one section per heading, without scripts, styles and navigation; with its ``title``, if any."""
    return html_sections(path.read_bytes(), {})


def read_epub(path: Path) -> list[Section]:
    """Read the chapters of an EPUB in reading order, with ``part`` from 1 and the book's ``title``.

    Chapters that are missing, damaged or of another format, and other damaged parts, are left out with a warning.

    Raises:
        IngestError: The chapters are encrypted (DRM), or none of them can be read.
    """
    with Parts(path) as parts:
        container = _xml(parts.read("META-INF/container.xml"))
        root = next((found.get("full-path") for found in container.iter(f"{_CONTAINER}rootfile")), None)
        if not root:
            raise IngestError("damaged: META-INF/container.xml does not name a package document")
        package = _xml(parts.read(posixpath.normpath(root)))
        items = {item.get("id"): item for item in package.iter(f"{_OPF}item")}
        listed = [reference.get("idref") for reference in package.iter(f"{_OPF}itemref")]
        lost = {f"the chapter {name!r}": "damaged: the book has no such part" for name in listed if name not in items}
        chapters: list[str] = []
        drawn: set[str] = set()
        for item in (items[name] for name in listed if name in items):
            shown = _with_text(item, items)
            name = _place(root, item if shown is None else shown)
            if shown is None and not (item.get("media-type") or "").startswith("image/"):
                lost[f"the chapter {name!r}"] = f"{item.get('media-type')} has no text"
                continue
            chapters.append(name)
            if shown is None:
                drawn.add(name)
        names = list(dict.fromkeys(chapters))
        # EPUB 3.3, 5.6.2: a chapter is in the spine only once.
        if len(chapters) - len(names) > _MOST_REPEATED:
            raise IngestError(f"its spine lists {len(chapters):,} chapters, of which {len(names):,} are different")
        _refuse_encrypted(parts, names)
        title = next(
            (found.text for found in package.iter("{http://purl.org/dc/elements/1.1/}title") if found.text), ""
        )
        sections: list[Section] = []
        for part, name in enumerate(names, 1):
            metadata: dict[str, Any] = {"part": part}
            if title:
                metadata["title"] = " ".join(title.split())
            pictures = partial(_pictures, parts, name, metadata)
            try:
                sections += pictures([name]) if name in drawn else html_sections(parts.read(name), metadata, pictures)
            except IngestError as exc:
                lost[f"the chapter {name!r}"] = str(exc)
        if lost and not sections:
            raise IngestError("; ".join(f"{name}: {why}" for name, why in list(lost.items())[:_MOST_NAMED]))
        for name, why in lost.items():
            warn(f"{name} was left out: {why}")
        return sections


def _pictures(parts: Parts, chapter: str, metadata: dict[str, Any], addresses: list[str]) -> list[Section]:
    """Return what the pictures of a chapter show that has nothing else."""
    found: list[Picture] = []
    for address in dict.fromkeys(addresses):
        path = posixpath.join(posixpath.dirname(chapter), unquote(urlsplit(address).path))
        name = chapter if address == chapter else posixpath.normpath(path)
        found.append(partial(parts.read, name) if name in parts.names else partial(of_data_url, address))
    return read_pictures(found, metadata, "chapters", chapter)


def _with_text(item: Any, items: dict[str | None, Any]) -> Any:
    """Return a part of a book that has text: the given one, or what it names in its place; None if there is none."""
    for _ in range(_MOST_FALLBACKS):
        if item is None or item.get("media-type") in _TEXT_TYPES:
            return item
        item = items.get(item.get("fallback"))
    return None


def _place(root: str, item: Any) -> str:
    """Return the name in the archive of a part of a book."""
    path = unquote(urlsplit(item.get("href", "")).path)
    return posixpath.normpath(posixpath.join(posixpath.dirname(root), path))


def _refuse_encrypted(parts: Parts, chapters: list[str]) -> None:
    if "META-INF/encryption.xml" not in parts.names:
        return
    # Fonts may be obfuscated in any book; chapters are encrypted only by DRM.
    listed = _xml(parts.read("META-INF/encryption.xml")).iter(_ENCRYPTED)
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


def html_sections(
    data: bytes, metadata: dict[str, Any], shown: Callable[[list[str]], list[Section]] | None = None
) -> list[Section]:
    """Return the sections of an HTML page, each with the given metadata.

    Args:
        data: The page.
        metadata: The metadata.
        shown: Returns what pictures show, by their addresses, if the page has nothing else. By default, those in the
            page itself are read by OCR if it is installed, and the others are named.
    """
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
    _open_frames(root, lambda source: html.document_fromstring(source, parser=parser))
    title = next((found.text for found in root.iter("title") if not _in_drawing(found)), None)
    if title and title.strip() and "title" not in metadata:
        metadata = {**metadata, "title": " ".join(title.split())}
    sections = HtmlWalk(metadata).sections(root)
    if not any(section.text.strip() for section in sections):
        addresses = [_address(found) for found in root.iter("img", "image", "canvas")]
        sections = (
            shown(addresses) if shown else read_pictures([partial(of_data_url, at) for at in addresses], metadata)
        )
        if not sections and next(root.iter("script"), None) is not None:
            warn("the page has no text without its scripts, which are not run")
    return sections


def _address(picture: Any) -> str:
    return next(
        (value for key, value in picture.items() if key.rpartition("}")[2] in ("src", "href", "xlink:href")), ""
    )


def _open_frames(root: Any, parsed: Callable[[str], Any]) -> None:
    """Put the pages that frames have within them (``srcdoc``) in their places."""
    for _ in range(_DEEPEST_FRAME):
        for frame in [found for found in root.iter("iframe") if (found.get("srcdoc") or "").strip()]:
            body = parsed(frame.get("srcdoc")).body
            frame.tag, frame.text = "div", None if body is None else body.text
            del frame.attrib["srcdoc"]
            frame[:] = [] if body is None else list(body)


def _in_drawing(element: Any) -> bool:
    return any(above.tag == "svg" for above in element.iterancestors())


def _html_text(data: bytes) -> str:
    declared = _DECLARED.search(data[:2048])
    name = declared.group(1).decode("ascii") if declared else None
    # WHATWG Encoding, 4.2: no browser reads UTF-7, in which any letters may be marks.
    return decode(data, None if name and "utf-7" in name.lower() else name)
