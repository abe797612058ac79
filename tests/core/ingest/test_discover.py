from __future__ import annotations

import os
import sys

import pytest

from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest import discover


@pytest.fixture
def tree(tmp_path):
    for name in (
        "b.md", "a.txt", "src/main.py", "src/deep/er/x.rs", ".hidden.md", ".git/config", "node_modules/m.js",
        "z/__pycache__/c.txt", "z/UPPER.PDF", "noname", "한글.txt",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "unknown.xyz").write_bytes(b"\0\1\2\3" * 100)
    (tmp_path / "wide.txt").write_bytes("wide".encode("utf-16"))
    return tmp_path


def names(folder, found):
    return [path.relative_to(folder).as_posix() for path in found]


def test_folders_are_walked_in_order_without_what_nobody_means(tree):
    assert names(tree, discover(tree)) == [
        "a.txt", "b.md", "noname", "src/deep/er/x.rs", "src/main.py", "wide.txt", "z/UPPER.PDF", "한글.txt",
    ]  # fmt: skip


def test_patterns_choose(tree):
    assert names(tree, discover([tree], include=["*.md", "src/*"])) == ["b.md", "src/deep/er/x.rs", "src/main.py"]
    assert names(tree, discover([tree], exclude=["src", "*.txt"])) == ["b.md", "noname", "z/UPPER.PDF"]
    assert names(tree, discover([tree], exclude=["src/deep/"], include=["*.rs", "*.py"])) == ["src/main.py"]


def test_a_file_named_itself_is_always_taken_and_only_once(tree):
    found = discover([tree / ".hidden.md", tree / "picture.png", tree / "b.md", tree, tree / "b.md"], include=["*.py"])
    assert names(tree, found) == [".hidden.md", "picture.png", "b.md", "src/main.py"]


def test_paths_stay_as_given(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert [str(path) for path in discover("src")] == [
        os.path.join("src", "deep", "er", "x.rs"),
        os.path.join("src", "main.py"),
    ]
    assert "a.txt" in [str(path) for path in discover(".")]


def test_what_is_missing_is_said_before_anything_is_found(tree):
    with pytest.raises(IngestError, match="nowhere: no such file or folder"):
        discover([tree, tree / "nowhere"])
    with pytest.raises(InvalidInputError, match="must be a list"):
        discover(tree, include="*.md")


if sys.platform != "win32":  # where links need a privilege

    def test_links_are_followed_and_loops_end(tree):
        (tree / "src" / "up").symlink_to(tree, target_is_directory=True)
        (tree / "src" / "self").symlink_to(tree / "src" / "self")
        (tree / "again").symlink_to(tree / "src", target_is_directory=True)
        (tree / "broken.md").symlink_to(tree / "gone")
        found = names(tree, discover(tree))
        assert sorted(name.rpartition("/")[2] for name in found) == [
            "UPPER.PDF", "a.txt", "b.md", "main.py", "noname", "wide.txt", "x.rs", "한글.txt",
        ]  # fmt: skip
        assert "again/main.py" in found  # by the first way in the order of names


def test_folders_deeper_than_the_stack(tmp_path):
    folder = tmp_path
    depth = 0
    while len(str(folder)) < 3500 and depth < 1050:
        folder = folder / "d"
        try:
            folder.mkdir()
        except OSError:  # a system with shorter paths
            folder = folder.parent
            break
        depth += 1
    (folder / "f.txt").write_text("x")
    assert [path.name for path in discover(tmp_path)] == ["f.txt"]
    (folder / "f.txt").unlink()
    name = str(folder)
    while name != str(tmp_path):  # before Python 3.12 shutil.rmtree, and so pytest, cannot
        os.rmdir(name)
        name = os.path.dirname(name)
