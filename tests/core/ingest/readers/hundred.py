"""A hundred small files that want time without end, memory without end, or what is not theirs."""

# ruff: noqa: E501  # XML, HTML and PDF objects in one line each

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.core.ingest import mixed
from tests.core.ingest.readers import hostile

__all__ = ["REFUSED", "write_hundred"]

_LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha ha ha '>{}]>".format(
    "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9))
)
_LEAK = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
_OFFICE = "urn:oasis:names:tc:opendocument:xmlns"
_DEEP = 50_000
REFUSED = frozenset(
    {
        "bomb.docx", "bomb.pptx", "bomb.xlsx", "bomb.odt", "bomb.hwpx", "bomb.epub", "bomb.zip", "many.zip",
        "repeated.epub", "wide.csv", "cut.pdf", "kids.pdf", "secret.docx", "fake.pdf", "fake.docx",
    }
)  # fmt: skip
"""Those of which nothing can be read."""


def write_hundred(folder: Path) -> list[Path]:
    """Write the files, and return their paths."""
    written = []
    for name, data in [*_texts(), *_markup(), *_archives(folder), *_office(folder), *_pdfs()]:
        path = folder / name
        if data is not None:
            path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
        written.append(path)
    hostile.repeated_epub(folder / "repeated.epub", 100_000)
    hostile.with_styles(folder / "circle.docx", [("C1", "C2"), ("C2", "C1")])
    hostile.wide_xlsx(folder / "corner.xlsx", 300)
    return [*written, *(folder / name for name in ("repeated.epub", "circle.docx", "corner.xlsx"))]


def _texts() -> Iterator[tuple[str, str | bytes]]:
    yield "quotes.csv", ',"a",' + '"' * 497 + "x"
    yield "wide.csv", ",".join(f"c{n}" for n in range(200_000)) + "\n1,2\n"
    yield "delimiters.csv", "\"',;|\t" * 5_000
    yield "open.csv", 'a,b\n"' + "x,y\n" * 50_000
    yield "tabs.tsv", "\t" * 100_000
    yield "brackets.json", "[" * _DEEP
    yield "objects.json", '{"a":' * _DEEP + "1" + "}" * _DEEP
    yield "digits.json", '[{"a": ' + "9" * 100_000 + "}]"
    yield "numbers.json", '[{"a": NaN, "b": -Infinity, "c": 1e999}]'
    yield "wide.json", json.dumps([{f"f{n}": n for n in range(50_000)}])
    yield "lines.jsonl", '{"a":' * 2_000 + "\n" + '{"a": 1}\n' * 1_000
    yield "cells.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": "x"}] * 50_000, "nbformat": 4})
    yield "odd.ipynb", json.dumps({"cells": [{"cell_type": ["x"], "source": {"a": 1}}, 7, None], "nbformat": "4"})
    yield "deep.ipynb", '{"cells": ' + "[" * _DEEP
    yield "quote.md", ">" * _DEEP + " x"
    yield "list.md", "".join("  " * n + "- x\n" for n in range(500))
    yield "fences.md", "```\n~~~\n" * 20_000
    yield "links.md", "# " + "![a](" * 40_000
    yield "marks.txt", "e" + "\u0301" * 200_000
    yield "joiners.txt", "\u200d" * 200_000
    yield "controls.txt", "".join(map(chr, range(1, 32))) * 2_000
    yield "bytes.txt", random.Random(1).randbytes(100_000).replace(b"\0", b"\1")
    yield "half.txt", b"\xff\xfe" + "날개".encode("utf-16-le") * 1_000 + b"\xd8"
    yield "escapes.txt", b"\x1b$B" * 50_000
    yield "surrogates.txt", "\ud800".encode("utf-8", "surrogatepass") * 30_000
    yield "codec.xml", '<?xml version="1.0" encoding="unicode_escape"?><a>\\x41</a>'
    yield "line.txt", "a" * 5_000_000
    yield "spaces.py", "def f():\n" + " " * 500_000 + "x"
    yield "titles.rst", "=" * 200_000 + "\nx\n" + "=" * 200_000
    yield "titles.adoc", "=" * 200_000 + " x\n" + "|===\n" * 20_000
    yield "stars.org", "*" * 200_000 + " x\n#+BEGIN_SRC\n" * 10
    yield "braces.tex", "\\section{" * _DEEP
    yield "begins.tex", "\\begin{document}" + "\\begin{a}" * _DEEP
    yield "arrows.vtt", "WEBVTT\n\n" + "--> " * 50_000
    yield "times.srt", "1\n999:99:99,999 --> 000:00:00,000\nx\n\n" * 5_000
    yield "tags.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n" + "<v " * 50_000


def _markup() -> Iterator[tuple[str, str | bytes]]:
    yield "laughs.xml", f"{_LAUGHS}<x>&j;</x>"
    yield "leak.xml", f"{_LEAK}<x>&a;</x>"
    yield "deep.xml", "<a>" * _DEEP + "x" + "</a>" * _DEEP
    yield "attributes.xml", "<a " + " ".join(f"a{n}='x'" for n in range(50_000)) + ">x</a>"
    yield "deep.html", "<div>" * _DEEP + "x"
    yield "tables.html", "<table><tr><td>" * 2_000 + "x"
    yield "columns.html", "<table>" + "<tr><td colspan=1000000000 rowspan=1000000000>x</td></tr>" * 500 + "</table>"
    yield (
        "rows.html",
        "<table>" + "<tr>" + "<td rowspan=65534>x</td>" * 500 + "</tr>" + "<tr></tr>" * 500 + "</table>",
    )
    yield "lists.html", "<ol><li>" * 3_000 + "x"
    yield "comment.html", "<!--" * 50_000
    yield "tags.html", "<a " * 70_000
    yield "laughs.html", f"{_LAUGHS}<html><body>&j;</body></html>"
    yield "math.html", "<math>" + "<mfrac>" * 3_000 + "<mi>x</mi>"
    yield "groups.rtf", "{\\rtf1 " + "{" * _DEEP + "x"
    yield "binary.rtf", "{\\rtf1 \\bin999999999 x}"
    yield "units.rtf", "{\\rtf1 " + "\\u-99999999999999999999?" * 1_000 + "}"
    yield "skips.rtf", "{\\rtf1 \\uc999999999 \\u65?x}"
    yield "words.rtf", "{\\rtf1 \\" + "a" * 200_000 + "}"
    yield "parts.eml", _nested_parts(300)
    yield "header.eml", "Subject: " + "x" * 500_000 + "\n\nbody"
    yield "encoded.eml", "Subject: " + "=?utf-8?B?w6Q=?= " * 5_000 + "\n\nbody"
    yield (
        "html.eml",
        "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b\nContent-Type: text/html\n\n"
        + "<style" * 20_000
        + "\n--b--\n",
    )
    yield "boundary.eml", "Content-Type: multipart/mixed; boundary=x\n\n" + "--x\n\n" * 5_000
    yield "from.mbox", "From a\nSubject: x\n\ny\n\n" * 3_000
    yield "lines.mbox", "From " * 40_000 + "\n"


def _nested_parts(depth: int) -> str:
    text = "Content-Type: text/plain\n\nx\n"
    for n in range(depth):
        text = f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n{text}\n--b{n}--\n"
    return "Subject: x\n" + text


def _zip(entries: dict[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return made.getvalue()


def _archives(folder: Path) -> Iterator[tuple[str, bytes]]:
    yield "many.zip", _zip({f"{n}.txt": "x" for n in range(10_001)})
    yield "outside.zip", _zip({"../../../outside.md": "# Outside", "/root.md": "# Root", "C:\\x.md": "# Drive"})
    inner = _zip({"a.txt": "inside"})
    for _ in range(8):
        inner = _zip({"a.zip": inner, "b.txt": "beside"})
    yield "nested.zip", inner
    good = _zip({"a.txt": "text " * 1_000})
    yield "cut.zip", good[: len(good) // 2]
    yield "comment.zip", good[:-2] + b"\xff\xff" + b"PK\x05\x06" * 16_000
    lying = bytearray(_zip({"a.txt": bytes(8 << 20)}))
    at = lying.rfind((8 << 20).to_bytes(4, "little"))
    lying[at : at + 4] = (100).to_bytes(4, "little")
    yield "lying.zip", bytes(lying)
    yield "same.zip", _zip({f"{n:03}.txt": f"Text {n}." for n in range(200)}).replace(b"001.txt", b"000.txt")
    yield "bomb.zip", _zip({"a.txt": bytes(20 << 20)})
    for name, entry in (("bomb.odt", "content.xml"), ("bomb.hwpx", "Contents/section0.xml"), ("bomb.epub", "c.opf")):
        yield (
            name,
            _zip(
                {
                    "mimetype": _MIMES[name.rpartition(".")[2]],
                    entry: bytes(20 << 20),
                    "META-INF/container.xml": hostile._CONTAINER,
                }
            ),
        )
    yield "laughs.odt", _zip({"mimetype": _MIMES["odt"], "content.xml": f"{_LAUGHS}<x>&j;</x>"})
    rows = '<table:table-row table:number-rows-repeated="1048576"><table:table-cell table:number-columns-repeated="16384"><text:p>x</text:p></table:table-cell></table:table-row>'
    yield (
        "repeated.ods",
        _zip(
            {
                "mimetype": _MIMES["ods"],
                "content.xml": _odf("spreadsheet", f'<table:table table:name="S">{rows}</table:table>'),
            }
        ),
    )
    spaces = '<text:p>a<text:s text:c="999999999"/>b</text:p>'
    yield "spaces.odt", _zip({"mimetype": _MIMES["odt"], "content.xml": _odf("text", spaces)})
    lists = "<text:list><text:list-item>" * 200 + "<text:p>x</text:p>" + "</text:list-item></text:list>" * 200
    yield "lists.odt", _zip({"mimetype": _MIMES["odt"], "content.xml": _odf("text", lists)})
    yield (
        "loop.epub",
        _zip(
            {
                "mimetype": _MIMES["epub"],
                "META-INF/container.xml": hostile._CONTAINER,
                "c.opf": hostile._OPF.format('<itemref idref="b"/>'),
            }
        ),
    )
    deep = (
        "<hp:tbl><hp:tr><hp:tc><hp:subList><hp:p><hp:run>" * 40
        + "<hp:t>x</hp:t>"
        + "</hp:run></hp:p></hp:subList></hp:tc></hp:tr></hp:tbl>" * 40
    )
    section = f'<hs:sec xmlns:hp="p" xmlns:hs="s"><hp:p><hp:run>{deep}</hp:run></hp:p></hs:sec>'
    yield "deep.hwpx", _zip({"mimetype": _MIMES["hwpx"], "Contents/section0.xml": section})


_MIMES = {
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "hwpx": "application/hwp+zip",
    "epub": "application/epub+zip",
}


def _odf(kind: str, body: str) -> str:
    spaces = " ".join(f'xmlns:{name}="{_OFFICE}:{name}:1.0"' for name in ("office", "text", "table"))
    return f"<office:document-content {spaces}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"


def _office(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    likes = {
        "docx": (mixed.write_docx(folder / "like.docx", "T", ["Words."]), "word/document.xml"),
        "pptx": (mixed.write_pptx(folder / "like.pptx", [("T", "Words.")]), "ppt/slides/slide1.xml"),
        "xlsx": (mixed.write_xlsx(folder / "like.xlsx", {"S": [["a", "b"], ["c", 1]]}), "xl/worksheets/sheet1.xml"),
    }
    for suffix, (like, member) in likes.items():
        data = like.read_bytes()
        like.unlink()
        mixed.write_zip_bomb(folder / f"bomb.{suffix}", like=_kept(folder, like, data), member=member, megabytes=20)
        yield f"bomb.{suffix}", None
        yield f"laughs.{suffix}", _changed(data, member, lambda xml: xml.replace(b"?>", b"?>" + _LAUGHS.encode(), 1))
        yield f"leak.{suffix}", _changed(data, member, lambda xml: xml.replace(b"?>", b"?>" + _LEAK.encode(), 1))
        yield f"cut.{suffix}", data[: len(data) // 2]
        yield f"empty.{suffix}", _changed(data, member, lambda xml: b"")
        yield f"gone.{suffix}", _zip({"[Content_Types].xml": "<Types/>", "_rels/.rels": "<Relationships/>"})
    like, member = likes["docx"]
    data = (folder / "kept" / "like.docx").read_bytes()
    tables = b"<w:tbl><w:tr><w:tc><w:p/>" * 300 + b"</w:tc></w:tr></w:tbl>" * 300
    yield "tables.docx", _changed(data, member, lambda xml: xml.replace(b"<w:body>", b"<w:body>" + tables))
    spans = b'<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="999999999"/></w:tcPr><w:p/></w:tc></w:tr></w:tbl>' * 100
    yield "spans.docx", _changed(data, member, lambda xml: xml.replace(b"<w:body>", b"<w:body>" + spans))
    yield "secret.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")
    yield "fake.docx", b"Only text."


def _kept(folder: Path, like: Path, data: bytes) -> Path:
    (folder / "kept").mkdir(exist_ok=True)
    path = folder / "kept" / like.name
    path.write_bytes(data)
    return path


def _changed(data: bytes, member: str, change: Callable[[bytes], bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return _zip(
            {name: change(archive.read(name)) if name == member else archive.read(name) for name in archive.namelist()}
        )


def _pdfs() -> Iterator[tuple[str, bytes]]:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>"
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    text = b"BT /F 9 Tf 20 100 Td (Words.) Tj ET "

    def made(
        content: bytes, *, catalog: bytes = b"", pages: bytes = b"/Kids[3 0 R]/Count 1", extra: bytes = b"null"
    ) -> bytes:
        objects = [
            b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog, b"<</Type/Pages%s>>" % pages, page,
            b"<</Length %d>>stream\n%s\nendstream" % (len(content), content), font, extra,
        ]  # fmt: skip
        body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, item) for number, item in enumerate(objects, 1))
        return b"%PDF-1.7\n" + body + b"trailer<</Root 1 0 R/Size 7>>\n%%EOF\n"

    yield "kids.pdf", made(text, pages=b"/Kids[2 0 R 2 0 R]/Count 1000000000")
    yield "count.pdf", made(text, pages=b"/Kids[3 0 R]/Count 1000000")
    form = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>/Length 5>>stream\n/X Do\nendstream"
    yield "form.pdf", made(text + b"/X Do", extra=form)
    yield (
        "outline.pdf",
        made(text, catalog=b"/Outlines 6 0 R", extra=b"<</First 6 0 R/Next 6 0 R/Last 6 0 R/Title(x)/Dest[3 0 R]>>"),
    )
    yield "box.pdf", made(text).replace(b"0 0 300 300", b"0 0 1e30 1e30")
    yield "letters.pdf", made(b"BT /F 1 Tf " + b"1 0 0 1 5 5 Tm (a b) Tj " * 20_000 + b"ET")
    grid = b"".join(b"%d 0 m %d 300 l S 0 %d m 300 %d l S " % (n, n, n, n) for n in range(0, 300, 4))
    yield "grid.pdf", made(grid + text * 500)
    yield "rules.pdf", made(b"".join(b"%d %d 5 5 re S " % (n % 290, n // 290 * 6) for n in range(0, 20_000, 6)) + text)
    boxes = b"".join(
        b"%d %d 9 9 re %d %d 9 9 re S " % (n % 250, n // 250 * 18, n % 250 + 9, n // 250 * 18 + 9)
        for n in range(0, 9_000, 18)
    )
    yield (
        "boxes.pdf",
        made(boxes + b"BT /F 2 Tf 3 TL 0 300 Td " + b"(a b c d e f g h i j k l m n o p) Tj T* " * 900 + b"ET"),
    )
    squares = b"".join(b"%d %d %d %d re S " % (n, n, 290 - n, 290 - n) for n in range(100))
    yield (
        "squares.pdf",
        made(squares + b"BT /F 2 Tf 3 TL 0 300 Td " + b"(a b c d e f g h i j k l m n o p) Tj T* " * 900 + b"ET"),
    )
    yield "paths.pdf", made(b"0 0 m 9 9 l S " * 60_000 + text)
    yield "turned.pdf", made(b"BT /F 9 Tf " + b"".join(b"0 1 -1 0 %d 50 Tm (a) Tj " % n for n in range(300)) + b"ET")
    signs = b"<</Type/Font/Subtype/Type1/BaseFont/X/FirstChar 97/LastChar 98/Widths[0 500]/ToUnicode 6 0 R>>"
    cmap = b"begincmap 1 begincodespacerange <00> <ff> endcodespacerange 2 beginbfchar <61> <064b> <62> <0628> endbfchar endcmap"
    stream = b"<</Length %d>>stream\n%s\nendstream" % (len(cmap), cmap)
    yield "vowels.pdf", made(b"BT /F 9 Tf 9 9 Td (b" + b"a" * 20_000 + b") Tj ET", extra=stream).replace(font, signs)
    yield "cut.pdf", made(text)[:200]
    yield "fake.pdf", b"Only text."
