"""Documents in twelve scripts and 29 formats: every word, once, in order, and the rows of tables."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchmarks.documents.corpus import FORMATS, OTHERS, Made, make, write
from benchmarks.documents.languages import SENTENCES
from benchmarks.documents.measures import Measured, common, golden_texts, measure
from memvid_core.ingest import Chunker, read_document
from memvid_core.ingest.readers.pdf_bidi import in_logical_order

GOLDEN = Path(__file__).parents[2] / "golden" / "scripts.zip"


def read(path: Path) -> str:
    return "\n".join(chunk.text for chunk in Chunker(1_000_000, overlap=0).split_document(read_document(path)))


@pytest.mark.parametrize("format_name", [*FORMATS, *OTHERS])
def test_every_word_is_kept_once_and_in_order(tmp_path: Path, format_name: str) -> None:
    for number, language in enumerate(SENTENCES):
        made = write(tmp_path, make(language, 1, parts=2, rows=4), format_name, str(number))
        assert measure(made, read(made.path)) == Measured(1, 0, 1, 1), language


@pytest.mark.parametrize("name", ["scripts", "libreoffice"])
def test_pages_of_chromium_and_libreoffice(tmp_path: Path, name: str) -> None:
    """A page in each language, by ``python -m benchmarks.documents --golden``, and by LibreOffice 7.4 from a DOCX."""
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(tmp_path)
    texts = golden_texts((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    sections = read_document(tmp_path / f"{name}.pdf").sections
    assert name == "libreoffice" or [text.language for text in texts] == list(SENTENCES)
    assert [section.metadata["page"] for section in sections] == list(range(1, len(texts) + 1))
    for text, section in zip(texts, sections, strict=True):
        kept, twice, order, rows = measure(Made(tmp_path, "pdf", text), section.text)
        assert min(kept, order) >= 0.98, (text.language, kept, order)
        assert twice <= 0.02
        assert rows == 1, text.language
        (table,) = section.tables
        assert section.text[table[0] : table[1]] == " | ".join(text.parts[0].rows[0])


@pytest.mark.parametrize(
    ("seen", "meant", "right"),
    [
        ("םלוע םולש", "שלום עולם", None),
        ("42 םולש", "שלום 42", None),
        ("3.5% םולש", "שלום 3.5%", None),
        (".New York םולש", "שלום New York.", True),
        ("2024-05-01 םולש", "שלום 2024-05-01", None),
        ("see םולש (now)", "see שלום (now)", None),
        ("(םולש) ב A4", "A4 ב (שלום)", None),
        (")םולש( ב", "ב (שלום)", None),
        ("no letters of that kind 12", "no letters of that kind 12", None),
    ],
)
def test_lines_in_both_directions(seen: str, meant: str, right: bool | None) -> None:
    assert "".join(in_logical_order(list(seen), right=right)) == meant


def test_the_longest_common_subsequence() -> None:
    assert common(list("abcbdab"), list("bdcaba")) == 4
    assert common(list("abc"), list("xyz")) == 0
    assert common(list("aaaa"), list("aa")) == 2
