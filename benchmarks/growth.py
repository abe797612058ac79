"""How a library grows: what it costs to build and to ask, in files and in memory, by records and by shards.

    python -m benchmarks.growth                                     # 10,000 and 100,000 records in 1, 10 and 100 shards
    python -m benchmarks.growth --rows 1000000 --shards 1 10
    python -m benchmarks.growth --rows 10000 100000 1000000 10000000 --shards 1 10 100 --folder /big/disk/growth

With ``--folder``, what was measured is kept there, and libraries until they are measured: the same command goes on
where it was stopped, a million records or a shard at a time, and draws the plot of all that is there. 10,000,000
records take about 22 GB and, for each number of shards, half an hour to an hour of one core.

The texts are 80 words drawn by Zipf's law from 60,000, the vectors 384 numbers around 2,000 centers. Each is built
in one process and asked in another, with k = 10. All times are processor time of all threads, so that they can be
compared on a busy machine. Writes ``benchmarks/results/growth.png``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.machine import describe
from benchmarks.vectors import resident
from memvid_core import Library, Record, ThreadExecutor
from memvid_core.engine.search_request import Mode

RESULTS = Path(__file__).resolve().parent / "results"
WORDS, VOCABULARY, DIMENSION, CENTERS = 80, 60_000, 384, 2_000
BATCH = 10_000
STEP = 1_000_000  # records that are built in one process, if they are whole shards
ASKED = 60
COLUMNS = (
    *("build, CPU s", "rows per CPU s", "build, peak MB", "files, bytes a row", "index, bytes a row"),
    *("open, CPU ms", *(f"{mode}, CPU ms" for mode in get_args(Mode)), "reader, MB"),
)
Figures = dict[str, float]


class Drawn:
    """Draw texts and vectors, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._centers = np.random.default_rng(0).standard_normal((CENTERS, DIMENSION), np.float32)
        chances = 1.0 / np.arange(1, VOCABULARY + 1)
        self._chances = np.cumsum(chances / chances.sum())

    def text(self, words: int) -> str:
        """Return a text."""
        return " ".join(f"w{n}" for n in np.searchsorted(self._chances, self._rng.random(words)))

    def vectors(self, count: int) -> Any:
        """Return vectors (count, DIMENSION)."""
        centers = self._centers[self._rng.integers(0, CENTERS, count)]
        return centers + np.float32(0.5) * self._rng.standard_normal(centers.shape, np.float32)


def records(first: int, last: int) -> Iterator[tuple[Record, Any]]:
    """Yield the records from ``first``, a multiple of ``BATCH`` or of the rows of a shard, up to ``last``."""
    for start in range(first, last, BATCH):
        drawn = Drawn(1 + start)
        for number, vector in enumerate(drawn.vectors(min(BATCH, last - start)), start):
            yield Record(f"r{number}", drawn.text(WORDS), {"year": 2000 + number % 25}), vector


def built(folder: str, rows: int, shards: int, first: int, last: int) -> Figures:
    """Build the shards with some of the records of a library; return what it cost, and how large the library is."""
    import resource

    drawn = min(last - first, BATCH)  # what it costs to draw records is not the library's
    for _ in records(first, first + drawn):
        pass
    begun = time.process_time()
    for _ in records(first, first + drawn):
        pass
    drawing = (time.process_time() - begun) * (last - first) / drawn
    begun = time.process_time()
    opened = Library.open(folder, embedder="given") if first else Library.create(folder, "given")
    with opened as library:
        library.build(records(first, last), rows_per_shard=-(-rows // shards))
    spent = time.process_time() - begun - drawing
    sizes = {True: 0, False: 0}
    for path in Path(folder).rglob("*"):
        if path.is_file():
            sizes[".index" in str(path)] += path.stat().st_size
    return {
        "build, CPU s": spent,
        "build, peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "files, bytes a row": sizes[False] / last,
        "index, bytes a row": sizes[True] / last,
    }


def measured(folder: Path, rows: int, shards: int) -> Figures:
    """Build a library, or the rest of it, and ask it; each step is in a process of its own."""
    library, state = folder / "library", folder / "built.json"
    figures: Figures = json.loads(state.read_text()) if state.exists() else {}
    shard_rows = -(-rows // shards)
    step = shard_rows * max(1, STEP // shard_rows)
    for first in range(int(figures.get("built", 0)), rows, step):
        if not first:
            shutil.rmtree(library, ignore_errors=True)
        last = min(first + step, rows)
        if first:
            with Library.open(library, embedder="given") as begun:
                if len(begun) > first:
                    raise SystemExit(f"{folder}: stopped between a commit and its figures; delete it to begin again")
                begun.vacuum(timedelta(0))  # what a process that was stopped has left
        made = apart(built, str(library), rows, shards, first, last)
        made["build, CPU s"] += figures.get("build, CPU s", 0.0)
        made["build, peak MB"] = max(made["build, peak MB"], figures.get("build, peak MB", 0.0))
        figures = made | {"built": last}
        partial = state.with_suffix(".new")
        partial.write_text(json.dumps(figures))
        partial.replace(state)
    return figures | {"rows per CPU s": rows / figures["build, CPU s"]} | apart(asked, str(library), shards)


def asked(folder: str, shards: int) -> Figures:
    """Ask a library, all of whose shards stay open."""
    before = resident()
    begun = time.process_time()
    with (
        closing(ThreadExecutor(shards)) as executor,
        Library.open(folder, embedder="given", executor=executor) as library,
    ):
        found = {"open, CPU ms": 1000 * (time.process_time() - begun)}
        for mode in get_args(Mode):
            drawn = Drawn(2)
            spent = []
            for vector in drawn.vectors(2 * ASKED):
                text = drawn.text(5)
                begun = time.process_time()
                if mode == "dense":
                    library.search(vector, 10, timeout=None)
                else:
                    given = vector if mode == "hybrid" else None
                    library.search(text, 10, mode=mode, embedding=given, timeout=None)
                spent.append(1000 * (time.process_time() - begun))
            found[f"{mode}, CPU ms"] = float(np.median(spent[ASKED:]))  # the first ones open shards
        return found | {"reader, MB": resident() - before}


def apart(work: Any, *arguments: Any) -> Figures:
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: Figures = pool.apply(work, arguments)
        return found


def plot(results: list[dict[str, float]], path: Path) -> None:
    """Draw how each figure grows with the records, a line for each number of shards."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 5, figsize=(20, 7.5), layout="constrained")
    axis: Any
    for axis, column in zip(axes.flat, COLUMNS, strict=True):
        for shards in sorted({result["shards"] for result in results}):
            line = sorted((result["rows"], result[column]) for result in results if result["shards"] == shards)
            axis.plot(
                *zip(*line, strict=True), marker="o", label=f"{shards:.0f} {'shard' if shards == 1 else 'shards'}"
            )
        axis.set(title=column, xlabel="records", xscale="log", yscale="log")
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes.flat[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--folder", type=Path, help="where figures and libraries are kept, to go on later")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    print(f"\n| records | shards | {' | '.join(COLUMNS)} |\n|" + "---|" * (len(COLUMNS) + 2), flush=True)
    with ExitStack() as stack:
        kept: Path = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept.mkdir(parents=True, exist_ok=True)
        for rows in options.rows:
            for shards in options.shards:
                done = kept / f"{rows}-{shards}.json"
                if not done.exists():
                    folder = kept / f"{rows}-{shards}"
                    folder.mkdir(exist_ok=True)
                    found = measured(folder, rows, shards)
                    done.write_text(json.dumps({"rows": rows, "shards": shards, **found}))
                    shutil.rmtree(folder)
                figures = json.loads(done.read_text())
                cells = " | ".join(f"{figures[column]:.4g}" for column in COLUMNS)
                print(f"| {rows:,} | {shards} | {cells} |", flush=True)
        plot([json.loads(path.read_text()) for path in kept.glob("*-*.json")], options.results / "growth.png")
    print(f"\nplot: {options.results / 'growth.png'}")


if __name__ == "__main__":
    main()
