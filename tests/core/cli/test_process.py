"""Real processes: Ctrl-C, pipes that close early, disks that are full, terminals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from memvid_core import Memory
from tests import processes
from tests.core.cli.running import COMMAND, MODULE, environment, memvid, process

# The command, with commits of a few chunks, that gets a real SIGINT when its second commit is durable.
STOPPED = """
import signal
from memvid_core import Memory
from memvid_core.cli import app, exporting
from memvid_core.ingest import sync

sync._CHUNKS_A_COMMIT = exporting._LINES_A_COMMIT = 20
add = Memory.add

def stopped(self, *args, **named):
    ids = add(self, *args, **named)
    if len(self.history()) == {at}:
        signal.raise_signal(signal.SIGINT)
    return ids

Memory.add = stopped
app(prog_name="memvid")
"""


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 60 files of two chunks each."""
    (tmp_path / "many").mkdir()
    for i in range(60):
        text = f"# Note {i}\n\nThe first of {i}.\n\n# More\n\nThe second of {i}.\n"
        (tmp_path / "many" / f"{i:02}.md").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Path("many")


def texts(path: Path | str) -> set[str]:
    with Memory.open(path) as memory:
        return {record.text for record in memory}


@pytest.mark.parametrize("command", ["build", "add", "sync"])
def test_what_was_committed_before_ctrl_c_stays_and_the_rest_can_follow(many: Path, command: str) -> None:
    arguments = {
        "build": ["build", many, "-o", "notes.mp4"],
        "add": ["add", "notes.mp4", many, "--create"],
        "sync": ["sync", many, "notes.mp4"],
    }[command]
    done = process(*arguments, code=STOPPED.format(at=2))
    assert (done.code, done.out) == (130, "")
    goes_on = "sync many notes.mp4" if command == "sync" else "add notes.mp4 many"
    assert done.err == f"stopped: 40 records of this run are in notes.mp4; continue with: memvid {goes_on}\n"
    assert memvid("verify", "notes.mp4").code == 0
    before = texts("notes.mp4")
    assert len(before) == 40
    told = memvid(*goes_on.split(), "--json").json
    assert (told["records"], told["chunks"], len(told["unchanged"])) == (120, 80, 20)
    assert before < texts("notes.mp4")


GARBAGE = """
import atexit, gc, sys
gc.set_threshold(700, 10, 10)  # as Python has it, and not the tests
usual, frozen = gc.get_threshold(), gc.get_freeze_count()
atexit.register(lambda: print(gc.get_freeze_count() > frozen, gc.get_threshold() == usual, file=sys.stderr))
from memvid_core import Memory
from memvid_core.cli import app
info = Memory.info
Memory.info = lambda memory: (print(gc.get_threshold()[0] > usual[0], file=sys.stderr), info(memory))[1]
app()
"""


def test_a_command_searches_seldom_for_garbage_and_not_at_its_end(notes: Path) -> None:
    done = process("info", notes, code=GARBAGE)
    assert (done.code, done.err) == (0, "True\nTrue True\n")


def test_ctrl_c_before_the_first_commit_leaves_nothing(many: Path) -> None:
    program = "import signal, memvid_core.ingest.sync as s\ns.read_many = lambda *a, **k: signal.raise_signal(2)\n"
    done = process("build", many, "-o", "notes.mp4", code=program + "from memvid_core.cli import app; app()")
    assert done.code == 130
    assert done.err == "stopped: nothing was written\n"
    assert {path.name for path in Path().iterdir()} == {"many"}


def test_ctrl_c_while_replacing_leaves_the_old_memory_and_keeps_the_new_records(many: Path) -> None:
    memvid("add", "notes.mp4", "--create", "--text", "the old one")
    before = Path("notes.mp4").read_bytes()
    done = process("build", many, "-o", "notes.mp4", "--force", code=STOPPED.format(at=2))
    assert done.code == 130
    assert "stopped: 40 records of this run are in notes.mp4.building; continue with: " in done.err
    assert Path("notes.mp4").read_bytes() == before
    assert len(texts("notes.mp4.building")) == 40
    assert memvid("build", many, "-o", "notes.mp4", "--force").code == 0
    assert len(texts("notes.mp4")) == 120
    assert {path.name for path in Path().iterdir()} == {"many", "notes.mp4", "notes.mp4.index"}


def test_ctrl_c_in_an_import_leaves_nothing(many: Path) -> None:
    Path("all.jsonl").write_text("".join(f'{{"text": "line {i}"}}\n' for i in range(100)), encoding="utf-8")
    done = process("import", "all.jsonl", "-o", "notes.mp4", code=STOPPED.format(at=3))
    assert (done.code, done.err) == (130, "stopped: notes.mp4 was not created\n")
    assert {path.name for path in Path().iterdir()} == {"many", "all.jsonl"}


@pytest.mark.parametrize("options", [[], ["--json"], ["--format", "markdown"]])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, options: list[str]) -> None:
    path = tmp_path / "notes.mp4"
    with Memory.create(path) as memory:
        memory.add([f"record {i}: " + "many words " * 200 for i in range(500)], vectors=[None] * 500)
    with subprocess.Popen(
        [*COMMAND, "export", str(path), *options], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.read(100)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 141


def test_a_command_without_standard_output_still_works(notes: Path) -> None:
    program = "import sys; sys.stdout = None\nfrom memvid_core.cli import app; app()"
    assert process("info", notes, code=program).code == 0


if os.path.exists("/dev/full"):

    def test_an_output_that_cannot_be_written_is_said(notes: Path) -> None:
        for arguments in (["export", notes], ["info", notes]):
            with open("/dev/full", "wb") as full:
                child = subprocess.run(
                    [*COMMAND, *map(str, arguments)],
                    env=environment(),
                    stdout=full,
                    stderr=subprocess.PIPE,
                    check=False,
                )
            assert (child.returncode, child.stderr) == (9, b"error: the output: No space left on device\n")


if sys.platform != "win32":
    import fcntl
    import pty
    import struct
    import termios

    def on_a_terminal(*arguments: object, width: int = 80, until: str = "", **more: str) -> tuple[int, str]:
        """Run the command on a terminal of its own; send it SIGINT when it has shown ``until``."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        variables = environment(COLUMNS=str(width), TERM="xterm-256color", **more)
        command = [*COMMAND, *map(str, arguments)]
        with subprocess.Popen(command, env=variables, stdin=theirs, stdout=theirs, stderr=theirs) as child:
            os.close(theirs)
            shown = b""
            while True:
                try:
                    read = os.read(ours, 65536)
                except OSError:  # Linux's way to say that the other side is closed
                    read = b""
                shown += read
                if until and until.encode() in shown:
                    child.send_signal(signal.SIGINT)
                    until = ""
                if not read:
                    break
            os.close(ours)
            return child.wait(), shown.decode("utf-8", "replace").replace("\r\n", "\n")

    def plain(shown: str) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)

    @pytest.mark.parametrize("width", [60, 120])
    def test_on_a_terminal_lines_fit_and_matches_are_bold(built: Path, width: int, tmp_path: Path) -> None:
        path = tmp_path / "long.mp4"
        with Memory.create(path) as memory:
            memory.add("날개는 공기의 흐름으로 양력을 만든다. 🚀 " * 40, metadata={"source": "긴 글.md", "page": 7})
        code, shown = on_a_terminal("search", path, "양력", width=width)
        assert code == 0
        assert "\x1b[1;33m양력\x1b[0m을" in shown
        lines = plain(shown).splitlines()
        assert max(map(cell_len, lines)) <= width
        text = [line for line in lines if line.startswith("    ") and "page" not in line]  # not the rest of the head
        assert 2 <= len(text) <= 4
        assert max(map(cell_len, text)) > width - 20

    @pytest.mark.parametrize("width", [40, 80])
    def test_on_a_terminal_a_message_is_wrapped_and_its_command_is_not(tmp_path: Path, width: int) -> None:
        path = tmp_path / "a folder of wings" / "nothing.mp4"
        code, shown = on_a_terminal("info", path, width=width)
        assert code == 4
        *lines, command = plain(shown).splitlines()
        assert command == "  memvid build PATHS -o nothing.mp4"
        assert max(map(cell_len, lines)) <= width
        words = f"error: {path} does not exist; create it with:"
        assert "".join(" ".join(lines).split()) == "".join(words.split())
        assert lines[-1].endswith("with:")

    def test_on_a_terminal_no_color_is_respected_and_json_is_indented(notes: Path) -> None:
        code, shown = on_a_terminal("search", notes, "wing", NO_COLOR="1")
        assert code == 0
        assert "\x1b[3" not in shown
        assert "[32m" not in shown
        code, shown = on_a_terminal("info", notes, "--json")
        assert code == 0
        assert shown.startswith('{\n  "memory": "notes.mp4",\n')

    def test_a_bar_shows_how_far_a_build_is_and_ctrl_c_stops_it(many: Path) -> None:
        for i in range(600):
            (many / f"more{i}.txt").write_text(f"The text number {i}. " * 40, encoding="utf-8")
        for _ in range(3):  # on a busy machine the build may be over before the interrupt gets there
            code, shown = on_a_terminal("build", many, "-o", "notes.mp4", "--force", "--chunk-size", 40, until="/660")
            if "stopped: " in plain(shown):
                break
        assert code == 130
        assert "Reading" in shown
        assert "Traceback" not in shown
        assert "stopped: " in plain(shown)
        assert not Path("notes.mp4").exists() or memvid("verify", "notes.mp4").code == 0

    def test_a_bar_is_gone_at_the_end(many: Path) -> None:
        code, shown = on_a_terminal("build", many, "-o", "notes.mp4")
        assert code == 0
        assert "60/60" in shown
        assert plain(shown).splitlines()[-1].startswith("notes.mp4: 120 records from 60 files in ")

    def test_a_bar_says_that_it_waits_for_records_to_be_stored(many: Path) -> None:
        code, shown = on_a_terminal("build", many, "-o", "notes.mp4")
        assert (code, "Storing 120 records" in plain(shown)) == (0, True)

    def test_a_bar_leaves_room_for_the_echo_of_ctrl_c(many: Path) -> None:
        # Behind a full line the echo opens a second one, and the bar is cleared a line too low.
        for width in (60, 100):
            code, shown = on_a_terminal("build", many, "-o", f"{width}.mp4", width=width)
            assert code == 0
            bars = [part for part in re.split("[\r\n]", plain(shown)) if "Reading" in part]
            assert bars
            assert max(map(cell_len, bars)) <= width - 2


if sys.platform != "win32":  # there no process can send it

    @pytest.mark.parametrize("at", [1, 2])
    def test_sigterm_ends_as_ctrl_c_does(many: Path, at: int) -> None:
        code = STOPPED.format(at=at).replace("SIGINT", "SIGTERM")
        done = process("build", many, "-o", "notes.mp4", code=code)
        assert done.code == 143
        assert f"stopped: {at * 20} records of this run are in notes.mp4" in done.err
        assert len(texts("notes.mp4")) == at * 20

    @pytest.mark.parametrize("force", [False, True])
    def test_sigterm_before_the_first_commit_leaves_nothing(many: Path, force: bool) -> None:
        if force:
            memvid("add", "notes.mp4", "--create", "--text", "the old one")
        names = {path.name for path in Path().iterdir()}
        program = "import signal, memvid_core.ingest.sync as s\ns.read_many = lambda *a, **k: signal.raise_signal(15)\n"
        options = ["--force"] if force else []
        done = process(
            "build", many, "-o", "notes.mp4", *options, code=program + "from memvid_core.cli import app; app()"
        )
        assert (done.code, done.err) == (143, "stopped: nothing was written\n")
        assert {path.name for path in Path().iterdir()} == names

    HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eright\u2066to\u2069 left\x08"
    EVIL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["export", "m.mp4"],
            ["export", "m.mp4", "--json"],
            ["export", "m.mp4", "--format", "markdown"],
            ["search", "m.mp4", "title"],
            ["search", "m.mp4", "title", "--json"],
            ["get", "m.mp4", HOSTILE],
            ["get", "m.mp4", HOSTILE, "--json"],
            ["get", "m.mp4", HOSTILE, "--raw"],
            ["get", "m.mp4", HOSTILE + "gone"],
            ["info", "m.mp4"],
            ["delete", "m.mp4", HOSTILE, "--dry-run"],
            ["chat", "m.mp4", "title"],
        ],
        ids=" ".join,
    )
    def test_nothing_in_a_record_reaches_a_terminal(tmp_path: Path, arguments: list[str]) -> None:
        import pty

        with Memory.create(tmp_path / "m.mp4", description=HOSTILE) as memory:
            memory.add([f"title {HOSTILE}"], [{"source": HOSTILE, "heading": HOSTILE, HOSTILE: HOSTILE}], [HOSTILE])
        ours, theirs = pty.openpty()
        variables = environment(NO_COLOR="1", TERM="dumb")
        with processes.start(MODULE, *arguments, cwd=tmp_path, env=variables, terminal=theirs):
            out = b""
            while piece := _read(ours):
                out += piece
        os.close(ours)
        text = out.decode().replace("\r\n", "\n")
        assert "title" in text
        # What the command itself sends to style its lines has no part of the record in it.
        assert not EVIL.findall(re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text.replace("\r", "")))
        assert "\x1b[2J" not in text

    def _read(terminal: int) -> bytes:
        try:
            return os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side has closed
            return b""

    def test_a_pipe_gets_the_very_bytes(tmp_path: Path) -> None:
        with Memory.create(tmp_path / "m.mp4") as memory:
            memory.add([HOSTILE], ids=["a"])
        assert process("get", tmp_path / "m.mp4", "a", "--raw").out == HOSTILE + "\n"
        assert HOSTILE in process("export", tmp_path / "m.mp4", "--format", "markdown").out
        assert process("export", tmp_path / "m.mp4", "--json").json["records"][0]["text"] == HOSTILE
