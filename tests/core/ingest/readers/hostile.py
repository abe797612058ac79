"""Small files that want much: time without end, or gigabytes of memory."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl

_STYLE = '<w:style w:type="paragraph" w:styleId="{0}"><w:name w:val="{0}"/><w:basedOn w:val="{1}"/></w:style>'
_ROWS = rb"<sheetData.*?(/>|</sheetData>)"
_CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="c.opf"/></rootfiles></container>'
)
_OPF = (
    '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
    '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine>{}</spine></package>'
)


def with_styles(path: Path, styles: list[tuple[str, str]]) -> Path:
    """A DOCX with paragraph styles, each a name and the style it is based on."""
    added = "".join(_STYLE.format(*style) for style in styles).encode() + b"</w:styles>"
    return _docx(path, "word/styles.xml", lambda data: data.replace(b"</w:styles>", added))


def docx_bomb(path: Path, paragraphs: int) -> Path:
    """A DOCX that becomes a hundred times as large in memory, below any ratio of a zip bomb."""
    body = b"".join(b"<w:p><w:r><w:t>%d</w:t></w:r></w:p>" % (i * 7919 % 65536) for i in range(paragraphs))
    return _docx(path, "word/document.xml", lambda data: data.replace(b"<w:body>", b"<w:body>" + body))


def wide_xlsx(path: Path, rows: int) -> Path:
    """A sheet with one cell a row, in the last column there can be."""
    book = openpyxl.Workbook()
    book.save(path)
    cells = "".join(f'<row r="{i}"><c r="XFD{i}"><v>{i}</v></c></row>' for i in range(1, rows + 1))
    sheet = f"<sheetData>{cells}</sheetData>".encode()
    return _replaced(
        path, "xl/worksheets/sheet1.xml", lambda data: re.sub(rb"<sheetData.*?(/>|</sheetData>)", sheet, data)
    )


def repeated_epub(path: Path, times: int) -> Path:
    """A book that has its one chapter many times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", _CONTAINER)
        archive.writestr("c.opf", _OPF.format('<itemref idref="a"/>' * times))
        archive.writestr("a.xhtml", "<html><body><p>The only chapter.</p></body></html>")
    return path


def pdf_bomb(path: Path, size: int) -> Path:
    """A page whose content was packed twice."""
    packer = zlib.compressobj(9)
    once = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    twice = zlib.compress(once, 9)
    path.write_bytes(
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj\n4 0 obj<</Length "
        + str(len(twice)).encode()
        + b"/Filter[/FlateDecode/FlateDecode]>>stream\n"
        + twice
        + b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )
    return path


def _docx(path: Path, entry: str, change: Callable[[bytes], bytes]) -> Path:
    document = docx.Document()
    document.add_paragraph("Words.")
    document.save(str(path))
    return _replaced(path, entry, change)


def _replaced(path: Path, entry: str, change: Callable[[bytes], bytes]) -> Path:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, change(data) if name == entry else data)
    return path
