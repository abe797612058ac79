"""The program as a whole: its help, its version, how little it imports, and that JSON is JSON everywhere."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from memvid_core.video.qr.plain_texts import write_plain
from tests.core.cli.running import memvid, new_interpreter, process

# Each of them on a memory with the record "lift", and documents in "docs".
RUNS = {
    "build": ["build", "docs", "-o", "new.mp4"],
    "add": ["add", "notes.mp4", "docs", "--text", "more"],
    "sync": ["sync", "docs", "notes.mp4"],
    "import": ["import", "export.jsonl", "-o", "new.mp4"],
    "watch": ["watch", "docs", "notes.mp4"],
    "search": ["search", "notes.mp4", "wing", "--explain"],
    "get": ["get", "notes.mp4", "lift"],
    "ls": ["ls", "notes.mp4"],
    "follow": ["follow", "notes.mp4"],
    "chat": ["chat", "notes.mp4", "flaps?"],
    "delete": ["delete", "notes.mp4", "lift"],
    "compact": ["compact", "notes.mp4"],
    "export": ["export", "notes.mp4", "-o", "new.jsonl"],
    "convert": ["convert", "notes.mp4", "new.mp4", "--set", "frame_size=256"],
    "scan": ["scan", "shown.mp4", "-o", "new.mp4"],
    "merge": ["merge", "notes.mp4", "notes.mp4", "-o", "new.mp4"],
    "info": ["info", "notes.mp4"],
    "history": ["history", "notes.mp4"],
    "verify": ["verify", "notes.mp4"],
    "rescue": ["rescue", "notes.mp4", "new.mp4"],
    "cache": ["cache"],
    "memory": ["memory", "stats", "notes.mp4", "--user", "me"],
    "library": ["library", "build", "new.library", "notes.mp4"],
}
COMMANDS = list(RUNS)
OTHERS = {"watch", "follow", "cache"}  # run until they are stopped, or belong to no memory
SERVERS = {"mcp", "view"}  # run until they are stopped, and print nothing


def test_the_help_names_every_command() -> None:
    done = memvid("--help")
    assert done.code == 0
    named = re.findall(r"^  ([a-z]+)$", done.out, re.MULTILINE)
    assert [name for name in named if name not in SERVERS] == COMMANDS
    assert set(named) >= SERVERS
    assert memvid().code == 2
    assert "bool" not in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_json(command: str) -> None:
    done = memvid(command, "-h")
    assert done.code == 0
    assert "--json" in done.out
    assert done.out == memvid(command, "--help").out
    assert not re.search(r"<(bool|text|path|str|int|integer|float|file|list)\b|\b(BOOLEAN|INTEGER|FLOAT)\b", done.out)


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("command", ["", *COMMANDS, *sorted(SERVERS), "memory recall"])
def test_help_fits_a_terminal_of_any_width_and_cuts_nothing(command: str, columns: int) -> None:
    done = memvid(*command.split(), "--help", columns=columns)
    assert done.code == 0
    assert max(map(len, done.out.split("\n"))) <= columns
    assert "…" not in done.out
    # Each option is whole on its line, and Rich's tables are only used where they fit.
    assert re.search(r"(^|\s)--help\b", done.out)
    assert ("╭" in done.out) == (columns == 120)


def test_the_version_is_that_of_the_distribution() -> None:
    for option in ("--version", "-V"):
        done = memvid(option)
        assert (done.code, done.out.split()[:2]) == (0, ["memvid-core", version("memvid-core")])


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in OTHERS])
def test_json_is_one_document_and_the_only_thing_on_standard_output(notes: Path, folder: Path, command: str) -> None:
    Path("export.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    write_plain("shown.mp4", ["one"], hold=1)
    done = memvid(*RUNS[command], "--json")
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.json, dict)
    assert done.json["library" if command == "library" else "memory"] in ("notes.mp4", "new.mp4", "new.library")
    assert done.out.count("\n") == 1
    assert "\x1b" not in done.out


def test_starting_imports_nothing_heavy() -> None:
    program = "import sys, memvid_core.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(new_interpreter(code=program).out.split())
    assert "typer" in loaded
    assert not loaded & {"av", "rich", "scipy", "sklearn", "joblib", "PIL", "zxingcpp", "lxml"}


def test_it_runs_as_a_module_and_by_name(notes: Path) -> None:
    assert new_interpreter("info", notes, "--json").json["records"] == 4
    done = new_interpreter("--help")
    assert "Usage: memvid [OPTIONS]" in done.out


def test_an_output_that_is_no_utf8_still_gets_json_in_utf8(notes: Path) -> None:
    program = "from memvid_core.cli import app; app()"
    told = new_interpreter("get", notes, "날개", "--json", code=program, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (told.code, json.loads(told.out)["records"][0]["id"]) == (0, "날개")
    shown = new_interpreter("get", notes, "날개", code=program, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("??\n")


if sys.platform != "win32":

    def test_a_file_name_that_is_no_unicode_is_no_obstacle(folder: Path) -> None:
        with open(b"docs/caf\xe9.txt", "w", encoding="utf-8") as file:
            file.write("Coffee is served.")
        with open(b"docs/th\xe9.pdf", "w", encoding="utf-8") as file:
            file.write("no pdf")
        done = process("build", "docs", "-o", "notes.mp4", "--json")
        assert done.code == 3
        assert "docs/caf\\udce9.txt" in done.json["added"]
        assert done.json["failed"][0]["source"] == "docs/th\\udce9.pdf"
        assert process("sync", "docs", "notes.mp4", "--json").json["added"] == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("build docs x.mp4", "after -o: memvid build PATHS -o notes.mp4"),
        ("merge notes.mp4 notes.mp4", "goes after -o: memvid merge MEMORIES -o notes.mp4"),
        ("import notes.jsonl", "goes after -o: memvid import EXPORTS -o notes.mp4"),
        ("export notes.mp4 out.jsonl", "(out.jsonl); the output goes after -o"),
        ("export notes.mp4 -o out.csv", ".jsonl, .parquet, .md or .vtt, and not .csv; --format writes"),
        ("sync docs", "give the folders, then the memory: memvid sync docs/ notes.mp4"),
        ("watch docs", "give the folders, then the memory: memvid watch docs/ notes.mp4"),
        ("search notes.mp4 -alpha", "begins with a hyphen goes after --"),
        ("import table.csv -o x.mp4", "documents are read by memvid build"),
    ],
)
def test_a_line_that_is_often_mistaken_is_told_in_its_right_form(notes: Path, line: str, told: str) -> None:
    Path("docs").mkdir()
    Path("table.csv").write_text("a,b\n1,2\n")
    before = sorted(Path().iterdir())
    done = memvid(*line.split(), columns=300)
    assert done.code == 2
    assert told in done.err
    assert sorted(Path().iterdir()) == before


def test_an_option_that_is_misspelled_is_told_and_no_question(notes: Path) -> None:
    done = memvid("search", "notes.mp4", "fox", "--jsn", columns=300)
    assert (done.code, "--json" in done.err, "a question that begins" in done.err) == (2, True, False)


def test_a_question_of_several_words_may_begin_with_any_hyphens(notes: Path) -> None:
    for question in ("-k of wings", "--find the wing", "--help me"):
        assert memvid("search", "notes.mp4", question, "--mode", "lexical", "--json").json["query"] == question
    assert memvid("search", "notes.mp4", "wing", '--where={"page": 1}', "--json").json["query"] == "wing"
    assert memvid("export", "notes.mp4", "-o", "out.csv", "--format", "jsonl").code == 0


@pytest.mark.parametrize(
    ("line", "at", "completed"),
    [("memvid mer", 1, ["merge"]), ("memvid search notes.mp4 --mi", 3, ["--min-score"]), ("memvid library v", 2, 2)],
)
def test_a_shell_completes_commands_and_options(line: str, at: int, completed: list[str] | int) -> None:
    asked = {"_MEMVID_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(at)}
    program = "import os; os.environ.update({asked}); from memvid_core.cli import app; app(prog_name='memvid')"
    done = process(code=program.format(asked=asked))
    names = done.out.split()
    assert (done.code, names if isinstance(completed, list) else len(names)) == (0, completed)
