"""What it costs to ask the shards of a library through an executor, beside what the shards themselves take.

    python -m benchmarks.executor                                # 60,000 records in ten shards
    python -m benchmarks.executor --rows 1000000 --shards 4

All columns are processor time of all threads, in milliseconds, as means over 100 questions that were asked before. Of
a question, `shards` is what the readers of the shards take, `executor` what it takes to ask them and to get answers,
shards included, and `search` the whole search, which also merges, fuses and reads as a search in one file does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, get_args

from benchmarks.large import Drawn, K, whole
from benchmarks.machine import describe
from memvid_core import Library, ThreadExecutor
from memvid_core.engine.search_request import Mode
from memvid_core.library import ShardRef
from memvid_core.library.executor import Questions

WORDS = 80  # of a text


class Timed(ThreadExecutor):
    """Threads that note how long they take."""

    def __init__(self, shards: int) -> None:
        super().__init__(shards)
        self.spent = {"shards": 0.0, "executor": 0.0}

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards; note what all threads of the process take meanwhile."""
        begun = time.process_time()
        try:
            return super().ask(call, questions, timeout)
        finally:
            self.spent["executor"] += time.process_time() - begun

    def _answer(self, ref: ShardRef, call: str, arguments: tuple[Any, ...]) -> Any:
        begun = time.thread_time()
        try:
            return super()._answer(ref, call, arguments)
        finally:
            self.spent["shards"] += time.thread_time() - begun


def measured(library: Library, executor: Timed, mode: Mode) -> dict[str, float]:
    """Ask all questions three times; return what the last time took for each, in milliseconds."""
    questions = Drawn().questions()[1:]
    begun = 0.0
    for _ in range(3):
        executor.spent = dict.fromkeys(executor.spent, 0.0)
        begun = time.process_time()
        for text, vector in questions:
            given = vector if mode == "hybrid" else None
            library.search(vector if mode == "dense" else text, K, mode=mode, embedding=given, timeout=None)
    spent = executor.spent | {"search": time.process_time() - begun}
    return {name: 1000 * seconds / len(questions) for name, seconds in spent.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--shards", type=int, default=10, help="at least 2")
    parser.add_argument("--folder", type=Path, help="where the library is kept")
    options = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    print("\n| records | shards | mode | shards, ms | executor, ms | times | search, ms | times |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with ExitStack() as stack:
        kept: Path = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path, _ = whole(kept / f"{options.rows}-{options.shards}", options.rows, options.shards, WORDS)
        executor = stack.enter_context(closing(Timed(options.shards)))
        library = stack.enter_context(Library.open(path, embedder="given", executor=executor))
        for mode in get_args(Mode):
            found = measured(library, executor, mode)
            times = [found[name] / found["shards"] for name in ("executor", "search")]
            print(
                f"| {options.rows:,} | {options.shards} | {mode} | {found['shards']:.2f} "
                f"| {found['executor']:.2f} | {times[0]:.2f} | {found['search']:.2f} | {times[1]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
