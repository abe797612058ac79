"""Documents of known words, order and tables, in twelve scripts and 29 formats, written by the usual writers."""

from __future__ import annotations

import csv
import email.message
import html
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.documents.content import TABLES_ALONE, Part, Text, make, tokens
from benchmarks.documents.markup import MARKUP

__all__ = ["FORMATS", "OTHERS", "TABLES_ALONE", "Made", "Part", "Text", "as_html", "make", "tokens", "write"]


class Made(NamedTuple):
    """Hold a written file and its content."""

    path: Path
    format: str
    text: Text


def write(folder: Path, text: Text, format_name: str, name: str, fonts: Path | None = None) -> Made:
    """Write a text as a file of a format. PDF needs a folder of fonts."""
    path = folder / f"{name}.{format_name}"
    if format_name == "pdf":
        from benchmarks.documents.pdf import print_pdf

        assert fonts is not None
        print_pdf(path, [(text.language, as_html(text))], fonts)
    else:
        {**FORMATS, **OTHERS}[format_name](path, text)
    return Made(path, format_name, text)


def _docx(path: Path, text: Text) -> None:
    import docx

    document = docx.Document()
    for part in text.parts:
        document.add_heading(part.heading, 1)
        for paragraph in part.paragraphs:
            document.add_paragraph(paragraph)
        for item in part.items:
            document.add_paragraph(item, style="List Bullet")
        table = document.add_table(len(part.rows), len(part.rows[0]))
        for row, cells in zip(table.rows, part.rows, strict=True):
            for cell, value in zip(row.cells, cells, strict=True):
                cell.text = value
    document.save(str(path))


def _pptx(path: Path, text: Text) -> None:
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    for part in text.parts:
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        # The table is drawn first, and stands below the text.
        table = slide.shapes.add_table(len(part.rows), 3, Inches(1), Inches(5), Inches(8), Inches(2)).table
        for row, cells in enumerate(part.rows):
            for column, value in enumerate(cells):
                table.cell(row, column).text = value
        slide.shapes.title.text = part.heading
        box = slide.shapes.add_textbox(Inches(1), Inches(2), Inches(8), Inches(2)).text_frame
        box.text = part.paragraphs[0]
        for line in [*part.paragraphs[1:], *part.items]:
            box.add_paragraph().text = line
    deck.save(str(path))


def _xlsx(path: Path, text: Text) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, part in enumerate(text.parts):
        sheet: Any = book.create_sheet(f"S{number}")
        for row in part.rows:
            sheet.append(row)
    book.save(path)


def _csv(path: Path, text: Text) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(text.parts[0].rows)


def as_html(text: Text) -> str:
    """Return a text as HTML."""
    return "\n".join(map(_html_part, text.parts))


def _html_part(part: Part) -> str:
    rows = [
        "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(["th", *["td"] * len(part.rows)], part.rows, strict=False)
    ]
    paragraphs = "".join(f"<p>{html.escape(paragraph)}</p>\n" for paragraph in part.paragraphs)
    items = "".join(f"<li>{html.escape(item)}</li>" for item in part.items)
    return f"<h1>{html.escape(part.heading)}</h1>\n{paragraphs}<ul>{items}</ul>\n<table>{''.join(rows)}</table>\n"


def _html(path: Path, text: Text) -> None:
    head = "<head><meta charset=utf-8><style>p{color:red}</style><script>var x = 'no text'</script></head>"
    path.write_text(f"<!doctype html><html>{head}<body>{as_html(text)}</body></html>", encoding="utf-8")


def _epub(path: Path, text: Text) -> None:
    import mkepub

    book = mkepub.Book(title="Book")
    with book.tempdir:
        for part in text.parts:
            book.add_page(part.heading, _html_part(part))
        book.save(str(path))


def _markdown(text: Text) -> str:
    lines = []
    for part in text.parts:
        lines += [f"# {part.heading}", *part.paragraphs, "\n".join(f"- {item}" for item in part.items)]
        rows = [f"| {' | '.join(row)} |" for row in part.rows]
        lines.append("\n".join([rows[0], "|---|---|---|", *rows[1:]]))
    return "\n\n".join(lines) + "\n"


def _md(path: Path, text: Text) -> None:
    path.write_text(_markdown(text), encoding="utf-8")


def _message(text: Text) -> email.message.EmailMessage:
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "ada@example.org", "bob@example.org", text.parts[0].heading
    message.set_content("See the HTML part.")
    message.add_alternative(f"<html><body>{as_html(text)}</body></html>", subtype="html", cte="base64")
    return message


def _eml(path: Path, text: Text) -> None:
    path.write_bytes(_message(text).as_bytes())


def _msg(path: Path, text: Text) -> None:
    from aspose.email_foss.msg import MapiMessage

    MapiMessage.from_email_message(_message(text)).save(path)


def _hwp(path: Path, text: Text) -> None:
    from hwp_converter_ai import HwpWriter

    HwpWriter().from_markdown(_markdown(text), path)


def _hwpx(path: Path, text: Text) -> None:
    from hwp_converter_ai import HwpxGenerator

    HwpxGenerator().from_markdown(_markdown(text), output_path=path)


_ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table", "style")
)

_MANIFEST = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
_ODT = "application/vnd.oasis.opendocument.text"


def _odt(path: Path, text: Text) -> None:
    blocks = []
    for part in text.parts:
        blocks.append(f'<text:h text:outline-level="1">{html.escape(part.heading)}</text:h>')
        blocks += [f"<text:p>{html.escape(paragraph)}</text:p>" for paragraph in part.paragraphs]
        items = "".join(f"<text:list-item><text:p>{html.escape(item)}</text:p></text:list-item>" for item in part.items)
        blocks.append(f"<text:list>{items}</text:list>")
        blocks.append(_odf_table(part))
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_ODF} office:version="1.3"><office:body>'
        f"<office:text>{''.join(blocks)}</office:text></office:body></office:document-content>"
    )
    _opendocument(path, _ODT, content)


def _odf_table(part: Part) -> str:
    cells = [
        "".join(f"<table:table-cell><text:p>{html.escape(cell)}</text:p></table:table-cell>" for cell in row)
        for row in part.rows
    ]
    rows = "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
    return f'<table:table><table:table-column table:number-columns-repeated="3"/>{rows}</table:table>'


def _opendocument(path: Path, kind_of_all: str, content: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind_of_all)
        archive.writestr("content.xml", content)
        # Pandoc reads no document without common styles, which all programs write.
        styles = f'<office:document-styles {_ODF} office:version="1.3"><office:styles/></office:document-styles>'
        archive.writestr("styles.xml", styles)
        entries = "".join(
            f'<m:file-entry m:full-path="{name}" m:media-type="{kind}"/>'
            for name, kind in (("/", kind_of_all), ("content.xml", "text/xml"), ("styles.xml", "text/xml"))
        )
        archive.writestr(
            "META-INF/manifest.xml", f'<m:manifest xmlns:m="{_MANIFEST}" m:version="1.3">{entries}</m:manifest>'
        )


def _rtf(path: Path, text: Text) -> None:
    def escaped(words: str) -> str:
        units = (
            char
            if char < "\x80"
            else "".join(f"\\u{int.from_bytes(pair, 'little', signed=True)}?" for pair in _pairs(char))
            for char in words
        )
        return "".join(units)

    blocks = []
    for part in text.parts:
        blocks.append(f"{{\\outlinelevel0\\b {escaped(part.heading)}\\par}}")
        blocks += [f"{{{escaped(line)}\\par}}" for line in [*part.paragraphs, *part.items]]
        for row in part.rows:
            cells = "".join(f"{escaped(cell)}\\cell " for cell in row)
            blocks.append(f"\\trowd\\cellx3000\\cellx6000\\cellx9000\\intbl {cells}\\row")
        blocks.append("\\pard")
    path.write_text("{\\rtf1\\ansi\\uc1 " + "\n".join(blocks) + "}", encoding="ascii")


def _pairs(char: str) -> Iterator[bytes]:
    data = char.encode("utf-16-le")
    return (data[at : at + 2] for at in range(0, len(data), 2))


FORMATS: dict[str, Callable[[Path, Text], None]] = {
    "docx": _docx,
    "pptx": _pptx,
    "xlsx": _xlsx,
    "odt": _odt,
    "rtf": _rtf,
    "html": _html,
    "epub": _epub,
    "eml": _eml,
    "msg": _msg,
    "hwp": _hwp,
    "hwpx": _hwpx,
    "csv": _csv,
    "md": _md,
}


def _ods(path: Path, text: Text) -> None:
    def row(cells: list[str]) -> str:
        inner = "".join(f"<table:table-cell><text:p>{html.escape(cell)}</text:p></table:table-cell>" for cell in cells)
        return f"<table:table-row>{inner}</table:table-row>"

    tables = "".join(
        f'<table:table table:name="S{number}">{"".join(map(row, part.rows))}</table:table>'
        for number, part in enumerate(text.parts)
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_ODF} office:version="1.3"><office:body>'
        f"<office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>"
    )
    _opendocument(path, "application/vnd.oasis.opendocument.spreadsheet", content)


def _json(path: Path, text: Text) -> None:
    names, *rows = text.parts[0].rows
    records = [dict(zip(names, row, strict=True)) for row in rows]
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")


def _jsonl(path: Path, text: Text) -> None:
    names, *rows = text.parts[0].rows
    records = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(records) + "\n", encoding="utf-8")


def _odp(path: Path, text: Text) -> None:
    def frame(inner: str, kind: str = "") -> str:
        return f"<draw:frame{kind}><draw:text-box>{inner}</draw:text-box></draw:frame>"

    def paragraphs(lines: list[str]) -> str:
        return "".join(f"<text:p>{html.escape(line)}</text:p>" for line in lines)

    pages = []
    for part in text.parts:
        items = "".join(f"<text:list-item>{paragraphs([item])}</text:list-item>" for item in part.items)
        title = frame(paragraphs([part.heading]), ' presentation:class="title"')
        body = frame(f"{paragraphs(part.paragraphs)}<text:list>{items}</text:list>")
        pages.append(f"<draw:page>{title}{body}<draw:frame>{_odf_table(part)}</draw:frame></draw:page>")
    names = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{uri}:1.0"' for name, uri in _ODP_NAMES)
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_ODF} {names} office:version="1.3">'
        f"<office:body><office:presentation>{''.join(pages)}</office:presentation></office:body></office:document-content>"
    )
    _opendocument(path, "application/vnd.oasis.opendocument.presentation", content)


_ODP_NAMES = (("draw", "drawing"), ("presentation", "presentation"))


def _ipynb(path: Path, text: Text) -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": _markdown(Text(text.language, [part]))}
        for part in text.parts
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")


def _mbox(path: Path, text: Text) -> None:
    path.write_bytes(b"From ada@example.org Mon Mar  2 10:00:00 2026\n" + _message(text).as_bytes() + b"\n")


def _zip(path: Path, text: Text) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, part in enumerate(text.parts):
            archive.writestr(f"{number}.md", _markdown(Text(text.language, [part])))


def _xml(path: Path, text: Text) -> None:
    """Write an article as publishers of journals do (JATS)."""
    blocks = []
    for part in text.parts:
        paragraphs = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in part.paragraphs)
        items = "".join(f"<list-item><p>{html.escape(item)}</p></list-item>" for item in part.items)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in part.rows)
        table = f"<table-wrap><table>{rows}</table></table-wrap>"
        blocks.append(f"<sec><title>{html.escape(part.heading)}</title>{paragraphs}<list>{items}</list>{table}</sec>")
    path.write_text(f'<?xml version="1.0"?><article><body>{"".join(blocks)}</body></article>', encoding="utf-8")


def _txt(path: Path, text: Text) -> None:
    path.write_text(_markdown(text), encoding="utf-16-le")


OTHERS: dict[str, Callable[[Path, Text], None]] = {
    "ods": _ods,
    "odp": _odp,
    "json": _json,
    "jsonl": _jsonl,
    "ipynb": _ipynb,
    "mbox": _mbox,
    "zip": _zip,
    "xml": _xml,
    "txt": _txt,
    **MARKUP,
}
"""Formats that hardly any other reader takes; text is UTF-16 without a byte-order mark."""
