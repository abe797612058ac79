"""A memory is its file: by whichever name, from whichever folder and in whichever process it is reached."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memvid_core import Hit, InvalidInputError, LockedError, Memory, MemoryExistsError, StorageError, TextError
from memvid_core.video.file import ByteFile
from tests.core.embedders import embed
from tests.core.memories import compact_beside_readers


@pytest.mark.skipif(os.name == "nt", reason="Windows wants a privilege for a link")
def test_a_link_is_the_file_and_has_its_lock_and_index(tmp_path: Path) -> None:
    real, link = tmp_path / "real.mp4", tmp_path / "links" / "link.mp4"
    link.parent.mkdir()
    with Memory.create(real, embed) as memory:
        memory.add(["a", "b"], ids=["a", "b"])
        link.symlink_to(real)
        with memory.exclusive(), Memory.open(link, "a", embedder=embed, timeout=0) as other, pytest.raises(LockedError):
            other.add("c")
        with pytest.raises(MemoryExistsError):
            Memory.create(link, embed)
    with Memory.open(link, "a", embedder=embed) as memory:
        memory.delete("a")
        memory.compact()
    assert link.is_symlink()
    assert [entry.name for entry in link.parent.iterdir()] == ["link.mp4"]
    with Memory.open(real, embedder=embed) as memory:
        assert memory.ids() == ["b"]


def test_a_relative_path_stays_what_it_was_where_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with Memory.create("m.mp4", embed) as memory, Memory.open("m.mp4", embedder=embed) as reader:
        memory.add(["a", "b"], ids=["a", "b"])
        monkeypatch.chdir("other")
        memory.delete("a")
        compact_beside_readers(memory)
        memory.add("c", ids="c")
        assert reader.ids() == ["b", "c"]
        assert memory.verify().ok
    assert list((tmp_path / "other").iterdir()) == []


FORK = """
import os, sys
from memvid_core import ClosedError, Memory

with Memory.create(sys.argv[1]) as memory, Memory.create(":memory:") as in_ram:
    memory.add("of the parent", ids="parent")
    in_ram.add("of both", ids="both")
    child = os.fork()
    if not child:
        try:
            memory.add("of the child", ids="child")
        except ClosedError as exc:
            memory.close()
            in_ram.add("a copy's own", ids="own")
            os._exit(7 if "fork" in str(exc) and len(in_ram) == 2 else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with memory.exclusive(), Memory.open(sys.argv[1], "a", timeout=0) as other:
        child = os.fork()
        if not child:
            memory.close()
            os._exit(0)
        os.waitpid(child, 0)
        try:
            other.add("too early", ids="early")
        except BlockingIOError:  # the child's close() took nothing from the parent
            memory.add("later", ids="later")
    assert memory.ids() == ["parent", "later"] and len(in_ram) == 1 and memory.verify().ok
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX; Windows has none")
def test_a_fork_is_told_to_open_it_anew_and_harms_nothing(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "m.mp4")], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_memory_is_not_copied_but_what_it_found_is(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", embed) as memory:
        memory.add("a", {"n": [1, {"x": None}]}, "a")
        (hit,) = memory.search("a", k=1, mode="dense", explain=True)
        for copied in (pickle.loads(pickle.dumps(hit)), copy.deepcopy(hit)):
            assert isinstance(copied, Hit)
            assert (copied.record, copied.score, copied.rank) == (hit.record, hit.score, hit.rank)
            assert (copied.cosine, copied.explain) == (hit.cosine, hit.explain)
            assert memory.context(copied) == [hit.record]
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"Memory\.open"):
                attempt(memory)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"description": 5}, InvalidInputError, "description is a str"),
        ({"description": "lone \ud800"}, TextError, "surrogate"),
        ({"codec_options": {"colour": 1}}, ValueError, "does not take"),
        ({"codec_options": {"columns": "many"}}, ValueError, "does not take"),
        ({"vector_dtype": "float8"}, InvalidInputError, "float16"),
        ({"embedder": 5}, InvalidInputError, "cannot embed"),
    ],
)
def test_a_creation_that_is_refused_leaves_nothing(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Memory.create(tmp_path / "m.mp4", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fits", [0, 1])
def test_a_creation_on_a_full_disk_leaves_no_half_a_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    write, calls = ByteFile.write, [0]

    def limited(self: ByteFile, offset: int, parts: Any) -> None:
        calls[0] += 1
        if calls[0] > fits:
            raise StorageError("the disk is full")
        write(self, offset, parts)

    monkeypatch.setattr(ByteFile, "write", limited)
    with pytest.raises(StorageError, match="full"):
        Memory.create(tmp_path / "m.mp4", embed)
    monkeypatch.undo()
    assert not (tmp_path / "m.mp4").exists()
    Memory.create(tmp_path / "m.mp4", embed).close()


def test_a_name_that_is_taken_gets_no_lock_beside_it(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"somebody's film")
    with pytest.raises(MemoryExistsError):
        Memory.create(tmp_path / "holiday.mp4")
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.mp4"]


@pytest.mark.parametrize("path", ["a\0b.mp4", b"a\0b.mp4"])
def test_what_cannot_be_a_path_is_said(path: Any) -> None:
    for attempt in (Memory.create, Memory.open):
        with pytest.raises(InvalidInputError, match="path"):
            attempt(path)


def test_a_path_of_bytes_is_one(tmp_path: Path) -> None:
    with Memory.create(os.fsencode(tmp_path / "ü.mp4"), embed) as memory:  # type: ignore[arg-type]
        assert memory.path == str(tmp_path / "ü.mp4")
    Memory.open(tmp_path / "ü.mp4", embedder=embed).close()
