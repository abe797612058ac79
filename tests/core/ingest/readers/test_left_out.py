"""One bad part, or one bad byte, is named, and the rest is read: books, archives, drawings, texts with NUL bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core.errors import IngestError
from memvid_core.ingest import discover, read_document
from memvid_core.ingest.readers.ocr import HOW_TO_GET

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="b/book.opf"/></rootfiles></container>'
)
XHTML = "application/xhtml+xml"
ITEMS = {
    "one": ("1.xhtml", XHTML, "<p>The first chapter.</p>"),
    "two": ("2.xhtml", XHTML, "<p>The second chapter.</p>"),
    "drawn": ("3.svg", "image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"><text>A drawn page.</text></svg>'),
    "shown": ("4.jpg", "image/jpeg", ""),
}


def book(path: Path, spine: list[str], change: Callable[[str, str], str | None] = lambda _, text: text) -> Path:
    """Write a book; ``change`` returns another content of a part, or None to leave it out."""
    items = "".join(f'<item id="{name}" href="{file}" media-type="{kind}"/>' for name, (file, kind, _) in ITEMS.items())
    refs = "".join(f'<itemref idref="{name}"/>' for name in spine)
    package = f"<manifest>{items}</manifest><spine>{refs}</spine>"
    parts = {
        "META-INF/container.xml": CONTAINER,
        "b/book.opf": f'<package xmlns="http://www.idpf.org/2007/opf">{package}</package>',
        **{f"b/{file}": text for file, _, text in ITEMS.values()},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            if (changed := change(name, text)) is not None:
                archive.writestr(name, changed)
    return path


def spoiled(path: Path, words: bytes) -> Path:
    """Change bytes of an entry that is stored, so that its checksum is wrong."""
    data = path.read_bytes()
    assert words in data
    path.write_bytes(data.replace(words, words.swapcase()))
    return path


def texts(path: Path) -> list[str]:
    return [section.text.strip() for section in read_document(path).sections]


class TestBooks:
    def test_what_the_spine_names_and_the_book_has_not(self, tmp_path: Path) -> None:
        path = book(tmp_path / "a.epub", ["one", "gone", "two"], lambda name, text: text if "1.x" not in name else None)
        document = read_document(path)
        assert [(part.text, part.metadata["part"]) for part in document.sections] == [("The second chapter.", 2)]
        assert document.warnings == [
            "the chapter 'gone' was left out: damaged: the book has no such part",
            "the chapter 'b/1.xhtml' was left out: damaged: its part 'b/1.xhtml' is missing",
        ]

    @pytest.mark.parametrize("nested", [False, True])
    def test_a_chapter_that_is_damaged(self, tmp_path: Path, nested: bool) -> None:
        deep = "<div>" * 3_000 + "x"
        path = book(tmp_path / "a.epub", ["one", "two"], lambda name, text: deep if nested and "2.x" in name else text)
        document = read_document(path if nested else spoiled(path, b"second"))
        assert [part.text for part in document.sections] == ["The first chapter."]
        (warning,) = document.warnings
        assert warning.startswith("the chapter 'b/2.xhtml' was left out: ")
        assert ("nested more than" if nested else "damaged") in warning

    def test_chapters_that_are_drawings_and_pictures(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MEMVID_OCR", "off")
        document = read_document(book(tmp_path / "a.epub", ["drawn", "shown", "one"]))
        assert [part.text for part in document.sections] == ["A drawn page.", "The first chapter."]
        assert document.warnings == [f"chapters without text, but with pictures (scans?): 'b/4.jpg'; {HOW_TO_GET}"]

    def test_a_book_of_which_nothing_can_be_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(IngestError, match=r"a\.epub: the chapter 'b/1\.xhtml': damaged"):
            read_document(spoiled(book(tmp_path / "a.epub", ["one"]), b"first"))


class TestArchives:
    def test_an_entry_that_is_damaged(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.txt", "Words of one.")
            archive.writestr("b.txt", "Words of two.")
        document = read_document(spoiled(tmp_path / "a.zip", b"two."))
        assert [part.text for part in document.sections] == ["Words of one."]
        assert [warning.split(":")[0] for warning in document.warnings] == ["b.txt was left out"]
        with pytest.raises(IngestError, match=r"a\.zip: damaged: 'a\.txt' cannot be unpacked"):
            read_document(spoiled(tmp_path / "a.zip", b"one."))

    def test_what_tells_the_kind_of_a_document_is_needed(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.odt", "w") as archive:
            archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
            archive.writestr("content.xml", "<a>words</a>")
        with pytest.raises(IngestError, match="damaged: 'mimetype'"):
            read_document(spoiled(tmp_path / "a.odt", b"vnd.oasis.opendocument"))


class TestPages:
    @pytest.mark.parametrize(
        ("html", "text"),
        [
            ("<p>A <svg><g><text>label</text></g></svg> here</p>", "A label here"),
            ("<p>A</p><svg><text>one <tspan>two</tspan></text><text>three</text></svg>", "A\n\none two\nthree"),
            ("<svg><foreignObject><div>In a <b>box</b></div></foreignObject></svg>", "In a box"),
            ("<table><tr><td><svg><text>1</text><text>2</text></svg></td><td>b</td></tr></table>", "1 2 | b"),
            ("<svg:svg xmlns:svg='x'><svg:text>prefixed</svg:text></svg:svg>", "prefixed"),
            ("<iframe srcdoc='<p>framed &lt;i>text</p>'>none</iframe><p>after</p>", "framed text\n\nafter"),
            ("<p>a</p><svg><title>t</title><desc>d</desc><defs><text>e</text></defs><style>f</style></svg>", "a"),
            ("<p>a</p><svg><symbol><text>b</text></symbol><text display=none>c</text><path>d</path></svg>", "a"),
            ("<p>a</p><svg><text style='display: none'>b</text></svg>", "a"),
        ],
    )
    def test_the_text_of_drawings_and_frames(self, tmp_path: Path, html: str, text: str) -> None:
        (tmp_path / "a.html").write_text(f"<html><body>{html}</body></html>", encoding="utf-8")
        (section,) = read_document(tmp_path / "a.html").sections
        assert (section.text, section.metadata) == (text, {})


WITH_NUL = {
    "a.csv": (b"name,city\nAda\0,London\n", "name: Ada; city: London"),
    "b.csv": (b"name,city\n" + b"Ada,London\n" * 2_000 + b"Bob,Ro\0me\n", "name: Bob; city: Ro me"),
    "a.log": (b"started\n" * 9 + b"\0" * 4096 + b"again\n", "started\n again"),
    "b.log": (b"started\n" * 9_000 + b"\0" * 4096, "started\nstarted"),
    "a.eml": (b"Subject: x\n\nOne\0two\n", "One two"),
    "a.html": (b"<p>One\0two</p>", "One two"),
    "a.txt": ("날개는 양력을 만든다.\n".encode("cp949") * 20 + b"\0" + "끝".encode("cp949"), "끝"),
    "b.txt": ("날개는\0양력을.".encode(), "날개는 양력을."),
    "a.xml": (b"<a><b>One\0two</b></a>", "One two"),
}


@pytest.mark.parametrize("name", WITH_NUL)
def test_a_text_with_nul_bytes_is_a_text_wherever_they_are(tmp_path: Path, name: str) -> None:
    data, text = WITH_NUL[name]
    (tmp_path / name).write_bytes(data)
    document = read_document(tmp_path / name)
    read = "\n".join(section.text for section in document.sections)
    assert text in read
    assert "\0" not in read
    assert document.warnings == [f"{data.count(0):,} NUL bytes were left out"]
    assert list(discover(tmp_path)) == [tmp_path / name]


@pytest.mark.parametrize(
    "data",
    [
        b"text, then a program\n" + bytes(range(256)) * 40,
        b"text " * 2_000 + b"\0\1\2",
        b"name".ljust(257, b"\0") + b"ustar\0" + b"words " * 100,
        b"\0" * 100,
    ],
)
def test_what_is_not_only_text_is_refused_with_the_place(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(IngestError, match=rf"a\.csv: a binary file, not a text: byte {data.index(0):,} is NUL"):
        read_document(tmp_path / "a.csv")
