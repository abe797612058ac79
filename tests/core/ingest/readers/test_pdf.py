"""PDF files are read as a reader sees them: order, tables, form values, bookmarks, running lines."""

# ruff: noqa: E501  # PDF objects in one line each

from __future__ import annotations

import pytest

from memvid_core.errors import IngestError
from memvid_core.ingest import Chunker, load_chunks, read_document
from tests.core.ingest import mixed


def text_of(path):
    return "\n\n".join(section.text for section in read_document(path).sections)


def pdf(objects, path):
    """Write a PDF of the given objects, numbered from 1; the first is the catalog."""
    data, places = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n" % number + item + b"\nendobj\n"
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(
        b"%010d 00000 n \n" % p for p in places
    )
    data += table + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(data))
    path.write_bytes(data)
    return path


def stream(content, extra=b""):
    return b"<<%s/Length %d>>stream\n" % (extra, len(content)) + content + b"\nendstream"


class TestPdf:
    def test_pages_without_text_are_named(self, tmp_path):
        path = mixed.write_pdf(tmp_path / "a.pdf", ["Words of one page.", "", "", ""])
        document = read_document(path)
        assert [section.metadata["page"] for section in document.sections] == [1]
        assert document.warnings == [
            "pages without text (scans?): 2-4; install the program tesseract, or pip install 'memvid-core[ocr]'"
        ]

    def test_a_file_that_is_cut_behind_an_early_end_mark_is_refused(self, tmp_path):
        whole = mixed.write_pdf(tmp_path / "a.pdf", [f"Page {n}." for n in range(9)]).read_bytes()
        cut = b"%PDF-1.7\n%%EOF\n" + whole[9 : len(whole) // 2]
        (tmp_path / "b.pdf").write_bytes(cut)
        with pytest.raises(IngestError, match="truncated"):
            read_document(tmp_path / "b.pdf")

    def test_bytes_around_the_file_do_no_harm(self, tmp_path):
        path = mixed.write_pdf(tmp_path / "a.pdf", ["Words."])
        path.write_bytes(b"HTTP/1.1 200 OK\r\n\r\n" + path.read_bytes() + b"\n" * 3000)
        assert text_of(path).strip() == "Words."

    @pytest.mark.parametrize("letters", ["سلام", "لا إله", "أولاد"])
    def test_lam_alef_is_in_order(self, tmp_path, letters):
        """A ligature is one sign for two letters, as fonts of Arabic have it."""
        signs = letters.replace("لا", "\0")
        table = {sign: at for at, sign in enumerate(dict.fromkeys(signs), 1)}
        glyphs = "".join(f"{table[sign]:02x}" for sign in reversed(signs))
        entries = "".join(
            f"<{at:02x}> <{(('لا' if sign == chr(0) else sign).encode('utf-16-be')).hex()}>\n"
            for sign, at in table.items()
        )
        cmap = (
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /x def 1 begincodespacerange <00> <ff> "
            f"endcodespacerange {len(table)} beginbfchar\n{entries}endbfchar endcmap end end"
        )
        widths = " ".join(["600"] * 20)
        path = pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
                stream(f"BT /F 20 Tf 50 100 Td <{glyphs}> Tj ET".encode()),
                f"<</Type/Font/Subtype/TrueType/BaseFont/X/FirstChar 1/LastChar 20/Widths[{widths}]/ToUnicode 6 0 R>>".encode(),
                stream(cmap.encode()),
            ],
            tmp_path / "a.pdf",
        )
        assert text_of(path).strip() == letters

    def test_form_values_and_comments(self, tmp_path):
        path = pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]>>>>",
                b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>/Annots[6 0 R 7 0 R]>>",
                stream(b"BT /F 20 Tf 50 100 Td (Form) Tj ET"),
                b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
                b"<</Type/Annot/Subtype/Widget/FT/Tx/T(Name)/V(Ada Lovelace)/Rect[0 0 99 20]/P 3 0 R>>",
                b"<</Type/Annot/Subtype/Text/Contents(Is it so?)/Rect[0 0 9 9]>>",
            ],
            tmp_path / "a.pdf",
        )
        assert text_of(path).split("\n\n") == ["Form", "Name: Ada Lovelace", "Comment: Is it so?"]

    def test_several_bookmarks_on_one_page(self, tmp_path):
        import fpdf

        made = fpdf.FPDF()
        made.set_font("helvetica", size=11)
        made.add_page()
        made.multi_cell(0, text="Preface.", new_x="LMARGIN", new_y="NEXT")
        for title in ("First part", "Second part"):
            made.start_section(title)
            for text in (title, f"Words of the {title.lower()}."):
                made.multi_cell(0, text=text, new_x="LMARGIN", new_y="NEXT")
        made.output(str(tmp_path / "a.pdf"))
        sections = read_document(tmp_path / "a.pdf").sections
        assert [(section.metadata.get("heading"), section.text.split()[-2:]) for section in sections] == [
            (None, ["Preface."]),
            ("First part", ["first", "part."]),
            ("Second part", ["second", "part."]),
        ]

    def test_running_headers_are_kept_once_and_chapters_always(self, tmp_path):
        lines = [
            "The journal of wings {n}",
            "Chapter {n}",
            "Text {n} of a page.",
            "More {n} text.",
            "Last {n} line.",
            "{n}",
        ]
        pages = ["\n".join(lines).format(n=n) for n in range(1, 7)]
        text = text_of(mixed.write_pdf(tmp_path / "a.pdf", pages))
        assert text.count("journal of wings") == 1
        assert all(f"Chapter {n}" in text and f"Text {n}" in text for n in range(1, 7))

    def test_vertical_columns_are_read_from_right_to_left(self, tmp_path):
        columns = [
            "機械の最初の記憶はドラムでした。",
            "それは一晩中回り、何も忘れません。",
            "フィルムは言葉を百年間保ちました。",
        ]
        shown = " ".join(
            f"1 0 0 1 {280 - 20 * n} 280 Tm <{text.encode('utf-16-be').hex()}> Tj" for n, text in enumerate(columns)
        )
        made = self.vertical(tmp_path / "a.pdf", shown, "HeiseiMin-W3", "UniJIS-UTF16-V", "Japan1")
        assert text_of(made) == "".join(columns)

    @staticmethod
    def vertical(path, shown, font="HYSMyeongJo-Medium", encoding="UniKS-UTF16-V", ordering="Korea1"):
        return pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
                stream(f"BT /F 12 Tf {shown} ET".encode()),
                f"<</Type/Font/Subtype/Type0/BaseFont/{font}/Encoding/{encoding}/DescendantFonts[6 0 R]>>".encode(),
                (
                    f"<</Type/Font/Subtype/CIDFontType0/BaseFont/{font}/FontDescriptor 7 0 R/DW 1000"
                    f"/CIDSystemInfo<</Registry(Adobe)/Ordering({ordering})/Supplement 1>>>>"
                ).encode(),
                (
                    f"<</Type/FontDescriptor/FontName/{font}/Flags 4/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 800"
                    "/Descent -200/CapHeight 800/StemV 80>>"
                ).encode(),
            ],
            path,
        )

    KOREAN = (
        "날개는 공기의 흐름으로 양력을 만든다.",
        "조종사는 기체의 자세를 바꾼다. 2026년에",
        "만들었다, 그리고 3.5미터를 다시 날았다!",
    )

    @staticmethod
    def placed(text, x, pitch, space, turned=False):
        """Return the operators that show each sign at its place; turned digits take half of it."""
        y, shown = 380.0, []
        for sign in text:
            sideways = turned and sign in "0123456789."
            if sign == " ":
                y -= space
                continue
            matrix = f"0 -1 1 0 {x + 2} {y:.2f}" if sideways else f"1 0 0 1 {x} {y - (10 if turned else 0):.2f}"
            shown.append(f"{matrix} Tm <{sign.encode('utf-16-be').hex()}> Tj")
            y -= pitch
        return " ".join(shown)

    @pytest.mark.parametrize(
        "show",
        [
            lambda text, x: f"1 0 0 1 {x} 380 Tm <{text.encode('utf-16-be').hex()}> Tj",
            lambda text, x: (
                f"1 0 0 1 {x} 380 Tm ["
                + " 400 ".join(f"<{word.encode('utf-16-be').hex()}>" for word in text.split())
                + "] TJ"
            ),
            lambda text, x: TestPdf.placed(text, x, 12, 6),
            lambda text, x: TestPdf.placed(text, x, 12, 3.5),
            lambda text, x: TestPdf.placed(text, x, 16, 6),
            lambda text, x: TestPdf.placed(text, x, 9.5, 4),
        ],
        ids=["spaces", "moves", "places", "narrow", "set apart", "set close"],
    )
    def test_words_of_vertical_korean_are_separated(self, tmp_path, show):
        shown = " ".join(show(text, 280 - 20 * number) for number, text in enumerate(self.KOREAN))
        assert text_of(self.vertical(tmp_path / "a.pdf", shown)) == "\n".join(self.KOREAN)

    def test_turned_digits_in_vertical_korean(self, tmp_path):
        shown = " ".join(self.placed(text, 280 - 20 * n, 12, 6, turned=True) for n, text in enumerate(self.KOREAN))
        made = self.vertical(tmp_path / "a.pdf", shown, encoding="UniKS-UTF16-H")
        assert text_of(made) == "\n".join(self.KOREAN)

    def test_gaps_in_vertical_japanese_are_no_spaces(self, tmp_path):
        columns = ["機械の最初の記憶は ドラムでした。", "それは 一晩中回り、何も忘れません。"]
        shown = " ".join(self.placed(text, 280 - 20 * n, 12, 6) for n, text in enumerate(columns))
        made = self.vertical(tmp_path / "a.pdf", shown, "HeiseiMin-W3", "UniJIS-UTF16-V", "Japan1")
        assert "".join(text_of(made).split("\n")) == "".join(columns).replace(" ", "")

    def test_text_that_is_turned(self, tmp_path):
        import fpdf

        made = fpdf.FPDF()
        made.set_font("helvetica", size=11)
        made.add_page()
        with made.rotation(90, x=100, y=150):
            made.text(60, 150, "A line of turned words.")
        made.output(str(tmp_path / "a.pdf"))
        assert text_of(tmp_path / "a.pdf").strip() == "A line of turned words."

    def test_a_page_that_is_damaged_is_named(self, tmp_path):
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
        made = pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[3 0 R 9 0 R 6 0 R]/Count 3>>",
                page,
                stream(b"BT /F 20 Tf 50 100 Td (Words) Tj ET"),
                b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
                page,
            ],
            tmp_path / "a.pdf",
        )
        document = read_document(made)
        assert [(section.text, section.metadata["page"]) for section in document.sections] == [
            ("Words", 1),
            ("Words", 3),
        ]
        assert document.warnings == ["damaged pages were left out: 2"]

    def test_rows_of_a_table_whose_cells_are_broken_into_lines(self, tmp_path):
        import fpdf

        made = fpdf.FPDF()
        made.set_font("helvetica", size=11)
        made.add_page()
        made.multi_cell(0, text="Before.", new_x="LMARGIN", new_y="NEXT")
        rows = [("name", "what it does", "price")] + [
            (f"Thing {n}", f"It turns all night number {n} and forgets nothing of what was written on it", f"{n}.50")
            for n in range(60)
        ]
        with made.table(first_row_as_headings=False, col_widths=(30, 40, 20)) as table:
            for cells in rows:
                row = table.row()
                for cell in cells:
                    row.cell(cell)
        made.multi_cell(0, text="After.", new_x="LMARGIN", new_y="NEXT")
        made.output(str(tmp_path / "a.pdf"))
        lines = [" | ".join(row) for row in rows]
        text = text_of(tmp_path / "a.pdf")
        assert [line for line in text.split("\n") if line] == ["Before.", *lines, "After."]
        chunks = load_chunks(tmp_path / "a.pdf", Chunker(300))
        of_first_page = [chunk.text for chunk in chunks if chunk.metadata["page"] == 1 and "|" in chunk.text]
        assert len(of_first_page) > 3
        assert all(chunk.startswith("name | what it does | price\nThing ") for chunk in of_first_page)

    def test_lines_of_a_drawing_are_no_table(self, tmp_path):
        import fpdf

        made = fpdf.FPDF()
        made.set_font("helvetica", size=11)
        made.add_page()
        for at in range(20, 200, 10):  # paper with squares, through the middle of words
            made.line(at, 10, at, 200)
            made.line(10, at, 200, at)
        made.set_xy(12, 22)
        made.multi_cell(180, text="The words of a note go on over the squares of the paper. " * 9)
        made.output(str(tmp_path / "a.pdf"))
        text = text_of(tmp_path / "a.pdf")
        assert "|" not in text
        assert text.split() == ("The words of a note go on over the squares of the paper. " * 9).split()

    def test_a_glyph_of_several_letters_at_any_place(self, tmp_path):
        """Ligatures other than lam-alef, too: PDFium turns the letters of one glyph around."""
        made = pdf(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
                stream(b"BT /F 20 Tf 50 100 Td <0201> Tj ET"),
                b"<</Type/Font/Subtype/TrueType/BaseFont/X/FirstChar 1/LastChar 2/Widths[600 600]/ToUnicode 6 0 R>>",
                stream(
                    b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /x def 1 begincodespacerange "
                    b"<00> <ff> endcodespacerange 2 beginbfchar\n<01> <0639>\n<02> <06440649>\nendbfchar endcmap end end"
                ),
            ],
            tmp_path / "a.pdf",
        )
        assert text_of(made).strip() == "على"
