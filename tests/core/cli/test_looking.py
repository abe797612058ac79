"""``info``, ``history`` and ``verify``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec

from memvid_core import Memory
from tests.core.cli.running import memvid
from tests.core.parity_boxes import without_parity


def damaged(path: Path) -> Path:
    """A copy with one byte of the last record's text changed."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    copy = path.with_name("damaged.mp4")
    copy.write_bytes(data)
    return copy


def test_info_says_what_the_memory_says(notes: Path) -> None:
    with Memory.open(notes) as memory:
        told = json.loads(msgspec.json.encode(memory.info()))
    done = memvid("info", notes, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {"memory": "notes.mp4", **told}
    shown = memvid("info", notes).out
    assert shown.splitlines()[0] == "notes.mp4"
    assert "  records      4 (1 deleted)\n" in shown
    assert "  description  of wings and engines\n" in shown
    assert memvid("info", notes, "--as-of", 2, "--json").json["records"] == 5


def test_history_lists_the_commits(notes: Path) -> None:
    done = memvid("history", notes, "--json")
    assert done.json["memory"] == "notes.mp4"
    assert [(commit["number"], commit["added"], commit["deleted"]) for commit in done.json["commits"]] == [
        (1, 4, 0),
        (2, 1, 0),
        (3, 0, 1),
    ]
    assert set(done.json["commits"][0]) == {"number", "time", "added", "deleted", "frames", "bytes"}
    head, *lines = memvid("history", notes).out.splitlines()
    assert head.split() == ["commit", "time", "added", "deleted", "frames", "size"]
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert [commit["number"] for commit in memvid("history", notes, "-n", 1, "--json").json["commits"]] == [3]


def test_verify_of_a_whole_memory(notes: Path) -> None:
    done = memvid("verify", notes)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("notes.mp4: intact (5 records, 3 commits, ")
    told = memvid("verify", notes, "--json").json
    assert (told["ok"], told["damage"], told["torn_bytes"], told["records"]) == (True, [], 0, 5)


def test_verify_finds_damage(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with Memory.create(path) as memory:
        memory.add(
            [f"{i} " + str(7**i) for i in range(200)]
        )  # too few for the embedder to learn from, which takes time
    copy = damaged(path)
    copy.write_bytes(without_parity(copy.read_bytes(), 0))
    done = memvid("verify", copy)
    assert done.code == 1
    assert "DAMAGED" in done.out
    assert "commit 1" in done.out
    assert "--drop-damaged" in done.err
    told = memvid("verify", copy, "--json")
    assert (told.code, told.json["ok"]) == (1, False)
    assert set(told.json["damage"][0]) == {"frame", "commit", "records", "vectors", "deletions", "reason", "restored"}
    refused = memvid("compact", copy)
    assert refused.code == 7
    assert "--drop-damaged" in refused.err
    assert memvid("compact", copy, "--drop-damaged").code == 0
    assert memvid("verify", copy).code == 0


def test_verify_names_the_command_that_repairs_what_parity_restored(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with Memory.create(path) as memory:
        memory.add([f"{i} " + str(7**i) for i in range(200)])
    copy = damaged(path)
    done = memvid("verify", copy)
    assert done.code == 1
    assert f"no data is lost; repair the file with: memvid compact --keep-history {copy}" in done.err
    assert memvid("verify", copy, "--json").json["damage"][0]["restored"] is True
    assert memvid("compact", "--keep-history", copy).code == 0
    assert memvid("verify", copy).code == 0


def test_verify_finds_a_torn_tail_and_the_next_write_mends_it(notes: Path) -> None:
    with notes.open("rb+") as file:
        file.truncate(notes.stat().st_size - 400)
    shutil.rmtree(f"{notes}.index")  # which would prove that the write was finished
    done = memvid("verify", notes)
    assert done.code == 1
    assert "the last write did not finish" in done.out
    assert done.err.startswith("warning: ")
    assert memvid("verify", notes, "--json").json["torn_bytes"] > 0
    assert memvid("add", notes, "--text", "more").code == 0
    assert memvid("verify", notes).code == 0


def test_verify_names_what_was_cut_off_although_the_index_knows_that_it_was_written(notes: Path) -> None:
    before = memvid("info", notes, "--json").json["records"]
    with notes.open("rb+") as file:
        file.truncate(notes.stat().st_size // 2)
    done = memvid("info", notes, "--json")
    assert done.json["lost"] > 0
    assert done.json["records"] + done.json["lost"] >= before - 1
    assert "cannot be read" in done.err
    assert memvid("verify", notes).code == 1
    assert memvid("add", notes, "--text", "more").code == 0
    assert memvid("verify", notes).code == 1
    assert memvid("compact", notes).code == 7
    assert memvid("compact", notes, "--drop-damaged").code == 0
    assert memvid("verify", notes).code == 0


def test_info_of_a_cut_copy_says_so_and_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as memory:
        memory.add(["one"], ids=["a"], vectors=[[1.0, 2.0]])
        memory.add(["two"], ids=["b"], vectors=[[2.0, 1.0]])
    whole = path.read_bytes()
    for kept in (True, False):
        if not kept:
            shutil.rmtree(f"{path}.index")
        path.write_bytes(whole[:-800])
        done = memvid("info", path)
        assert done.code == 1
        assert "the file ends before" in done.out or "is truncated" in done.out
        told = memvid("info", path, "--json")
        assert told.code == 1
        assert told.json["damage"] or told.json["torn_bytes"]
