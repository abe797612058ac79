"""A store over a library: nodes come back whole, and what a library cannot do is said."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_memvid import MemvidChatStore, MemvidVectorStore
from memvid_core import InvalidInputError, Library, MemvidError, NotAMemoryError, ReadOnlyError
from tests.llama_index_memvid.some_nodes import chunk


async def test_nodes_are_added_found_and_deleted(tmp_path: Path) -> None:
    nodes = [chunk("one wing", [1.0, 0.0], "doc", page=1), chunk("two engines", [0.0, 1.0], "other", page=2)]
    path = f"{tmp_path}/library/"
    with MemvidVectorStore(path) as store, MemvidVectorStore(str(tmp_path / "one.mp4")) as file:
        assert isinstance(store.client, Library)
        for one in (store, file):
            assert one.add(nodes) == [node.node_id for node in nodes]
            assert await one.async_add([chunk("three", [0.6, 0.8], "doc")])
        assert store.get_nodes() == file.get_nodes()
        for mode in VectorStoreQueryMode:
            query = VectorStoreQuery([0.9, 0.1], similarity_top_k=3, query_str="wing", mode=mode)
            found, wanted = store.query(query), file.query(query)
            assert (found.ids, found.similarities) == (wanted.ids, wanted.similarities)
            assert (await store.aquery(query)).ids == wanted.ids
        store.delete("doc")
        assert [node.node_id for node in store.get_nodes()] == [nodes[1].node_id]
        assert pickle.loads(pickle.dumps(store)).get_nodes() == store.get_nodes()
        await store.aclear()
        assert store.get_nodes() == []


def test_what_it_cannot_do_is_said(tmp_path: Path) -> None:
    path = f"{tmp_path}/library/"
    with MemvidVectorStore(path) as store:
        store.add([chunk("one", [1.0, 0.0], "doc")])
        with pytest.raises(InvalidInputError, match="is a library"):
            assert store.memory
        with pytest.raises(InvalidInputError, match="give either"):
            MemvidVectorStore("other.mp4", memory=store.library)
        with pytest.raises(InvalidInputError, match="must be an open Memory"):
            MemvidChatStore(memory=store.library)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="no option codec"):
        MemvidVectorStore(path, codec="qr")
    with pytest.raises(InvalidInputError, match="by cosine, not by euclidean"):
        MemvidVectorStore(path, metric="euclidean")
    with pytest.raises(MemvidError):
        MemvidChatStore(path)
    with pytest.raises(NotAMemoryError):
        MemvidVectorStore(f"{tmp_path}/nowhere/", mode="r")
    with MemvidVectorStore(path, mode="r") as reader, pytest.raises(ReadOnlyError):
        reader.delete("doc")
    with MemvidVectorStore() as store, pytest.raises(InvalidInputError, match="not a library"):
        assert store.library
