"""Pages of HTML: how lists are numbered, encodings that no browser reads, and pages that a browser saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from memvid_core.ingest import read_document


@pytest.mark.parametrize(
    ("html", "lines"),
    [
        ("<ol start=5 reversed><li>x<li>y</ol>", ["5. x", "4. y"]),
        ("<ol reversed><li>x<li>y<li>z</ol>", ["3. x", "2. y", "1. z"]),
        ("<ol type=i><li>x<li value=9>y<li>z</ol>", ["i. x", "ix. y", "x. z"]),
        ("<ol type=A start=27><li>x</ol><ol type=a><li>y</ol><ol type=?><li>z</ol>", ["AA. x", "a. y", "1. z"]),
        ("<ol><li>x<ul><li>y</ul><li>z</ol>", ["1. x", "- y", "2. z"]),
    ],
)
def test_lists_are_numbered_as_they_are_shown(tmp_path: Path, html: str, lines: list[str]) -> None:
    (tmp_path / "a.html").write_text(html)
    text = "\n".join(section.text for section in read_document(tmp_path / "a.html").sections)
    assert [line for line in text.split("\n") if line] == lines


@pytest.mark.parametrize("name", ["utf-7", "UTF-7", "x-utf-7"])
def test_letters_are_no_marks(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.html").write_text(f"<meta charset='{name}'><p>+ADw-script+AD4- and more</p>")
    (section,) = read_document(tmp_path / "a.html").sections
    assert section.text == "+ADw-script+AD4- and more"


@pytest.mark.parametrize("suffix", ["mht", "mhtml"])
def test_a_page_that_a_browser_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text(
        "From: <Saved by Blink>\nSubject: A page\nMIME-Version: 1.0\n"
        "Content-Type: multipart/related; boundary=b\n\n--b\n"
        "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n"
        "<h1>Wings</h1><p>A wing =3D lift</p>\n--b\n"
        "Content-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Location: a.png\n\niVBORw0KGgo=\n--b--\n"
    )
    text = "\n".join(section.text for section in read_document(path).sections)
    assert text.endswith("Wings\n\nA wing = lift")
    assert "iVBOR" not in text
