"""``delete`` and ``compact``."""

from __future__ import annotations

from pathlib import Path

from memvid_core import Memory
from tests.core.cli.running import memvid


def ids(path: Path) -> list[str]:
    with Memory.open(path) as memory:
        return [record.id for record in memory]


def test_delete_by_id_by_filter_and_by_both(notes: Path) -> None:
    done = memvid("delete", notes, "flaps", "--where", '{"page": 1}', "--json")
    assert (done.code, done.json["ids"]) == (1, [])
    done = memvid("delete", notes, "flaps", "lift", "--where", '{"page": 1}', "--json")
    assert done.json == {
        "memory": "notes.mp4",
        "dry_run": False,
        "deleted": 1,
        "ids": ["lift"],
        "missing": [],
        "records": 3,
    }
    assert memvid("delete", notes, "--where", '{"page": 1}').out == "notes.mp4: 1 record deleted, 2 left\n"
    assert memvid("delete", notes, "flaps").code == 0
    assert ids(notes) == ["날개"]


def test_delete_only_says_what_it_would_do(notes: Path) -> None:
    before = notes.read_bytes()
    done = memvid("delete", notes, "--where", '{"source": "docs/wings.md"}', "--dry-run")
    assert (done.code, done.out, done.err) == (0, "lift\nflaps\n", "2 records would be deleted\n")
    assert memvid("delete", notes, "lift", "--dry-run", "--json").json["deleted"] == 0
    assert notes.read_bytes() == before


def test_delete_names_what_is_missing(notes: Path) -> None:
    done = memvid("delete", notes, "flaps", "nope", "--json")
    assert (done.code, done.json["missing"], done.json["deleted"]) == (1, ["nope"], 1)
    assert memvid("delete", notes, "--where", '{"page": 99}').code == 1
    assert memvid("delete", notes).code == 2


def test_compact_drops_what_is_deleted(notes: Path) -> None:
    memvid("delete", notes, "lift")
    before = notes.stat().st_size
    done = memvid("compact", notes, "--json")
    assert done.code == 0
    after = notes.stat().st_size
    assert done.json == {
        "memory": "notes.mp4",
        "saved": before - after,
        "bytes_before": before,
        "bytes": after,
        "records_before": 3,
        "records": 3,
        "commits": done.json["commits"],
    }
    assert b"Old news" not in notes.read_bytes()
    assert memvid("search", notes, "news", "--as-of", 2).code == 2
    assert ids(notes) == ["flaps", "thrust", "날개"]


def test_compact_keeps_history_when_asked(notes: Path) -> None:
    done = memvid("compact", notes, "--keep-history")
    assert done.code == 0
    assert done.out.startswith("notes.mp4: ")
    assert len(memvid("history", notes, "--json").json["commits"]) == 3
