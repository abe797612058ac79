"""The options that several methods of the store share, as types: a type checker then finds a misspelt one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from typing_extensions import TypedDict

from langchain_memvid.documents import Filter
from memvid_core import GivenSynonyms, Index, Memory, Metric, Recency

__all__ = [
    "AddOptions",
    "CreateOptions",
    "FilteredOptions",
    "NoOptions",
    "OpenOptions",
    "RetrievalMode",
    "SearchOptions",
    "StoreSearch",
    "VectorDtype",
]

RetrievalMode = Literal["dense", "hybrid", "lexical"]
"""By vector, by vector and words together, or by words."""
VectorDtype = Literal["float16", "float32", "float64", "int8", "none"]
"""How vectors are stored."""


class SearchOptions(TypedDict, total=False):
    """Options of every search other than ``k`` and ``filter``, as :class:`MemvidVectorStore` describes it."""

    retrieval_mode: RetrievalMode | None
    score_threshold: float | np.floating[Any] | None
    alpha: float | None
    fusion: Literal["score", "rank"] | None
    recency: Recency | None
    unique: bool
    passage: int | None
    fuzzy: bool
    synonyms: GivenSynonyms | None


class StoreSearch(TypedDict, total=False):
    """How a store answers queries, as :meth:`memvid_core.Memory.search` describes it."""

    min_relevance: float | None
    unique: bool
    alpha: float | None
    fusion: Literal["score", "rank"]
    rerank: Callable[[str, list[str]], Sequence[float]] | str | None
    fuzzy: bool
    synonyms: GivenSynonyms | None


class FilteredOptions(SearchOptions, total=False):
    """Search options with the filter."""

    filter: Filter | None


class NoOptions(TypedDict):
    """No options: any option is a type error, and raises an error at runtime."""


class AddOptions(TypedDict, total=False):
    """Options of methods that add, other than texts, metadata and ids."""

    vectors: Sequence[Sequence[float] | None] | None
    batch_size: int | None


class OpenOptions(TypedDict, total=False):
    """Options of :class:`MemvidVectorStore` other than the embedding and the path."""

    mode: Literal["a", "r"]
    vector_dtype: VectorDtype | None
    codec: str
    index_dir: str | os.PathLike[str] | None
    retrieval_mode: RetrievalMode | None
    memory: Memory | None
    index: Index
    metric: Metric | None
    timeout: float
    storage_options: Mapping[str, Any] | None
    fs: object


class CreateOptions(OpenOptions, total=False):
    """Options of :class:`MemvidVectorStore` other than the embedding."""

    path: str | os.PathLike[str]
