"""Rescue: whatever is damaged, what can be read becomes a sound memory, exactly as it was written."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memvid_core import HashingEmbedder, Memory, MemoryExistsError, MemoryNotFoundError, NotAMemoryError, rescue
from memvid_core.journal import Journal
from tests.core.cli.running import memvid
from tests.processes import start

TEXTS = {f"r{i}": f"record {i}: " + random.Random(i).randbytes(60).hex() for i in range(12)}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A memory of six commits of two records, a deletion among them; the tests damage it."""
    path = tmp_path / "damaged.mp4"
    with Memory.create(path) as memory:
        for i in range(0, 12, 2):
            ids = [f"r{i}", f"r{i + 1}"]
            memory.add([TEXTS[name] for name in ids], [{"n": i}, {"n": i + 1}], ids)
        memory.delete("r3")
    return path


def spans(path: Path) -> list[tuple[int, int]]:
    """Where each commit from 1 on begins and ends."""
    with closing(Journal.open(path)) as journal:
        return [(entry.start, entry.cursor.offset) for entry in journal.replay(journal.start)]


def head_gone(data: bytearray, commits: list[tuple[int, int]]) -> int:
    data[:709] = bytes(709)
    return 0


def header_gone(data: bytearray, commits: list[tuple[int, int]]) -> int:
    data[: commits[0][0]] = bytes(commits[0][0])
    return 0


def middle_gone(data: bytearray, commits: list[tuple[int, int]]) -> int:
    del data[commits[1][0] : commits[2][1]]
    return 4


def end_gone(data: bytearray, commits: list[tuple[int, int]]) -> int:
    del data[commits[5][0] + 600 :]
    return 0


def swapped(data: bytearray, commits: list[tuple[int, int]]) -> int:
    (start, middle), (_, end) = commits[2:4]
    data[start:end] = data[middle:end] + data[start:middle]
    return 0


def front_gone(data: bytearray, commits: list[tuple[int, int]]) -> int:
    del data[: commits[1][0] + 300]
    return 4


@pytest.mark.parametrize("how", [head_gone, header_gone, middle_gone, end_gone, swapped, front_gone])
def test_what_can_be_read_is_written_exactly(
    damaged: Path, tmp_path: Path, how: Callable[[bytearray, list[tuple[int, int]]], int]
) -> None:
    commits = spans(damaged)
    data = bytearray(damaged.read_bytes())
    lost = how(data, commits)
    damaged.write_bytes(data)
    report = rescue(damaged, tmp_path / "out.mp4")
    assert report.whole == (how is swapped)  # of which every frame is there
    with Memory.open(tmp_path / "out.mp4", embedder=HashingEmbedder()) as memory:
        assert memory.verify().ok
        found = {record.id: (record.text, record.metadata) for record in memory}
        assert all(found[name] == (TEXTS[name], {"n": int(name[1:])}) for name in found)
        assert len(found) >= 11 - lost - (how is end_gone) * 3
        assert report.lost >= (lost if how is middle_gone else 0)
        assert memory.search(TEXTS["r8"], k=1)[0].id == "r8"


def test_a_sound_memory_is_whole(damaged: Path, tmp_path: Path) -> None:
    report = rescue(damaged, tmp_path / "out.mp4")
    assert report.whole
    assert (report.records, report.lost, report.commits) == (12, 0, 7)


def test_what_is_no_memory(damaged: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(random.Random(1).randbytes(50_000))
    with pytest.raises(NotAMemoryError):
        rescue(tmp_path / "noise.mp4", tmp_path / "out.mp4")
    with pytest.raises(MemoryExistsError):
        rescue(damaged, damaged)
    with pytest.raises(MemoryNotFoundError):
        rescue(tmp_path / "none.mp4", tmp_path / "out.mp4")
    with pytest.raises(MemoryNotFoundError):
        rescue(damaged, tmp_path / "no" / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_the_command(damaged: Path, tmp_path: Path) -> None:
    assert memvid("rescue", damaged, tmp_path / "whole.mp4").code == 0
    data = bytearray(damaged.read_bytes())
    middle_gone(data, spans(damaged))
    damaged.write_bytes(data)
    done = memvid("rescue", damaged, tmp_path / "out.mp4")
    assert done.code == 3
    assert "8 records in" in done.out
    assert "4 records lost" in done.err
    told = memvid("rescue", damaged, tmp_path / "again.mp4", "--json").json
    assert (told["records"], told["lost_records"], told["whole"]) == (8, 4, False)


KILLED = """if True:
    import os, signal, sys
    from memvid_core import rescue

    calls = 0

    def counted(call):
        def killing(*arguments, **options):
            global calls
            calls += 1
            if calls == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return killing

    os.fsync, os.replace, os.unlink = counted(os.fsync), counted(os.replace), counted(os.unlink)
    rescue(sys.argv[1], sys.argv[2])
    print("done")
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_rescue_leaves_nothing_that_the_next_one_does_not_delete(damaged: Path, tmp_path: Path) -> None:
    data = bytearray(damaged.read_bytes())
    swapped_out = middle_gone(data, spans(damaged))
    damaged.write_bytes(data)
    there = {path.name for path in tmp_path.iterdir()}
    target, killed_at, said = tmp_path / "out.mp4", 1, ""
    while not said:
        said, _ = start(KILLED, damaged, target, killed_at).communicate()
        killed_at += 1
        target.unlink(missing_ok=True)
        assert rescue(damaged, target).lost == swapped_out
        assert {path.name for path in tmp_path.iterdir()} == there | {target.name}
        target.unlink()
    assert killed_at > 5
