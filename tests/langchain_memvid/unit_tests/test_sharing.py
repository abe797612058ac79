"""Functions of a user that decide, batches, several stores on one file, copies, and what is said when it goes wrong."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from langchain_core.documents import Document
from typing_extensions import override

from langchain_memvid import MemvidEmbeddings, MemvidRetriever, MemvidVectorStore
from memvid_core import (
    EmbedderMismatchError,
    EmbeddingError,
    FilterError,
    InvalidInputError,
    LockedError,
    Memory,
    MemvidError,
    QueryError,
)
from tests.langchain_memvid.fakes import COMPASS, TableEmbeddings

# --- what a function of the user's answers ---


async def _coroutine(document: Document) -> bool:
    return False


class _AsyncCall:
    async def __call__(self, document: Document) -> bool:
        return False


async def _generator(document: Document) -> Any:
    yield False


NO_ANSWERS: dict[str, Any] = {
    "a coroutine function": _coroutine,
    "a partial of one": functools.partial(_coroutine),
    "a lambda around one": lambda document: _coroutine(document),
    "an object with an async call": _AsyncCall(),
    "an async generator": _generator,
    "None": lambda document: None,
    "a number": lambda document: 0,
    "a text": lambda document: "no",
    "a list": lambda document: [],
    "a match": lambda document: document,
    "an array": lambda document: np.array([True]),
}
CALLS: dict[str, Callable[[MemvidVectorStore, Any], Any]] = {
    "delete": lambda s, f: s.delete(filter=f),
    "delete by both": lambda s, f: s.delete(["east"], filter=f),
    "adelete": lambda s, f: asyncio.run(s.adelete(filter=f)),
    "search": lambda s, f: s.similarity_search("north", filter=f),
    "asearch": lambda s, f: asyncio.run(s.asimilarity_search("north", filter=f)),
    "mmr": lambda s, f: s.max_marginal_relevance_search("north", filter=f),
    "listing": lambda s, f: s.similarity_search("", filter=f),
    "retriever": lambda s, f: MemvidRetriever(vectorstore=s, filter=f).invoke("north"),
    "relevance": lambda s, f: s.similarity_search_with_relevance_scores("north", filter=f),
}


@pytest.mark.parametrize("answer", NO_ANSWERS)
@pytest.mark.parametrize("call", CALLS)
def test_only_true_and_false_are_an_answer(compass: MemvidVectorStore, call: str, answer: str) -> None:
    with pytest.raises(FilterError):
        CALLS[call](compass, NO_ANSWERS[answer])
    assert list(compass.store) == list(COMPASS)


def test_an_async_filter_is_refused_before_there_is_a_document() -> None:
    store = MemvidVectorStore()
    for call in CALLS.values():
        with pytest.raises(FilterError, match="async"):
            call(store, _coroutine)


def test_numpy_s_bools_are_bools(compass: MemvidVectorStore) -> None:
    accept: Any = lambda document: np.bool_(document.metadata["place"] > 0)  # noqa: E731
    compass.delete(filter=accept)
    assert list(compass.store) == ["east"]


@pytest.mark.parametrize("threshold", ["0.5", 5, -0.1, True, float("nan"), [0.5]], ids=repr)
def test_a_threshold_is_a_number_from_0_to_1(compass: MemvidVectorStore, threshold: Any) -> None:
    calls: list[Any] = [
        lambda: compass.similarity_search("north", score_threshold=threshold),
        lambda: compass.similarity_search_with_score("north", score_threshold=threshold),
        lambda: compass.similarity_search_with_relevance_scores("north", score_threshold=threshold),
        lambda: asyncio.run(compass.asimilarity_search_with_relevance_scores("north", score_threshold=threshold)),
        lambda: compass.max_marginal_relevance_search("north", score_threshold=threshold),
        lambda: MemvidRetriever(vectorstore=compass).invoke("north", score_threshold=threshold),
    ]
    for call in calls:
        with pytest.raises(QueryError, match="score_threshold must be a number from 0 to 1"):
            call()
    with pytest.raises(ValueError, match="score_threshold"):
        MemvidRetriever(vectorstore=compass, score_threshold=threshold)
    assert compass.similarity_search("north", score_threshold=np.float32(0.9))[0].id == "north"


# --- batches ---


class FailingEmbeddings(TableEmbeddings):
    """Fails from a certain call on, as a server does that has had enough."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("429 Too Many Requests")
        assert len(texts) <= 100
        return super().embed_documents(texts)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failure_costs_one_batch_and_ids_make_it_safe_to_go_on(place: str, asynchronous: bool) -> None:
    embeddings = FailingEmbeddings(3)
    documents = [Document(f"text {i}", id=str(i)) for i in range(1000)]
    with MemvidVectorStore(embeddings, path=place) as store:

        def add() -> list[str]:
            if asynchronous:
                return asyncio.run(store.aadd_documents(documents, batch_size=100))
            return store.add_documents(documents, batch_size=100)

        with pytest.raises(EmbeddingError, match=r"429.*first 300 of 1000 texts are stored: add texts\[300:\]"):
            add()
        assert len(store.memory) == 300
        assert store.memory.info().commits == 3
        embeddings.left = 1000
        assert add() == [str(i) for i in range(1000)]
        assert [record.id for record in store.memory][-1] == "999"
        assert len(store.memory) == 1000


def test_batches_are_commits_and_their_size_is_checked(store: MemvidVectorStore) -> None:
    assert len(store.add_texts((str(i) for i in range(7)), batch_size=3)) == 7
    assert store.memory.info().commits == 3
    assert store.add_texts([], batch_size=3) == []
    for wrong in (0, -1, 2.0, "3", True):
        with pytest.raises(InvalidInputError, match="batch_size"):
            store.add_texts(["a"], batch_size=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="ids must be as many as texts"):
        store.add_texts(["a", "b"], ids=["1"], batch_size=1)
    assert len(store.memory) == 7


def test_the_first_batch_s_failure_is_told_as_it_is(store: MemvidVectorStore) -> None:
    with pytest.raises(MemvidError) as caught:
        store.add_texts(["a"], [{"bad": object()}], batch_size=1)
    assert "are stored" not in str(caught.value)


def test_from_texts_takes_a_batch_size(place: str) -> None:
    with MemvidVectorStore.from_texts(list("abc"), TableEmbeddings(), path=place, batch_size=2) as store:
        assert store.memory.info().commits == 2


def test_what_is_added_twice_with_ids_is_there_once(place: str) -> None:
    documents = [Document("the wing lifts", id="wing")]
    with MemvidVectorStore.from_documents(documents, path=place) as store:
        store.add_documents(documents)
        assert len(store.memory) == 1


# --- one file for several ---


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    """A memory with a document, a message of LlamaIndex, an item of LangGraph, a checkpoint and a note."""
    with Memory.create(tmp_path / "all.mp4") as memory:
        item = {"langgraph": {"kind": "item", "namespace": "a", "key": "b"}}
        state = {"langgraph": {"kind": "checkpoint", "thread": "t"}}
        memory.add(["fact", "state"], [item, state], ['item["a","b"]', 'checkpoint["t","","1"]'], [None, None])
        memory.add(
            ["note", "said"], [{"agent_memory": "note"}, {"llama_index": {"chat": {"key": "k"}}}], ["note-1", "c"]
        )
        memory.add(["document", "part of a fact"], [{"page": 1}, item], ["d", "copy"])
        yield memory


DELETIONS: dict[str, Callable[[MemvidVectorStore], Any]] = {
    "all": lambda s: s.delete(),
    "none": lambda s: s.delete(None),
    "async": lambda s: asyncio.run(s.adelete()),
    "a filter": lambda s: s.delete(filter={"source": {"$ne": "x"}}),
    "a function": lambda s: s.delete(filter=lambda document: True),
}


@pytest.mark.parametrize("name", DELETIONS)
def test_only_documents_are_deleted_where_no_id_is_named(shared: Memory, name: str) -> None:
    DELETIONS[name](MemvidVectorStore(memory=shared))
    assert sorted(record.text for record in shared) == ["fact", "note", "said", "state"]


def test_a_listing_shows_no_machinery(shared: Memory) -> None:
    store = MemvidVectorStore(memory=shared)
    chosen: Any
    for chosen in (None, {}, lambda document: True):
        assert "state" not in [found.page_content for found in store.similarity_search("", k=10, filter=chosen)]


def test_stores_threads_and_filters_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    stores = [MemvidVectorStore(path=path) for _ in range(3)]

    def work(number: int) -> None:
        for i in range(6):
            stores[number].add_texts([f"{number} {i}"], [{"round": i}], ids=[f"{number}-{i}"])
            stores[number].delete(filter=lambda document: document.metadata["round"] % 2 == 1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        assert sorted(store.store) == sorted(f"{number}-{i}" for number in range(3) for i in (0, 2, 4))
        store.close()


def test_a_writer_waits_as_long_as_it_was_told_to(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore(path=path) as one, MemvidVectorStore(path=path, timeout=0.05) as two:
        with one.memory.exclusive():
            for call in (lambda: two.add_texts(["a"]), two.delete):
                with pytest.raises(LockedError):
                    call()
        assert two.add_texts(["a"], ids=["1"]) == ["1"]


async def test_everything_is_opened_and_closed_beside_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with blockbuster_ctx(["langchain_memvid", "memvid_core"]):
        async with await MemvidVectorStore.aopen(path=path) as store:
            await store.aadd_texts(["the wing lifts"], batch_size=1)
        async with await MemvidRetriever.aopen(path=path, k=1) as retriever:
            assert [found.page_content for found in await retriever.ainvoke("wing")] == ["the wing lifts"]
        for closed in (store, retriever.vectorstore):
            with pytest.raises(MemvidError, match="closed"):
                await closed.asimilarity_search("wing")


async def test_waiting_writers_leave_the_loop_s_own_threads_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore(path=path) as one, MemvidVectorStore(path=path) as two:
        with one.memory.exclusive():
            waiting = [asyncio.ensure_future(two.adelete(["x"])) for _ in range(64)]
            await asyncio.sleep(0)
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10) == "free"
        await asyncio.gather(*waiting)


# --- copies ---


def test_stores_and_retrievers_are_copied_and_pickled(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore(path=path, retrieval_mode="lexical", timeout=7) as store:
        store.add_texts(["the wing lifts"])
        assert copy.deepcopy(store) is store
        assert copy.copy(store).memory is store.memory
        with pickle.loads(pickle.dumps(store)) as other:
            assert other.retrieval_mode == "lexical"
            other.add_texts(["the engine hums"])
            assert len(store.memory) == 2
        retriever = MemvidRetriever(vectorstore=store, k=1)
        assert copy.deepcopy(retriever).vectorstore is retriever.model_copy(deep=True).vectorstore is store
        with pickle.loads(pickle.dumps(retriever)) as again:
            assert again.invoke("wing")[0].page_content == "the wing lifts"
            again.vectorstore.close()
    with (
        Memory.open(path) as memory,
        pickle.loads(pickle.dumps(MemvidVectorStore(memory=memory))) as reader,
        pytest.raises(MemvidError, match="mode='a'"),
    ):
        reader.add_texts(["x"])
    with pytest.raises(InvalidInputError, match="RAM"):
        pickle.dumps(MemvidVectorStore())


def test_a_pickled_store_has_its_embedder(tmp_path: Path) -> None:
    with (
        Memory.create(tmp_path / "m.mp4", TableEmbeddings(COMPASS)) as memory,
        pickle.loads(pickle.dumps(MemvidVectorStore(memory=memory))) as other,
    ):
        assert other.memory.embedder.name == memory.embedder.name  # type: ignore[union-attr]


# --- opening ---


def test_a_path_in_the_place_of_a_model_says_path() -> None:
    calls: list[Any] = [
        lambda: MemvidVectorStore("notes.mp4"),
        lambda: MemvidVectorStore(Path("notes")),
        lambda: MemvidVectorStore.from_texts(["a"], "notes.MP4"),
        lambda: asyncio.run(MemvidVectorStore.afrom_texts(["a"], Path("notes.mp4"))),
        lambda: MemvidVectorStore.from_documents([], "notes.mp4"),
        lambda: MemvidRetriever(vectorstore="notes.mp4"),  # type: ignore[arg-type]
        lambda: MemvidRetriever(path="x.mp4", embedding="notes.mp4"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="path="):
            call()
    for wrong in ("", None, 7, b"notes.mp4"):
        with pytest.raises(InvalidInputError, match="path must be"):
            MemvidVectorStore(path=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="memory="):
        MemvidVectorStore(path=Memory.create(":memory:"))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="open Memory"):
        MemvidVectorStore(memory="notes.mp4")  # type: ignore[arg-type]


def test_two_threads_that_make_one_file_both_get_it(tmp_path: Path) -> None:
    path, opened = tmp_path / "m.mp4", []
    threads = [
        threading.Thread(target=lambda: opened.append(MemvidVectorStore(path=path, vector_dtype="float32")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, store in enumerate(opened):
        store.add_texts([f"text {number}"])
    assert [len(store.memory) for store in opened] == [4] * 4
    for store in opened:
        store.close()


def test_a_file_without_vectors_takes_the_built_in_embedder_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as memory:
        memory.add("state", ids="s", vectors=[None])
    for text in ("the wing lifts", "the engine hums"):
        with MemvidVectorStore(path=path) as store:
            store.add_texts([text], ids=[text])
            assert store.similarity_search("what lifts?", k=1)[0].id == "the wing lifts"
            assert len(store.memory.get_vectors(["the wing lifts", text])) == len({"the wing lifts", text})


def test_a_file_of_another_model_s_vectors_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as memory:
        memory.add(["the wing lifts"], vectors=np.random.default_rng(1).normal(size=(1, 384)))
    with MemvidVectorStore(path=path) as store:
        assert store.embeddings is None
        with pytest.raises(EmbeddingError, match="embedding="):
            store.add_texts(["x"])


# --- words ---


@pytest.mark.filterwarnings("ignore::memvid_core.EmbedderWarning")
def test_messages_advise_what_can_be_done_here(tmp_path: Path) -> None:
    path, said = tmp_path / "m.mp4", []
    MemvidVectorStore.from_texts(["east"], TableEmbeddings(COMPASS), path=path).close()
    reader, closed, plain = (MemvidVectorStore(path=path, mode=mode) for mode in ("r", "a", "a"))
    closed.close()
    calls: list[Any] = [
        lambda: MemvidVectorStore(MemvidEmbeddings(), path=path),
        lambda: MemvidRetriever(path=path, embedding=MemvidEmbeddings()),
        lambda: MemvidVectorStore(path=tmp_path / "none.mp4", mode="r"),
        lambda: MemvidVectorStore.load(tmp_path / "none.mp4"),
        lambda: MemvidVectorStore(path=path, mode="w"),  # type: ignore[arg-type]
        lambda: reader.add_texts(["a"]),
        lambda: asyncio.run(reader.aadd_texts(["a"])),
        lambda: reader.delete(["a"]),
        lambda: plain.delete(filter={}),
        lambda: plain.add_texts(["a"]),
        lambda: reader.similarity_search("x", retrieval_mode="dense"),
        lambda: asyncio.run(reader.asimilarity_search("x", retrieval_mode="hybrid")),
        lambda: reader.max_marginal_relevance_search("x", retrieval_mode="dense", lambda_mult=3),
        lambda: reader.similarity_search("x", filter=7),  # type: ignore[arg-type]
        lambda: reader.similarity_search("x", filter={"$bogus": 1}),
        lambda: reader.add_texts(["a"], [{}, {}]),
        lambda: closed.similarity_search("x"),
        lambda: closed.get_by_ids(["x"]),
        lambda: closed.dump(tmp_path / "copy.mp4"),
    ]
    for call in calls:
        with pytest.raises((MemvidError, ValueError)) as caught:
            call()
        said.append(str(caught.value))
    for message in said:
        assert not any(
            word in message
            for word in ("force", "Memory.", "where=", "select(", "clear()", " mode='lexical'", "embedder=")
        ), message
    with pytest.raises(EmbedderMismatchError, match="embedding="):
        MemvidVectorStore(MemvidEmbeddings(), path=path)
    reader.close()
    plain.close()


def test_unknown_options_are_refused_everywhere_with_the_nearest_name(compass: MemvidVectorStore) -> None:
    calls: dict[str, Any] = {
        "filter": lambda: compass.similarity_search("north", fliter={}),  # type: ignore[call-arg]
        "lambda_mult": lambda: compass.max_marginal_relevance_search("north", lambda_mul=1),  # type: ignore[call-arg]
        "retrieval_mode": lambda: asyncio.run(compass.asimilarity_search("north", retrieval_mod="dense")),  # type: ignore[call-arg]
        "score_threshold": lambda: compass.similarity_search_with_relevance_scores("north", score_treshold=1),  # type: ignore[call-arg]
        "metadatas": lambda: compass.add_texts(["a"], metadata=[{}]),  # type: ignore[call-arg]
        "batch_size": lambda: compass.add_documents([Document("a")], batchsize=1),  # type: ignore[call-arg]
        "ids": lambda: compass.delete(id=["east"]),  # type: ignore[call-arg]
        "fetch_k": lambda: MemvidRetriever(vectorstore=compass).invoke("north", fetchk=1),
    }
    for near, call in calls.items():
        with pytest.raises(TypeError, match=f"did you mean '{near}'"):
            call()
    assert len(compass.memory) == len(COMPASS)
    wrong: dict[str, Any] = {"rerankers": 1}
    with pytest.raises(ValueError, match="did you mean 'reranker'"):
        MemvidRetriever(vectorstore=compass, **wrong)
