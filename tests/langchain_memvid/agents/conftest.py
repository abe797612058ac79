"""Stores over letters, in RAM and in a file, and a clock to move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from langchain_memvid.agents import MemvidStore, items, store
from tests.langchain_memvid.agents.fakes import Clock, LetterEmbeddings

MakeStore = Callable[..., MemvidStore]


@pytest.fixture
def make(place: str) -> Iterator[MakeStore]:
    """Makes a store at ``place``; it is closed after the test."""
    with ExitStack() as stores:

        def made(index: Any = None, **options: Any) -> MemvidStore:
            chosen: Any = {"embed": LetterEmbeddings(), "dims": 8} if index is None else index
            return stores.enter_context(MemvidStore(place, index=chosen, **options))

        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that stores see."""
    moved = Clock()
    for module in (items, store):
        monkeypatch.setattr(module, "utc_now", moved)
    return moved
