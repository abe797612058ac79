"""The LlamaIndex store: compared with other stores of LlamaIndex, and with the memory under it.

    python -m benchmarks.llama_index
    python -m benchmarks.llama_index --nodes 2000 --asked 20000 --repeats 1

Nodes are as an index hands them over: a text, metadata, the document they come from, an embedding. Each store is filled
in a process of its own, by turns, with whatever makes it durable (``persist``); reopening is timed in a new process,
imports excluded, and ends with the first answer. For the second table one process asks the store and its memory the
same, by turns, after a round off the clock; the ratio is the median of those pairs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import NodeRelationship, ObjectType, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode
from numpy.typing import NDArray

from benchmarks.data import Corpus, add_data_option, corpus
from benchmarks.machine import describe

STORES = ("memvid", "chroma", "simple")
K = 10
CATEGORY = MetadataFilters(filters=[MetadataFilter(key="category", value="c")])  # one node in ten
CANDIDATES = 40  # what MMR chooses from


def nodes_of(data: Corpus, count: int | None = None) -> list[TextNode]:
    """Make one node per text, with its source document, of the first ``count`` texts or of all."""
    return [
        TextNode(
            id_=f"node-{number:08d}",
            text=text,
            metadata=metadata,
            embedding=vector,
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(
                    node_id=metadata["source"], node_type=ObjectType.DOCUMENT, metadata=metadata, hash="0" * 64
                )
            },
        )
        for number, (text, metadata, vector) in enumerate(
            zip(data.texts[:count], data.metadata[:count], data.vectors[:count].tolist(), strict=True)
        )
    ]


def _memvid(folder: Path) -> Any:
    from llama_index_memvid import MemvidVectorStore

    return MemvidVectorStore(folder / "memory.mp4")


def _chroma(folder: Path) -> Any:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    client = chromadb.PersistentClient(str(folder))
    collection = client.get_or_create_collection("benchmark", metadata={"hnsw:space": "cosine"})
    return ChromaVectorStore(chroma_collection=collection)


def _simple(folder: Path) -> Any:
    from llama_index.core.vector_stores import SimpleVectorStore

    saved = folder / "store.json"
    return SimpleVectorStore.from_persist_path(str(saved)) if saved.exists() else SimpleVectorStore()


OPEN: dict[str, Callable[[Path], Any]] = {"memvid": _memvid, "chroma": _chroma, "simple": _simple}


def _query(vector: list[float], filters: MetadataFilters | None = None) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=vector, similarity_top_k=K, filters=filters)


def _warm(name: str, data: Corpus) -> None:
    """Run imports and first calls before the measurement."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Chroma keeps its files open
        store = OPEN[name](Path(folder))
        store.add(nodes_of(data, 10))
        store.query(_query(data.queries[0].tolist(), CATEGORY))
        if name == "memvid":
            store.close()


def add(name: str, folder: Path, data: Corpus) -> dict[str, float]:
    """Add every node and make it durable."""
    _warm(name, data)
    nodes = nodes_of(data)
    started = time.perf_counter()
    store = OPEN[name](folder)
    step = 5_000 if name == "chroma" else len(nodes)  # near the most that Chroma takes
    for at in range(0, len(nodes), step):
        store.add(nodes[at : at + step])
    if name == "simple":
        store.persist(str(folder / "store.json"))
    elif name == "memvid":
        store.close()
    return {"add_s": time.perf_counter() - started}


def ask(name: str, folder: Path, data: Corpus) -> dict[str, float]:
    """Reopen, ask once; then many times, plain and filtered."""
    _warm(name, data)
    queries = [vector.tolist() for vector in data.queries[: 10 if name == "simple" else None]]
    started = time.perf_counter()
    store = OPEN[name](folder)
    store.query(_query(queries[0]))
    reopened = time.perf_counter() - started
    row = {"reopen_ms": reopened * 1e3}
    for column, filters in (("p50_ms", None), ("filtered_ms", CATEGORY)):
        asked = [_query(vector, filters) for vector in queries]
        for query in asked:
            store.query(query)
        row[column] = float(np.median([_timed(partial(store.query, query)) for query in asked])) * 1e3
    return row


def overhead(name: str, folder: Path, data: Corpus) -> dict[str, list[float]]:
    """Return for each kind of question the median times of memory and store, in ms, and of their ratios."""
    store = OPEN[name](folder)
    store.add(nodes_of(data))
    pairs = _pairs(store, data)
    found = {}
    for kind, asked in pairs.items():
        for own, through in asked:
            assert [hit.id for hit in own()] == through().ids, kind
        pairs_of_times = []
        for turn in range(4):  # who is asked second finds warmer caches: each is, as often as the other
            for own, through in asked:
                pair = (_timed(own), _timed(through)) if turn % 2 else (_timed(through), _timed(own))[::-1]
                pairs_of_times.append(pair)
        times: NDArray[np.float64] = np.array(pairs_of_times)
        own_ms, through_ms = np.median(times, axis=0) * 1e3
        found[kind] = [float(own_ms), float(through_ms), float(np.median(times[:, 1] / times[:, 0]))]
    store.close()
    return found


Pair = tuple[Callable[[], Any], Callable[[], Any]]


def _pairs(store: Any, data: Corpus) -> dict[str, list[Pair]]:
    """Return each question in the form for the memory and in the form for the store."""
    memory, modes = store.memory, VectorStoreQueryMode
    kinds: dict[str, list[Pair]] = {"dense": [], "dense, filtered": [], "mmr": [], "words": [], "hybrid": []}

    def pair(own: Callable[[], Any], options: dict[str, Any], **query: Any) -> Pair:
        return own, partial(store.query, VectorStoreQuery(similarity_top_k=K, **query), **options)

    for vector, text in zip(data.queries, data.texts, strict=False):
        listed, words = vector.tolist(), " ".join(text.split()[:6])
        search = partial(memory.search, k=K)
        kinds["dense"].append(pair(partial(search, vector, mode="dense"), {}, query_embedding=listed))
        own = partial(search, vector, where={"category": "c"}, mode="dense")
        kinds["dense, filtered"].append(pair(own, {}, query_embedding=listed, filters=CATEGORY))
        own = partial(memory.mmr, vector, K, fetch_k=CANDIDATES)
        options = {"mmr_prefetch_k": CANDIDATES}
        kinds["mmr"].append(pair(own, options, query_embedding=listed, mode=modes.MMR))
        own = partial(search, words, mode="lexical")
        kinds["words"].append(pair(own, {}, query_str=words, mode=modes.SPARSE))
        own = partial(search, words, mode="hybrid", embedding=vector)
        kinds["hybrid"].append(pair(own, {}, query_str=words, query_embedding=listed, mode=modes.HYBRID))
    return kinds


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


PHASES: dict[str, Callable[[str, Path, Corpus], Any]] = {"add": add, "ask": ask, "overhead": overhead}


def _run(name: str, phase: str, folder: Path, arguments: argparse.Namespace, rows: int) -> Any:
    command = [sys.executable, "-m", "benchmarks.llama_index", "--worker", name, "--phase", phase]
    command += ["--folder", str(folder), "--nodes", str(rows), "--data", str(arguments.data)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{name}, {phase}:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def compare(arguments: argparse.Namespace) -> None:
    """Compare the stores."""
    print(f"\n## {arguments.nodes:,} nodes, k = {K}, filter selects 1 in 10; add: median of {arguments.repeats}\n")
    print("| store | add s | disk MB | reopen + first ms | p50 ms | filtered ms |\n|" + "---|" * 6)
    with tempfile.TemporaryDirectory() as work:
        adding: dict[str, list[float]] = {name: [] for name in arguments.stores}
        for turn in range(arguments.repeats):
            for name in arguments.stores:
                folder = Path(work) / f"{name}-{turn}"
                folder.mkdir()
                adding[name].append(_run(name, "add", folder, arguments, arguments.nodes)["add_s"])
        for name in arguments.stores:
            folder = Path(work) / f"{name}-0"
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
            row = _run(name, "ask", folder, arguments, arguments.nodes)
            print(
                f"| {name} | {np.median(adding[name]):.2f} | {size:.1f} | {row['reopen_ms']:.1f} | "
                f"{row['p50_ms']:.2f} | {row['filtered_ms']:.2f} |",
                flush=True,
            )


def stand_on(arguments: argparse.Namespace) -> None:
    """Compare the store with its memory."""
    print(f"\n## {arguments.asked:,} nodes, k = {K}: through the store, and of the memory under it\n")
    print("| question | memory p50 ms | store p50 ms | store / memory |\n|" + "---|" * 4)
    with tempfile.TemporaryDirectory() as work:
        found = _run("memvid", "overhead", Path(work), arguments, arguments.asked)
    for kind, (own, through, ratio) in found.items():
        print(f"| {kind} | {own:.2f} | {through:.2f} | {ratio:.2f} |")


def main() -> None:
    """Print the machine, then both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000, help="how many each store is filled with")
    parser.add_argument("--asked", type=int, default=100_000, help="how many the second table asks about")
    parser.add_argument("--repeats", type=int, default=3, help="how often each store is filled")
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    add_data_option(parser)
    for name in ("worker", "phase", "folder"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        data = corpus(arguments.nodes, data=arguments.data)
        print(json.dumps(PHASES[arguments.phase](arguments.worker, Path(arguments.folder), data)))
        return
    print(describe("memvid-core", "llama-index-core", "llama-index-vector-stores-chroma", "chromadb", "numpy"))
    compare(arguments)
    stand_on(arguments)


if __name__ == "__main__":
    main()
