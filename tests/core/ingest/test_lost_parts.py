"""Office files that lost a part are refused by name or say what is missing; they are never empty, and no archives."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest

from memvid_core.errors import IngestError
from memvid_core.ingest import read_document

MAIN = {"a.docx": "word/document.xml", "a.xlsx": "xl/workbook.xml", "a.pptx": "ppt/presentation.xml"}


def written(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith("docx"):
        document = docx.Document()
        document.add_paragraph("A wing lifts.")
        document.save(str(path))
    elif name.endswith("xlsx"):
        book = openpyxl.Workbook()
        book.active.append(["wing", "lift"])
        book.active.append(["left", 2])
        book.create_sheet("Second").append(["rudder", "nose"])
        book.save(path)
    else:
        slides = pptx.Presentation()
        for title in ("A wing", "A rudder"):
            slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = title
        slides.save(str(path))
    return path


def rewritten(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    with zipfile.ZipFile(path) as archive:
        parts = [change(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for part in parts:
            if part is not None:
                archive.writestr(*part)
    return path


@pytest.mark.parametrize("name", MAIN)
def test_a_main_part_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    path = rewritten(written(tmp_path, name), lambda part, data: None if part == MAIN[name] else (part, data))
    with pytest.raises(IngestError, match=f"{name}: damaged: its part '{MAIN[name]}' is missing"):
        read_document(path)


@pytest.mark.parametrize("name", MAIN)
def test_a_main_part_of_another_kind_is_no_empty_document(tmp_path: Path, name: str) -> None:
    path = rewritten(written(tmp_path, name), lambda part, data: (part, b"<a/>" if part == MAIN[name] else data))
    with pytest.raises(IngestError, match=f"{name}: damaged: its main part is not a "):
        read_document(path)


def test_a_main_part_may_have_any_name(tmp_path: Path) -> None:
    def renamed(part: str, data: bytes) -> tuple[str, bytes]:
        return part.replace("document.xml", "document3.xml"), data.replace(b"document.xml", b"document3.xml")

    document = read_document(rewritten(written(tmp_path, "a.docx"), renamed))
    assert (document.format, [section.text for section in document.sections]) == ("docx", ["A wing lifts."])


@pytest.mark.parametrize(
    ("name", "part", "left", "warning"),
    [
        ("a.xlsx", "xl/worksheets/sheet2.xml", "wing: left", "sheet 'Second' was left out"),
        ("a.pptx", "ppt/slides/slide2.xml", "A wing", "slide 2 was left out"),
    ],
)
def test_a_sheet_or_a_slide_that_is_missing_is_said(
    tmp_path: Path, name: str, part: str, left: str, warning: str
) -> None:
    path = rewritten(written(tmp_path, name), lambda own, data: None if part == own else (own, data))
    document = read_document(path)
    assert left in "\n".join(section.text for section in document.sections)
    assert document.warnings == [f"{warning}: damaged: its part {part!r} is missing"]


def test_a_section_of_hangul_that_is_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.hwpx", "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/section0.xml", "<a/>")
    with pytest.raises(IngestError, match=r"a\.hwpx: Contents/section0\.xml: damaged: it is not a section"):
        read_document(tmp_path / "a.hwpx")
