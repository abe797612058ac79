"""A memory that grows by single records: the cost of a commit up to the last, and of opening the memory again.

    python -m benchmarks.small_commits                    # 100,000 commits, twice: with and without auto_compact
    python -m benchmarks.small_commits --commits 10000

Each record has 100 bytes of text and a vector of 384 numbers, and is a commit of its own; words are searched once, so
that every commit keeps their index up. Each step runs in a new process, and the time for Python to start is left out.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from memvid_core import Memory
from soak.processes import start

_DIMENSION, _SECONDS, _SEED = 384, 3600.0, 1
_WORDS_FROM = 100  # commits before the first question by words
_END = 1000  # commits that are "the last"


def _text(number: int) -> str:
    return f"record {number} of a memory that grows by one record at a time ".ljust(100, ".")


def _vectors(count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(_SEED).standard_normal((count, _DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@contextmanager
def _timed(times: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    times.append(time.perf_counter() - began)


def _commit_one_by_one(path: Path, count: int, share: float | None) -> tuple[list[float], int]:
    """Make the memory; return the seconds of each commit, and how many compactions there were."""
    times: list[float] = []
    vectors = _vectors(count)
    with Memory.open(path, "a", embedder="given", create=True, auto_compact=share) as memory:
        for number in range(count):
            with _timed(times):
                memory.add([_text(number)], ids=[f"r{number}"], vectors=vectors[number : number + 1])
            if number == _WORDS_FROM:
                memory.search("record", k=1, mode="lexical")
        return times, memory._indexed.journal.header.epoch


def _commit_all(path: Path, count: int) -> None:
    with Memory.open(path, "a", embedder="given", create=True) as memory:
        memory.add(
            [_text(number) for number in range(count)],
            ids=[f"r{number}" for number in range(count)],
            vectors=_vectors(count),
        )


def _seconds(do: Callable[[], Any]) -> float:
    times: list[float] = []
    with _timed(times):
        do()
    return times[0]


def _rebuild(path: Path) -> float:
    shutil.rmtree(f"{path}.index")
    return _seconds(lambda: Memory.open(path, embedder="given", show_progress=False).close())


def _reopen_and_search(path: Path, count: int) -> float:
    vector = _vectors(count)[count // 2]

    def search() -> None:
        with Memory.open(path, embedder="given") as memory:
            assert memory.search(vector, k=1)[0].id == f"r{count // 2}"

    return _seconds(search)


def _ask_words(path: Path, count: int) -> float:
    with Memory.open(path, embedder="given") as memory:
        return _seconds(lambda: _check(memory, count))


def _check(memory: Memory, count: int) -> None:
    found = memory.search(f"{count // 2}", k=1, mode="lexical")
    assert found[0].id == f"r{count // 2}", found


def _compact(path: Path) -> float:
    with Memory.open(path, "a", embedder="given") as memory:
        return _seconds(memory.compact)


def _run(do: Callable[..., Any], *given: object) -> Any:
    return start(do, *given).result(_SECONDS)


def _row(name: str, asked: str, measured: str) -> None:
    print(f"| {name} | {asked} | {measured} |", flush=True)


def _print_times(what: str, times: list[float]) -> None:
    milliseconds = np.array(times) * 1e3
    _row(f"{what}, median ms", "2", f"{np.median(milliseconds):.2f}")
    _row(f"{what}, p99 ms", "10", f"{np.percentile(milliseconds, 99):.2f}")
    _row(f"{what}, longest ms", "", f"{milliseconds.max():.0f}")
    _row(f"the last {_END:,} of them, median ms", "2", f"{np.median(milliseconds[-_END:]):.2f}")
    _row(f"the last {_END:,} of them, p99 ms", "10", f"{np.percentile(milliseconds[-_END:], 99):.2f}")


def _measure(path: Path, count: int, share: float | None, one: int) -> None:
    what = "a commit" if share is None else f"a commit with auto_compact={share}"
    times, folds = _run(_commit_one_by_one, path, count, share)
    _print_times(what, times)
    if share is not None:
        _row("compactions by itself", "", str(folds))
    _row("file, times one commit's", "", f"{path.stat().st_size / one:.2f}")
    _row("reopen and first search, ms", "100", f"{_run(_reopen_and_search, path, count) * 1e3:.0f}")
    _row("words first asked, s", "0.3", f"{_run(_ask_words, path, count):.2f}")
    if share is None:
        copy = path.with_name("copy.mp4")
        shutil.copy(path, copy)
        shutil.copytree(f"{path}.index", f"{copy}.index")
        _row("index rebuilt, s", "12", f"{_run(_rebuild, copy):.1f}")
    _row("compacted, s", "", f"{_run(_compact, path):.1f}")
    _row("file after it, times one commit's", "1.25", f"{path.stat().st_size / one:.2f}")
    _row("reopen and first search after it, ms", "100", f"{_run(_reopen_and_search, path, count) * 1e3:.0f}")
    _row("words first asked after it, s", "0.3", f"{_run(_ask_words, path, count):.2f}")


def main() -> None:
    """Print the machine, then one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.5, help="of auto_compact in the second part")
    parser.add_argument("--only", choices=["plain", "auto_compact"], help="one part alone")
    parser.add_argument("--folder", type=Path, help="where the files go: a real disk (default: temporary files)")
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    print(f"\n## {arguments.commits:,} commits of one record, {_DIMENSION}-d\n\n| | asked | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as work:
        whole = Path(work) / "whole.mp4"
        _run(_commit_all, whole, arguments.commits)
        one = whole.stat().st_size
        if arguments.only != "auto_compact":
            _measure(Path(work) / "plain.mp4", arguments.commits, None, one)
        if arguments.only != "plain":
            _measure(Path(work) / "auto.mp4", arguments.commits, arguments.share, one)


if __name__ == "__main__":
    main()
