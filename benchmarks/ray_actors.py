"""Actors of Ray that answer for a library: what they add to a question, and what is answered while they are killed.

    python -m benchmarks.ray_actors                       # 1,000 questions, 20 kills
    python -m benchmarks.ray_actors --replicas 1 --spares 0 --kills 10
    python -m benchmarks.ray_actors --harsh
    python -m benchmarks.ray_actors --rows 1000000 --shards 10 --questions 200

A library is asked the same questions by the threads of this process and by actors, in turns, which shows what Ray adds
to a question. Then questions are asked of actors, one of which is killed now and then, at any moment of a question,
when those that were killed before are there again; with --harsh as long as any is there, until none is left. Each
answer must be that of the threads, or an IncompleteSearchError with some of these hits. "Whole again" is how long after
a kill a question was answered that was asked after it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.large import Drawn, K, batches
from benchmarks.machine import describe
from memvid_core import IncompleteSearchError, Library, LibraryHits
from memvid_core.engine.search_request import Mode
from memvid_ray import RayExecutor
from memvid_ray.cluster import connected

OPENING = 10  # questions that open the shards, and are not counted


def asked(library: Library, question: Any, mode: Mode, timeout: float | None = 60.0) -> LibraryHits:
    """Ask a question."""
    text, vector = question
    given: Any = {"embedding": vector} if mode == "hybrid" else {}
    hits: LibraryHits = library.search(vector if mode == "dense" else text, K, mode=mode, timeout=timeout, **given)
    return hits


def hits_of(hits: Any) -> list[tuple[str, float]]:
    """Return ids and scores."""
    return [(hit.id, hit.score) for hit in hits]


def compared(here: Library, there: Library, questions: list[Any]) -> None:
    """Print the medians of what a question takes in threads and with actors, and of the difference."""
    print("\n| mode | threads, p50 ms | Ray, p50 ms | difference, p50 ms |\n|---|---|---|---|", flush=True)
    for mode in get_args(Mode):
        walls = np.zeros((len(questions), 2))
        for number, question in enumerate(questions):
            for place, library in enumerate((here, there)):
                begun = time.perf_counter()
                asked(library, question, mode)
                walls[number, place] = 1000 * (time.perf_counter() - begun)
        taken = walls[OPENING:]
        threads, actors = np.median(taken, axis=0)
        print(f"| {mode} | {threads:.1f} | {actors:.1f} | {np.median(taken[:, 1] - taken[:, 0]):+.1f} |", flush=True)


def living(ray: Any, executor: RayExecutor) -> list[int]:
    """Return the processes of the actors that are not being started."""
    pids = []
    for actor in executor._actors:
        try:
            pids.append(ray.get(actor.pid.remote(), timeout=1))
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
            continue
    return pids


def killed(
    ray: Any, executor: RayExecutor, here: Library, there: Library, questions: list[Any], kills: int, *, harsh: bool
) -> None:
    """Ask questions, kill actors meanwhile, and print what was answered."""
    whole = incomplete = wrong = number = 0
    back: list[float] = []
    often = max(1, len(questions) // max(kills, 1))
    takes = 0.02  # seconds of a question
    while number < len(questions) or len(back) < kills:
        question = questions[number % len(questions)]
        number += 1
        expected = hits_of(asked(here, question, "hybrid", None))
        pids = living(ray, executor) if len(back) < min(kills, number // often) else []
        if len(pids) < (1 if harsh else len(executor._actors)):
            pids = []
        died: list[float] = []

        def kill(pids: list[int] = pids, died: list[float] = died) -> None:
            os.kill(random.choice(pids), signal.SIGKILL)
            died.append(time.perf_counter())

        begun = time.perf_counter()
        timer = threading.Timer(random.uniform(0.0, takes), kill)
        if pids:
            timer.start()
        while True:
            over = bool(died) or not pids  # this question is asked after the kill
            try:
                found = asked(there, question, "hybrid")
            except IncompleteSearchError as error:
                incomplete += 1
                wrong += not error.report.failed
                continue
            whole += found.report.complete and hits_of(found) == expected
            wrong += not found.report.complete or hits_of(found) != expected
            if over:
                break
        if died:
            back.append(time.perf_counter() - died[0])
        else:
            takes = 0.9 * takes + 0.1 * (time.perf_counter() - begun)
    print(f"\n{number} questions, {len(back)} kills: {whole} whole answers, {incomplete} incomplete, {wrong} wrong")
    if back:
        print(f"whole again: {np.median(back):.2f} s in the median, {max(back):.2f} s at most")


def main() -> None:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--spares", type=int, default=1)
    parser.add_argument("--harsh", action="store_true", help="kill actors while others are being started")
    options = parser.parse_args()
    print(describe("memvid-core", "numpy", "ray"), flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the start", flush=True)
    ray = connected()
    drawn = Drawn()
    texts, vectors = drawn.texts(1 << 41, options.questions, 5), drawn.vectors(1 << 41, options.questions)
    questions = list(zip(texts, vectors, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        with Library.create(Path(folder, "library"), "given") as library:
            given = (one for some, made in batches(0, options.rows, 80) for one in zip(some, made, strict=True))
            library.build(given, rows_per_shard=-(-options.rows // options.shards))
        executor = RayExecutor(actors=max(2, options.replicas), replicas=options.replicas, spares=options.spares)
        with (
            Library.open(Path(folder, "library"), embedder="given") as here,
            Library.open(Path(folder, "library"), embedder="given", executor=executor) as there,
        ):
            ray.get([actor.pid.remote() for actor in executor._actors])  # what starts takes the others' time
            compared(here, there, questions[: OPENING + 100])
            killed(ray, executor, here, there, questions, options.kills, harsh=options.harsh)
        executor.close()
    ray.shutdown()
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
