"""Tables in markup languages: a line for each row however they are written, and headers in each chunk of long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from memvid_core.ingest import Chunker, read_document

WANTED = ["part | count", "left wing | 12", "nut | 7"]


def lines_of(path: Path) -> list[str]:
    text = "\n".join(section.text for section in read_document(path).sections)
    return [line for line in text.split("\n") if " | " in line]


TABLES = {
    "list.rst": """
.. list-table:: Stock
   :header-rows: 1

   * - part
     - count
   * - left
       wing
     - 12
   * - nut
     - 7
""",
    "inner.rst": """
A list:

  .. list-table::

     *  -  part
        -  count
     *  -  left wing
        -  12
     *  -  nut
        -  7

The end.
""",
    "csv.rst": """
.. csv-table::
   :header: "part", "count"
   :widths: 20, 10

   "left wing", 12
   nut, 7
""",
    "grid.rst": """
+-----------+-------+
| part      | count |
+===========+=======+
| left      | 12    |
| wing      |       |
+-----------+-------+
| nut       | 7     |
+-----------+-------+
""",
    "a.adoc": """
[cols="2,1", options="header"]
|===
|part |count

|left wing
|12

|nut |7
|===
""",
    "cells.adoc": """
[%header,cols=2*]
|===
|part
|count
|left
wing
|12
|nut
|7
|===
""",
    "bare.adoc": """
|===
|part |count

|left wing |12
|nut |7
|===
""",
    "a.tex": r"""
\begin{document}
\begin{tabular}{l|p{3cm}} \toprule
part & count \\ \midrule
\multicolumn{1}{c}{left wing} & 12 \\
 nut&7 \\ \bottomrule
\end{tabular}
\end{document}
""",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_row_is_a_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TABLES[name], encoding="utf-8")
    assert [line.strip() for line in lines_of(path)] == WANTED


@pytest.mark.parametrize(
    "text",
    [
        "+---+---+\n| a | b |\n|   +---+\n|   | c |\n+---+---+\n",
        "+---+---+\n| a | 기억 |\n+---+---+\n",
        ".. csv-table::\n   :file: a.csv\n\nText.\n",
        ".. list-table::\n\n   Nothing.\n",
        "+---+---+\n",
    ],
)
def test_what_is_no_such_table_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.rst").write_text(text, encoding="utf-8")
    assert "\n".join(section.text for section in read_document(tmp_path / "a.rst").sections) == text


def test_asciidoc_that_ends_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.adoc").write_text("Text.\n|===\n|a |b\n", encoding="utf-8")
    assert "|a |b" in "\n".join(section.text for section in read_document(tmp_path / "a.adoc").sections)


@pytest.mark.parametrize(
    ("name", "rule"), [("a.md", "|---|:-:|"), ("a.md", " --- | --- "), ("a.org", "|---+---|"), ("a.rst", "|---|---|")]
)
def test_a_long_table_has_its_header_in_each_chunk(tmp_path: Path, name: str, rule: str) -> None:
    rows = [f"| part {n} | {n} |" for n in range(200)]
    text = "\n".join(["# Stock", "", "Before.", "", "| part | count |", rule, *rows, "", "After."])
    (tmp_path / name).write_text(text, encoding="utf-8")
    chunks = Chunker(400, overlap=0).split_document(read_document(tmp_path / name))
    inside = [chunk.text for chunk in chunks if "| part 1" in chunk.text]
    assert len(inside) > 3
    assert all(chunk.startswith(f"| part | count |\n{rule}\n") for chunk in inside)
    together = "\n".join(chunk.text for chunk in chunks)
    assert all(together.count(row) == 1 for row in rows)
    assert "After." in together
