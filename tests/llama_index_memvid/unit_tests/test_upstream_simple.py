"""What LlamaIndex's own tests of ``SimpleVectorStore`` demand, under their names, of a store made without arguments.

Written anew. Each test also demands that similarities and nodes come with the ids, which ``SimpleVectorStore`` has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import ExactMatchFilter, FilterCondition, FilterOperator, MetadataFilters

from llama_index_memvid import MemvidVectorStore
from tests.llama_index_memvid.some_nodes import chunk, ids, one

A, B, C = "first, rank a", "second, rank c", "third, rank c"


def some_nodes() -> list[TextNode]:
    return [
        chunk(A, [1.0, 0.0], "test-0", weight=1.0, rank="a", quality=["medium", "high"], identifier="6FTR78Yun"),
        chunk(B, [0.0, 1.0], "test-1", weight=2.0, rank="c", quality=["medium"], identifier="6FTR78Ygl"),
        chunk(C, [1.0, 1.0], "test-2", weight=3.0, rank="c", quality=["low", "medium", "high"], identifier="6FTR78Ztl"),
    ]


@pytest.fixture(params=["in RAM", "in a library"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemvidVectorStore]:
    with MemvidVectorStore() if request.param == "in RAM" else MemvidVectorStore(f"{tmp_path}/library/") as store:
        assert store.add(some_nodes()) == [A, B, C]
        yield store


def exactly(*pairs: tuple[str, Any], condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(filters=[ExactMatchFilter(key=k, value=v) for k, v in pairs], condition=condition)


def test_query_without_filters_returns_all_rows_sorted_by_similarity(filled: MemvidVectorStore) -> None:
    assert ids(filled, similarity_top_k=3) == [C, A, B]  # equally near ones in the order they were added


def test_query_with_filters_returns_multiple_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("rank", "c")), similarity_top_k=3) == [C, B]


def test_query_with_filter_applies_top_k(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("rank", "c")), similarity_top_k=1) == [C]


def test_query_with_filter_applies_node_id_filter(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("rank", "c")), similarity_top_k=3, node_ids=[C]) == [C]
    assert ids(filled, exactly(("rank", "c")), similarity_top_k=3, node_ids=[A]) == []


def test_query_with_exact_filters_returns_single_match(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("rank", "c"), ("weight", 2.0)), similarity_top_k=1) == [B]


def test_query_with_contradictive_filter_returns_no_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("weight", 2), ("weight", 3)), similarity_top_k=1) == []


def test_query_with_filter_on_unknown_field_returns_no_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("unknown_field", "c")), similarity_top_k=1) == []


def test_delete_removes_document_from_query_results(filled: MemvidVectorStore) -> None:
    filled.delete("test-1")
    assert ids(filled, similarity_top_k=2) == [C, A]
    filled.delete("unknown")
    assert ids(filled) == [C, A]


def test_query_with_filters_with_filter_condition(filled: MemvidVectorStore) -> None:
    pairs = ("rank", "c"), ("weight", 1.0)
    assert len(ids(filled, exactly(*pairs, condition=FilterCondition.OR))) == 3
    assert ids(filled, exactly(*pairs, condition=FilterCondition.AND)) == []


def test_query_with_not_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, exactly(("rank", "a"), condition=FilterCondition.NOT)) == [C, B]


def test_query_with_equal_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("weight", 1.0, FilterOperator.EQ)) == [A]


def test_query_with_notequal_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("weight", 1.0, FilterOperator.NE)) == [C, B]


def test_query_with_greaterthan_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("weight", 1.5, FilterOperator.GT)) == [C, B]


def test_query_with_greaterthanequal_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("weight", 1.0, FilterOperator.GTE)) == [C, A, B]


def test_query_with_lessthan_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("weight", 1.1, FilterOperator.LT)) == [A]


def test_query_with_lessthanequal_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("weight", 1.0, FilterOperator.LTE)) == [A]


def test_query_with_in_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("rank", ["a", "c"], FilterOperator.IN)) == [C, A, B]


def test_query_with_notin_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("rank", ["c"], FilterOperator.NIN)) == [A]


def test_query_with_contains_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("quality", "high", FilterOperator.CONTAINS)) == [C, A]


def test_query_with_textmatch_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("identifier", "6FTR78Y", FilterOperator.TEXT_MATCH)) == [A, B]
    assert ids(filled, one("identifier", "6ftr78y", FilterOperator.TEXT_MATCH)) == []
    assert ids(filled, one("identifier", "6ftr78y", FilterOperator.TEXT_MATCH_INSENSITIVE)) == [A, B]


def test_query_with_any_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("quality", ["high", "low"], FilterOperator.ANY)) == [C, A]


def test_query_with_all_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert ids(filled, one("quality", ["medium", "high"], FilterOperator.ALL)) == [C, A]


def test_query_with_is_empty_filter_returns_matches(filled: MemvidVectorStore) -> None:
    assert len(ids(filled, one("not_existed_key", None, FilterOperator.IS_EMPTY))) == 3
    assert ids(filled, one("rank", None, FilterOperator.IS_EMPTY)) == []


def test_clear(filled: MemvidVectorStore) -> None:
    filled.clear()
    assert ids(filled, similarity_top_k=3) == []


def test_delete_nodes(filled: MemvidVectorStore) -> None:
    filled.delete_nodes([A, B])
    assert ids(filled, similarity_top_k=3) == [C]
