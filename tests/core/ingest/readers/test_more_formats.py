"""Mail, RTF, OpenDocument, HWPX, transcripts, markup, XML, JSON, notebooks of every version, archives of these."""

# ruff: noqa: E501  # XML in one line each

from __future__ import annotations

import base64
import io
import json
import mailbox
import os
import random
import zipfile
from email.message import EmailMessage

import nbformat
import pytest

from memvid_core.errors import IngestError
from memvid_core.ingest import Chunker, load_chunks, read_document, read_many
from tests.core.ingest import mixed


def text_of(path):
    return "\n\n".join(section.text for section in read_document(path).sections)


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def message(subject="Wings", text="A wing lifts.", charset="utf-8"):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Ada <ada@example.org>", "grace@example.org", subject
    made["Date"] = "Mon, 2 Mar 2026 10:00:00 +0100"
    made.set_content(text, charset=charset)
    return made


class TestMail:
    def test_a_message_its_alternative_and_its_attachments(self, tmp_path):
        made = message("Flügel und 날개")
        made.add_alternative("<p>A wing <b>lifts</b>.</p>", subtype="html")
        pdf = mixed.write_pdf(tmp_path / "a.pdf", ["Words of the attachment."]).read_bytes()
        made.add_attachment(pdf, maintype="application", subtype="pdf", filename="wing.pdf")
        made.add_attachment(os.urandom(5000), maintype="image", subtype="png", filename="wing.png")
        document = read_document(write(tmp_path / "a.eml", made.as_bytes()))
        first, second = document.sections
        assert first.text.startswith("From: Ada <ada@example.org>\nTo: grace@example.org\n")
        assert first.text.count("A wing lifts.") == 1
        assert first.metadata["heading"] == "Flügel und 날개"
        assert first.metadata["date"] == "2026-03-02T10:00:00+01:00"
        assert (second.text.strip(), second.metadata) == (
            "Words of the attachment.",
            {"page": 1, "attachment": "wing.pdf"},
        )
        assert document.warnings == ["the attachment wing.png was left out: image/png"]

    @staticmethod
    def shown(path, body, kind="text/plain; charset=utf-8", encoding="8bit", subject=b"Wings"):
        heads = [b"From: ada@example.org", b"Subject: " + subject, b"MIME-Version: 1.0"]
        heads += [f"Content-Type: {kind}".encode(), f"Content-Transfer-Encoding: {encoding}".encode(), b"", b""]
        data = body if isinstance(body, bytes) else body.encode()
        return text_of(write(path / "a.eml", b"\r\n".join(heads) + data)).partition("\n\n")[2]

    @pytest.mark.parametrize(
        ("body", "right"),
        [
            ("is=20\r\nhere\r\n", "is \nhere"),  # a space that is not lost
            ("caf=c3=a9 and caf=\r\n=C3=A9", "café and café"),
            ("a soft= \t\r\n break=\t\n.", "a soft break."),  # RFC 2045, 6.7 (3): white space is of the transport
            ("lost   \r\nspaces\t", "lost\nspaces"),
            ("5 =3D 5 and =XY and =", "5 = 5 and =XY and"),
        ],
    )
    def test_quoted_printable(self, tmp_path, body, right):
        for encoding in ("quoted-printable", "Quoted-Printable (as RFC 2045 allows)", '"quoted-printable"'):
            assert self.shown(tmp_path, body, encoding=encoding) == right

    def test_base64_in_pieces_and_before_the_footer_of_a_list(self, tmp_path):
        pieces = [base64.b64encode(text) for text in (b"The wing", b" lifts", b" the plane.")]
        assert self.shown(tmp_path, b"\r\n".join(pieces), encoding="base64") == "The wing lifts the plane."
        assert self.shown(tmp_path, b"VGhl!IHdp\r\n*bmc=\r\n-- \r\nThe list", encoding="BASE64 ") == "The wing"

    @pytest.mark.parametrize(
        ("body", "right"),
        [
            ("The wing lifts \r\nthe plane \r\nup.\r\n\r\nNext.", "The wing lifts the plane up.\n\nNext."),
            ("> quoted and \r\n> flowing\r\n>> deeper \r\n> back", "> quoted and flowing\n>> deeper\n> back"),
            (" From here, \r\n  two spaces\r\n >no quote", "From here,  two spaces\n>no quote"),
            ("Ada \r\n-- \r\nEngineer \r\nof wings", "Ada\n--\nEngineer of wings"),
            ("\r\n \r\nLast \r\n", "\n\nLast"),
        ],
    )
    def test_lines_that_flow_are_joined(self, tmp_path, body, right):
        """RFC 3676."""
        assert self.shown(tmp_path, body, "text/plain; format=flowed; charset=utf-8") == right.strip()
        quoted = body.replace(" \r\n", "=20\r\n")
        kind = 'text/plain; charset=utf-8; Format="Flowed"'
        assert self.shown(tmp_path, quoted, kind, "quoted-printable") == right.strip()

    def test_a_space_that_was_added_to_let_a_line_flow_is_deleted(self, tmp_path):
        body = "날개는 양력을 만 \r\n든다. 그래서  \r\n난다."
        right = "날개는 양력을 만든다. 그래서 난다."
        assert self.shown(tmp_path, body, "text/plain; charset=utf-8; format=flowed; delsp=yes") == right
        assert self.shown(tmp_path, body, "text/plain; charset=utf-8") == body.replace("\r\n", "\n")

    def test_headers_in_the_charset_of_the_text(self, tmp_path):
        for charset, word in (
            ("euc-kr", "안녕하세요 여러분"),
            ("utf-8", "안녕"),
            ("koi8-r", "Привет, как дела"),
            ("cp1252", "Flügel"),
        ):
            kind = f"text/plain; charset={charset}"
            self.shown(tmp_path, word.encode(charset), kind, subject=word.encode(charset))
            [section] = read_document(tmp_path / "a.eml").sections
            assert (section.metadata["heading"], section.text.count(word)) == (word, 2)

    def test_a_note_that_there_is_html_is_not_the_text(self, tmp_path):
        made = message(text="This message needs a program that shows HTML.")
        style = "<style>p { color: red }</style>" * 20
        made.add_alternative(f"<html>{style}<p>{'The wing was repaired. ' * 20}</p></html>", subtype="html")
        text = text_of(write(tmp_path / "a.eml", made.as_bytes()))
        assert text.count("The wing was repaired.") == 20
        assert "needs a program" not in text

    @pytest.mark.parametrize(
        ("text", "charset"), [("안녕하세요", "euc-kr"), ("これは日本語", "iso-2022-jp"), ("Größe", "latin-1")]
    )
    def test_the_declared_charset_counts(self, tmp_path, text, charset):
        assert text in text_of(write(tmp_path / "a.eml", message(text=text, charset=charset).as_bytes()))

    def test_a_mailbox(self, tmp_path):
        box = mailbox.mbox(tmp_path / "a.mbox")
        for number in range(3):
            box.add(message(f"Letter {number}", f"Text {number}.\n\nFrom here on it is a quotation."))
        box.close()
        sections = read_document(tmp_path / "a.mbox").sections
        assert [(part.metadata["message"], part.metadata["heading"]) for part in sections] == [
            (1, "Letter 0"), (2, "Letter 1"), (3, "Letter 2"),
        ]  # fmt: skip
        assert all("\nFrom here on" in part.text for part in sections)

    def test_a_message_without_headers_does_not_hide_the_others(self, tmp_path):
        data = b"From a\n\nno headers\n\nFrom b\n" + message("Kept").as_bytes()
        document = read_document(write(tmp_path / "a.mbox", data))
        assert [part.metadata["heading"] for part in document.sections] == ["Kept"]
        assert document.warnings == ["message 1 was left out: not a mail message: it has no headers"]

    def test_a_message_in_a_message(self, tmp_path):
        made = message("Outer", "See below.")
        made.add_attachment(message("Inner", "The inner words."))
        assert [part.metadata["heading"] for part in read_document(write(tmp_path / "a.eml", made.as_bytes())).sections] == [
            "Outer", "Inner",
        ]  # fmt: skip

    def test_parts_nested_without_end(self, tmp_path):
        head = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(400))
        with pytest.raises(IngestError):
            read_document(write(tmp_path / "a.eml", "Subject: x\n" + head))


class TestRtf:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (r"{\fonttbl{\f0 Times;}}{\info{\title no}}Plain {\b bold} text.\par Next.", "Plain bold text.\n\nNext."),
            (r"Gr\'f6\'dfe \u8364? caf\'e9", "Größe € café"),
            (r"{\fonttbl{\f0\fcharset129 Gulim;}}\f0 \'b0\'a1\'b0\'a2", "가각"),
            (r"\uc2\u44032\'b0\'a1 \uc1\u-10179?\u-8694?", "가 🔊"[:2] + "\U0001f60a"),
            (r"Shown {\v hidden}{\deleted gone}end{\pict 89504e470d0a}", "Shown end"),
            (r"\trowd a\cell b\cell\row c\cell d\cell\row", "a | b\nc | d"),
            (r"x{\*\generator Word 12;}{\*\unknown no}y", "xy"),
            (r"{\field{\*\fldinst HYPERLINK x}{\fldrslt link}} \{braces\}", "link {braces}"),
        ],
    )
    def test_what_is_shown(self, tmp_path, body, text):
        assert text_of(write(tmp_path / "a.rtf", r"{\rtf1\ansi\ansicpg1252 " + body + "}")) == text

    def test_headings_by_outline_and_any_name(self, tmp_path):
        data = r"{\rtf1 \pard\outlinelevel0 One\par\pard text\par\pard\outlinelevel1 Two\par\pard more\par}"
        sections = read_document(write(tmp_path / "a.doc", data)).sections
        assert [part.metadata["heading"] for part in sections] == ["One", "One > Two"]

    def test_groups_nested_without_end(self, tmp_path):
        with pytest.raises(IngestError, match="nested too deep"):
            read_document(write(tmp_path / "a.rtf", r"{\rtf1" + "{" * 100_000))


SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{space}:1.0"'
    for name, space in (("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"),
                        ("presentation", "presentation"), ("style", "style"), ("svg", "svg-compatible"))
)  # fmt: skip


def opendocument(path, kind, body, styles=""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        archive.writestr(
            "content.xml",
            f'<office:document-content {SPACES} xmlns:dc="http://purl.org/dc/elements/1.1/"><office:automatic-styles>{styles}'
            f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}></office:body>"
            "</office:document-content>",
        )
    return path


class TestOpenDocument:
    def test_text(self, tmp_path):
        body = (
            '<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes><text:h text:outline-level="1">One</text:h>'
            '<text:p>A<text:s text:c="2"/>b<text:tab/>c<text:note><text:note-body><text:p>The note.</text:p></text:note-body></text:note>.'
            "<office:annotation><dc:creator>Ada</dc:creator><text:p>Really?</text:p></office:annotation></text:p>"
            "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
            "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
            "<table:table-cell><text:p>b</text:p></table:table-cell></table:table-row></table:table-header-rows></table:table>"
        )
        sections = read_document(opendocument(tmp_path / "a.odt", "text", body)).sections
        assert [(part.metadata["heading"], part.text) for part in sections] == [
            ("One", "One\n\nA  b\tc[1].\n\n- item\n\na | b"), ("Notes", "[1] The note."), ("Comments", "Ada: Really?"),
        ]  # fmt: skip

    def test_sheets(self, tmp_path):
        def row(*cells, times=1):
            shown = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
            return f'<table:table-row table:number-rows-repeated="{times}">{shown}</table:table-row>'

        empty = '<table:table-row table:number-rows-repeated="1048570"><table:table-cell/></table:table-row>'
        body = (
            f'<table:table table:name="S">{row("name", "city")}{row("Ada", "London", times=2)}{empty}</table:table>'
            f'<table:table table:name="Secret" table:style-name="h">{row("no", "no")}</table:table>'
        )
        hidden = '<style:style style:name="h"><style:table-properties table:display="false"/></style:style>'
        document = read_document(opendocument(tmp_path / "a.ods", "spreadsheet", body, hidden))
        (section,) = document.sections
        assert section.text == "name: Ada; city: London\nname: Ada; city: London"
        assert section.metadata == {"sheet": "S", "row": 2}
        assert document.warnings == ["hidden sheets were left out: 'Secret'"]

    def test_slides(self, tmp_path):
        body = (
            '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Hello</text:p></draw:text-box></draw:frame>'
            "<draw:frame><draw:text-box><text:p>words</text:p></draw:text-box></draw:frame><presentation:notes><draw:frame>"
            "<draw:text-box><text:p>Say it.</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>"
        )
        (section,) = read_document(opendocument(tmp_path / "a.odp", "presentation", body)).sections
        assert (section.metadata, section.text) == (
            {"page": 1, "slide": 1, "heading": "Hello"},
            "Hello\n\nwords\n\nSay it.",
        )


def test_hwpx(tmp_path):
    space = (
        'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph" xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section"'
    )
    rows = "".join(
        "<hp:tr>"
        + "".join(
            f"<hp:tc><hp:subList><hp:p><hp:run><hp:t>{cell}</hp:t></hp:run></hp:p></hp:subList></hp:tc>" for cell in row
        )
        + "</hp:tr>"
        for row in (("이름", "도시"), ("철수", "서울"))
    )
    xml = f"<hs:sec {space}><hp:p><hp:run><hp:t>안녕<hp:tab/>하세요</hp:t></hp:run></hp:p><hp:p><hp:run><hp:tbl>{rows}</hp:tbl></hp:run></hp:p></hs:sec>"
    with zipfile.ZipFile(tmp_path / "a.hwpx", "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/section0.xml", xml)
    assert text_of(tmp_path / "a.hwpx") == "안녕\t하세요\n\n이름 | 도시\n철수 | 서울"


def test_hwpx_headings_merged_cells_and_headers_in_an_archive_with_a_container(tmp_path):
    """Hangul writes META-INF/container.xml, which EPUB has, too."""
    space = 'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph" xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section" xmlns:hh="http://www.hancom.co.kr/hwpml/2011/head"'

    def paragraph(inner, shape="0"):
        return f'<hp:p paraPrIDRef="{shape}"><hp:run>{inner}</hp:run></hp:p>'

    def cell(text, column, rows=1):
        inner = paragraph(f"<hp:t>{text}</hp:t>")
        return f'<hp:tc><hp:subList>{inner}</hp:subList><hp:cellAddr colAddr="{column}" rowAddr="0"/><hp:cellSpan colSpan="1" rowSpan="{rows}"/></hp:tc>'

    table = f"<hp:tbl><hp:tr>{cell('지역', 0, 2)}{cell('서울', 1)}</hp:tr><hp:tr>{cell('부산', 1)}</hp:tr></hp:tbl>"
    header = f"<hp:ctrl><hp:header><hp:subList>{paragraph('<hp:t>머리말</hp:t>')}</hp:subList></hp:header></hp:ctrl>"
    number = '<hp:t>표 </hp:t><hp:ctrl><hp:autoNum num="3" numType="TABLE"/></hp:ctrl><hp:t> 값</hp:t>'
    body = [
        paragraph("<hp:t>제목</hp:t>", "1"),
        paragraph(header),
        paragraph(header),
        paragraph(number),
        paragraph(table),
    ]
    shapes = "".join(
        f'<hh:paraPr id="{n}"><hh:heading type="{kind}" level="0"/></hh:paraPr>'
        for n, kind in enumerate(("NONE", "OUTLINE"))
    )
    with zipfile.ZipFile(tmp_path / "a.hwpx", "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr("Contents/header.xml", f"<hh:head {space}>{shapes}</hh:head>")
        archive.writestr("Contents/section0.xml", f"<hs:sec {space}>{''.join(body)}</hs:sec>")
    assert [(section.text, section.metadata) for section in read_document(tmp_path / "a.hwpx").sections] == [
        ("제목\n\n표 3 값\n\n지역 | 서울\n지역 | 부산", {"heading": "제목"}),
        ("머리말", {"heading": "Headers and footers"}),
    ]


class TestCaptions:
    @pytest.mark.parametrize("suffix", ["vtt", "srt"])
    def test_times_are_metadata(self, tmp_path, suffix):
        head, mark = ("WEBVTT\n\nNOTE no\n\n", ".") if suffix == "vtt" else ("", ",")
        cues = "".join(
            f"{n + 1}\n00:{n // 60:02}:{n % 60:02}{mark}000 --> 00:{n // 60:02}:{n % 60:02}{mark}900\n<i>Word{n} of</i> a talk.\n\n"
            for n in range(90)
        )
        chunks = load_chunks(write(tmp_path / f"a.{suffix}", head + cues), Chunker(100))
        assert "".join(chunk.text for chunk in chunks).count("Word") == 90
        for chunk in chunks:
            numbers = [int(word[4:]) for word in chunk.text.split() if word.startswith("Word")]
            assert (chunk.metadata["time_start"], chunk.metadata["time_end"]) == (numbers[0], numbers[-1] + 0.9)

    def test_speakers_and_repetitions(self, tmp_path):
        text = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ada>Hello &amp; welcome.\n\n00:02.000 --> 00:03.000\n<v Ada>Hello &amp; welcome.\n"
        chunk = load_chunks(write(tmp_path / "a.vtt", text))[0]
        assert (chunk.text, chunk.metadata["time_end"]) == ("Ada: Hello & welcome.", 3.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.rst", "=====\nGuide\n=====\n\nText.\n\nInstall\n-------\n\nRun it.\n\n::\n\n  code\n\nUse\n---\n\nImport it.\n"),
        ("a.adoc", "= Guide\n\nText.\n\n== Install\n\n----\n== no heading\n----\nRun it.\n\n== Use\n\nImport it.\n"),
        ("a.org", "* Guide\nText.\n** TODO Install  :tag:\nRun it.\n** Use\nImport it.\n"),
        ("a.tex", "\\documentclass{article}\n\\begin{document}\n\\section{Guide}\nText.\n\\subsection{Install}% no\nRun \\emph{it}.\n\\subsection{Use}\nImport it.\n\\end{document}\n"),
    ],
)  # fmt: skip
def test_headings_of_markup(tmp_path, name, text):
    sections = read_document(write(tmp_path / name, text)).sections
    assert [part.metadata["heading"] for part in sections] == ["Guide", "Guide > Install", "Guide > Use"]
    assert "Run it." in sections[1].text


class TestXml:
    def test_an_article(self, tmp_path):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE article><article><front><article-meta><title-group><article-title>On wings'
            "</article-title></title-group><abstract><p>Short.</p></abstract></article-meta></front><body><sec><title>Methods</title>"
            "<p>We <italic>flew</italic>.</p><table-wrap><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
            "</table-wrap></sec></body></article>"
        )
        sections = read_document(write(tmp_path / "a.xml", xml)).sections
        assert [part.text for part in sections] == ["On wings\n\nShort.", "Methods\n\nWe flew.\n\na | b\n1 | 2"]

    def test_records(self, tmp_path):
        xml = '<people><p id="1"><name>Ada</name><born>1815</born></p><p id="2"><name>Grace</name></p></people>'
        (section,) = read_document(write(tmp_path / "a.xml", xml)).sections
        assert (section.text, section.metadata["row"]) == ("id: 1; name: Ada; born: 1815\nid: 2; name: Grace", 1)

    def test_any_other(self, tmp_path):
        assert (
            text_of(write(tmp_path / "a.xml", "<a><b>One <i>two</i>.</b><c x='1'><d>three</d></c></a>"))
            == "One two.\n\nthree"
        )


class TestJson:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.json", json.dumps([{"name": "Ada", "at": {"city": "London"}}, {"name": "Grace", "tags": ["x", "y"]}])),
            ("a.jsonl", '{"name": "Ada", "at": {"city": "London"}}\n\n{"name": "Grace", "tags": ["x", "y"]}\n'),
        ],
    )
    def test_records(self, tmp_path, name, text):
        (section,) = read_document(write(tmp_path / name, text)).sections
        assert section.text == "name: Ada; at.city: London\nname: Grace; tags: x, y"
        assert section.metadata["row"] == 1

    @pytest.mark.parametrize("text", ['{"a": {"b": 1}}', "[1, 2]", "{broken", "[" * 100_000])
    def test_what_has_no_records_is_source_code(self, tmp_path, text):
        (section,) = read_document(write(tmp_path / "a.json", text)).sections
        assert (section.kind, section.text) == ("code", text)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_notebooks_of_every_version(tmp_path, version):
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("x = 1")]
    )
    if version == 4:
        data = nbformat.writes(book)
    elif version == 3:
        data = json.dumps(nbformat.v3.downgrade(book))
    else:
        cells = [{"cell_type": "text", "text": "# Title"}, {"cell_type": "code", "input": "x = 1"}]
        data = json.dumps({"cells": cells} if version == 1 else {"worksheets": [{"cells": cells}], "nbformat": 2})
    text = text_of(write(tmp_path / "a.ipynb", data))
    assert text.startswith("# Title\n")
    assert "x = 1" in text


class TestArchives:
    def test_documents_in_an_archive(self, tmp_path):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("deep.md", "# Deep\n\nwords")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("docs/a.txt", "plain")
            archive.writestr("docs/../../evil.txt", "stays inside")
            archive.writestr("b.pdf", mixed.write_pdf(tmp_path / "b.pdf", ["Words."]).read_bytes())
            archive.writestr("inner.zip", inner.getvalue())
            archive.writestr("p.png", b"\x89PNG")
            archive.writestr(".hidden", "no")
            archive.writestr("broken.docx", b"PK\x03\x04junk")
        document = read_document(tmp_path / "a.zip")
        assert {part.metadata["entry"]: part.text.strip() for part in document.sections} == {
            "b.pdf": "Words.", "docs/../../evil.txt": "stays inside", "docs/a.txt": "plain", "inner.zip/deep.md": "# Deep\n\nwords",
        }  # fmt: skip
        assert len(document.warnings) == 2
        assert not (tmp_path.parent / "evil.txt").exists()

    def test_archives_in_archives_without_end(self, tmp_path):
        data = b"the end"
        for _ in range(10):
            made = io.BytesIO()
            with zipfile.ZipFile(made, "w") as archive:
                archive.writestr("a.zip" if data != b"the end" else "a.txt", data)
            data = made.getvalue()
        document = read_document(write(tmp_path / "a.zip", data))
        assert document.sections == []
        assert "nested more than" in document.warnings[0]

    def test_too_many_files_together(self, tmp_path, monkeypatch):
        monkeypatch.setattr("memvid_core.ingest.readers.nested._MOST_FILES", 20)
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as archive:
            for number in range(8):
                archive.writestr(f"{number}.txt", "x")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for number in range(8):
                archive.writestr(f"{number}.zip", inner.getvalue())
        with pytest.raises(IngestError, match="refused: more than 20 files"):
            read_document(tmp_path / "a.zip")


@pytest.mark.parametrize("suffix", ["txt", "md", "py", "eml", "html", "json", "rtf", "xml", "vtt"])
def test_no_record_is_a_run_of_encoded_data(tmp_path, suffix):
    noise = random.Random(1).randbytes(6000)
    runs = [base64.b64encode(noise).decode(), base64.encodebytes(noise).decode(), noise.hex()]
    for number, run in enumerate(runs):
        text = f"Before it.\n\n{run}\n\nAfter it."
        if suffix == "json":
            text = json.dumps([{"text": "Before it.", "data": run}])
        elif suffix == "eml":
            text = f"Subject: x\n\n{text}"
        elif suffix == "rtf":
            text = r"{\rtf1 " + text + "}"
        elif suffix == "xml":
            text = f"<a><b>Before it.</b><b>{run}</b></a>"
        elif suffix == "vtt":
            text = f"WEBVTT\n\n00:01.000 --> 00:02.000\nBefore it.\n\n00:03.000 --> 00:04.000\n{run}"
        chunks = load_chunks(write(tmp_path / f"{number}.{suffix}", text))
        assert "Before it." in " ".join(chunk.text for chunk in chunks)
        assert all(len(word) < 200 for chunk in chunks for word in chunk.text.split()), number
        assert sum(len(chunk.text) for chunk in chunks) < 700


def test_no_text_takes_long(tmp_path):
    hostile = {
        "org": "* a" + " " * 200_000 + "b",
        "tex": "\\begin[" * 15_000 + "\\section[" * 5_000 + "\\section{" * 5_000,
        "rst": "x\n===\n\n" * 5_000 + "=" * 50_000,
        "adoc": "= a\n" * 5_000 + "----\n" * 5_001,
        "mbox": "From a\n\n" * 5_000,
        "eml": "Subject: " + "=?utf-8?q?" * 5_000,
        "rtf": r"{\rtf1 " + r"\'" * 20_000 + "{" * 5000,
        "xml": "<a>" * 20_000,
        "json": "[{" * 20_000,
        "vtt": "00:00.000 --> 00:00.000\n" * 3_000,
        "txt": ("x" * 60 + "\n") * 5_000 + " " * 50_000,
    }
    files = [write(tmp_path / f"a.{suffix}", text) for suffix, text in hostile.items()]
    results = list(read_many(files, timeout=10, workers=1))
    assert not [str(result.error) for result in results if "seconds" in str(result.error)]
