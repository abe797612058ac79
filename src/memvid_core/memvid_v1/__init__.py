"""The API of Memvid v1's guide, implemented on a memory: encoder, retriever, chat.

Each class is a thin layer over one :class:`~memvid_core.Memory`; ``docs/memvid_v1.md`` lists the differences from
Memvid.

>>> encoder = MemvidEncoder()
>>> encoder.add_text("A wing turns the flow of air into lift.", metadata={"source": "wings.md"})
1
>>> encoder.build_video("memory.mp4", "memory_index.json")["total_chunks"]
1
>>> with MemvidRetriever("memory.mp4", "memory_index.json") as retriever:
...     [(chunk, score)] = retriever.search("lift of a wing")
>>> chunk, score > 0.5
('A wing turns the flow of air into lift.', True)
"""

from memvid_core.memvid_v1.chat import MemvidChat, chat_with_memory, quick_chat
from memvid_core.memvid_v1.client import LLMClient, create_llm_client
from memvid_core.memvid_v1.encoder import MemvidEncoder
from memvid_core.memvid_v1.pairs import PairReport, import_pair
from memvid_core.memvid_v1.retriever import MemvidRetriever

__all__ = [
    "LLMClient",
    "MemvidChat",
    "MemvidEncoder",
    "MemvidRetriever",
    "PairReport",
    "chat_with_memory",
    "create_llm_client",
    "import_pair",
    "quick_chat",
]
