"""Whose a record is: a sync changes what a sync wrote, for the folder it was given, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memvid_core import Memory
from memvid_core.errors import IngestError
from memvid_core.ingest import Chunker, load_chunks
from memvid_core.ingest import sync as sync_module
from memvid_core.ingest.ownership import KEY


def sync(memory, paths, **options):
    """Sync with files that this process reads: whose a record is does not depend on who read the file."""
    return sync_module.sync(memory, paths, timeout=None, memory_limit=None, **options)


@pytest.fixture
def memory():
    with Memory.create(":memory:") as memory:
        yield memory


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, **texts):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (Path(folder) / f"{name}.md").write_text(text, encoding="utf-8")


def contents(memory, without=()):
    return {record.id: record.text for record in memory if record.id not in without}


def everything(memory):
    return {record.id: (record.text, record.metadata) for record in memory}


# ------------------------------------------------------------------------------------------------- records of others


def foreign_records(memory):
    """Records that look as much like a sync's as a user can make them."""
    [theirs] = memory.select({"source": "docs/a.md", "chunk": 0}) or [None]
    copied = dict(theirs.metadata) if theirs else {"source": "docs/a.md", "chunk": 0, "start": 0, "digest": "0" * 32}
    yield "mine", "by hand", {"source": "docs/a.md"}
    yield "copy", "of all its metadata", copied
    yield "docs/a.md#1", "the next number", {**copied, "chunk": 1}
    yield "docs/b.md#0", "an id to come", {"source": "docs/b.md"}
    yield "docs/new.md#0", "an id that never comes", {**copied, "source": "docs/new.md", KEY: copied.get(KEY, {})}
    yield "odd", "an odd entry", {KEY: {"of": "x", "digest": 5}}
    yield "odder", "an odder entry", {KEY: {"of": {"a": 1}, "key": "y", "digest": "z"}, "digest": "f" * 32, "chunk": 0}


@pytest.mark.parametrize("before", [True, False])
def test_records_of_others_are_never_touched(memory, place, before):
    write("docs", a="Alpha.", c="Gamma.")
    if before:
        sync(memory, "docs")
    mine = {record_id: (text, metadata) for record_id, text, metadata in foreign_records(memory)}
    for record_id, (text, metadata) in mine.items():
        memory.add(text, [metadata], record_id)
    write("docs", a="Another alpha.\n\n" * 200, b="Beta.")
    assert sync(memory, "docs").added == (["docs/b.md"] if before else ["docs/a.md", "docs/b.md", "docs/c.md"])
    (Path("docs") / "b.md").unlink()
    (Path("docs") / "a.md").write_text("Short.")
    report = sync(memory, "docs")
    assert (report.changed, report.removed) == (["docs/a.md"], ["docs/b.md"])
    found = everything(memory)
    assert {record_id: found.pop(record_id) for record_id in mine} == mine
    assert sorted(text for text, _ in found.values()) == ["Gamma.", "Short."]
    commits = len(memory.history())
    assert sync(memory, "docs").unchanged == ["docs/a.md", "docs/c.md"]
    assert len(memory.history()) == commits


def test_a_record_whose_text_somebody_changed_is_theirs(memory, place):
    write("docs", a="Alpha.")
    sync(memory, "docs")
    memory.update("docs/a.md#0", text="My own words.")
    write("docs", a="Another alpha.")
    sync(memory, "docs")
    assert memory.get("docs/a.md#0").text == "My own words."
    assert sorted(contents(memory).values()) == ["Another alpha.", "My own words."]
    Path("docs/a.md").unlink()
    sync(memory, "docs")
    assert contents(memory) == {"docs/a.md#0": "My own words."}


NAMES = ("a", "b", "c")
STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 5)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from((0, 1, 2))),
    st.tuples(st.just("sync"), st.sampled_from(("docs", "./docs/", "../place/docs", "/")), st.just(0)),
    st.tuples(st.just("user"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("copy"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("edit"), st.sampled_from(NAMES), st.integers(0, 3)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(steps=st.lists(STEP, min_size=3, max_size=15))
def test_whatever_happens_a_users_records_stay_and_the_rest_is_the_folder(steps, tmp_path, monkeypatch):
    place = tmp_path / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    monkeypatch.chdir(place)
    write("docs", a="Alpha 0.")
    mine = {}
    with Memory.create(":memory:") as memory:
        for step, name, number in [*steps, ("sync", "docs", 0)]:
            path = Path("docs") / f"{name}.md"
            if step == "write":
                path.write_text("".join(f"# Part {part}\n\nText {number} of {name}.\n\n" for part in range(number)))
            elif step == "remove":
                path.unlink(missing_ok=True)
            elif step == "rename" and path.exists():
                path.rename(Path("docs") / f"{NAMES[number]}.md")
            elif step == "sync":
                root = os.fspath(place / "docs") if name == "/" else name
                sync(memory, root, drop_most=True)
            elif step in ("user", "copy"):
                record_id = f"docs/{name}.md#{number}"
                known = memory.get([record_id])
                metadata = dict(known[0].metadata) if known and step == "copy" else {"source": f"docs/{name}.md"}
                memory.add("By a user.", [metadata], record_id)
                mine[record_id] = ("By a user.", metadata)
            elif step == "edit" and f"docs/{name}.md#{number}" in memory:
                record_id = f"docs/{name}.md#{number}"
                memory.update(record_id, text="Edited by a user.")
                mine[record_id] = ("Edited by a user.", memory.get(record_id).metadata)
        found = everything(memory)
        assert {record_id: found.pop(record_id, None) for record_id in mine} == mine
        texts = Counter(text for text, _ in found.values())
        assert texts <= Counter(chunk.text for path in Path("docs").iterdir() for chunk in load_chunks(path))
        # A record that a user took over is the file's again when the file changes.
        for path in Path("docs").iterdir():
            path.write_text(f"{path.read_text()}\n\nThe end.")
        sync(memory, "docs")
        found = everything(memory)
        assert {record_id: found.pop(record_id, None) for record_id in mine} == mine
        files = sorted(Path("docs").iterdir())
        expected = sorted(chunk.text for path in files for chunk in load_chunks(path))
        assert sorted(text for text, _ in found.values()) == expected


ROOTS = ("a", "b", "c")
# From where, and how, each folder is named.
SPELLINGS = {
    "inside": lambda place, root: (place / root, "."),
    "beside": lambda place, root: (place, root),
    "around": lambda place, root: (place / "else", f"../{root}/"),
    "whole": lambda place, root: (place / "else", os.fspath(place / root)),
}
STEP_OF_THREE = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(ROOTS), st.sampled_from(("x", "y")), st.integers(1, 3)),
    st.tuples(st.just("remove"), st.sampled_from(ROOTS), st.sampled_from(("x", "y")), st.just(0)),
    st.tuples(st.just("move"), st.sampled_from(ROOTS), st.sampled_from(("x", "y")), st.integers(0, 2)),
    st.tuples(st.just("sync"), st.sampled_from(ROOTS), st.sampled_from(tuple(SPELLINGS)), st.booleans()),
    st.tuples(st.just("user"), st.sampled_from(ROOTS), st.sampled_from(("x", "y")), st.integers(0, 2)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(steps=st.lists(STEP_OF_THREE, min_size=4, max_size=16))
def test_three_folders_in_one_memory_from_anywhere(steps, tmp_path, monkeypatch):
    place = tmp_path / "place"
    shutil.rmtree(place, ignore_errors=True)
    (place / "else").mkdir(parents=True)
    for root in ROOTS:
        write(place / root, x=f"First of {root}.")
    mine = {}
    with Memory.create(":memory:") as memory:

        def synchronize(root, spelling, keep):
            working, named = SPELLINGS[spelling](place, root)
            monkeypatch.chdir(working)
            sync(memory, named, drop=not keep, drop_most=True)

        for number, (step, root, name, value) in enumerate(steps):
            path = place / root / f"{name}.md"
            if step == "write":
                path.write_text("".join(f"# P{part}\n\nText {number} of {root}.\n\n" for part in range(value)))
            elif step == "remove":
                path.unlink(missing_ok=True)
            elif step == "move" and path.exists():
                path.rename(place / ROOTS[value] / f"{name}-{number}.md")
            elif step == "sync":
                synchronize(root, name, value)
            elif step == "user":
                # Ids and sources that a sync of some folder, from some place, gives or may give.
                source = (f"{name}.md", f"{root}/{name}.md", f"../{root}/{name}.md")[value]
                memory.add("By a user.", [{"source": source}], f"{source}#0")
                mine[f"{source}#0"] = ("By a user.", {"source": source})
            found = everything(memory)
            assert {record_id: found.get(record_id) for record_id in mine} == mine
        expected: Counter[str] = Counter()
        for root in ROOTS:
            for path in (place / root).iterdir():
                path.write_text(
                    f"{path.read_text()}\n\nThe end of {root}."
                )  # what a user took over is the file's again
                expected.update(chunk.text for chunk in load_chunks(path))
            synchronize(root, "beside", False)
        found = everything(memory)
        assert {record_id: found.pop(record_id, None) for record_id in mine} == mine
        assert Counter(text for text, _ in found.values()) == expected


# ------------------------------------------------------------------------------------------------------------- roots


def test_one_folder_in_any_spelling_from_anywhere(memory, place, monkeypatch):
    write("docs", a="Alpha.", b="Beta.")
    (place / "link").symlink_to("docs", target_is_directory=True)
    assert sync(memory, "docs").added == ["docs/a.md", "docs/b.md"]
    for folder, spelled in ((".", "./docs/"), (".", place / "docs"), (".", "link"), ("docs", "."), ("docs", "../docs")):
        monkeypatch.chdir(place / folder)
        assert sync(memory, spelled).unchanged == ["docs/a.md", "docs/b.md"]
    monkeypatch.chdir(place / "docs")
    write(".", a="Another.", c="Gamma.")
    report = sync(memory, ".")
    assert (report.changed, report.added) == (["docs/a.md"], ["docs/c.md"])
    assert contents(memory) == {"docs/a.md#0": "Another.", "docs/b.md#0": "Beta.", "docs/c.md#0": "Gamma."}


def test_folders_of_one_spelling_are_two(memory, place, monkeypatch):
    write("A", readme="Of A.", only="Only in A.")
    write("B", readme="Of B.")
    for folder in ("A", "B", "A", "B"):
        monkeypatch.chdir(place / folder)
        report = sync(memory, ".")
        assert not report.removed
    assert sorted(contents(memory).values()) == ["Of A.", "Of B.", "Only in A."]
    write(".", readme="Of B, again.")
    assert sync(memory, ".").changed == ["readme.md"]
    monkeypatch.chdir(place / "A")
    (place / "A" / "readme.md").unlink()
    assert sync(memory, ".").removed == ["readme.md"]
    assert sorted(contents(memory).values()) == ["Of B, again.", "Only in A."]


def test_a_folder_in_a_folder_is_the_same_files(memory, place):
    write("docs", a="Alpha.")
    write("docs/sub", b="Beta.", c="Gamma.")
    assert sync(memory, "docs/sub").added == ["docs/sub/b.md", "docs/sub/c.md"]
    report = sync(memory, "docs")
    assert (report.added, report.unchanged) == (["docs/a.md"], ["docs/sub/b.md", "docs/sub/c.md"])
    assert sync(memory, "docs/a.md").unchanged == ["docs/a.md"]


@pytest.mark.parametrize("with_memory", [True, False])
def test_a_memory_that_moves_knows_its_folder(place, monkeypatch, with_memory):
    write("old/docs", a="Alpha.", b="Beta.", c="Gamma.")
    monkeypatch.chdir(place / "old")
    with Memory.create("notes.mp4") as memory:
        sync(memory, "docs")
    monkeypatch.chdir(place)
    if with_memory:
        (place / "old").rename(place / "new")
        docs = place / "new" / "docs"
        path = place / "new" / "notes.mp4"
    else:
        (place / "other").mkdir()
        docs = place / "old" / "docs"
        path = (place / "old" / "notes.mp4").rename(place / "other" / "notes.mp4")
    for _ in range(2):
        with Memory.open(path, "a") as memory:
            assert sync(memory, docs).unchanged == ["docs/a.md", "docs/b.md", "docs/c.md"]
            assert len(memory) == 3
    (docs / "a.md").write_text("Changed.")
    (docs / "b.md").write_text("Changed too.")
    (docs / "c.md").unlink()
    with Memory.open(path, "a") as memory:
        report = sync(memory, docs)
        assert (report.changed, report.removed) == (["docs/a.md", "docs/b.md"], ["docs/c.md"])
        assert sorted(contents(memory).values()) == ["Changed too.", "Changed."]


def test_a_folder_in_a_folder_that_is_gone_is_dropped(place):
    write("docs", a="Alpha.")
    write("docs/sub", b="Beta.", c="Gamma.")
    with Memory.create("notes.mp4") as memory:
        sync(memory, "docs/sub")
        shutil.rmtree("docs/sub")
        assert sync(memory, "docs", drop_most=True).removed == ["docs/sub/b.md", "docs/sub/c.md"]
        assert contents(memory) == {"docs/a.md#0": "Alpha."}


def test_another_folder_at_the_same_way_from_a_moved_memory_is_another(place):
    write("x/docs", readme="Of X.", b="Beta.")
    write("y/docs", readme="Of Y.")
    with Memory.create("x/notes.mp4") as memory:
        sync(memory, "x/docs")
    Path("x/notes.mp4").rename("y/notes.mp4")
    with Memory.open("y/notes.mp4", "a") as memory:
        assert sync(memory, "y/docs").added == ["y/docs/readme.md"]
        assert sorted(contents(memory).values()) == ["Beta.", "Of X.", "Of Y."]


# -------------------------------------------------------------------------------------------------------- most is gone


@pytest.mark.parametrize(("files", "gone", "stops"), [(2, 2, True), (1, 1, False), (20, 20, True), (40, 21, True),
                                                      (20, 11, True), (15, 10, False), (40, 20, False)])  # fmt: skip
def test_a_sync_that_would_drop_most_stops(memory, place, files, gone, stops):
    write("docs", **{f"n{i:02}": f"Number {i}." for i in range(files)})
    write("other", x="Elsewhere.")
    sync(memory, ["docs", "other"])
    for i in range(gone):
        (place / "docs" / f"n{i:02}.md").unlink()
    (place / "other" / "x.md").write_text("Changed.")
    if stops:
        before = everything(memory)
        with pytest.raises(
            IngestError, match=rf"docs: {gone} of the {files} known files .* are missing.* drop_most=True"
        ):
            sync(memory, ["docs", "other"])
        assert everything(memory) == before
        assert sync(memory, ["docs", "other"], drop=False).changed == ["other/x.md"]
    assert len(sync(memory, ["docs", "other"], drop_most=stops).removed) == gone
    assert len(memory) == files - gone + 1


def test_files_that_were_moved_are_not_gone(memory, place):
    write("docs/old", **{f"n{i:02}": f"Number {i}." for i in range(30)})
    sync(memory, "docs")
    Path("docs/old").rename("docs/new")
    report = sync(memory, "docs")
    assert (len(report.added), len(report.removed), len(memory)) == (30, 30, 30)


# --------------------------------------------------------------------------------------------------- versions before


def old_sync(memory, root):
    """What a version before wrote."""
    for path in sorted(Path(root).rglob("*.md")):
        chunks = load_chunks(path)
        digest = xxhash.xxh3_128(f"1 {Chunker()!r}".encode() + path.read_bytes()).hexdigest()
        memory.add(
            [chunk.text for chunk in chunks],
            [{**chunk.metadata, **({} if n else {"digest": digest})} for n, chunk in enumerate(chunks)],
            [f"{path.as_posix()}#{n}" for n in range(len(chunks))],
        )


@pytest.mark.parametrize("absolute", [True, False])
def test_what_a_version_before_wrote_is_taken_over(memory, place, absolute):
    write("docs", a="# A\n\nAlpha.\n\n# B\n\nMore.\n\n# C\n\nEnd.", b="Beta.", c="Gamma.")
    root = (place / "docs").as_posix() if absolute else "docs"
    old_sync(memory, root)
    memory.add("mine", [{"source": f"{root}/a.md", "chunk": 7}], "mine")
    memory.add("also mine", [{"source": f"{root}/a.md"}], f"{root}/a.md#3")
    Path("docs/c.md").write_text("Another.")
    report = sync(memory, root)
    assert (report.unchanged, report.changed) == ([f"{root}/a.md", f"{root}/b.md"], [f"{root}/c.md"])
    assert len(memory) == 7
    write("docs", a="Short.", b="All of it is new.", c="This too.")
    assert len(sync(memory, root).changed) == 3
    Path("docs/a.md").unlink()
    assert sync(memory, root).removed == [f"{root}/a.md"]
    assert sorted(contents(memory).values()) == ["All of it is new.", "This too.", "also mine", "mine"]


def test_the_same_spelling_elsewhere_is_not_taken_over(memory, place, monkeypatch):
    write("A", readme="Of A.", only="Only in A.")
    write("B", readme="Of B.")
    monkeypatch.chdir(place / "A")
    old_sync(memory, ".")
    monkeypatch.chdir(place / "B")
    assert sync(memory, ".").added == ["readme.md"]
    monkeypatch.chdir(place / "A")
    assert sync(memory, ".").unchanged == ["only.md", "readme.md"]
    assert sorted(contents(memory).values()) == ["Of A.", "Of B.", "Only in A."]


# ------------------------------------------------------------------------------------------------------------- names


def test_decomposed_names_are_found_by_composed_ones(memory, place):
    write("docs")
    name = unicodedata.normalize("NFD", "비행.md")
    (place / "docs" / name).write_text("날개는 양력을 만든다.", encoding="utf-8")
    report = sync(memory, "docs", include=["비*.md"])
    assert report.added == ["docs/비행.md"]
    assert [record.id for record in memory.select({"source": "docs/비행.md"})] == ["docs/비행.md#0"]


if sys.platform == "linux":  # others have no room for both

    def test_names_that_differ_in_composition_alone_are_two_files(memory, place):
        write("docs")
        for form in ("NFC", "NFD"):
            (place / "docs" / unicodedata.normalize(form, "é.md")).write_text(form)
        assert sync(memory, "docs").added == ["docs/é.md", "docs/é.md"]
        assert sorted(contents(memory).values()) == ["NFC", "NFD"]
        assert len(sync(memory, "docs").unchanged) == 2


def test_what_is_skipped_is_told(memory, place):
    write("docs", a="Alpha.")
    for name in ("a.7z", "b.odg", "c.odg", "noise"):
        (place / "docs" / name).write_bytes(b"PK\0\0\1\2")
    assert sync(memory, "docs").skipped == ["docs/a.7z", "docs/b.odg", "docs/c.odg", "docs/noise"]
    assert sync(memory, "docs", include=["*.odg", "*.md"]).skipped == ["docs/b.odg", "docs/c.odg"]


if sys.platform != "win32":

    def test_a_pipe_is_named(memory, place):
        os.mkfifo(place / "pipe.md")
        assert "not a regular file" in str(sync(memory, "pipe.md").failed["pipe.md"])
