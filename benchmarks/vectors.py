"""The five vector indexes, compared with FAISS and a graph, from 10,000 rows on: build, disk, memory, query, filters.

    python -m benchmarks.vectors                           # 10,000 and 100,000 rows
    python -m benchmarks.vectors --rows 1000000 --engines "memvid auto" "memvid ivf" "faiss flat"
    python -m benchmarks.vectors --rows 10000 --metric manhattan

`--metric` selects a distance; only the indexes that support it run.

The rows are vectors of real texts, chunks and questions, repeated with a little noise until there are enough; asked are
vectors of texts that are not among them. Recall is against an exact search in single precision. Every size and engine
is built in one process and searched in another. Writes ``benchmarks/results/vectors.png``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.data import add_data_option, chunks, embedded
from benchmarks.machine import describe
from benchmarks.retrieval.questions import collections
from memvid_core import IndexName, Ivf, Metric
from memvid_core.vectors.metrics import distances

Matrix = NDArray[np.float32]
Search = Callable[[Matrix], NDArray[np.int64]]
Figures = dict[str, float]
K = 10
QUERIES = 200
COMMIT_ROWS = 100_000
NPROBE = 32  # lists that FAISS searches; the recall is close to that of our lists
RESULTS = Path(__file__).resolve().parent / "results"
SHARES = (0.001, 0.1, 0.5)
COLUMNS = (
    *("build s", "disk MB", "open + first ms", "p50 ms", "p95 ms", "best ms", "recall@10", "resident MB"),
    *("of that index MB", *(f"filter {share} ms" for share in SHARES), "batch ms a query"),
)
PANELS = {
    "p50 ms": "median query, ms (k = 10)",
    "build s": "build, s",
    "open + first ms": "open and first answer, ms",
    "resident MB": "resident memory, MB",
    "disk MB": "on disk, MB",
    "recall@10": "recall@10",
}


def make(count: int, real: Matrix, noise: float) -> tuple[Matrix, Matrix]:
    """Return rows and questions (n, d), deterministic."""
    asked = np.zeros(len(real), np.bool_)
    asked[:: len(real) // QUERIES] = True
    base = real[~asked]
    random = np.random.default_rng(7)
    rows = np.empty((count, base.shape[1]), np.float32)
    for at in range(0, count, len(base)):
        some = rows[at : at + len(base)]
        shift = random.standard_normal(some.shape, np.float32) * np.float32(noise / np.sqrt(base.shape[1]))
        some[:] = base[: len(some)] + (shift if at else 0)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    return rows, real[asked][:QUERIES]


def truth(rows: Matrix, queries: Matrix, metric: str) -> NDArray[np.int64]:
    """Return the K nearest rows of each question."""
    if metric != "cosine":
        compared = (distances(metric, query, rows) for query in queries)
        return np.stack([np.argpartition(some, K)[:K] for some in compared])
    best = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for at in range(0, len(rows), 100_000):
        part = queries @ rows[at : at + 100_000].T
        scores = np.concatenate((scores, part), axis=1)
        best = np.concatenate((best, np.broadcast_to(np.arange(at, at + part.shape[1]), part.shape)), axis=1)
        order = np.argpartition(-scores, K, axis=1)[:, :K]
        scores, best = np.take_along_axis(scores, order, axis=1), np.take_along_axis(best, order, axis=1)
    return best


def resident() -> float:
    """Return the resident megabytes now."""
    import psutil  # type: ignore[import-untyped]

    return float(psutil.Process().memory_info().rss) / 2**20


def timed(search: Search, queries: Matrix) -> tuple[list[float], list[NDArray[np.int64]]]:
    """Return milliseconds per question, and the rows found."""
    for query in queries[:10]:
        search(query)
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        times.append((time.perf_counter() - start) * 1e3)
    return times, found


def asked(search: Search, folder: Path, opened: float, before: float) -> Figures:
    """Ask every question; ``opened`` is when opening began, ``before`` the resident memory then."""
    queries, right = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    search(queries[0])
    first = time.perf_counter() - opened
    times, found = timed(search, queries)
    share = [len(set(some.tolist()) & set(best.tolist())) / K for some, best in zip(found, right, strict=True)]
    return {
        "open + first ms": first * 1e3,
        "p50 ms": float(np.median(times)),
        "p95 ms": float(np.quantile(times, 0.95)),
        "best ms": float(np.min(times)),
        "recall@10": float(np.mean(share)),
        "resident MB": resident(),
        "of that index MB": resident() - before,
    }


def metric_of(folder: Path) -> Any:
    return (folder / "metric").read_text()


def build_ours(folder: Path, strategy: Any) -> Figures:
    from memvid_core.vectors.vector_index import VectorIndex

    rows = np.load(folder / "rows.npy", mmap_mode="r")
    start = time.perf_counter()
    index = VectorIndex(rows.shape[1], folder=folder / strategy, strategy=strategy, metric=metric_of(folder))
    for at in range(0, len(rows), COMMIT_ROWS):
        index.extend(at, rows[at : at + COMMIT_ROWS])
    index.sync(len(rows))  # as after a commit: lists are saved only for committed rows
    index.flush()
    return {"build s": time.perf_counter() - start, "disk MB": index.nbytes / 2**20}


def search_ours(folder: Path, strategy: Any) -> Figures:
    from memvid_core.vectors.vector_index import VectorIndex

    count, dimension = np.load(folder / "rows.npy", mmap_mode="r").shape
    name, _, stated = strategy.partition(":")
    chosen = Ivf(float(stated)) if stated else name
    before, start = resident(), time.perf_counter()
    index = VectorIndex(dimension, folder=folder / name, strategy=chosen, metric=metric_of(folder), writable=False)
    index.sync(count)
    if stated:
        index.prepare()  # measures what this share takes
    figures = asked(lambda query: index.search(query, K)[0], folder, start, before)
    queries = np.load(folder / "queries.npy")
    random = np.random.default_rng(0)
    for share in SHARES:
        mask = random.random(count) < share
        times, _ = timed(lambda query, mask=mask: index.search(query, K, mask)[0], queries[:60])  # type: ignore[misc]
        figures[f"filter {share} ms"] = float(np.median(times))
    start = time.perf_counter()
    index.search(queries, K)
    return figures | {"batch ms a query": (time.perf_counter() - start) * 1e3 / len(queries)}


def build_faiss(folder: Path, kind: str) -> Figures:
    """Build a FAISS index: "Flat", or a factory string with the number of lists that the FAISS guide recommends."""
    import faiss

    rows, path = np.load(folder / "rows.npy"), folder / f"{kind}.faiss"
    metrics = {"cosine": "INNER_PRODUCT", "euclidean": "L2", "manhattan": "L1", "chebyshev": "Linf"}
    start = time.perf_counter()
    lists = int(4 * len(rows) ** 0.5)
    index = faiss.index_factory(
        rows.shape[1], kind.format(lists=lists), getattr(faiss, f"METRIC_{metrics[metric_of(folder)]}")
    )
    if not index.is_trained:
        index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(path))
    return {"build s": time.perf_counter() - start, "disk MB": path.stat().st_size / 2**20}


def search_faiss(folder: Path, kind: str) -> Figures:
    import faiss

    before, start = resident(), time.perf_counter()
    index = faiss.read_index(str(folder / f"{kind}.faiss"))
    if kind != "Flat":
        index.nprobe = NPROBE
    figures = asked(lambda query: index.search(query[None], K)[1][0], folder, start, before)
    queries, random, count = np.load(folder / "queries.npy"), np.random.default_rng(0), index.ntotal
    for share in SHARES if metric_of(folder) == "cosine" else ():
        selector = faiss.IDSelectorBatch(np.flatnonzero(random.random(count) < share))
        chosen = faiss.SearchParameters if kind == "Flat" else faiss.SearchParametersIVF
        given = {"sel": selector} if kind == "Flat" else {"sel": selector, "nprobe": NPROBE}
        parameters = chosen(**given)
        times, _ = timed(lambda query, p=parameters: index.search(query[None], K, params=p)[1][0], queries[:60])  # type: ignore[misc]
        figures[f"filter {share} ms"] = float(np.median(times))
    start = time.perf_counter()
    index.search(queries, K)
    return figures | {"batch ms a query": (time.perf_counter() - start) * 1e3 / len(queries)}


class Engine(NamedTuple):
    """Describe how an engine is built and searched, and its setting."""

    build: Callable[[Path, str], Figures]
    search: Callable[[Path, str], Figures]
    setting: str = ""


def graph(dimension: int) -> Any:
    from usearch.index import Index

    return Index(ndim=dimension, metric="cos", dtype="bf16", connectivity=32, expansion_add=128, expansion_search=168)


def build_usearch(folder: Path, _: str) -> Figures:
    rows, path = np.load(folder / "rows.npy", mmap_mode="r"), folder / "graph.usearch"
    start = time.perf_counter()
    index = graph(rows.shape[1])
    for at in range(0, len(rows), COMMIT_ROWS):
        some = rows[at : at + COMMIT_ROWS]
        index.add(np.arange(at, at + len(some), dtype=np.uint64), some, threads=0)
    index.save(str(path))
    return {"build s": time.perf_counter() - start, "disk MB": path.stat().st_size / 2**20}


def search_usearch(folder: Path, expansion: str) -> Figures:
    queries = np.load(folder / "queries.npy")
    before, start = resident(), time.perf_counter()
    index = graph(queries.shape[1])
    index.load(str(folder / "graph.usearch"))
    index.expansion_search = int(expansion or 168)
    figures = asked(lambda query: index.search(query, K).keys.astype(np.int64), folder, start, before)
    start = time.perf_counter()
    index.search(queries, K)
    return figures | {"batch ms a query": (time.perf_counter() - start) * 1e3 / len(queries)}


ENGINES = {
    **{f"memvid {name}": Engine(build_ours, search_ours, name) for name in get_args(IndexName)},
    "faiss flat": Engine(build_faiss, search_faiss, "Flat"),
    "faiss IVF flat": Engine(build_faiss, search_faiss, "IVF{lists},Flat"),
    "faiss IVF SQ8": Engine(build_faiss, search_faiss, "IVF{lists},SQ8"),
    "usearch hnsw": Engine(build_usearch, search_usearch),
}
BY_COSINE = ("memvid quantized", "memvid ivf", "faiss IVF flat", "faiss IVF SQ8", "usearch hnsw")
COLORS = ("#2b6cb0", "#4299e1", "#805ad5", "#38b2ac", "#2f855a", "#a0aec0", "#d69e2e", "#b7791f", "#dd6b20")


def apart(work: Callable[[Path, str], Figures], folder: Path, setting: str) -> Figures:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder, setting))


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw how each engine grows."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    axis: Any
    for axis, (column, label) in zip(axes.flat, PANELS.items(), strict=True):
        for engine, color in zip(ENGINES, COLORS, strict=True):
            line = [(result["rows"], result[column]) for result in results if result["engine"] == engine]
            if line:
                axis.plot(*zip(*line, strict=True), marker="o", color=color, label=engine)
        axis.set(title=label, xlabel="rows of 384 components", xscale="log")
        if column == "recall@10":
            axis.set_ylim(0, 1.03)
        else:
            axis.set_yscale("log")
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes.flat[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--noise", type=float, default=0.1, help="length of what is added to a vector of length 1")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--metric", choices=get_args(Metric), default="cosine")
    add_data_option(parser)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    by_cosine = options.metric == "cosine"
    engines = {name: ENGINES[name] for name in options.engines if by_cosine or name not in BY_COSINE}
    asked = (question for collection in collections(options.data) for question in collection.questions)
    real, made_of = embedded(list(dict.fromkeys([*chunks(options.data), *asked])))
    print(describe("memvid-core", "numpy", "scikit-learn", "faiss-cpu", "usearch"))
    setup = f"({made_of}), noise {options.noise}, by {options.metric}, k = {K}, {QUERIES} questions"
    print(f"\nVectors of {len(real):,} texts {setup}.\n")
    print(f"| rows | engine | {' | '.join(COLUMNS)} |\n|" + "---|" * (len(COLUMNS) + 2), flush=True)
    results: list[dict[str, Any]] = []
    for count in options.rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows, queries = make(count, real, options.noise)
            for part, matrix in (("rows", rows), ("queries", queries), ("truth", truth(rows, queries, options.metric))):
                np.save(folder / f"{part}.npy", matrix)
            (folder / "metric").write_text(options.metric)
            del rows
            for engine, (build, search, setting) in engines.items():
                figures = apart(build, folder, setting) | apart(search, folder, setting)
                results.append({"rows": count, "engine": engine, **figures})
                cells = (f"{figures[name]:.4g}" if name in figures else "" for name in COLUMNS)
                print(f"| {count:,} | {engine} | {' | '.join(cells)} |", flush=True)
    if by_cosine:
        plot(results, options.results / "vectors.png")
        print(f"\nplot: {options.results / 'vectors.png'}")


if __name__ == "__main__":
    main()
