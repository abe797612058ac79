"""Columns answer what a scan of the table answers, whatever happens to the table in between."""

from __future__ import annotations

import sqlite3
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.catalog import metadata_columns as columns_module
from memvid_core.catalog.filter_compiler import compile_filter, encode_metadata, register_functions, select_rows
from memvid_core.catalog.metadata_columns import MetadataColumns
from memvid_core.errors import IndexStaleError

SCHEMA = "CREATE TABLE records (row INTEGER PRIMARY KEY, id TEXT, died INTEGER, metadata TEXT)"
FILTERS: list[dict[str, Any]] = [
    {},
    {"n": 3},
    {"n": {"$ne": 3}},
    {"n": {"$gte": 2}, "tag": "even"},
    {"$or": [{"tag": None}, {"$id": {"$in": ["r1", "r4"]}}]},
    {"$id": {"$like": "r1%"}, "n": {"$exists": True}},
    {"$not": {"missing": {"$exists": True}}},
    {"$nor": [{"tag": {"$in": ["odd"]}}, {"n": {"$between": [0, 4]}}]},
]


def records(path: str | Path = ":memory:") -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    register_functions(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(SCHEMA)
    return connection


def insert(connection: sqlite3.Connection, *rows: int) -> None:
    connection.executemany(
        "INSERT INTO records (row, id, metadata) VALUES (?, ?, ?)",
        [
            (row, f"r{row}", encode_metadata({"n": row % 7, "tag": ("even", "odd")[row % 2]}) if row % 5 else None)
            for row in rows
        ],
    )


def check(columns: MetadataColumns, connection: sqlite3.Connection, filters: list[dict[str, Any]] = FILTERS) -> None:
    for where in filters:
        expected = select_rows(connection, compile_filter(where))
        assert columns.rows(connection, where).tolist() == expected.tolist(), where


@given(st.lists(st.lists(st.integers(1, 4), max_size=5), max_size=6), st.booleans())
def test_rows_appended_between_filters_with_and_without_gaps(batches: list[list[int]], dense: bool) -> None:
    connection, columns, row = records(), MetadataColumns(), 0
    for steps in batches:
        rows = [row := row + (1 if dense else step) for step in steps]
        with connection:
            insert(connection, *rows)
        check(columns, connection)
    connection.close()


def test_a_mask_covers_every_row_number_and_belongs_to_the_caller() -> None:
    connection, columns = records(), MetadataColumns()
    assert columns.mask(connection, {"n": 1}).tolist() == []
    with connection:
        insert(connection, 1, 3, 8)
    mask = columns.mask(connection, {"n": {"$ne": 5}})
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == [1, 3, 8]
    assert len(mask) == 9
    mask[:] = False
    assert columns.rows(connection, {"n": {"$ne": 5}}).tolist() == [1, 3, 8]
    assert columns.rows(connection, {"n": 1}).dtype == np.int64


def test_more_rows_than_are_read_at_a_time() -> None:
    connection, columns = records(), MetadataColumns()
    with connection:
        insert(connection, *range(40_000))
    check(columns, connection)
    with connection:
        insert(connection, *range(40_001, 60_000))
    check(columns, connection)
    assert columns.nbytes > 2 * 60_000 * 4


def test_a_processs_rows_are_seen_by_another_and_an_old_snapshot_stays_old(tmp_path: Path) -> None:
    writer = records(tmp_path / "catalog.sqlite")
    with writer:
        insert(writer, *range(10))
    reader = sqlite3.connect((tmp_path / "catalog.sqlite").as_uri() + "?mode=ro", uri=True)
    past = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    register_functions(reader)
    register_functions(past)
    columns = MetadataColumns()
    check(columns, reader)
    past.execute("BEGIN")
    check(columns, past)
    with writer:
        insert(writer, *range(10, 30))
    check(columns, reader)
    assert len(columns.mask(reader, {"n": 1})) == 30
    assert len(columns.mask(past, {"n": 1})) == 10
    check(columns, past)
    past.execute("COMMIT")
    assert len(columns.mask(past, {"n": 1})) == 30


def test_a_read_only_catalog_is_served(tmp_path: Path) -> None:
    writer = records(tmp_path / "catalog.sqlite")
    with writer:
        insert(writer, *range(50))
    writer.execute("PRAGMA journal_mode = DELETE")
    writer.close()
    (tmp_path / "catalog.sqlite").chmod(0o444)
    uri = (tmp_path / "catalog.sqlite").as_uri()
    reader = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
    register_functions(reader)
    reader.execute("PRAGMA query_only = 1")
    check(MetadataColumns(), reader)


def test_rows_that_are_rolled_back_leave_no_trace() -> None:
    connection, columns = records(), MetadataColumns()
    with connection:
        insert(connection, *range(10))
    check(columns, connection, FILTERS[:2])
    insert(connection, *range(10, 20))
    assert connection.in_transaction
    check(columns, connection)
    connection.rollback()
    check(columns, connection)
    with connection:
        connection.executemany(
            "INSERT INTO records (row, id, metadata) VALUES (?, ?, ?)",
            [(row, f"r{row}", encode_metadata({"n": -row, "tag": "new"})) for row in range(10, 15)],
        )
    check(columns, connection)
    assert columns.rows(connection, {"tag": "new"}).tolist() == list(range(10, 15))


def test_in_a_transaction_the_caller_can_say_what_is_committed() -> None:
    connection, columns = records(), MetadataColumns()
    with connection:
        insert(connection, *range(10))
    insert(connection, 10, 11)
    assert columns.rows(connection, {"n": 3}, committed=10).tolist() == [3]
    assert columns.nbytes > 0
    connection.rollback()
    with connection:
        connection.execute("""INSERT INTO records VALUES (10, 'r10', NULL, '{"n":3}')""")
    assert columns.rows(connection, {"n": 3}).tolist() == [3, 10]
    assert columns.rows(connection, {"n": 3}, committed=1_000_000).tolist() == [3, 10]


@pytest.mark.parametrize("limits", [{"max_distinct": 3}, {"max_bytes": 10}], ids=str)
def test_a_path_with_too_many_values_is_scanned(limits: dict[str, Any]) -> None:
    connection, columns = records(), MetadataColumns(**limits)
    with connection:
        insert(connection, *range(100))
    check(columns, connection)
    check(columns, connection)
    with connection:
        insert(connection, *range(100, 140))
    check(columns, connection)


def test_the_column_longest_unused_goes_first() -> None:
    connection = records()
    with connection:
        insert(connection, *range(5000))
    columns = MetadataColumns()
    columns.rows(connection, {"n": 1})
    one = columns.nbytes
    columns = MetadataColumns(max_bytes=one * 2)
    for path in ("n", "tag", "n", "x", "y", "tag"):
        check(columns, connection, [{path: 1}, {path: "odd"}, {"$not": {path: {"$exists": True}}}])
        assert columns.nbytes <= one * 2
    check(columns, connection, [{"n": 1, "tag": "odd", "x": None, "y": {"$exists": False}}])


def test_more_conditions_than_are_remembered() -> None:
    connection, columns = records(), MetadataColumns()
    with connection:
        insert(connection, *range(100))
    filters: list[dict[str, Any]] = [{"n": {"$gte": i / 50}} for i in range(300)]
    check(columns, connection, filters)
    with connection:
        connection.execute("""INSERT INTO records VALUES (100, 'r100', NULL, '{"n":2.5}')""")
    check(columns, connection, filters)


def test_reading_that_is_interrupted_starts_over() -> None:
    connection, columns = records(), MetadataColumns()
    with connection:
        insert(connection, *range(40_000))
    calls = iter(range(10_000))
    connection.set_progress_handler(lambda: next(calls) > 300, 1000)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        columns.rows(connection, {"n": 3})
    connection.set_progress_handler(None, 0)
    check(columns, connection)


def test_clear_forgets_the_old_numbering() -> None:
    connection, columns = records(), MetadataColumns()
    with connection:
        insert(connection, *range(20))
    check(columns, connection)
    with connection:
        connection.execute("DELETE FROM records")
        connection.execute("""INSERT INTO records VALUES (0, 'x', NULL, '{"n":"new"}')""")
    columns.clear()
    assert columns.nbytes == 0
    check(columns, connection)
    assert columns.rows(connection, {"n": "new"}).tolist() == [0]


def test_many_threads_ask_while_one_appends(tmp_path: Path) -> None:
    writer, columns, done = records(tmp_path / "catalog.sqlite"), MetadataColumns(max_bytes=20_000), threading.Event()
    with writer:
        insert(writer, *range(100))

    def ask() -> int:
        connection = sqlite3.connect(tmp_path / "catalog.sqlite")
        register_functions(connection)
        rounds = 0
        while not done.is_set() or rounds == 0:
            for where in FILTERS:
                rows = columns.rows(connection, where)
                seen = len(columns.mask(connection, {}))
                expected = select_rows(connection, compile_filter(where))
                last = rows[-1] + 1 if len(rows) else 0
                assert rows.tolist() == expected[expected < last].tolist()
                assert last <= seen
            rounds += 1
        connection.close()
        return rounds

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        try:
            for start in range(100, 400, 10):
                with writer:
                    insert(writer, *range(start, start + 10))
        finally:
            done.set()
        assert all(future.result() for future in asked)
    check(columns, writer)


class InterruptAt:
    """Raises KeyboardInterrupt before the ``number``-th line to run in the module of columns."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> InterruptAt | None:
        if frame.f_code.co_filename != columns_module.__file__:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.number:
                raise KeyboardInterrupt
        return self

    def during(self, call: Callable[[], Any]) -> bool:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


@pytest.mark.parametrize("known", [False, True])
def test_an_interrupt_at_any_line_breaks_no_later_filter(known: bool) -> None:
    where = {"n": {"$gte": 2}, "tag": {"$ne": "even"}}
    interrupted, number = True, 0
    while interrupted:
        number += 1
        connection, columns = records(), MetadataColumns(max_bytes=3_000)
        with connection:
            insert(connection, *range(4))
        if known:
            check(columns, connection)
            with connection:
                insert(connection, *range(4, 8))
        interrupted = InterruptAt(number).during(
            lambda columns=columns, connection=connection: columns.mask(connection, where)  # type: ignore[misc]
        )
        check(columns, connection)
        columns.mask(connection, {"fresh": 1})
        (tables,) = columns._kept.values.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        assert tables <= len(columns._kept.columns), number
        connection.close()
    assert number > 40


def test_an_interrupt_while_columns_are_forgotten() -> None:
    connection = records()
    with connection:
        insert(connection, *range(20))
    interrupted, number = True, 0
    while interrupted:
        number += 1
        columns = MetadataColumns()
        check(columns, connection)
        interrupted = InterruptAt(number).during(columns.clear)
        check(columns, connection)
    connection.close()


def test_an_interrupt_inside_a_function_of_a_filter_is_an_interrupt() -> None:
    connection = records()
    with connection:
        insert(connection, *range(20))
    columns = MetadataColumns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unicodedata, "normalize", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            columns.mask(connection, {"$id": {"$icontains": "É"}, "tag": {"$ilike": "É%"}})
    check(columns, connection)
    connection.close()


def _interrupt(*_: object) -> str:
    raise KeyboardInterrupt


@pytest.mark.parametrize("operator", ["$in", "$nin", "$any"])
@pytest.mark.parametrize("deep", [False, True])
def test_many_values_mean_what_few_mean(operator: str, deep: bool) -> None:
    held: list[Any] = [
        0,
        1,
        -1,
        1.5,
        2.0,
        10**20,
        "1",
        "x\0y",
        "",
        True,
        False,
        None,
        [],
        [1, "a"],
        ["a", [2]],
        {"k": 1},
    ]
    held += [[None], [True], [1.0], {"k": [1.0]}, [{"k": 1}], "é", -0.0, [10**20], 1e20]
    connection = records()
    with connection:
        connection.executemany(
            "INSERT INTO records (row, id, metadata) VALUES (?, ?, ?)",
            [(row, f"r{row}", encode_metadata({"v": value})) for row, value in enumerate(held)]
            + [(len(held), "none", None)],
        )
    filler: list[Any] = [f"filler {n}" for n in range(100)] + ([[f"filler {n}"] for n in range(9)] if deep else [])
    for value in held:
        few = MetadataColumns().rows(connection, {"v": {operator: [value]}}).tolist()
        many = MetadataColumns()
        assert many.rows(connection, {"v": {operator: [*filler, value]}}).tolist() == few, value
    connection.close()


def test_what_a_column_knew_of_many_values_is_extended() -> None:
    connection, columns = records(), MetadataColumns()
    many = {"n": {"$in": [*range(3), *range(100, 200)]}, "tag": {"$nin": [None, *(f"t{n}" for n in range(100))]}}
    for row in range(0, 40, 2):
        with connection:
            insert(connection, row, row + 1)
        check(columns, connection, [many])
    connection.close()


def test_damage_in_the_table_is_one_error(tmp_path: Path) -> None:
    connection = records()
    with connection:
        insert(connection, *range(20))
        connection.execute("UPDATE records SET metadata = '{\"n\": ' WHERE row = 3")
    for where in ({"n": 3}, {"n": {"$gt": 1}}, {"n": {"$ilike": "é"}}):
        with pytest.raises(IndexStaleError):
            MetadataColumns().mask(connection, where)
    connection.close()
