"""What the tests of the command share: a folder with documents, and a memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memvid_core import Memory

DOCUMENTS = {
    "docs/wings.md": "# Wings\n\nA wing turns the flow of air into lift.\n\n## Flaps\n\nFlaps add lift at low speed.\n",
    "docs/engine.txt": "The engine gives thrust. Jets press the air together and burn fuel in it.\n",
    "docs/비행.md": "# 비행\n\n날개는 공기의 흐름으로 양력을 만든다. 🚀 조종사는 기체의 자세를 바꾼다.\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three documents in ``docs``."""
    for name, text in DOCUMENTS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a memory of the documents, made once."""
    home = tmp_path_factory.mktemp("built")
    texts = [
        ("docs/wings.md", "A wing turns the flow of air into lift.", "Wings", 1),
        ("docs/wings.md", "Flaps add lift at low speed.", "Wings > Flaps", 2),
        ("docs/engine.txt", "The engine gives thrust.", "", 1),
        ("docs/비행.md", "날개는 공기의 흐름으로 양력을 만든다. 🚀", "비행", 3),
    ]
    with Memory.create(home / "notes.mp4", description="of wings and engines") as memory:
        memory.add(
            [text for _, text, _, _ in texts],
            metadata=[{"source": source, "heading": head, "page": page} for source, _, head, page in texts],
            ids=["lift", "flaps", "thrust", "날개"],
        )
        memory.add("Old news.", ids="old")
        memory.delete("old")
    return home


@pytest.fixture
def notes(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that memory, ``notes.mp4`` in a working folder of its own."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("notes.mp4")
