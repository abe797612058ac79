"""One damaged part does not lose the rest of a document, and is named; only what all the others need refuses it."""

from __future__ import annotations

import email.message
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import mkepub
import openpyxl
import pptx
import pypdfium2
import pytest
from hwp_converter_ai import HwpxGenerator
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from PIL import Image
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from memvid_core.errors import IngestError
from memvid_core.ingest import read_document
from tests.core.ingest.ole_files import paragraph, write_hwp, write_ole
from tests.core.ingest.readers.test_pdf import pdf, stream

TEXT = "A wing lifts."


def picture() -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "png")
    file.seek(0)
    return file


def write_docx(path: Path) -> None:
    document = docx.Document()
    document.add_paragraph(TEXT)
    document.add_picture(picture())
    document.add_comment(document.paragraphs[0].runs, "A comment", "Ada")
    document.sections[0].header.paragraphs[0].text = "A header"
    document.add_paragraph("item", style="List Number")
    document.save(str(path))


def write_pptx(path: Path) -> None:
    deck = pptx.Presentation()
    for title in (TEXT, "A rudder"):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = title
    slide.shapes.add_picture(picture(), 0, 0)
    slide.notes_slide.notes_text_frame.text = "A note"
    data = CategoryChartData()
    data.categories = ["one", "two"]
    data.add_series("sales", (1, 2))
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, 0, Inches(2), Inches(2), data)
    deck.save(str(path))


def write_xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["part", "text"])
    sheet.append([1, TEXT])
    second = book.create_sheet("Second")
    for row in (["rudder", 1], ["flap", 2]):
        second.append(row)
    second["A1"].comment = Comment("A comment", "Ada")
    chart = BarChart()
    chart.title = "A chart"
    chart.add_data(Reference(second, 2, 1, 2, 2))
    second.add_chart(chart)
    book.save(path)


def write_epub(path: Path) -> None:
    book = mkepub.Book(title="Book")
    with book.tempdir:
        book.add_page("One", f"<p>{TEXT}</p>")
        book.add_page("Two", "<p>A rudder turns.</p>")
        book.add_image("a.png", picture().read())
        book.save(str(path))


def write_hwpx(path: Path) -> None:
    HwpxGenerator().from_markdown(f"# Wings\n\n{TEXT}\n", output_path=path)
    change(path, lambda name, data: data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("Contents/section1.xml", archive.read("Contents/section0.xml"))
        archive.writestr("BinData/image1.png", picture().read())


def write_odt(path: Path) -> None:
    names = ("office", "text")
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    body = f"<office:body><office:text><text:p>{TEXT}</text:p></office:text></office:body>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")
        archive.writestr("styles.xml", f"<office:document-styles {spaces}/>")
        archive.writestr("META-INF/manifest.xml", "<a/>")
        archive.writestr("Pictures/a.png", picture().read())


# What writes a document, and the parts without which there is none.
WRITERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a.docx": (write_docx, r"\[Content_Types\]\.xml|_rels/\.rels|word/document\.xml"),
    "a.epub": (write_epub, r"mimetype|META-INF/container\.xml|EPUB/package\.opf"),
    "a.hwpx": (write_hwpx, r"mimetype"),
    "a.odt": (write_odt, r"mimetype|content\.xml|META-INF/manifest\.xml"),
    "a.pptx": (
        write_pptx,
        r"\[Content_Types\]\.xml|_rels/\.rels|ppt/presentation\.xml|ppt/_rels/presentation\.xml\.rels",
    ),
    "a.xlsx": (write_xlsx, r"\[Content_Types\]\.xml|_rels/\.rels|xl/workbook\.xml|xl/_rels/workbook\.xml\.rels"),
}
# Parts whose loss takes the text with it, which then is the other one.
OTHER_TEXT = {
    "EPUB/page0001.xhtml": "rudder",
    "ppt/slides/slide1.xml": "A rudder",
    "xl/sharedStrings.xml": None,
    "xl/worksheets/sheet1.xml": "rudder",
}


def change(path: Path, made: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: made(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def cut_short(path: Path, name: str) -> None:
    """Keep the first half of a part."""
    change(path, lambda own, data: data[: len(data) // 2] + b"<" if own == name else data)


def break_checksum(path: Path, name: str) -> None:
    """Change a byte of a stored part, as a bad disk does."""
    change(path, lambda _, data: data)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(name)
        start = entry.header_offset + 30 + len(name.encode())
    data = bytearray(path.read_bytes())
    data[start + entry.file_size // 2] ^= 0x01
    path.write_bytes(data)


def parts_of(folder: Path, file: str) -> list[str]:
    WRITERS[file][0](folder / file)
    with zipfile.ZipFile(folder / file) as archive:
        return [entry.filename for entry in archive.infolist() if entry.file_size]


def text_of(path: Path) -> str:
    return "\n".join(section.text for section in read_document(path).sections)


@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.parametrize("how", ["checksum", "syntax"])
def test_any_part_may_be_damaged(tmp_path: Path, file: str, how: str) -> None:
    names = parts_of(tmp_path, file)
    path = tmp_path / file
    whole, full = path.read_bytes(), text_of(path)
    assert read_document(path).warnings == []
    for name in names:
        path.write_bytes(whole)
        if how == "checksum":
            break_checksum(path, name)
        else:
            cut_short(path, name)
        wanted = OTHER_TEXT.get(name, TEXT)
        if wanted is None or re.fullmatch(WRITERS[file][1], name):
            if how == "checksum" or wanted is None:
                with pytest.raises(IngestError, match=f"damaged.*{re.escape(name)}"):
                    read_document(path)
            continue
        document = read_document(path)
        assert wanted in text_of(path), name
        named = [warning for warning in document.warnings if "was left out: " in warning]
        # What has no text is not parsed, but it is unpacked.
        unread = how == "syntax" and text_of(path) == full
        assert unread or len(named) == len(document.warnings) == 1, (name, document.warnings)


def left_out(path: Path) -> tuple[str, list[str]]:
    document = read_document(path)
    return "\n".join(section.text for section in document.sections), document.warnings


def test_the_rows_before_the_damage_of_a_sheet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_xlsx(path)
    change(
        path,
        lambda name, data: data.replace(b'<row r="2"', b'<row r="2"<', 1) if name.endswith("sheet2.xml") else data,
    )
    text, (warning,) = left_out(path)
    assert TEXT in text
    assert "rudder" in text
    assert "flap" not in text
    assert warning.startswith("sheet 'Second' from row 2 on was left out: damaged")


def test_every_lost_part_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.odt"
    write_odt(path)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(30):
            archive.writestr(f"Pictures/{number}.png", f"picture {number}")
    data = path.read_bytes()
    for number in range(30):
        data = data.replace(f"picture {number}".encode(), f"Picture {number}".encode(), 1)
    path.write_bytes(data)
    text, warnings = left_out(path)
    assert (text, len(warnings), warnings[-1]) == (TEXT, 21, "and 10 more like these")


def test_one_part_of_a_mail_that_cannot_be_read(tmp_path: Path) -> None:
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = "ada@example.org", "Wings"
    message.set_content(TEXT)
    message.add_attachment("<div>" * 3000 + "deep", subtype="html", disposition="inline")
    (tmp_path / "a.eml").write_bytes(message.as_bytes())
    text, (warning,) = left_out(tmp_path / "a.eml")
    assert TEXT in text
    assert warning.startswith("a part of the message (text/html) was left out: elements are nested")


def test_one_cell_of_a_notebook_that_is_none(tmp_path: Path) -> None:
    cells = [{"cell_type": "markdown", "source": TEXT}, {"cell_type": "code", "source": 3}, "no cell"]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    text, warnings = left_out(tmp_path / "a.ipynb")
    assert text == TEXT
    assert [warning[:22] for warning in warnings] == ["cell 2 was left out: d", "cell 3 was left out: d"]


def test_one_line_of_json_that_is_none(tmp_path: Path) -> None:
    lines = ['{"part": "wing", "n": 1}', '{"part": "rudd', '{"part": "flap", "n": 2}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    text, warnings = left_out(tmp_path / "a.jsonl")
    assert text == 'part: wing; n: 1\n{"part": "rudd\npart: flap; n: 2'
    assert warnings == ["line 2 is damaged, and was kept as it is"]


def test_one_section_of_a_hangul_document_that_is_damaged(tmp_path: Path) -> None:
    path = write_hwp(tmp_path / "a.hwp", paragraph(TEXT), b"\xff" * 30, paragraph("A rudder turns."))
    text, (warning,) = left_out(path)
    assert (TEXT in text, "A rudder turns." in text) == (True, True)
    assert warning == "BodyText/Section1 was left out: damaged: a record is longer than its part"


def test_a_form_of_the_text_of_outlook_that_is_damaged(tmp_path: Path) -> None:
    path = write_ole(
        tmp_path / "a.msg",
        {
            "__properties_version1.0": b"\0" * 32,
            "__substg1.0_0037001F": "Wings".encode("utf-16-le"),
            "__substg1.0_10090102": b"no RTF",
            "__attach_version1.0_#00000000/__properties_version1.0": b"\0" * 8,
            "__attach_version1.0_#00000000/__substg1.0_3707001F": "a.txt".encode("utf-16-le"),
            "__attach_version1.0_#00000000/__substg1.0_37010102": TEXT.encode(),
        },
    )
    text, (warning,) = left_out(path)
    assert (text.startswith("Subject: Wings"), TEXT in text) == (True, True)
    assert warning == "the RTF was left out: damaged: its RTF is not compressed as Outlook does it"


@pytest.mark.parametrize("lost", ["get_toc", "init_forms"])
def test_bookmarks_and_forms_of_a_pdf_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    def fail(*_: object) -> None:
        raise pypdfium2.PdfiumError("damaged")

    monkeypatch.setattr(pypdfium2.PdfDocument, lost, fail)
    monkeypatch.setattr(pypdfium2.PdfDocument, "get_formtype", lambda _: 1)
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
    path = pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            page,
            stream(b"BT /F 12 Tf 50 300 Td (A wing lifts.) Tj ET"),
            b"<</Type/Font/Subtype/Type1/BaseFont/Courier>>",
        ],
        tmp_path / "a.pdf",
    )
    text, (warning,) = left_out(path)
    assert text == TEXT
    assert "was left out: damaged" in warning or "were left out: damaged" in warning
