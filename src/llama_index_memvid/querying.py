"""Querying: a LlamaIndex query becomes a checked question, and the question returns hits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from llama_index.core.indices.query.embedding_utils import get_top_k_embeddings_learner
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult

from llama_index_memvid.filters import both, to_where
from llama_index_memvid.nodes import REF_DOC, hit_node
from llama_index_memvid.options import check_options
from memvid_core import DimensionError, FilterError, Hit, InvalidInputError, Library, Memory, QueryError

__all__ = ["NodeSearch", "to_result"]

Mode = VectorStoreQueryMode

_BY_WORDS: Final = {Mode.SPARSE, Mode.TEXT_SEARCH}
_BY_BOTH: Final = {Mode.HYBRID, Mode.SEMANTIC_HYBRID}
_LEARNERS: Final = {Mode.SVM, Mode.LINEAR_REGRESSION, Mode.LOGISTIC_REGRESSION}
_OF_THE_CORE: Final = ("unique", "passage", "rerank", "fuzzy", "synonyms")  # passed to the memory unchanged
_OPTIONS: Final = ("where", "mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k", *_OF_THE_CORE)
_PREFETCH: Final = (4, 20)  # candidates of MMR: a multiple of k, and the minimum
_RERANKED: Final = 50  # minimum number of candidates of SEMANTIC_HYBRID


@dataclass(frozen=True)
class NodeSearch:
    """Describe a checked query: ``k`` hits of ``depth`` candidates in ``where``, by words, by a vector, or by both."""

    mode: Mode
    k: int
    depth: int
    where: dict[str, Any]
    text: str | None
    embedding: Any
    alpha: float | None
    mmr_threshold: float
    with_vectors: bool
    options: dict[str, Any]

    @classmethod
    def of(cls, query: VectorStoreQuery, options: Mapping[str, Any]) -> NodeSearch:
        """Combine a query and the options of a call.

        Raises:
            QueryError: The mode is unknown, or a number is invalid.
            FilterError: The filter is invalid.
            InvalidInputError: ``mmr_prefetch_factor`` and ``mmr_prefetch_k`` are both given.
            TypeError: An option is unknown.
        """
        check_options("query", options, _OPTIONS)
        mode = _mode(query.mode)
        k = _count(query.similarity_top_k, "similarity_top_k")
        if mode in _BY_BOTH and query.hybrid_top_k is not None:
            k = _count(query.hybrid_top_k, "hybrid_top_k")
        threshold = options.get("mmr_threshold")  # the call's option overrides the query's, as in LlamaIndex
        threshold = query.mmr_threshold if threshold is None else threshold
        text = query.query_str if query.query_str and query.query_str.strip() else None
        return cls(
            mode=mode,
            k=k,
            depth=max(k, _depth(mode, k, query, options)),
            where=both(scope_of(query), to_where(query.filters), _where(options.get("where"))),
            text=text,
            embedding=query.query_embedding,
            alpha=query.alpha,
            mmr_threshold=_threshold(threshold),
            with_vectors="embedding" in (query.output_fields or ()),
            options=_passed_on(mode, options),
        )

    @property
    def lists(self) -> bool:
        """Whether the question has only a filter."""
        return self.text is None and self.embedding is None and bool(self.where)

    def to_embed(self, memory: Memory | Library) -> str | None:
        """Return the text to embed before :meth:`hits`, if the mode needs a vector and none is given; else None."""
        wanted = self.embedding is None and self.mode not in _BY_WORDS and memory.embedder is not None
        return self.text if wanted else None

    def hits(self, memory: Memory | Library) -> list[Hit]:
        """Return the hits, best first.

        Raises:
            QueryError: The mode needs words or a vector that the query does not have.
            DimensionError: The vector has the wrong dimension.
        """
        if self.lists:
            return [Hit(record, 1.0, rank) for rank, record in enumerate(memory.select(self.where, limit=self.k))]
        if self.mode in _BY_WORDS:
            return memory.search(
                self._words(), self.k, self.where, "lexical", with_vectors=self.with_vectors, **self.options
            )
        if self.mode in _BY_BOTH:
            return self._hybrid(memory)
        if self.mode in _LEARNERS:
            return self._learned(memory)
        return self._nearest(memory, self.where)

    def _nearest(self, memory: Memory | Library, where: dict[str, Any]) -> list[Hit]:
        """Search by the vector; passages need the words, too."""
        query = vector = self._vector()
        options: dict[str, Any] = {"with_vectors": self.with_vectors, **self.options}
        if self.mode is Mode.MMR and "rerank" in options:
            raise QueryError("mode 'mmr' has no option 'rerank'; use another mode")
        if options.keys() & {"passage", "rerank"}:
            query, options["embedding"] = self._words(), vector
        if self.mode is Mode.MMR:
            options |= {"fetch_k": self.depth, "lambda_mult": self.mmr_threshold}
            return memory.mmr(query, self.k, where, "dense", **options)
        return memory.search(query, self.k, where, "dense", **options)

    def _words(self) -> str:
        if self.text is None:
            raise QueryError(f"mode {self.mode.value!r} needs words, but query_str is {self.text!r}")
        return self.text

    def _vector(self) -> Any:
        if self.embedding is None:
            raise QueryError(
                f"mode {self.mode.value!r} needs query_embedding: this memory was opened without an embedder for "
                "query_str, and a query without either needs filters to list by"
            )
        return self.embedding

    def _hybrid(self, memory: Memory | Library) -> list[Hit]:
        """Search by words and vectors and fuse the rankings; SEMANTIC_HYBRID then ranks the hits by vectors alone."""
        words, vector, where = self._words(), self._vector(), self.where
        options: dict[str, Any] = {"alpha": self.alpha, "embedding": vector, **self.options}
        options["with_vectors"] = self.with_vectors and self.mode is Mode.HYBRID
        found = memory.search(words, self.depth, where, "hybrid", **options)
        if self.mode is Mode.SEMANTIC_HYBRID:
            where = both(where, {"$id": {"$in": [hit.id for hit in found]}})
            return self._nearest(memory, where)
        return found[: self.k]

    def _learned(self, memory: Memory | Library) -> list[Hit]:
        """Rank records by a classifier that is trained on the query as its only positive example."""
        found = [(record, stored) for record, stored in memory.select_with_vectors(self.where) if stored is not None]
        records = {record.id: record for record, _ in found}
        stored = {record.id: vector for record, vector in found}
        ids = list(records)
        if not ids or not self.k:
            return []
        vector: Any = np.asarray(self._vector(), np.float64)
        matrix: Any = np.stack([np.asarray(stored[record_id], np.float64) for record_id in ids])
        if vector.shape != matrix.shape[1:]:
            raise DimensionError(
                f"the query has {vector.size} components, but this memory's vectors have {matrix.shape[1]}"
            )
        if self.mode is Mode.LINEAR_REGRESSION:
            scores, best = _linear(vector, matrix, self.k, ids)
        else:
            scores, best = get_top_k_embeddings_learner(
                vector, matrix, similarity_top_k=self.k, embedding_ids=ids, query_mode=self.mode
            )
        return [
            Hit(records[record_id], float(score), rank, None, stored[record_id])
            for rank, (record_id, score) in enumerate(zip(best, scores, strict=True))
        ]


def scope_of(query: VectorStoreQuery) -> dict[str, Any]:
    """Return the filter for the nodes that a query names, apart from its filters.

    ``node_ids=[]`` does not restrict the query: ``as_retriever()`` passes it to stores that keep texts. ``doc_ids=[]``
    matches nothing.
    """
    by_node = {"$id": {"$in": list(query.node_ids)}} if query.node_ids else {}
    by_document = {REF_DOC: {"$in": list(query.doc_ids)}} if query.doc_ids is not None else {}
    return both(by_node, by_document)


def to_result(question: NodeSearch, hits: list[Hit]) -> VectorStoreQueryResult:
    """Return nodes, ids and similarities: cosines for a vector search, scores in [0, 1] for lexical and hybrid search.

    With another metric than cosine, a vector search has scores in [0, 1] too.
    """
    with_vectors, cosines = question.with_vectors, question.mode not in _BY_WORDS | {Mode.HYBRID}
    return VectorStoreQueryResult(
        nodes=[hit_node(hit, hit.vector if with_vectors else None) for hit in hits],
        similarities=[hit.cosine if cosines and hit.cosine is not None else hit.score for hit in hits],
        ids=[hit.id for hit in hits],
    )


def _passed_on(mode: Mode, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a search of the memory takes.

    Raises:
        QueryError: The mode does not have them.
    """
    found = {name: options[name] for name in _OF_THE_CORE if options.get(name) is not None}
    if found and mode in _LEARNERS:
        raise QueryError(f"mode {mode.value!r} has no option {next(iter(found))!r}; use another mode")
    return found


def _where(chosen: object) -> dict[str, Any]:
    if chosen is not None and not isinstance(chosen, Mapping):
        raise FilterError(f"where must be a dict in the filter language, not a value of type {type(chosen).__name__}")
    return dict(chosen or {})


def _mode(given: object) -> Mode:
    try:
        return Mode(given)
    except ValueError as exc:
        known = ", ".join(mode.value for mode in Mode)
        raise QueryError(f"mode {given!r} is not supported; use one of {known}") from exc


def _count(number: object, name: str) -> int:
    if type(number) is not int or number < 0:
        raise QueryError(f"{name} must be an integer of 0 or more, not {number!r}")
    return number


def _threshold(threshold: object) -> float:
    if threshold is None:
        return 0.5
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise QueryError(f"mmr_threshold must be a number from 0 to 1, not {threshold!r}")
    return float(threshold)


def _depth(mode: Mode, k: int, query: VectorStoreQuery, options: Mapping[str, Any]) -> int:
    """Return the number of candidates."""
    factor, prefetch = options.get("mmr_prefetch_factor"), options.get("mmr_prefetch_k")
    if factor is not None and prefetch is not None:
        raise InvalidInputError("give either mmr_prefetch_factor or mmr_prefetch_k, not both")
    if factor is not None and not (type(factor) in (int, float) and 0 <= factor < math.inf):
        raise QueryError(f"mmr_prefetch_factor must be a number of 0 or more, not {factor!r}")
    if prefetch is not None:
        prefetch = _count(prefetch, "mmr_prefetch_k")
    if mode is Mode.MMR:
        return int(k * factor) if factor is not None else prefetch or max(_PREFETCH[0] * k, _PREFETCH[1])
    if mode is Mode.SEMANTIC_HYBRID:
        return max(query.similarity_top_k, query.sparse_top_k or 0, _RERANKED)
    return max(query.similarity_top_k, query.sparse_top_k or 0)


def _linear(vector: Any, matrix: Any, k: int, ids: list[str]) -> tuple[list[float], list[str]]:
    """Rank nodes by linear regression, which ``get_top_k_embeddings_learner`` offers but does not implement.

    Uses ridge regression: with fewer nodes than components, least squares fits every node exactly and cannot rank them.
    """
    from sklearn.linear_model import Ridge

    learner = Ridge().fit(np.vstack([vector, matrix]), np.eye(1, len(matrix) + 1)[0])
    scores = learner.predict(matrix)
    best = np.argsort(-scores, kind="stable")[:k]
    return scores[best].tolist(), [ids[place] for place in best.tolist()]
