"""A pytest plugin for LangChain's own tests: puts our store where they have ``InMemoryVectorStore``."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_memvid import MemvidVectorStore

FILES = os.environ.get("MEMVID_STORES") == "file"
FOLDER = tempfile.TemporaryDirectory(prefix="memvid-upstream-")


class FileStore(MemvidVectorStore):
    """The store with each instance in a new file; those tests name none."""

    made = 0

    def __init__(self, embedding: Any = None, **options: Any) -> None:
        FileStore.made += 1
        defaults = {"path": os.path.join(FOLDER.name, f"{FileStore.made}.mp4"), "vector_dtype": "float64"}
        super().__init__(embedding, **defaults | options)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    modules: set[Any] = {item.module for item in items}
    assert modules
    for module in modules:
        assert module.InMemoryVectorStore is InMemoryVectorStore
        module.InMemoryVectorStore = FileStore if FILES else MemvidVectorStore
