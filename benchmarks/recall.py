"""What the vector indexes find of the true nearest rows, on three kinds of rows that differ in how near rows are.

    python -m benchmarks.recall                                  # 500,000 vectors in clusters, texts, near-copies
    python -m benchmarks.recall --sets clusters --rows 1000000
    python -m benchmarks.recall --sets clusters --indexes ivf --recalls 0.9 0.95 0.98 0.99   # of one index
    python -m benchmarks.recall --sets clusters --peers "faiss IVF{lists},SQ8" "faiss IVF{lists},PQ48x8" lancedb usearch

`clusters`: distinct vectors around 20,000 centers in 64 hidden dimensions, turned into 384 with noise. `texts`: those
of the built-in embedder for all different windows of 240 characters of the data sets, over 200,000. `copies`: 20,000
of those vectors, each 25 times with noise of a tenth of its length. Asked are vectors made in the same way that are not
among the rows. Recall is of the nearest 10 of an exact search in single precision. Each index is built in one process,
and asked in another.

Peers are built as their documents advise, and asked with several numbers of lists: FAISS with four times the square
root of the rows as its number of lists; LanceDB's IVF_PQ with as many partitions as the square root, 48 subvectors, and
two, five and ten of a hundred partitions looked into, of which ten times the wanted rows are compared exactly; usearch
with 32 edges a row, 128 rows in view to add one, and the number at the end of its name in view to find some.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import add_data_option
from benchmarks.machine import describe
from benchmarks.vectors import (
    COMMIT_ROWS,
    Figures,
    K,
    apart,
    asked,
    build_faiss,
    build_ours,
    build_usearch,
    resident,
    search_ours,
    search_usearch,
    truth,
)
from memvid_core import HashingEmbedder

Matrix = NDArray[np.float32]
ASKED = 400
WINDOW, STEP = 240, 40  # characters
HIDDEN, DIMENSION, CENTERS = 64, 384, 20_000
COPIED = 20_000
COLUMNS = ("recall@10", "p50 ms", "p95 ms", "build s", "open + first ms")


def unit(rows: Matrix) -> Matrix:
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def clusters(count: int, _: Path) -> tuple[Matrix, Matrix]:
    """Return rows and questions around the same centers."""
    random = np.random.default_rng(15)
    centers = random.standard_normal((CENTERS, HIDDEN), np.float32)
    turn = random.standard_normal((HIDDEN, DIMENSION), np.float32) / np.float32(HIDDEN**0.5)

    def some(number: int) -> Matrix:
        hidden = centers[random.integers(0, CENTERS, number)]
        hidden = hidden + np.float32(0.5) * random.standard_normal(hidden.shape, np.float32)
        made = hidden @ turn
        made += np.float32(0.1) * random.standard_normal(made.shape, np.float32)
        return unit(made)

    return np.concatenate([some(min(50_000, count - at)) for at in range(0, count, 50_000)]), some(ASKED)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def windows(data: Path) -> list[str]:
    """Return the different windows of all texts of the data sets, in reading order."""
    found: dict[str, None] = {}
    for path in sorted((*data.rglob("*.json"), *data.rglob("*.jsonl"))):
        lines = path.read_text(encoding="utf-8")
        values = map(json.loads, lines.splitlines()) if path.suffix == ".jsonl" else [json.loads(lines)]
        prose = "\n".join(text for value in values for text in _strings(value) if len(text) > 20)
        found.update(dict.fromkeys(prose[at : at + WINDOW] for at in range(0, len(prose) - WINDOW, STEP)))
    return list(found)


def texts(count: int, data: Path) -> tuple[Matrix, Matrix]:
    """Return vectors of texts, and of other texts as questions."""
    given = windows(data)
    embedder = HashingEmbedder()
    embedder.fit(given[:: max(1, len(given) // 20_000)])
    made = np.concatenate([embedder.embed_documents(given[at : at + 10_000]) for at in range(0, len(given), 10_000)])
    places = np.random.default_rng(15).permutation(len(made))
    return made[places[ASKED : ASKED + count]], made[places[:ASKED]]


def copies(count: int, data: Path) -> tuple[Matrix, Matrix]:
    """Return vectors of some texts, each again and again with noise, and of other texts as questions."""
    base, asked = texts(COPIED, data)
    random = np.random.default_rng(16)
    parts = []
    for at in range(0, count, len(base)):
        part = base[: count - at]
        noise = np.float32(0.1 / base.shape[1] ** 0.5) * random.standard_normal(part.shape, np.float32)
        parts.append(unit(part + noise))
    return np.concatenate(parts), asked


def build_peer(folder: Path, kind: str) -> Figures:
    """Build an index of FAISS, LanceDB or usearch."""
    name, _, factory = kind.partition(" ")
    if name == "faiss":
        return build_faiss(folder, factory)
    if name == "usearch":
        return build_usearch(folder, factory)
    import lancedb
    import pyarrow

    rows = np.load(folder / "rows.npy", mmap_mode="r")
    start = time.perf_counter()
    schema = pyarrow.schema([("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), rows.shape[1]))])
    table = lancedb.connect(folder / "lance").create_table("rows", schema=schema)
    for at in range(0, len(rows), COMMIT_ROWS):
        some = np.asarray(rows[at : at + COMMIT_ROWS])
        listed = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(some.reshape(-1)), rows.shape[1])
        numbers = pyarrow.array(np.arange(at, at + len(some)))
        table.add(pyarrow.Table.from_arrays([numbers, listed], schema=schema))
    table.create_index("cosine", num_partitions=round(len(rows) ** 0.5), num_sub_vectors=48)
    return {"build s": time.perf_counter() - start}


def search_peer(folder: Path, setting: str) -> Figures:
    """Ask an index of FAISS, LanceDB or usearch, with how much it looks at."""
    kind, _, lists = setting.rpartition(" ")
    name, _, factory = kind.partition(" ")
    before, start = resident(), time.perf_counter()
    if name == "faiss":
        import faiss

        index = faiss.read_index(str(folder / f"{factory}.faiss"))
        faiss.omp_set_num_threads(1)
        index.nprobe = int(lists)
        return asked(lambda query: index.search(query[None], K)[1][0], folder, start, before)
    if name == "usearch":
        return search_usearch(folder, lists)
    import lancedb

    table = lancedb.connect(folder / "lance").open_table("rows")

    def search(query: Matrix) -> NDArray[np.int64]:
        found = table.search(query).distance_type("cosine").nprobes(int(lists)).refine_factor(10).limit(K)
        numbers: NDArray[np.int64] = found.select(["id", "_distance"]).to_arrow()["id"].to_numpy()
        return numbers

    return asked(search, folder, start, before)


def settings_of(kind: str, count: int) -> list[str]:
    """Return how a peer is asked."""
    if kind == "lancedb":
        return [f"{kind} {round(count**0.5 * share)}" for share in (0.02, 0.05, 0.1)]
    return [f"{kind} {number}" for number in ((64, 168, 400) if kind == "usearch" else (32, 64, 128, 256))]


SETS: dict[str, Callable[[int, Path], tuple[Matrix, Matrix]]] = {"clusters": clusters, "texts": texts, "copies": copies}


def line(count: int, name: str, index: str, figures: Figures) -> None:
    """Print a line of the table."""
    cells = " | ".join(f"{figures[column]:.4g}" for column in COLUMNS)
    print(f"| {count:,} | {name} | {index} | {cells} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000, help="at most so many rows of each kind")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--indexes", nargs="+", choices=("auto", "ivf"), default=["auto", "ivf"])
    parser.add_argument("--recalls", type=float, nargs="+", default=[], help="what ivf is to find; by default .98")
    parser.add_argument("--peers", nargs="+", default=[], help='"faiss FACTORY", lancedb, usearch')
    add_data_option(parser)
    options = parser.parse_args()
    print(describe("memvid-core", "numpy"))
    print(f"\n{ASKED} questions, k = {K}.\n")
    print(f"| rows | of | index | {' | '.join(COLUMNS)} |\n|" + "---|" * (len(COLUMNS) + 3), flush=True)
    for name in options.sets:
        with tempfile.TemporaryDirectory() as folder_name:
            folder = Path(folder_name)
            rows, queries = SETS[name](options.rows, options.data)
            for part, matrix in (("rows", rows), ("queries", queries), ("truth", truth(rows, queries, "cosine"))):
                np.save(folder / f"{part}.npy", matrix)
            (folder / "metric").write_text("cosine")
            count = len(rows)
            del rows
            for index in options.indexes:
                built = apart(build_ours, folder, index)
                stated = [f"{index}:{recall}" for recall in options.recalls] if index == "ivf" else []
                for setting in stated or [index]:
                    line(count, name, setting, built | apart(search_ours, folder, setting))
            for peer in options.peers:
                built = apart(build_peer, folder, peer)
                for setting in settings_of(peer, count):
                    line(count, name, setting, built | apart(search_peer, folder, setting))


if __name__ == "__main__":
    main()
