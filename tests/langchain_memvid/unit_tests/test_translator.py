"""Every comparator and operator of LangChain as a filter, and what that filter finds."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

from langchain_memvid import MemvidTranslator, MemvidVectorStore
from tests.langchain_memvid.fakes import TableEmbeddings

FILMS: dict[str, dict[str, Any]] = {
    "Solaris": {"year": 1972, "by": "Andrei Tarkovsky", "genres": ["drama", "science fiction"], "seen": "2024-03-01"},
    "Stalker": {"year": 1979, "by": "Andrei Tarkovsky", "genres": ["drama"], "seen": "2024-05-05"},
    "Brazil": {"year": 1985, "by": "Terry Gilliam", "genres": ["satire", "science fiction"], "rating": 7.9},
    "Untold": {},
}


def compare(comparator: Comparator, attribute: str, value: Any) -> Comparison:
    return Comparison(comparator, attribute, value)


C, Op = Comparator, Operator
EARLY, GILLIAM = compare(C.LT, "year", 1975), compare(C.EQ, "by", "Terry Gilliam")
IS_EARLY, IS_GILLIAM = {"year": {"$lt": 1975}}, {"by": {"$eq": "Terry Gilliam"}}
DATE = {"date": "2024-03-31", "type": "date"}

CASES: list[tuple[Any, dict[str, Any], set[str]]] = [
    (compare(C.EQ, "year", 1979), {"year": {"$eq": 1979}}, {"Stalker"}),
    (compare(C.NE, "year", 1979), {"year": {"$ne": 1979}}, {"Solaris", "Brazil", "Untold"}),
    (compare(C.GT, "year", 1979), {"year": {"$gt": 1979}}, {"Brazil"}),
    (compare(C.GTE, "year", 1979), {"year": {"$gte": 1979}}, {"Stalker", "Brazil"}),
    (compare(C.LT, "year", 1979), {"year": {"$lt": 1979}}, {"Solaris"}),
    (compare(C.LTE, "rating", 7.9), {"rating": {"$lte": 7.9}}, {"Brazil"}),
    (compare(C.CONTAIN, "genres", "drama"), {"genres": {"$contains": "drama"}}, {"Solaris", "Stalker"}),
    (compare(C.CONTAIN, "by", "Tark"), {"by": {"$contains": "Tark"}}, {"Solaris", "Stalker"}),
    (compare(C.LIKE, "by", "Gilliam"), {"by": {"$like": "%Gilliam%"}}, {"Brazil"}),
    (compare(C.LIKE, "by", "Andrei%"), {"by": {"$like": "Andrei%"}}, {"Solaris", "Stalker"}),
    (compare(C.IN, "year", [1972, 1985]), {"year": {"$in": [1972, 1985]}}, {"Solaris", "Brazil"}),
    (compare(C.NIN, "year", [1972, 1985]), {"year": {"$nin": [1972, 1985]}}, {"Stalker", "Untold"}),
    (compare(C.GT, "seen", DATE), {"seen": {"$gt": "2024-03-31"}}, {"Stalker"}),
    (
        compare(C.LT, "seen", {"datetime": "2024-03-31T00:00:00", "type": "datetime"}),
        {"seen": {"$lt": "2024-03-31T00:00:00"}},
        {"Solaris"},
    ),
    (compare(C.IN, "seen", [DATE]), {"seen": {"$in": ["2024-03-31"]}}, set()),
    (Operation(Op.OR, [EARLY, GILLIAM]), {"$or": [IS_EARLY, IS_GILLIAM]}, {"Solaris", "Brazil"}),
    (Operation(Op.AND, [EARLY, GILLIAM]), {"$and": [IS_EARLY, IS_GILLIAM]}, set()),
    (Operation(Op.NOT, [EARLY]), {"$nor": [IS_EARLY]}, {"Stalker", "Brazil", "Untold"}),
    (
        Operation(Op.NOT, [EARLY, GILLIAM]),
        {"$nor": [IS_EARLY, IS_GILLIAM]},
        {"Stalker", "Untold"},
    ),
    (
        Operation(Op.AND, [Operation(Op.NOT, [GILLIAM]), Operation(Op.OR, [EARLY, compare(C.EQ, "year", 1979)])]),
        {"$and": [{"$nor": [IS_GILLIAM]}, {"$or": [IS_EARLY, {"year": {"$eq": 1979}}]}]},
        {"Solaris", "Stalker"},
    ),
]


@pytest.fixture(scope="module")
def films() -> MemvidVectorStore:
    return MemvidVectorStore.from_texts(list(FILMS), TableEmbeddings(), list(FILMS.values()))


@pytest.mark.parametrize(("directive", "expected", "found"), CASES)
def test_each_directive_is_a_filter_that_finds_what_it_says(
    films: MemvidVectorStore, directive: Any, expected: dict[str, Any], found: set[str]
) -> None:
    query, options = MemvidTranslator().visit_structured_query(StructuredQuery("films", directive))
    assert (query, options) == ("films", {"filter": expected})
    assert {document.page_content for document in films.similarity_search(query, k=9, **options)} == found


def test_a_query_without_a_filter_has_no_options() -> None:
    assert MemvidTranslator().visit_structured_query(StructuredQuery("films", None, 3)) == ("films", {})


def test_every_comparator_and_operator_is_allowed_and_tested() -> None:
    assert set(MemvidTranslator.allowed_comparators) == set(Comparator)
    assert set(MemvidTranslator.allowed_operators) == set(Operator)
    tested = {directive.comparator for directive, _, _ in CASES if isinstance(directive, Comparison)}
    assert tested == set(Comparator)


def test_a_translator_that_allows_less_refuses_the_rest() -> None:
    class Narrow(MemvidTranslator):
        allowed_comparators = (Comparator.EQ,)
        allowed_operators = (Operator.AND,)

    for directive in (EARLY, Operation(Operator.OR, [GILLIAM])):
        with pytest.raises(ValueError, match="disallowed"):
            Narrow().visit_structured_query(StructuredQuery("films", directive))
