"""Real documents of every kind, written by real writers into a folder of a test."""

from __future__ import annotations

import csv
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docx
import fpdf
import mkepub
import openpyxl
import pptx

_WORDS = """
memory frame commit journal record vector index archive harbour lantern meadow orchard violin copper granite winter
signal bridge market letter garden engine canvas falcon silver thunder willow
"""
WORDS = tuple(_WORDS.split())


@dataclass(frozen=True)
class Mixed:
    """A written file, a word that is in no other, and whether it was damaged on purpose."""

    path: Path
    word: str
    damaged: bool = False


def paragraph(rng: random.Random, sentences: int = 4) -> str:
    """Return prose of made-up sentences."""
    return " ".join(
        " ".join(rng.choices(WORDS, k=rng.randint(5, 12))).capitalize() + rng.choice("..?!") for _ in range(sentences)
    )


def write_pdf(path: Path, pages: list[str], *, password: str | None = None, bookmarks: list[str] | None = None) -> Path:
    pdf = fpdf.FPDF()
    pdf.set_font("helvetica", size=11)
    for number, text in enumerate(pages):
        pdf.add_page()
        if bookmarks:
            pdf.start_section(bookmarks[number])
        pdf.multi_cell(0, text=text)
    if password:
        pdf.set_encryption(owner_password=f"{password}-owner", user_password=password)
    pdf.output(str(path))
    return path


def write_docx(path: Path, title: str, paragraphs: list[str]) -> Path:
    document = docx.Document()
    document.add_heading(title, level=1)
    for text in paragraphs:
        document.add_paragraph(text)
    table = document.add_table(rows=2, cols=2)
    for place, value in enumerate(("city", "country", "Oslo", "Norway")):
        table.cell(place // 2, place % 2).text = value
    document.save(str(path))
    return path


def write_pptx(path: Path, slides: list[tuple[str, str]]) -> Path:
    deck = pptx.Presentation()
    for title, text in slides:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    deck.save(str(path))
    return path


def write_xlsx(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def write_html(path: Path, title: str, paragraphs: list[str]) -> Path:
    body = "".join(f"<p>{text}</p>" for text in paragraphs)
    path.write_text(
        f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title><style>p{{}}</style></head>"
        f"<body><nav>menu</nav><h1>{title}</h1>{body}<script>var x = 1</script></body></html>",
        encoding="utf-8",
    )
    return path


def write_epub(path: Path, title: str, chapters: list[tuple[str, str]]) -> Path:
    book = mkepub.Book(title=title)
    with book.tempdir:  # it leaves this to the garbage collector
        for name, text in chapters:
            book.add_page(name, f"<h1>{name}</h1><p>{text}</p>")
        book.save(str(path))
    return path


def write_csv(path: Path, rows: Sequence[Sequence[object]], *, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_mixed(folder: Path, count: int = 200, *, damaged: int = 0, seed: int = 7) -> list[Mixed]:
    """Write ``count`` PDF, DOCX, PPTX, XLSX, HTML, EPUB and CSV files, and damage that many of them.

    Args:
        folder: Where to; subfolders are made.
        count: How many, the kinds in turn.
        damaged: How many of them are cut in half after writing (never HTML and CSV, which have no ends to miss).
        seed: The same seed writes the same texts.
    """
    rng = random.Random(seed)
    kinds: list[tuple[str, Callable[[Path, str], Path]]] = [
        ("pdf", lambda path, word: write_pdf(path, [f"{paragraph(rng)} {word}.", paragraph(rng)])),
        ("docx", lambda path, word: write_docx(path, "Report", [paragraph(rng), f"{paragraph(rng)} {word}."])),
        ("html", lambda path, word: write_html(path, "Page", [paragraph(rng), word])),
        ("xlsx", lambda path, word: write_xlsx(path, {"Stock": [["item", "count"], [word, 3], ["bolts", 12]]})),
        ("csv", lambda path, word: write_csv(path, [["name", "note"], ["Ada", paragraph(rng, 1)], ["Grace", word]])),
        ("epub", lambda path, word: write_epub(path, "Book", [("One", paragraph(rng)), ("Two", word)])),
        ("pptx", lambda path, word: write_pptx(path, [("Start", paragraph(rng, 1)), ("End", word)])),
    ]
    fragile = [number for number in range(count) if kinds[number % len(kinds)][0] not in ("html", "csv")]
    broken = set(rng.sample(fragile, damaged))
    written = []
    for number in range(count):
        suffix, write = kinds[number % len(kinds)]
        place = folder / f"part{number % 5}"
        place.mkdir(parents=True, exist_ok=True)
        word = f"marker{number}x{seed}"
        path = write(place / f"file{number:03}.{suffix}", word)
        if number in broken:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        written.append(Mixed(path, word, number in broken))
    return written


def write_zip_bomb(path: Path, *, like: Path, member: str, megabytes: int) -> Path:
    """Copy the archive ``like`` and blow one member up with zeros."""
    with zipfile.ZipFile(like) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            if entry.filename != member:
                target.writestr(entry, source.read(entry))
        with target.open(member, "w", force_zip64=True) as opened:
            for _ in range(megabytes):
                opened.write(b"0" * (1 << 20))
    return path
