"""A document, slide, sheet or chapter of pictures alone: read by OCR, or named with what to install, in each format."""

from __future__ import annotations

import base64
import io
import textwrap
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import docx
import fpdf
import mkepub
import openpyxl
import pptx
import pytest
from openpyxl.drawing.image import Image as SheetPicture
from PIL import Image, ImageDraw, ImageFont

from memvid_core.ingest import read_document
from memvid_core.ingest.readers.ocr import HOW_TO_GET
from tests.core.ingest.ole_files import outlook, packed, paragraph, write_hwp

WORDS = "Wings make lift"
ODF = "application/vnd.oasis.opendocument."
NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "drawing")
)
HANGUL = "http://www.hancom.co.kr/hwpml/2011/"


@pytest.fixture(scope="module")
def picture() -> bytes:
    shown = Image.new("L", (900, 200), 255)
    ImageDraw.Draw(shown).text((40, 60), WORDS, font=ImageFont.load_default(60), fill=0)
    made = io.BytesIO()
    shown.save(made, "png")
    return made.getvalue()


def _docx(path: Path, picture: Path) -> None:
    document = docx.Document()
    document.add_picture(str(picture))
    document.save(str(path))


def _pptx(path: Path, picture: Path) -> None:
    deck = pptx.Presentation()
    for _ in range(2):  # the file's name becomes the description of the picture
        deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_picture(str(picture), 0, 0)
    deck.save(str(path))


def _xlsx(path: Path, picture: Path) -> None:
    book = openpyxl.Workbook()
    book.active.add_image(SheetPicture(str(picture)))
    book.save(path)


def _epub(path: Path, picture: Path) -> None:
    book = mkepub.Book(title="Book")
    with book.tempdir:
        book.add_image("p.png", picture.read_bytes())
        book.add_page("", "<img src='images/p.png' alt='p.png'/>")
        book.save(str(path))


def _pdf(path: Path, picture: Path) -> None:
    made = fpdf.FPDF()
    for _ in range(2):
        made.add_page()
        made.image(str(picture), w=150)
    made.output(str(path))


def _rtf(path: Path, picture: Path) -> None:
    older = r"{\nonshppict{\pict\wmetafile8 00ff}}"
    digits = picture.read_bytes().hex()
    path.write_text(rf"{{\rtf1 {{\*\shppict{{\pict{{\*\blipuid 00}}\pngblip\picw10 {digits}}}}}{older}\par}}")


def _eml(path: Path, picture: Path) -> None:
    message = EmailMessage()
    message["From"] = "ada@example.org"
    message.set_content("")
    message.add_attachment(picture.read_bytes(), "image", "png", filename="p.png")
    path.write_bytes(bytes(message))


def _msg(path: Path, picture: Path) -> None:
    message = EmailMessage()
    message["From"] = "ada@example.org"
    message.set_content("")
    message.add_attachment(picture.read_bytes(), "image", "png", filename="p.png")
    outlook(message, path)


def _msg_of_html(path: Path, picture: Path) -> None:
    message = EmailMessage()
    message["From"] = "ada@example.org"
    shown = base64.b64encode(picture.read_bytes()).decode()
    message.set_content(f'<html><body><img src="data:image/png;base64,{shown}"></body></html>', subtype="html")
    outlook(message, path)


def _hwp(path: Path, picture: Path) -> None:
    write_hwp(path, paragraph(""), more={"BinData/BIN0001.png": packed(picture.read_bytes())})


def _hwp_stored(path: Path, picture: Path) -> None:
    write_hwp(path, paragraph(""), more={"BinData/BIN0001.png": picture.read_bytes()})


def _flat(kind: str, before: str, after: str) -> Callable[[Path, Path], None]:
    def write(path: Path, picture: Path) -> None:
        data = textwrap.fill(base64.b64encode(picture.read_bytes()).decode(), 72)
        inner = f"<drawing:image><office:binary-data>{data}</office:binary-data></drawing:image>"
        frame = f"<drawing:frame>{inner}</drawing:frame>"
        path.write_text(
            f'<?xml version="1.0"?><office:document {NAMES} office:mimetype="{ODF}{kind}"><office:body>'
            f"{before}{frame}{after}</office:body></office:document>"
        )

    return write


def _opendocument(kind: str, before: str, after: str) -> Callable[[Path, Path], None]:
    def write(path: Path, picture: Path) -> None:
        frame = '<drawing:frame><drawing:image xlink:href="Pictures/p.png"/></drawing:frame>'
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mimetype", ODF + kind)
            archive.write(picture, "Pictures/p.png")
            archive.writestr(
                "content.xml",
                f'<office:document-content {NAMES} xmlns:xlink="http://www.w3.org/1999/xlink"><office:body>'
                f"{before}{frame}{after}</office:body></office:document-content>",
            )

    return write


def _hwpx(path: Path, picture: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.write(picture, "BinData/image1.png")
        item = '<o:item id="image1" href="BinData/image1.png"/>'
        archive.writestr(
            "Contents/content.hpf", f'<o:package xmlns:o="http://www.idpf.org/2007/opf/">{item}</o:package>'
        )
        names = f'xmlns:hp="{HANGUL}paragraph" xmlns:hs="{HANGUL}section" xmlns:hc="{HANGUL}core"'
        shown = '<hp:p><hp:run><hp:pic><hc:img binaryItemIDRef="image1"/></hp:pic></hp:run></hp:p>'
        archive.writestr("Contents/section0.xml", f"<hs:sec {names}>{shown}</hs:sec>")


TEXT = ("<office:text><text:p>", "</text:p></office:text>")
SLIDE = ("<office:presentation><drawing:page>", "</drawing:page></office:presentation>")
SHEET = (
    '<office:spreadsheet><table:table table:name="S"><table:shapes>',
    "</table:shapes></table:table></office:spreadsheet>",
)
ALONE = "no text, but 1 picture (scans?): "
SEVERAL = "without text, but with pictures (scans?): "
FORMATS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "docx": (_docx, ALONE),
    "pptx": (_pptx, f"slides {SEVERAL}1-2; "),
    "xlsx": (_xlsx, f"sheets {SEVERAL}'Sheet'; "),
    "epub": (_epub, f"chapters {SEVERAL}'EPUB/page0001.xhtml'; "),
    "rtf": (_rtf, ALONE),
    "eml": (_eml, ALONE),
    "odt": (_opendocument("text", *TEXT), ALONE),
    "odp": (_opendocument("presentation", *SLIDE), f"slides {SEVERAL}1; "),
    "ods": (_opendocument("spreadsheet", *SHEET), f"sheets {SEVERAL}'S'; "),
    "hwpx": (_hwpx, ALONE),
    "pdf": (_pdf, "pages without text (scans?): 1-2; "),
    "msg": (_msg, ALONE),
    "html.msg": (_msg_of_html, ALONE),
    "hwp": (_hwp, ALONE),
    "stored.hwp": (_hwp_stored, ALONE),
    "fodt": (_flat("text", *TEXT), ALONE),
    "fodp": (_flat("presentation", *SLIDE), f"slides {SEVERAL}1; "),
    "fods": (_flat("spreadsheet", *SHEET), f"sheets {SEVERAL}'S'; "),
}
MAIL = ("eml", "msg", "html.msg")
TWICE = ("pptx", "pdf")


@pytest.mark.parametrize("suffix", FORMATS)
def test_it_is_read_by_ocr_or_named(
    tmp_path: Path, picture: bytes, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.png").write_bytes(picture)
    write, warning = FORMATS[suffix]
    write(tmp_path / f"a.{suffix}", tmp_path / "p.png")
    monkeypatch.setenv("MEMVID_OCR", "off")
    document = read_document(tmp_path / f"a.{suffix}")
    assert document.warnings == [warning + HOW_TO_GET]
    assert [section.text.strip() for section in document.sections] == ["From: ada@example.org"] * (suffix in MAIL)
    monkeypatch.setenv("MEMVID_OCR", "tesseract")
    document = read_document(tmp_path / f"a.{suffix}")
    read = [section.text for section in document.sections if section.metadata.get("ocr")]
    assert (read, document.warnings) == ([WORDS] * (2 if suffix in TWICE else 1), [])


def test_pictures_beside_a_page_are_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.html").write_text("<img src=p.png alt=p.png>")
    monkeypatch.setenv("MEMVID_OCR", "tesseract")
    assert read_document(tmp_path / "a.html").warnings == [
        f"{ALONE}they are in files of their own: give the paths of these"
    ]
