"""The store: batches, times to live, filters, files, threads, and what it refuses."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from langchain_memvid.agents import MemvidStore
from memvid_core import (
    ClosedError,
    DimensionError,
    EmbedderMismatchError,
    EmbedderWarning,
    EmbeddingError,
    FilterError,
    InvalidInputError,
    Memory,
    MetadataError,
)
from tests.langchain_memvid.agents.conftest import MakeStore
from tests.langchain_memvid.agents.fakes import Clock, LetterEmbeddings

HERE = ("users", "ada")


@pytest.fixture
def store(make: MakeStore) -> MemvidStore:
    return make()


def commits(store: MemvidStore) -> int:
    return len(store.memory.history())


# --- batches ---


def test_reads_see_the_state_before_the_batch_and_the_last_write_wins(store: MemvidStore) -> None:
    store.put(HERE, "old", {"text": "tea"})
    before = commits(store)
    results = store.batch(
        [
            PutOp(HERE, "new", {"text": "first"}),
            GetOp(HERE, "new"),
            PutOp(HERE, "old", None),
            PutOp(HERE, "new", {"text": "second"}),
            SearchOp(HERE),
            ListNamespacesOp(),
            GetOp(HERE, "old"),
        ]
    )
    assert results[:4] == [None, None, None, None]
    assert [item.key for item in results[4]] == ["old"]  # type: ignore[union-attr]
    assert results[5] == [HERE]
    assert results[6].value == {"text": "tea"}  # type: ignore[union-attr]
    assert [(item.key, item.value) for item in store.search(HERE)] == [("new", {"text": "second"})]
    assert commits(store) == before + 1  # puts and deletes alike


def test_what_changes_nothing_is_no_commit(store: MemvidStore) -> None:
    before = commits(store)
    store.batch([])
    store.delete(HERE, "nobody")
    store.get(HERE, "nobody")
    assert store.search(HERE, query="tea") == []
    assert commits(store) == before


def test_each_text_of_a_batch_is_embedded_once(make: MakeStore) -> None:
    embeddings = LetterEmbeddings()
    store = make({"embed": embeddings, "fields": ["text"]})
    store.batch([PutOp(HERE, key, {"text": "tea"}) for key in "abc"])
    store.batch([SearchOp(HERE, query="tea"), SearchOp((), query="tea"), SearchOp(HERE, query=" ")])
    assert embeddings.calls == {"embed_documents": 1, "embed_query": 1}


def test_an_embedder_that_fails_changes_nothing(make: MakeStore) -> None:
    class Broken(LetterEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise OSError("no network")

    store = make({"embed": Broken()})
    with pytest.raises(EmbeddingError, match="no network"):
        store.batch([PutOp(HERE, "plain", {"n": 1}, index=False), PutOp(HERE, "k", {"text": "tea"})])
    assert store.search(()) == []


def test_an_item_is_found_by_the_best_of_its_fields(make: MakeStore) -> None:
    store = make({"embed": LetterEmbeddings(), "fields": ["title", "parts[*].text"]})
    store.put(HERE, "many", {"title": "bread", "parts": [{"text": "tea"}, {"text": "milk"}]})
    store.put(HERE, "one", {"title": "tea and bread"})
    for query in ("bread", "tea", "milk"):
        best = store.search(HERE, query=query)
        assert best[0].score == pytest.approx(1)
        assert [item.key for item in best] == ["many", "one"]
    assert [item.key for item in store.search(HERE, query="tea", limit=1, offset=1)] == ["one"]
    store.delete(HERE, "many")
    assert len(store.memory) == 1


def test_the_built_in_embedder_needs_no_configuration(place: str) -> None:
    with MemvidStore(place) as store:
        store.put(HERE, "drink", {"text": "Ada drinks tea without milk"})
        store.put(HERE, "home", {"text": "에이다는 여의도에 산다"})
        for query, key in [("what does she drink?", "drink"), ("여의도에 사는 사람", "home")]:
            best = store.search(HERE, query=query)[0]
            assert best.key == key
            assert best.score is not None
            assert 0 < best.score <= 1


# --- values ---


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"langgraph": {"kind": "checkpoint"}, "langgraph'": 1, "langgraph''": {"deep": None}},
        {"$set": 1, "a.b": {"c.d": [1, [2, {"e": None}]]}, "": "empty"},
        {"big": 2**63 - 1, "small": -(2**63), "half": 0.1, "none": None, "한국": "여의도 🍵"},
    ],
)
def test_a_value_comes_back_as_it_was(store: MemvidStore, value: dict[str, Any]) -> None:
    store.put(HERE, "k", value)
    item = store.get(HERE, "k")
    assert item is not None
    assert item.value == value
    assert store.search(HERE, filter={key: {"$exists": True} for key in value if not key.startswith("$")})


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {1, 2}}, {"a": b"x"}, {"a": 2**70}, {"a": object()}, [1], "text"])
def test_a_value_that_json_has_no_word_for_is_refused(store: MemvidStore, value: Any) -> None:
    with pytest.raises(MetadataError):
        store.batch([PutOp(HERE, "fine", {"text": "tea"}), PutOp(HERE, "k", value)])
    assert store.search(()) == []


@pytest.mark.parametrize(("namespace", "key"), [(("a", "b"), "c"), (("a",), 'b","c'), (("a",), "b/c"), (("a",), "b.c")])
def test_namespaces_and_keys_do_not_run_into_each_other(store: MemvidStore, namespace: Any, key: str) -> None:
    places: list[Any] = [(("a", "b"), "c"), (("a",), 'b","c'), (("a",), "b/c"), (("a",), "b.c")]
    store.batch([PutOp(at, name, {"at": [*at, name]}) for at, name in places])
    item = store.get(namespace, key)
    assert item is not None
    assert item.value == {"at": [*namespace, key]}
    assert (item.namespace, item.key) == (namespace, key)


def test_a_prefix_is_made_of_whole_labels(store: MemvidStore) -> None:
    for namespace in [("a",), ("a", "b"), ("ab",), ("a/b",), ("a-b", "c"), ("%",)]:
        store.put(namespace, "k", {})
    assert {item.namespace for item in store.search(("a",))} == {("a",), ("a", "b")}
    assert {item.namespace for item in store.search(("%",))} == {("%",)}
    assert len(store.search(())) == 6


def test_namespaces_are_listed(store: MemvidStore) -> None:
    for namespace in [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f")]:
        store.put(namespace, "k", {})
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert store.list_namespaces(suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(prefix=("a", "*", "f"), limit=1, offset=1) == [("a", "c", "f")]
    with pytest.raises(InvalidInputError, match="prefix"):
        store.batch([ListNamespacesOp((MatchCondition("infix", ("a",)),))])  # type: ignore[arg-type]


def test_order_is_that_of_creation_whatever_is_updated(store: MemvidStore) -> None:
    store.batch([PutOp(HERE, key, {"n": 1}) for key in "abc"])
    store.put(HERE, "d", {"n": 1})
    store.batch([PutOp(HERE, "b", {"n": 2}), PutOp(HERE, "a", {"n": 2})])
    assert [item.key for item in store.search(HERE)] == list("abcd")


# --- what is refused ---


@pytest.mark.parametrize(
    "filter",
    [{"a": {"$near": 1}}, {"$or": []}, {"$xor": [{}]}, {"a": {"$in": "x"}}, {"a": {"b.c": 1}}, {1: 2}, ["a"]],
)
def test_a_wrong_filter_is_an_error(store: MemvidStore, filter: Any) -> None:
    store.put(HERE, "k", {"a": 1})
    with pytest.raises(FilterError):
        store.search(HERE, filter=filter)


@pytest.mark.parametrize(
    "op",
    [
        SearchOp(HERE, limit=-1),
        SearchOp(HERE, offset=-1),
        ListNamespacesOp(limit=-1),
        SearchOp(HERE, query=5),  # type: ignore[arg-type]
        ListNamespacesOp(max_depth=-1),
        ListNamespacesOp(max_depth="1"),  # type: ignore[arg-type]
        GetOp(HERE, 5),  # type: ignore[arg-type]
        PutOp(HERE, None, {"a": 1}),  # type: ignore[arg-type]
        PutOp(HERE, "k", {"a": 1}, index=True),  # type: ignore[arg-type]
        PutOp(HERE, "k", {"a": 1}, index=[1]),  # type: ignore[list-item]
        "get",
    ],
)
def test_an_operation_that_cannot_be_carried_out_is_an_error(store: MemvidStore, op: Any) -> None:
    with pytest.raises(InvalidInputError):
        store.batch([PutOp(HERE, "kept", {"a": 1}), op])
    assert store.search(()) == []  # nothing of the batch was written


@pytest.mark.parametrize("ttl", [0, 0.0, -1, float("nan"), float("inf"), True, "1"])
def test_a_ttl_of_zero_is_refused(make: MakeStore, ttl: Any) -> None:
    store = make()
    with pytest.raises(InvalidInputError, match="ttl"):
        store.put(HERE, "k", {"a": 1}, ttl=ttl)
    assert store.get(HERE, "k") is None
    with pytest.raises(InvalidInputError, match="ttl"):
        MemvidStore(ttl={"default_ttl": ttl})


def test_other_dimensions_than_were_said_are_refused(make: MakeStore) -> None:
    store = make({"embed": LetterEmbeddings(), "dims": 3})
    with pytest.raises(DimensionError, match="8 components"):
        store.put(HERE, "k", {"a": 1})


def test_two_stores_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.mp4"
    with MemvidStore(path) as one, MemvidStore(path) as two:
        one.put(("a",), "1", {"text": "tea"})
        two.put(("a",), "2", {"text": "coffee"})
        assert [item.key for item in one.search(("a",))] == [item.key for item in two.search(("a",))] == ["1", "2"]


def test_another_embedder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "facts.mp4"
    with MemvidStore(path, index={"embed": LetterEmbeddings()}) as store:
        store.put(HERE, "k", {"text": "tea"})
    with pytest.warns(EmbedderWarning):  # the built-in one is not what wrote it: words are searched for
        reopened = MemvidStore(path)
    with reopened as store:
        assert store.search(HERE, query="tea")[0].key == "k"
        with pytest.raises(InvalidInputError, match="embedder that wrote it"):
            store.put(HERE, "l", {"text": "tea"})

    class Other(LetterEmbeddings):
        pass

    with pytest.raises(EmbedderMismatchError):
        MemvidStore(path, index={"embed": Other()})


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    with Memory.create(":memory:") as memory:
        with pytest.raises(InvalidInputError):
            MemvidStore(tmp_path / "facts.mp4", memory=memory)
        with pytest.raises(InvalidInputError):
            MemvidStore(memory=memory, index={"embed": LetterEmbeddings()})


@pytest.mark.parametrize("query", ['he said "with milk"', "-tea -Ada drink", "tea*"])
def test_a_query_is_what_somebody_said_and_no_query_language(place: str, query: str) -> None:
    with MemvidStore(place, index={"fields": ["text"]}) as store:
        store.put(HERE, "k", {"text": "Ada drinks tea without milk"})
        store.put(HERE, "l", {"text": "the engine hums"})
        assert store.search(HERE, query=query)[0].key == "k"


@pytest.mark.parametrize(
    "options",
    [{"index": {"filds": ["a"]}}, {"index": "text"}, {"index": True}, {"ttl": {"defualt_ttl": 3}}, {"memory": "a.mp4"}],
    ids=str,
)
def test_a_mistyped_setting_is_not_passed_over(options: Any) -> None:
    with pytest.raises(InvalidInputError):
        MemvidStore(**options)
    with pytest.raises(InvalidInputError, match="index has no key 'filds'; its keys are dims, embed, fields"):
        MemvidStore(index={"filds": ["a"]})  # type: ignore[arg-type]


def test_a_closed_store_says_so(make: MakeStore) -> None:
    store = make()
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        store.search(HERE)


@pytest.mark.parametrize("query", ['"', "***"])
async def test_a_query_that_asks_nothing_lists_and_what_is_put_beside_it_is_kept(make: MakeStore, query: str) -> None:
    embeddings = LetterEmbeddings()
    store = make({"embed": embeddings})
    store.put(HERE, "old", {"text": "tea"})
    found, _ = store.batch([SearchOp((), query=query), PutOp(HERE, "new", {"text": "milk"})])
    assert [(item.key, item.score) for item in found] == [("old", None)]  # type: ignore[union-attr]
    found, _ = await store.abatch([SearchOp((), query=query), PutOp(HERE, "newer", {"text": "bread"})])
    assert [item.key for item in found] == ["old", "new"]  # type: ignore[union-attr]
    assert [item.key for item in store.search((), query=query)] == ["old", "new", "newer"]
    assert not {"embed_query", "aembed_query"} & set(embeddings.calls)


# --- times to live ---


def test_an_item_expires_and_is_swept(make: MakeStore, clock: Clock) -> None:
    store = make()
    store.put(HERE, "short", {"text": "tea"}, ttl=10)
    store.put(HERE, "long", {"text": "tea"})
    clock.pass_minutes(9.9)
    assert [item.key for item in store.search(HERE, query="tea", refresh_ttl=False)] == ["short", "long"]
    clock.pass_minutes(0.1)
    assert store.get(HERE, "short") is None
    assert [item.key for item in store.search(HERE)] == ["long"]
    assert [item.key for item in store.search(HERE, query="tea")] == ["long"]
    assert len(store.memory) == 2
    assert (store.sweep_ttl(), store.sweep_ttl()) == (1, 0)
    assert len(store.memory) == 1


def test_an_expired_namespace_is_not_listed(make: MakeStore, clock: Clock) -> None:
    store = make()
    store.put(HERE, "k", {"text": "tea"}, ttl=1)
    assert store.list_namespaces() == [HERE]
    clock.pass_minutes(1)
    assert store.list_namespaces() == []


def test_reading_starts_the_time_anew_and_costs_a_commit_a_tenth_of_it(make: MakeStore, clock: Clock) -> None:
    store = make({"embed": LetterEmbeddings(), "fields": ["text", "more"]})
    store.put(HERE, "k", {"text": "tea", "more": "milk"}, ttl=10)
    first = store.get(HERE, "k", refresh_ttl=False)
    before = commits(store)
    for _ in range(40):
        clock.pass_minutes(0.5)
        assert store.get(HERE, "k") == first
    assert commits(store) - before == 13
    clock.pass_minutes(5)
    assert store.search(HERE, query="milk")[0].score == pytest.approx(1)  # vectors stay, and this reads it too
    clock.pass_minutes(8)
    assert store.get(HERE, "k", refresh_ttl=False) == first
    clock.pass_minutes(2)
    assert store.get(HERE, "k") is None


def test_whether_reading_refreshes_is_the_configuration_s_and_the_call_s(make: MakeStore, clock: Clock) -> None:
    store = make(ttl={"default_ttl": 10, "refresh_on_read": False})
    store.put(HERE, "k", {"text": "tea"})
    store.put(HERE, "l", {"text": "tea"})
    store.put(HERE, "kept", {"text": "tea"}, ttl=None)
    clock.pass_minutes(6)
    assert store.get(HERE, "k") is not None
    assert store.get(HERE, "l", refresh_ttl=True) is not None
    clock.pass_minutes(6)
    assert [item.key for item in store.search(HERE)] == ["l", "kept"]


def test_expired_items_can_be_left_until_they_are_swept(make: MakeStore, clock: Clock) -> None:
    store = make(ttl={"omit_expired": False, "sweep_interval_minutes": 30, "refresh_on_read": False})
    store.put(HERE, "k", {"text": "tea"}, ttl=10)
    clock.pass_minutes(20)
    assert store.get(HERE, "k") is not None
    store.put(HERE, "other", {"text": "tea"})
    assert len(store.memory) == 2
    clock.pass_minutes(20)
    before = commits(store)
    store.put(HERE, "another", {"text": "tea"})
    assert commits(store) == before + 1  # swept in the same commit
    assert [item.key for item in store.search(HERE)] == ["other", "another"]


def test_a_clock_that_is_set_right_again_delays_no_sweep(make: MakeStore, clock: Clock) -> None:
    store = make(ttl={"omit_expired": False, "sweep_interval_minutes": 30, "refresh_on_read": False})
    clock.pass_minutes(-24 * 60)
    store.put(HERE, "k", {"text": "tea"}, ttl=10)
    clock.pass_minutes(40)
    store.put(HERE, "other", {"text": "tea"})
    assert [item.key for item in store.search(HERE)] == ["other"]


def test_an_item_put_after_the_last_one_expired_is_a_new_one(make: MakeStore, clock: Clock) -> None:
    store = make()
    store.put(HERE, "k", {"text": "tea"}, ttl=1)
    clock.pass_minutes(5)
    store.put(HERE, "k", {"text": "tea"})
    item = store.get(HERE, "k")
    assert item is not None
    assert item.created_at == clock.now


def test_a_reader_refreshes_nothing(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "facts.mp4"
    with MemvidStore(path) as store:
        store.put(HERE, "k", {"text": "tea"}, ttl=10)
    clock.pass_minutes(5)
    with MemvidStore(path, mode="r") as reader:
        assert reader.get(HERE, "k") is not None
        assert len(reader.search(HERE, query="tea")) == 1
        assert commits(reader) == 1


# --- files and threads ---


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "facts.mp4"
    index: Any = {"embed": LetterEmbeddings(), "fields": ["text", "more"]}
    with MemvidStore(path, index=index) as store:
        store.put(HERE, "k", {"text": "tea", "more": "milk"})
        store.put(("b",), "plain", {"n": 1}, index=False)
        store.put(("b",), "gone", {"n": 2})
        store.delete(("b",), "gone")
        items = store.search(())
        scores = [item.score for item in store.search((), query="milk")]
    for entry in sorted(Path(f"{path}.index").rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    with MemvidStore(path, index=index) as store:
        assert store.search(()) == items
        assert [item.score for item in store.search((), query="milk")] == scores
        store.memory.compact()
        assert store.search(()) == items


def test_items_are_good_records_and_other_records_are_no_items() -> None:
    with Memory.create(":memory:") as memory:
        memory.add(["a document about tea"], [{"namespace": "users", "langgraph": "no"}], ids=["doc"])
        store = MemvidStore(memory=memory, index={"fields": ["text"]})
        store.put(HERE, "k", {"text": "Ada drinks tea", "sure": True})
        assert [item.key for item in store.search(())] == ["k"]
        assert store.list_namespaces() == [HERE]
        [hit] = memory.search("tea", where={"sure": True})
        assert (hit.id, hit.text) == ('item["users","ada","k"]', "Ada drinks tea")
        store.close()
        assert len(memory) == 2


def test_what_is_made_of_an_item_is_no_item(clock: Clock) -> None:
    """A splitter gives each part of a document the metadata of the whole, ours too; the id is the part's own."""
    with Memory.create(":memory:") as memory:
        store = MemvidStore(memory=memory, index={"fields": ["text", "more"]})
        store.put(HERE, "k", {"text": "Ada drinks tea", "more": "and milk"}, ttl=10)
        for record in list(memory):
            memory.add(["a part about tea", "a part about milk"], [record.metadata] * 2)
        assert [item.key for item in store.search(())] == ["k"]
        assert [item.key for item in store.search((), query="tea", limit=5)] == ["k"]
        assert store.list_namespaces() == [HERE]
        clock.pass_minutes(11)
        assert store.sweep_ttl() == 1
        assert [record.text for record in memory] == ["a part about tea", "a part about milk"] * 2


def test_threads_that_write_and_read_at_once(make: MakeStore) -> None:
    store = make()
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(10):
            store.put(HERE, f"{number}", {"turn": turn})
            store.put(HERE, "shared", {"turn": turn})
            item = store.get(HERE, f"{number}")
            assert item is not None
            assert item.value == {"turn": turn}
            assert store.search(HERE, query="turn")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    items = store.search(HERE)
    assert {item.key for item in items} == {"0", "1", "2", "3", "shared"}
    assert len({item.created_at for item in items}) == 5


async def test_async_awaits_the_embedder_and_leaves_the_loop_alone(make: MakeStore) -> None:
    embeddings = LetterEmbeddings()
    store = make({"embed": embeddings})
    loop = threading.get_ident()
    threads: set[int] = set()
    add, search = store.memory.add, store.memory.search

    def noted(wrapped: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            threads.add(threading.get_ident())
            return wrapped(*args, **options)

        return call

    store.memory.add, store.memory.search = noted(add), noted(search)  # type: ignore[method-assign]
    await asyncio.gather(*(store.aput(HERE, str(number), {"text": "tea"}) for number in range(5)))
    found = await store.asearch(HERE, query="tea")
    assert len(found) == 5
    assert await store.aget(HERE, "0") is not None
    await store.adelete(HERE, "0")
    assert await store.alist_namespaces() == [HERE]
    assert embeddings.calls == {"aembed_documents": 5, "aembed_query": 1}
    assert embeddings.threads == {loop}
    assert threads
    assert loop not in threads


# --- options of a search ---


def test_the_options_of_a_store_apply_to_its_queries(make: MakeStore) -> None:
    facts = {"one": "Ada drinks tea", "two": "Ada drinks tea", "far": "The harbor is gray"}
    store = make(index={"fields": ["text"]}, search={"unique": True, "synonyms": {"matcha": "tea"}})
    for key, text in facts.items():
        store.put(HERE, key, {"text": text})
    assert [item.key for item in store.search(HERE, query="Ada matcha")] == ["one", "far"]
    strict = MemvidStore(memory=store.memory, index={"fields": ["text"]}, search={"min_relevance": 0.9})
    strict.put(HERE, "plain", {"text": "Ada drinks tea"}, index=False)
    assert strict.search(HERE, query="volcano") == []
    assert len(strict.search(HERE)) == 4  # without a query, everything is listed
    with pytest.raises(InvalidInputError, match="did you mean 'unique'"):
        make(search={"uniqe": True})
