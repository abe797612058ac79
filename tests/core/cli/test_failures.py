"""Errors become one line, an exit code, and JSON where JSON was asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memvid_core import Memory, errors
from memvid_core.cli import failures
from tests.core.cli.running import memvid

CODES = {
    "MemoryNotFoundError": 4,
    "MemoryExistsError": 5,
    "NotAMemoryError": 6,
    "UnsupportedFormatError": 6,
    "DamagedFrameError": 7,
    "MemoryFileError": 7,
    "LockedError": 8,
    "ReadOnlyError": 9,
    "StorageError": 9,
    "MissingExtraError": 10,
    "EmbeddingError": 11,
    "CommitConflictError": 8,
    "DamagedLibraryError": 7,
    "IncompleteSearchError": 7,
    "ChatError": 11,
    "ClosedError": 12,
    "OutOfMemoryError": 12,
    "MemvidError": 12,
    "RecordNotFoundError": 1,
}


ARGUMENTS: dict[type[errors.MemvidError], tuple[object, ...]] = {
    errors.DamagedFrameError: (1, "?"),
    errors.DamagedLibraryError: ("manifest", "?"),
    errors.IncompleteSearchError: ("?", (), None),
}


def documented() -> dict[int, str]:
    """The exit codes that the documentation lists."""
    page = Path(__file__).resolve().parents[3] / "docs" / "cli.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {int(row[1]): row[2].strip() for row in rows if row[1].strip().isdecimal()}


def every_error() -> list[type[errors.MemvidError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [error for error in found if isinstance(error, type) and issubclass(error, errors.MemvidError)]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_every_error_has_its_documented_exit_code(error: type[errors.MemvidError]) -> None:
    made = error(*ARGUMENTS.get(error, ("?",)))
    assert failures.exit_code(made) == CODES.get(error.__name__, failures.USAGE)
    assert failures.exit_code(made) in documented()


def test_every_other_exit_code_is_documented() -> None:
    own = {failures.NOTHING, failures.USAGE, failures.PARTLY, failures.BUG}
    stopped = {failures.INTERRUPTED, failures.TERMINATED, failures.HUNG_UP, failures.CLOSED_PIPE}
    assert set(documented()) == {0, *own, *stopped, *CODES.values()}


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["info", "missing.mp4"], 4, "MemoryNotFoundError"),
        (["search", "docs", "wing"], 6, "NotAMemoryError"),
        (["verify", "docs/wings.md"], 6, "NotAMemoryError"),
        (["add", "empty.mp4", "--text", "a"], 6, "NotAMemoryError"),
        (["compact", "missing.mp4"], 4, "MemoryNotFoundError"),
        (["export", "missing.mp4"], 4, "MemoryNotFoundError"),
        (["sync", "missing", "new.mp4"], 2, "IngestError"),
        (["import", "docs/wings.md", "-o", "new.mp4"], 2, "IngestError"),
    ],
)
def test_an_error_is_one_line_and_no_traceback(folder: Path, arguments: list[str], code: int, kind: str) -> None:
    Path("empty.mp4").touch()
    done = memvid(*arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    as_json = memvid(*arguments, "--json")
    message = done.err.removeprefix("error: ").rstrip("\n")
    assert as_json.json == {"error": {"type": kind, "message": message, "exit_code": code}}
    assert (as_json.code, as_json.err) == (code, done.err)


def test_debug_shows_the_traceback_wherever_it_stands(folder: Path) -> None:
    for arguments in (["--debug", "info", "missing.mp4"], ["info", "missing.mp4", "--debug"]):
        done = memvid(*arguments)
        assert done.code == 4
        assert done.err.startswith("Traceback (most recent call last):")
        assert done.err.splitlines()[-1].startswith("error: missing.mp4 does not exist")
    assert memvid("add", "notes.mp4", "--create", "--text", "a", "--", "--debug").code == 2


def test_a_bug_is_called_one(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Memory) -> None:
        raise TypeError("one thing\nand another")

    monkeypatch.setattr(Memory, "info", broken)
    done = memvid("info", notes, "--json")
    assert done.code == 70
    assert done.err.startswith("error: TypeError: one thing and another; this is a bug in memvid")
    assert done.err.count("\n") == 1
    assert done.json["error"]["exit_code"] == 70


def test_a_locked_memory_says_who_holds_it(notes: Path) -> None:
    with Memory.open(notes, "a") as memory, memory.exclusive():
        done = memvid("add", notes, "--text", "more", "--timeout", "0")
        assert done.code == 8
        assert "is being written by process" in done.err
        assert "mode=" not in done.err
        assert memvid("search", notes, "wing").code == 0


@pytest.mark.parametrize("action", errors.Action)
def test_every_remedy_is_worded_for_the_shell(action: errors.Action) -> None:
    error = errors.ReadOnlyError("no", hint=errors.Hint(action, {"embedder": "e", "path": "p", "fields": "f"}))
    words = failures.in_shell_words(error)
    assert not re.search(r"\w=|\w\(|Memory", words), f"{words}: names an argument or a method of Python"
