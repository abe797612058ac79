"""A memory in one MP4 file as a LangChain vector store.

>>> from langchain_core.documents import Document
>>> from langchain_memvid import MemvidVectorStore
>>> store = MemvidVectorStore.from_documents([Document("the wing lifts"), Document("the engine hums")])
>>> store.similarity_search("a lifting wing", k=1)[0].page_content
'the wing lifts'
"""

from __future__ import annotations

import importlib
import typing

try:
    import langchain_core
except ImportError as exc:
    from memvid_core import MissingExtraError

    raise MissingExtraError(
        'langchain_memvid needs langchain-core, which is not installed: pip install "memvid-core[langchain]"'
    ) from exc

if typing.TYPE_CHECKING:
    from langchain_memvid.documents import Filter
    from langchain_memvid.embeddings import MemvidEmbeddings
    from langchain_memvid.retriever import MemvidRetriever
    from langchain_memvid.search import RetrievalMode
    from langchain_memvid.translator import MemvidTranslator
    from langchain_memvid.vectorstore import MemvidVectorStore

__version__: str

__all__ = [
    "Filter",
    "MemvidEmbeddings",
    "MemvidRetriever",
    "MemvidTranslator",
    "MemvidVectorStore",
    "RetrievalMode",
]

# Names are loaded on first use, as in langchain-core: most programs need only some of them.
_MODULES = {
    "Filter": "documents",
    "MemvidEmbeddings": "embeddings",
    "MemvidRetriever": "retriever",
    "MemvidTranslator": "translator",
    "MemvidVectorStore": "vectorstore",
    "RetrievalMode": "search",
}

del langchain_core


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        value = importlib.import_module("importlib.metadata").version("memvid-core")
    elif name in _MODULES:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
