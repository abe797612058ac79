"""``build``, ``add``, ``sync`` and ``import``."""

from __future__ import annotations

from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.cli.running import memvid


def names(folder: Path = Path()) -> set[str]:
    """What stands in a folder beside the documents."""
    return {path.name for path in folder.iterdir()} - {"docs"}


def test_build_makes_a_memory_that_answers(folder: Path) -> None:
    done = memvid("build", "docs", "-o", "notes.mp4")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("notes.mp4: 4 records from 3 files in ")
    with Memory.open("notes.mp4") as memory:
        hit = memory.search("how do flaps change lift", k=1)[0]
    assert hit.metadata["source"] == "docs/wings.md"
    assert hit.metadata["heading"] == "Wings > Flaps"


def test_build_says_in_json_what_it_did(folder: Path) -> None:
    done = memvid("build", "docs", "-o", "notes.mp4", "--json")
    assert (done.code, done.err) == (0, "")
    told = done.json
    assert told.pop("bytes") == Path("notes.mp4").stat().st_size
    assert told == {
        "memory": "notes.mp4",
        "records": 4,
        "commits": 1,
        "chunks": 4,
        "ids": [],
        "added": ["docs/engine.txt", "docs/wings.md", "docs/비행.md"],
        "changed": [],
        "unchanged": [],
        "empty": [],
        "removed": [],
        "skipped": [],
        "skipped_kinds": {},
        "ignored": [],
        "unused_patterns": [],
        "warnings": {},
        "failed": [],
    }


def test_build_takes_its_options(folder: Path) -> None:
    options = ["--chunk-size", 30, "--vector-dtype", "float32", "--description", "short", "--include", "*.md"]
    assert memvid("build", "docs", "-o", "notes.mp4", *options).code == 0
    with Memory.open("notes.mp4") as memory:
        info = memory.info()
        assert max(len(record.text) for record in memory) <= 30
        assert {record.metadata["source"] for record in memory} == {"docs/wings.md", "docs/비행.md"}
    assert (info.vector_dtype, info.description) == ("float32", "short")


def test_build_does_not_replace_a_memory_unless_told_to(folder: Path) -> None:
    memvid("add", "notes.mp4", "--create", "--text", "the old one")
    before = Path("notes.mp4").read_bytes()
    refused = memvid("build", "docs", "-o", "notes.mp4")
    assert refused.code == 5
    assert "--force" in refused.err
    assert Path("notes.mp4").read_bytes() == before
    assert memvid("build", "docs", "-o", "notes.mp4", "--force").code == 0
    with Memory.open("notes.mp4") as memory:
        assert len(memory) == 4
        assert memory.search("old", k=5, mode="lexical") == []
    assert names() == {"notes.mp4", "notes.mp4.index"}


def test_build_never_replaces_what_is_no_memory(folder: Path) -> None:
    Path("holiday.mp4").write_bytes(b"a film")
    done = memvid("build", "docs", "-o", "holiday.mp4", "--force")
    assert done.code == 6
    assert Path("holiday.mp4").read_bytes() == b"a film"
    Path("folder.mp4").mkdir()
    assert memvid("build", "docs", "-o", "folder.mp4").code == 5
    assert memvid("build", "docs", "-o", "folder.mp4", "--force").code in (6, 9)
    assert names() == {"holiday.mp4", "folder.mp4"}


def test_build_does_not_replace_a_memory_that_someone_writes(folder: Path) -> None:
    with Memory.create("notes.mp4") as memory, memory.exclusive():
        memory.add("mine")
        done = memvid("build", "docs", "-o", "notes.mp4", "--force", "--timeout", "0")
        assert done.code == 8
        assert "is being written by" in done.err
    with Memory.open("notes.mp4") as memory:
        assert [record.text for record in memory] == ["mine"]


def test_build_of_nothing_makes_nothing(folder: Path) -> None:
    Path("empty").mkdir()
    assert memvid("build", "empty", "-o", "notes.mp4").code == 1
    done = memvid("build", "empty", "-o", "notes.mp4", "--json")
    assert done.code == 1
    assert done.json["records"] == 0
    assert memvid("build", "missing", "-o", "notes.mp4").code == 2
    assert memvid("build", "docs", "-o", "nowhere/notes.mp4").code == 4
    assert memvid("build", "docs", "-o", "notes.mp4", "--codec", "wax").code == 2
    assert memvid("build", "docs", "-o", "notes.mp4", "--overlap", 2000).code == 2
    assert names() == {"empty"}


def test_a_replacement_that_fails_leaves_the_old_memory(folder: Path) -> None:
    memvid("add", "notes.mp4", "--create", "--text", "the old one")
    before = Path("notes.mp4").read_bytes()
    Path("empty").mkdir()
    assert memvid("build", "empty", "-o", "notes.mp4", "--force").code == 1
    assert memvid("build", "missing", "-o", "notes.mp4", "--force").code == 2
    assert Path("notes.mp4").read_bytes() == before
    assert names() == {"empty", "notes.mp4", "notes.mp4.index"}


def test_files_that_cannot_be_read_are_named_and_the_rest_is_in(folder: Path) -> None:
    Path("docs/broken.pdf").write_bytes(b"\x00\x01 no pdf")
    done = memvid("build", "docs", "-o", "notes.mp4")
    assert done.code == 3
    assert "1 file could not be read and was skipped:\n  docs/broken.pdf: " in done.err
    told = memvid("sync", "docs", "notes.mp4", "--json")
    assert told.code == 3
    assert told.json["records"] == 4
    [failed] = told.json["failed"]
    assert (failed["source"], failed["type"]) == ("docs/broken.pdf", "IngestError")
    assert "docs/broken.pdf" in failed["message"]


def test_of_very_many_files_that_cannot_be_read_some_are_named(folder: Path) -> None:
    for i in range(30):
        Path(f"docs/broken{i:02}.pdf").write_bytes(b"no pdf")
    done = memvid("build", "docs", "-o", "notes.mp4")
    assert done.code == 3
    assert done.err.count("\n") == 22
    assert "and 10 more" in done.err


def test_a_memory_does_not_read_itself(folder: Path) -> None:
    assert memvid("build", ".", "-o", "notes.mp4").code == 0
    again = memvid("sync", ".", "notes.mp4", "--json").json
    assert again["chunks"] == 0
    assert again["unchanged"] == ["docs/engine.txt", "docs/wings.md", "docs/비행.md"]


def test_add_takes_texts_with_ids_and_metadata(folder: Path) -> None:
    assert memvid("add", "notes.mp4", "--text", "one").code == 4
    options = ["--text", "one", "--text", "two", "--id", "a", "--id", "b", "--metadata", '{"tag": {"x": 1}}']
    done = memvid("add", "notes.mp4", "--create", *options, "--json")
    assert done.code == 0
    assert (done.json["ids"], done.json["records"], done.json["commits"]) == (["a", "b"], 2, 1)
    assert memvid("add", "notes.mp4", "--text", "one again", "--id", "a").code == 0
    with Memory.open("notes.mp4") as memory:
        assert [(record.id, record.text) for record in memory] == [("b", "two"), ("a", "one again")]
        assert memory.get("b").metadata == {"tag": {"x": 1}}


def test_add_takes_standard_input_cut_into_chunks(folder: Path) -> None:
    text = "\ufeff" + "\n\n".join(f"The paragraph number {i} of a long letter." for i in range(10))
    done = memvid(
        "add", "notes.mp4", "-", "--create", "--chunk-size", 100, "-m", '{"from": "Ada"}', "--json", input=text
    )
    assert done.code == 0
    with Memory.open("notes.mp4") as memory:
        records = list(memory)
    assert [record.id for record in records] == done.json["ids"]
    assert "\n\n".join(record.text for record in records) == text[1:]
    assert {(record.metadata["source"], record.metadata["from"]) for record in records} == {("stdin", "Ada")}
    broken = memvid("add", "notes.mp4", "-", input=b"caf\xe9")
    assert broken.code == 2
    assert "standard input is not UTF-8 at byte 3" in broken.err


def test_add_takes_files_and_a_second_time_only_what_changed(folder: Path) -> None:
    memvid("add", "notes.mp4", "docs/wings.md", "--create")
    Path("docs/wings.md").unlink()
    Path("docs/engine.txt").write_text("The engine is silent.", encoding="utf-8")
    told = memvid("add", "notes.mp4", "docs", "--json").json
    assert (told["added"], told["removed"], told["records"]) == (["docs/engine.txt", "docs/비행.md"], [], 4)
    Path("docs/engine.txt").write_text("The engine is loud.", encoding="utf-8")
    told = memvid("add", "notes.mp4", "docs", "--json").json
    assert (told["changed"], told["unchanged"], told["records"]) == (["docs/engine.txt"], ["docs/비행.md"], 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--text"),
        (["docs", "--id", "a"], "--text"),
        (["docs", "--metadata", "{}"], "--text"),
        (["--text", "a", "--metadata", "[1]"], "is not a JSON object"),
        (["--text", "a", "--metadata", "{a"], "is not JSON"),
        (["--text", "a", "--id", "x", "--id", "y"], "2 ids and 1 texts"),
    ],
)
def test_add_refuses_what_makes_no_sense(folder: Path, arguments: list[str], message: str) -> None:
    done = memvid("add", "notes.mp4", "--create", *arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert names() == set()


def test_sync_makes_follows_and_drops(folder: Path) -> None:
    assert memvid("sync", "docs", "notes.mp4").out.startswith("notes.mp4: 4 records from 3 files in ")
    assert memvid("sync", "docs", "notes.mp4").out.startswith("notes.mp4: 3 unchanged in ")
    memvid("add", "notes.mp4", "--text", "mine", "--id", "mine")
    Path("docs/wings.md").unlink()
    Path("docs/engine.txt").write_text("It hums.", encoding="utf-8")
    done = memvid("sync", "docs", "notes.mp4", "--json")
    assert done.code == 0
    told = done.json
    assert (told["changed"], told["removed"]) == (["docs/engine.txt"], ["docs/wings.md"])
    with Memory.open("notes.mp4") as memory:
        assert {record.id for record in memory} == {"docs/비행.md#0", "docs/engine.txt#0", "mine"}
        assert memory.get("docs/engine.txt#0").text == "It hums."
    assert memvid("sync", "docs", "notes.mp4").out.startswith("notes.mp4: 2 unchanged in ")


def test_an_embedder_that_is_not_installed_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = memvid("build", "docs", "-o", "notes.mp4", "--embedder", "memvid-hash-v1:nonsense")
    assert done.code in (2, 11)
    assert names() == set()
    monkeypatch.setenv("MEMVID_EMBEDDER", "memvid-hash-v1:128")
    assert memvid("build", "docs", "-o", "notes.mp4").code == 0
    with Memory.open("notes.mp4") as memory:
        assert memory.info().dimension == 128
