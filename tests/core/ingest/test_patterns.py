"""Patterns and .gitignore files: compared with Git itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from memvid_core import InvalidInputError, Memory
from memvid_core.ingest import discover
from memvid_core.ingest.sync import sync

FILES = [
    "a.md",
    "a.txt",
    "x/a.md",
    "x/y/a.md",
    "x/y/b.txt",
    "build/a.md",
    "x/build/a.md",
    "x/keep.txt",
    "log.1",
    "x/é.md",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n", encoding="utf-8")
    return tmp_path / "tree"


def found(tree: Path, **options):
    return sorted(path.relative_to(tree).as_posix() for path in discover([tree], **options))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.md", [name for name in FILES if name.endswith(".md")]),
        ("./**/a.md", [name for name in FILES if name.endswith("a.md")]),
        ("x/**", [name for name in FILES if name.startswith("x/")]),
        ("**/y/*", ["x/y/a.md", "x/y/b.txt"]),
        ("x/**/a.md", ["x/a.md", "x/build/a.md", "x/y/a.md"]),
        ("e\u0301.md", ["x/é.md"]),
        ("[ab].txt", ["a.txt", "x/y/b.txt"]),
        ("?.txt", ["a.txt", "x/y/b.txt"]),
    ],
)
def test_include(tree, pattern, names):
    assert found(tree, include=[pattern]) == sorted(names)
    assert found(tree, exclude=[pattern]) == sorted(set(FILES) - set(names))


RULES = [
    ["*.md"], ["/a.md"], ["build/"], ["build"], ["x/*"], ["x/**", "!x/keep.txt"], ["*", "!*/", "!*.txt"], ["**/y"],
    ["x/**/a.md"], ["*.txt", "!keep.txt"], ["# no", "", "a.m?"], ["[a-b].md"], ["x/y/"], ["\\!a", "log.[0-9]"],
    ["y/a.md"],
]  # fmt: skip


@pytest.mark.parametrize("rules", RULES, ids=" ".join)
@pytest.mark.parametrize("place", ["", "x/"])
def test_gitignore_as_git_has_it(tree, rules, place):
    git = shutil.which("git")
    assert git is not None
    (tree / place / ".gitignore").write_text("\n".join(rules) + "\n", encoding="utf-8")
    subprocess.run([git, "init", "-q", str(tree)], check=True)
    command = [git, "-c", "core.quotepath=off", "-C", str(tree)]
    command += ["ls-files", "-o", "--exclude-standard"]
    seen = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.split("\n")[:-1]
    assert found(tree) == sorted(name for name in seen if not name.endswith(".gitignore"))
    assert found(tree, gitignore=False) == sorted(FILES)
    # The rules above a folder hold in it, too.
    below = sorted(path.relative_to(tree).as_posix() for path in discover([tree / "x"]))
    assert below == [name for name in found(tree) if name.startswith("x/")] or not found(tree)


def test_what_is_ignored_and_what_matched_nothing_is_reported(tree, monkeypatch):
    monkeypatch.chdir(tree)
    (tree / ".gitignore").write_text("build/\n")
    with Memory.create(":memory:") as memory:
        report = sync(memory, ".", include=["*.md", "*.pdf"])
    assert report.ignored == ["build", "x/build"]
    assert report.unused == ["*.pdf"]


@pytest.mark.parametrize("pattern", ["*a" * 60, "**/*a" * 60, "*a*" * 40 + "b", "[", "[!]"])
def test_no_pattern_takes_long(tree, pattern):
    (tree / ("a" * 200 + ".md")).write_text("x")
    (tree / ".gitignore").write_text(pattern)
    assert "a.md" in found(tree)
    if pattern.count("**") <= 4:
        found(tree, include=[pattern])
    else:
        with pytest.raises(InvalidInputError):
            found(tree, include=[pattern])
