"""The options that several methods of the store share, as types: a type checker then finds a misspelt one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from llama_index.core.callbacks import CallbackManager
from typing_extensions import TypedDict

from memvid_core import GivenSynonyms, Index, Memory, Metric, Rerank

__all__ = [
    "AnywhereOptions",
    "EmbeddingOptions",
    "NoOptions",
    "OpenOptions",
    "QueryOptions",
    "ReopenOptions",
    "VectorDtype",
]

VectorDtype = Literal["float16", "float32", "float64", "int8"]
"""How embeddings are stored."""


class NoOptions(TypedDict):
    """No options: any option is a type error, and raises an error at runtime."""


class EmbeddingOptions(TypedDict, total=False):
    """The fields of LlamaIndex's ``BaseEmbedding``."""

    model_name: str
    embed_batch_size: int
    callback_manager: CallbackManager
    num_workers: int | None
    embeddings_cache: Any
    rate_limiter: Any


class QueryOptions(TypedDict, total=False):
    """The ``vector_store_kwargs`` of a query, as :class:`MemvidVectorStore` describes them."""

    where: Mapping[str, Any] | None
    mmr_threshold: float | None
    mmr_prefetch_factor: float | None
    mmr_prefetch_k: int | None
    unique: bool
    passage: int | None
    rerank: Rerank | str | None
    fuzzy: bool
    synonyms: GivenSynonyms | None


class ReopenOptions(TypedDict, total=False):
    """Options of :class:`MemvidVectorStore` other than the path, the mode and the file system."""

    embedder: object
    vector_dtype: VectorDtype | None
    codec: str
    index_dir: str | os.PathLike[str] | None
    memory: Memory | None
    index: Index
    metric: Metric | None
    timeout: float
    storage_options: Mapping[str, Any] | None


class OpenOptions(ReopenOptions, total=False):
    """Options of :class:`MemvidVectorStore` other than the path and the file system."""

    mode: Literal["a", "r"]


class AnywhereOptions(OpenOptions, total=False):
    """Options of :class:`MemvidVectorStore` other than the path."""

    fs: object
