"""Filters on a real SQLite agree with the oracle, and no key and no string gets into the SQL."""

from __future__ import annotations

import sqlite3
import string
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from memvid_core.catalog.filter_compiler import compile_filter, select_rows
from memvid_core.catalog.metadata_columns import MetadataColumns
from tests.core.catalog.filter_oracle import agrees, catalog, scan

KEYS = ["a", "b", "a.b", "a.b.c", "tags", "é 한", 'q"k', "b\\s", "n\nl", "nul\0", "[0]", "", "a..b", "' OR 1=1 --"]
WORDS = [
    "",
    "a",
    "A",
    "ab",
    "É",
    "é",
    "e\u0301",
    "ß",
    "SS",
    "한국",
    "1",
    "true",
    "null",
    '"',
    "\\",
    "*",
    "[x]",
    "a\0b",
    "\0",
]
NUMBERS = [0, 1, -1, 2, 0.0, -0.0, 1.0, 0.1, 1.5, -2.5, 1e16, 1e22, 10**16, 10**22, 2**53, 2**53 + 1, 2.0**53]
LARGE = [2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, -(2**63), -(2**63) - 1, 2.0**63, 2.0**64, 2**64, 1e300]

texts = st.sampled_from(WORDS) | st.text("aAbéÉ한%_*?[]\\\"'\0\n", max_size=5)
numbers = (
    st.sampled_from(NUMBERS) | st.sampled_from(LARGE) | st.integers(-3, 3) | st.floats(-3, 3).map(lambda f: round(f, 3))
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(KEYS), v, max_size=3), max_leaves=5
)
keys = st.sampled_from(KEYS)
metadatas = st.none() | st.dictionaries(keys, values, max_size=4)
patterns = st.lists(st.sampled_from(["%", "_", "\\%", "\\\\", "a", "B", "é", "한", "*", "[", "\0"]), max_size=5).map(
    "".join
)
types = st.sampled_from(["null", "boolean", "integer", "float", "number", "string", "list", "dict"])


@st.composite
def operators(draw: st.DrawFn) -> dict[str, Any]:
    ordered = draw(st.sampled_from([numbers, texts, st.booleans()]))
    table: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("$eq", "$ne", "$contains"), values),
        **dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), ordered),
        **dict.fromkeys(("$in", "$nin", "$all", "$any"), st.lists(values, max_size=4)),
        **dict.fromkeys(("$exists", "$empty"), st.booleans()),
        **dict.fromkeys(("$like", "$ilike"), patterns),
        "$icontains": texts,
        "$between": st.tuples(ordered, ordered).map(list),
        "$type": types | st.lists(types, min_size=1, max_size=3),
        "$not": operators(),
    }
    names = draw(st.lists(st.sampled_from(sorted(table)), min_size=1, max_size=2, unique=True))
    return {name: draw(table[name]) for name in names}


ids = st.sampled_from(["r0", "r1", "r2", "R0", "zz"])
on_id = st.one_of(
    ids,
    st.fixed_dictionaries({"$in": st.lists(ids | st.integers(0, 1), max_size=3)}),
    operators().filter(lambda o: "$not" not in o),
).map(lambda condition: {"$id": condition})
fields = st.dictionaries(keys, operators() | scalars | st.lists(scalars, max_size=2), max_size=2)
wheres = st.recursive(
    fields | on_id,
    lambda w: st.one_of(
        st.fixed_dictionaries({"$not": w}),
        *(st.fixed_dictionaries({op: st.lists(w, min_size=1, max_size=3)}) for op in ("$and", "$or", "$nor")),
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("arrow", [True, False], ids=["with ->", "SQLite before 3.38"])
def test_scan_and_columns_agree_with_the_oracle(arrow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not arrow:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 0))
    columns = MetadataColumns()

    @given(st.lists(metadatas, max_size=6), st.lists(wheres, min_size=3, max_size=10))
    @example(
        [{"a": "\0"}, {"a": "a\0b"}, {"a": ["a\0b"]}], [{"a": "a"}, {"a": ""}, {"a": {"$gt": "a"}}, {"a": ["a\0b"]}]
    )
    @example([{"a": 2**63}, {"a": [2**63 + 1]}], [{"a": {"$gt": 2**63}}, {"a": {"$lte": 2.0**63}}, {"a": 2**63 + 1}])
    def check(records: list[dict[str, Any] | None], filters: list[dict[str, Any]]) -> None:
        connection = catalog(records)
        columns.clear()
        for where in filters:
            expected = [i for i, metadata in enumerate(records) if agrees(where, metadata, f"r{i}")]
            compiled = compile_filter(where)
            assert arrow or "->" not in compiled.sql
            assert select_rows(connection, compiled).tolist() == expected, where
            assert columns.rows(connection, where).tolist() == expected, where
        connection.close()

    check()


@given(st.text(min_size=1).filter(lambda k: not k.startswith("$")), st.text())
@example("a' OR '1'='1", "'; DROP TABLE records; --")
@example('a"', '"')
@example("a\\", "\\")
@example('"."$', "\0")
@example("a.\0", "?")
@example("$".join("ab"), "{} {0} %s :x @x $x ?1")
def test_any_key_and_any_string_reach_exactly_their_record(key: str, value: str) -> None:
    connection = catalog([{key: value}, {key: value + "x"}, {"x" + key: value}, {key + key + "z": {"y": 1}}])
    compiled = compile_filter({key: value})
    assert select_rows(connection, compiled).tolist() == [0]
    assert set(compiled.sql) <= set(string.printable)
    ordinary = {compile_filter({name: "v"}).sql for name in ("k", 'k"', "k.k", 'k.k"')}
    assert compiled.sql in ordinary, "neither the key nor the value is part of the SQL"
    assert scan(connection, {key: {"$contains": value}}) == ([0, 1])
    assert scan(connection, {key: {"$in": [value, *map(str, range(100))]}}) == [0]
    assert scan(connection, {key: {"$exists": False}}) == [2, 3]
