"""Names in either form of Unicode, and folders that are not there now: broken links, and disks not mounted."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
import zipfile
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from memvid_core import Memory
from memvid_core.cli.ingest_run import expanded
from memvid_core.errors import IngestError
from memvid_core.ingest import discover, matching, read_document, sync
from tests.core.cli.running import memvid

NAME = "Übersicht der Flügel"
OTHER = unicodedata.normalize("NFD", NAME)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: str, **texts: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        Path(folder, f"{name}.md").write_text(text, encoding="utf-8")


def synced(memory: Memory, *paths: str, **options: Any) -> sync.SyncReport:
    return sync.sync(memory, paths, timeout=None, memory_limit=None, **options)


if sys.platform != "win32":  # where links need a privilege, and there are no pipes and sockets in folders

    def test_links_to_nothing_and_pipes_are_told_and_records_of_what_they_led_to_stay(place: Path) -> None:
        write("disk/deep", **{f"n{i}": f"Number {i}." for i in range(3)})
        write("docs", a="Alpha.", b="Beta.", c="Gamma.", d="Delta.")
        for name, target in (("disk", "disk"), ("one.md", "disk/deep/n1.md")):
            Path("docs", name).symlink_to(place / target)
        os.mkfifo("docs/pipe.txt")
        done = memvid("sync", "docs", "m.mp4")
        assert (done.code, done.err) == (0, "1 skipped (special file 1)\n")
        Path("disk").rename("off")
        for options in ((), ("--include", "*.md")):
            told = memvid("sync", "docs", "m.mp4", *options, "--json").json
            assert (told["removed"], told["records"]) == ([], 7)
            assert told["skipped_kinds"] == {"broken link": 2, "special file": 1}
        Path("off").rename("disk")
        told = memvid("sync", "docs", "m.mp4", "--json").json
        assert (len(told["unchanged"]), told["records"]) == (7, 7)
        Path("docs/disk").unlink()
        Path("docs/one.md").unlink()
        assert memvid("sync", "docs", "m.mp4", "--json").json["records"] == 4


@pytest.mark.parametrize(("files", "stops"), [(11, True), (10, False)])
def test_an_empty_folder_that_had_many_files_stops_a_sync(place: Path, files: int, stops: bool) -> None:
    write("docs/a/disk/deep", **{f"n{i}": f"Number {i}." for i in range(files)})
    write("docs", **{f"m{i}": f"Here {i}." for i in range(40)})
    with Memory.create(":memory:") as memory:
        synced(memory, "docs")
        for file in Path("docs/a/disk/deep").iterdir():
            file.unlink()
        if stops:
            with pytest.raises(IngestError, match=r"docs/a/disk/deep: 11 of the 11 known files in it are missing"):
                synced(memory, "docs")
            assert len(memory) == 51
            Path("docs/a/disk/deep").rmdir()
            with pytest.raises(IngestError, match=r"docs/a/disk: 11 of the 11 "):
                synced(memory, "docs")
        assert len(synced(memory, "docs", drop_most=stops).removed) == files


def test_a_file_that_both_forms_of_a_pattern_give_is_one(place: Path) -> None:
    write("docs", **{NAME: "Of wings."})
    with suppress(FileExistsError):  # on macOS, it already has both names
        os.link(f"docs/{NAME}.md", f"docs/{OTHER}.md")
    assert len(expanded([Path(f"docs/{NAME}*.md")])) == 1


@pytest.mark.parametrize("root", ["c:/", "/"])
def test_the_root_of_a_drive_is_synchronized(place: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    write("docs", one="Of wings.", two="Of tails.")
    monkeypatch.setattr(matching, "real_path", lambda path: root)
    with Memory.create(":memory:") as memory:
        synced(memory, "docs")
        Path("docs/one.md").unlink()
        report = synced(memory, "docs")
        assert (len(report.removed), len(report.unchanged), len(memory)) == (1, 1, 1)


def test_a_folder_that_was_deleted_or_renamed_is_none_that_is_empty(place: Path) -> None:
    write("docs/a", **{f"n{i}": f"Number {i}." for i in range(12)})
    write("docs/b", **{f"m{i}": f"Here {i}." for i in range(30)})
    write("docs/c", **{f"k{i}": f"There {i}." for i in range(12)})
    with Memory.create(":memory:") as memory:
        synced(memory, "docs")
        Path("docs/moved").mkdir()
        for file in Path("docs/c").iterdir():
            file.rename(Path("docs/moved", file.name))
        for file in Path("docs/a").iterdir():
            file.unlink()
        Path("docs/a").rmdir()
        assert len(synced(memory, "docs").removed) == 24
        assert len(memory) == 42


def test_names_in_metadata_are_composed(place: Path) -> None:
    with zipfile.ZipFile("z.zip", "w") as archive:
        archive.writestr(f"{OTHER}.txt", "Of wings.")
    book = openpyxl.Workbook()
    book.active.title = OTHER
    book.active.append(["name"])
    book.active.append(["wing"])
    book.save("b.xlsx")
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ada@example.com", OTHER
    mail.set_content("See below.")
    mail.add_attachment("Of wings.", filename=f"{OTHER}.txt")
    Path("m.eml").write_bytes(bytes(mail))
    Path("h.md").write_text(f"# {OTHER}\n\nText.", encoding="utf-8")
    found: dict[str, Any] = {}
    for name in ("z.zip", "b.xlsx", "m.eml", "h.md"):
        for section in read_document(name).sections:
            found |= section.metadata
    assert {found[key].removesuffix(".txt") for key in ("entry", "sheet", "attachment", "heading")} == {NAME}


def test_rules_of_gitignore_are_in_any_form(place: Path) -> None:
    for name in (NAME, OTHER):
        write(f"docs/{name}", inner="Of wings.")
        for rule in (NAME, OTHER):
            Path("docs/.gitignore").write_text(f"{rule}/\n", encoding="utf-8")
            assert list(discover("docs")) == []
        Path("docs", name, "inner.md").unlink()
        Path("docs", name).rmdir()


@pytest.mark.parametrize("name", [NAME, OTHER])
@pytest.mark.parametrize("typed", [NAME, OTHER])
def test_arguments_are_found_in_any_form(place: Path, name: str, typed: str) -> None:
    write(f"docs/{name}", **{name: "Of wings."})
    Path(name).mkdir()
    memory = f"{typed}/{typed}.mp4"
    assert memvid("build", f"docs/{typed}/{typed}.md", "-o", f"{name}/{name}.mp4").code == 0
    assert memvid("search", memory, "wings", "-k", 1, "--json").json["hits"][0]["id"] == f"docs/{NAME}/{NAME}.md#0"
    told = memvid("add", memory, f"docs/{typed}/{typed[:5]}*.md", "--json").json
    assert told["unchanged"] == [f"docs/{NAME}/{NAME}.md"]
    assert memvid("build", f"docs/{typed}-gone", "-o", "x.mp4").code == 2


@pytest.mark.parametrize("typed", [NAME, OTHER])
def test_records_are_found_whichever_way_a_name_is_spelled(place: Path, typed: str) -> None:
    write("docs", **{NAME: "Of wings.", "other": "Of tails."})
    assert memvid("build", "docs", "-o", "m.mp4").code == 0
    source = f"docs/{typed}.md"
    with Memory.open("m.mp4", "a") as memory:  # a user's own record, with the name as macOS gives it
        memory.add("Of wheels.", {"source": f"docs/{OTHER}.md", "entry": OTHER, "user": OTHER}, OTHER)
    for where in (
        {"source": source},
        {"source": {"$in": ["x", source]}},
        {"source": {"$not": {"$ne": source}}},
        {"source": {"$any": [source]}},
        {"source": {"$contains": typed}},
        {"source": {"$like": f"docs/{typed}%"}},
    ):
        found = memvid("search", "m.mp4", "of", "--where", json.dumps(where), "--json").json["hits"]
        assert {hit["id"] for hit in found} == {f"docs/{NAME}.md#0", OTHER}
    for pattern in (source, f"{typed}*"):
        told = memvid("ls", "m.mp4", pattern, "--json").json["sources"]
        assert sorted(each["source"] for each in told) == sorted([f"docs/{NAME}.md", f"docs/{OTHER}.md"])
    told = memvid("get", "m.mp4", f"{source}#0", typed, "--json").json
    assert ([record["id"] for record in told["records"]], told["missing"]) == ([f"docs/{NAME}.md#0", OTHER], [])
    with Memory.open("m.mp4") as memory:  # nothing else is compared so, and nothing was changed
        assert memory.ids({"user": typed}) == ([OTHER] if typed == OTHER else [])
        assert memory.ids({"$id": typed}) == ([OTHER] if typed == OTHER else [])
        assert memory.get(OTHER).metadata == {"source": f"docs/{OTHER}.md", "entry": OTHER, "user": OTHER}
    assert memvid("delete", "m.mp4", typed, "--json").json["ids"] == [OTHER]
    assert memvid("delete", "m.mp4", "--where", json.dumps({"source": source}), "--json").json["deleted"] == 1


def test_an_id_is_first_what_it_is(place: Path) -> None:
    with Memory.create("m.mp4") as memory:
        memory.add(["composed", "decomposed"], ids=[NAME, OTHER])
    for name, text in ((NAME, "composed"), (OTHER, "decomposed")):
        assert [record["text"] for record in memvid("get", "m.mp4", name, "--json").json["records"]] == [text]
    assert memvid("delete", "m.mp4", OTHER, "--json").json["ids"] == [OTHER]
    assert memvid("get", "m.mp4", OTHER, "--json").json["records"][0]["text"] == "composed"
