"""``export`` and the way back: ``import`` and ``add --jsonl``."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import Memory, Record
from memvid_core.cli.exporting import _line, lines
from tests.core.cli.running import memvid

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)

HARD: list[tuple[str, str, dict[str, Any]]] = [
    ("a", "plain", {}),
    (
        "쪽 1",
        "날개는 양력을 만든다. 🚀\r\nsecond\u2028line\x85 \x1b[31m\x00",
        {"쪽": 1, "deep": {"list": [1, 2.5, None, "x"]}},
    ),
    ("-- -->", "<!-- no comment -->", {"source": "a -- b", "big": (1 << 64) - 1, "small": -(1 << 63), "tiny": 5e-324}),
    ("", "an empty id", {"": "an empty key", "infinite": math.inf}),
    ("empty", "", {"nothing": ""}),
]


@pytest.fixture
def hard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """A memory ``hard.mp4`` of records that are hard to write down."""
    monkeypatch.chdir(tmp_path)
    with Memory.create("hard.mp4") as memory:
        memory.add([text for _, text, _ in HARD], [data for _, _, data in HARD], [name for name, _, _ in HARD])
        memory.add("to be deleted", ids="gone")
        memory.delete("gone")
        return list(memory)


@given(st.builds(Record, TEXT, TEXT, st.dictionaries(TEXT, VALUES, max_size=4)))
def test_a_record_written_as_a_line_is_read_back_as_it_was(record: Record) -> None:
    line = _line(record)
    assert line.count(b"\n") == 1
    assert list(lines("file", io.BytesIO(line))) == [
        {"id": record.id, "text": record.text, "metadata": record.metadata}
    ]


@pytest.mark.parametrize("way", ["import", "add", "stdin"])
def test_an_export_goes_back_in_unchanged(hard: list[Record], way: str) -> None:
    assert memvid("export", "hard.mp4", "-o", "hard.jsonl").code == 0
    lines = Path("hard.jsonl").read_bytes()
    if way == "import":
        done = memvid("import", "hard.jsonl", "-o", "copy.mp4")
    elif way == "add":
        done = memvid("add", "copy.mp4", "hard.jsonl", "--jsonl", "--create")
    else:
        done = memvid("import", "-", "-o", "copy.mp4", input=lines)
    assert done.code == 0
    assert done.out.startswith("copy.mp4: 5 records in ")
    with Memory.open("copy.mp4") as memory:
        assert list(memory) == hard
    assert memvid("export", "copy.mp4").out.encode() == lines


@pytest.mark.parametrize("odd", ["", " ", "a\0b", "\n"])
def test_any_string_is_an_id_at_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [(odd, "old"), ("x", "other"), (odd, "new")]
    Path("a.jsonl").write_text("\n".join(json.dumps({"id": own, "text": text}) for own, text in texts))
    assert memvid("import", "a.jsonl", "-o", "a.mp4").code == 0
    assert memvid("import", "-", "-o", "b.mp4", input=memvid("export", "a.mp4").out).code == 0
    with Memory.open("b.mp4") as memory:
        assert {record.id: record.text for record in memory} == {odd: "new", "x": "other"}
    assert memvid("get", "b.mp4", odd, "--json").json["records"][0]["id"] == odd
    assert memvid("add", "b.mp4", "--text", "newest", "--id", odd).code == 0
    assert memvid("delete", "b.mp4", odd).code == 0
    with Memory.open("b.mp4") as memory:
        assert [record.id for record in memory] == ["x"]


def test_an_import_can_take_several_and_replace(hard: list[Record]) -> None:
    Path("one.jsonl").write_text('{"text": "one", "id": "1"}\n\n{"text": "new", "id": null}\n', encoding="utf-8-sig")
    Path("two.jsonl").write_text('{"text": "two", "id": "1", "metadata": null, "other": 1}', encoding="utf-8")
    assert memvid("import", "one.jsonl", "two.jsonl", "-o", "hard.mp4").code == 5
    assert memvid("import", "one.jsonl", "two.jsonl", "-o", "hard.mp4", "--force").code == 0
    with Memory.open("hard.mp4") as memory:
        assert len(memory) == 2
        assert memory.get("1") == Record("1", "two", {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3: not JSON"),
        ("[1]", "line 3: a value of type list, not an object"),
        ("{}", 'line 3: "text" is missing'),
        ('{"text": 1}', 'line 3: "text" is not a string'),
        ('{"text": "a", "id": 1}', 'line 3: "id" is not a string'),
        ('{"text": "a", "metadata": []}', 'line 3: "metadata" is not an object'),
        ("[" * 100_000, "line 3: not JSON"),
    ],
)
def test_a_line_that_is_no_record_is_named_and_changes_nothing(hard: list[Record], line: str, message: str) -> None:
    Path("bad.jsonl").write_text('{"text": "good"}\n{"text": "too"}\n' + line + "\n", encoding="utf-8")
    before = Path("hard.mp4").read_bytes()
    done = memvid("add", "hard.mp4", "bad.jsonl", "--jsonl")
    assert done.code == 2
    assert f"bad.jsonl, {message}" in done.err
    assert done.err.count("\n") == 1
    assert Path("hard.mp4").read_bytes() == before
    assert memvid("import", "bad.jsonl", "-o", "new.mp4").code == 2
    assert memvid("import", "missing.jsonl", "-o", "new.mp4").code == 2
    assert not Path("new.mp4").exists()


@pytest.mark.parametrize("text", ['[{"text": "a"}]', '\ufeff[\n  {"text": "a"}\n]\n'])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_array_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text, encoding="utf-8")
    done = memvid("import", name, "-o", "a.mp4")
    assert (done.code, Path("a.mp4").exists()) == (2, False)
    assert f"{name}: a JSON array" in done.err
    assert "jq -c '.[]'" in done.err


def test_export_filters_and_looks_into_the_past(notes: Path) -> None:
    done = memvid("export", notes, "--where", '{"page": {"$gte": 2}}')
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["flaps", "날개"]
    past = memvid("export", notes, "--as-of", 2)
    assert [json.loads(line)["id"] for line in past.out.splitlines()] == ["lift", "flaps", "thrust", "날개", "old"]


def test_export_to_a_file_replaces_none_unless_told_to(notes: Path) -> None:
    Path("out.jsonl").write_text("mine")
    assert memvid("export", notes, "-o", "out.jsonl").code == 5
    assert Path("out.jsonl").read_text() == "mine"
    done = memvid("export", notes, "-o", "out.jsonl", "--force", "--json")
    assert done.json == {
        "memory": "notes.mp4",
        "output": "out.jsonl",
        "format": "jsonl",
        "records": 4,
        "bytes": Path("out.jsonl").stat().st_size,
    }
    assert memvid("export", notes, "-o", "nowhere/out.jsonl").code == 9
    assert {path.name for path in Path().iterdir()} == {"notes.mp4", "notes.mp4.index", "out.jsonl"}


def test_export_as_one_document(notes: Path) -> None:
    done = memvid("export", notes, "--json")
    assert done.json["memory"] == "notes.mp4"
    assert [record["id"] for record in done.json["records"]] == ["lift", "flaps", "thrust", "날개"]
    none = memvid("export", notes, "--json", "--where", '{"page": 99}')
    assert (none.code, none.json) == (0, {"memory": "notes.mp4", "records": []})


def test_export_as_markdown(notes: Path) -> None:
    assert memvid("export", notes, "-o", "notes.md").code == 0
    text = Path("notes.md").read_text(encoding="utf-8")
    assert text == memvid("export", notes, "--format", "markdown").out
    assert text.count("\n# docs/wings.md\n") + text.startswith("# docs/wings.md\n") == 1
    assert "Flaps add lift at low speed.\n" in text
    assert '<!-- {"id": "flaps", "metadata": {"heading": "Wings > Flaps", "page": 2}} -->' in text


def test_markdown_comments_end_where_they_should(hard: list[Record]) -> None:
    comments = [
        line for line in memvid("export", "hard.mp4", "--format", "markdown").out.splitlines() if '{"id"' in line
    ]
    inside = [line.removeprefix("<!-- ").removesuffix(" -->") for line in comments]
    assert all("--" not in text for text in inside)
    assert [json.loads(text)["id"] for text in inside] == [record.id for record in hard]
