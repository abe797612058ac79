"""The filter language through the store: each operator, beside the function of a document that says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_memvid import MemvidVectorStore
from tests.langchain_memvid.fakes import TableEmbeddings

ROWS: list[dict[str, Any]] = [
    {"name": "adam", "height": 10.0, "happy": True, "tags": ["a", "b"], "home": {"city": "Seoul"}},
    {"name": "bob", "height": 5.7, "happy": False, "tags": ["a", "c"], "home": {"city": "Bonn"}},
    {"name": "jane", "height": 2.4, "happy": True, "tags": [], "home": None},
    {"name": "Jay_50%", "height": 6, "tags": ["c"]},
    {},
]

Test = Callable[[dict[str, Any]], bool]
CASES: list[tuple[dict[str, Any], Test]] = [
    ({}, lambda m: True),
    ({"name": "adam"}, lambda m: m.get("name") == "adam"),
    ({"name": {"$eq": "bob"}}, lambda m: m.get("name") == "bob"),
    ({"name": {"$ne": "bob"}}, lambda m: m.get("name") != "bob"),
    ({"height": {"$gt": 5.7}}, lambda m: m.get("height", 0) > 5.7),
    ({"height": {"$gte": 5.7}}, lambda m: m.get("height", 0) >= 5.7),
    ({"height": {"$lt": 6}}, lambda m: m.get("height", 9) < 6),
    ({"height": {"$lte": 6}}, lambda m: m.get("height", 9) <= 6),
    ({"height": 6.0}, lambda m: m.get("height") == 6),
    ({"name": {"$in": ["adam", "jane", "nobody"]}}, lambda m: m.get("name") in ("adam", "jane")),
    ({"name": {"$nin": ["adam", "jane"]}}, lambda m: m.get("name") not in ("adam", "jane")),
    ({"height": {"$between": [2.4, 5.7]}}, lambda m: 2.4 <= m.get("height", 0) <= 5.7),
    ({"happy": {"$exists": True}}, lambda m: "happy" in m),
    ({"happy": {"$exists": False}}, lambda m: "happy" not in m),
    ({"happy": True}, lambda m: m.get("happy") is True),
    ({"happy": {"$ne": True}}, lambda m: m.get("happy") is not True),
    ({"name": {"$like": "a%"}}, lambda m: m.get("name", "").startswith("a")),
    ({"name": {"$like": "j_n_"}}, lambda m: m.get("name") == "jane"),
    ({"name": {"$ilike": "J%"}}, lambda m: m.get("name", "").lower().startswith("j")),
    ({"name": {"$like": "Jay\\_50\\%"}}, lambda m: m.get("name") == "Jay_50%"),
    ({"tags": {"$contains": "a"}}, lambda m: "a" in m.get("tags", [])),
    ({"name": {"$contains": "an"}}, lambda m: "an" in m.get("name", "")),
    ({"home.city": "Seoul"}, lambda m: (m.get("home") or {}).get("city") == "Seoul"),
    ({"name": "adam", "happy": True}, lambda m: m.get("name") == "adam" and m.get("happy") is True),
    ({"height": {"$gt": 2.4, "$lt": 6}}, lambda m: 2.4 < m.get("height", 0) < 6),
    ({"$and": [{"happy": True}, {"height": {"$gt": 5}}]}, lambda m: m.get("happy") is True and m.get("height", 0) > 5),
    ({"$or": [{"name": "bob"}, {"height": 6}]}, lambda m: m.get("name") == "bob" or m.get("height") == 6),
    ({"$not": {"name": "bob"}}, lambda m: m.get("name") != "bob"),
    (
        {"$or": [{"$and": [{"happy": True}, {"tags": {"$contains": "a"}}]}, {"name": {"$in": ["jane"]}}]},
        lambda m: (m.get("happy") is True and "a" in m.get("tags", [])) or m.get("name") == "jane",
    ),
]


@pytest.fixture(scope="module")
def rows() -> MemvidVectorStore:
    return MemvidVectorStore.from_texts([str(n) for n in range(len(ROWS))], TableEmbeddings(), ROWS, ids=list("01234"))


@pytest.mark.parametrize(("where", "says"), CASES, ids=[str(where) for where, _ in CASES])
def test_a_dict_finds_what_the_function_finds(rows: MemvidVectorStore, where: dict[str, Any], says: Test) -> None:
    def accepts(document: Document) -> bool:
        return says(document.metadata)

    expected = [document_id for document_id, row in zip("01234", ROWS, strict=True) if says(row)]
    assert [document.id for document in rows.similarity_search("any", k=9, filter=where)] == expected
    assert [document.id for document in rows.similarity_search("any", k=9, filter=accepts)] == expected


def test_a_function_sees_the_whole_document(rows: MemvidVectorStore) -> None:
    found = rows.similarity_search("any", filter=lambda document: document.id == document.page_content == "3")
    assert found == [Document(id="3", page_content="3", metadata=ROWS[3])]


def test_an_error_in_a_function_reaches_the_caller(rows: MemvidVectorStore) -> None:
    with pytest.raises(KeyError, match="height"):
        rows.similarity_search("any", k=9, filter=lambda document: document.metadata["height"] > 1)
