"""Embedders: adapters for external models, and a built-in embedder that needs no model."""

from memvid_core.embedding.adapters import (
    CallableEmbedder,
    EncodeEmbedder,
    LangChainEmbedder,
    LlamaIndexEmbedder,
)
from memvid_core.embedding.builtin import HashingEmbedder
from memvid_core.embedding.identity import same_embedder
from memvid_core.embedding.models import load_model
from memvid_core.embedding.protocol import check_vector, check_vectors
from memvid_core.embedding.resolve import as_embedder, choose_embedder

__all__ = [
    "CallableEmbedder",
    "EncodeEmbedder",
    "HashingEmbedder",
    "LangChainEmbedder",
    "LlamaIndexEmbedder",
    "as_embedder",
    "check_vector",
    "check_vectors",
    "choose_embedder",
    "load_model",
    "same_embedder",
]
