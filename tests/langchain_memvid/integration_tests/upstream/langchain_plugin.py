"""A pytest plugin for LangChain's own tests: puts our stores where they have ``InMemoryVectorStore``, one by one."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_memvid import MemvidVectorStore

FOLDER = tempfile.TemporaryDirectory(prefix="memvid-upstream-")


class FileStore(MemvidVectorStore):
    """The store with each instance in a new file; those tests name none."""

    made = 0

    def __init__(self, embedding: Any = None, **options: Any) -> None:
        FileStore.made += 1
        defaults = {"path": os.path.join(FOLDER.name, f"{FileStore.made}.mp4"), "vector_dtype": "float64"}
        super().__init__(embedding, **defaults | options)


@pytest.fixture(params=[MemvidVectorStore, FileStore], autouse=True)
def _our_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert request.module.InMemoryVectorStore is InMemoryVectorStore
    monkeypatch.setattr(request.module, "InMemoryVectorStore", request.param)
