"""OpenDocument texts as LibreOffice shows them: formulas, charts, numbers, running lines, merged cells, hidden text."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from memvid_core.ingest import read_document

_URI = {"draw": "drawing"}
_NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{_URI.get(name, name)}:1.0"'
    for name in ("chart", "draw", "office", "presentation", "style", "table", "text")
)
_NAMES += ' xmlns:xlink="http://www.w3.org/1999/xlink"'
FORMULA = (
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi>'
    '<mn>2</mn></msup></mrow><annotation encoding="StarMath 5.0">E = m c^2</annotation></semantics></math>'
)


def table(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in row) for row in rows)
    return "<table:table>" + "".join(f"<table:table-row>{row}</table:table-row>" for row in cells) + "</table:table>"


CHART = (
    f"<office:document-content {_NAMES}><office:body><office:chart><chart:chart><chart:title><text:p>Sales</text:p>"
    f"</chart:title><chart:plot-area><chart:axis><chart:title><text:p>an axis</text:p></chart:title></chart:axis>"
    f"</chart:plot-area>{table(('', '2024'), ('north', '5'))}</chart:chart></office:chart></office:body>"
    "</office:document-content>"
)
STYLES = (
    '<text:outline-style><text:outline-level-style text:level="1" style:num-format="1"/>'
    '<text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/></text:outline-style>'
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1" style:num-format="1"'
    ' style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="a" style:num-prefix="("'
    ' style:num-suffix=")"/></text:list-style><text:list-style style:name="B"><text:list-level-style-bullet'
    ' text:level="1" text:bullet-char="*"/></text:list-style><style:style style:name="H"><style:text-properties'
    ' text:display="none"/></style:style>'
)
OBJECT = (
    "<draw:frame><draw:object xlink:href='./Object {}'/><draw:image xlink:href='./ObjectReplacements/x'/></draw:frame>"
)


def written(folder: Path, body: str, kind: str = "text", running: str = "") -> Path:
    path = folder / {"text": "a.odt", "spreadsheet": "a.ods", "presentation": "a.odp"}[kind]
    page = f"<style:master-page>{running}</style:master-page>"
    master = f"<office:master-styles>{page}</office:master-styles>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        content = f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
        archive.writestr("content.xml", f"<office:document-content {_NAMES}>{content}</office:document-content>")
        archive.writestr("styles.xml", f"<office:document-styles {_NAMES}>{STYLES}{master}</office:document-styles>")
        archive.writestr("Object 1/content.xml", FORMULA)
        archive.writestr("Object 2/content.xml", CHART)
        archive.writestr("Object 3/content.xml", "<broken")
    return path


def item(*inner: str, start: str = "") -> str:
    return f"<text:list-item{start and f' text:start-value={start!r}'}>{''.join(inner)}</text:list-item>"


def listed(*items: str, more: str = ' text:style-name="L"') -> str:
    return f"<text:list{more}>{''.join(items)}</text:list>"


INNER = listed(item("<text:p>in</text:p>"), item("<text:p>ner</text:p>"), more="")


OVER_THREE = (
    '<table:table-row><table:table-cell table:number-rows-spanned="3"><text:p>north</text:p></table:table-cell>'
    "<table:table-cell><text:p>a</text:p></table:table-cell></table:table-row>"
)
UNDER = (
    "<table:table-row><table:covered-table-cell/><table:table-cell><text:p>b</text:p></table:table-cell>"
    "</table:table-row>"
)
# What is written, and the lines that are shown.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "formula": ([f"<text:p>Here {OBJECT.format(1)}.</text:p>"], ["Here E=mc^2."]),
    "chart": (
        [f"<text:p>A chart:{OBJECT.format(2)}</text:p>", "<text:p>End.</text:p>"],
        ["A chart:", "Sales", "| 2024", "north | 5", "End."],
    ),
    "damaged": ([f"<text:p>Lost:{OBJECT.format(3)}</text:p>"], ["Lost:"]),
    "numbers": (
        [
            listed(item("<text:p>a</text:p>", "<text:p>more</text:p>"), item("<text:p>b</text:p>", INNER)),
            listed(item("<text:p>new</text:p>"), item("<text:p>nine</text:p>", start="9")),
            listed(item("<text:p>ten</text:p>"), more=' text:style-name="L" text:continue-numbering="true"'),
        ],
        ["1. a", "more", "2. b", "(a) in", "(b) ner", "1. new", "9. nine", "10. ten"],
    ),
    "bullets": (
        [listed(item("<text:p>a</text:p>"), more=' text:style-name="B"'), listed(item("<text:p>b</text:p>"), more="")],
        ["- a", "- b"],
    ),
    "headings": (
        [
            '<text:h text:outline-level="1">One</text:h><text:p>x</text:p>',
            '<text:h text:outline-level="2">Two</text:h><text:p>y</text:p>',
            '<text:h text:outline-level="1">Three</text:h>',
        ],
        ["1 One", "x", "1.1 Two", "y", "2 Three"],
    ),
    "headings in lists": (
        [listed(item('<text:h text:outline-level="1">Old</text:h>')), "<text:p>x</text:p>"],
        ["1. Old", "x"],
    ),
    "merged": (
        ["<table:table>", OVER_THREE, UNDER, UNDER, "</table:table>"],
        ["north | a", "north | b", "north | b"],
    ),
    "hidden": (
        [
            '<text:p text:style-name="H">secret</text:p>',
            '<text:p>a<text:span text:style-name="H">secret</text:span>b</text:p>',
            '<text:section text:display="none"><text:p>secret</text:p></text:section>',
            "<text:p>c<text:hidden-text>secret</text:hidden-text></text:p>",
            '<text:p>secret<text:hidden-paragraph text:is-hidden="true"/></text:p>',
        ],
        ["ab", "c"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_text_is_read_as_it_is_shown(tmp_path: Path, name: str) -> None:
    body, shown = CASES[name]
    document = read_document(written(tmp_path, "".join(body)))
    lines = "\n".join(section.text for section in document.sections).split("\n")
    assert [line.strip() for line in lines if line.strip()] == shown
    if name in ("headings", "headings in lists"):
        assert document.sections[0].metadata["heading"] == shown[0]


def test_an_embedded_document_that_is_damaged_is_named(tmp_path: Path) -> None:
    (warning,) = read_document(written(tmp_path, f"<text:p>Lost:{OBJECT.format(3)}</text:p>")).warnings
    assert warning.startswith("Object 3/content.xml was left out: damaged")


def test_headers_and_footers_come_last_and_once(tmp_path: Path) -> None:
    running = "<style:header><text:p>A journal</text:p></style:header><style:footer><text:p>7</text:p></style:footer>"
    running += "<style:header-left><text:p>A journal</text:p></style:header-left>"
    document = read_document(written(tmp_path, "<text:p>Text.</text:p>", running=running))
    assert [(section.text, section.metadata) for section in document.sections] == [
        ("Text.", {}),
        ("A journal", {"heading": "Headers and footers"}),
    ]


def test_charts_on_sheets_and_slides(tmp_path: Path) -> None:
    rows = table(("part", "count"), ("wing", "1"))
    sheet = rows.replace("</table:table>", f"<table:shapes>{OBJECT.format(2)}</table:shapes></table:table>")
    sections = read_document(written(tmp_path, sheet, "spreadsheet")).sections
    assert [section.text for section in sections][-1] == "Sales"
    sections = read_document(written(tmp_path, f"<draw:page>{OBJECT.format(2)}</draw:page>", "presentation")).sections
    assert "\n".join(section.text for section in sections).split() == ["Sales", "|", "2024", "north", "|", "5"]


@pytest.mark.parametrize("kind", ["text", "presentation", "spreadsheet"])
def test_a_document_that_is_one_file(tmp_path: Path, kind: str) -> None:
    body = {"text": "<text:p text:style-name='H'>secret</text:p>", "presentation": "<draw:page>", "spreadsheet": ""}[
        kind
    ]
    body += table(("part", "count"), ("wing", "1")) + ("</draw:page>" if kind == "presentation" else "")
    inner = f"<draw:frame><draw:object>{FORMULA}</draw:object></draw:frame>"
    body += f"<text:p>{inner}</text:p>" if kind == "text" else ""
    path = tmp_path / f"a.fod{kind[0]}"
    path.write_text(
        f"<office:document {_NAMES} office:mimetype='application/vnd.oasis.opendocument.{kind}'>"
        f"<office:automatic-styles>{STYLES}</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}></office:body>"
        "</office:document>"
    )
    text = "\n".join(section.text for section in read_document(path).sections)
    assert (
        text
        == {
            "text": "part | count\nwing | 1\n\nE=mc^2",
            "presentation": "part | count\nwing | 1",
            "spreadsheet": "part: wing; count: 1",
        }[kind]
    )
