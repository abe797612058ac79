"""What could not be read is not taken for empty: it is read, refused by its name, or said."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import openpyxl
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from openpyxl.chart import BarChart
from openpyxl.drawing.image import Image as SheetPicture
from PIL import Image

from memvid_core.errors import IngestError
from memvid_core.ingest import read_document
from memvid_core.ingest.readers.ocr import HOW_TO_GET

CHUNK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/aFChunk"


def document_of(text: str) -> bytes:
    document = docx.Document()
    document.add_paragraph(text)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


EMBEDDED = {
    "rtf": rb"{\rtf1 Of wings.}",
    "mht": b"MIME-Version: 1.0\nContent-Type: text/html\n\n<p>Of wings.</p>",
    "html": b"<p>Of wings.</p>",
    "txt": b"Of wings.",
    "docx": document_of("Of wings."),
}


@pytest.mark.parametrize("suffix", EMBEDDED)
def test_a_document_that_is_only_embedded_ones(tmp_path: Path, suffix: str) -> None:
    document = docx.Document()
    part = Part(PackURI(f"/word/chunk.{suffix}"), "application/x", EMBEDDED[suffix], document.part.package)
    reference = document.part.relate_to(part, CHUNK)
    document.element.body.insert(0, parse_xml(f'<w:altChunk {nsdecls("w", "r")} r:id="{reference}"/>'))
    document.save(str(tmp_path / "a.docx"))
    read = read_document(tmp_path / "a.docx")
    assert ([section.text for section in read.sections], read.warnings) == (["Of wings."], [])


def test_a_sheet_that_is_a_chart(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["wings", 2])
    chart = BarChart()
    chart.title = "Lift by wing"
    book.create_chartsheet("Lift").add_chart(chart)
    book.save(tmp_path / "a.xlsx")
    found = {section.metadata["sheet"]: section.text for section in read_document(tmp_path / "a.xlsx").sections}
    assert found == {"Sheet": "wings; 2", "Lift": "Lift by wing"}


def test_pictures_without_text_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_OCR", "off")
    picture = tmp_path / "p.png"
    Image.new("L", (9, 9)).save(picture)
    document = docx.Document()
    document.add_picture(str(picture))
    document.add_picture(str(picture))
    document.save(str(tmp_path / "a.docx"))
    book = openpyxl.Workbook()
    book.active.append(["wings"])
    book.create_sheet("Scan").add_image(SheetPicture(str(picture)))
    book.save(tmp_path / "b.xlsx")
    (tmp_path / "c.html").write_text('<img src="p.png">')
    (tmp_path / "d.html").write_text("<div id=root></div><script>app()</script>")
    (tmp_path / "e.html").write_text("")
    names = ("a.docx", "b.xlsx", "c.html", "d.html", "e.html")
    assert {name: read_document(tmp_path / name).warnings for name in names} == {
        "a.docx": [f"no text, but 1 picture (scans?): {HOW_TO_GET}"],
        "b.xlsx": [f"sheets without text, but with pictures (scans?): 'Scan'; {HOW_TO_GET}"],
        "c.html": [f"no text, but 1 picture (scans?): {HOW_TO_GET}"],
        "d.html": ["the page has no text without its scripts, which are not run"],
        "e.html": [],
    }


@pytest.mark.parametrize(
    ("name", "entry", "content", "why"),
    [
        ("a.pages", "Index/Document.iwa", b"\0\1", "Pages, Numbers or Keynote: export it"),
        ("a.numbers", "Index.zip", b"PK", "Pages, Numbers or Keynote: export it"),
        ("a.key", "index.apxl", b"<a/>", "Pages, Numbers or Keynote: export it"),
        ("a.vsdx", "[Content_Types].xml", b"application/vnd.ms-visio.drawing.main+xml", "Visio, or XPS: save it"),
        ("a.xps", "[Content_Types].xml", b"application/vnd.ms-package.xps-fixedpage+xml", "Visio, or XPS: save it"),
    ],
)
def test_documents_of_other_programs_are_refused_by_name(
    tmp_path: Path, name: str, entry: str, content: bytes, why: str
) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr(entry, content)
        archive.writestr("pages/1.xml", "<page>Wings</page>")
    with pytest.raises(IngestError, match=why):
        read_document(tmp_path / name)


def test_an_archive_of_documents_with_a_part_of_keynote_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.md", "Of wings.")
        archive.writestr("Slides/Index/Slide.iwa", b"\0\1")
    assert [section.text for section in read_document(tmp_path / "a.zip").sections] == ["Of wings."]
