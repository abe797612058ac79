"""Pictures in Markdown, reStructuredText, AsciiDoc, Org and LaTeX: the description stays, and the markup goes."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from memvid_core.ingest import read_document
from memvid_core.ingest.readers.markup_pictures import markdown_pictures
from memvid_core.ingest.readers.ocr import HOW_TO_GET
from memvid_core.ingest.readers.pictures import ELSEWHERE
from tests.core.ingest.readers.test_pictures_alone import ALONE, WORDS, picture

__all__ = ["picture"]

SHOWN: dict[str, tuple[str, str]] = {
    "inline.md": ("The ![wing](wing.png) lifts.", "The [wing] lifts."),
    "title.md": ('![A *big* [old] wing](a(1).png "title"){width=50%} end', "[A big [old] wing] end"),
    "name.md": ("![wing.png](wing.png)\nText.", "\nText."),
    "none.md": ("Before ![](wing.png) after.", "Before  after."),
    "link.md": ("[![Build](https://x.org/b.svg)](https://x.org) text", "[Build](https://x.org) text"),
    "reference.md": ("![Wing][w], ![w][], ![w] and ![no].\n\n[w]: img/w.png\n", "[Wing], [w], [w] and ![no].\n\n"),
    "code.md": ("`![no](a.png)`, ``` ![n`o](a.png) ``` ![yes](b.png)", "`![no](a.png)`, ``` ![n`o](a.png) ``` [yes]"),
    "fence.md": ("```md\n![no](a.png)\n```\n![yes](a.png)", "```md\n![no](a.png)\n```\n[yes]"),
    "indented.md": (
        "Text.\n\n    ![no](a.png)\n\nText\n    ![yes](b.png)",
        "Text.\n\n    ![no](a.png)\n\nText\n    [yes]",
    ),
    "list.md": ("- item\n\n    ![yes](a.png)", "- item\n\n    [yes]"),
    "escaped.md": (r"\![no](a.png)", r"\![no](a.png)"),
    "tag.md": ('<p><img src="p.png" alt="A &amp; B"></p> <IMG SRC=p.png>.', "<p>[A & B]</p> ."),
    "embedded.md": ("![[p.png]]![[p.png|300]] ![[p.png|A wing]] ![[Note]]", " [A wing] ![[Note]]"),
    "image.rst": (".. image:: p.png\n   :alt: A wing\n   :width: 50\n\nText.", "[A wing]\n\nText."),
    "figure.rst": (".. figure:: p.png\n   :alt: Alt\n\n   The caption.\n\nText.", "[Alt]\n\n\nThe caption.\n\nText."),
    "named.rst": ("See |wing|.\n\n.. |wing| image:: w.png\n   :alt: Wing\n", "See [Wing].\n\n"),
    "code.rst": ("Such::\n\n   .. image:: p.png\n\nEnd.", "Such::\n\n   .. image:: p.png\n\nEnd."),
    "block.rst": (
        ".. code-block:: rst\n\n   .. image:: p.png\n\n.. image:: q.png\n   :alt: yes",
        ".. code-block:: rst\n\n   .. image:: p.png\n\n[yes]",
    ),
    "macro.adoc": (
        'image::p.png[A wing,300]\n\nAn image:q.png[alt="The, tail"], image:r.png[].',
        "[A wing]\n\nAn [The, tail], .",
    ),
    "listing.adoc": ('----\nimage::p.png[no]\n----\nimage::p.png["A, b", 20]', "----\nimage::p.png[no]\n----\n[A, b]"),
    "link.org": (
        "[[file:p.png]] [[file:p.png][a link]] [[https://x.org]]",
        " [[file:p.png][a link]] [[https://x.org]]",
    ),
    "about.org": ("#+CAPTION: The wing\n#+ATTR_HTML: :alt A wing :width 9\n[[./p.png]]", "The wing\n[A wing]"),
    "code.org": ("#+BEGIN_SRC org\n[[file:p.png]]\n#+END_SRC", "#+BEGIN_SRC org\n[[file:p.png]]\n#+END_SRC"),
    "a.tex": (r"A \includegraphics[width=3cm,alt={wing, seen}]{p} b \includegraphics{q}.", "A [wing, seen] b ."),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_is_its_description(tmp_path: Path, name: str) -> None:
    written, shown = SHOWN[name]
    (tmp_path / name).write_text(written, encoding="utf-8")
    document = read_document(tmp_path / name)
    assert "".join(section.text for section in document.sections) == shown
    assert document.warnings == []


def test_so_in_a_notebook_but_not_in_its_code(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": "![A wing](p.png)"},
        {"cell_type": "code", "source": "x = '![no](p.png)'"},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    [section] = read_document(tmp_path / "a.ipynb").sections
    assert section.text == "[A wing]\n\n```\nx = '![no](p.png)'\n```"


ALONE_IN = {
    "a.md": "![](scan.png)\n",
    "b.md": "![[scan.png]]\n\n![scan.png][s]\n\n[s]: scan.png",
    "a.rst": ".. image:: scan.png\n",
    "a.adoc": "image::scan.png[]\n",
    "a.org": "[[file:scan.png]]\n",
    "a.tex": "\\begin{document}\\includegraphics{scan}\\end{document}",
}


@pytest.mark.parametrize("name", ALONE_IN)
def test_pictures_alone_are_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_text(ALONE_IN[name])
    alone = ALONE.replace("1 picture", "2 pictures") if name == "b.md" else ALONE
    for ocr, why in (("tesseract", ELSEWHERE), ("off", HOW_TO_GET)):
        monkeypatch.setenv("MEMVID_OCR", ocr)
        document = read_document(tmp_path / name)
        assert ([section.text.strip() for section in document.sections], document.warnings) == ([], [alone + why])


def test_a_picture_in_the_text_itself_is_read(tmp_path: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_OCR", "tesseract")
    (tmp_path / "a.md").write_text(f"![](data:image/png;base64,{base64.b64encode(picture).decode()})")
    document = read_document(tmp_path / "a.md")
    assert [(section.text, section.metadata) for section in document.sections] == [(WORDS, {"ocr": True})]


PIECES = st.sampled_from(
    [
        "![wing](a.png)", "![](a.png)", "![tail](<a b.png>)", '![two](a.png "t")', "![one][r]", "[link](x.html)",
        "`code`",
        "``a`b``", "`", "text", "\n", "\n\n", "    ", "- ", "> ", "```\n", "~~~\n", "![", "](", "[r]", "!", "\\", "*",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12))
def test_the_pictures_are_those_of_a_commonmark_parser(pieces: list[str]) -> None:
    text = "".join(["start ", *pieces, "\n\n[r]: r.png\n"])
    tokens = MarkdownIt("commonmark").parse(text)
    theirs = [str(child.attrs["src"]) for token in tokens for child in token.children or () if child.type == "image"]
    if "\n    " not in text and "[r]" not in "".join(pieces).replace("![one][r]", ""):
        found = [address.strip("<>").replace(" ", "%20") for address in markdown_pictures(text)[1]]
        assert found == theirs, text


def test_no_text_takes_long() -> None:
    for text in ("![" * 50_000, "![a](b " * 20_000, "`a``b```" * 10_000, "[![a](" * 20_000, '![a](b "' * 20_000):
        started = time.process_time()
        markdown_pictures(text)
        assert time.process_time() - started < 5
