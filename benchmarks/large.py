"""Millions of records in one file and in libraries: what they cost to load, to open and to ask, and what is found.

    python -m benchmarks.large --rows 1000000 --shards 1 4 --index auto ivf --folder /big/disk/large
    python -m benchmarks.large --rows 10000000 --shards 5 --words 16 --index ivf --folder /big/disk/large
    python -m benchmarks.large --rows 500000 --shards 500 --folder /big/disk/large

One shard is a memory in one file, whose load is measured without the words, and with them. What was built is kept in
the folder, so that the same command goes on where it was stopped, a million records at a time. The texts are words
drawn by Zipf's law from 60,000, the vectors those of `benchmarks.recall --sets clusters`: distinct, around 20,000
centers in 64 hidden dimensions, turned into 384 with noise. Each memory or library is asked in a process of its own,
with k = 10, 5 words a question; recall is of the nearest 10 of an exact search in single precision. "Differing" counts
the questions whose ids or order are not those of the one file with the same index, by vectors, by words, and by both.
With ``--warm 200``, so many other questions of a mode are asked before those of the table: without it, these are asked
while the process still reads ahead.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.recall import CENTERS, DIMENSION, HIDDEN, unit
from benchmarks.vectors import resident
from memvid_core import Ivf, Library, Memory, Record, ThreadExecutor
from memvid_core.engine.search_request import Mode

Matrix = NDArray[np.float32]
Figures = dict[str, Any]
WORDS, VOCABULARY = 80, 60_000
BATCH = 10_000
STEP = 1_000_000  # records that are built in one process, if they are whole shards
ASKED, K = 100, 10
OPEN, FEW = 100, 4  # of more shards, each question opens those that are closed, and few are asked
MODES: tuple[Mode, ...] = get_args(Mode)
COLUMNS = (
    *("load, CPU s", "with words", "lists, CPU s", "peak MB", "bytes a row", "open ms"),
    *(f"{mode} {what}" for mode in MODES for what in ("first", "p50 (CPU) ms")),
    *("recall@10", "differing", "reader MB"),
)


class Drawn:
    """Draw texts and vectors, the same for the same seed."""

    def __init__(self) -> None:
        random = np.random.default_rng(15)
        self._centers = random.standard_normal((CENTERS, HIDDEN), np.float32)
        self._turn = random.standard_normal((HIDDEN, DIMENSION), np.float32) / np.float32(HIDDEN**0.5)
        chances = 1.0 / np.arange(1, VOCABULARY + 1)
        self._chances = np.cumsum(chances / chances.sum())
        self._words = [f"w{number}" for number in range(VOCABULARY + 1)]

    def vectors(self, seed: int, count: int) -> Matrix:
        """Return unit vectors (count, DIMENSION) around the centers."""
        random = np.random.default_rng([1, seed])
        hidden = self._centers[random.integers(0, CENTERS, count)]
        hidden = hidden + np.float32(0.5) * random.standard_normal(hidden.shape, np.float32)
        made = hidden @ self._turn
        made += np.float32(0.1) * random.standard_normal(made.shape, np.float32)
        return unit(made)

    def texts(self, seed: int, count: int, words: int) -> list[str]:
        """Return texts of so many words."""
        numbers = np.searchsorted(self._chances, np.random.default_rng([2, seed]).random((count, words)))
        known = self._words
        return [" ".join([known[number] for number in line]) for line in numbers.tolist()]

    def questions(self, count: int = 1 + ASKED, seed: int = 1 << 40) -> list[tuple[str, Matrix]]:
        """Return texts and vectors that no record has; the first one is for what a first question opens."""
        return list(zip(self.texts(seed, count, 5), self.vectors(seed, count), strict=True))


def batches(first: int, last: int, words: int) -> Iterator[tuple[list[Record], Matrix]]:
    """Yield some records with their vectors, in batches, each of which is drawn whole."""
    drawn = Drawn()
    for number in range(first // BATCH, -(-last // BATCH)):
        start = number * BATCH
        wanted = range(max(first - start, 0), min(last - start, BATCH))
        texts, vectors = drawn.texts(number, BATCH, words), drawn.vectors(number, BATCH)
        records = [Record(f"r{start + at}", texts[at], {"year": 2000 + (start + at) % 25}) for at in wanted]
        yield records, vectors[wanted.start : wanted.stop]


def spent(work: Callable[[], Any]) -> float:
    """Return the processor time that something takes, in seconds."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def drawing(first: int, last: int, words: int) -> float:
    """Return the processor time that it takes to draw some records."""
    some = min(last - first, 4 * BATCH)
    return spent(lambda: list(batches(first, first + some, words))) * (last - first) / some


def loaded(path: str, rows: int, words: int) -> Figures:
    """Load a memory, and then index its words."""
    with Memory.create(path, "given") as memory:

        def load() -> None:
            for records, vectors in batches(0, rows, words):
                memory.add([r.text for r in records], [r.metadata for r in records], [r.id for r in records], vectors)

        taken = spent(load) - drawing(0, rows, words)
        return {"load, CPU s": taken, "with words": taken + spent(memory.prepare), "peak MB": peak()}


def built(path: str, first: int, last: int, size: int, words: int) -> Figures:
    """Add shards of so many records to a library."""
    opened = Library.open(path, embedder="given") if first else Library.create(path, "given")
    with opened as library:
        given = (one for records, vectors in batches(first, last, words) for one in zip(records, vectors, strict=True))
        taken = spent(lambda: library.build(given, rows_per_shard=size)) - drawing(first, last, words)
    return {"with words": taken, "peak MB": peak()}


def peak() -> float:
    """Return the most memory that this process has taken, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def opened(path: Path, shards: int, index: str, stack: ExitStack) -> Memory | Library:
    """Open a memory or a library, whose shards stay open, if they are not too many."""
    how: Any = Ivf(float(index.partition(":")[2])) if ":" in index else index
    if shards == 1:
        return stack.enter_context(Memory.open(path, embedder="given", index=how))
    executor = ThreadExecutor(shards) if shards <= OPEN else ThreadExecutor()
    stack.callback(executor.close)
    return stack.enter_context(Library.open(path, embedder="given", executor=executor, index=how))


def prepared(path: Path, shards: int, index: str) -> Figures:
    """Make the lists."""
    with ExitStack() as stack:
        return {"lists, CPU s": spent(opened(path, shards, index, stack).prepare)}


def asked(path: Path, shards: int, index: str, warm: int) -> Figures:
    """Ask a memory or a library the same questions in each mode, after ``warm`` others."""
    before = resident()
    found: Figures = {"hits": {}}
    with ExitStack() as stack:
        begun = time.perf_counter()
        opening = opened(path, shards, index, stack)
        found["open ms"] = 1000 * (time.perf_counter() - begun)
        options: Any = {} if shards == 1 else {"timeout": None}
        drawn = Drawn()
        others, questions = drawn.questions(warm, 1 << 41), drawn.questions()
        for mode in MODES:
            walls, hits = [], []
            processor = []
            for text, vector in [questions[0], *others, *questions[1 : None if shards <= OPEN else 1 + FEW]]:
                given = vector if mode == "hybrid" else None
                wall, begun = time.perf_counter(), time.process_time()
                answer = opening.search(vector if mode == "dense" else text, K, mode=mode, embedding=given, **options)
                processor.append(1000 * (time.process_time() - begun))
                walls.append(1000 * (time.perf_counter() - wall))
                hits.append([hit.id for hit in answer])
            found[f"{mode} first"] = walls[0]
            later = 1 + warm
            found[f"{mode} p50"] = [float(np.median(walls[later:])), float(np.median(processor[later:]))]
            found["hits"][mode] = hits[later:]
        return found | {"reader MB": resident() - before}


def apart(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def nearest(folder: Path, rows: int) -> list[list[str]]:
    """Return the ids of the nearest records of each question, by an exact search; go on from what is there of fewer."""
    done = {int(path.stem.partition("-")[2]): path for path in folder.glob("nearest-*.npz")}
    first = max((count for count in done if (count <= rows and count % BATCH == 0) or count == rows), default=0)
    best, scores = np.zeros((ASKED, 0), np.int64), np.zeros((ASKED, 0), np.float32)
    if first:
        with np.load(done[first]) as kept:
            best, scores = kept["best"], kept["scores"]
    drawn = Drawn()
    queries = np.array([vector for _, vector in drawn.questions()[1:]])
    for start in range(first, rows, BATCH):
        made = drawn.vectors(start // BATCH, BATCH)[: rows - start] @ queries.T
        scores = np.hstack((scores, made.T))
        best = np.hstack((best, np.tile(np.arange(start, start + len(made)), (ASKED, 1))))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        best, scores = np.take_along_axis(best, order, 1), np.take_along_axis(scores, order, 1)
    np.savez(folder / f"nearest-{rows}.npz", best=best, scores=scores)
    return [[f"r{row}" for row in line] for line in best.tolist()]


def whole(folder: Path, rows: int, shards: int, words: int) -> tuple[Path, Figures]:
    """Build a memory or a library, or the rest of it; return its path and what it cost."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "built.json"
    done: list[Figures] = json.loads(state.read_text()) if state.exists() else []
    path, size = folder / ("one.mp4" if shards == 1 else "library"), -(-rows // shards)
    step = size * max(1, STEP // size)
    for first in range(len(done) * step, rows, step):
        if shards == 1:
            done.append(apart(loaded, str(path), rows, words))
        else:
            done.append(apart(built, str(path), first, min(first + step, rows), size, words))
        partial = state.with_suffix(".new")
        partial.write_text(json.dumps(done))
        partial.replace(state)
    figures = {"with words": sum(one["with words"] for one in done), "peak MB": max(one["peak MB"] for one in done)}
    if shards == 1:
        figures["load, CPU s"] = done[0]["load, CPU s"]
    figures["bytes a row"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / rows
    return path, figures


def cell(value: Any) -> str:
    """Return a figure as text."""
    if isinstance(value, list):
        return f"{value[0]:.3g} ({value[1]:.3g})"
    return value if isinstance(value, str) else f"{value:.4g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--index", nargs="+", default=["auto"], help="auto, ivf, ivf:0.9")
    parser.add_argument("--words", type=int, default=WORDS, help="of a text")
    parser.add_argument("--folder", type=Path, help="where memories, libraries and figures are kept")
    parser.add_argument("--warm", type=int, default=0, help="how many other questions of a mode are asked before")
    options = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    print(f"\n| records | shards | index | {' | '.join(COLUMNS)} |\n|" + "---|" * (len(COLUMNS) + 3), flush=True)
    with ExitStack() as stack:
        kept: Path = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept.mkdir(parents=True, exist_ok=True)
        for rows in options.rows:
            table(kept, rows, options)


def table(folder: Path, rows: int, options: argparse.Namespace) -> None:
    """Print the lines of so many records."""
    expected: list[list[str]] | None = None
    first: dict[str, Figures] = {}
    for shards in options.shards:
        path, figures = whole(folder / f"{rows}-{shards}", rows, shards, options.words)
        for index in options.index:
            row = figures | ({} if index == "auto" else apart(prepared, path, shards, index))
            row |= apart(asked, path, shards, index, options.warm)
            expected = expected or nearest(folder, rows)
            dense = zip(row["hits"]["dense"], expected, strict=False)
            row["recall@10"] = float(np.mean([len(set(ids).intersection(true)) / K for ids, true in dense]))
            one = first.setdefault(index, row)["hits"]
            differing = (sum(map(list.__ne__, one[mode], row["hits"][mode])) for mode in MODES)
            row["differing"] = ", ".join(map(str, differing)) if 1 in options.shards else ""
            row |= {f"{mode} p50 (CPU) ms": row[f"{mode} p50"] for mode in MODES}
            cells = " | ".join(cell(row.get(column, "")) for column in COLUMNS)
            print(f"| {rows:,} | {shards} | {index} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
