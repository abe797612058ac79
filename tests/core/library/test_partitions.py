"""Partition fields: a shard that is not asked has no record that matches."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import Library, Memory, Record
from memvid_core.library.partitions import Summaries, may_match
from tests.core.embedders import embed

SCALARS = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.0, 2.0**60]), st.sampled_from(["", "a", "b", "B", "날개"])
)
VALUES = st.one_of(SCALARS, st.none(), st.booleans(), st.lists(SCALARS, max_size=2), st.just(2**60 + 1))
SOME: list[Any] = [None, True, False, -3, 0, 1, 1.0, 0.5, 2.0**60, 2**60 + 1, "", "a", "b", "날개", [], [1, "a"], ["b"]]
ITEMS: list[dict[str, Any]] = [
    {},
    *({"x": value, "y": 1} for value in SOME),
    *({"a": {"b": value}} for value in SOME),
    *({"x": 1, "a.b": value, "a": {"b": 0}} for value in (1, "a", None)),
]


def conditions(field: str) -> st.SearchStrategy[dict[str, Any]]:
    operands = st.one_of(
        st.builds(lambda v: {"$eq": v}, VALUES),
        st.builds(lambda v: {"$ne": v}, VALUES),
        st.builds(lambda v: {"$in": v}, st.lists(VALUES, max_size=3)),
        st.builds(lambda v: {"$nin": v}, st.lists(VALUES, max_size=3)),
        st.builds(lambda op, v: {op: v}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), SCALARS),
        st.builds(lambda v: {"$exists": v}, st.booleans()),
        st.builds(lambda v: {"$between": sorted(v)}, st.lists(st.integers(-3, 3), min_size=2, max_size=2)),
        st.builds(lambda v: {"$contains": v}, SCALARS),
    )
    return st.builds(lambda operand: {field: operand}, operands)


FILTERS = st.recursive(
    st.sampled_from(["x", "y", "a.b"]).flatmap(conditions),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$nor": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.create(":memory:", "given") as made:
        ids = [str(number) for number in range(len(ITEMS))]
        made.add(["text"] * len(ITEMS), ITEMS, ids, [None] * len(ITEMS))
        yield made


@given(where=FILTERS, places=st.lists(st.integers(0, len(ITEMS) - 1), min_size=1, max_size=6))
def test_a_shard_with_a_match_may_match(memory: Memory, where: dict[str, Any], places: list[int]) -> None:
    summaries = Summaries(["x", "a.b"])
    summaries.add(ITEMS[place] for place in places)
    if set(memory.ids(where)) & set(map(str, places)):
        assert may_match(summaries.found(), where)


@given(st.integers(60, 600), st.integers(0, 700), st.booleans())
def test_many_values_become_a_range(count: int, asked: int, text: bool) -> None:
    def value(number: int) -> Any:
        return f"{number:05}" if text else number

    summaries = Summaries(["x"])
    for number in range(count):
        summaries.add([{"x": value(number * 601 % count)}])  # 601 is prime: every number once
    found = summaries.found()
    assert len(found["x"].numbers) + len(found["x"].strings) <= 64
    assert may_match(found, {"x": value(asked)}) == (asked < count)
    assert may_match(found, {"x": {"$gte": value(asked)}}) == (asked < count)
    assert may_match(found, {"x": {"$lt": value(asked)}}) == (asked > 0)


def test_only_the_shards_that_can_match_are_asked(tmp_path: Path) -> None:
    days = [
        Record(f"{day} {n}", f"wing {n}", {"day": f"2026-01-{day:02}", "n": n}) for day in range(1, 9) for n in range(4)
    ]
    with Library.create(tmp_path / "library", embed, partition_by=["day"]) as library:
        library.build(days, rows_per_shard=8)
        assert sum(library.explain_shards({"day": "2026-01-03"}).values()) == 1
        assert sum(library.explain_shards({"day": {"$gte": "2026-01-05"}, "n": 2}).values()) == 2
        assert sum(library.explain_shards({"n": 2}).values()) == len(library.explain_shards()) == 4
        found = library.search("wing", k=9, where={"day": "2026-01-03"}, mode="dense")
        assert sorted(hit.id for hit in found) == ["3 0", "3 1", "3 2", "3 3"]
        assert found.report.asked == 1
        assert library.search("wing", where={"day": "2027-01-01"}) == []
        with Library.open(library.path, embedder=embed) as again:
            assert again.info().partition_by == ("day",)
            assert again.ids({"day": "2026-01-03", "n": {"$lt": 2}}) == ["3 0", "3 1"]


def test_a_name_is_found_in_each_spelling() -> None:
    composed, decomposed = (unicodedata.normalize(form, "날개.md") for form in ("NFC", "NFD"))
    for stored, asked in ((composed, decomposed), (decomposed, composed)):
        summaries = Summaries(["source", "user"])
        summaries.add([{"source": stored, "user": stored}])
        assert may_match(summaries.found(), {"source": asked})
        assert not may_match(summaries.found(), {"user": asked})
