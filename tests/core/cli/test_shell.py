"""ls, merge, watch, standard input for build, patterns, warnings, signals and a full disk."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from memvid_core import Memory
from memvid_core.cli import output
from tests.core.cli.running import COMMAND, environment, memvid, process


def test_ls_lists_sources_with_chunks_and_dates(folder: Path) -> None:
    for arguments in (("build", "docs", "-o", "notes.mp4"), ("add", "notes.mp4", "--text", "no source", "--id", "x")):
        done = memvid(*arguments)
        assert done.code == 0, done
    listed = memvid("ls", "notes.mp4", "--json").json["sources"]
    assert [(entry["source"], entry["chunks"]) for entry in listed] == [
        ("docs/engine.txt", 1), ("docs/wings.md", 2), ("docs/비행.md", 1), (None, 1),
    ]  # fmt: skip
    assert all(entry["date"].startswith("20") for entry in listed[:3])
    done = memvid("ls", "notes.mp4", "**/*.md", "-n", 1)
    assert (done.code, done.err) == (0, "notes.mp4: 1 source of 2, 2 records\n")
    assert done.out.splitlines()[1].split()[:2] == ["docs/wings.md", "2"]
    assert memvid("ls", "notes.mp4", "*.pdf").code == 1


@pytest.mark.parametrize("columns", [30, 40, 63, 64, 80])
def test_ls_is_readable_on_a_terminal_of_any_width(tmp_path: Path, columns: int) -> None:
    """No column is narrower than a word: a source is broken only where it is longer than the line."""
    source = "/home/ada/work/notes/engine.md"
    with Memory.create(tmp_path / "a.mp4") as memory:
        memory.add("a text", {"source": source, "date": "2026-11-29T08:40"}, "x")
    done = process("ls", tmp_path / "a.mp4", COLUMNS=str(columns), FORCE_COLOR="1", TERM="xterm")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.out)
    if columns < 64:
        assert plain.split("\n") == [source, "  1 chunk, 6 characters", "  2026-11-29 08:40", ""]
    else:
        assert max(map(len, plain.splitlines())) <= columns
        assert len(plain.splitlines()) == 2 if columns == 80 else len(plain.splitlines()) <= 3


def test_a_long_source_is_broken_between_its_words(tmp_path: Path) -> None:
    sources = ["docs/decisions/2026-11-30-words-together.md", "문서와 메모/아주 긴 이름을 가진 날개에 대한 문서 0.md"]
    with Memory.create(tmp_path / "a.mp4") as memory:
        memory.add(["a text"] * 2, [{"source": source, "date": "2026-11-29T08:40"} for source in sources])
    done = process("ls", tmp_path / "a.mp4", COLUMNS="78", FORCE_COLOR="1", TERM="xterm")
    shown = [line[:40].strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", done.out).splitlines()]
    assert shown[1:3] == ["docs/decisions/2026-11-30-words-", "together.md"]
    assert shown[4].endswith("0.md")


@pytest.mark.parametrize("same_id", ["rename", "first", "last"])
def test_merge_keeps_records_and_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_id: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name, texts in (("a.mp4", ["same", "one"]), ("b.mp4", ["same", "two"])):
        with Memory.create(name) as memory:
            memory.add(texts, [{"n": 1}, {"n": 2}], ["s", "t"])
    told = memvid("merge", "a.mp4", "b.mp4", "-o", "all.mp4", "--same-id", same_id, "--json").json
    assert (told["equal"], told["renamed"], told["replaced"]) == (1, same_id == "rename", same_id != "rename")
    assert told["vectors_copied"]
    with Memory.open("all.mp4") as merged, Memory.open("a.mp4") as first:
        kept = {record.id: record.text for record in merged}
        assert np.array_equal(merged.get_vectors("s")["s"], first.get_vectors("s")["s"])
    expected = {"rename": {"t": "one", "t~2": "two"}, "first": {"t": "one"}, "last": {"t": "two"}}
    assert kept == {"s": "same", **expected[same_id]}


def test_build_reads_standard_input(folder: Path) -> None:
    done = memvid("build", "-", "docs/engine.txt", "-o", "new.mp4", "--json", input="Words from a pipe.")
    assert (done.code, done.json["records"]) == (0, 2)
    with Memory.open("new.mp4") as memory:
        assert {record.metadata["source"] for record in memory} == {"stdin", "docs/engine.txt"}


def test_patterns_that_the_shell_did_not_expand(folder: Path) -> None:
    assert memvid("build", "docs/*.md", "-o", "new.mp4", "--json").json["added"] == ["docs/wings.md", "docs/비행.md"]
    assert memvid("build", "nothing/*.md", "-o", "other.mp4").code == 2


def test_what_was_not_read_is_said(folder: Path) -> None:
    Path("docs/.gitignore").write_text("engine.txt\n")
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.create_sheet("Secret").sheet_state = "hidden"
    book.save("docs/a.xlsx")
    done = memvid("build", "docs", "-o", "new.mp4", "--include", "**/*.xlsx", "--include", "*.pdf")
    assert done.code == 0
    assert done.err.splitlines() == [
        "1 name in .gitignore not read; --no-ignore reads them",
        "no file matches --include '*.pdf'",
        "  docs/a.xlsx: hidden sheets were left out: 'Secret'",
    ]
    assert "docs/engine.txt" in memvid("add", "new.mp4", "docs", "--no-ignore", "--json").json["added"]


def test_delete_by_source(folder: Path) -> None:
    memvid("build", "docs", "-o", "new.mp4")
    assert memvid("delete", "new.mp4", "--source", "**/*.md", "--json").json["deleted"] == 3
    assert memvid("delete", "new.mp4", "--source", "*.pdf").code == 1


def test_a_name_that_looks_like_a_pattern_is_found_by_itself(folder: Path) -> None:
    Path("docs/wings [1].md").write_text("Of wings.")
    memvid("build", "docs", "-o", "new.mp4")
    assert memvid("ls", "new.mp4", "docs/wings [1].md").out.splitlines()[1].startswith("docs/wings [1].md ")
    assert memvid("build", "docs", "-o", "one.mp4", "--include", "wings [1].md", "--json").json["records"] == 1
    told = memvid("delete", "new.mp4", "--source", "docs/wings [1].md", "--json").json
    assert told["ids"] == ["docs/wings [1].md#0"]


def test_a_merge_of_nothing_makes_nothing(folder: Path) -> None:
    Memory.create("empty.mp4").close()
    done = memvid("merge", "empty.mp4", "-o", "all.mp4")
    assert (done.code, done.err) == (1, "no records: all.mp4 was not created\n")
    assert not Path("all.mp4").exists()


def test_results_that_do_not_fit_a_line_are_indented(folder: Path) -> None:
    Path("docs/a name of very many words in a folder.md").write_text("Wings.")
    for arguments in (
        ["build", "docs", "-o", "a memory with a name of many words.mp4"],
        ["ls", "a memory with a name of many words.mp4"],
    ):
        done = process(*arguments, COLUMNS="40", FORCE_COLOR="1", TERM="xterm")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", done.out).splitlines()
        assert all(len(line) <= 40 for line in lines)
        assert [line for line in lines if not line.startswith(" ")] in (
            ["a memory with a name of many words.mp4:"],
            ["docs/a name of very many words in a", "docs/engine.txt", "docs/wings.md", "docs/비행.md"],
        )


def test_watch_tells_what_it_left_out(folder: Path) -> None:
    Path("docs/wing.odg").write_bytes(b"PK\0\0\1\2")
    Path("docs/a.html").write_text('<img src="a.png">')
    command = [*COMMAND, "watch", "docs", "new.mp4", "--every", "0.1"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, encoding="utf-8") as running:
        assert running.stderr is not None
        try:
            told = [running.stderr.readline() for _ in range(3)]
        finally:
            running.kill()
    assert told[0] == "1 skipped (.odg 1)\n"
    assert told[1].startswith("  docs/a.html: no text, but 1 picture (scans?): install ")
    assert told[2] == "watching; stop with Ctrl-C\n"


def test_search_takes_n_and_shows_the_time(folder: Path) -> None:
    cues = "".join(f"\n00:0{n}:05.000 --> 00:0{n}:09.000\nThe talk is of lift {n}.\n" for n in range(3))
    Path("docs/talk.vtt").write_text(f"WEBVTT\n{cues}")
    memvid("build", "docs/talk.vtt", "-o", "new.mp4", "--chunk-size", 30)
    done = memvid("search", "new.mp4", "lift 2", "-n", 1)
    assert done.out.splitlines()[0].endswith("docs/talk.vtt#2 · 2:05–2:09")


def test_watch_follows_a_folder_until_ctrl_c(folder: Path) -> None:
    command = [*COMMAND, "watch", "docs", "new.mp4", "--every", "0.1"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, encoding="utf-8") as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline().endswith("4 records\n")
            Path("more").write_text("# More\n")
            Path("more").rename("docs/more.md")  # so that it is never seen empty
            assert running.stdout.readline() == "new.mp4: added docs/more.md; 5 records\n"
            Path("docs/more.md").unlink()
            assert running.stdout.readline() == "new.mp4: removed docs/more.md; 4 records\n"
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 130
        finally:
            running.kill()
    assert memvid("verify", "new.mp4").code == 0


# A signal arrives within a destructor, where Python drops what its handler raises, while the command is busy.
_DROPPED = """
import signal, sys
from memvid_core import Memory
from memvid_core.cli import output
from memvid_core.cli import app

class Destroyed:
    def __del__(self):
        signal.raise_signal(getattr(signal, name))

name, done = sys.argv.pop(), []

def busy(self, *args, **named):
    if done:
        return
    done.append(Destroyed())
    done[0] = None
    for _ in range(0 if "watch" in sys.argv else 10**9):  # much longer than it takes to stop
        pass

setattr(Memory, sys.argv.pop(), busy)
app()
"""


# Windows has no SIGHUP, and others have no SIGBREAK.
_SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


@pytest.mark.parametrize(
    ("method", "command", "name"),
    [
        ("add", "watch docs new.mp4 --every 1000", "SIGINT"),
        ("add", "build docs -o new.mp4", "SIGTERM"),
        ("add", "sync docs new.mp4", _SIGNALS[-1]),
        ("add", "import all.jsonl -o new.mp4", "SIGINT"),
        ("search", "search old.mp4 wing", "SIGTERM"),
        ("compact", "compact old.mp4", "SIGINT"),
    ],
    ids=lambda value: value if str(value).startswith("SIG") else str(value).split()[0],
)
def test_a_signal_that_a_destructor_swallowed_stops_a_command(
    folder: Path, method: str, command: str, name: str
) -> None:
    Path("all.jsonl").write_text('{"text": "A wing lifts."}\n')
    memvid("import", "all.jsonl", "-o", "old.mp4")
    done = process(*command.split(), method, name, code=_DROPPED)
    assert (done.code, "Exception ignored" in done.err) == (128 + getattr(signal, name), False)
    assert not Path("new.mp4").exists()


if sys.platform != "win32":
    SIGNALED = """
import signal, sys
from memvid_core import Memory
from memvid_core.cli import output
from memvid_core.cli import app
add, number = Memory.add, int(sys.argv.pop())

def stopped(self, *args, **named):
    ids = add(self, *args, **named)
    signal.raise_signal(number)
    return ids

Memory.add = stopped
app(prog_name="memvid")
"""
    LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from memvid_core.cli import app
app(prog_name="memvid")
"""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_signals_have_the_exit_code_that_shells_report(folder: Path, number: signal.Signals) -> None:
        done = process("build", "docs", "-o", "new.mp4", int(number), code=SIGNALED)
        assert (done.code, done.out) == (128 + number, "")
        assert done.err.startswith("stopped: 4 records of this run are in new.mp4")

    def test_a_full_disk(folder: Path) -> None:
        Path("docs/long.txt").write_text("\n\n".join(f"Paragraph {n} of many." for n in range(20_000)))
        done = process("build", "docs", "-o", "new.mp4", code=LIMITED)
        assert done.code == 9
        assert done.err.startswith("error: ")
        assert not Path("new.mp4").exists()


@pytest.mark.parametrize("width", [40, 80])
def test_lines_are_wrapped_between_words_and_their_rest_is_indented(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    written = io.StringIO()
    monkeypatch.setattr(output, "console", lambda *, stderr=False: Console(file=written, force_terminal=True))
    output.note(
        "  문서와 메모/아주 긴 이름을 가진 문서.docx: not a DOCX file, despite its name: it is not a zip archive"
    )
    output.facts("a.mp4", {"embedder": "memvid-hash-v1:384", "vectors": "float16, 384 dimensions, cosine"})
    output.show(Text(" 1  1.000  문서와 메모/아주 긴 이름을 가진 날개에 대한 문서 0.md#0"), hang=4)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in written.getvalue().split("\n") if line]
    assert all(cell_len(line) <= width for line in lines)
    words = [word for line in lines for word in line.split()]
    assert {"archive", "despite", "날개에", "0.md#0", "memvid-hash-v1:384", "dimensions,"} <= set(words)
    assert [line for line in lines if line.endswith("zip archive") or line.endswith("archive")] != []
    rest = [line for line in lines if not re.match(r" {0,2}\S|a\.mp4", line)]
    assert len(rest) >= (4 if width == 40 else 1)
    output.note(
        "error: no memory; create it with: memvid build PATHS -o a-memory-with-a-very-long-name.mp4 and more words"
    )
    *_, told, command = written.getvalue().rstrip().split("\n")
    assert told == "error: no memory; create it with:"
    assert command == "  memvid build PATHS -o a-memory-with-a-very-long-name.mp4 and more words"


def test_a_name_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    """A name could look like an answer of its own."""
    memory = tmp_path / "notes.mp4"
    with Memory.create(memory) as opened:
        opened.add(["A wing lifts."], [{"source": "a\n 2  1.000  b.md"}], ["a\n 2  1.000  b.md#0"])
    for arguments in (
        ["search", memory, "wing"],
        ["ls", memory],
        ["delete", memory, "a\n 2  1.000  b.md#0", "--dry-run"],
    ):
        done = memvid(*arguments)
        assert done.code == 0
        assert "a␊ 2  1.000  b.md" in done.out
        assert not any(line.startswith(" 2") for line in done.out.split("\n"))


# A signal arrives after the second commit of a command whose result is whole or nothing.
_STOPPED = """
import signal, sys
from memvid_core import Memory
from memvid_core.cli import app, merging

merging._RECORDS_A_COMMIT = 2
number, add, added = int(sys.argv.pop()), Memory.add, []

def adding(self, *args, **named):
    result = add(self, *args, **named)
    added.append(result)
    if len(added) == 2:
        signal.raise_signal(number)
    return result

Memory.add = adding
app()
"""


@pytest.mark.parametrize("name", _SIGNALS)
def test_a_merge_that_is_stopped_leaves_nothing(folder: Path, name: str) -> None:
    with Memory.create("a.mp4") as memory:
        memory.add([f"Wing {number}." for number in range(9)])
    before = set(folder.iterdir())
    done = process("merge", "a.mp4", "-o", "all.mp4", int(getattr(signal, name)), code=_STOPPED)
    assert (done.code, done.err) == (128 + int(getattr(signal, name)), "stopped: all.mp4 was not created\n")
    assert set(folder.iterdir()) <= {*before, folder / "a.mp4.index"}
    assert memvid("merge", "a.mp4", "-o", "all.mp4").out.startswith("all.mp4: 9 records of 1 memory; ")
