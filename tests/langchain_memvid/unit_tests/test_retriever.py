"""MemvidRetriever: its fields, each of them for one call too, and rerankers."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError
from typing_extensions import override

from langchain_memvid import MemvidRetriever, MemvidVectorStore
from memvid_core import ClosedError, InvalidInputError
from tests.langchain_memvid.fakes import COMPASS, TableEmbeddings


@pytest.fixture
def place() -> str:
    return ":memory:"


@pytest.fixture
def retriever(compass: MemvidVectorStore) -> MemvidRetriever:
    return MemvidRetriever(vectorstore=compass)


def ids(found: Sequence[Document]) -> list[str | None]:
    return [document.id for document in found]


# Field, value, and what "east" then finds.
FIELDS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["east", "almost east", "north-east", "north"]),
    ({"k": 2}, ["east", "almost east"]),
    ({"k": 0}, []),
    ({"filter": {"place": {"$in": [1, 4]}}}, ["almost east", "west"]),
    ({"filter": lambda document: document.metadata["place"] > 2}, ["north", "west"]),
    ({"search_type": "mmr", "lambda_mult": 0.0, "k": 2}, ["east", "west"]),
    ({"search_type": "mmr", "lambda_mult": 0.0, "k": 2, "fetch_k": 2}, ["east", "almost east"]),
    ({"search_type": "mmr", "lambda_mult": 1.0, "k": 2}, ["east", "almost east"]),
    ({"search_type": "similarity_score_threshold", "score_threshold": 0.95}, ["east", "almost east"]),
    ({"score_threshold": 0.95}, ["east", "almost east"]),
    ({"retrieval_mode": "lexical", "filter": {"place": {"$gt": 1}}}, ["north-east"]),
    ({"retrieval_mode": "hybrid", "alpha": 1.0, "k": 1}, ["east"]),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS)
async def test_each_field_holds_for_the_retriever_and_for_one_call(
    compass: MemvidVectorStore, retriever: MemvidRetriever, fields: dict[str, Any], expected: list[str]
) -> None:
    made = MemvidRetriever(vectorstore=compass, **fields)
    assert ids(made.invoke("east")) == ids(await made.ainvoke("east")) == expected
    assert (
        ids(retriever.invoke("east", None, **fields))
        == ids(await retriever.ainvoke("east", None, **fields))
        == expected
    )
    assert ids(retriever.batch(["east"], None, **fields)[0]) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"k": -1},
        {"search_type": "nearest"},
        {"search_type": "similarity_score_threshold"},
        {"score_threshold": 1.5},
        {"lambda_mult": -0.1},
        {"retrieval_mode": "fast"},
        {"reranker": 5},
        {"path": "other.mp4"},
        {"fliter": {"place": 1}},
    ],
)
def test_a_wrong_field_is_refused(compass: MemvidVectorStore, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MemvidRetriever(vectorstore=compass, **fields)


def test_an_unknown_option_of_a_call_is_refused(retriever: MemvidRetriever) -> None:
    with pytest.raises(TypeError, match="fliter"):
        retriever.invoke("east", None, fliter={"place": 1})


def test_a_retriever_needs_somewhere_to_search() -> None:
    with pytest.raises(ValidationError, match="vectorstore, or the path"):
        MemvidRetriever()


def test_a_path_is_opened_for_reading_and_follows_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore.from_texts(["east"], TableEmbeddings(COMPASS), path=path) as store:
        retriever = MemvidRetriever(path=path, embedding=TableEmbeddings(COMPASS), k=1)
        assert retriever.invoke("north")[0].page_content == "east"
        store.add_texts(["north"])
        assert retriever.invoke("north")[0].page_content == "north"
    retriever.close()
    with pytest.raises(ClosedError):
        retriever.invoke("north")


def test_a_given_store_stays_open(compass: MemvidVectorStore, retriever: MemvidRetriever) -> None:
    retriever.close()
    assert len(compass.memory) == len(COMPASS)


def test_fields_can_be_configured_per_call(tmp_path: Path, compass: MemvidVectorStore) -> None:
    path = tmp_path / "store.mp4"
    compass.dump(path)
    for retriever in (
        MemvidRetriever(vectorstore=compass),
        MemvidRetriever(path=path, embedding=TableEmbeddings(COMPASS)),
    ):
        configurable = retriever.configurable_fields(k=ConfigurableField(id="k"))
        assert len(configurable.invoke("east", {"configurable": {"k": 2}})) == 2
        assert len(configurable.invoke("east")) == 4
        retriever.close()


def test_what_is_reported_of_a_call_names_the_store(retriever: MemvidRetriever) -> None:
    seen: dict[str, Any] = {}

    class Listener(BaseCallbackHandler):
        @override
        def on_retriever_start(self, *args: Any, metadata: Any = None, **rest: Any) -> None:
            seen.update(metadata)

    retriever.invoke("east", {"callbacks": [Listener()]})
    assert seen["ls_vector_store_provider"] == "MemvidVectorStore"
    assert seen["ls_embedding_provider"] == "TableEmbeddings"
    assert seen["ls_retriever_name"] == "memvid"


# --- rerankers ---


class Backwards(BaseDocumentCompressor):
    """The documents from last to first, without the first."""

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        assert query == "east"
        return list(documents)[:0:-1]


def by_length(query: str, texts: list[str]) -> list[int]:
    assert query == "east"
    return [len(text) for text in texts]


async def by_length_async(query: str, texts: list[str]) -> list[int]:
    await asyncio.sleep(0)
    return by_length(query, texts)


@pytest.mark.parametrize("reranker", [by_length, lambda query, texts: (len(text) for text in texts)])
async def test_a_function_orders_what_a_wider_search_found(compass: MemvidVectorStore, reranker: Any) -> None:
    retriever = MemvidRetriever(vectorstore=compass, k=3, reranker=reranker)
    assert (
        ids(retriever.invoke("east")) == ids(await retriever.ainvoke("east")) == ["almost east", "north-east", "north"]
    )
    assert ids(retriever.invoke("east", None, fetch_k=3)) == ["almost east", "north-east", "east"]
    assert ids(retriever.invoke("east", None, k=1)) == ["almost east"]
    assert ids(retriever.invoke("east", None, k=0)) == ids(retriever.invoke("east", None, filter={"place": 9})) == []


async def test_a_compressor_may_drop_documents(compass: MemvidVectorStore) -> None:
    retriever = MemvidRetriever(vectorstore=compass, k=2, reranker=Backwards())
    assert ids(retriever.invoke("east")) == ids(await retriever.ainvoke("east")) == ["west", "north"]


async def test_a_reranker_can_be_given_for_one_call_or_left_out(compass: MemvidVectorStore) -> None:
    retriever = MemvidRetriever(vectorstore=compass, k=1)
    assert ids(retriever.invoke("east", None, reranker=by_length)) == ["almost east"]
    always = MemvidRetriever(vectorstore=compass, k=1, reranker=by_length)
    assert ids(await always.ainvoke("east", None, reranker=None)) == ["east"]


async def test_a_coroutine_function_is_awaited_and_a_plain_one_runs_beside_the_loop(compass: MemvidVectorStore) -> None:
    threads: list[int] = []

    def noting(query: str, texts: list[str]) -> list[int]:
        threads.append(threading.get_ident())
        return by_length(query, texts)

    waiting = MemvidRetriever(vectorstore=compass, k=1, reranker=by_length_async)
    assert ids(await waiting.ainvoke("east")) == ["almost east"]
    with pytest.raises(InvalidInputError, match="coroutine function"):
        waiting.invoke("east")
    await MemvidRetriever(vectorstore=compass, reranker=noting).ainvoke("east")
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], "shape"),
        ([[1.0]] * 5, "shape"),
        (["high"] * 5, "one number"),
        (None, "one number"),
        ([math.nan] * 5, "nan"),
    ],
)
async def test_scores_that_are_none_are_refused(compass: MemvidVectorStore, scores: Any, message: str) -> None:
    retriever = MemvidRetriever(vectorstore=compass, k=5, reranker=lambda query, texts: scores)
    with pytest.raises(InvalidInputError, match=message):
        retriever.invoke("east")
    with pytest.raises(InvalidInputError, match=message):
        await retriever.ainvoke("east")


def test_equal_scores_keep_the_order_of_the_search(compass: MemvidVectorStore) -> None:
    retriever = MemvidRetriever(vectorstore=compass, k=3, reranker=lambda query, texts: [0.0] * len(texts))
    assert ids(retriever.invoke("east")) == ["east", "almost east", "north-east"]
