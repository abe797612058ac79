"""Models to adapt, small and real: each gives equal vectors for equal texts, whichever way it is asked."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

WIDTH = 12
TEXTS = ["the wing lifts", "두 번째 문장", "🙂", "the wing lifts"]


def vector(text: str) -> list[float]:
    """A direction that depends on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=WIDTH).digest()
    return [float(value) - 127.5 for value in digest]


class Sentences:
    """As a SentenceTransformer: ``encode`` gives a matrix, and there is no async form."""

    def __init__(self, model_name: str = "sample-model") -> None:
        self.model_name = model_name
        self.calls: list[str] = []

    def encode(self, sentences: list[str], **options: Any) -> np.ndarray:
        self.calls.append("encode")
        return np.array([vector(text) for text in sentences], np.float32)

    def get_sentence_embedding_dimension(self) -> int:
        return WIDTH


class Prompted(Sentences):
    """As a SentenceTransformer with prompts, which embeds questions in another way."""

    def encode_query(self, sentences: list[str]) -> np.ndarray:
        self.calls.append("encode_query")
        return self.encode(sentences)

    def encode_document(self, sentences: list[str]) -> np.ndarray:
        self.calls.append("encode_document")
        return self.encode(sentences)


class Embeddings:
    """As LangChain's ``Embeddings``, with no framework behind it; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append("embed_documents")
        return [vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.calls.append("embed_query")
        return vector(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append("aembed_documents")
        return [vector(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        self.calls.append("aembed_query")
        return vector(text)
