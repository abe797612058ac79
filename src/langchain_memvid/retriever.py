"""MemvidRetriever: a store as a LangChain retriever with its own options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, ParamSpec, Self, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict, Field, model_validator
from typing_extensions import override

from langchain_memvid.opening import is_path
from langchain_memvid.options import check_options
from langchain_memvid.parameters import RetrievalMode
from langchain_memvid.reranking import arerank, rerank, to_reranker
from langchain_memvid.search import check_threshold
from langchain_memvid.vectorstore import MemvidVectorStore
from memvid_core import Index, run_in_thread

__all__ = ["MemvidRetriever"]

P = ParamSpec("P")
T = TypeVar("T")

_ASKING = (
    "k",
    "search_type",
    "retrieval_mode",
    "filter",
    "score_threshold",
    "fetch_k",
    "lambda_mult",
    "alpha",
    "unique",
    "passage",
    "fuzzy",
    "synonyms",
)


class MemvidRetriever(BaseRetriever):
    """Find documents in a memory. Each field can also be overridden in a single ``invoke``.

    In a coroutine, ``async with await MemvidRetriever.aopen(path=...) as retriever`` does not block the event loop.

    Example:
        >>> store = MemvidVectorStore.from_texts(["the wing lifts", "the engine hums"])
        >>> retriever = MemvidRetriever(vectorstore=store, k=2)
        >>> [document.page_content for document in retriever.invoke("a lifting wing", k=1)]
        ['the wing lifts']
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")  # a mistyped filter must not be ignored

    vectorstore: MemvidVectorStore = Field(default=None)  # type: ignore[assignment]
    """The store to search; alternatively give ``path``."""
    path: str | os.PathLike[str] | None = None
    """The file of a memory, or its URL, opened for reading if ``vectorstore`` is not given."""
    embedding: Any = None
    """The embedder that wrote the file at ``path``; None for the built-in one."""
    index: Index = "auto"
    """How vectors are searched in the file at ``path``, as in ``Memory.open``."""
    timeout: float = 30.0
    """How many seconds the store at ``path`` waits for other processes."""
    storage_options: Mapping[str, Any] | None = Field(default=None, repr=False, exclude=True)
    """Options of fsspec's file system, if ``path`` is a URL."""
    fs: Any = Field(default=None, repr=False, exclude=True)
    """A file system of fsspec in which ``path`` is."""
    k: int = Field(default=4, ge=0)
    """The maximum number of documents."""
    search_type: Literal["similarity", "mmr", "similarity_score_threshold"] = "similarity"
    """As in LangChain's ``VectorStoreRetriever``."""
    retrieval_mode: RetrievalMode | None = None
    """``"dense"``, ``"hybrid"`` or ``"lexical"``; None uses the store's mode."""
    filter: Mapping[str, Any] | Callable[[Document], bool] | None = None
    """A dict in the filter language, or a function of a document."""
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    """The minimum relevance; required by ``similarity_score_threshold``."""
    fetch_k: int = Field(default=20, ge=0)
    """The number of candidates from which maximal marginal relevance or a reranker selects."""
    lambda_mult: float = Field(default=0.5, ge=0, le=1)
    """For ``mmr``: 1 ranks by relevance alone, 0 maximizes diversity."""
    alpha: float | None = Field(default=None, ge=0, le=1)
    """For hybrid search: the weight of the dense ranking, from 0 to 1."""
    unique: bool | None = None
    """Whether texts that occur several times are returned once."""
    passage: int | None = Field(default=None, ge=1)
    """The maximum length in characters: documents are then passages of texts. A reranker gets the passages."""
    fuzzy: bool | None = None
    """Whether words that no record has are replaced by near words; None and True do."""
    synonyms: Any = None
    """Words that mean the same: the path of a file, or a dict, as in ``Memory.search``."""
    reranker: Any = None
    """A LangChain document compressor, a function ``(query, texts) -> scores``, async or not, or the name of a model.

    The names are those of ``rerank=`` in ``Memory.search``.
    """

    @model_validator(mode="before")
    @classmethod
    def _opened(cls, values: dict[str, Any]) -> dict[str, Any]:
        store, path = values.get("vectorstore"), values.get("path")
        check_options("MemvidRetriever", values, cls.model_fields)
        if is_path(store):
            raise ValueError(f"{store!r} is a path, not a vectorstore: pass path={store!r}")
        check_threshold(values.get("score_threshold"))
        if store is None and path is None:
            raise ValueError("give a vectorstore, or the path of a memory")
        if path is None or (store is not None and store.memory.path == os.fspath(path)):  # a copy has both
            return values
        if store is not None:
            raise ValueError("give either a vectorstore or the path of a memory, not both")
        options = {name: values[name] for name in ("timeout", "index", "storage_options", "fs") if name in values}
        return values | {"vectorstore": MemvidVectorStore(values.get("embedding"), path=path, mode="r", **options)}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.search_type == "similarity_score_threshold" and self.score_threshold is None:
            raise ValueError("search_type 'similarity_score_threshold' needs a score_threshold from 0 to 1")
        if self.reranker is not None:
            to_reranker(self.reranker)
        return self

    def _asked(self, changes: dict[str, Any]) -> tuple[dict[str, Any], int, Any]:
        """Return the options for the store, the number of documents to keep, and the reranker, if any."""
        check_options("invoke", changes, (*_ASKING, "reranker", "fusion", "recency", "verbose"))
        options = {name: value for name in _ASKING if (value := getattr(self, name)) is not None} | changes
        reranker = options.pop("reranker", self.reranker)
        k = options["k"]
        if reranker is not None:
            reranker = to_reranker(reranker)
            options["k"] = max(k, options["fetch_k"]) if k else 0
        return options, k, reranker

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        asked, k, reranker = self._asked(options)
        found = self.vectorstore.search(query, **asked)
        return found if reranker is None else rerank(reranker, query, found, run_manager.get_child())[:k]

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        asked, k, reranker = self._asked(options)
        found = await self.vectorstore.asearch(query, **asked)
        return found if reranker is None else (await arerank(reranker, query, found, run_manager.get_child()))[:k]

    @override
    def _get_ls_params(self, **options: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**options)
        embeddings = self.vectorstore.embeddings
        params["ls_vector_store_provider"] = type(self.vectorstore).__name__
        if embeddings is not None:
            params["ls_embedding_provider"] = type(embeddings).__name__
        return params

    @classmethod
    async def aopen(cls: Callable[P, T], *arguments: P.args, **fields: P.kwargs) -> T:
        """Create a retriever without blocking the event loop; takes the class's fields."""
        return await run_in_thread(partial(cls, *arguments, **fields))

    def close(self) -> None:
        """Close the store that was opened for ``path``. A ``vectorstore`` that was passed in stays open."""
        if self.path is not None:
            self.vectorstore.close()

    async def aclose(self) -> None:
        """Async :meth:`close`."""
        if self.path is not None:
            await self.vectorstore.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
