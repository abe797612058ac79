"""`memvid sync` in real processes: several working folders, records of others, folders that are empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.cli.running import Done, memvid, process


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text(f"The readme of {folder}.", encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: object) -> Done:
    return process(*arguments, cwd=folder)


def texts(path: Path) -> list[str]:
    with Memory.open(path) as memory:
        return sorted(record.text for record in memory)


def test_two_folders_of_one_spelling_go_into_one_memory(place: Path) -> None:
    for folder in ("A", "B", "A"):
        assert run(place / folder, "sync", ".", "../all.mp4").code == 0
    assert texts(place / "all.mp4") == ["The readme of A.", "The readme of B."]
    told = run(place, "sync", "A", "./B/", "all.mp4", "--json").json
    assert (told["unchanged"], told["added"], told["removed"]) == (["README.md", "README.md"], [], [])
    told = run(place / "B", "sync", place / "A", "../all.mp4", "--json").json
    assert (told["unchanged"], told["added"]) == (["README.md"], [])


def test_a_record_with_the_source_of_a_file_is_not_the_files(place: Path) -> None:
    assert memvid("sync", "A", "m.mp4").code == 0
    assert memvid("add", "m.mp4", "--text", "mine", "--id", "mine", "--metadata", '{"source": "A/README.md"}').code == 0
    (place / "A" / "README.md").unlink()
    told = memvid("sync", "A", "m.mp4", "--json").json
    assert told["removed"] == ["A/README.md"]
    assert texts(place / "m.mp4") == ["mine"]


def test_an_empty_folder_stops_a_sync_until_yes(place: Path) -> None:
    for i in range(5):
        (place / "A" / f"{i}.md").write_text(f"Number {i}.", encoding="utf-8")
    assert memvid("sync", "A", "m.mp4").code == 0
    for path in (place / "A").iterdir():
        path.unlink()
    done = memvid("sync", "A", "m.mp4")
    assert done.code == 2
    assert "A: 6 of the 6 known files in it are missing" in done.err
    assert "add --yes" in done.err
    assert len(texts(place / "m.mp4")) == 6
    assert memvid("sync", "A", "m.mp4", "--yes", "--json").json["records"] == 0


def test_what_is_skipped_is_told_by_kind(place: Path) -> None:
    for name in ("a.odg", "b.ODG", "c.7z", "core"):
        (place / "A" / name).write_bytes(b"PK\0\0\1\2")
    done = memvid("build", "A", "-o", "A/m.mp4")
    assert done.err == "4 skipped (.odg 2, .7z 1, without suffix 1)\n"
    told = memvid("sync", "A", "A/m.mp4", "--json").json
    assert told["skipped"] == ["A/a.odg", "A/b.ODG", "A/c.7z", "A/core"]
    assert told["skipped_kinds"] == {".odg": 2, ".7z": 1, "without suffix": 1}


def test_swapped_arguments_are_told(place: Path) -> None:
    memvid("build", "A", "-o", "m.mp4")
    for arguments in (("sync", "m.mp4", "A"), ("add", "A", "m.mp4"), ("search", "readme", "m.mp4")):
        done = memvid(*arguments)
        assert done.code == 6
        assert "did you swap it with m.mp4?" in done.err
    assert os.listdir(place / "A") == ["README.md"]


def test_a_question_may_begin_with_a_hyphen(place: Path) -> None:
    memvid("build", "A", "B", "-o", "m.mp4")
    told = memvid("search", "m.mp4", "-A readme", "-k", 5, "--mode", "lexical", "--json").json
    assert (told["query"], len(told["hits"])) == ("-A readme", 1)
    assert memvid("search", "m.mp4", "--mode=lexical", "-k", "1", "--", "readme").code == 0


def test_others_that_write_are_waited_for(place: Path) -> None:
    memvid("build", "A", "-o", "m.mp4")
    with Memory.open("m.mp4", "a") as memory, memory.exclusive():
        for command in (
            ["sync", "B", "m.mp4"],
            ["add", "m.mp4", "-t", "x"],
            ["delete", "m.mp4", "x"],
            ["compact", "m.mp4"],
        ):
            assert run(place, *command, "--timeout", "0.1").code == 8
    assert memvid("sync", "B", "m.mp4", "--timeout", "5").code == 0


@pytest.mark.parametrize("same_id", ["rename", "first", "last"])
def test_of_folders_of_different_machines_with_one_path_nothing_is_lost(place: Path, same_id: str) -> None:
    sync = ("sync", "A", "--chunk-size", 10)
    (place / "A" / "LICENSE.md").write_text("Free.", encoding="utf-8")
    for number, text in enumerate(("Cats purr.", "Dogs bark. Dogs run.")):
        for name in ("README.md", "notes.md"):
            (place / "A" / name).write_text(f"{text}\n\nIn {name}.", encoding="utf-8")
        memvid(*sync[:2], f"{number}.mp4", *sync[2:])
    of_both = texts(place / "0.mp4"), texts(place / "1.mp4")
    done = memvid("merge", "0.mp4", "1.mp4", "-o", "all.mp4", "--same-id", same_id)
    assert done.err == (
        "2 files of one path but of different folders, as on different machines; all readings were merged: "
        "A/README.md, A/notes.md\n"
    )
    merged = texts(place / "all.mp4")
    assert merged.count("Free.") == 1
    if same_id == "rename":
        assert {*of_both[0], *of_both[1]} == set(merged)
        (place / "A" / "notes.md").write_text("Birds fly.", encoding="utf-8")  # on the first of the machines
        assert memvid(*sync[:2], "all.mp4", *sync[2:]).code == 0
        assert {*of_both[1], "Birds fly."} <= set(texts(place / "all.mp4"))
    else:
        assert set(of_both[same_id == "last"]) <= set(merged)


def test_a_merge_without_records_replaces_nothing(place: Path) -> None:
    for name in ("0.mp4", "1.mp4"):
        with Memory.create(name) as memory:
            memory.add([name], ids=[name])
    with Memory.open("0.mp4", "a") as memory:
        memory.delete(["0.mp4"])
    before = (place / "1.mp4").read_bytes()
    done = memvid("merge", "0.mp4", "-o", "1.mp4", "--force", "--json")
    assert (done.code, done.err) == (1, "no records: 1.mp4 was not replaced\n")
    assert (done.json["memory"], done.json["records"], done.json["bytes"], done.json["older"]) == ("1.mp4", 0, 0, 0)
    assert (place / "1.mp4").read_bytes() == before
    assert memvid("merge", "0.mp4", "-o", "2.mp4").err == "no records: 2.mp4 was not created\n"
    assert not (place / "2.mp4").exists()


def test_of_memories_of_one_folder_the_newest_reading_is_merged_and_followed(place: Path) -> None:
    (place / "A" / "long.md").write_text("One. Two. Three.", encoding="utf-8")
    sync = ("sync", "A", "--chunk-size", 10)
    memvid(*sync[:2], "first.mp4", *sync[2:])
    memvid("add", "first.mp4", "-t", "mine", "--id", "mine", "--metadata", '{"source": "A/long.md"}')
    (place / "A" / "long.md").write_text("Four. Five.", encoding="utf-8")
    for name in ("second.mp4", "third.mp4"):
        memvid(*sync[:2], name, *sync[2:])
    with Memory.open("second.mp4", "a") as memory:  # as if it had been read later
        for record in memory.select({"_sync.digest": {"$exists": True}}):
            entry = {**record.metadata["_sync"], "at": "2999-01-01T00:00:00+00:00"}
            memory.update(record.id, metadata={**record.metadata, "_sync": entry})
    told = memvid("merge", "first.mp4", "second.mp4", "third.mp4", "-o", "all.mp4", "--json").json
    assert (told["renamed"], told["older"], told["records"]) == (0, 8, 5)
    assert texts(place / "all.mp4") == sorted([*texts(place / "second.mp4"), "mine"])
    assert len(memvid(*sync[:2], "all.mp4", *sync[2:], "--json").json["unchanged"]) == 2
    (place / "A" / "long.md").unlink()
    assert memvid(*sync[:2], "all.mp4", *sync[2:], "--json").json["removed"] == ["A/long.md"]
    assert texts(place / "all.mp4") == ["The readme", "mine", "of A."]
