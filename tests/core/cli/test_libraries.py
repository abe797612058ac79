"""``memvid library``: memories and exports in, one answer out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core import Library, Memory, MemvidError
from memvid_core.cli.failures import NOTHING, PARTLY
from memvid_core.cli.places import is_library, memory_place
from memvid_core.vectors.inverted_file import InvertedFile
from tests.core.cli.running import memvid
from tests.core.vectors.tuned import tune

RUNS = {
    "build": ["more.jsonl"],
    "search": ["lift", "-k", "2"],
    "info": [],
    "history": [],
    "verify": [],
    "compact": [],
    "vacuum": ["--dry-run"],
}


@pytest.fixture
def library(notes: Path) -> Path:
    lines = [{"id": f"j{n}", "text": f"A jet of page {n}.", "metadata": {"page": n}} for n in range(5)]
    Path("more.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    command = ("library", "build", "books", notes, "more.jsonl", "--rows-per-shard", "3", "--partition-by", "page")
    done = memvid(*command)
    assert (done.code, done.err) == (0, "")
    assert done.out == "books: 9 records added in 3 shards; version 1 has 9 records\n"
    return Path("books")


@pytest.mark.parametrize("command", list(RUNS))
def test_every_command_has_help_and_json(library: Path, command: str) -> None:
    assert "--json" in memvid("library", command, "--help").out
    done = memvid("library", command, library, *RUNS[command], "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["library"] == "books"


def test_it_answers_as_the_memories_do(library: Path) -> None:
    done = memvid("library", "search", library, "flaps at low speed", "--explain", "--where", '{"page": {"$lte": 2}}')
    assert done.code == 0
    assert "flaps" in done.out.splitlines()[0]
    assert "docs/wings.md" in done.out
    found = memvid("library", "search", library, "a jet", "--json").json
    assert found["mode"] == "hybrid"
    assert {hit["id"] for hit in found["hits"]} >= {"j0", "j1"}
    assert found["report"] == {"asked": 3, "answered": 3, "failed": {}, "rows_missing": 0}
    assert memvid("library", "search", library, "qqqq", "--mode", "lexical").code == NOTHING


def test_more_is_a_new_version_and_the_old_one_stays(library: Path) -> None:
    Path("more.jsonl").write_text('{"id": "j0", "text": "A newer jet."}\n{"text": "No id."}\n', "utf-8")
    done = memvid("library", "build", library, "more.jsonl")
    assert done.out == "books: 2 records added in 1 shard, 1 replaced; version 2 has 10 records\n"
    assert "newer" in memvid("library", "search", library, "newer jet", "-k", "1").out
    assert "newer" not in memvid("library", "search", library, "newer jet", "-k", "1", "--as-of", "1").out
    told = memvid("library", "history", library).out.splitlines()
    assert [line.split()[0] for line in told] == ["version", "1", "2"]
    info = memvid("library", "info", library, "--as-of", "1")
    assert "records" in info.out
    assert memvid("library", "info", library, "--json").json["records"] == 10
    assert memvid("library", "build", library, "more.jsonl", "--partition-by", "x").code == 2


def test_vectors_are_kept_if_asked(notes: Path) -> None:
    memvid("library", "build", "kept", notes, "--vectors")
    with Library.open("kept", embedder="given") as library, Memory.open(notes) as memory:
        assert library.info().embedder == "given"
        wanted = memory.get_vectors("lift")["lift"]
        [hit] = library.search(wanted, k=1, with_vectors=True)
        assert (hit.id, hit.vector.tolist()) == ("lift", wanted.tolist())


def test_a_shard_that_is_missing_is_named(library: Path) -> None:
    gone = next(Path(library, "shards").glob("*.mp4"))
    gone.unlink()
    done = memvid("library", "search", library, "a jet", "--mode", "lexical")
    assert done.code == 7
    assert f"shards/{gone.name} (shards/{gone.name} is missing" in done.err
    done = memvid("library", "search", library, "a jet", "--mode", "lexical", "--partial")
    assert done.code == PARTLY
    assert f"shards/{gone.name} did not answer" in done.err
    assert "3 records were not searched" in done.err
    done = memvid("library", "verify", library)
    assert done.code == NOTHING
    assert done.out.splitlines()[1] == f"  shards/{gone.name} (3 records): is missing"


def test_what_is_no_library_is_an_error(notes: Path) -> None:
    assert memvid("library", "info", notes).code == 6
    assert memvid("library", "info", "nowhere").code == 6
    assert memvid("library", "build", "books", "nowhere.mp4").code == 2
    assert memvid("library", "search", "nowhere", " ").code == 2
    Path("wrong.jsonl").write_text("{}", "utf-8")
    done = memvid("library", "build", "books", notes, "wrong.jsonl")
    assert done.code == 2
    assert "wrong.jsonl, line 1" in done.err
    assert not Path("books").exists()


def test_shards_are_merged_and_the_old_ones_deleted(library: Path) -> None:
    assert memvid("library", "compact", library, "--rows-per-shard", "3").out == "books: nothing to merge\n"
    done = memvid("library", "compact", library, "--across-partitions")
    assert done.out == "books: 3 shards merged into 1; version 2 has 1 shard\n"
    assert memvid("library", "vacuum", library).out == "books: deleted 0 versions and 0 files (0 bytes)\n"
    told = memvid("library", "vacuum", library, "--days", "0", "--dry-run").out.splitlines()
    assert told[0].startswith("books: would delete 1 version and 6 files (")
    assert all(line.startswith("  shards/") for line in told[1:])
    assert memvid("library", "vacuum", library, "--days", "0").out.startswith("books: deleted 1 version and 6 files (")
    assert memvid("library", "search", library, "a jet", "-k", "1").code == 0
    told = memvid("library", "history", library).out.splitlines()
    assert [line.split()[3] for line in told[1:]] == ["compact", "vacuum"]


def test_what_names_a_library(tmp_path: Path) -> None:
    for url in ("s3://shelf/books/", "https://ada:secret@example.org/books/"):
        assert is_library(memory_place(url))
    for url in ("s3://shelf/notes.mp4", "s3://shelf/books", "https://example.org/books/?page=1"):
        assert not is_library(memory_place(url))
    Library.create(tmp_path / "books").close()
    assert is_library(memory_place(str(tmp_path / "books")))
    assert is_library(memory_place(f"{tmp_path / 'books'}/"))
    for path in (tmp_path, tmp_path / "gone", tmp_path / "books" / "library.json"):
        assert not is_library(memory_place(str(path)))
    refused = memvid("view", "--no-open", tmp_path)
    assert (refused.code, refused.out) == (6, "")
    assert "is a folder: give the .mp4 file of a memory, or the folder of a library" in refused.err


@pytest.mark.parametrize("there", [False, True], ids=["new folder", "folder of the user"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_build_that_fails_while_another_commits_removes_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, moment: str
) -> None:
    path, notes = tmp_path / "lib", tmp_path / "notes.jsonl"
    notes.write_text('{"id": "a", "text": "one"}\n{"id": 7}\n', "utf-8")
    if there:
        path.mkdir()
    others: list[Library] = []
    committed: list[str] = []

    def commit() -> None:
        with others.pop() as other:
            try:
                committed.extend(other.add(["of another process"], ids=["b"]))
            except MemvidError:
                return

    def removed(folder: Path, rmdir: Callable[[Path], None] = Path.rmdir) -> None:
        if folder.name != "manifest":
            return rmdir(folder)
        others.append(Library.open(path))
        if moment == "before":
            commit()
        return rmdir(folder)

    monkeypatch.setattr(Path, "rmdir", removed)
    assert memvid("library", "build", path, notes).code != 0
    monkeypatch.undo()
    if moment == "after":
        commit()
    assert bool(committed) == (moment == "before")
    if committed:
        with Library.open(path) as library:
            assert [record.id for record in library] == ["b"]
    else:
        assert not (path / "library.json").exists()


def test_a_build_makes_the_lists_that_searches_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, auto_floats=64, entries=1, scanned=1, listed_in_search=0)
    made = [{"id": f"j{n}", "text": f"page {n} of a book on wings"} for n in range(400)]
    Path("some.jsonl").write_text("\n".join(map(json.dumps, made)), "utf-8")
    done = memvid("library", "build", "listed", "some.jsonl", "--index", "ivf")
    assert (done.code, len([*Path("listed").rglob("*.lists")])) == (0, 1)
    assert memvid("library", "build", "listed", "some.jsonl", "--index", "tree").code == 2
    monkeypatch.setattr(InvertedFile, "fit", None)  # no search makes them
    found = memvid("library", "search", "listed", "page 7", "--mode", "dense", "--index", "ivf:0.9")
    assert (found.code, found.err) == (0, "")
