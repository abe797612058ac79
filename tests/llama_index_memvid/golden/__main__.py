"""Write the golden files: ``python -m tests.llama_index_memvid.golden``. Only if what is stored changes."""

from __future__ import annotations

import asyncio

from llama_index.core import StorageContext, VectorStoreIndex

from llama_index_memvid import MemvidChatStore, MemvidEmbedding, MemvidVectorStore
from tests.llama_index_memvid.golden.content import DOCUMENTS, FOLDER, MESSAGES

with MemvidVectorStore(path=FOLDER / "nodes-1.mp4") as nodes:
    storage = StorageContext.from_defaults(vector_store=nodes)
    VectorStoreIndex.from_documents(DOCUMENTS, storage, embed_model=MemvidEmbedding())
with MemvidChatStore(FOLDER / "chats-1.mp4") as chats:
    asyncio.run(chats.set_messages("monday", MESSAGES))
