"""Markdown out and in: a round trip changes nothing, an edit is one correction, and notes become resources."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import InvalidInputError, Memory
from memvid_core.agent import (
    Item,
    MemoryService,
    SyncMemoryService,
    aexport_markdown,
    aimport_markdown,
    export_markdown,
    import_markdown,
)
from memvid_core.agent.markdown import file_stem, plain, read_page, write_page
from memvid_core.agent.markdown_manifest import MANIFEST
from tests.processes import run, start

ROOT = Path(__file__).resolve().parents[3]
ME: dict[str, Any] = {"user_id": "me"}


@pytest.fixture
def service():
    with Memory.create(":memory:") as memory:
        made = SyncMemoryService(memory, memorize_config={"extract": "rules"})
        made.add("I live in Turin. I like tea. I need to call the harbor. I like jazz.", **ME)
        made.create_memory_item(memory_content="The cat is called Miso.\n\n- not a bullet\n# nor a heading", user=ME)
        made.add("I live in Seoul.", user_id="other")
        yield made


@pytest.fixture
def exported(service, tmp_path):
    export_markdown(service, tmp_path, **ME)
    return tmp_path


def summaries(service, **scope):
    return sorted(item.summary for item in service.list_memory_items(scope or ME))


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_files_of_an_export(service, exported):
    names = sorted(path.name for path in exported.iterdir())
    pages = ["goals.md", "personal_info.md", "preferences.md", "uncategorized.md"]
    assert names == sorted([MANIFEST, "MEMORY.md", *pages])
    lines = (exported / "preferences.md").read_text(encoding="utf-8").split("\n")
    about = 'description: "What somebody likes and dislikes"'
    assert lines[:5] == ["---", 'name: "preferences"', about, "type: category", "---"]
    assert [line.rpartition(" [ref:item-")[0] for line in lines if "[ref:" in line] == [
        "- I like tea.",
        "- I like jazz.",
    ]
    index = (exported / "MEMORY.md").read_text(encoding="utf-8").split("\n")
    assert [line.partition(":")[0] for line in index if line.startswith("- ")] == [
        f"- [{name.removesuffix('.md')}]({name})" for name in pages
    ]
    assert "Seoul" not in "".join(path.read_text(encoding="utf-8") for path in exported.iterdir())


def test_an_index_stays_under_two_hundred_lines(service, tmp_path):
    facts = [(f"fact {number}", (f"category {number}",)) for number in range(250)]
    for text, names in facts[:3]:
        service.create_memory_item(memory_content=text, memory_categories=names, user=ME)
    service.create_memory_item(memory_content="in many", memory_categories=[names[0] for _, names in facts], user=ME)
    made = export_markdown(service, tmp_path, **ME)
    assert len(made.files) > 250
    assert len((tmp_path / "MEMORY.md").read_text(encoding="utf-8").splitlines()) < 200


def test_a_round_trip_changes_nothing(service, exported):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    commits = len(service.memory.history())
    for _ in range(2):
        done = import_markdown(service, exported, forget_missing=True, **ME)
        assert (done.corrected, done.added, done.forgotten, done.resources) == ([], [], [], [])
        export_markdown(service, exported, **ME)
    assert len(service.memory.history()) == commits
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(service, exported):
    for path in exported.glob("*.md"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    commits = len(service.memory.history())
    import_markdown(service, exported, **ME)
    assert len(service.memory.history()) == commits


def test_an_edited_bullet_is_one_correction(service, exported):
    edit(exported / "personal_info.md", "Turin", "Lisbon")
    done = import_markdown(service, exported, **ME)
    assert [item.summary for item in done.corrected] == ["I live in Lisbon."]
    versions = service.history(done.corrected[0].id, **ME)
    assert [item.summary for item in versions] == ["I live in Turin.", "I live in Lisbon."]
    commits = len(service.memory.history())
    assert import_markdown(service, exported, **ME).corrected == []
    assert len(service.memory.history()) == commits
    export_markdown(service, exported, **ME)  # what was imported may be replaced


def test_a_new_bullet_is_an_item_once(service, exported):
    with (exported / "preferences.md").open("a", encoding="utf-8") as file:
        file.write("* I like figs.\n- I LIKE tea\n")
    done = import_markdown(service, exported, **ME)
    assert [(item.summary, item.categories, item.count) for item in done.added] == [
        ("I like figs.", ["preferences"], 1)
    ]
    again = import_markdown(service, exported, **ME)
    assert (again.added, again.corrected) == ([], [])
    assert [item.count for item in service.list_memory_items(ME) if item.summary == "I like figs."] == [1]


def test_what_is_deleted_is_forgotten_only_when_asked(service, exported):
    (exported / "preferences.md").unlink()
    before = summaries(service)
    done = import_markdown(service, exported, **ME)
    assert summaries(service) == before
    assert len(done.missing) == 2
    service.create_memory_item(memory_content="Known since the export.", user=ME)
    done = import_markdown(service, exported, forget_missing=True, **ME)
    assert len(done.forgotten) == 2
    assert summaries(service) == sorted({*before, "Known since the export."} - {"I like tea.", "I like jazz."})


def test_an_old_export_does_not_undo_what_changed_since(service, exported):
    by_text = {item.summary: item.id for item in service.list_memory_items(ME)}
    service.update_memory_item(memory_id=by_text["I like tea."], memory_content="I like coffee.", user=ME)
    service.forget(by_text["I like jazz."], **ME)
    service.add("I moved to Lisbon.", **ME)
    before = summaries(service)
    done = import_markdown(service, exported, **ME)
    assert summaries(service) == before
    assert sorted(done.ignored) == ["I like jazz.", "I live in Turin."]


def test_a_bullet_that_was_imported_and_forgotten_stays_forgotten(service, exported):
    with (exported / "preferences.md").open("a", encoding="utf-8") as file:
        file.write("- I like figs.\n")
    made = import_markdown(service, exported, **ME).added
    service.forget(made[0].id, **ME)
    assert import_markdown(service, exported, **ME).added == []
    assert "I like figs." not in summaries(service)


def test_a_bullet_in_another_file_moves_its_item(service, exported):
    line = next(line for line in (exported / "preferences.md").read_text("utf-8").split("\n") if "jazz" in line)
    edit(exported / "preferences.md", line, "")
    with (exported / "goals.md").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    done = import_markdown(service, exported, **ME)
    assert [(item.summary, item.categories) for item in done.corrected] == [("I like jazz.", ["goals"])]


def test_two_edits_of_one_item_are_refused(service, exported):
    line = next(line for line in (exported / "preferences.md").read_text("utf-8").split("\n") if "jazz" in line)
    edit(exported / "preferences.md", "jazz", "folk")
    with (exported / "goals.md").open("a", encoding="utf-8") as file:
        file.write(line.replace("jazz", "metal"))
    with pytest.raises(InvalidInputError, match=r"goals.md and preferences.md edit \[ref:item-"):
        import_markdown(service, exported, **ME)
    assert "I like jazz." in summaries(service)


def test_an_export_replaces_nothing_that_a_person_wrote(service, exported):
    edit(exported / "goals.md", "harbor", "dentist")
    with pytest.raises(InvalidInputError, match="edited since the last export"):
        export_markdown(service, exported, **ME)
    export_markdown(service, exported, force=True, **ME)
    assert "dentist" not in (exported / "goals.md").read_text(encoding="utf-8")
    own = exported / "own"
    own.mkdir()
    (own / "goals.md").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="not of an export"):
        export_markdown(service, own, **ME)


def test_what_was_forgotten_leaves_the_next_export(service, exported):
    service.forget([item.id for item in service.list_memory_items(ME) if "I like" in item.summary], **ME)
    (exported / ".preferences.md.0123456789ab.writing").write_text("I like jazz.", encoding="utf-8")
    assert export_markdown(service, exported, **ME).removed == ["preferences.md"]
    for path in exported.rglob("*"):
        assert b"jazz" not in path.read_bytes()


def test_folders_of_notes_are_found(service, tmp_path):
    notes = {
        "AGENTS.md": "# Rules\n\nRun the linter before each commit.",
        "MEMORY.md": "- [user](user.md): who the user is",
        "user.md": "---\nname: user\ndescription: who\ntype: user\n---\n\nPrefers tabs over spaces.",
        "vault/Daily/2026-05-08.md": "Met [[Grace]] at the lighthouse.",
        "permalink.md": "---\ntitle: Boats\npermalink: boats\n---\n\n- [fact] The ferry sails at noon #boats",
        "empty.md": "",
        ".obsidian/workspace.md": "hidden",
    }
    for name, text in notes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = import_markdown(service, tmp_path, **ME)
    assert sorted(str(each.title) for each in done.resources) == [
        "2026-05-08.md", "AGENTS.md", "MEMORY.md", "permalink.md", "user.md",
    ]  # fmt: skip
    for question in ("Who was met at the lighthouse?", "When does the ferry sail?", "tabs or spaces?"):
        assert service.recall(question, **ME).hits
    assert "Grace" in service.recall("Who was met at the lighthouse?", **ME).text
    commits = len(service.memory.history())
    again = import_markdown(service, tmp_path, **ME)
    assert (again.resources, again.unchanged, len(service.memory.history())) == ([], 5, commits)
    (tmp_path / "user.md").write_text("Prefers spaces over tabs.", encoding="utf-8")
    assert [each.title for each in import_markdown(service, tmp_path, **ME).resources] == ["user.md"]
    found = service.recall("tabs or spaces?", **ME).text
    assert "spaces over tabs" in found
    assert "tabs over spaces" not in found
    (tmp_path / "user.md").unlink()
    assert import_markdown(service, tmp_path, **ME).forgotten == []
    assert len(import_markdown(service, tmp_path, forget_missing=True, **ME).forgotten) == 1


def test_an_export_of_another_memory_is_read_as_new(exported):
    with Memory.create(":memory:") as memory:
        other = SyncMemoryService(memory)
        assert len(import_markdown(other, exported, **ME).added) == 5
        with pytest.raises(InvalidInputError, match="export first"):
            import_markdown(other, exported, forget_missing=True, **ME)


def test_bad_folders_are_named(service, tmp_path):
    with pytest.raises(InvalidInputError, match="does not exist"):
        import_markdown(service, tmp_path / "none", **ME)
    (tmp_path / "latin.md").write_bytes(b"caf\xe9")
    with pytest.raises(InvalidInputError, match=r"latin\.md"):
        import_markdown(service, tmp_path, **ME)
    with pytest.raises(InvalidInputError, match="is a file"):
        export_markdown(service, tmp_path / "latin.md", **ME)
    with pytest.raises(InvalidInputError, match="no owner"):
        export_markdown(service, tmp_path)
    (tmp_path / MANIFEST).write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        export_markdown(service, tmp_path, **ME)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: plain(text)), max_size=4))
def test_any_text_comes_back_from_a_page(texts):
    items = [Item(id=f"item-{n}", memory_type="event", summary=text) for n, text in enumerate(texts)]
    page = read_page(write_page("a: b", 'say "hi"\nthere', items, "- [ref:item-x] a summary"))
    assert (page.name, page.kind) == ("a: b", "category")
    assert [(bullet.text, bullet.ref) for bullet in page.bullets] == [(plain(item.summary), item.id) for item in items]


@given(st.text())
def test_any_name_becomes_a_file_name(name):
    stem = file_stem(name)
    assert stem
    assert not set(stem) & set('/\\:*?"<>|\0')
    assert stem.upper() not in ("CON", "NUL", "MEMORY")


CHILD = """
import sys
from memvid_core import Memory
from memvid_core.agent import SyncMemoryService, export_markdown, import_markdown
with Memory.open(sys.argv[1], "a") as memory:
    service = SyncMemoryService(memory)
    print("ready", flush=True)
    import_markdown(service, sys.argv[2], user_id="me", forget_missing=True)
    export_markdown(service, sys.argv[2], user_id="me")
"""


def edited_export(home):
    """Make a memory and its export, edited in every way: 11 corrections, a new bullet, a deletion, a note."""
    path, folder = home / "m.mp4", home / "out"
    with Memory.create(path) as memory:
        service = SyncMemoryService(memory)
        for number in range(20):
            service.create_memory_item(memory_content=f"old {number}", memory_categories=[f"c{number % 3}"], user=ME)
        export_markdown(service, folder, **ME)
    for file in folder.glob("c*.md"):
        file.write_text(file.read_text("utf-8").replace("old 1", "new 1") + "- added\n", encoding="utf-8")
    edit(folder / "c0.md", "- old 0 [ref:", "> ")
    (folder / "note.md").write_text("The ferry sails at noon.", encoding="utf-8")


@pytest.mark.filterwarnings("ignore::memvid_core.TornTailWarning")  # the moment may be inside a commit
def test_killed_while_importing_and_exporting(tmp_path, effort, sized):
    rng = random.Random(2)
    (tmp_path / "start").mkdir()
    edited_export(tmp_path / "start")
    wanted = [f"{'new' if str(number).startswith('1') else 'old'} {number}" for number in range(1, 20)]
    for turn in range(effort(sized(2, 3))):
        home = Path(shutil.copytree(tmp_path / "start", tmp_path / f"round {turn}"))
        path, folder = home / "m.mp4", home / "out"
        with start(CHILD, path, folder) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.15)  # the random moment
            child.kill()
        with Memory.open(path) as memory:
            seen = summaries(SyncMemoryService(memory))
            assert len([text for text in seen if text.startswith("new")]) == (11 if "added" in seen else 0)
            assert len(seen) == len(set(seen))
        assert run(CHILD, path, folder).returncode == 0
        with Memory.open(path) as memory:
            service = SyncMemoryService(memory)
            assert summaries(service) == sorted([*wanted, "added"])
            assert len(memory.select({"agent.kind": "resource"})) == 1
            assert "noon" in service.recall("When does the ferry sail?", **ME).text
        assert not list(folder.glob("*.writing"))


def test_the_asynchronous_twins(tmp_path):
    async def run():
        service = MemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
        adding = asyncio.create_task(service.add("I like figs.", user_id="me"))
        exported = asyncio.create_task(aexport_markdown(service, tmp_path, user_id="me"))
        await asyncio.gather(adding, exported)
        page = tmp_path / "preferences.md"
        page.write_text(page.read_text(encoding="utf-8").replace("figs", "dates"), encoding="utf-8")
        done = await aimport_markdown(service, tmp_path, user_id="me")
        with pytest.raises(InvalidInputError, match="owner"):
            await aexport_markdown(service, tmp_path)
        return [item.summary for item in done.corrected]

    assert asyncio.run(run()) == ["I like dates."]
