"""A damaged word index answers rightly or not at all, and is made anew."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core.errors import IndexStaleError
from memvid_core.words import postings
from memvid_core.words.lexical_index import LexicalIndex

ROWS = 300
TEXTS = [
    f"row{n} common {'even' if n % 2 == 0 else 'odd'} words flying word{n % 17} wing layer{n % 5}" for n in range(ROWS)
]
QUERIES = [
    "common",
    "row7",
    "row222 even",
    "fly*",
    "word1*",
    '"wing layer3"',
    "flying -odd",
    "absent",
    "row29*",
    "even odd",
]


ENDLESS = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n)"


def answers(index: LexicalIndex) -> list[tuple[list[int], list[float]]]:
    return [tuple(part.tolist() for part in index.search(query, ROWS)) for query in QUERIES]


def fed(folder: Path) -> LexicalIndex:
    index = LexicalIndex(folder)
    index.extend(0, TEXTS[:120])
    index.extend(120, TEXTS[120:260])
    for row in range(260, ROWS):
        index.extend(row, [TEXTS[row]])
    return index


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[tuple[list[int], list[float]]]]:
    """A closed folder, one that a killed process left with its log, and the true answers."""
    folder, live = tmp_path_factory.mktemp("closed"), tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "TAIL_ROWS", 100)
        index = fed(folder)
        for path in folder.iterdir():
            shutil.copyfile(path, live / path.name)
        truth = answers(index)
        index.close()
    return folder, live, truth


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 1, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero_sector(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(0, len(data), 512)
    data[start : start + 512] = bytes(len(data[start : start + 512]))


def cut_short(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def swap_pages(data: bytearray, rng: random.Random) -> None:
    pages = len(data) // 4096
    a, b = (4096 * rng.randrange(pages) for _ in range(2)) if pages else (0, 0)
    data[a : a + 4096], data[b : b + 4096] = data[b : b + 4096], data[a : a + 4096]


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [flip, zero_sector, cut_short, swap_pages]


@pytest.mark.parametrize("state", ["closed", "live"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_or_harmless(
    tmp_path: Path,
    base: tuple[Path, Path, list[tuple[list[int], list[float]]]],
    state: str,
    damage: Callable[[bytearray, random.Random], None],
    effort: Callable[[int], int],
    sized: Callable[[int, int], int],
) -> None:
    closed, live, truth = base
    source = closed if state == "closed" else live
    told = 0
    for seed in range(effort(sized(16, 24))):
        rng, folder = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(source, folder)
        target = rng.choice([path for path in folder.glob("lexical.sqlite*") if path.stat().st_size > 100])
        data = bytearray(target.read_bytes())
        damage(data, rng)
        target.write_bytes(data)
        index = LexicalIndex(folder)
        for _ in range(4):
            try:
                index.extend(index.rows, TEXTS[index.rows :])
                assert answers(index) == truth, seed
                break
            except IndexStaleError:
                told += 1
        else:
            raise AssertionError(f"{seed}: it is not healed")
        index.close()
        again = LexicalIndex(folder)
        assert again.rows == ROWS
        assert answers(again) == truth
        again.close()
        shutil.rmtree(folder)
    assert told or damage is not flip or state == "live"  # a damaged log ends earlier, at a whole state


def test_a_change_under_an_open_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "TAIL_ROWS", 100)
    index = fed(tmp_path)
    truth = answers(index)
    with sqlite3.connect(tmp_path / "lexical.sqlite", isolation_level=None) as other:
        other.execute("UPDATE tail SET tokens = replace(tokens, 'wing', 'jet')")
        other.execute("UPDATE postings SET lists = substr(lists, 1, 400) || x'ff' || substr(lists, 402)")
    other.close()
    with pytest.raises(IndexStaleError):
        answers(index)
    assert index.rows == 0
    index.extend(0, TEXTS)
    assert [rows for rows, _ in answers(index)] == [rows for rows, _ in truth]


@pytest.mark.parametrize(
    "ddl",
    [
        f"CREATE VIEW extra AS {ENDLESS} SELECT x FROM n",
        "CREATE TRIGGER t AFTER INSERT ON tail BEGIN DELETE FROM tail; END",
        "CREATE TABLE other (x)",
        f"ALTER TABLE tail RENAME TO t; CREATE VIEW tail AS {ENDLESS} SELECT x AS row, '', '', 0 FROM n",
        f"DROP TABLE meta; CREATE VIEW meta AS {ENDLESS} SELECT 'analyser' AS name, x AS value FROM n",
    ],
)
def test_a_strangers_tables_are_not_used(tmp_path: Path, ddl: str) -> None:
    fed(tmp_path).close()
    with sqlite3.connect(tmp_path / "lexical.sqlite") as other:
        other.executescript(ddl)
    other.close()
    assert LexicalIndex(tmp_path, writable=False).rows == 0
    index = LexicalIndex(tmp_path)
    assert index.rows == 0
    index.extend(0, TEXTS)
    assert index.search("row7", 3)[0].tolist() == [7]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_plain_file_is_replaced(tmp_path: Path, suffix: str, kind: str) -> None:
    folder, victim = tmp_path / "index", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"precious")
    path = folder / f"lexical.sqlite{suffix}"
    path.symlink_to(victim) if kind == "link" else os.mkfifo(path)
    index = LexicalIndex(folder)
    index.extend(0, TEXTS)
    assert index.search("row7", 3)[0].tolist() == [7]
    assert victim.read_bytes() == b"precious"
    index.close()
