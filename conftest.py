"""For every test, also the examples in the docstrings of ``src``: nothing is written into the repository."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule  # no public name; pytest.DoctestItem is one of an example


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is imported and collected, which lasts to the end, out of garbage collection: a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for examples only in files of ``src`` that have some: to search in every one takes a fifth of the time."""
    found = yield
    if found and (Path(__file__).with_name("tests") in file_path.parents or b">>> " not in file_path.read_bytes()):
        return [collector for collector in found if not isinstance(collector, DoctestModule)]
    return found


@pytest.fixture(autouse=True)
def _examples_run_in_an_empty_folder(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        folder: Path = request.getfixturevalue("tmp_path")
        request.getfixturevalue("monkeypatch").chdir(folder)
