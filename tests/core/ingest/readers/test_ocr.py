"""Scans and pictures are read by OCR where it is installed, and refused by its name where it is not."""

from __future__ import annotations

import io
import json
import os
import select
import sys
import zipfile
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from PIL import Image

from memvid_core.errors import IngestError, MissingExtraError
from memvid_core.ingest import discover, read_document, read_many
from memvid_core.ingest.discover import find
from memvid_core.ingest.readers.ocr import HOW_TO_GET, extra_memory, recognizer

GOLDEN = Path(__file__).parents[2] / "golden" / "scripts.zip"
LANGUAGES = ("English", "Korean")


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, tuple[Image.Image, list[str]]]:
    """Pictures of pages that Chromium printed, and the words of their paragraphs."""
    with zipfile.ZipFile(GOLDEN) as archive:
        texts = json.loads(archive.read("scripts.json"))
        document: Any = pypdfium2.PdfDocument(archive.read("scripts.pdf"))
    shown = {}
    for number, (language, ((_, paragraphs, _, _),)) in enumerate(texts):
        if language in LANGUAGES:
            picture = document[number].render(scale=200 / 72, grayscale=True).to_pil()
            paragraphs_only = picture.crop((0, 0, picture.width, picture.height // 4))
            shown[language] = (paragraphs_only, " ".join(paragraphs).split())
    document.close()
    return shown


def share(words: list[str], text: str) -> float:
    found = set(text.split())
    return sum(word in found for word in words) / len(words)


def test_a_scan_and_a_picture(tmp_path: Path, pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_OCR", "tesseract")
    for language, name, place in (("Korean", "scan.pdf", {"page": 1}), ("English", "photo.png", {})):
        picture, words = pages[language]
        picture.save(tmp_path / name, **({"resolution": 200} if name == "scan.pdf" else {}))
        (result,) = read_many([tmp_path / name])  # within the limits of another process
        text = "\n".join(chunk.text for chunk in result.chunks)
        assert share(words, text) > 0.8, text
        assert result.chunks[0].metadata.items() >= {"ocr": True, **place}.items()


def test_pages_on_which_it_finds_nothing_are_named(tmp_path: Path, pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_OCR", "tesseract")
    blank = Image.new("L", (400, 300), 255)
    pages["English"][0].save(tmp_path / "scan.pdf", resolution=200, save_all=True, append_images=[blank])
    document = read_document(tmp_path / "scan.pdf")
    assert [section.metadata["page"] for section in document.sections] == [1]
    assert document.warnings == ["pages without text (scans?): 2; OCR found none either"]


def test_without_ocr_its_name_is_told(tmp_path: Path, pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_OCR", "off")
    pages["English"][0].save(tmp_path / "scan.pdf")
    pages["English"][0].save(tmp_path / "photo.png")
    document = read_document(tmp_path / "scan.pdf")
    assert (document.sections, document.warnings) == ([], [f"pages without text (scans?): 1; {HOW_TO_GET}"])
    with pytest.raises(MissingExtraError, match=r"photo\.png: its text can only be read by OCR: install the program"):
        read_document(tmp_path / "photo.png")


def test_what_is_no_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_OCR", "tesseract")
    made = io.BytesIO()
    Image.new("L", (9, 9)).save(made, "png")
    for name, data in (("-l.png", b"no picture"), ("cut.png", made.getvalue()[:40])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(IngestError, match=rf"{name}: tesseract cannot read it"):
            read_document(tmp_path / name)


def test_pictures_in_folders_are_skipped(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "icon.png")
    skipped: list[Path] = []
    assert list(find([tmp_path], skipped=skipped)) == []
    assert skipped == [tmp_path / "icon.png"]
    assert list(discover([tmp_path / "icon.png"])) == [tmp_path / "icon.png"]


def test_an_ocr_that_is_not_installed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("MEMVID_OCR", raising=False)
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    assert recognizer() is None
    assert extra_memory() == 0


if sys.platform != "win32":  # whose processes have no groups

    def test_a_program_that_never_ends_is_ended_with_its_reader(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alive = tmp_path / "alive"
        os.mkfifo(alive)
        program = tmp_path / "bin" / "tesseract"
        program.parent.mkdir()
        # The pipe stays open for writing as long as the program runs.
        program.write_text(f'#!/bin/sh\n[ "$1" = --list-langs ] && exit\nexec 9>"{alive}"\necho >&9\nexec sleep 600\n')
        program.chmod(0o755)
        Image.new("L", (9, 9)).save(tmp_path / "photo.png")
        monkeypatch.setenv("MEMVID_OCR", "tesseract")
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        with open(os.open(alive, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
            (result,) = read_many([tmp_path / "photo.png"], timeout=5)
            assert "took more than 5 seconds" in str(result.error)
            assert pipe.read() == b"\n"
            assert select.select([pipe], [], [], 30)[0] == [pipe]
            assert pipe.read() == b""  # nobody writes any more
