"""A memory in one MP4 file as a LlamaIndex vector store, memory block and chat store.

>>> from llama_index.core import Document, StorageContext, VectorStoreIndex
>>> store = MemvidVectorStore()
>>> index = VectorStoreIndex.from_documents(
...     [Document(text="the wing lifts"), Document(text="the engine hums")],
...     StorageContext.from_defaults(vector_store=store),
...     embed_model=MemvidEmbedding(),
... )
>>> index.as_retriever(similarity_top_k=1).retrieve("a lifting wing")[0].text
'the wing lifts'
"""

from memvid_core import MissingExtraError

try:
    import llama_index.core
except ImportError as exc:
    raise MissingExtraError(
        'llama_index_memvid needs llama-index-core, which is not installed: pip install "memvid-core[llama-index]"'
    ) from exc

from llama_index_memvid.chat_store import MemvidChatStore
from llama_index_memvid.embedding import MemvidEmbedding
from llama_index_memvid.memory_block import MemvidMemoryBlock
from llama_index_memvid.vectorstore import MemvidVectorStore

__all__ = ["MemvidChatStore", "MemvidEmbedding", "MemvidMemoryBlock", "MemvidVectorStore"]

del MissingExtraError, llama_index


__version__: str


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("memvid-core")
