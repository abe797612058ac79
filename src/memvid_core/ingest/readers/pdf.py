"""PDF: the text, the form values and the comments of each page, with PDFium."""

from __future__ import annotations

import ctypes
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Outline, Section
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.korean_lines import KoreanLines
from memvid_core.ingest.readers.nested import announce, read_nested
from memvid_core.ingest.readers.ocr import HOW_TO_GET, read_gray, recognizer
from memvid_core.ingest.readers.pdf_lines import is_vertical
from memvid_core.ingest.readers.pdf_page import Aside, PageText, cells_of, text_of
from memvid_core.ingest.readers.pdf_turned import flatten, place_after, straighten, turns_of
from memvid_core.ingest.readers.remarks import leaving_out, ranges, warn

__all__ = ["read_pdf"]

# PDFium has global state, so it runs in one thread at a time. Processes read in parallel.
_ONE_AT_A_TIME = threading.Lock()
# FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY of fpdfview.h
_ENCRYPTED = {4: "encrypted: remove its password first", 5: "encrypted with a scheme that PDFium does not support"}
_COMMENTS = frozenset((1, 3, 9, 10, 11, 12, 13))  # text, free text, highlight, underline, squiggly, strike-out, stamp
_WIDGET = 20
_MOST_ANNOTATIONS = 2000  # of a page
_LEAST_PAGES = 4  # of a document with running headers
_RUNNING_LINES = 2  # at the top and at the bottom of a page
_PAGE_NUMBER = re.compile(r"^\W*\d{1,5}\W+|\W+\d{1,5}\W*$|^\W*\d{1,5}\W*$")
_RESOLUTION = 200  # pixels an inch, for OCR
_MOST_PIXELS = 40_000_000
_MOST_DAMAGED = 1000  # pages in a row


def read_pdf(path: Path) -> list[Section]:
    """Read a PDF as one section per page and bookmark, with ``page`` from 1 and ``heading`` from its bookmarks.

    The values of form fields, and comments, follow the text of their page. Lines at the top or bottom that most pages
    repeat are kept only once. Attached files follow, with ``attachment``. Pages without text are read by OCR if it is
    installed. Those that remain without text, and damaged pages, are named in a warning.

    Raises:
        IngestError: The file is encrypted, damaged or truncated, or neither its pages (a scan) nor its attachments have
            text.
    """
    pdfium = require("pypdfium2", "to read PDF")
    data = path.read_bytes()
    _check_complete(data)
    unread: IngestError | None = None
    with _ONE_AT_A_TIME:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as exc:
            known = _ENCRYPTED.get(getattr(exc, "err_code", 0) or 0)
            raise IngestError(known or f"damaged: {exc}") from exc
        try:
            attached = _attached(document)
            try:
                sections = _Pdf(document, pdfium.raw).sections()
            except IngestError as exc:
                sections, unread = [], exc
        except pdfium.PdfiumError as exc:
            raise IngestError(f"damaged: {exc}") from exc
        finally:
            document.close()
    for name, content in attached:
        sections += read_nested(name, content, "attachment")
    if unread is not None and not sections:
        raise unread
    if unread is not None:
        warn(str(unread))
    return sections


def _attached(document: Any) -> list[tuple[str, bytes]]:
    """Return the names and contents of the files that are attached to a document."""
    files: list[tuple[str, bytes]] = []
    number = document.count_attachments()
    announce(number)
    for index in range(number):
        with leaving_out(f"attachment {index + 1}"):
            attachment = document.get_attachment(index)
            files.append((attachment.get_name(), bytes(attachment.get_data())))
    return files


def _check_complete(data: bytes) -> None:
    # ISO 32000-2, 7.5.5. PDFium repairs a file that is cut and silently drops pages. A linearized file has another
    # %%EOF near its beginning, before most of its objects.
    end = data.rfind(b"%%EOF")
    if end < 0 or data.find(b"endobj", end) >= 0:
        raise IngestError("truncated: it does not end with %%EOF")


class _Pdf:
    def __init__(self, document: Any, raw: Any) -> None:
        self._document = document
        self._raw = raw
        self._form = None
        with leaving_out("the form"):
            if document.get_formtype():
                document.init_forms()
                self._form = document.formenv

    def sections(self) -> list[Section]:
        number = len(self._document)
        empty: list[int] = []
        damaged: list[int] = []
        pages: list[PageText] = []
        for index in range(number):
            page = PageText("")
            if damaged[-_MOST_DAMAGED:][:1] == [index + 1 - _MOST_DAMAGED]:
                # A damaged file may state any number of pages: so many in a row were damaged that no other is tried.
                damaged += range(index + 1, number + 1)
                break
            try:
                page = self._page(index)
            except Exception:  # pypdfium2 raises several kinds on damaged pages
                damaged.append(index + 1)
            else:
                if not page.text.strip():
                    empty.append(index + 1)
            pages.append(page)
        how = HOW_TO_GET
        if empty and recognizer() is not None:
            empty, how = self._recognize(pages, empty)
        if len(damaged) == number:
            raise IngestError(
                f"damaged: none of its {number} pages can be read" if number else "damaged: it has no page"
            )
        if damaged:
            warn(f"damaged pages were left out: {ranges(damaged)}")
        if empty:
            warn(f"pages without text (scans?): {ranges(empty)}; {how}")
        korean = KoreanLines(page.text for page in pages)
        pages = [page.rewritten(korean.lines, korean.line) for page in pages]
        _remove_running_lines(pages)
        return self._with_headings(pages)

    def _recognize(self, pages: list[PageText], empty: list[int]) -> tuple[list[int], str]:
        """Read pages without text by OCR; return the numbers of those that remain without, and why."""
        found_none = []
        why = "OCR found none either"
        for number in empty:
            page = self._document[number - 1]
            try:
                width, height = page.get_size()
                scale = min(_RESOLUTION / 72, (_MOST_PIXELS / max(width * height, 1.0)) ** 0.5)
                picture = page.render(scale=scale, grayscale=True).to_numpy()
            finally:
                page.close()
            try:
                text = read_gray(picture.shape[1], picture.shape[0], picture.tobytes())
            except IngestError as exc:
                why = f"OCR failed: {exc}"
                text = ""
            pages[number - 1] = PageText(text.strip(), recognized=True)
            if not text.strip():
                found_none.append(number)
        return found_none, why

    def _page(self, index: int) -> PageText:
        page = self._document[index]
        try:
            read = self._read(page, index)
            with leaving_out(f"the comments and form values of page {index + 1}"):
                read.text = "\n\n".join(filter(None, (read.text, *self._annotations(page))))
            return read
        finally:
            page.close()

    def _read(self, page: Any, index: int) -> PageText:
        turned = page.get_rotation()
        flatten(self._raw, page.raw)
        with _text(page) as textpage:
            turns = turns_of(self._raw, textpage.raw)
            upright = set(turns) <= {0} and not turned
            if upright or is_vertical(self._raw, textpage.raw, textpage.get_text_range()):
                return text_of(self._raw, page, textpage)
        (main, _), *others = turns.most_common()
        parts = self._read_all(index, main, [turn for turn, _ in others])
        tables = [table for part in parts for table in part.tables]
        return PageText("\n\n".join(part.text for part in parts if part.text.strip()), tables)

    def _read_all(self, index: int, main: int, others: list[int]) -> list[PageText]:
        """Return the texts of a page by their directions; what is turned in tables of the main one is in them."""
        asides: dict[int, list[Aside]] = {}
        outside: dict[int, str] = {}
        for turn in others:
            with self._turned(index, turn) as (page, textpage, size):
                found, outside[turn] = cells_of(self._raw, page, textpage)
                asides[turn] = [Aside(*place_after(one.x, one.y, size, turn, main), one.text) for one in found]
        with self._turned(index, main) as (page, textpage, _):
            parts = [text_of(self._raw, page, textpage, [one for found in asides.values() for one in found])]
        first = 0
        for turn in others:
            numbers = range(first, first + len(asides[turn]))
            left = [
                one.text for number, one in zip(numbers, asides[turn], strict=True) if number not in parts[0].placed
            ]
            first = numbers.stop
            if len(left) < len(asides[turn]):
                parts.append(PageText("\n".join(filter(None, (outside[turn], *left)))))
            else:
                with self._turned(index, turn) as (page, textpage, _):
                    parts.append(text_of(self._raw, page, textpage))
        return parts

    @contextmanager
    def _turned(self, index: int, turn: int) -> Iterator[tuple[Any, Any, tuple[float, float]]]:
        """Yield a page whose letters of one direction are upright, and alone, its text, and its size before."""
        page = self._document[index]
        shown = page.get_rotation()
        try:
            # How the page is shown makes no difference to how its lines run.
            page.set_rotation(0)
            size = page.get_size()
            flatten(self._raw, page.raw)
            straighten(self._raw, page, turn)
            with _text(page) as textpage:
                yield page, textpage, size
        finally:
            page.set_rotation(shown)
            page.close()

    def _annotations(self, page: Any) -> list[str]:
        raw = self._raw
        values: list[str] = []
        comments: list[str] = []
        for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
            annotation = raw.FPDFPage_GetAnnot(page, index)
            if not annotation:
                continue
            try:
                kind = raw.FPDFAnnot_GetSubtype(annotation)
                if kind == _WIDGET and self._form is not None:
                    values.append(self._field(annotation))
                elif kind in _COMMENTS:
                    text = self._string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents").strip()
                    comments.append(f"Comment: {text}" if text and kind != 3 else text)
            finally:
                raw.FPDFPage_CloseAnnot(annotation)
        return ["\n".join(filter(None, dict.fromkeys(lines))) for lines in (values, comments)]

    def _field(self, annotation: Any) -> str:
        raw = self._raw
        value = self._string(raw.FPDFAnnot_GetFormFieldValue, self._form, annotation).strip()
        name = self._string(raw.FPDFAnnot_GetFormFieldAlternateName, self._form, annotation).strip()
        name = name or self._string(raw.FPDFAnnot_GetFormFieldName, self._form, annotation).strip()
        return f"{name}: {value}" if value and value != "Off" else ""

    @staticmethod
    def _string(function: Any, *arguments: Any) -> str:
        size = function(*arguments, None, 0)
        if size <= 2:
            return ""
        buffer = (ctypes.c_ushort * (size // 2))()
        function(*arguments, buffer, size)
        return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0").replace("\r", "\n")

    def _with_headings(self, pages: list[PageText]) -> list[Section]:
        """Divide pages where their bookmarks' titles stand; a title that is not found counts from the page's top."""
        outline = Outline()
        marks: dict[int, list[tuple[str, str]]] = {}
        with leaving_out("the bookmarks"):
            for bookmark in self._document.get_toc():
                target = bookmark.get_dest()
                index = target.get_index() if target else None
                title = bookmark.get_title()
                path = outline.enter(bookmark.level + 1, title)
                if index is not None and path:
                    marks.setdefault(int(index), []).append((title, path))
        sections: list[Section] = []
        heading = ""
        for index, page in enumerate(pages):
            text = page.text
            place = begin = 0
            for title, path in marks.get(index, ()):
                at = _find_title(text, title, place)
                if at is not None and text[begin:at].strip():
                    sections.append(_section(page, index, heading, begin, at))
                    begin = at
                place = place if at is None else at
                heading = path
            sections.append(_section(page, index, heading, begin, len(text)))
        return sections


@contextmanager
def _text(page: Any) -> Iterator[Any]:
    textpage = page.get_textpage()
    try:
        yield textpage
    finally:
        textpage.close()


def _section(page: PageText, index: int, heading: str, begin: int, end: int) -> Section:
    metadata: dict[str, Any] = {"page": index + 1}
    if heading:
        metadata["heading"] = heading
    if page.recognized:
        metadata["ocr"] = True
    text, tables, after = page.text[begin:end], [], 0
    for table in page.tables:
        at = text.find(table, after)
        if at >= 0 and "\n" in table:
            after = at + len(table)
            tables.append((at, at + table.index("\n"), after))
    return Section(text, metadata, "prose", begin, tables)


def _find_title(text: str, title: str, start: int) -> int | None:
    """Return where a line with a title starts, from a place on; runs of white space are equal."""
    words = title.split()
    if not words:
        return None
    pattern = re.compile(
        r"^[^\S\n]*(?:[\dIVX.]+\s+)?" + r"\s+".join(map(re.escape, words)), re.IGNORECASE | re.MULTILINE
    )
    found = pattern.search(text, start)
    return found.start() if found else None


def _remove_running_lines(pages: list[PageText]) -> None:
    """Remove lines at the top and bottom of pages that most pages repeat, except for numbers; the first one stays."""
    full = [(page, page.text.split("\n")) for page in pages if page.text.strip()]
    if len(full) < _LEAST_PAGES:
        return
    edges = [_edges(page, lines) for page, lines in full]
    counts = Counter(
        key for (_, lines), places in zip(full, edges, strict=True) for key in {_key(lines[at]) for at in places} if key
    )
    running = {key for key, number in counts.items() if number > 0.6 * len(full)}
    if not running:
        return
    seen: set[str] = set()
    for (page, lines), places in zip(full, edges, strict=True):
        for at in sorted(places, reverse=True):
            key = _key(lines[at])
            if key in running and key in seen:
                del lines[at]
            elif key in running:
                seen.add(key)
        page.text = "\n".join(lines)


def _edges(page: PageText, lines: list[str]) -> set[int]:
    """Return the places of the first and the last lines of a page that are no rows of tables."""
    there = [at for at, line in enumerate(lines) if line.strip()]
    if len(there) <= 2 * _RUNNING_LINES:
        return set()
    rows = {row for table in page.tables for row in table.split("\n")}
    return {at for at in (*there[:_RUNNING_LINES], *there[-_RUNNING_LINES:]) if lines[at] not in rows}


def _key(line: str) -> str:
    """Return a line without a page number at its ends; "Chapter 2" is too short to be a running title with one."""
    line = " ".join(line.split())
    bare = _PAGE_NUMBER.sub(" ", line).split()
    return " ".join(bare) or "#" if line and (len(bare) > 2 or not bare) else line
