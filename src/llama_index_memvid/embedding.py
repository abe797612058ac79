"""Embedders of the core as LlamaIndex embedding models."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from typing_extensions import Unpack, override

from llama_index_memvid.parameters import EmbeddingOptions
from memvid_core import Embedder, LlamaIndexEmbedder, as_embedder

__all__ = ["MemvidEmbedding", "to_embed_model"]


class MemvidEmbedding(BaseEmbedding):
    """Use the built-in offline embedder, or any other that :func:`memvid_core.as_embedder` takes, in LlamaIndex.

    Args:
        embedder: Anything ``as_embedder`` takes. None selects the built-in embedder, which needs no model and no
            network.
        options: Options of ``BaseEmbedding``.

    Example:
        >>> len(MemvidEmbedding().get_query_embedding("the wing lifts"))
        384
    """

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: object = None, **options: Unpack[EmbeddingOptions]) -> None:
        made = as_embedder(embedder)
        chosen: dict[str, Any] = {"model_name": made.name, "embed_batch_size": 1024, **options}
        super().__init__(**chosen)
        self._embedder = made

    @classmethod
    @override
    def class_name(cls) -> str:
        return "MemvidEmbedding"

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        BaseModel.__setstate__(self, state)  # LlamaIndex would construct it again, without the embedder's learned state

    @property
    def embedder(self) -> Embedder:
        """The embedder of the core."""
        return self._embedder

    @override
    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.embed_query(query).tolist()  # type: ignore[no-any-return]

    @override
    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    @override
    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.embed_documents(texts).tolist()  # type: ignore[no-any-return]

    @override
    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._embedder.aembed_query(query)).tolist()  # type: ignore[no-any-return]

    @override
    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    @override
    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await self._embedder.aembed_documents(texts)).tolist()  # type: ignore[no-any-return]


def to_embed_model(embedder: Embedder | None) -> BaseEmbedding | None:
    """Return the embedding model of a memory: the model that was passed in, or a wrapper of a core embedder."""
    if embedder is None:
        return None
    if isinstance(embedder, LlamaIndexEmbedder) and isinstance(embedder.model, BaseEmbedding):
        return embedder.model
    return MemvidEmbedding(embedder)
