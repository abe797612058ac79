"""Pages whose text is turned, or that are shown turned, are read as upright ones, in every script."""

from __future__ import annotations

import zipfile
from pathlib import Path

import fpdf
import pypdfium2 as pdfium
import pytest

from memvid_core.ingest import read_document
from tests.core.ingest.readers.test_pdf import pdf, stream, text_of

GOLDEN = Path(__file__).parents[2] / "golden" / "scripts.zip"
# What turns a page of a width and a height by clockwise quarters, and where it then is.
TURNS = {
    1: lambda width, height: (0, -1, 1, 0, 0, width),
    2: lambda width, height: (-1, 0, 0, -1, width, height),
    3: lambda width, height: (0, 1, -1, 0, height, 0),
}


@pytest.fixture(scope="module", params=["scripts", "libreoffice"])
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A PDF by Chromium or LibreOffice with a page in each language, and the texts of its pages."""
    folder = tmp_path_factory.mktemp("pages")
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(folder)
    path = folder / f"{request.param}.pdf"
    return path, page_texts(path)


def page_texts(path: Path) -> list[str]:
    return [section.text for section in read_document(path).sections]


def saved(document: pdfium.PdfDocument, path: Path) -> Path:
    document.save(path)
    document.close()
    return path


@pytest.mark.parametrize("quarters", TURNS)
def test_a_page_whose_content_is_turned(tmp_path: Path, pages: tuple[Path, list[str]], quarters: int) -> None:
    path, texts = pages
    document = pdfium.PdfDocument(path)
    for page in document:
        width, height = page.get_size()
        matrix = pdfium.raw.FS_MATRIX(*TURNS[quarters](width, height))
        pdfium.raw.FPDFPage_TransFormWithClip(page, matrix, pdfium.raw.FS_RECTF(0, 2000, 2000, 0))
        page.set_mediabox(0, 0, *((width, height) if quarters == 2 else (height, width)))
        page.close()
    assert page_texts(saved(document, tmp_path / "a.pdf")) == texts


@pytest.mark.parametrize("quarters", TURNS)
def test_a_page_that_is_shown_turned(tmp_path: Path, pages: tuple[Path, list[str]], quarters: int) -> None:
    path, texts = pages
    document = pdfium.PdfDocument(path)
    for page in document:
        page.set_rotation(90 * quarters)
        page.close()
    assert page_texts(saved(document, tmp_path / "a.pdf")) == texts


@pytest.mark.parametrize("quarters", TURNS)
def test_a_page_with_text_in_two_directions(tmp_path: Path, pages: tuple[Path, list[str]], quarters: int) -> None:
    """Each page of the document stands beside the next one, which is turned, both of them as forms."""
    path, texts = pages
    document = pdfium.PdfDocument(path)
    both = pdfium.PdfDocument.new()
    number = len(document)
    for index in range(number):
        page = both.new_page(2000, 2000)
        matrices = (1, 0, 0, 1, 0, 0), TURNS[quarters](*document[index].get_size())
        for place, of_page in enumerate((index, (index + 1) % number)):
            form = document.page_as_xobject(of_page, both).as_pageobject()
            form.set_matrix(pdfium.PdfMatrix(*matrices[place]).translate(900 * place, 900 * place))
            page.insert_obj(form)
        page.gen_content()
        page.close()
    read = page_texts(saved(both, tmp_path / "a.pdf"))
    document.close()
    for index, text in enumerate(read):
        # The text with more letters is the first.
        one, other = texts[index], texts[(index + 1) % number]
        assert text in (f"{one}\n\n{other}", f"{other}\n\n{one}"), index


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_stamp_beside_the_text(tmp_path: Path, angle: int) -> None:
    made = fpdf.FPDF()
    made.set_font("helvetica", size=11)
    made.add_page()
    with made.rotation(angle, x=100, y=150):
        made.text(60, 150, "arXiv:2604.01234 [cs.IR]")
        made.text(60, 156, "3 Apr 2026")
    made.multi_cell(0, 6, "A wing turns the flow of air into lift.\nThe rudder turns the nose.")
    made.output(str(tmp_path / "a.pdf"))
    lines = text_of(tmp_path / "a.pdf").split("\n")
    assert [line.strip() for line in lines if line.strip()] == [
        "A wing turns the flow of air into lift.",
        "The rudder turns the nose.",
        "arXiv:2604.01234 [cs.IR]",
        "3 Apr 2026",
    ]


def page_of(content: bytes, path: Path, font: bytes = b"<</Type/Font/Subtype/Type1/BaseFont/Courier>>") -> Path:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
    return pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            page,
            stream(b"BT " + content + b" ET"),
            font,
        ],
        path,
    )


@pytest.mark.parametrize(
    "content",
    [
        b"/F -12 Tf -1 0 0 -1 50 300 Tm (A wing lifts.) Tj -1 0 0 -1 50 280 Tm (It turns.) Tj",
        b"/F 12 Tf 1 0.05 -0.05 1 50 300 Tm (A wing lifts.) Tj 1 0.05 -0.05 1 50 280 Tm (It turns.) Tj",
        b"/F 12 Tf 0 1 -1 0 50 300 Tm (A wing lifts.) Tj 0 1 -1 0 70 300 Tm (It turns.) Tj",
        b"/F 12 Tf "
        + b" ".join(
            b"0 1 -1 0 %d %d Tm (%c) Tj" % (50 + 20 * line, 50 + 8 * place, letter)
            for line, text in enumerate((b"A wing lifts.", b"It turns."))
            for place, letter in enumerate(text)
            if letter != 32
        ),
    ],
    ids=["negative size", "slanted", "off the page", "letter by letter"],
)
def test_ways_to_turn(tmp_path: Path, content: bytes) -> None:
    lines = text_of(page_of(content, tmp_path / "a.pdf")).split("\n")
    assert [line.strip() for line in lines if line.strip()] == ["A wing lifts.", "It turns."]


def table_of(path: Path, angle: int, *, heads: list[str], stamp: tuple[int, str] = (90, "")) -> str:
    """Write a table whose names are turned, and maybe a stamp over it, and return its text."""
    page = fpdf.FPDF()
    page.add_page()
    page.set_font("helvetica", size=11)
    page.text(20, 30, "Before the table.")
    for column, head in enumerate(heads):
        page.rect(20 + 40 * column, 40, 40, 60)
        for row in range(3):
            page.rect(20 + 40 * column, 100 + 10 * row, 40, 10)
            page.text(23 + 40 * column, 107 + 10 * row, f"{'abc'[row]}{column}")
        x, y = 40 + 40 * column, 70
        with page.rotation(angle if column else 0, x=x, y=y):
            for number, line in enumerate(head.split("\n")):
                page.text(x - 18, y + 6 * number, line)
    with page.rotation(stamp[0], x=60, y=110):
        page.set_font_size(30)
        page.text(40, 110, stamp[1])
        page.set_font_size(11)
    with page.rotation(90, x=190, y=250):
        page.text(170, 250, "In the margin")
    page.text(20, 160, "After the table.")
    page.output(str(path))
    return text_of(path)


ROWS = "a0 | a1 | a2\nb0 | b1 | b2\nc0 | c1 | c2"


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_turned_names_in_an_upright_table_are_in_their_cells(tmp_path: Path, angle: int) -> None:
    text = table_of(tmp_path / "a.pdf", angle, heads=["wing", "lift at\nlow speed", "drag"])
    assert text == (
        f"Before the table.\n\nwing | lift at low speed | drag\n{ROWS}\n\nAfter the table.\n\nIn the margin"
    )


@pytest.mark.parametrize("quarters", TURNS)
def test_turned_names_on_a_turned_page(tmp_path: Path, quarters: int) -> None:
    text = table_of(tmp_path / "a.pdf", 90, heads=["wing", "lift", "drag"])
    document = pdfium.PdfDocument(tmp_path / "a.pdf")
    document[0].set_rotation(90 * quarters)
    assert page_texts(saved(document, tmp_path / "b.pdf")) == [text]
    assert f"wing | lift | drag\n{ROWS}" in text


@pytest.mark.parametrize("stamp", [(90, "COPY OF A DRAFT"), (70, "DRAFT"), (45, "DRAFT")])
def test_a_stamp_over_a_table_is_in_no_cell(tmp_path: Path, stamp: tuple[int, str]) -> None:
    text = table_of(tmp_path / "a.pdf", 0, heads=["wing", "lift", "drag"], stamp=stamp)
    assert f"wing | lift | drag\n{ROWS}" in text
    assert stamp[1] in text
