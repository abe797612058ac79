"""Links in the folder of an index, such as an archive may contain: no file outside is made or written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from memvid_core import Memory


def _made(folder: Path) -> tuple[Path, list[Path]]:
    """Make a memory; return it and the files of its index."""
    path = folder / "m.mp4"
    with Memory.create(path) as memory:
        memory.add([f"wing number {n}" for n in range(20)])
        memory.search("wing")
    return path, sorted(file for file in folder.rglob("*") if file.is_file() and file != path)


@pytest.mark.skipif(os.name == "nt", reason="links need a permission on Windows")
@pytest.mark.parametrize("target", ["absent", "the same bytes", "other bytes", "nothing"])
def test_a_link_in_an_index_leads_to_no_file(target: str, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.mkdir()
    _, files = _made(original)
    for number, file in enumerate(files):
        copy, outside = tmp_path / f"copy{number}", tmp_path / f"outside{number}"
        shutil.copytree(original, copy)
        outside.mkdir()
        linked, victim = copy / file.relative_to(original), outside / "victim"
        wanted = {"the same bytes": file.read_bytes(), "other bytes": b"precious\n" * 999, "nothing": b""}.get(target)
        if wanted is not None:
            victim.write_bytes(wanted)
        linked.unlink()
        linked.symlink_to(victim)
        with Memory.open(copy / "m.mp4", "a") as memory:
            memory.add(["the engine hums"], ids=["engine"])
            assert memory.search("the engine hums", k=1)[0].id == "engine"
            memory.delete(["engine"])
            assert len(memory) == 20
        assert (victim.read_bytes() if victim.exists() else None) == wanted, file.name
        assert len(list(outside.iterdir())) == (wanted is not None), file.name
