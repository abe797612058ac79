"""Embedders of the core as LangChain embeddings."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from typing_extensions import override

from memvid_core import Embedder, LangChainEmbedder, as_embedder

__all__ = ["MemvidEmbeddings", "to_embeddings"]


class MemvidEmbeddings(Embeddings):
    """Use the built-in offline embedder, or any other that :func:`memvid_core.as_embedder` takes, in LangChain.

    Args:
        embedder: Anything ``as_embedder`` takes. None selects the built-in embedder, which needs no model and no
            network.

    Example:
        >>> len(MemvidEmbeddings().embed_query("the wing lifts"))
        384
    """

    def __init__(self, embedder: object = None) -> None:
        self.embedder: Embedder = as_embedder(embedder)

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embedder.embed_documents(texts).tolist()  # type: ignore[no-any-return]

    @override
    def embed_query(self, text: str) -> list[float]:
        return self.embedder.embed_query(text).tolist()  # type: ignore[no-any-return]

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return (await self.embedder.aembed_documents(texts)).tolist()  # type: ignore[no-any-return]

    @override
    async def aembed_query(self, text: str) -> list[float]:
        return (await self.embedder.aembed_query(text)).tolist()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"MemvidEmbeddings({self.embedder.name!r})"


def to_embeddings(embedder: Embedder | None) -> Embeddings | None:
    """Return the LangChain embeddings of a memory: the object that was passed in, or a wrapper of a core embedder."""
    if embedder is None:
        return None
    return embedder.model if isinstance(embedder, LangChainEmbedder) else MemvidEmbeddings(embedder)
