"""The vector index alone beside FAISS flat: build, open, memory, query, filters, recall, from 10,000 to 1,000,000 rows.

Run: python benchmarks/vectors.py [--rows 10000 100000 1000000] [--vectors real.npy] [--queries real.npy] [--noise 0.1]
                                  [--strategy auto hnsw] [--json out.json] [--plot out.svg]

Without ``--vectors`` the rows are made: topics with most variance in few directions. With it, the given rows are
repeated with a little noise until there are enough. Every size and engine runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import describe

Matrix = NDArray[np.float32]
K = 10
QUERIES = 200
COMMIT_ROWS = 100_000


def unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def make(
    count: int, given: str | None, queries: str | None, noise: float, dimension: int = 384
) -> tuple[Matrix, Matrix]:
    """Rows and queries, deterministic."""
    random = np.random.default_rng(7)
    if given is None:
        scale = (1.0 / np.sqrt(np.arange(1, dimension + 1))).astype(np.float32)
        topics = random.standard_normal((500, dimension), dtype=np.float32) * scale + scale[0] / 2

        def draw(many: int) -> Matrix:
            noise = random.standard_normal((many, dimension), dtype=np.float32)
            return np.asarray(topics[random.integers(0, 500, many)] + np.float32(0.6) * scale * noise)

        return unit(np.concatenate([draw(min(50_000, count - at)) for at in range(0, count, 50_000)])), unit(
            draw(QUERIES)
        )
    base = unit(np.load(given).astype(np.float32))
    asked = unit(np.load(queries).astype(np.float32)) if queries else base[-QUERIES:]
    if not queries:
        base = base[:-QUERIES]
    rows = np.empty((count, base.shape[1]), dtype=np.float32)
    for at in range(0, count, len(base)):
        some = rows[at : at + len(base)]
        shift = random.standard_normal(some.shape, dtype=np.float32) * np.float32(noise / np.sqrt(base.shape[1]))
        some[:] = unit(base[: len(some)] + (shift if at else 0))
    return rows, asked[random.permutation(len(asked))[:QUERIES]]


def truth(rows: Matrix, queries: Matrix) -> NDArray[np.int64]:
    best = np.empty((len(queries), 0), dtype=np.int64)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    for at in range(0, len(rows), 100_000):
        part = queries @ rows[at : at + 100_000].T
        scores = np.concatenate((scores, part), axis=1)
        best = np.concatenate((best, np.broadcast_to(np.arange(at, at + part.shape[1]), part.shape)), axis=1)
        order = np.argpartition(-scores, K, axis=1)[:, :K]
        scores, best = np.take_along_axis(scores, order, axis=1), np.take_along_axis(best, order, axis=1)
    return best


def resident() -> float:
    """Megabytes resident now."""
    import psutil  # type: ignore[import-untyped]

    return float(psutil.Process().memory_info().rss) / 2**20


def timed(
    search: Callable[[Matrix], NDArray[np.int64]], queries: Matrix
) -> tuple[list[float], list[NDArray[np.int64]]]:
    for query in queries[:10]:
        search(query)
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        times.append((time.perf_counter() - start) * 1e3)
    return times, found


def report(times: list[float], found: list[Any], right: NDArray[np.int64]) -> dict[str, float]:
    share = [len(set(some.tolist()) & set(best.tolist())) / K for some, best in zip(found, right, strict=True)]
    return {
        "p50_ms": float(np.median(times)),
        "p95_ms": float(np.quantile(times, 0.95)),
        "best_ms": float(np.min(times)),
        "recall": float(np.mean(share)),
    }


def run_build(folder: str, strategy: Any) -> dict[str, float]:
    from memvid_core.index.vectors import VectorIndex

    rows = np.load(f"{folder}/rows.npy", mmap_mode="r")
    start = time.perf_counter()
    index = VectorIndex(rows.shape[1], folder=Path(folder, strategy), strategy=strategy)
    for at in range(0, len(rows), COMMIT_ROWS):
        index.extend(at, rows[at : at + COMMIT_ROWS])
    index.flush()
    return {"build_s": time.perf_counter() - start, "disk_mb": index.nbytes / 2**20}


def run_ours(folder: str, strategy: Any) -> dict[str, float]:
    from memvid_core.index.vectors import VectorIndex

    queries, right = np.load(f"{folder}/queries.npy"), np.load(f"{folder}/truth.npy")
    count = int(np.load(f"{folder}/rows.npy", mmap_mode="r").shape[0])
    before = resident()
    start = time.perf_counter()
    index = VectorIndex(queries.shape[1], folder=Path(folder, strategy), strategy=strategy, writable=False)
    index.sync(count)
    opened = time.perf_counter() - start
    index.search(queries[0], K)
    first = time.perf_counter() - start
    result = report(*timed(lambda query: index.search(query, K)[0], queries), right)
    result |= {"open_s": opened, "open_and_first_s": first, "rss_mb": resident(), "rss_added_mb": resident() - before}
    random = np.random.default_rng(0)
    for share in (0.001, 0.1, 0.5):
        mask = random.random(count) < share
        times, _ = timed(lambda query, mask=mask: index.search(query, K, mask)[0], queries[:60])  # type: ignore[misc]
        result[f"filter_{share}_p50_ms"] = float(np.median(times))
    start = time.perf_counter()
    index.search(queries, K)
    result["batch_ms_a_query"] = (time.perf_counter() - start) * 1e3 / len(queries)
    return result


def run_faiss(folder: str, _: Any) -> dict[str, float]:
    import faiss

    rows, queries, right = (np.load(f"{folder}/{name}.npy") for name in ("rows", "queries", "truth"))
    start = time.perf_counter()
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    built = time.perf_counter() - start
    del rows
    result = report(*timed(lambda query: index.search(query[None], K)[1][0], queries), right)
    return result | {"build_s": built, "rss_mb": resident()}


def apart(work: Callable[[str, Any], dict[str, float]], folder: str, strategy: str) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder, strategy))


def plot(results: list[dict[str, Any]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for engine in sorted({result["engine"] for result in results}):
        line = [(result["rows"], result["p50_ms"]) for result in results if result["engine"] == engine]
        axes.loglog(*zip(*line, strict=True), marker="o", label=engine)
    axes.set(xlabel="rows of 384 components", ylabel="median query, ms (k = 10)")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--vectors")
    parser.add_argument("--queries")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--strategy", nargs="+", default=["auto"])
    parser.add_argument("--json")
    parser.add_argument("--plot")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for count in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            rows, queries = make(count, options.vectors, options.queries, options.noise)
            np.save(f"{folder}/rows.npy", rows)
            np.save(f"{folder}/queries.npy", queries)
            np.save(f"{folder}/truth.npy", truth(rows, queries))
            del rows
            for strategy in options.strategy:
                result = apart(run_build, folder, strategy) | apart(run_ours, folder, strategy)
                results.append({"rows": count, "engine": f"memvid {strategy}", **result})
            results.append({"rows": count, "engine": "faiss flat", **apart(run_faiss, folder, "")})
    print(describe("numpy", "faiss-cpu", "usearch"))
    columns = list(dict.fromkeys(name for result in results for name in result))
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for result in results:
        cells = [result.get(name, "") for name in columns]
        print("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2), encoding="utf-8")
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
