"""For every test, also the examples in the docstrings of ``src``: nothing is written into the repository."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.assertion import rewrite  # nor has it a public name to compile a module without running it
from _pytest.doctest import DoctestModule  # no public name; pytest.DoctestItem is one of an example

from tests.late_modules import FILES


def _compile_tests(config: pytest.Config, number: int, count: int) -> None:
    """Compile the modules of tests that never were, as pytest does it; each worker goes on where the others have been.

    Args:
        config: pytest's.
        number: The number of this worker.
        count: How many workers there are.
    """
    folder = Path(__file__).with_name("tests")
    paths = sorted(path for path in folder.rglob("*.py") if path.name.startswith("test_") or path.stem == "conftest")
    first = len(paths) * number // count
    for path in [*paths[first:], *paths[:first]]:
        compiled = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
        if not compiled.exists() and rewrite.try_makedirs(compiled.parent):
            source_hash, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, compiled)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep what is imported and collected, which lasts to the end, out of garbage collection: a fifth of the time."""
    gc.disable()
    worker = getattr(session.config, "workerinput", None)
    if worker and not sys.dont_write_bytecode:
        with suppress(AttributeError, OSError, SyntaxError, TypeError, ValueError):  # collection reports or does it
            _compile_tests(session.config, int(worker["workerid"].removeprefix("gw")), worker["workercount"])
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
    elsewhere = Path(__file__).with_name("tests") in file_path.parents or file_path.as_posix().endswith(FILES)
    if found and (elsewhere or b">>> " not in file_path.read_bytes()):
        return [collector for collector in found if not isinstance(collector, DoctestModule)]
    return found


@pytest.fixture(autouse=True)
def _examples_run_in_an_empty_folder(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        folder: Path = request.getfixturevalue("tmp_path")
        request.getfixturevalue("monkeypatch").chdir(folder)
