"""Filters mean what LlamaIndex's own filter function means, and more where that gives up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from llama_index_memvid import MemvidVectorStore
from llama_index_memvid.filters import to_where
from memvid_core import FilterError, Memory
from tests.llama_index_memvid.some_nodes import chunk, group, ids, node, one

Op = FilterOperator

ROWS: list[dict[str, Any]] = [
    {"n": 1, "s": "alpha", "l": ["a", "b"]},
    {"n": 2.5, "s": "Beta", "l": []},
    {"n": 1.0, "s": "alphabet", "l": ["b"]},
    {"n": -3, "s": "", "l": ["alpha", "ab"]},
    {"n": 1 << 60, "s": "naïve ÉCOLE", "l": [1, 2]},
    {"s": None, "l": None},
    {},
]
WORDS = st.sampled_from(["a", "b", "alpha", "Beta", "", "école", "1"])
NUMBERS = st.sampled_from([1, 2, -3, 2.5, 1 << 60])


def operands() -> st.SearchStrategy[MetadataFilter]:
    """Filters over which ``SimpleVectorStore`` does not stumble: it compares and looks into what it can."""

    def made(key: str, operators: list[Op], values: st.SearchStrategy[Any]) -> st.SearchStrategy[MetadataFilter]:
        return st.builds(MetadataFilter, key=st.just(key), operator=st.sampled_from(operators), value=values)

    ordered = [Op.GT, Op.GTE, Op.LT, Op.LTE]
    several = [Op.IN, Op.NIN]
    return st.one_of(
        made("n", [Op.EQ, Op.NE, *ordered], NUMBERS),
        made("s", [Op.EQ, Op.NE, *ordered, Op.TEXT_MATCH, Op.CONTAINS], WORDS),
        made("n", several, st.lists(st.sampled_from([1, 2, -3]), max_size=3)),
        made("n", several, st.lists(WORDS, max_size=3)),  # a string is no number
        made("s", several, st.lists(WORDS, max_size=3)),
        made("l", [Op.CONTAINS, Op.EQ, Op.NE], WORDS | NUMBERS),
        made("l", [Op.ANY, Op.ALL, *several], st.lists(WORDS, max_size=3)),
        made("s", [Op.ANY, Op.ALL], st.lists(WORDS, max_size=3)),
        made("l", [Op.EQ, Op.NE], st.sampled_from([["a", "b"], ["b"], ["c"]])),
        made("missing", [Op.EQ, Op.NE, Op.CONTAINS, *ordered], NUMBERS | WORDS),
        made("missing", [Op.IN, Op.NIN, Op.ANY, Op.ALL], st.lists(WORDS, max_size=2)),
        *(made(key, [Op.IS_EMPTY], st.none()) for key in ("n", "s", "l", "missing")),
    )


@pytest.fixture(scope="module")
def memory() -> Memory:
    made = Memory.create(":memory:", "given")
    made.add([str(i) for i in range(len(ROWS))], ROWS, [str(i) for i in range(len(ROWS))], [[1.0]] * len(ROWS))
    return made


def ours(memory: Memory, filters: MetadataFilters) -> list[str]:
    return [record.id for record in memory.select(to_where(filters))]


def theirs(filters: MetadataFilters) -> list[str]:
    matches = build_metadata_filter_fn(lambda row: ROWS[int(row)], filters)
    return [str(i) for i in range(len(ROWS)) if matches(str(i))]


@given(st.lists(operands(), max_size=4), st.sampled_from([*FilterCondition, None]))
def test_a_group_matches_what_it_matches_in_llama_index(
    memory: Memory, filters: list[MetadataFilter], condition: FilterCondition | None
) -> None:
    asked = MetadataFilters(filters=[*filters], condition=condition)
    assert ours(memory, asked) == theirs(asked)


GROUPS = st.recursive(
    operands(),
    lambda inner: st.builds(
        MetadataFilters, filters=st.lists(inner, min_size=1, max_size=3), condition=st.sampled_from(FilterCondition)
    ),
    max_leaves=8,
)


@given(GROUPS)
def test_nested_groups_are_their_parts_put_together(memory: Memory, filters: MetadataFilter | MetadataFilters) -> None:
    def expected(part: MetadataFilter | MetadataFilters) -> set[str]:
        if isinstance(part, MetadataFilter):
            return set(theirs(MetadataFilters(filters=[part])))
        found = [expected(inner) for inner in part.filters]
        if part.condition is FilterCondition.AND:
            return set.intersection(*found)
        if part.condition is FilterCondition.OR:
            return set[str]().union(*found)
        return {str(i) for i in range(len(ROWS))} - set[str]().union(*found)

    asked = filters if isinstance(filters, MetadataFilters) else MetadataFilters(filters=[filters])
    assert set(ours(memory, asked)) == expected(filters)


def test_insensitive_text_matches_in_every_script(memory: Memory) -> None:
    assert ours(memory, one("s", "école", Op.TEXT_MATCH_INSENSITIVE)) == ["4"]
    assert ours(memory, one("s", "ALPHA", Op.TEXT_MATCH_INSENSITIVE)) == ["0", "2"]


def test_an_empty_filter_matches_everything(memory: Memory) -> None:
    assert to_where(None) == {}
    for condition in FilterCondition:
        assert len(ours(memory, MetadataFilters(filters=[], condition=condition))) == len(ROWS)
        nested = group(condition, MetadataFilters(filters=[]))
        assert len(ours(memory, nested)) == (0 if condition is FilterCondition.NOT else len(ROWS))


def test_none_is_null_or_missing(memory: Memory) -> None:
    assert ours(memory, one("s", None)) == ["5", "6"]
    assert ours(memory, one("s", None, Op.NE)) == ["0", "1", "2", "3", "4"]


def test_one_value_is_a_list_of_it(memory: Memory) -> None:
    assert ours(memory, one("s", "alpha", Op.IN)) == ["0"]
    assert ours(memory, one("l", "b", Op.ANY)) == ours(memory, one("l", "b", Op.ALL)) == ["0", "2"]


def test_other_types_are_passed_over_where_simple_crashes(memory: Memory) -> None:
    assert ours(memory, one("s", 1, Op.GT)) == []
    assert ours(memory, one("n", "1", Op.CONTAINS)) == []


def test_paths_lead_into_nested_metadata(store: MemvidVectorStore) -> None:
    store.add([node("a", [1.0], author={"born": 1815}), node("b", [1.0])])
    assert ids(store, one("author.born", 1900, Op.LT), query_embedding=[1.0]) == ["a"]


@pytest.mark.parametrize("key", ["doc_id", "document_id", "ref_doc_id"])
def test_the_source_document_can_be_filtered_by(store: MemvidVectorStore, key: str) -> None:
    store.add([chunk("a", [1.0], "d1"), chunk("b", [1.0], "d2"), node("c", [1.0]), node("d", [1.0], **{key: "d1"})])
    asked = {"query_embedding": [1.0]}
    assert ids(store, one(key, "d1"), **asked) == ["a", "d"]
    assert ids(store, one(key, "d1", Op.NE), **asked) == ["b", "c"]
    assert ids(store, one(key, ["d1", "d2"], Op.IN), **asked) == ["a", "b", "d"]
    assert ids(store, one(key, ["d2"], Op.NIN), **asked) == ["a", "c", "d"]
    assert ids(store, one(key, None, Op.IS_EMPTY), **asked) == ["c"]


@pytest.mark.parametrize("operator", [Op.TEXT_MATCH, Op.TEXT_MATCH_INSENSITIVE])
def test_a_text_match_on_a_non_string_raises_type_error(store: MemvidVectorStore, operator: Op) -> None:
    store.add([node("a", [1.0, 1.0], t="x", u="x"), node("b", [1.0, 1.0], t=3), node("c", [1.0, 1.0], t=None)])
    for _ in range(2):
        with pytest.raises(TypeError, match="'b'"):
            ids(store, one("t", "x", operator))
    with pytest.raises(TypeError, match="'b'"):
        ids(store, group(FilterCondition.OR, *one("u", "x").filters, one("t", "x", operator)))
    with pytest.raises(TypeError, match="string"):
        ids(store, one("u", 3, operator))
    with pytest.raises(TypeError, match="'b'"):
        store.delete_nodes(filters=one("t", "x", operator))
    with pytest.raises(FilterError, match="'b'"):
        store.get_nodes(filters=one("t", "x", operator))
    assert ids(store, one("u", "x", operator)) == ["a"]
    assert ids(store, one("t", "x", operator), node_ids=["a", "c"]) == ["a"]
    assert len(ids(store)) == 3


@pytest.mark.parametrize("value", [None, ["a"], float("nan")])
@pytest.mark.parametrize("operator", [Op.GT, Op.GTE, Op.LT, Op.LTE])
def test_what_has_no_order_is_refused(memory: Memory, operator: Op, value: Any) -> None:
    with pytest.raises(FilterError):
        ours(memory, one("n", value, operator))


def test_what_is_not_known_is_refused(memory: Memory) -> None:
    unknown = MetadataFilter.model_construct(key="n", value=1, operator="regex")
    with pytest.raises(FilterError, match="regex"):
        ours(memory, MetadataFilters.model_construct(filters=[unknown], condition=FilterCondition.AND))
    with pytest.raises(FilterError, match="xor"):
        ours(memory, MetadataFilters.model_construct(filters=one("n", 1).filters, condition="xor"))
    for operator in (Op.IN, Op.NIN, Op.ANY, Op.ALL, Op.CONTAINS, Op.TEXT_MATCH):
        with pytest.raises(FilterError, match="None"):
            ours(memory, one("s", None, operator))
