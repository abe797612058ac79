from __future__ import annotations

import json
import os
import random
import zipfile

import docx
import openpyxl
import pptx
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part

from memvid_core.errors import IngestError
from memvid_core.ingest import Chunker, load_chunks, read_document
from tests.core.ingest import mixed


def texts(document):
    return [section.text for section in document.sections]


class TestPlain:
    def test_text(self, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_bytes("줄 하나.\r\n둘.".encode("cp949"))
        assert read_document(path).format == "text"
        assert texts(read_document(path)) == ["줄 하나.\n둘."]

    def test_source_is_the_path_as_given_with_slashes(self, tmp_path, monkeypatch):
        (tmp_path / "docs" / "sub").mkdir(parents=True)
        (tmp_path / "docs" / "sub" / "a.md").write_text("# T\n\nx")
        monkeypatch.chdir(tmp_path)
        chunk = load_chunks(os.path.join("docs", "sub", "a.md"))[0]
        assert chunk.metadata == {"source": "docs/sub/a.md", "heading": "T", "chunk": 0, "start": 0}

    def test_source_code_has_its_language(self, tmp_path):
        path = tmp_path / "main.rs"
        path.write_text("fn main() {\n    run();\n}\n")
        chunk = load_chunks(path)[0]
        assert chunk.metadata["language"] == "rust"
        assert chunk.text == "fn main() {\n    run();\n}"

    @pytest.mark.parametrize("content", [b"", b"  \n\n"])
    @pytest.mark.parametrize("suffix", ["txt", "md", "py", "csv", "html", "pdf", "docx", "xlsx", "ipynb"])
    def test_an_empty_file_has_no_chunks(self, tmp_path, suffix, content):
        path = tmp_path / f"empty.{suffix}"
        path.write_bytes(content)
        assert load_chunks(path) == []

    def test_notebook_cells(self, tmp_path):
        path = tmp_path / "n.ipynb"
        cells = [
            {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
            {"cell_type": "code", "source": "x = 1", "outputs": [{"text": "NOISE"}]},
        ]
        path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4}))
        document = read_document(path)
        assert texts(document) == ["# Title\nWords.\n\n```python\nx = 1\n```"]
        assert document.sections[0].metadata == {"heading": "Title"}

    def test_a_notebook_that_is_none(self, tmp_path):
        path = tmp_path / "n.ipynb"
        path.write_text('{"cells": 5}')
        with pytest.raises(IngestError, match="not a Jupyter notebook"):
            read_document(path)


class TestPdf:
    def test_pages_and_bookmarks(self, tmp_path):
        path = mixed.write_pdf(tmp_path / "a.pdf", ["First page text.", "Second."], bookmarks=["Start", "Going on"])
        chunks = load_chunks(path)
        assert [(chunk.text, chunk.metadata["page"], chunk.metadata["heading"]) for chunk in chunks] == [
            ("First page text.", 1, "Start"),
            ("Second.", 2, "Going on"),
        ]

    def test_a_long_page_is_cut_and_keeps_its_number(self, tmp_path):
        rng = random.Random(1)
        path = mixed.write_pdf(tmp_path / "a.pdf", [mixed.paragraph(rng, 30), mixed.paragraph(rng, 30)])
        chunks = load_chunks(path, Chunker(400))
        assert {chunk.metadata["page"] for chunk in chunks} == {1, 2}
        assert len(chunks) > 6
        assert [chunk.metadata["chunk"] for chunk in chunks] == list(range(len(chunks)))

    def test_encrypted(self, tmp_path):
        path = mixed.write_pdf(tmp_path / "secret.pdf", ["Hidden."], password="hunter2")
        with pytest.raises(IngestError, match=r"secret\.pdf: encrypted: remove its password"):
            read_document(path)

    def test_no_text(self, tmp_path):
        path = mixed.write_pdf(tmp_path / "scan.pdf", ["", ""])
        document = read_document(path)
        assert (document.sections, len(document.warnings)) == ([], 1)
        assert document.warnings[0].startswith("pages without text (scans?): 1-2; ")

    def test_by_its_first_bytes_whatever_its_name(self, tmp_path):
        path = mixed.write_pdf(tmp_path / "a.pdf", ["Page."]).rename(tmp_path / "a.txt")
        assert read_document(path).format == "pdf"


class TestDocx:
    def test_headings_lists_tables_and_order(self, tmp_path):
        document = docx.Document()
        document.add_paragraph("Preface.")
        document.add_heading("Guide", 1)
        document.add_heading("Install", 2)
        document.add_paragraph("Run pip.")
        document.add_paragraph("first", style="List Bullet")
        table = document.add_table(rows=2, cols=2)
        for place, value in enumerate(("city", "country", "Oslo", "Norway")):
            table.cell(place // 2, place % 2).text = value
        document.add_paragraph("After the table.")
        document.save(str(tmp_path / "g.docx"))
        sections = read_document(tmp_path / "g.docx").sections
        assert [(section.metadata.get("heading"), section.text) for section in sections] == [
            (None, "Preface."),
            (
                "Guide > Install",
                "Guide\n\nInstall\n\nRun pip.\n\n- first\n\ncity | country\nOslo | Norway\n\nAfter the table.",
            ),
        ]

    def test_text_in_content_controls_and_insertions_is_read(self, tmp_path):
        document = docx.Document()
        body = document.element.body
        paragraph = document.add_paragraph("Inside a control.")._p
        space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        control = body.makeelement(f"{{{space}}}sdt")
        content = control.makeelement(f"{{{space}}}sdtContent")
        control.append(content)
        body.insert(0, control)
        content.append(paragraph)
        inserted = document.add_paragraph("Kept ")._p
        mark = inserted.makeelement(f"{{{space}}}ins")
        run = document.add_paragraph("and inserted.").runs[0]._r
        mark.append(run)
        inserted.append(mark)
        document.save(str(tmp_path / "c.docx"))
        text = "\n".join(texts(read_document(tmp_path / "c.docx")))
        assert "Inside a control." in text
        assert "Kept and inserted." in text

    def test_footnotes_come_last(self, tmp_path):
        path = mixed.write_docx(tmp_path / "a.docx", "Title", ["Words with a note."])
        document = docx.Document(str(path))
        space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        note = "<w:footnote><w:p><w:r><w:t>The note.</w:t></w:r></w:p></w:footnote>"
        xml = f'<w:footnotes xmlns:w="{space}">{note}</w:footnotes>'
        kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
        part = Part(PackURI("/word/footnotes.xml"), kind, xml.encode(), document.part.package)
        document.part.relate_to(part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes")
        document.save(str(path))
        assert read_document(path).sections[-1].text == "The note."
        assert read_document(path).sections[-1].metadata == {"heading": "Notes"}

    def test_xml_that_is_none(self, tmp_path):
        path = mixed.write_docx(tmp_path / "a.docx", "Title", ["Words."])
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "x.docx", "w") as target:
            for name in source.namelist():
                target.writestr(name, b"<w:document" if name == "word/document.xml" else source.read(name))
        with pytest.raises(IngestError, match=r"x\.docx: damaged or unusual: XMLSyntaxError"):
            read_document(tmp_path / "x.docx")

    def test_it_is_read_as_what_it_is_whatever_its_name(self, tmp_path):
        path = mixed.write_docx(tmp_path / "a.docx", "Title", ["Words."]).rename(tmp_path / "a.txt")
        document = read_document(path)
        assert document.format == "docx"
        assert not any("PK" in text for text in texts(document))


class TestPptx:
    def test_slides_are_pages(self, tmp_path):
        path = mixed.write_pptx(tmp_path / "d.pptx", [("Hello", "First\nlines"), ("Bye", "Second")])
        deck = pptx.Presentation(str(path))
        deck.slides[0].notes_slide.notes_text_frame.text = "Say it slowly."
        table = deck.slides[1].shapes.add_table(1, 2, 0, 6_500_000, 100, 100).table
        table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
        deck.save(str(path))
        sections = read_document(path).sections
        assert [(section.metadata, section.text) for section in sections] == [
            ({"page": 1, "slide": 1, "heading": "Hello"}, "Hello\n\nFirst\nlines\n\nSay it slowly."),
            ({"page": 2, "slide": 2, "heading": "Bye"}, "Bye\n\nSecond\n\nleft | right"),
        ]

    def test_groups_of_shapes(self, tmp_path):
        deck = pptx.Presentation()
        group = deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_group_shape()
        group.shapes.add_textbox(0, 0, 100, 100).text_frame.text = "inside"
        deck.save(str(tmp_path / "g.pptx"))
        assert texts(read_document(tmp_path / "g.pptx")) == ["inside"]


class TestTables:
    def test_xlsx_sheets_rows_and_headers(self, tmp_path):
        path = mixed.write_xlsx(
            tmp_path / "s.xlsx",
            {
                "Stock": [["item", "count", "price"], ["bolts", 12, 0.5], ["nuts", 7.0, None]],
                "Empty": [],
                "Odd": [[1, 2], [3, 4]],
            },
        )
        chunks = load_chunks(path)
        assert [(c.metadata["sheet"], c.metadata["row"], c.text) for c in chunks] == [
            ("Stock", 2, "item: bolts; count: 12; price: 0.5\nitem: nuts; count: 7"),
            ("Odd", 1, "1; 2\n3; 4"),
        ]

    def test_each_chunk_of_a_table_says_its_first_row(self, tmp_path):
        rows = [["name", "city"], *([f"Name {n}", f"City {n}"] for n in range(100))]
        path = mixed.write_csv(tmp_path / "t.csv", rows)
        chunks = load_chunks(path, Chunker(200))
        assert len(chunks) > 10
        for chunk in chunks:
            assert chunk.text.startswith(f"name: Name {chunk.metadata['row'] - 2}; city:")

    def test_a_lone_cell_in_the_last_corner_takes_no_memory(self, tmp_path):
        book = openpyxl.Workbook()
        book.active["A1"], book.active["A2"], book.active["XFD1048576"] = "name", "near", "far"
        book.save(tmp_path / "far.xlsx")
        chunks = load_chunks(tmp_path / "far.xlsx")
        assert [(chunk.metadata["row"], chunk.text) for chunk in chunks] == [(2, "name: near"), (1048576, "far")]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_csv_delimiters(self, tmp_path, delimiter):
        rows = [["name", "note"], ["Ada", f"one{delimiter} two"], ["Grace", "line\nbreak"]]
        path = mixed.write_csv(tmp_path / "t.csv", rows, delimiter=delimiter)
        assert texts(read_document(path)) == [
            f"name: Ada; note: {' '.join(f'one{delimiter} two'.split())}\nname: Grace; note: line break"
        ]

    def test_csv_in_an_old_encoding(self, tmp_path):
        rows = [["이름", "도시"], ["김철수", "서울특별시"], ["이영희", "부산광역시"]]
        path = mixed.write_csv(tmp_path / "k.csv", rows, encoding="cp949")
        assert texts(read_document(path)) == ["이름: 김철수; 도시: 서울특별시\n이름: 이영희; 도시: 부산광역시"]

    def test_a_cell_larger_than_the_module_allows(self, tmp_path):
        path = mixed.write_csv(tmp_path / "t.csv", [["name", "note"], ["Ada", "x" * 200_000]])
        assert len(read_document(path).sections[0].text) > 200_000


class TestWeb:
    def test_html(self, tmp_path):
        path = tmp_path / "p.html"
        path.write_text(
            "<!doctype html><html><head><title>The page</title><style>p {}</style></head><body><nav><a>Menu</a></nav>"
            "<h1>Guide</h1><h2>Use <em>it</em></h2><p>One <b>bold</b> word.<br>Next&nbsp;line &amp; more.</p>"
            "<ul><li>first</li><li>second <p>inner</p></li></ul><pre>def f():\n    pass</pre>"
            "<table><tr><th>city</th><th>country</th></tr><tr><td>Oslo</td><td>Norway</td></tr></table>"
            "<script>var hidden = 1</script>tail text</body></html>",
            encoding="utf-8",
        )
        (section,) = read_document(path).sections
        assert section.metadata == {"title": "The page", "heading": "Guide > Use it"}
        assert section.text.split("\n\n") == [
            "Guide", "Use it", "One bold word.\nNext line & more.", "- first", "- second", "inner",
            "def f():\n    pass", "city | country\nOslo | Norway", "tail text",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("encoding", "declared"),
        [("cp949", "euc-kr"), ("cp949", None), ("utf-8", "utf-8"), ("utf-8", "iso-2022-kr"), ("utf-16", None)],
    )
    def test_html_encodings(self, tmp_path, encoding, declared):
        meta = f'<meta charset="{declared}">' if declared else ""
        path = tmp_path / "k.html"
        path.write_bytes(
            f"<html><head>{meta}</head><body><p>안녕하세요 세계, 한국어 문서입니다.</p></body></html>".encode(encoding)
        )
        assert texts(read_document(path)) == ["안녕하세요 세계, 한국어 문서입니다."]

    def test_html_deeper_than_the_stack(self, tmp_path):
        path = tmp_path / "deep.html"
        path.write_text("<div>" * 1500 + "deep" + "</div>" * 1500)
        assert texts(read_document(path)) == ["deep"]
        path.write_text("<div>" * 50_000 + "deep" + "</div>" * 50_000)
        with pytest.raises(IngestError, match="nested more than"):
            read_document(path)

    def test_epub_chapters(self, tmp_path):
        path = mixed.write_epub(tmp_path / "b.epub", "The Book", [("One", "First words."), ("Two", "Second.")])
        document = read_document(path)
        assert [(section.metadata, section.text) for section in document.sections] == [
            ({"part": 1, "title": "The Book", "heading": "One"}, "One\n\nFirst words."),
            ({"part": 2, "title": "The Book", "heading": "Two"}, "Two\n\nSecond."),
        ]

    def test_epub_with_encrypted_chapters(self, tmp_path):
        path = mixed.write_epub(tmp_path / "b.epub", "Locked", [("One", "Words.")])
        with zipfile.ZipFile(path) as archive:
            chapter = next(name for name in archive.namelist() if name.endswith("page0001.xhtml"))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(
                "META-INF/encryption.xml",
                '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
                'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData>'
                f'<enc:CipherReference URI="{chapter}"/></enc:CipherData></enc:EncryptedData></encryption>',
            )
        with pytest.raises(IngestError, match="DRM"):
            read_document(path)

    def test_xml_entities_do_not_multiply(self, tmp_path):
        path = mixed.write_epub(tmp_path / "b.epub", "Bomb", [("One", "Words.")])
        lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
        bomb = (
            f'<!DOCTYPE c [<!ENTITY l0 "lol">{lol}]><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="&l9;"/></rootfiles></container>'
        )
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "x.epub", "w") as target:
            for name in source.namelist():
                target.writestr(name, bomb if name == "META-INF/container.xml" else source.read(name))
        with pytest.raises(IngestError, match=r"x\.epub: damaged"):
            read_document(tmp_path / "x.epub")
