"""What each operator answers, what is refused and how, and how large a filter may be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from memvid_core.catalog.filter_compiler import compile_filter, encode_metadata, parse_filter, select_rows
from memvid_core.catalog.filter_language import MAX_DEPTH
from memvid_core.catalog.metadata_columns import MetadataColumns
from memvid_core.errors import FilterError, MetadataError
from tests.core.catalog.filter_oracle import agrees, catalog, scan

RECORDS: list[dict[str, Any] | None] = [
    {"n": 1, "s": "Apple", "tags": ["a", "b"], "deep": {"x": {"y": 5}}, "flag": True},  # 0
    {"n": 1.0, "s": "apple", "tags": [], "deep": {"x": {"y": "5"}}, "flag": False},  # 1
    {"n": "1", "s": "50%", "tags": "a", "deep.x.y": 7, "deep": {"x": {"y": 5}}},  # 2
    {"n": True, "s": "École", "tags": {"a": 1}, "flag": None},  # 3
    {"n": None, "s": "", "tags": [1, "1", True, None, [1, 2], {"k": 1.0}]},  # 4
    {"n": 9007199254740993, "s": "한국어 문서", "tags": ["a"]},  # 5
    {"n": [1, 5, 9], "s": ["Apple", "Pear"]},  # 6
    {},  # 7
    None,  # 8
]
EVERY = list(range(9))


def but(*rows: int) -> list[int]:
    return [row for row in EVERY if row not in rows]


TRUTH: list[tuple[dict[str, Any], list[int]]] = [
    ({}, EVERY),
    # equality is strict about types, but a number is a number
    ({"n": 1}, [0, 1, 6]),
    ({"n": 1.0}, [0, 1, 6]),
    ({"n": "1"}, [2]),
    ({"n": True}, [3]),
    ({"n": None}, [4, 7, 8]),
    ({"n": {"$eq": 9007199254740993}}, [5]),
    ({"n": 9007199254740992}, []),
    ({"n": [1, 5, 9]}, [6]),
    ({"n": [9, 5, 1]}, []),
    ({"n": {"$ne": 1}}, but(0, 1, 6)),
    ({"n": {"$ne": None}}, but(4, 7, 8)),
    ({"n": {"$not": {"$eq": 1}}}, but(0, 1, 6)),
    ({"tags": {"a": 1}}, [3]),
    ({"tags": {"a": 1.0}}, [3]),
    ({"tags": {}}, []),
    ({"tags": []}, [1]),
    ({"tags": {"k": 1}}, [4]),
    ({"tags": [1, 2]}, [4]),
    # order, within one kind
    ({"n": {"$gt": 1}}, [5, 6]),
    ({"n": {"$gte": 1}}, [0, 1, 5, 6]),
    ({"n": {"$lt": 1}}, []),
    ({"n": {"$lte": 1}}, [0, 1, 6]),
    ({"n": {"$gt": 9007199254740992}}, [5]),
    ({"n": {"$gt": 9007199254740993}}, []),
    ({"n": {"$gte": "0"}}, [2]),
    ({"n": {"$gte": False}}, [3]),
    ({"flag": {"$gt": False}}, [0]),
    ({"flag": {"$lte": False}}, [1]),
    ({"n": {"$gt": 1, "$lt": 6}}, [6]),
    ({"n": {"$not": {"$gt": 1}}}, but(5, 6)),
    ({"s": {"$gt": "Z"}}, [1, 3, 5]),
    ({"n": {"$between": [2, 8]}}, [6]),
    ({"n": {"$between": [6, 8]}}, []),
    ({"n": {"$between": [9, 1]}}, []),
    ({"s": {"$between": ["Apple", "B"]}}, [0, 6]),
    ({"flag": {"$between": [False, True]}}, [0, 1]),
    # lists of values
    ({"n": {"$in": []}}, []),
    ({"n": {"$nin": []}}, EVERY),
    ({"n": {"$in": [1, "1"]}}, [0, 1, 2, 6]),
    ({"n": {"$in": (None, True)}}, [3, 4, 7, 8]),
    ({"n": {"$in": {9, 10}}}, [6]),
    ({"n": {"$nin": [1, None]}}, [2, 3, 5]),
    ({"tags": {"$in": ["a"]}}, [0, 2, 5]),
    ({"tags": {"$in": [[1, 2], "b"]}}, [0, 4]),
    ({"tags": {"$all": ["a", "b"]}}, [0]),
    ({"tags": {"$all": ["a"]}}, [0, 2, 5]),
    ({"tags": {"$all": []}}, []),
    ({"tags": {"$any": ["b", "a"]}}, [0, 2, 5]),
    ({"tags": {"$any": [None]}}, [4]),
    ({"tags": {"$any": []}}, []),
    ({"n": {"$any": [[1, 5, 9]]}}, []),
    # presence
    ({"n": {"$exists": True}}, but(7, 8)),
    ({"n": {"$exists": False}}, [7, 8]),
    ({"flag": {"$exists": True}}, [0, 1, 3]),
    ({"tags": {"$empty": True}}, [1, 6, 7, 8]),
    ({"s": {"$empty": True}}, [4, 7, 8]),
    ({"flag": {"$empty": False}}, [0, 1]),
    ({"n": {"$type": "integer"}}, [0, 5]),
    ({"n": {"$type": ["float", "boolean"]}}, [1, 3]),
    ({"n": {"$type": "number"}}, [0, 1, 5]),
    ({"n": {"$type": "null"}}, [4]),
    ({"tags": {"$type": ["list", "dict"]}}, [0, 1, 3, 4, 5]),
    # text
    ({"s": {"$like": "App%"}}, [0, 6]),
    ({"s": {"$like": "app__"}}, [1]),
    ({"s": {"$like": "50\\%"}}, [2]),
    ({"s": {"$like": "%"}}, but(7, 8)),
    ({"s": {"$ilike": "app%"}}, [0, 1, 6]),
    ({"s": {"$ilike": "é%"}}, [3]),
    ({"s": {"$ilike": "e\u0301COLE"}}, [3]),
    ({"s": {"$ilike": "%문서"}}, [5]),
    ({"n": {"$like": "%"}}, [2]),
    ({"s": {"$contains": "pp"}}, [0, 1]),
    ({"s": {"$contains": "%"}}, [2]),
    ({"s": {"$contains": "Pear"}}, [6]),
    ({"s": {"$contains": "ear"}}, []),
    ({"s": {"$contains": ""}}, [0, 1, 2, 3, 4, 5]),
    ({"tags": {"$contains": "a"}}, [0, 2, 3, 5]),
    ({"tags": {"$contains": 1}}, [4]),
    ({"tags": {"$contains": True}}, [4]),
    ({"tags": {"$contains": None}}, [4]),
    ({"n": {"$contains": 1}}, [6]),
    ({"s": {"$icontains": "APP"}}, [0, 1]),
    ({"s": {"$icontains": "ÉCOLE"}}, [3]),
    ({"s": {"$icontains": "pear"}}, [6]),
    # paths: the key spelt like the path first, then nested
    ({"deep.x.y": 5}, [0]),
    ({"deep.x.y": 7}, [2]),
    ({"deep.x.y": {"$exists": True}}, [0, 1, 2]),
    ({"deep.x": {"$type": "dict"}}, [0, 1, 2]),
    ({"deep.x.y.z": {"$exists": True}}, []),
    ({"n.0": {"$exists": True}}, []),
    # groups
    ({"n": 1, "s": "apple"}, [1]),
    ({"$and": [{"n": 1}, {"s": "apple"}]}, [1]),
    ({"$or": [{"n": "1"}, {"s": "apple"}]}, [1, 2]),
    ({"$nor": [{"n": "1"}, {"s": "apple"}]}, but(1, 2)),
    ({"$not": {"n": 1}}, but(0, 1, 6)),
    ({"$not": {"$not": {"n": 1}}}, [0, 1, 6]),
    ({"$not": {}}, []),
    ({"$or": [{}]}, EVERY),
    ({"$or": [{"flag": True}, {"$and": [{"n": 1}, {"tags": []}]}]}, [0, 1]),
    # the record's own id
    ({"$id": "r3"}, [3]),
    ({"$id": {"$in": ["r1", "r8", "none", 3]}}, [1, 8]),
    ({"$id": {"$nin": ["r1", "r8"]}}, but(1, 8)),
    ({"$id": {"$gt": "r6"}}, [7, 8]),
    ({"$id": {"$ilike": "R_"}, "n": 1}, [0, 1, 6]),
    ({"$or": [{"$id": "r8"}, {"n": "1"}]}, [2, 8]),
    # NumPy scalars are taken for what they hold
    ({"n": np.int64(1)}, [0, 1, 6]),
    ({"n": {"$gt": np.float32(1.5)}}, [5, 6]),
    ({"flag": np.bool_(True)}, [0]),
]


@pytest.fixture(scope="module")
def truth() -> Iterator[tuple[sqlite3.Connection, MetadataColumns]]:
    connection = catalog(RECORDS)
    yield connection, MetadataColumns()
    connection.close()


@pytest.mark.parametrize(("where", "rows"), TRUTH, ids=[str(where) for where, _ in TRUTH])
def test_truth_table(truth: tuple[sqlite3.Connection, MetadataColumns], where: dict[str, Any], rows: list[int]) -> None:
    connection, columns = truth
    assert scan(connection, where) == rows
    assert columns.rows(connection, where).tolist() == rows
    assert scan(connection, {"$not": where}) == but(*rows)


# Bad filters ----------------------------------------------------------------------------------------------------------

cyclic: list[Any] = []
cyclic.append(cyclic)
BAD: list[tuple[Any, str]] = [
    ([], "where must be a dict"),
    ("n = 1", "where must be a dict"),
    (None, "where must be a dict"),
    ({1: 2}, "field name must be a string, not 1"),
    ({"$and": []}, r'where\["\$and"\] must be a non-empty list'),
    ({"$or": {"n": 1}}, "non-empty list of filters"),
    ({"$nor": ()}, "non-empty list"),
    ({"$or": [{"n": 1}, 5]}, r'where\["\$or"\]\[1\] must be a dict'),
    ({"$not": [1]}, "must be a dict"),
    ({"$gt": 3}, r"\$gt at where needs a field"),
    ({"$ands": []}, r'unknown operator "\$ands" at where; did you mean "\$and"\?'),
    ({"n": {"$like ": "x"}}, r'unknown operator "\$like ".*did you mean "\$like"\?'),
    ({"n": {"$GTE": 1}}, r'did you mean "\$gte"\?'),
    ({"n": {"$regex": "x"}}, r"unknown operator .*Known here: \$all \$any"),
    ({"n": {"$or": [{"$gt": 1}]}}, "must be outside of a field"),
    ({"n": {"$gt": 1, "x": 2}}, "mixes operators"),
    ({"n": {"$not": 5}}, r"must be a dict of operators.*\$ne"),
    ({"n": {"$not": {}}}, "must be a dict of operators"),
    ({"n": float("nan")}, "is nan"),
    ({"n": {"$in": [1, float("inf")]}}, "is inf"),
    ({"n": {"$gt": float("-inf")}}, "is -inf"),
    ({"n": {"$eq": [{"x": float("nan")}]}}, "is nan"),
    ({"n": 2**1023}, "too large"),
    ({"n": "\ud800"}, "not valid Unicode"),
    ({"\ud800": 1}, "not valid Unicode"),
    ({"n": {"x": {"\ud800": 1}}}, "not valid Unicode"),
    ({"n": {1: 2}}, "key that is not a string"),
    ({"n": b"x"}, "cannot be compared"),
    ({"n": {1, 2}}, "cannot be compared"),
    ({"n": cyclic}, "contains itself"),
    ({"n": {"$gt": None}}, "needs a number, a string or a boolean"),
    ({"n": {"$lte": [1]}}, "needs a number"),
    ({"n": {"$gte": np.datetime64("2020-01-01")}}, "cannot be compared.*str"),
    ({"n": {"$lt": {"x": 1}}}, "needs a number"),
    ({"n": {"$in": "abc"}}, "must be a list of values"),
    ({"n": {"$in": {"a": 1}}}, "must be a list of values"),
    ({"n": {"$nin": 5}}, "must be a list of values"),
    ({"n": {"$all": "x"}}, "must be a list of values"),
    ({"n": {"$any": None}}, "must be a list of values"),
    ({"n": {"$between": [1]}}, r"\[lowest, highest\]"),
    ({"n": {"$between": 5}}, r"\[lowest, highest\]"),
    ({"n": {"$between": [1, "2"]}}, "a number and a string"),
    ({"n": {"$between": [False, 1]}}, "a boolean and a number"),
    ({"n": {"$between": [None, 1]}}, "needs a number"),
    ({"n": {"$exists": 1}}, "True or False"),
    ({"n": {"$empty": "yes"}}, "True or False"),
    ({"n": {"$like": 5}}, "must be a string"),
    ({"n": {"$like": "x\\"}}, "backslash"),
    ({"n": {"$like": "x" * 6000}}, "6000 characters"),
    ({"n": {"$ilike": None}}, "must be a string"),
    ({"n": {"$icontains": ["x"]}}, "must be a string"),
    ({"n": {"$contains": b""}}, "cannot be compared"),
    ({"n": {"$type": "int"}}, "one or a list of null boolean"),
    ({"n": {"$type": []}}, "one or a list of null boolean"),
    ({"n": {"$type": [1]}}, "one or a list of null boolean"),
]


@pytest.mark.parametrize(("where", "message"), BAD, ids=[str(where)[:60] for where, _ in BAD])
def test_bad_filters_say_what_is_wrong_and_where(where: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse_filter(where)


def test_a_bad_alias_is_refused() -> None:
    assert compile_filter({"a": 1}, alias="other").sql.count("other.") == 1
    with pytest.raises(FilterError, match="cannot name a table"):
        compile_filter({"a": 1}, alias="r; DROP TABLE records")


# Size -----------------------------------------------------------------------------------------------------------------


def nested(depth: int, *, bushy: bool) -> dict[str, Any]:
    """A filter of so many levels, AND and OR in turn, so that none can be merged."""
    where: dict[str, Any] = {"tags": {"$in": ["a", None, [1], {"k": 1}]}}
    for level in range(depth - 1):
        other = nested(min(level, 9), bushy=True) if bushy and level < 12 else {"s": {"$ilike": "a%"}}
        where = {("$and", "$or")[level % 2]: [{"n": {"$gte": 2**63}}, other, where]}
    return where


@pytest.mark.parametrize("bushy", [False, True])
def test_the_deepest_filter_runs(bushy: bool) -> None:
    connection, where = catalog(RECORDS), nested(MAX_DEPTH, bushy=bushy)
    expected = [i for i, metadata in enumerate(RECORDS) if agrees(where, metadata, f"r{i}")]
    assert scan(connection, where) == expected
    assert MetadataColumns().rows(connection, where).tolist() == expected
    compiled, room = compile_filter(where), "(((1 AND ("
    extra = f"r.row IN (SELECT r.row FROM records AS r WHERE {room}{compiled.sql})))))"
    assert select_rows(connection, compiled, extra_sql=extra, extra_params=compiled.params).tolist() == expected


def test_a_deeper_filter_is_refused() -> None:
    with pytest.raises(FilterError, match="nested deeper than 32 levels"):
        parse_filter(nested(MAX_DEPTH + 1, bushy=False))
    field: dict[str, Any] = {"$gt": 1}
    for _ in range(70):
        field = {"$not": field}
    with pytest.raises(FilterError, match="nested deeper than 32 levels"):
        parse_filter({"n": field})


def test_lists_of_any_length() -> None:
    connection = catalog([{"n": i, "s": f"s{i}", "l": [f"s{i}", i / 4], "z": f"{i}\0"} for i in range(50)])
    many = range(25, 34_000)
    assert scan(connection, {"n": {"$in": list(many)}}) == list(range(25, 50))
    assert scan(connection, {"n": {"$nin": [float(i) for i in many]}}) == list(range(25))
    assert scan(connection, {"s": {"$in": [f"s{i}" for i in many]}}) == list(range(25, 50))
    assert scan(connection, {"l": {"$any": [f"s{i}" for i in many]}}) == list(range(25, 50))
    assert scan(connection, {"l": {"$in": [i / 4 for i in many]}}) == list(range(25, 50))
    assert scan(connection, {"$id": {"$in": [f"r{i}" for i in many]}}) == list(range(25, 50))
    assert scan(connection, {"z": {"$in": [f"{i}\0" for i in range(25, 3000)]}}) == list(range(25, 50))
    assert scan(connection, {"z": {"$in": [str(i) for i in many]}}) == []


def test_thousands_of_conditions_run_and_more_are_refused() -> None:
    connection = catalog(RECORDS)
    assert scan(connection, {"$or": [{"n": {"$gt": i}} for i in range(3, 1500)]}) == [5, 6]
    assert scan(connection, {f"k{i}": {"$exists": False} for i in range(1500)}) == EVERY
    assert scan(connection, {"$or": [{"n": i} for i in range(3, 20_000)]}) == scan(
        connection, {"n": {"$in": list(range(3, 20_000))}}
    )
    assert scan(connection, {"$and": [{"n": {"$ne": i}} for i in range(3, 20_000)]}) == scan(
        connection, {"n": {"$nin": list(range(3, 20_000))}}
    )
    for where in (
        {"$or": [{f"k{i}": i} for i in range(20_000)]},
        {f"k{i}": i for i in range(100_000)},
        {"$and": [{"$or": [{f"k{i}": i} for i in range(50)]} for _ in range(50)]},
        {"n": {"$all": list(range(20_000))}},
    ):
        with pytest.raises(FilterError, match=r"too many conditions.*2,048.*\$in"):
            parse_filter(where)
    with pytest.raises(FilterError, match="at most 1,000"):
        parse_filter({"n": {"$in": [[i] for i in range(1001)]}})


def test_a_hostile_pattern_does_not_hang() -> None:
    connection = catalog([{"s": "a" * 5000}])
    assert scan(connection, {"s": {"$like": "%a" * 200 + "b"}}) == []
    assert scan(connection, {"s": {"$ilike": "%A%_" * 200 + "%"}}) == [0]


# Details --------------------------------------------------------------------------------------------------------------


def test_a_parsed_filter_can_be_a_cache_key() -> None:
    a = parse_filter({"n": {"$in": [1, 2]}, "$or": [{"s": "x"}, {"$not": {"a.b": 1}}]})
    b = parse_filter({"n": {"$in": (1, 2)}, "$or": [{"s": {"$eq": "x"}}, {"a.b": {"$ne": 1}}]})
    assert a == b
    assert hash(a) == hash(b)
    assert a.paths == ("n", "s", "a.b")
    assert parse_filter(a) is a
    assert compile_filter(a) == compile_filter(b)
    keys = {parse_filter(where).key for where, _ in TRUTH}
    alike: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"n": 1}, {"n": np.int64(1)}),
        ({"n": {"$ne": 1}}, {"n": {"$not": {"$eq": 1}}}),
    ]
    for one, other in alike:
        assert parse_filter(one).key == parse_filter(other).key
    assert parse_filter({"n": 1}).key != parse_filter({"n": True}).key
    assert parse_filter({"n": "1"}).key != parse_filter({"n": 1}).key
    assert len(keys) > 100


def test_further_sql_narrows_the_rows() -> None:
    connection = catalog(RECORDS)
    connection.execute("UPDATE records SET died = 2 WHERE row = 1")
    compiled = compile_filter({"$or": [{"n": 1}, {"n": "1"}]})
    rows = select_rows(connection, compiled, extra_sql="r.died IS NULL AND r.row < ?", extra_params=(6,))
    assert rows.tolist() == [0, 2]
    assert rows.dtype == np.int64


def test_ids_are_found_through_their_index_and_rows_come_in_order() -> None:
    connection = catalog([{} for _ in range(100)])
    connection.execute("CREATE INDEX by_id ON records (id)")
    compiled = compile_filter({"$id": {"$in": ["r70", "r8"]}, "x": None})
    plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT row FROM records AS r WHERE {compiled.sql}", compiled.params)
    assert any("USING" in step and "by_id" in step for *_, step in plan.fetchall())
    assert select_rows(connection, compiled).tolist() == [8, 70]


def test_metadata_that_is_no_json_names_its_key() -> None:
    assert encode_metadata({}) == "{}"
    with pytest.raises(MetadataError, match=r"metadata\['when'\]"):
        encode_metadata({"page": 1, "when": object()})
    with pytest.raises(MetadataError, match=r"metadata\['s'\]"):
        encode_metadata({"s": "\ud800"})
