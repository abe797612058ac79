"""What an earlier version stored for LlamaIndex is found, continued and changed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage

from llama_index_memvid import MemvidChatStore, MemvidEmbedding, MemvidVectorStore
from tests.llama_index_memvid.golden.content import DOCUMENTS, FOLDER, MESSAGES


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copy(FOLDER / f"{name}-1.mp4", tmp_path))


def test_nodes(copied: Callable[[str], Path]) -> None:
    with MemvidVectorStore(path=copied("nodes")) as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=MemvidEmbedding())
        for document in DOCUMENTS:
            found = index.as_retriever(similarity_top_k=1).retrieve(document.text)[0].node
            assert (found.get_content(), found.metadata) == (document.text, document.metadata)
            assert found.ref_doc_id == document.doc_id
        index.insert(Document(text="The tail steers.", id_="tail"))
        index.delete_ref_doc("wing")
        left = {node.get_content() for node in store.get_nodes()}
        assert left == {"서울의 봄은 짧다.", "The tail steers."}


async def test_a_conversation(copied: Callable[[str], Path]) -> None:
    with MemvidChatStore(copied("chats")) as chats:
        assert await chats.get_messages("monday") == MESSAGES
        await chats.add_message("monday", ChatMessage("Thanks."))
        assert len(await chats.get_messages("monday")) == len(MESSAGES) + 1


def test_the_files_are_the_ones_that_were_released() -> None:
    digests = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in FOLDER.glob("*.mp4")}
    assert digests == {"nodes-1": "f405038d2236b85d", "chats-1": "f9028fcf6c3cb504"}
