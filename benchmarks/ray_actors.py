"""Actors of Ray that answer for a library: what they add to a question, and what is answered while they are killed.

    python -m benchmarks.ray_actors --questions 1000 --kills 20

A library of 10 shards is asked the same questions by the threads of this process and by actors, in turns, which shows
what Ray adds to a question. Then the questions are asked of actors, one of which is killed now and then. Each answer
must be that of the threads, or an IncompleteSearchError with some of these hits. "Whole again" is how long after a
kill the first whole answer came.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.large import Drawn, K, batches
from benchmarks.machine import describe
from memvid_core import IncompleteSearchError, Library, LibraryHits
from memvid_ray import RayExecutor
from memvid_ray.cluster import connected

SHARDS = 10


def hits_of(hits: Any) -> list[tuple[str, float]]:
    """Return ids and scores."""
    return [(hit.id, hit.score) for hit in hits]


def added(here: Library, there: Library, questions: list[Any]) -> tuple[float, float]:
    """Return the medians of what a question takes in threads, and of what actors add to it, in ms."""
    taken, more = [], []
    for text, vector in questions:
        walls = []
        for library in (here, there):
            begun = time.perf_counter()
            library.search(text, K, embedding=vector, timeout=120.0)
            walls.append(1000 * (time.perf_counter() - begun))
        taken.append(walls[0])
        more.append(walls[1] - walls[0])
    return float(np.median(taken)), float(np.median(more))


def killed(ray: Any, executor: RayExecutor) -> None:
    """Kill the process of an actor."""
    actor = random.choice(executor._actors)
    try:
        os.kill(ray.get(actor.pid.remote(), timeout=30), signal.SIGKILL)
    except (ray.exceptions.RayError, ProcessLookupError):  # it is being started again
        return


def main() -> None:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=2)
    options = parser.parse_args()
    print(describe("memvid-core", "numpy", "ray"), flush=True)
    ray = connected()
    drawn = Drawn()
    texts, vectors = drawn.texts(1 << 41, options.questions, 5), drawn.vectors(1 << 41, options.questions)
    questions = list(zip(texts, vectors, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        with Library.create(Path(folder, "library"), "given") as library:
            given = (one for some, made in batches(0, options.rows, 80) for one in zip(some, made, strict=True))
            library.build(given, rows_per_shard=-(-options.rows // SHARDS))
        executor = RayExecutor(actors=max(2, options.replicas), replicas=options.replicas)
        with (
            Library.open(Path(folder, "library"), embedder="given") as here,
            Library.open(Path(folder, "library"), embedder="given", executor=executor) as there,
        ):
            added(here, there, questions[:20])  # opens the shards
            threads, more = added(here, there, questions[: min(200, options.questions)])
            print(f"a hybrid question: threads {threads:.1f} ms, actors {more:+.1f} ms", flush=True)
            whole = incomplete = wrong = 0
            back: list[float] = []
            died: float | None = None
            often = max(1, options.questions // max(options.kills, 1))
            for number, (text, vector) in enumerate(questions):
                expected = hits_of(here.search(text, K, embedding=vector, timeout=None))
                if number % often == often // 2 and options.kills:
                    killed(ray, executor)
                    died = time.perf_counter()
                try:
                    found: LibraryHits = there.search(text, K, embedding=vector, timeout=60.0)
                except IncompleteSearchError as error:
                    incomplete += 1
                    wrong += not error.report.failed
                    continue
                if hits_of(found) != expected or not found.report.complete:
                    wrong += 1
                    continue
                whole += 1
                if died is not None:
                    back.append(time.perf_counter() - died)
                    died = None
            print(f"{len(questions)} questions, {options.kills} kills:", end=" ")
            print(f"{whole} right, {incomplete} incomplete, {wrong} wrong")
            if back:
                print(f"whole again: {np.median(back):.2f} s in the median, {max(back):.2f} s at most")
        executor.close()
    ray.shutdown()


if __name__ == "__main__":
    main()
