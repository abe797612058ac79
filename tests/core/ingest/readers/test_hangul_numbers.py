"""Numbers and bullets that Hangul Office shows, in HWP and HWPX alike."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core.ingest import read_document
from memvid_core.ingest.readers.hangul_numbers import Head, Level, Numbers
from tests.core.ingest.ole_files import Numbering, cells, control, paragraph, section_start, write_hwp

KINDS = ("NONE", "OUTLINE", "NUMBER", "BULLET")
# As Hangul has them in a new document, and a second one with the numbers of the levels above.
FIRST: Numbering = (
    (0, "^1.", 1),
    (8, "^2.", 1),
    (0, "^3)", 1),
    (8, "^4)", 1),
    (0, "(^5)", 1),
    (8, "(^6)", 1),
    (1, "^7", 1),
)
SECOND: Numbering = ((2, "^1.", 3), (0, "^1.^2.", 1), (15, "^n", 1))
FORMATS = {0: "DIGIT", 1: "CIRCLED_DIGIT", 2: "ROMAN_CAPITAL", 8: "HANGUL_SYLLABLE", 15: "DECAGON_CIRCLE"}
Write = Callable[[Path, list["Line"], int], Path]
# Paragraphs: kind, level, numbering, text.
Line = tuple[str, int, int, str]
LINES: list[Line] = [
    ("OUTLINE", 0, 0, "개요"),
    ("OUTLINE", 1, 0, "배경"),
    ("NUMBER", 0, 2, "첫째"),
    ("NUMBER", 1, 2, "안의 첫째"),
    ("NUMBER", 1, 2, "안의 둘째"),
    ("NUMBER", 2, 2, "더 안"),
    ("NUMBER", 0, 2, "둘째"),
    ("NUMBER", 1, 2, "다시"),
    ("BULLET", 0, 1, "점"),
    ("NONE", 0, 0, "본문"),
    ("OUTLINE", 1, 0, "범위"),
    ("OUTLINE", 0, 0, "결과"),
    ("OUTLINE", 1, 0, "요약"),
    ("NUMBER", 0, 9, "없는 번호"),
]
SHOWN = [
    "1. 개요", "가. 배경",
    "III. 첫째", "III.1. 안의 첫째", "III.2. 안의 둘째", "III.2.갑 더 안", "IV. 둘째", "IV.1. 다시", "- 점",
    "본문",    "나. 범위", "2. 결과", "가. 요약", "없는 번호",
]  # fmt: skip


def hwp(path: Path, lines: list[Line], outline: int) -> Path:
    shapes = [(KINDS.index(kind) << 23 | level << 25, number) for kind, level, number, _ in lines]
    body = b"".join(
        paragraph(f"#{text}" if not at else text, *([section_start(outline)] if not at else []), shape=at)
        for at, (*_, text) in enumerate(lines)
    )
    return write_hwp(path, body, shapes=tuple(shapes), numberings=(FIRST, SECOND))


def hwpx(path: Path, lines: list[Line], outline: int) -> Path:
    space = " ".join(f'xmlns:{name}="http://www.hancom.co.kr/hwpml/2011/{name}"' for name in ("hp", "hs", "hh"))
    numberings = "".join(
        f'<hh:numbering id="{number}" start="0">'
        + "".join(
            f'<hh:paraHead start="{start}" level="{level}" numFormat="{FORMATS[kind]}">{text}</hh:paraHead>'
            for level, (kind, text, start) in enumerate(levels, 1)
        )
        + "</hh:numbering>"
        for number, levels in enumerate((FIRST, SECOND), 1)
    )
    shapes = "".join(
        f'<hh:paraPr id="{at}"><hh:heading type="{kind}" idRef="{number}" level="{level}"/></hh:paraPr>'
        for at, (kind, level, number, _) in enumerate(lines)
    )
    begin = f'<hp:run><hp:secPr outlineShapeIDRef="{outline}"/></hp:run>'
    body = "".join(
        f'<hp:p paraPrIDRef="{at}">{"" if at else begin}<hp:run><hp:t>{text}</hp:t></hp:run></hp:p>'
        for at, (*_, text) in enumerate(lines)
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/header.xml", f"<hh:head {space}>{numberings}{shapes}</hh:head>")
        archive.writestr("Contents/section0.xml", f"<hs:sec {space}>{body}</hs:sec>")
    return path


@pytest.mark.parametrize("write", [hwp, hwpx])
def test_headings_and_lists_have_the_numbers_that_are_shown(tmp_path: Path, write: Write) -> None:
    sections = read_document(write(tmp_path / f"a.{getattr(write, '__name__', '')}", LINES, 1)).sections
    assert "\n\n".join(section.text for section in sections).split("\n\n") == SHOWN
    assert [section.metadata["heading"] for section in sections] == [
        "1. 개요 > 가. 배경", "1. 개요 > 나. 범위", "2. 결과 > 가. 요약",
    ]  # fmt: skip


@pytest.mark.parametrize("write", [hwp, hwpx])
@pytest.mark.parametrize(("outline", "heading"), [(2, "III. 개요"), (0, "개요"), (7, "개요")])
def test_a_section_chooses_the_numbering_of_its_headings(
    tmp_path: Path, write: Write, outline: int, heading: str
) -> None:
    (section,) = read_document(write(tmp_path / f"a.{getattr(write, '__name__', '')}", LINES[:1], outline)).sections
    assert section.text == heading


def test_numbered_paragraphs_in_cells(tmp_path: Path) -> None:
    body = paragraph("#", control("tbl ", cells((0, 0, 1, "가"), (0, 1, 1, "나"))), shape=1)
    path = write_hwp(tmp_path / "a.hwp", body, shapes=((2 << 23, 1), 0), numberings=(FIRST,))
    assert read_document(path).sections[0].text == "1. 가 | 2. 나"


@pytest.mark.parametrize(
    ("kind", "marks"),
    [
        ("DIGIT", "1 2 3"), ("CIRCLED_DIGIT", "① ② ③"), ("ROMAN_CAPITAL", "I II III"), ("ROMAN_SMALL", "i ii iii"),
        ("LATIN_CAPITAL", "A B C"), ("LATIN_SMALL", "a b c"), ("CIRCLED_LATIN_CAPITAL", "Ⓐ Ⓑ Ⓒ"),
        ("CIRCLED_LATIN_SMALL", "ⓐ ⓑ ⓒ"), ("HANGUL_SYLLABLE", "가 나 다"), ("CIRCLED_HANGUL_SYLLABLE", "㉮ ㉯ ㉰"),
        ("HANGUL_JAMO", "ㄱ ㄴ ㄷ"), ("CIRCLED_HANGUL_JAMO", "㉠ ㉡ ㉢"), ("HANGUL_PHONETIC", "일 이 삼"),
        ("IDEOGRAPH", "一 二 三"), ("CIRCLED_IDEOGRAPH", "㊀ ㊁ ㊂"), ("DECAGON_CIRCLE", "갑 을 병"),
        ("DECAGON_CIRCLE_HANJA", "甲 乙 丙"), ("ANOTHER", "1 2 3"),
    ],
)  # fmt: skip
def test_formats_of_numbers(kind: str, marks: str) -> None:
    numbers = Numbers({1: [Level.named(kind, "^1", 1)]})
    shown = [numbers.next(Head("NUMBER", 0, 1)) for _ in range(60)]
    assert " ".join(shown[:3]) == marks
    assert all(shown)
