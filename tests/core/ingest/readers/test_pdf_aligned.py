"""Tables of PDF pages without ruled lines: each row is one line, and running text stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from fpdf import FPDF

from memvid_core.ingest import Chunker, load_chunks, read_document

ROWS = [
    ["Part", "What it does", "Owner"],
    ["wing", "lifts the plane when the air flows faster over it than under it, and holds fuel", "Ada"],
    ["left rudder", "turns the nose", "Bob and Eve"],
    ["flap", "makes the wing larger while the plane lands, so that it can be slow and still fly", "Ada"],
]
EDGES = (60, 160, 340)
PARAGRAPH = [
    "A paragraph of running text that fills the line",
    "stands over the table and reaches as far as the table.",
    "It ends.",
]
SIZE = 10
LEADING = 12


class Page:
    """A page on which texts are written at places."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pdf = FPDF(unit="pt")
        self.pdf.add_page()
        self.pdf.set_font("Helvetica", size=SIZE)

    def write(self, x: float, y: float, text: str, *, right: bool = False) -> None:
        self.pdf.text(x - self.pdf.get_string_width(text) * right, y, text)

    def wrapped(self, text: str, width: float) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            lines = [*lines[:-1], longer] if self.pdf.get_string_width(longer) <= width else [*lines, word]
        return lines

    def read(self) -> str:
        self.pdf.output(str(self.path))
        (section,) = read_document(self.path).sections
        return section.text


def drawn(page: Page, rows: list[list[str]], middle: bool) -> Iterator[tuple[float, float, str]]:
    """Yield the lines of the cells, cell by cell, as word processors and browsers draw them."""
    y = 100.0
    for row in rows:
        cells = [page.wrapped(cell, 150 if number == 1 else 90) for number, cell in enumerate(row)]
        most = max(map(len, cells))
        for x, cell in zip(EDGES, cells, strict=True):
            above = (most - len(cell)) / 2 if middle else 0
            for number, line in enumerate(cell):
                yield x, y + (above + number) * LEADING, line
        y += most * LEADING + 8


def words(text: str) -> list[str]:
    return [word for word in text.split() if word != "|"]


@pytest.mark.parametrize("middle", [False, True])
def test_a_row_is_one_line_however_its_cells_are_broken(tmp_path: Path, middle: bool) -> None:
    page = Page(tmp_path / "table.pdf")
    for number, above in enumerate(PARAGRAPH):
        page.write(60, 100 - LEADING * (3 - number), above)
    lines = list(drawn(page, ROWS, middle))
    for x, y, line in lines:
        page.write(x, y, line)
    page.write(60, lines[-1][1] + 60, "The text goes on.")
    text = page.read()
    assert text.split("\n\n")[1].split("\n") == [" | ".join(row) for row in ROWS]
    assert text.split("\n\n")[0].split("\n") == PARAGRAPH
    # Nothing but what stands between the words is changed.
    assert words(text) == words(" ".join(chain(PARAGRAPH, (line for *_, line in lines), ["The text goes on."])))


def test_a_word_that_is_divided_in_a_cell_is_one(tmp_path: Path) -> None:
    page = Page(tmp_path / "table.pdf")
    for number in range(4):
        page.write(60, 100 + 40 * number, f"part {number}")
        page.write(160, 100 + 40 * number, "a memo-")
        page.write(160, 100 + LEADING + 40 * number, "randum of it")
        page.write(340, 100 + 40 * number, "Ada")
    assert page.read().split("\n") == [f"part {number} | a memorandum of it | Ada" for number in range(4)]


def test_numbers_on_the_right_and_empty_cells_keep_their_columns(tmp_path: Path) -> None:
    page = Page(tmp_path / "table.pdf")
    rows = [
        ["Item", "Q1", "Q2"],
        ["bolts", "1,200.50", "7"],
        ["nuts", "", "12"],
        ["small screws", "3", ""],
        ["washers", "44", "5"],
    ]
    for number, row in enumerate(rows):
        for edge, cell in zip((60, 250, 350), row, strict=True):
            if cell:
                page.write(edge, 100 + 18 * number, cell, right=edge > 60)
    assert page.read().split("\n") == [" | ".join(row).rstrip() if row[-1] else " | ".join(row) for row in rows]


def test_a_long_table_repeats_its_header_in_each_chunk(tmp_path: Path) -> None:
    page = Page(tmp_path / "table.pdf")
    for number in range(30):
        row = ("Part", "Weight", "Color") if not number else (f"part {number}", f"{number} kg", "gray")
        for edge, cell in zip(EDGES, row, strict=True):
            page.write(edge, 60 + 20 * number, cell)
    page.pdf.output(str(page.path))
    chunks = load_chunks(page.path, Chunker(200))
    assert len(chunks) > 2
    assert all(chunk.text.startswith("Part | Weight | Color\n") for chunk in chunks)


COLUMNS = [
    ["Part", "Weight", "Color"],
    ["wing", "1,200.50 kg", "gray"],
    ["left rudder", "3 kg", ""],
    ["flap", "44 kg", "blue"],
    ["nose wheel", "9 kg", "black"],
    ["seat", "17 kg", "red"],
]


@pytest.mark.parametrize("right", [False, True])
def test_rows_of_a_table_that_is_drawn_column_by_column(tmp_path: Path, right: bool) -> None:
    page = Page(tmp_path / "table.pdf")
    for number, line in enumerate(PARAGRAPH):
        page.write(60, 60 + LEADING * number, line)
    for place, edge in enumerate((60, 220, 300)):
        for number, row in enumerate(COLUMNS):
            if row[place]:
                page.write(edge, 110 + 18 * number, row[place], right=right and place == 1)
    page.write(60, 260, "The text goes on.")
    before, table, after = page.read().split("\n\n")
    assert before.split("\n") == PARAGRAPH
    assert table.split("\n") == [" | ".join(row) for row in COLUMNS]
    assert after == "The text goes on."


def test_one_table_by_columns_and_one_by_rows(tmp_path: Path) -> None:
    page = Page(tmp_path / "table.pdf")
    cells = [(place, number) for place in range(3) for number in range(len(COLUMNS))]
    for place, number in cells:
        page.write((60, 220, 300)[place], 110 + 18 * number, COLUMNS[number][place] or "-")
    for number, place in sorted((number, place) for place, number in cells):
        page.write((60, 220, 300)[place], 310 + 18 * number, COLUMNS[number][place] or "-")
    lines = [" | ".join(cell or "-" for cell in row) for row in COLUMNS]
    assert page.read().split("\n\n") == ["\n".join(lines)] * 2


def two_columns() -> list[tuple[float, float, str]]:
    """Two columns of running text, drawn one after the other."""
    text = "the wing lifts the plane and the rudder"
    return [
        (x, 100.0 + LEADING * line, f"{column}{line} {text}")
        for column, x in (("a", 60), ("b", 320))
        for line in range(12)
    ]


def three_columns() -> list[tuple[float, float, str]]:
    """Three columns of running text with numbers in it."""
    return [
        (60.0 + 130 * part, 100.0 + LEADING * line, f"{line} of {column} lifts the plane")
        for part, column in enumerate("abc")
        for line in range(12)
    ]


def three_full_columns() -> list[tuple[float, float, str]]:
    """Three columns of figures that fill their width, as in a magazine."""
    return [(x, 100.0 + LEADING * line, f"{line * 1234567} 89012345678") for x in (60, 160, 260) for line in range(12)]


def letterhead() -> list[tuple[float, float, str]]:
    """The foot of a letter: three addresses beside each other, drawn one after the other."""
    texts = (
        ("Example Ltd", "12 High Street", "London"),
        ("Bank of Bonn", "IBAN DE12", "BIC 77"),
        ("Phone 1", "Fax 2", "Mail a"),
    )
    return [
        (60.0 + 140 * part, 100.0 + LEADING * n, line)
        for part, lines in enumerate(texts)
        for n, line in enumerate(lines)
    ]


def side_by_side() -> list[tuple[float, float, str]]:
    """Two columns of running text, drawn line by line through both."""
    return sorted(two_columns(), key=lambda line: (line[1], line[0]))


def items() -> list[tuple[float, float, str]]:
    return [
        (60 + 30 * part, 100.0 + 16 * n, (f"{n + 1}.", f"item {n} of a list")[part])
        for n in range(8)
        for part in (0, 1)
    ]


def form() -> list[tuple[float, float, str]]:
    labels = ["Name:", "Street and number:", "Town:", "Date of birth:"]
    return [
        (60 + 160 * part, 100.0 + 24 * n, (label, f"value {n}")[part])
        for n, label in enumerate(labels)
        for part in (0, 1)
    ]


def contents() -> list[tuple[float, float, str]]:
    return [
        (60 + 400 * part, 100.0 + 16 * n, (f"Chapter {n}", str(n * 7 + 1))[part]) for n in range(8) for part in (0, 1)
    ]


def addresses() -> list[tuple[float, float, str]]:
    """A letter's two addresses beside each other."""
    return [
        (x, 100.0 + LEADING * n, f"{who} line {n}") for who, x in (("sender", 60), ("receiver", 350)) for n in range(5)
    ]


def steps() -> list[tuple[float, float, str]]:
    """Words with wide gaps that have no columns."""
    return [
        (60.0 + 37 * (n * n % 5) + 150 * part, 100.0 + 16 * n, f"word{n}{part}") for n in range(9) for part in (0, 1)
    ]


@pytest.mark.parametrize(
    "lines",
    [two_columns, three_columns, three_full_columns, letterhead, side_by_side, items, form, contents, addresses, steps],
)
def test_what_is_no_table_stays_as_it_is(tmp_path: Path, lines) -> None:
    page = Page(tmp_path / "page.pdf")
    for line in lines():
        page.write(*line)
    text = page.read()
    assert "|" not in text
    assert words(text) == words(" ".join(text for *_, text in lines()))
