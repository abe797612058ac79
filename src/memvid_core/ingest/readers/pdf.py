"""PDF: the text of each page, with PDFium."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Outline, Section
from memvid_core.ingest.readers.extras import require

__all__ = ["read_pdf"]

# PDFium has global state, so it runs in one thread at a time. Processes read in parallel.
_ONE_AT_A_TIME = threading.Lock()
# FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h
_ENCRYPTED = {4: "encrypted: remove its password first", 5: "encrypted with a scheme that PDFium does not support"}
_HYPHEN = re.compile("(?:\ufffe|\x02)(?:\r?\n)?")  # PDFium's mark of a word divided at the end of a line


def read_pdf(path: Path) -> list[Section]:
    """Read a PDF as one section per page, with ``page`` from 1 and ``heading`` from its bookmarks.

    Raises:
        IngestError: The file is encrypted, damaged or truncated, or its pages have no text (a scan).
    """
    pdfium = require("pypdfium2", "to read PDF")
    data = path.read_bytes()
    # ISO 32000-2, 7.5.5. Without %%EOF, PDFium repairs the file and silently drops pages.
    if b"%%EOF" not in data:
        raise IngestError("truncated: it does not end with %%EOF")
    with _ONE_AT_A_TIME:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as exc:
            known = _ENCRYPTED.get(getattr(exc, "err_code", 0) or 0)
            raise IngestError(known or f"damaged: {exc}") from exc
        try:
            headings = _bookmarks(document)
            heading, sections = "", []
            for number in range(len(document)):
                heading = headings.get(number, heading)
                sections.append(_page(document, number, heading))
        except pdfium.PdfiumError as exc:
            raise IngestError(f"damaged: {exc}") from exc
        finally:
            document.close()
    if not any(section.text.strip() for section in sections):
        raise IngestError(f"no text on its {len(sections)} pages (a scan?): run OCR first")
    return sections


def _page(document: Any, number: int, heading: str) -> Section:
    try:
        page = document[number]
        try:
            textpage = page.get_textpage()
            try:
                text = textpage.get_text_range()
            finally:
                textpage.close()
        finally:
            page.close()
    except Exception as exc:
        raise IngestError(f"page {number + 1} is damaged: {exc}") from exc
    metadata: dict[str, Any] = {"page": number + 1}
    if heading:
        metadata["heading"] = heading
    return Section(_HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n"), metadata)


def _bookmarks(document: Any) -> dict[int, str]:
    """Return the path of headings by the page where it starts; the last one on a page counts."""
    outline, headings = Outline(), {}
    for bookmark in document.get_toc():
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        path = outline.enter(bookmark.level + 1, bookmark.get_title())
        if index is not None and path:
            headings[int(index)] = path
    return headings
