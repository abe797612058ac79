"""Stores in RAM and in a file: what a test takes runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from langchain_memvid import MemvidVectorStore
from tests.langchain_memvid.fakes import COMPASS, TableEmbeddings

MakeStore = Callable[..., MemvidVectorStore]


@pytest.fixture(params=["ram", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A path for a store: in RAM, or in a file that is not there yet."""
    return ":memory:" if request.param == "ram" else str(tmp_path / "store.mp4")


@pytest.fixture
def make_store(place: str) -> Iterator[MakeStore]:
    """Makes a store at ``place`` over the compass; it is closed after the test."""
    with ExitStack() as stores:

        def make(embedding: Any = None, **options: Any) -> MemvidVectorStore:
            chosen = TableEmbeddings(COMPASS) if embedding is None else embedding
            return stores.enter_context(MemvidVectorStore(chosen, path=place, **options))

        yield make


@pytest.fixture
def store(make_store: MakeStore) -> MemvidVectorStore:
    """An empty store."""
    return make_store()


@pytest.fixture
def compass(store: MemvidVectorStore) -> MemvidVectorStore:
    """A store with the points of the compass, each under its own name as id, and its place as metadata."""
    store.add_texts(list(COMPASS), [{"place": place} for place in range(len(COMPASS))], ids=list(COMPASS))
    return store
