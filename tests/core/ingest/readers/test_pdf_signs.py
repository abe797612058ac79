"""Letters of PDF pages as Chromium and reportlab write them: ligatures, marks, non-joiners, lines beside columns."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import fpdf
import pypdfium2
import pytest

from memvid_core.ingest import read_document
from memvid_core.ingest.readers.pdf_lines import Sign, columns
from tests.core.ingest.readers.test_pdf import pdf, stream, text_of

LAM_ALEF = "والسلام على العالم الإسلامي والأطفال لا"


def right_to_left(path: Path, clusters: list[str], *, meant: bool, forms: bool) -> Path:
    """Write a line of Arabic from left to right, a glyph for each cluster.

    Args:
        path: The file.
        clusters: The letters of each glyph, in logical order.
        meant: Whether each has ActualText.
        forms: Whether glyphs mean presentation forms, as those of reportlab do, or several letters.
    """
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters), 1)}
    means = {}
    for cluster in numbers:
        form = unicodedata.normalize("NFKC", "\ufefb") == cluster
        means[cluster] = "\ufefb" if forms and form else cluster
    shown = b""
    place = 20.0
    for cluster in reversed(clusters):
        glyph = b"1 0 0 1 %.1f 100 Tm <%02x> Tj\n" % (place, numbers[cluster])
        text = cluster.encode("utf-16-be").hex().encode()
        if meant and len(cluster) > 1:  # its mark is a glyph that stands on it
            glyph = b"1 0 0 1 %.1f 102 Tm <%02x> Tj\n" % (place + 1, numbers[cluster]) + glyph
        shown += b"/Span<</ActualText<feff%s>>> BDC\n%sEMC\n" % (text, glyph) if meant and cluster != " " else glyph
        place += 0 if cluster == "\u200c" else 7.2
    pairs = b"".join(b"<%02x><%s>\n" % (numbers[c], means[c].encode("utf-16-be").hex().encode()) for c in numbers)
    unicode = (
        b"/CIDInit/ProcSet findresource begin 12 dict begin begincmap/CMapName/A def/CMapType 2 def\n"
        b"1 begincodespacerange<00><ff>endcodespacerange\n%d beginbfchar\n%sendbfchar\nendcmap end end"
    ) % (len(numbers), pairs)
    names = b"".join(b"/g%d " % number for number in numbers.values())
    last = len(numbers)
    widths = b"".join(b"0 " if cluster == "\u200c" else b"600 " for cluster in numbers)
    drawn = b"".join(b"%s 7 0 R" % name for name in names.split())
    return pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
            stream(b"BT /F 12 Tf\n" + shown + b"ET"),
            b"<</Type/Font/Subtype/Type3/FontBBox[0 0 600 700]/FontMatrix[0.001 0 0 0.001 0 0]/FirstChar 1/LastChar %d"
            b"/Widths[%s]/Encoding<</Type/Encoding/Differences[1 %s]>>/CharProcs<<%s>>/ToUnicode 6 0 R>>"
            % (last, widths, names, drawn),
            stream(unicode),
            stream(b"600 0 0 0 560 700 d1 0 0 560 700 re f"),
        ],
        path,
    )


def clusters_of(text: str) -> list[str]:
    found: list[str] = []
    for char in text:
        if found and (unicodedata.category(char) == "Mn" or (found[-1] == "ل" and char in "اأإآ")):
            found[-1] += char
        else:
            found.append(char)
    return found


@pytest.mark.parametrize("meant", [False, True])
@pytest.mark.parametrize("forms", [False, True])
@pytest.mark.parametrize("text", [LAM_ALEF, "الْحَمْدُ لِلَّهِ رَبِّ الْعَالَمِينَ"])
def test_ligatures_and_marks_of_arabic_are_in_order(tmp_path: Path, text: str, forms: bool, meant: bool) -> None:
    text = unicodedata.normalize("NFC", text)
    read = text_of(right_to_left(tmp_path / "a.pdf", clusters_of(text), meant=meant, forms=forms))
    assert unicodedata.normalize("NFC", read) == text


def test_what_divides_the_parts_of_persian_words_stays(tmp_path: Path) -> None:
    text = "کتاب\u200cهای فارسی را می\u200cخواهم"
    assert text_of(right_to_left(tmp_path / "a.pdf", list(text), meant=True, forms=False)) == text


def test_lines_between_columns_are_read_from_left_to_right() -> None:
    signs = [Sign(char, 100, 110, 100, 200 - 10 * n, 10) for n, char in enumerate("翼は揚力を生む")]
    signs += [Sign(char, 80, 90, 80, 200 - 10 * n, 10) for n, char in enumerate("鳥も")]
    place = 20.0
    for word in ("Page", "12"):
        for char in word:
            signs.append(Sign(char, place, place + 5, place, 20, 8))
            place += 5
        place += 4
    signs += [Sign("一", 60, 70, 60, 200, 10), Sign("二", 40, 50, 40, 200, 10)]
    assert columns(signs) == "翼は揚力を生む\n鳥も\nPage 12\n一\n二"


def test_files_that_are_attached_are_read(tmp_path: Path) -> None:
    inner = fpdf.FPDF()
    inner.add_page()
    inner.set_font("Helvetica")
    inner.cell(text="Of flaps.")
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("Helvetica")
    document.cell(text="See below.")
    for name, content in (("Flügel.txt", b"Of wings."), ("b.pdf", bytes(inner.output())), ("c.bin", b"\0\1\2")):
        document.embed_file(basename=name, bytes=content)
    document.output(str(tmp_path / "a.pdf"))
    read = read_document(tmp_path / "a.pdf")
    found = {section.metadata.get("attachment"): section.text for section in read.sections}
    assert found == {None: "See below.", "Flügel.txt": "Of wings.", "b.pdf": "Of flaps."}
    assert read.warnings == ["c.bin was left out: a binary file, not a text: byte 0 is NUL"]
    assert len(pypdfium2.PdfDocument(io.BytesIO((tmp_path / "a.pdf").read_bytes()))) == 1


def test_the_attachments_of_a_scan_are_read(tmp_path: Path) -> None:
    for name, content in (("a.txt", b"Of wings."), ("c.bin", b"\0\1\2")):
        document = fpdf.FPDF()
        document.add_page()
        document.rect(10, 10, 50, 50)
        document.embed_file(basename=name, bytes=content)
        document.output(str(tmp_path / f"{name}.pdf"))
    read = read_document(tmp_path / "a.txt.pdf")
    assert [(section.text, section.metadata["attachment"]) for section in read.sections] == [("Of wings.", "a.txt")]
    assert len(read.warnings) == 1
    assert read.warnings[0].startswith("pages without text (scans?): 1; ")
    assert len(read_document(tmp_path / "c.bin.pdf").warnings) == 2
