"""Documentation is run: every Python block and every ``memvid`` command of every page, in the page's order.

The blocks of one page share their names and an empty folder that holds a copy of the README and of ``docs/``.

- A Python block is executed. One that cannot be says why in its info string: ``python no-run: needs a model server``.
- In a console or bash block each line ``$ memvid …`` must succeed: the first one of a README and of the page on the
  command, and each one with a pipe or another operator of the shell, as the installed program in a shell, the others in
  this process, with the words that the shell makes of the line. The lines below it, if any, are what it must print,
  where ``...`` stands for anything.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from tests.core.cli.running import memvid

ROOT = Path(__file__).resolve().parent.parent
PAGES = [path for path in (ROOT / "README.md", ROOT / "README.ko.md") if path.exists()]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
LINKED = [*PAGES, *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY", "CODE_OF_CONDUCT"))]

SHELLS = {"bash", "console", "sh", "shell"}
OPERATORS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "<<", "(", ")"}
COMPARE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the rest of its info string, its text and the line of the page it starts on."""

    language: str
    info: str
    text: str
    line: int

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The shell commands of a console block, each with what it is said to print."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif found:
                command, printed = found[-1]
                found[-1] = (command + "\n" + line, "") if command.endswith("\\") else (command, printed + line + "\n")
        return found


def blocks(page: Path) -> list[Block]:
    found = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            language, _, info = token.info.strip().partition(" ")
            assert token.map
            found.append(Block(language, info.strip(), token.content, token.map[0] + 2))
    return found


def run_python(block: Block, page: Path, names: dict[str, object]) -> None:
    if block.info:
        assert re.fullmatch(r"no-run: \S.*", block.info), f"{page}:{block.line}: say why it is not run"
        return
    if block.text.lstrip().startswith(">>>"):
        example = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line - 1)
        report: list[str] = []
        result = doctest.DocTestRunner(optionflags=COMPARE).run(example, out=report.append, clear_globs=False)
        names.update(example.globs)
        assert not result.failed, "".join(report)
        return
    # Blank lines in front make a traceback name the page's own line.
    exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


def in_shell(command: str, folder: Path) -> str:
    """Run a line in a shell that finds the installed program; return what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONUTF8": "1", "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def in_this_process(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a line that calls the program once, with the words that the shell makes of it; return what it printed."""
    words = in_shell(f"""memvid() {{ printf '%s\\0' "$@"; }}\n{command}""", folder).split("\0")[:-1]
    monkeypatch.setenv("NO_COLOR", "1")
    done = memvid(*words)
    assert done.code == 0, f"$ {command}\n{done.out}{done.err}"
    return done.out


def run_command(command: str, printed: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, first: bool) -> None:
    operators = set(shlex.shlex(command, posix=True, punctuation_chars=True)) & OPERATORS
    whole = first or operators or os.name == "nt"
    got = in_shell(command, folder) if whole else in_this_process(command, folder, monkeypatch)
    if printed.strip():
        same = doctest.OutputChecker().check_output(printed.rstrip() + "\n", got.rstrip() + "\n", COMPARE)
        assert same, f"$ {command}\nprinted\n{got}\nand not\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")  # a real module: get_type_hints looks names up in sys.modules
    monkeypatch.setitem(sys.modules, module.__name__, module)
    first = page.name in ("README.md", "README.ko.md", "cli.md")
    for block in blocks(page):
        if block.language in {"python", "py", "pycon"}:
            run_python(block, page, vars(module))
        elif block.language in SHELLS:
            for command, printed in block.commands:
                if command.startswith("memvid "):
                    run_command(command, printed, tmp_path, monkeypatch, first=first)
                    first = False


@pytest.mark.long
def test_the_demonstration_runs(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/demo.py", "README.md", "README.ko.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    done = subprocess.run(
        [sys.executable, tmp_path / "scripts" / "demo.py"],
        cwd=tmp_path.parent,
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for shown in ("docs/format.md#", "README.ko.md#", "h264, Constrained Baseline", "intact (", "docs/documents.md - "):
        assert shown in done.stdout


def test_the_korean_readme_tells_the_same_figures() -> None:
    # Decimals, and numbers with a unit; in what order the sentences put them is the language's own affair.
    figure = re.compile(r"\d[\d,]*(?:\.\d+)?(?=\s(?:s|ms|MB|%)(?![a-z]))|\d+\.\d+|(?<!\d)\.\d+")
    english, korean = (
        sorted(figure.findall(re.sub(r"```.*?```", "", (ROOT / name).read_text("utf-8"), flags=re.DOTALL)))
        for name in ("README.md", "README.ko.md")
    )
    assert len(english) > 25
    assert korean == english


def test_the_readme_is_short_and_begins_with_a_picture_that_moves() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.split()) <= 750
    picture = ROOT / re.search(r"!\[[^\]]+\]\(([^)]+)\)", readme[:1000]).group(1)  # type: ignore[union-attr]
    assert picture.stat().st_size < 1_000_000
    with Image.open(picture) as image:
        assert getattr(image, "n_frames", 1) > 10


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    inline = [child for token in MarkdownIt().parse(page.read_text("utf-8")) for child in token.children or []]
    targets = [str(token.attrGet("href") or token.attrGet("src") or "") for token in inline]
    local = [target.partition("#")[0] for target in targets if target and not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_extra_and_make_target_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    named = {extra.strip() for group in re.findall(r"memvid-core\[([^\]]+)\]", text) for extra in group.split(",")}
    assert named - extras == set()
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE).group(1).split())  # type: ignore[union-attr]
    commands = re.findall(r"^(?:\$ )?make ([\w-]+)|`make ([\w-]+)", text, re.MULTILINE)
    assert {one or other for one, other in commands} - targets == set()


def test_the_first_page_of_the_site_lists_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (ROOT / "docs" / "index.md").read_text("utf-8").partition("| extra |")[2].splitlines()[2:]
    rows = [line.split("|")[1] for line in lines[: lines.index("")]]
    assert sorted(re.findall(r"`([\w-]+)`", "".join(rows))) == sorted(project["optional-dependencies"])
