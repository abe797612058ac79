"""The store against InMemoryStore, operation by operation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, Op, PutOp, SearchItem, SearchOp

from langchain_memvid.agents import MemvidStore
from tests.langchain_memvid.agents.fakes import LetterEmbeddings
from tests.langchain_memvid.agents.oracle import MendedStore


def weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of several, as often as its weight says."""
    return st.sampled_from([choice for weight, choice in choices for _ in range(weight)]).flatmap(lambda chosen: chosen)


# Few of everything, so that operations meet; "/" and "-" stand around the dot that joins labels.
labels = st.sampled_from(["a", "a/b", "a-b", "한국"])
namespaces = weighted((2, st.just(("a",))), (1, st.lists(labels, min_size=1, max_size=2).map(tuple)))
prefixes = weighted((3, st.just(())), (2, st.just(("a",))), (1, st.lists(labels, max_size=2).map(tuple)))
keys = st.sampled_from(["k", "l", "m", "a.b", "한"])
# No 1 and no 0: to theirs, True is 1.
scalars = st.sampled_from([None, True, 2, 2.0, 3, "x", "2"])
tags: st.SearchStrategy[Any] = st.sampled_from([[], [2], [2, "x"], [[2]], [None], 2, "x", ["여의도"]])
texts = st.sampled_from(["tea", "milk", "tea and milk", "여의도"])
values = st.fixed_dictionaries(
    {"text": texts, "n": scalars, "tags": tags},
    optional={
        "in": st.fixed_dictionaries({"n": scalars}, optional={"m": scalars}),
        "langgraph": scalars,
    },
)
operators = st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne", "$eq"])
orders = st.dictionaries(operators, scalars.filter(lambda operand: operand is not None), min_size=1, max_size=2)
conditions = weighted(
    (2, scalars),
    (2, orders),
    (1, st.dictionaries(st.sampled_from(["n", "m"]), scalars, max_size=2)),
    (1, st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3), min_size=1)),
)
pairs = weighted(
    (3, st.tuples(st.just("tags"), tags)),
    (3, st.tuples(st.just("n"), conditions)),
    (2, st.tuples(st.just("tags"), orders)),
    (2, st.tuples(st.sampled_from(["tags", "in", "langgraph", "gone"]), conditions)),
)
filters = st.lists(pairs, max_size=2).map(dict)
puts = st.tuples(
    namespaces,
    keys,
    weighted((5, values), (1, st.none())),
    st.sampled_from([None, None, False, ["text"], ["text", "tags[*]", "n"], []]),
).map(lambda parts: PutOp(*parts))  # type: ignore[arg-type]
searches = st.tuples(
    prefixes,
    weighted((1, st.none()), (2, filters)),
    st.sampled_from([0, 1, 3, 10, 10, 10, 10, 10]),
    st.sampled_from([0, 0, 0, 1, 3]),
    weighted((3, st.none()), (1, st.just("")), (4, texts)),
).map(lambda parts: SearchOp(*parts))
gets = st.tuples(namespaces, keys).map(lambda parts: GetOp(*parts))
patterns = st.lists(st.one_of(labels, st.just("*")), max_size=2).map(tuple)
conditions_of = st.tuples(st.sampled_from(["prefix", "suffix"]), patterns).map(
    lambda parts: MatchCondition(*parts)  # type: ignore[arg-type]
)
matches = st.lists(conditions_of, max_size=2).map(tuple)
listings = st.tuples(
    st.one_of(st.none(), matches),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([2, 10, 10]),
    st.sampled_from([0, 0, 1]),
).map(lambda parts: ListNamespacesOp(*parts))
operations = weighted((5, puts), (5, searches), (1, gets), (2, listings))
# Whether an operation goes into the batch of the one before it.
begun = st.lists(st.tuples(st.booleans(), puts), min_size=10, max_size=10)
sequences = st.tuples(begun, st.lists(st.tuples(st.booleans(), operations), min_size=40, max_size=40)).map(
    lambda parts: [*parts[0], *parts[1]]
)


def batches(sequence: list[tuple[bool, Op]]) -> list[list[Op]]:
    grouped: list[list[Op]] = []
    for joins, op in sequence:
        if joins and grouped:
            grouped[-1].append(op)
        else:
            grouped.append([op])
    return grouped


def seen(item: Item | None) -> Any:
    return None if item is None else (item.namespace, item.key, item.value)


def check(op: Op, ours: Any, theirs: Any, scores: dict[Any, float | None]) -> None:
    """The same answer; items of equal score may stand in any order."""
    if isinstance(op, SearchOp):
        assert [item.score for item in ours] == pytest.approx([item.score for item in theirs], abs=1e-6)
        for mine, other in zip(ours, theirs, strict=True):
            if mine.score is None:
                assert seen(mine) == seen(other)
            else:
                assert scores[mine.namespace, mine.key] == pytest.approx(mine.score, abs=1e-6)
        assert len({(item.namespace, item.key) for item in ours}) == len(ours)
    elif isinstance(op, GetOp):
        assert seen(ours) == seen(theirs)
    else:
        assert ours == theirs


@pytest.mark.parametrize("fields", [None, ["text"], ["text", "n"]], ids=str)
@settings(max_examples=max(10, settings().max_examples // 3))  # the three share them
@given(sequence=sequences)
def test_it_answers_as_a_mended_in_memory_store(sequence: list[tuple[bool, Op]], fields: list[str] | None) -> None:
    index: Any = {"embed": LetterEmbeddings(), "dims": 8, "fields": fields}
    theirs = MendedStore(index=index)
    with MemvidStore(index=index) as ours:
        for ops in batches(sequence):
            wide = [op._replace(limit=1000, offset=0) if isinstance(op, SearchOp) else None for op in ops]
            everything = [[] if op is None else theirs.batch([op])[0] for op in wide]
            for op, mine, other, found in zip(ops, ours.batch(ops), theirs.batch(ops), everything, strict=True):
                assert isinstance(found, list)
                scores = {(item.namespace, item.key): item.score for item in found if isinstance(item, SearchItem)}
                check(op, mine, other, scores)
        assert ours.list_namespaces(limit=1000) == theirs.list_namespaces(limit=1000)
        mine, other = ours.search((), limit=1000), theirs.search((), limit=1000)
        assert [seen(item) for item in mine] == [seen(item) for item in other]


@settings(max_examples=max(10, settings().max_examples // 10))  # what it adds is that there is no index
@given(sequences)
def test_without_an_index_queries_are_passed_over_by_both(sequence: list[tuple[bool, Op]]) -> None:
    theirs = MendedStore()
    with MemvidStore(index=False) as ours:
        for ops in batches(sequence):
            for op, mine, other in zip(ops, ours.batch(ops), theirs.batch(ops), strict=True):
                check(op, mine, other, {})
