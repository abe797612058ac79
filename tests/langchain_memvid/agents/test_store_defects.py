"""Each defect of LangGraph's own stores: shown on InMemoryStore, and that ours has it not."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from langchain_memvid.agents import MemvidStore
from tests.langchain_memvid.agents.fakes import LetterEmbeddings

HERE = ("users", "ada")


@pytest.fixture
def theirs() -> InMemoryStore:
    return InMemoryStore(index={"embed": LetterEmbeddings(), "dims": 8, "fields": ["text"]})


@pytest.fixture
def ours(make: Any) -> MemvidStore:
    store: MemvidStore = make({"embed": LetterEmbeddings(), "dims": 8, "fields": ["text"]})
    return store


def test_created_at_is_kept_on_update(theirs: InMemoryStore, ours: MemvidStore) -> None:
    times = []
    for store in (theirs, ours):
        store.put(HERE, "k", {"text": "tea"})
        first = store.get(HERE, "k")
        assert first is not None
        created = first.created_at
        store.put(HERE, "k", {"text": "milk"})
        second = store.get(HERE, "k")
        assert second is not None
        assert second.updated_at > created
        times.append(second.created_at == created)
    assert times == [False, True]
    ours.delete(HERE, "k")
    ours.put(HERE, "k", {"text": "tea"})
    again = ours.get(HERE, "k")
    assert again is not None
    assert again.created_at > created  # another item under the same key


def test_what_is_returned_is_no_live_reference(theirs: InMemoryStore, ours: MemvidStore) -> None:
    leaks = []
    for store in (theirs, ours):
        given = {"text": "tea", "deep": {"list": [1]}}
        store.put(HERE, "k", given)
        given["deep"]["list"].append(2)  # type: ignore[index]
        got = store.get(HERE, "k")
        assert got is not None
        got.value["text"] = "coffee"
        found = store.search(HERE)[0]
        found.value["deep"]["list"].append(3)
        last = store.get(HERE, "k")
        assert last is not None
        leaks.append(last.value != {"text": "tea", "deep": {"list": [1]}})
    assert leaks == [True, False]
    first, second = ours.batch([GetOp(HERE, "k"), GetOp(HERE, "k")])
    first.value["deep"]["list"].append(4)  # type: ignore[union-attr]
    assert second.value["deep"] == {"list": [1]}  # type: ignore[union-attr]


def test_get_creates_no_ghost_namespace(theirs: InMemoryStore, ours: MemvidStore) -> None:
    for store in (theirs, ours):
        assert store.get(("ghost",), "k") is None
        store.delete(("other",), "k")
        store.put(HERE, "k", {"text": "tea"})
        store.delete(HERE, "k")
    assert theirs.list_namespaces() == [("ghost",), ("other",), HERE]
    assert ours.list_namespaces() == []


@pytest.mark.parametrize("value", ["b", None, [2]])
def test_an_order_does_not_crash_on_other_types(theirs: InMemoryStore, ours: MemvidStore, value: Any) -> None:
    for store in (theirs, ours):
        store.put(HERE, "k", {"text": "tea", "n": value})
    with pytest.raises((ValueError, TypeError)):
        theirs.search(HERE, filter={"n": {"$gt": 3}})
    assert ours.search(HERE, filter={"n": {"$gt": 3}}) == []


def test_strings_are_ordered(ours: MemvidStore) -> None:
    for key in ("a", "b", "c"):
        ours.put(HERE, key, {"text": key, "name": key})
    assert [item.key for item in ours.search(HERE, filter={"name": {"$gt": "a"}})] == ["b", "c"]
    assert [item.key for item in ours.search(HERE, filter={"name": {"$gte": "a", "$lt": "b"}})] == ["a"]


@pytest.mark.parametrize("namespace", [("a.b",), ("a", ""), ("a", "b\x00"), ("a", 1), "users"])
@pytest.mark.parametrize("kind", [GetOp, PutOp, SearchOp])
def test_such_a_namespace_is_refused_in_a_batch_too(
    theirs: InMemoryStore, ours: MemvidStore, namespace: Any, kind: Any
) -> None:
    ops: dict[Any, Any] = {
        GetOp: GetOp(namespace, "k"),
        PutOp: PutOp(namespace, "k", {"text": "tea"}),
        SearchOp: SearchOp(namespace),
    }
    op = ops[kind]
    theirs.batch([op])
    with pytest.raises(InvalidNamespaceError):
        ours.batch([PutOp(HERE, "kept", {"text": "tea"}), op])
    assert ours.list_namespaces() == []  # nothing of the batch was written


def test_an_order_compares_whole_values(theirs: InMemoryStore, ours: MemvidStore) -> None:
    """A list is in no order with a number, whatever its items are; nor is it equal to one."""
    for store in (theirs, ours):
        for key, value in (("list", [1, 5]), ("number", 5)):
            store.put(HERE, key, {"text": "tea", "n": value})
    with pytest.raises(TypeError):
        theirs.search(HERE, filter={"n": {"$gte": 5}})
    for wanted in ({"$gt": 4}, {"$gte": 5}, {"$gt": 4, "$lte": 5}, {"$lt": 6}, {"$eq": 5}, {"$in": [5]}, 5):
        assert [item.key for item in ours.search(HERE, filter={"n": wanted})] == ["number"]
    assert [item.key for item in ours.search(HERE, filter={"n": {"$any": [5]}})] == ["list", "number"]


def test_the_whole_value_can_be_indexed_for_one_item(theirs: InMemoryStore, ours: MemvidStore) -> None:
    """``index=["$"]`` of a store is the whole value; of a put, InMemoryStore looks for a key that is called so."""
    for store in (theirs, ours):
        store.put(HERE, "k", {"other": "tea"}, index=["$"])
    assert [store.search(HERE, query="tea")[0].score is None for store in (theirs, ours)] == [True, False]


def test_in_and_or(theirs: InMemoryStore, ours: MemvidStore) -> None:
    for store in (theirs, ours):
        for number, colour in enumerate(["red", "green", "blue"]):
            store.put(HERE, colour, {"text": colour, "colour": colour, "n": number})
    with pytest.raises(ValueError, match="Unsupported operator"):
        theirs.search(HERE, filter={"colour": {"$in": ["red", "blue"]}})
    assert theirs.search(HERE, filter={"$or": [{"colour": "red"}, {"n": 1}]}) == []

    def found(filter: dict[str, Any]) -> list[str]:
        return [item.key for item in ours.search(HERE, filter=filter)]

    assert found({"colour": {"$in": ["red", "blue"]}}) == ["red", "blue"]
    assert found({"colour": {"$nin": ["red", "blue"]}}) == ["green"]
    assert found({"$or": [{"colour": "red"}, {"n": {"$gte": 2}}]}) == ["red", "blue"]
    assert found({"$and": [{"colour": {"$ne": "red"}}, {"$not": {"n": 2}}]}) == ["green"]
    assert found({"colour": {"$like": "%r%"}}) == ["red", "green"]


def test_the_same_text_twice_in_a_batch(theirs: InMemoryStore, ours: MemvidStore) -> None:
    puts = [PutOp(HERE, "a", {"text": "tea"}), PutOp(HERE, "b", {"text": "tea"})]
    with pytest.raises(ValueError, match="does not match"):
        theirs.batch(puts)
    ours.batch(puts)
    assert [item.score for item in ours.search(HERE, query="tea")] == [pytest.approx(1), pytest.approx(1)]


def test_an_update_drops_the_vectors_of_texts_that_are_gone(theirs: InMemoryStore, ours: MemvidStore) -> None:
    scores = []
    for store in (theirs, ours):
        store.put(HERE, "k", {"text": "tea", "more": "milk"}, index=["text", "more"])
        store.put(HERE, "k", {"text": "tea", "more": "milk"}, index=False)
        scores.append(store.search(HERE, query="milk")[0].score)
    assert scores == [pytest.approx(1), None]


def test_pages_do_not_repeat_items_without_a_score(theirs: InMemoryStore, ours: MemvidStore) -> None:
    pages = []
    for store in (theirs, ours):
        store.put(HERE, "scored", {"text": "tea"})
        for key in ("a", "b", "c"):
            store.put(HERE, key, {"text": "tea"}, index=False)
        pages.append([item.key for at in (0, 2) for item in store.search(HERE, query="tea", limit=2, offset=at)])
    assert pages == [["scored", "a", "a", "b"], ["scored", "a", "b", "c"]]


def test_true_is_not_one(theirs: InMemoryStore, ours: MemvidStore) -> None:
    for store in (theirs, ours):
        store.put(HERE, "k", {"text": "tea", "n": 1, "list": [1]})
    assert [len(store.search(HERE, filter={"n": True})) for store in (theirs, ours)] == [1, 0]
    assert [len(store.search(HERE, filter={"list": [True]})) for store in (theirs, ours)] == [1, 0]
    assert [len(store.search(HERE, filter={"n": 1.0})) for store in (theirs, ours)] == [1, 1]
