"""The catalog answers from one state, and a damaged one answers rightly or not at all."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core.catalog.catalog import Catalog, CommitRow, DamageRow
from memvid_core.catalog.filter_compiler import encode_metadata
from memvid_core.catalog.frame_table import FrameTable
from memvid_core.catalog.metadata_columns import MetadataColumns
from memvid_core.errors import IndexStaleError
from memvid_core.model import FrameLocation
from tests.processes import start

COMMITS, LOST = 60, {41, 42, 100}
ENDLESS = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n)"


def take_in(catalog: Catalog, number: int, rows: int) -> int:
    """One commit of a few records, which deletes some of an earlier one."""
    size = 1 + number * 7 % 11
    there = [row for row in range(rows, rows + size) if row not in LOST]
    with catalog.transaction():
        catalog.add_records(
            (
                row,
                f"id{row % 300}x{row}",
                number,
                row % 3 != 0,
                encode_metadata({"n": row % 9, "t": f"t{row}"}) if row % 4 else None,
            )
            for row in there
        )
        catalog.add_frames(
            [
                FrameLocation(3 * number, 900 * number, 100, 1, rows, size),
                FrameLocation(3 * number + 1, 9, 9, 2, rows, size),
            ]
        )
        buried = list(range(max(0, rows - 9), rows, 4))
        catalog.bury(buried, number)
        catalog.add_commit(CommitRow(number, 1000 * number, rows + size, size, len(buried), 2, 900))
        if number % 20 == 0:
            catalog.add_model(number, b"model %d" % number)
        catalog.set_state("cursor", str(number).encode())
        catalog.set_state("vector_rows", str(rows + size).encode())
    return rows + size


def filled(path: Path | None) -> Catalog:
    catalog, rows = Catalog(path), 0
    for number in range(COMMITS):
        rows = take_in(catalog, number, rows)
    with catalog.transaction():
        catalog.add_damage("end", [DamageRow(None, None, 0, "torn")])
        catalog.add_damage("commit", [DamageRow(4, 12, 2, "checksum"), DamageRow(17, 52, 1, "checksum", 3, 4)])
        catalog.clear_damage("end")
    return catalog


def answers(catalog: Catalog) -> list[Any]:
    """What can be asked, all of it."""
    found: list[Any] = []
    for after, upto in ((-1, COMMITS - 1), (-1, 20), (20, COMMITS - 1)):
        changes = catalog.changes(after, upto)
        found.append((changes.commit, *(rows.tolist() for rows in changes[1:])))
    last = catalog.commit(COMMITS - 1)
    rows = 0 if last is None else last.rows
    ids = catalog.ids([row for row in range(rows) if row not in LOST])
    found += [ids, catalog.live_rows([*ids.values(), "absent"], COMMITS - 1), catalog.live_rows(list(ids.values()), 30)]
    found += [
        catalog.commits(),
        catalog.commit_at(30_500),
        catalog.commit(7),
        catalog.commit(-5),
        catalog.damage(),
        catalog.damage("end"),
    ]
    found += [catalog.state(key) for key in ("cursor", "vector_rows", "none")]
    found += [(number := catalog.model_number(upto)) is not None and catalog.model_data(number) for upto in (5, 30, 99)]
    found += [catalog.frames_with(kind, row) for kind in (1, 2) for row in (0, 150, rows - 1)]
    found += [catalog.frames_after(kind, -1) for kind in (1, 2)] + [catalog.frame(9), catalog.frame(10)]
    catalog.verify_metadata(rows)
    columns = MetadataColumns(rows_of=catalog.rows_of)
    for where in (
        {"n": 3},
        {"t": {"$like": "t1%"}},
        {"$id": {"$in": ["id5x5", "id299x299", "no"]}},
        {"n": {"$gte": 4}},
    ):
        with catalog.reading() as connection:
            found.append(columns.rows(connection, where, committed=rows).tolist())
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Any]]:
    """A closed catalog, one that a killed process left with its log, and the true answers."""
    folder, live = tmp_path_factory.mktemp("closed"), tmp_path_factory.mktemp("live")
    catalog = filled(folder / "catalog.sqlite")
    for path in folder.iterdir():
        shutil.copyfile(path, live / path.name)
    truth = answers(catalog)
    catalog.close()
    ram = filled(None)
    assert answers(ram) == truth
    ram.close()
    return folder, live, truth


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 1, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero_sector(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(0, len(data), 512)
    data[start : start + 512] = bytes(len(data[start : start + 512]))


def swap_pages(data: bytearray, rng: random.Random) -> None:
    pages = len(data) // 4096
    a, b = (4096 * rng.randrange(pages) for _ in range(2)) if pages else (0, 0)
    data[a : a + 4096], data[b : b + 4096] = data[b : b + 4096], data[a : a + 4096]


@pytest.mark.parametrize("state", ["closed", "live"])
@pytest.mark.parametrize("damage", [flip, zero_sector, swap_pages])
def test_damage_is_told_or_harmless(
    tmp_path: Path,
    base: tuple[Path, Path, list[Any]],
    state: str,
    damage: Callable[[bytearray, random.Random], None],
    effort: Callable[[int], int],
    sized: Callable[[int, int], int],
) -> None:
    closed, live, truth = base
    told = 0
    for seed in range(effort(sized(24, 36))):
        rng, folder = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(closed if state == "closed" else live, folder)
        target = rng.choice([path for path in folder.glob("catalog.sqlite*") if path.stat().st_size > 100])
        data = bytearray(target.read_bytes())
        damage(data, rng)
        target.write_bytes(data)
        try:
            catalog = Catalog(folder / "catalog.sqlite")
        except IndexStaleError:
            told += 1
            continue
        try:
            reached = catalog.state("cursor")
            if reached == str(COMMITS - 1).encode() and len(catalog.damage()) == 2:
                assert answers(catalog) == truth, seed
            else:  # a damaged log ends earlier, at a whole state
                assert target.name.endswith("-wal"), seed
                answers(catalog)
        except IndexStaleError:
            told += 1
        finally:
            catalog.close()
    assert told or state == "live"


def noise(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) - 64)
    data[start : start + 64] = rng.randbytes(64)


def test_a_filter_and_a_deletion_notice_lost_rows_on_their_own(
    tmp_path: Path, base: tuple[Path, Path, list[Any]], effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    """A scan of a damaged page may end early without an error of SQLite."""
    closed, _, _ = base
    path = tmp_path / "catalog.sqlite"

    def filtered() -> list[list[int]]:
        catalog = Catalog(path)
        try:
            last = catalog.commit(COMMITS - 1)
            assert last is not None
            catalog.verify_metadata(last.rows)
            columns = MetadataColumns(rows_of=catalog.rows_of)
            with catalog.reading() as connection:
                return [columns.rows(connection, {"n": n}, committed=last.rows).tolist() for n in range(5)]
        finally:
            catalog.close()

    def without_some() -> list[int]:
        catalog = Catalog(path)
        try:
            with catalog.transaction():
                catalog.bury(range(3, 200, 9), COMMITS - 1)
            return catalog.changes(-1, COMMITS - 1).dead.tolist()
        finally:
            catalog.close()

    whole = (closed / "catalog.sqlite").read_bytes()
    for ask in (filtered, without_some):
        path.write_bytes(whole)
        truth, told = ask(), 0
        for seed in range(effort(sized(16, 24))):
            data = bytearray(whole)
            noise(data, random.Random(seed))
            path.write_bytes(data)
            try:
                assert ask() == truth, (ask, seed)
            except IndexStaleError:
                told += 1
        assert told


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE records SET id = 'id6x6' WHERE row = 5",
        "UPDATE records SET dense = 1 - dense WHERE row = 5",
        "UPDATE records SET died = NULL WHERE row = (SELECT min(row) FROM records WHERE died IS NOT NULL)",
        "UPDATE records SET died = 3 WHERE row = 5",
        "UPDATE records SET metadata = '{\"n\":8}' WHERE row = 5",
        "UPDATE records SET hash = hash + 1 WHERE row = 5",
        "DELETE FROM records WHERE row = 5",
        "DELETE FROM commits WHERE number = 7",
        f"DELETE FROM commits WHERE number = {COMMITS - 1}",
        "UPDATE commits SET time = 5 WHERE number = 7",
        "DELETE FROM models WHERE number = 40",
        "UPDATE models SET data = x'00' WHERE number = 40",
        "UPDATE frames SET places = x'90' WHERE first = 9",
        "UPDATE frames SET first = first + 1 WHERE first = 9",
        "DELETE FROM frames WHERE first = 9",
        "DELETE FROM damage WHERE number = 12",
        "UPDATE damage SET records = 0 WHERE number = 12",
        "DELETE FROM state",
        "UPDATE state SET value = x'80'",
        "INSERT INTO state SELECT 2, value, sum FROM state",
    ],
)
def test_a_changed_or_lost_row_is_told(tmp_path: Path, base: tuple[Path, Path, list[Any]], sql: str) -> None:
    path = tmp_path / "catalog.sqlite"
    shutil.copyfile(base[0] / "catalog.sqlite", path)
    with sqlite3.connect(path) as other:
        other.execute(sql)
    other.close()
    catalog = Catalog(path)
    with pytest.raises(IndexStaleError):
        answers(catalog)
    catalog.close()


@pytest.mark.parametrize("first", [0, 1 << 34])
def test_ids_come_back_as_they_were_given(tmp_path: Path, first: int) -> None:
    """In one list of SQLite's JSON or one by one, whatever characters they have."""
    ids = ["a\0b", "\0", "", '"\\/', "\x01\x1f\x7f", "é\U0001f600\u2028\ufffe", "x" * 5000, *map(chr, range(1, 0xD800))]
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with catalog.transaction():
        catalog.add_records((first + 3 * row, text, 1 << 33, row % 2 == 0, None) for row, text in enumerate(ids))
    rows = [first + 3 * row for row in range(len(ids))]
    assert catalog.ids(rows) == dict(zip(rows, ids, strict=True))
    assert catalog.ids(rows[::-97]) == dict(zip(rows[::-97], ids[::-97], strict=True))
    with pytest.raises(IndexStaleError):
        catalog.ids([*rows, first + 1])
    catalog.close()


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_row_is_noticed_although_a_row_that_nobody_asked_for_makes_up_the_count(
    tmp_path: Path, lost: int
) -> None:
    path = tmp_path / "catalog.sqlite"
    catalog = Catalog(path)
    with catalog.transaction():
        catalog.add_records((row, f"id{row}", 1, True, None) for row in range(6))
    catalog.close()
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM records WHERE row = ?", (lost,))
    other.close()
    catalog = Catalog(path)
    for left_out in set(range(6)) - {lost}:
        with pytest.raises(IndexStaleError):
            catalog.ids([row for row in range(6) if row != left_out])
    catalog.close()


@pytest.mark.parametrize(
    "ddl",
    [
        f"CREATE VIEW extra AS {ENDLESS} SELECT x FROM n",
        f"DROP TABLE state; CREATE VIEW state AS {ENDLESS} SELECT 1 AS one, x AS value, 0 AS sum FROM n",
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END",
        "DROP INDEX records_hash",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 1",
    ],
)
def test_a_strangers_tables_are_refused(tmp_path: Path, base: tuple[Path, Path, list[Any]], ddl: str) -> None:
    path = tmp_path / "catalog.sqlite"
    shutil.copyfile(base[0] / "catalog.sqlite", path)
    with sqlite3.connect(path) as other:
        other.executescript(ddl)
    other.close()
    with pytest.raises(IndexStaleError):
        Catalog(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path, victim = tmp_path / f"catalog.sqlite{suffix}", tmp_path / "victim"
    {"link": lambda: path.symlink_to(victim), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    with pytest.raises(IndexStaleError, match="not a regular file"):
        Catalog(tmp_path / "catalog.sqlite")
    assert not victim.exists()


def test_a_snapshot_answers_from_one_state(tmp_path: Path) -> None:
    reader = filled(tmp_path / "catalog.sqlite")
    writer = Catalog(tmp_path / "catalog.sqlite")
    last = reader.commit(COMMITS)
    assert last is not None
    before = answers(reader)
    with reader.snapshot():
        assert reader.state("cursor") == str(COMMITS - 1).encode()
        take_in(writer, COMMITS, last.rows)
        assert answers(reader) == before
        with reader.snapshot():
            assert reader.state("cursor") == str(COMMITS - 1).encode()
    assert reader.state("cursor") == str(COMMITS).encode()
    assert reader.changes(COMMITS - 1, COMMITS).commit == writer.commit(COMMITS)
    reader.close()
    writer.close()


def interrupted_change(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.set_state("cursor", b"newer")
        raise ZeroDivisionError


def test_a_transaction_reads_its_own_state_and_others_do_not(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite")
    seen: list[bytes | None] = []
    with catalog.transaction():
        catalog.set_state("cursor", b"new")
        assert catalog.state("cursor") == b"new"
        thread = threading.Thread(target=lambda: seen.append(catalog.state("cursor")))
        thread.start()
        thread.join()
    assert seen == [None]
    with pytest.raises(ZeroDivisionError):
        interrupted_change(catalog)
    assert catalog.state("cursor") == b"new"
    catalog.close()


def test_processes_that_open_a_new_catalog_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from memvid_core.catalog.catalog import Catalog\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "catalog = Catalog(Path(sys.argv[1]))\n"
        "with catalog.transaction():\n"
        "    catalog.set_state('sum', str(int(catalog.state('sum') or 0) + 1).encode())\n"
    )
    for number in range(3):
        path = tmp_path / str(number) / "catalog.sqlite"
        path.parent.mkdir()
        workers = [start(script, path) for _ in range(4)]
        for worker in workers:
            worker.stdout.readline()
        for worker in workers:
            worker.communicate("\n", timeout=60)
            assert worker.returncode == 0
        catalog = Catalog(path)
        assert catalog.state("sum") == b"4"
        catalog.close()


def test_a_commit_is_taken_in_once(tmp_path: Path) -> None:
    catalog = filled(tmp_path / "catalog.sqlite")
    truth = answers(catalog)
    with pytest.raises(IndexStaleError):
        take_in(catalog, 0, 0)  # as after a cursor that was lost
    assert answers(catalog) == truth
    catalog.close()


def test_an_earlier_version_whose_deletion_was_lost_is_deleted(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite")
    for number, (row, name) in enumerate([(0, "a"), (1, "b"), (2, "a")], 1):
        with catalog.transaction():
            catalog.add_records([(row, name, number, True, None)])
            catalog.add_commit(CommitRow(number, 1000 * number, row + 1, 1, 0, 1, 1))
            catalog.bury_replaced(row, row + 1, number)
    changes = catalog.changes(-1, 3)
    assert changes.dead.tolist() == [0]
    assert catalog.changes(2, 3).dead.tolist() == [0]
    assert catalog.changes(-1, 2).dead.tolist() == []
    assert catalog.live_rows(["a", "b"], 3) == {"a": 2, "b": 1}
    assert catalog.live_rows(["a", "b"], 2) == {"a": 0, "b": 1}
    catalog.close()


@pytest.mark.parametrize(
    "value", ["CAST(metadata AS BLOB)", "NULL", "metadata || ' '", "7", "x'ff'", "CAST(x'ff' AS TEXT)"]
)
def test_metadata_that_was_changed_is_found_before_a_filter_reads_it(base, tmp_path, value):
    shutil.copytree(base[0], tmp_path, dirs_exist_ok=True)
    database = sqlite3.connect(tmp_path / "catalog.sqlite")
    with database:
        (row,) = database.execute("SELECT max(row) FROM records WHERE metadata IS NOT NULL").fetchone()
        database.execute(f"UPDATE records SET metadata = {value} WHERE row = ?", (row,))
    database.close()
    catalog = Catalog(tmp_path / "catalog.sqlite")
    last = catalog.commit(COMMITS - 1)
    assert last is not None
    with pytest.raises(IndexStaleError, match="metadata"):
        catalog.verify_metadata(last.rows)
    catalog.close()


def test_frames_are_read_until_there_are_too_many(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "catalog.sqlite")) as catalog:
        every = catalog.frames_after(1, -1)
        for row in (-1, every[len(every) // 2].row):
            wanted = [frame for frame in every if frame.row > row]
            assert catalog.frames_after(1, row, len(wanted)) == wanted
            assert 3 < len(catalog.frames_after(1, row, 3)) < len(wanted)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "one commit"])
def test_the_frame_of_a_row_is_the_same_whether_few_or_all_frames_are_read(tmp_path: Path, order: str) -> None:
    with closing(filled(tmp_path / "catalog.sqlite")) as catalog:
        for kind in (1, 2):
            every = catalog.frames_after(kind, -1)
            last = every[-1].row + every[-1].items
            rows = list(range(last))
            if order == "one commit":
                rows = [last // 2] * 2
            elif order != "ascending":
                rows = rows[::-1] if order == "descending" else np.random.default_rng(1).permutation(last).tolist()
            table = FrameTable(catalog, kind)
            for row in rows:
                wanted = next(frame for frame in reversed(every) if frame.row <= row)
                assert table.find(row) == wanted
            assert bool(table._frames) == (len(rows) > 2)  # all are read only if many are asked for
            assert table.find(last + 5) == every[-1]  # as before it was committed


def test_a_frame_that_was_lost_is_named_when_its_row_is_asked_for(tmp_path: Path) -> None:
    filled(tmp_path / "catalog.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as database, database:
        database.execute("DELETE FROM frames WHERE first = 90")
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        before, after = catalog.commit(29), catalog.commit(30)
        assert before is not None
        assert after is not None
        table = FrameTable(catalog, 1)
        for row in (before.rows - 1, after.rows):
            found = table.find(row)
            assert found is not None
            assert found.row <= row < found.row + found.items
        for row in range(before.rows, after.rows):
            with pytest.raises(IndexStaleError, match="lost frames"):
                table.find(row)


def test_a_catalog_without_frames_has_no_frame(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        assert catalog.frames_with(1, 0) == []
        assert FrameTable(catalog, 1).find(0) is None
