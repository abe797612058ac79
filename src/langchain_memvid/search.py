"""Searching: all public search methods share one private search that returns hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, get_args

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from typing_extensions import Unpack, override

from langchain_memvid.documents import Filter, hit_document, to_where
from langchain_memvid.opening import newest
from langchain_memvid.options import check_options
from langchain_memvid.parameters import FilteredOptions, RetrievalMode, SearchOptions
from langchain_memvid.sharing import is_machinery, readable
from langchain_memvid.wording import our_words
from memvid_core import HashingEmbedder, Hit, InvalidInputError, Library, Memory, QueryError, Record, run_in_thread

__all__ = ["RetrievalMode", "Searches", "check_mode", "check_threshold"]

Question = str | Sequence[float]
Scored = list[tuple[Document, float]]

_OF_THE_CORE = (
    "alpha",
    "fusion",
    "recency",
    "unique",
    "passage",
    "fuzzy",
    "synonyms",
)  # passed to the memory unchanged
_UNUSED = ("fetch_k", "lambda_mult", "verbose")  # may be meant for another search_type, or come from a Runnable
_OPTIONS = ("k", "filter", "retrieval_mode", "score_threshold", *_OF_THE_CORE, *_UNUSED)


def check_mode(mode: RetrievalMode) -> RetrievalMode:
    """Check a retrieval mode and return it.

    Raises:
        InvalidInputError: The mode is unknown.
    """
    if mode not in get_args(RetrievalMode):
        raise InvalidInputError(f"retrieval_mode must be 'dense', 'hybrid' or 'lexical', not {mode!r}")
    return mode


def check_threshold(least: object) -> float | None:
    """Check a minimum relevance and return it; None sets no minimum.

    Raises:
        QueryError: It is not a number from 0 to 1.
    """
    if least is None:
        return None
    number = isinstance(least, int | float | np.integer | np.floating) and not isinstance(least, bool)
    if not number or not 0 <= float(least) <= 1:  # type: ignore[arg-type]
        raise QueryError(f"score_threshold must be a number from 0 to 1, not {least!r}")
    return float(least)  # type: ignore[arg-type]


@dataclass(frozen=True)
class DocumentSearch:
    """Describe a checked search: the request to the memory, and the filter on its hits."""

    question: Question
    k: int
    where: Mapping[str, Any] | Callable[[Record], bool] | None
    mode: RetrievalMode
    score_threshold: float | None
    options: dict[str, Any]
    diverse: bool = False

    @property
    def lists(self) -> bool:
        """Whether the query is blank, as when a self-query reads only conditions in a question."""
        return isinstance(self.question, str) and not self.question.strip()

    def listed(self, memory: Memory | Library) -> list[Hit]:
        """Return the records that match the filter in the order they were added, with a score of 1."""
        if isinstance(self.k, bool) or not hasattr(self.k, "__index__") or self.k < 0:
            raise QueryError(f"k must be an integer of 0 or more, not {self.k!r}")
        if callable(self.where):
            accepts = self.where
            every: Iterator[Record] = (one for one in memory if not is_machinery(one) and accepts(one))
        else:
            limit = None if self.options.get("unique") else self.k
            every = iter(memory.select({"$and": [readable(), self.where or {}]}, limit=limit))
        found = islice(_unique(every) if self.options.get("unique") else every, int(self.k))
        return [Hit(record, 1.0, rank) for rank, record in enumerate(found)]

    def _kept(self, hits: list[Hit]) -> list[Hit]:
        least = self.score_threshold
        return hits if least is None else [hit for hit in hits if _relevance(hit) >= least]

    def documents(self, hits: list[Hit]) -> list[Document]:
        """Return the documents of the hits that reach the threshold."""
        return [hit_document(hit) for hit in self._kept(hits)]

    def relevances(self, hits: list[Hit]) -> Scored:
        """Return the same documents with their relevances in [0, 1]."""
        return [(hit_document(hit), _relevance(hit)) for hit in self._kept(hits)]

    def scores(self, hits: list[Hit]) -> Scored:
        """Return the same documents with cosines for a dense search by cosine, and otherwise with scores in [0, 1]."""
        if self.mode != "dense":
            return [(hit_document(hit), hit.score) for hit in self._kept(hits)]
        cosines = [hit.score if hit.cosine is None else hit.cosine for hit in self._kept(hits)]
        return list(zip(self.documents(hits), cosines, strict=True))


def _unique(records: Iterator[Record]) -> Iterator[Record]:
    """Yield the first record of each text; spaces are not compared."""
    known: set[str] = set()
    for record in records:
        text = " ".join(record.text.split())
        if text not in known:
            known.add(text)
            yield record


def _relevance(hit: Hit) -> float:
    """Return the relevance of a hit; a listed record has only a score."""
    return hit.score if hit.relevance is None else hit.relevance


class Searches(VectorStore):
    """The search methods of :class:`MemvidVectorStore`."""

    _held: Memory | Library
    retrieval_mode: RetrievalMode | None

    def _ask(
        self,
        question: Question,
        k: int,
        filter: Filter | None = None,
        *,
        retrieval_mode: RetrievalMode | None = None,
        score_threshold: object = None,
        mmr: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> DocumentSearch:
        check_options("a search", others, _OPTIONS)
        mode, least = self._mode(isinstance(question, str), retrieval_mode), check_threshold(score_threshold)
        options = {name: value for name, value in others.items() if name in _OF_THE_CORE and value is not None}
        return DocumentSearch(question, k, to_where(filter), mode, least, {**options, **(mmr or {})}, mmr is not None)

    def _mode(self, has_words: bool, chosen: RetrievalMode | None) -> RetrievalMode:
        """Return the mode of one call: the call's own, else the store's, else dense, LangChain's similarity.

        With the built-in embedder the default is hybrid, as in the memory itself; without an embedder, lexical.
        """
        mode = chosen or (self.retrieval_mode if has_words else "dense")
        if mode is None:
            mode = self._held.default_mode
            if mode == "hybrid" and not isinstance(self._held.embedder, HashingEmbedder):
                mode = "dense"
        return check_mode(mode)

    def _hits(self, asked: DocumentSearch) -> list[Hit]:
        with our_words():
            held = newest(self._held)
            if asked.lists:
                return asked.listed(held)
            search = held.mmr if asked.diverse else held.search
            return search(asked.question, asked.k, asked.where, asked.mode, **asked.options)

    async def _ahits(self, asked: DocumentSearch) -> list[Hit]:
        with our_words():
            held = self._held if isinstance(self._held, Memory) else await run_in_thread(newest, self._held)
            if asked.lists:
                return await run_in_thread(asked.listed, held)
            search = held.ammr if asked.diverse else held.asearch
            return await search(asked.question, asked.k, asked.where, asked.mode, **asked.options)

    # --- similarity ---

    @override
    def similarity_search(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        asked = self._ask(query, k, filter, **options)
        return asked.documents(self._hits(asked))

    @override
    async def asimilarity_search(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        asked = self._ask(query, k, filter, **options)
        return asked.documents(await self._ahits(asked))

    @override
    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> Scored:
        asked = self._ask(query, k, filter, **options)
        return asked.scores(self._hits(asked))

    @override
    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> Scored:
        asked = self._ask(query, k, filter, **options)
        return asked.scores(await self._ahits(asked))

    @override
    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        asked = self._ask(embedding, k, filter, **options)
        return asked.documents(self._hits(asked))

    @override
    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        asked = self._ask(embedding, k, filter, **options)
        return asked.documents(await self._ahits(asked))

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> Scored:
        """Return the documents nearest to a vector (d,), with cosines, or with scores in [0, 1] for another metric."""
        asked = self._ask(embedding, k, filter, **options)
        return asked.scores(self._hits(asked))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **options: Unpack[SearchOptions]
    ) -> Scored:
        """Async :meth:`similarity_search_with_score_by_vector`."""
        asked = self._ask(embedding, k, filter, **options)
        return asked.scores(await self._ahits(asked))

    # --- relevance: scores in [0, 1] ---

    @override
    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Map a score of the store's default mode to a relevance in [0, 1]; negative cosines become 0.

        A score of another metric, ``1 / (1 + distance)``, is in [0, 1] already and is not changed.
        """
        return (lambda cosine: min(max(cosine, 0.0), 1.0)) if self._mode(True, None) == "dense" else float

    @override
    def similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[FilteredOptions]
    ) -> Scored:
        """Return the documents with their scores in [0, 1], without those below ``score_threshold``."""
        return self._similarity_search_with_relevance_scores(query, k, **options)

    @override
    async def asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[FilteredOptions]
    ) -> Scored:
        """Async :meth:`similarity_search_with_relevance_scores`."""
        return await self._asimilarity_search_with_relevance_scores(query, k, **options)

    @override
    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[FilteredOptions]
    ) -> Scored:
        asked = self._ask(query, k, **options)
        return asked.relevances(self._hits(asked))

    @override
    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Unpack[FilteredOptions]
    ) -> Scored:
        asked = self._ask(query, k, **options)
        return asked.relevances(await self._ahits(asked))

    # --- maximal marginal relevance ---

    @override
    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Unpack[FilteredOptions]
    ) -> list[Document]:
        asked = self._ask(query, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.documents(self._hits(asked))

    @override
    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Unpack[FilteredOptions]
    ) -> list[Document]:
        asked = self._ask(query, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.documents(await self._ahits(asked))

    @override
    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[FilteredOptions],
    ) -> list[Document]:
        asked = self._ask(embedding, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.documents(self._hits(asked))

    @override
    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[FilteredOptions],
    ) -> list[Document]:
        asked = self._ask(embedding, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.documents(await self._ahits(asked))

    def max_marginal_relevance_search_with_score(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Unpack[FilteredOptions]
    ) -> Scored:
        """Search as ``max_marginal_relevance_search``; return documents in order of selection, with their scores."""
        asked = self._ask(query, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.scores(self._hits(asked))

    async def amax_marginal_relevance_search_with_score(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Unpack[FilteredOptions]
    ) -> Scored:
        """Async :meth:`max_marginal_relevance_search_with_score`."""
        asked = self._ask(query, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.scores(await self._ahits(asked))

    def max_marginal_relevance_search_with_score_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[FilteredOptions],
    ) -> Scored:
        """Search as ``max_marginal_relevance_search_by_vector``; return documents as selected, with cosines."""
        asked = self._ask(embedding, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.scores(self._hits(asked))

    async def amax_marginal_relevance_search_with_score_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[FilteredOptions],
    ) -> Scored:
        """Async :meth:`max_marginal_relevance_search_with_score_by_vector`."""
        asked = self._ask(embedding, k, mmr={"fetch_k": fetch_k, "lambda_mult": lambda_mult}, **options)
        return asked.scores(await self._ahits(asked))
