"""Fitting and searching on a busy machine: with the threads that native libraries take by themselves, and as they run.

    python -m benchmarks.busy                # a process that computes on every core but one, as a busy server has
    python -m benchmarks.busy --spinning 4

An index for quantized vectors is fitted, 100 rows are added to it, and scikit-learn's index answers a question. "own
threads" is the same code without the limit of :func:`memvid_core.system.threads.one_native_thread`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import numpy as np

from benchmarks.machine import describe
from memvid_core.vectors import quantizer, sklearn_search
from memvid_core.vectors.quantizer import Quantizer
from memvid_core.vectors.vector_index import VectorIndex

ROUNDS = 5


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Let so many processes compute meanwhile."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def works() -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((2000, 777), dtype=np.float32)
    fitted = Quantizer.fit(rows, len(rows))
    index = VectorIndex(384, strategy="sklearn", metric="euclidean")
    index.extend(0, random.standard_normal((1000, 384), dtype=np.float32))
    question = random.standard_normal(384, dtype=np.float32)
    index.search(question, 10)
    return {
        "fit to 2,000 rows x 777": lambda: Quantizer.fit(rows, len(rows)),
        "code 100 rows x 777": lambda: fitted.encode(rows[:100]),
        "scikit-learn, a question to 1,000 x 384": lambda: index.search(question, 10),
    }


def median(work: Callable[[], object]) -> float:
    """Return the median of some rounds, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spinning", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes beside it")
    arguments = parser.parse_args()
    print(describe("memvid-core", "numpy", "scikit-learn", "threadpoolctl"))
    print(
        f"\n| beside {arguments.spinning} spinning | own threads, ms | as it runs, ms | quiet, ms |\n|---|---|---|---|"
    )
    for name, work in works().items():
        quiet = median(work)
        with busy(arguments.spinning):
            limited = median(work)
            with (
                mock.patch.object(quantizer, "one_native_thread", return_value=nullcontext()),
                mock.patch.object(sklearn_search, "one_native_thread", return_value=nullcontext()),
            ):
                own = median(work)
        print(f"| {name} | {own:.1f} | {limited:.1f} | {quiet:.1f} |", flush=True)


if __name__ == "__main__":
    main()
