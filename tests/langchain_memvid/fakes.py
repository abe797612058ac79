"""Embeddings for tests: vectors that can be reckoned by hand, and calls that are counted."""

from __future__ import annotations

import threading
from collections import Counter

from langchain_core.embeddings import Embeddings
from typing_extensions import override


class TableEmbeddings(Embeddings):
    """The vector that a table names for a text, in two dimensions; (1, 0) for any other."""

    def __init__(self, table: dict[str, list[float]] | None = None) -> None:
        self.table = table or {}

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    @override
    def embed_query(self, text: str) -> list[float]:
        return self.table.get(text, [1.0, 0.0])


class CountedEmbeddings(TableEmbeddings):
    """Counts calls by name, and notes the threads they came in."""

    def __init__(self, table: dict[str, list[float]] | None = None) -> None:
        super().__init__(table)
        self.calls: Counter[str] = Counter()
        self.threads: set[int] = set()

    def _count(self, name: str) -> None:
        self.calls[name] += 1
        self.threads.add(threading.get_ident())

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self._count("embed_documents")
        return [self.table.get(text, [1.0, 0.0]) for text in texts]

    @override
    def embed_query(self, text: str) -> list[float]:
        self._count("embed_query")
        return self.table.get(text, [1.0, 0.0])

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self._count("aembed_documents")
        return [self.table.get(text, [1.0, 0.0]) for text in texts]

    @override
    async def aembed_query(self, text: str) -> list[float]:
        self._count("aembed_query")
        return self.table.get(text, [1.0, 0.0])


COMPASS = {
    "east": [1.0, 0.0],
    "almost east": [0.98, 0.199],
    "north-east": [1.0, 1.0],
    "north": [0.0, 1.0],
    "west": [-1.0, 0.0],
}
"""Texts as points of the compass: the cosine of two of them can be read off."""

AGENTS = (
    *("langchain.agents", "langchain_memvid", "langchain_memvid.agents"),
    *("numpy.random", "tests.langchain_memvid.agents.fakes"),
)
"""The modules that processes of agents import."""
