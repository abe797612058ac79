"""Commands that create something, and are killed, or end by an error: all of it, nothing, or a part that goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Library, Memory
from tests.core.cli.running import memvid, process

# The command, which ends without any cleaning up at its n-th change of a folder: a file that is made, renamed, deleted.
KILLED = """
import os, sys
from memvid_core.cli import app, exporting, merging
from memvid_core.ingest import sync

sync._CHUNKS_A_COMMIT = exporting._LINES_A_COMMIT = merging._RECORDS_A_COMMIT = 3
left, here = int(sys.argv.pop()), os.getcwd()

def seen(event, arguments):
    global left
    made = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
    if made or event in ("os.rename", "os.link", "os.remove", "os.mkdir"):
        where = os.path.abspath(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else ""
        if where.startswith(here):
            left -= 1
            if not left:
                os._exit(9)

sys.addaudithook(seen)
try:
    app(prog_name="memvid")
finally:
    if left > 0:
        print(f"left {left}", file=sys.stderr)
"""

_MANY = 1_000_000


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with documents, a memory and an export of twelve records each."""
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    for number in range(12):
        Path(f"docs/{number:02}.md").write_text(f"The wing number {number}.", encoding="utf-8")
    with Memory.create("a.mp4") as memory:
        memory.add([f"The wing number {number}." for number in range(12)], ids=[f"w{i}" for i in range(12)])
    assert memvid("export", "a.mp4", "-o", "a.jsonl").code == 0
    return tmp_path


def of_memory(path: Path) -> list[str]:
    assert memvid("verify", path).code == 0
    with Memory.open(path) as memory:
        return sorted(record.text for record in memory)


def of_library(path: Path) -> list[str]:
    with Library.open(path, "r") as library:
        return sorted(record.text for record in library.select())


def of_file(path: Path) -> bytes:
    return path.read_bytes()


COMMANDS: dict[str, tuple[list[str], str, Callable[[Path], Any]]] = {
    "build": (["build", "docs", "-o", "x.mp4"], "x.mp4", of_memory),
    "sync": (["sync", "docs", "x.mp4"], "x.mp4", of_memory),
    "add": (["add", "x.mp4", "docs", "--create"], "x.mp4", of_memory),
    "import": (["import", "a.jsonl", "-o", "x.mp4"], "x.mp4", of_memory),
    "merge": (["merge", "a.mp4", "-o", "x.mp4"], "x.mp4", of_memory),
    "convert": (["convert", "a.mp4", "x.mp4"], "x.mp4", of_memory),
    "rescue": (["rescue", "a.mp4", "x.mp4"], "x.mp4", of_memory),
    "jsonl": (["export", "a.mp4", "-o", "x.jsonl"], "x.jsonl", of_file),
    "markdown": (["export", "a.mp4", "-o", "x.md"], "x.md", of_file),
    "captions": (["export", "a.mp4", "-o", "x.vtt"], "x.vtt", of_file),
    "page": (["view", "--page", "x.html"], "x.html", of_file),
    "library": (["library", "build", "x", "a.jsonl", "--partition-by", "page"], "x", of_library),
}
GROWING = ("build", "sync", "add")
"""Commands whose commits stay, and which go on with them."""


def names() -> set[str]:
    """Return the names in the folder, without indexes, which are caches."""
    return {path.name for path in Path().iterdir() if not path.name.endswith(".index")}


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_all_nothing_or_what_it_continues(place: Path, name: str, effort: Any) -> None:
    command, target, content = COMMANDS[name]
    done = process(*command, _MANY, code=KILLED)
    assert done.code == 0
    changes = _MANY - int(done.err.rpartition("left ")[2])
    right, whole = content(Path(target)), names()
    for point in sorted({1, changes, *(1 + changes * part // (effort(3) + 1) for part in range(1, effort(3) + 1))}):
        _remove(place / target)
        assert process(*command, point, code=KILLED).code == 9
        if name not in GROWING and name != "library":
            assert not Path(target).exists() or content(Path(target)) == right
        again = memvid(*command)
        assert again.code in (0, 5), again.err
        assert content(Path(target)) == right
        assert names() == whole


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(f"{path}.index", ignore_errors=True)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def failing_at(number: int) -> Callable[..., Any]:
    """Return ``Memory.add`` of a disk that is full from a call on."""
    calls: list[None] = []
    add = Memory.add

    def failing(self: Memory, *arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) >= number:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        return add(self, *arguments, **options)

    return failing


@pytest.mark.parametrize("name", ["import", "merge", "library"])
def test_an_error_leaves_nothing_of_what_is_whole_or_nothing(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.create("b.mp4") as memory:
        memory.add("The tail.")
    before = names()
    with Path("a.jsonl").open("a", encoding="utf-8") as file:
        file.write("no record\n")
    more = []
    if name == "merge":
        monkeypatch.setattr(Memory, "add", failing_at(2))
        more = ["b.mp4"]
    assert memvid(*COMMANDS[name][0], *more).code == (9 if name == "merge" else 2)
    assert names() == before


def test_a_library_in_a_folder_that_was_there_goes_alone(place: Path) -> None:
    Path("x").mkdir()
    Path("x/mine.txt").write_text("kept", encoding="utf-8")
    Path("bad.jsonl").write_text("no record\n", encoding="utf-8")
    assert memvid("library", "build", "x", "bad.jsonl").code == 2
    assert [path.name for path in Path("x").iterdir()] == ["mine.txt"]
    assert memvid("library", "build", "x", "a.jsonl").code == 0
    assert memvid("library", "build", "x", "bad.jsonl").code == 2
    assert len(of_library(Path("x"))) == 12


def test_a_killed_build_is_continued_by_the_same_command_alone(place: Path) -> None:
    build = ["build", "docs", "-o", "x.mp4"]
    program = KILLED.replace("sys.addaudithook(seen)", _AFTER_TWO)
    assert process(*build, 1, code=program).code == 9
    assert len(of_memory(Path("x.mp4"))) == 6
    for option in (("--include", "*.md"), ("--vector-dtype", "int8"), ("--description", "other"), ("--codec", "qr")):
        other = memvid(*build, *option)
        assert (other.code, "x.mp4 exists; replace it with --force" in other.err) == (5, True)
    done = memvid(*build)
    assert (done.code, done.err) == (0, "x.mp4 has 6 records of a run that was killed; continuing it\n")
    assert len(of_memory(Path("x.mp4"))) == 12
    assert memvid(*build).code == 5
    assert not [path for path in place.iterdir() if path.name.endswith(".making")]


@pytest.mark.parametrize("command", [["build", "docs", "--force", "--include", "0*"], ["import", "a.jsonl"]])
def test_a_memory_in_the_place_of_what_a_killed_build_left_is_not_continued(place: Path, command: list[str]) -> None:
    program = KILLED.replace("sys.addaudithook(seen)", _AFTER_TWO)
    assert process("build", "docs", "-o", "x.mp4", 1, code=program).code == 9
    if command[0] == "import":
        _remove(Path("x.mp4"))
    assert memvid(*command, "-o", "x.mp4").code == 0
    made = of_memory(Path("x.mp4"))
    assert memvid("build", "docs", "-o", "x.mp4").code == 5
    assert of_memory(Path("x.mp4")) == made


def test_what_a_killed_build_left_is_complete_after_a_sync(place: Path) -> None:
    program = KILLED.replace("sys.addaudithook(seen)", _AFTER_TWO)
    assert process("build", "docs", "-o", "x.mp4", 1, code=program).code == 9
    assert memvid("sync", "docs", "x.mp4").code == 0
    assert memvid("build", "docs", "-o", "x.mp4").code == 5


_AFTER_TWO = """
from memvid_core import Memory
add, added = Memory.add, []

def adding(self, *arguments, **options):
    if len(added) == 2:
        os._exit(9)
    added.append(None)
    return add(self, *arguments, **options)

Memory.add = adding
"""
