"""Office documents, slides, sheets and pages are read as a reader sees them."""

# ruff: noqa: E501  # XML, HTML and PDF objects in one line each

from __future__ import annotations

import re
import zipfile

import docx
import openpyxl
import pptx
import pytest
from docx.enum.style import WD_STYLE_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from openpyxl.comments import Comment
from PIL import Image
from pptx.chart.data import CategoryChartData
from pptx.chart.xmlwriter import ChartXmlWriter
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from memvid_core.ingest import Chunker, load_chunks, read_document
from tests.core.ingest import mixed

W = nsdecls("w")
M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def text_of(path):
    return "\n\n".join(section.text for section in read_document(path).sections)


def run(text, properties=""):
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def word(tmp_path, *paragraphs, change=None):
    document = docx.Document()
    for xml in paragraphs:
        document.element.body.insert(-1, parse_xml(xml))
    if change:
        change(document)
    document.save(str(tmp_path / "a.docx"))
    return tmp_path / "a.docx"


def paragraph(content):
    return f"<w:p {W} {M}>{content}</w:p>"


class TestWord:
    @pytest.mark.parametrize("wrapper", ["sdt", "ins", "customXml", "smartTag", "nested"])
    @pytest.mark.parametrize("level", ["block", "row", "cell", "run"])
    def test_content_in_wrappers_at_every_level(self, tmp_path, wrapper, level):
        def wrapped(inner):
            name = "sdt" if wrapper == "nested" else wrapper
            once = (
                f"<w:sdt><w:sdtContent>{inner}</w:sdtContent></w:sdt>"
                if name == "sdt"
                else f"<w:{name}>{inner}</w:{name}>"
            )
            return f"<w:sdt><w:sdtContent>{once}</w:sdtContent></w:sdt>" if wrapper == "nested" else once

        def cell(text):
            content = run(text)
            made = f"<w:tc><w:p>{wrapped(content) if level == 'run' else content}</w:p></w:tc>"
            return wrapped(made) if level == "cell" and text in ("b", "d") else made

        rows = [f"<w:tr>{cell(first)}{cell(last)}</w:tr>" for first, last in (("a", "b"), ("c", "d"))]
        table = f"<w:tbl>{rows[0]}{wrapped(rows[1]) if level == 'row' else rows[1]}</w:tbl>"
        body = wrapped(table) if level == "block" else table
        xml = body.replace(">", f" {W}>", 1)
        assert text_of(word(tmp_path, xml)) == "a | b\nc | d"

    def test_tracked_moves_and_deletions_are_read_once_as_accepted(self, tmp_path):
        moved = f"<w:moveFrom>{run('moved ')}</w:moveFrom>{run('then ')}<w:moveTo>{run('moved')}</w:moveTo>"
        deleted = "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        assert text_of(word(tmp_path, paragraph(moved + deleted))) == "then moved"

    def test_hidden_text_is_left_out_by_itself_and_by_its_style(self, tmp_path):
        def change(document):
            style = document.styles.add_style("Secret", WD_STYLE_TYPE.CHARACTER)
            style.font.hidden = True
            shown = document.add_paragraph("Shown. ")
            shown.add_run("by style", style="Secret")
            shown.add_run("by itself").font.hidden = True

        assert text_of(word(tmp_path, change=change)) == "Shown. "

    def test_formulas_and_ruby(self, tmp_path):
        fraction = "<m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>"
        power = "<m:oMath><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath>"
        ruby = f"<w:r><w:ruby><w:rt>{run('かんじ')}</w:rt><w:rubyBase>{run('漢字')}</w:rubyBase></w:ruby></w:r>"
        path = word(tmp_path, paragraph(f"{run('y = ')}{fraction}{run(', ')}{power}"), paragraph(ruby))
        assert text_of(path) == "y = (a+b)/2, x^2\n\n漢字(かんじ)"

    def test_numbers_of_lists(self, tmp_path):
        def change(document):
            for text in ("first", "second"):
                document.add_paragraph(text, style="List Number")
            document.add_paragraph("point", style="List Bullet")

        assert text_of(word(tmp_path, change=change)) == "1. first\n\n2. second\n\n- point"

    def test_numbers_of_headings_in_several_levels(self, tmp_path):
        levels = "".join(
            f'<w:lvl w:ilvl="{n}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
            for n, kind, text in ((0, "upperRoman", "%1."), (1, "decimal", "%1.%2"), (2, "ganada", "(%3)"))
        )

        def change(document):
            numbering = document.part.numbering_part.element
            numbering.insert(0, parse_xml(f'<w:abstractNum {W} w:abstractNumId="90">{levels}</w:abstractNum>'))
            numbering.append(parse_xml(f'<w:num {W} w:numId="90"><w:abstractNumId w:val="90"/></w:num>'))
            for level, text in ((0, "One"), (1, "One one"), (2, "가지"), (1, "One two"), (0, "Two"), (1, "Two one")):
                properties = document.add_heading(text, level + 1)._p.get_or_add_pPr()
                properties.append(parse_xml(f'<w:numPr {W}><w:ilvl w:val="{level}"/><w:numId w:val="90"/></w:numPr>'))
                document.add_paragraph("text")

        sections = read_document(word(tmp_path, change=change)).sections
        assert [section.metadata["heading"].split(" > ")[-1] for section in sections] == [
            "I. One", "I.1 One one", "(가) 가지", "I.2 One two", "II. Two", "II.1 Two one",
        ]  # fmt: skip

    def test_headers_footers_comments_and_notes_are_read_once(self, tmp_path):
        def change(document):
            document.sections[0].header.paragraphs[0].text = "Secret draft"
            document.sections[0].footer.paragraphs[0].text = "Page 7"
            document.add_section().header.is_linked_to_previous = True
            paragraph = document.add_paragraph("Body.")
            document.add_comment(paragraph.runs, text="Is this so?", author="Ada")

        text = text_of(word(tmp_path, change=change))
        assert text.count("Secret draft") == text.count("Page 7") == text.count("Ada: Is this so?") == 1
        assert text.startswith("Body.")

    def test_notes_have_the_numbers_that_the_text_shows(self, tmp_path):
        def change(document):
            document.element.body.insert(
                -1,
                parse_xml(
                    paragraph(
                        f'{run("B")}<w:r><w:footnoteReference w:id="5"/></w:r>{run("A")}<w:r><w:footnoteReference w:id="2"/></w:r>'
                    )
                ),
            )
            notes = "".join(f'<w:footnote w:id="{n}"><w:p>{run(f"note {n}")}</w:p></w:footnote>' for n in (2, 5))
            kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
            data = f"<w:footnotes {W}>{notes}</w:footnotes>".encode()
            part = Part(PackURI("/word/footnotes.xml"), kind, data, document.part.package)
            document.part.relate_to(part, RELATIONS + "footnotes")

        assert text_of(word(tmp_path, change=change)) == "B[1]A[2]\n\n[1] note 5\n\n[2] note 2"

    def test_text_boxes_stand_once_after_their_paragraph(self, tmp_path):
        box = f"<w:txbxContent><w:p>{run('in the box')}</w:p></w:txbxContent>"
        spaces = (
            'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
            'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" xmlns:v="urn:schemas-microsoft-com:vml"'
        )
        both = (
            f'<mc:AlternateContent {spaces}><mc:Choice Requires="wps"><w:drawing><wps:txbx>{box}</wps:txbx></w:drawing></mc:Choice>'
            f"<mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent>"
        )
        path = word(tmp_path, paragraph(f"{run('before ')}<w:r>{both}</w:r>{run('after')}"))
        assert text_of(path) == "before after\n\nin the box"

    def test_nested_tables_are_read_once(self, tmp_path):
        inner = f"<w:tbl><w:tr><w:tc><w:p>{run('inner')}</w:p></w:tc></w:tr></w:tbl>"
        outer = f"<w:tbl {W}><w:tr><w:tc><w:p>{run('outer')}</w:p>{inner}</w:tc><w:tc><w:p>{run('next')}</w:p></w:tc></w:tr></w:tbl>"
        assert text_of(word(tmp_path, outer)) == "outer inner | next"

    def test_cells_that_are_merged_over_rows_stand_in_each(self, tmp_path):
        def change(document):
            table = document.add_table(3, 2)
            for place, text in enumerate(("region", "city", "North", "Oslo", "", "Bergen")):
                table.cell(place // 2, place % 2).text = text
            table.cell(1, 0).merge(table.cell(2, 0))

        assert text_of(word(tmp_path, change=change)) == "region | city\nNorth | Oslo\nNorth | Bergen"

    def test_embedded_html_and_the_description_of_a_picture(self, tmp_path):
        def change(document):
            Image.new("RGB", (2, 2)).save(tmp_path / "p.png")
            shape = document.add_picture(str(tmp_path / "p.png"))
            shape._inline.docPr.set("descr", "A red wing")
            part = Part(PackURI("/word/chunk.html"), "text/html", b"<p>From <b>HTML</b></p>", document.part.package)
            reference = document.part.relate_to(part, RELATIONS + "aFChunk")
            document.element.body.insert(-1, parse_xml(f'<w:altChunk {W} {nsdecls("r")} r:id="{reference}"/>'))

        assert text_of(word(tmp_path, change=change)) == "[A red wing]\n\nFrom HTML"

    def test_a_long_table_repeats_its_header_in_each_chunk(self, tmp_path):
        def change(document):
            document.add_paragraph("Before.")
            table = document.add_table(60, 2)
            for at, row in enumerate(table.rows):
                row.cells[0].text, row.cells[1].text = ("name", "city") if not at else (f"Name {at}", f"City {at}")
            document.add_paragraph("After.")

        chunks = load_chunks(word(tmp_path, change=change), Chunker(200))
        assert (chunks[0].text, chunks[-1].text) == ("Before.", "After.")
        assert all(chunk.text.startswith("name | city\nName ") and len(chunk.text) <= 200 for chunk in chunks[1:-1])
        rows = [line for chunk in chunks[1:-1] for line in chunk.text.split("\n")[1:]]
        assert rows == [f"Name {at} | City {at}" for at in range(1, 60)]


A = "http://schemas.openxmlformats.org/drawingml/2006/"
DIAGRAM = f"""<dgm:dataModel xmlns:dgm="{A}diagram" xmlns:a="{A}main"><dgm:ptLst>
<dgm:pt modelId="0" type="doc"><dgm:t><a:p/></dgm:t></dgm:pt>
<dgm:pt modelId="1"><dgm:t><a:p><a:r><a:t>Plan</a:t></a:r></a:p></dgm:t></dgm:pt>
<dgm:pt modelId="2"><dgm:t><a:p><a:r><a:t>Build</a:t></a:r></a:p></dgm:t></dgm:pt>
<dgm:pt modelId="3" type="pres"><dgm:t><a:p><a:r><a:t>Build</a:t></a:r></a:p></dgm:t></dgm:pt>
</dgm:ptLst></dgm:dataModel>""".encode()


def chart_part():
    data = CategoryChartData()
    data.categories = ["2023", "2024"]
    data.add_series("North", (1.5, 2.5))
    return ChartXmlWriter(XL_CHART_TYPE.BAR_CLUSTERED, data).xml.encode()


def graphic(kind, reference):
    element = (
        f'<c:chart xmlns:c="{A}chart" xmlns:r="{RELATIONS[:-1]}" r:id="{reference}"/>'
        if kind == "chart"
        else f'<dgm:relIds xmlns:dgm="{A}diagram" xmlns:r="{RELATIONS[:-1]}" r:dm="{reference}" r:lo="x" r:qs="x" r:cs="x"/>'
    )
    return f'<a:graphic xmlns:a="{A}main"><a:graphicData uri="{A}{kind}">{element}</a:graphicData></a:graphic>'


def test_charts_and_diagrams_of_word_are_read_where_they_stand(tmp_path):
    def change(document):
        document.add_paragraph("Before.")
        for kind, data in (("chart", chart_part()), ("diagramData", DIAGRAM)):
            part = Part(PackURI(f"/word/{kind}.xml"), "application/xml", data, document.part.package)
            reference = document.part.relate_to(part, RELATIONS + kind)
            drawing = f"<w:drawing>{graphic('chart' if kind == 'chart' else 'diagram', reference)}</w:drawing>"
            document.element.body.insert(-1, parse_xml(paragraph(f"<w:r>{drawing}</w:r>")))
        document.add_paragraph("After.")

    assert text_of(word(tmp_path, change=change)).split("\n\n") == [
        "Before.", " | North\n2023 | 1.5\n2024 | 2.5", "- Plan\n- Build", "After.",
    ]  # fmt: skip


def test_diagrams_and_comments_of_slides(tmp_path):
    from pptx.opc.package import Part as SlidePart
    from pptx.opc.packuri import PackURI as SlideURI
    from pptx.oxml import parse_xml as parse_slide

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Steps"
    p = "http://schemas.openxmlformats.org/presentationml/2006/main"
    old = f'<p:cmLst xmlns:p="{p}"><p:cm authorId="0"><p:text>Is it so?</p:text></p:cm></p:cmLst>'.encode()
    new = (
        f'<p188:cmLst xmlns:p188="http://schemas.microsoft.com/office/powerpoint/2018/8/main" xmlns:a="{A}main"><p188:cm>'
        "<p188:replyLst><p188:reply><p188:txBody><a:p><a:r><a:t>It is.</a:t></a:r></a:p></p188:txBody></p188:reply>"
        "</p188:replyLst><p188:txBody><a:p><a:r><a:t>Sure?</a:t></a:r></a:p></p188:txBody></p188:cm></p188:cmLst>"
    ).encode()
    for name, kind, data in (
        ("data", RELATIONS + "diagramData", DIAGRAM),
        ("old", RELATIONS + "comments", old),
        ("new", "http://schemas.microsoft.com/office/2018/10/relationships/comments", new),
    ):
        part = SlidePart(SlideURI(f"/ppt/{name}.xml"), "application/xml", deck.part.package, data)
        reference = slide.part.relate_to(part, kind)
        if name == "data":
            frame = (
                f'<p:graphicFrame xmlns:p="{p}" xmlns:a="{A}main"><p:nvGraphicFramePr><p:cNvPr id="9" name="d"/>'
                "<p:cNvGraphicFramePr/><p:nvPr/></p:nvGraphicFramePr><p:xfrm><a:off x='0' y='2000000'/><a:ext cx='9' cy='9'/>"
                f"</p:xfrm>{graphic('diagram', reference)}</p:graphicFrame>"
            )
            slide.shapes._spTree.append(parse_slide(frame))
    deck.save(str(tmp_path / "a.pptx"))
    blocks = text_of(tmp_path / "a.pptx").split("\n\n")
    assert blocks[:3] == ["Steps", "- Plan\n- Build", "Comment: Is it so?"]
    assert sorted(blocks[3:]) == ["Comment: It is.", "Comment: Sure?"]


def strict(source, target):
    """Rewrite an Office file in the strict form of the standard."""
    names = {
        b"http://schemas.openxmlformats.org/officeDocument/2006/": b"http://purl.oclc.org/ooxml/officeDocument/",
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/": b"http://purl.oclc.org/ooxml/wordprocessingml/",
        b"http://schemas.openxmlformats.org/spreadsheetml/2006/": b"http://purl.oclc.org/ooxml/spreadsheetml/",
        b"http://schemas.openxmlformats.org/presentationml/2006/": b"http://purl.oclc.org/ooxml/presentationml/",
        b"http://schemas.openxmlformats.org/drawingml/2006/": b"http://purl.oclc.org/ooxml/drawingml/",
    }
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            for old, new in names.items():
                data = data.replace(old, new)
            after.writestr(name, data)
    return target


def test_strict_office_files_are_read(tmp_path):
    made = [
        mixed.write_docx(tmp_path / "a.docx", "Title", ["Words."]),
        mixed.write_xlsx(tmp_path / "a.xlsx", {"S": [["item", "count"], ["bolts", 12]]}),
        mixed.write_pptx(tmp_path / "a.pptx", [("Hello", "First")]),
    ]
    for path in made:
        other = strict(path, path.with_stem("strict"))
        assert text_of(other) == text_of(path) != ""


class TestSlides:
    def test_reading_order_is_not_the_order_of_drawing(self, tmp_path):
        deck = pptx.Presentation()
        slide = deck.slides.add_slide(deck.slide_layouts[6])
        for text, left, top in (("d", 5, 4), ("a", 0, 0), ("c", 0, 4), ("b", 5, 0)):
            slide.shapes.add_textbox(Inches(left), Inches(top), Inches(3), Inches(1)).text_frame.text = text
        deck.save(str(tmp_path / "a.pptx"))
        assert text_of(tmp_path / "a.pptx") == "a\n\nb\n\nc\n\nd"

    def test_shapes_that_no_gap_divides_are_read_from_the_top(self, tmp_path):
        deck = pptx.Presentation()
        slide = deck.slides.add_slide(deck.slide_layouts[6])
        for text, left, top in (("c", 1, 2), ("a", 0, 0), ("b", 2, 1)):
            slide.shapes.add_textbox(Inches(left), Inches(top), Inches(4), Inches(3)).text_frame.text = text
        deck.save(str(tmp_path / "a.pptx"))
        assert text_of(tmp_path / "a.pptx") == "a\n\nb\n\nc"

    def test_charts_comments_descriptions_and_merged_cells(self, tmp_path):
        deck = pptx.Presentation()
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = "Sales"
        data = CategoryChartData()
        data.categories = ["2023", "2024"]
        data.add_series("North", (1.5, 2.5))
        frame = slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, 0, Inches(3), Inches(4), Inches(2), data)
        frame.chart.has_title = True
        frame.chart.chart_title.text_frame.text = "By region"
        Image.new("RGB", (2, 2)).save(tmp_path / "p.png")
        picture = slide.shapes.add_picture(str(tmp_path / "p.png"), 0, Inches(5.5))
        picture._element.nvPicPr.cNvPr.set("descr", "A map")
        table = slide.shapes.add_table(2, 2, 0, Inches(6), Inches(4), Inches(1)).table
        for place, text in enumerate(("x", "1", "", "2")):
            table.cell(place // 2, place % 2).text = text
        table.cell(0, 0).merge(table.cell(1, 0))
        deck.save(str(tmp_path / "a.pptx"))
        assert text_of(tmp_path / "a.pptx").split("\n\n") == [
            "Sales", "By region", " | North\n2023 | 1.5\n2024 | 2.5", "[A map]", "x | 1\nx | 2",
        ]  # fmt: skip


class TestSheets:
    def sheet(self, tmp_path, rows, change=None):
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        if change:
            change(book)
        book.save(tmp_path / "a.xlsx")
        return tmp_path / "a.xlsx"

    def test_columns_named_by_years_under_a_title(self, tmp_path):
        path = self.sheet(
            tmp_path, [["Sales by region"], [], ["region", 2023, 2024], ["North", 10, 12], ["South", 7, 9]]
        )
        assert text_of(path) == "Sales by region\n\nregion: North; 2023: 10; 2024: 12\nregion: South; 2023: 7; 2024: 9"

    @pytest.mark.parametrize(
        ("first", "second"),
        [("=B3*2", "=C3*2"), ("", "12"), ("-", "=C3"), ("n/a", "€ 1,200"), ("(300)", "12 kg"), ("#REF!", "3만")],
    )
    def test_columns_named_by_years_above_what_is_no_plain_number(self, tmp_path, first, second):
        path = self.sheet(tmp_path, [["region", 2023, 2024], ["North", first or None, second], ["South", 7, 9]])
        names = [f"2023: {first}"] * bool(first) + [f"2024: {second}"]
        assert text_of(path) == f"region: North; {'; '.join(names)}\nregion: South; 2023: 7; 2024: 9"

    @pytest.mark.parametrize("below", ["", "-", "n/a", "unknown", 1906])
    def test_years_as_values_are_no_names(self, tmp_path, below):
        path = self.sheet(tmp_path, [["Ada", 1815], ["Grace", below or None], ["Edith", 1883]])
        assert text_of(path).split("\n")[::2] == ["Ada; 1815", "Edith; 1883"]

    def test_a_formula_without_a_stored_value_is_shown(self, tmp_path):
        path = self.sheet(tmp_path, [["item", "sum"], ["bolts", "=A1+1"]])
        assert text_of(path) == "item: bolts; sum: =A1+1"

    def test_hidden_sheets_are_left_out_and_named(self, tmp_path):
        def change(book):
            book.create_sheet("Secret").append(["hidden words", "x"])
            book["Secret"].sheet_state = "veryHidden"

        document = read_document(self.sheet(tmp_path, [["a", "b"], ["c", "d"]], change))
        assert "hidden words" not in "".join(section.text for section in document.sections)
        assert document.warnings == ["hidden sheets were left out: 'Secret'"]

    def test_merged_cells_comments_dates_and_percentages(self, tmp_path):
        def change(book):
            sheet = book.active
            sheet.merge_cells("A2:A3")
            sheet["B2"].number_format = "0.0%"
            sheet["B3"].number_format = "yyyy-mm-dd"
            sheet["B3"].comment = Comment("Is it so?", "Ada")

        path = self.sheet(tmp_path, [["region", "value"], ["North", 0.125], [None, 45000]], change)
        assert (
            text_of(path) == "region: North; value: 12.5%\nregion: North; value: 2023-03-15\n\nComment on B3: Is it so?"
        )

    def test_a_line_separator_does_not_divide_a_row(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text("name,note\nAda,one\u2028two\u0085three\x0bfour\n", encoding="utf-8")
        (section,) = read_document(path).sections
        assert section.text == "name: Ada; note: one two three four"


class TestHtml:
    def read(self, tmp_path, body):
        (tmp_path / "a.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
        return text_of(tmp_path / "a.html")

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ("<table><tr><td><h2>One</h2><p>two</p></td><td><div>three</div><div>four</div></td></tr></table>", "One\n\ntwo\n\nthree\n\nfour"),
            ("<table role=presentation><tr><td>one</td><td>two</td></tr></table>", "one\n\ntwo"),
            ("<table><tr><td><pre>a\n  b</pre></td></tr></table>", "a\n  b"),
            ('<p>See <img src=x alt="a red wing"> here<img alt=""></p>', "See [a red wing] here"),
            ("<p>If <math><msup><mi>x</mi><mn>2</mn></msup><mo>=</mo><mfrac><mn>1</mn><mn>2</mn></mfrac></math></p>", "If x^2=1/2"),
            ("<ol start=3><li>c</li><li>d<ul><li>x</li></ul></li><li value=9>i</li></ol>", "3. c\n\n4. d\n\n- x\n\n9. i"),
            ('<p style="display: none">no</p><p hidden>no</p><p>yes</p>', "yes"),
            ("<p>Name: <input value=Ada><input type=hidden value=no></p><select><option>a<option selected>b</select>", "Name: Ada\n\nb"),
            ("<p><ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby></p>", "漢字(かんじ)"),
            ("<table><tr><th>a</th><th>b</th></tr><tr><td rowspan=2>x</td><td>1</td></tr><tr><td>2</td></tr></table>", "a | b\nx | 1\nx | 2"),
            ("<table><tr><td>a<br>b</td><td>c <div>d</div>e</td></tr></table>", "a b | c d e"),
        ],
    )  # fmt: skip
    def test_what_a_browser_shows(self, tmp_path, body, text):
        assert re.sub(r"\n\n+", "\n\n", self.read(tmp_path, body)) == text

    def test_a_long_table_repeats_its_header(self, tmp_path):
        rows = "".join(f"<tr><td>name {n}</td><td>city {n}</td></tr>" for n in range(50))
        self.read(tmp_path, f"<table><tr><th>name</th><th>city</th></tr>{rows}</table>")
        chunks = load_chunks(tmp_path / "a.html", Chunker(200))
        assert len(chunks) > 3
        assert all(chunk.text.startswith("name | city\nname ") for chunk in chunks)
