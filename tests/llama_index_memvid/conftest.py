"""Stores in RAM and in a file: what a test takes runs on both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from llama_index_memvid import MemvidVectorStore

with warnings.catch_warnings(), suppress(ImportError):
    # LlamaIndex looks for LangChain when it is given a model; langchain-community, where there is one, says farewell.
    warnings.simplefilter("ignore", DeprecationWarning)
    import llama_index.core.bridge.langchain  # noqa: F401

MakeStore = Callable[..., MemvidVectorStore]


@pytest.fixture(params=["ram", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A path for a store: in RAM, or in a file that is not there yet."""
    return ":memory:" if request.param == "ram" else str(tmp_path / "store.mp4")


@pytest.fixture
def make_store(place: str) -> Iterator[MakeStore]:
    """Makes a store at ``place``; it is closed after the test."""
    with ExitStack() as stores:

        def make(**options: Any) -> MemvidVectorStore:
            return stores.enter_context(MemvidVectorStore(place, **options) if options else MemvidVectorStore(place))

        yield make


@pytest.fixture
def store(make_store: MakeStore) -> MemvidVectorStore:
    """An empty store."""
    return make_store()
