"""Write the golden files: ``python -m tests.langchain_memvid.golden``. Only if what is stored changes."""

from __future__ import annotations

from langchain_core.documents import Document

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidSaver, MemvidStore
from tests.langchain_memvid.golden.content import ASKED, DOCUMENTS, FOLDER, ITEMS, THREAD, graph

with MemvidVectorStore(path=FOLDER / "documents-1.mp4") as documents:
    documents.add_documents([Document(text, id=name, metadata=metadata) for name, text, metadata in DOCUMENTS])
with MemvidStore(FOLDER / "store-1.mp4") as store:
    for namespace, key, value in ITEMS:
        store.put(namespace, key, value)
    store.put(("users", "ada"), "gone", {"text": "This one is deleted."})
    store.delete(("users", "ada"), "gone")
with MemvidSaver(FOLDER / "saver-1.mp4") as saver:
    graph(saver).invoke(ASKED, THREAD)
