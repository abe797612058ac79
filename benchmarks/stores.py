"""Vector stores through LangChain: the same texts and vectors in each, each in its own process.

    python -m benchmarks.stores                  # 10,000 and 100,000 rows
    python -m benchmarks.stores --rows 10000 --stores memvid faiss

Ingest is ``add_texts`` with given vectors plus whatever makes it durable (``save_local``, ``dump``); reopening is
timed in a new process, imports excluded, and ends with the first answer.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from benchmarks.data import Corpus, add_data_option, corpus
from benchmarks.machine import describe

STORES = ("memvid", "faiss", "chroma", "inmemory")
K = 10
FILTER = {"category": "c"}  # one row in ten


class Given(Embeddings):
    """Return vectors that were computed before times are measured."""

    def __init__(self, vectors: list[list[float]]) -> None:
        self._vectors = vectors
        self._next = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        start, self._next = self._next, self._next + len(texts)
        return self._vectors[start : self._next]

    def embed_query(self, text: str) -> list[float]:
        return self._vectors[0]


def _memvid(folder: Path, given: Given, *, new: bool) -> Any:
    from langchain_memvid import MemvidVectorStore

    return MemvidVectorStore(given, path=str(folder / "memory.mp4"))


def _faiss(folder: Path, given: Given, *, new: bool) -> Any:
    import faiss
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS

    if not new:
        return FAISS.load_local(str(folder), given, allow_dangerous_deserialization=True)
    return FAISS(given, faiss.IndexFlatIP(384), InMemoryDocstore(), {})


def _chroma(folder: Path, given: Given, *, new: bool) -> Any:
    from langchain_chroma import Chroma

    return Chroma("benchmark", given, str(folder), collection_metadata={"hnsw:space": "cosine"})


def _inmemory(folder: Path, given: Given, *, new: bool) -> Any:
    from langchain_core.vectorstores import InMemoryVectorStore

    return InMemoryVectorStore(given) if new else InMemoryVectorStore.load(str(folder / "store.json"), given)


OPEN: dict[str, Callable[..., Any]] = {"memvid": _memvid, "faiss": _faiss, "chroma": _chroma, "inmemory": _inmemory}


def ingest(name: str, folder: Path, data: Corpus) -> dict[str, float]:
    """Add everything and make it durable; then one record more."""
    given = Given(data.vectors.tolist())
    ids = [f"id-{i:08d}" for i in range(len(data.texts))]
    _warm(name)
    started = time.perf_counter()
    store = OPEN[name](folder, given, new=True)
    step = 5_000 if name == "chroma" else len(ids)  # near the most that Chroma takes
    for at in range(0, len(ids), step):
        part = slice(at, at + step)
        store.add_texts(data.texts[part], data.metadata[part], ids=ids[part])
    if name == "faiss":
        store.save_local(str(folder))
    elif name == "inmemory":
        store.dump(str(folder / "store.json"))
    elif name == "memvid":
        store.close()
    return {"ingest_s": time.perf_counter() - started}


def _warm(name: str) -> None:
    """Run imports and first calls before times are measured."""
    with tempfile.TemporaryDirectory() as folder:
        store = OPEN[name](Path(folder), Given([[1.0] + [0.0] * 383] * 2), new=True)
        store.add_texts(["warm"], [{"a": 1}], ids=["w"])
        store.similarity_search_by_vector([1.0] + [0.0] * 383, k=1)
        if name == "memvid":
            store.close()
    gc.collect()  # otherwise whoever reaches the threshold pays for the objects of the preparation: half a second


def ask(name: str, folder: Path, data: Corpus, exact: np.ndarray) -> dict[str, float]:
    """Reopen, ask once; then many times, plain and filtered; then add single records."""
    _warm(name)
    given = Given([data.queries[0].tolist()] * 100)
    queries = [query.tolist() for query in data.queries]
    if name == "inmemory":
        queries = queries[: 20 if len(data.texts) <= 10_000 else 3]
    started = time.perf_counter()
    store = OPEN[name](folder, given, new=False)
    store.similarity_search_by_vector(queries[0], k=K)
    reopened = time.perf_counter() - started
    where: Any = (lambda doc: doc.metadata["category"] == "c") if name == "inmemory" else FILTER
    for query in queries[:20]:
        store.similarity_search_by_vector(query, k=K)
    plain, found = _timed(lambda query: store.similarity_search_by_vector(query, k=K), queries)
    filtered, kept = _timed(lambda query: store.similarity_search_by_vector(query, k=K, filter=where), queries)
    numbers = [{int(document.page_content[-9:]) for document in documents} for documents in found]
    recall = np.mean([len(got & set(want.tolist())) / K for got, want in zip(numbers, exact, strict=False)])
    complete = np.mean([len(documents) / K for documents in kept])
    adding, _ = _timed(lambda i: store.add_texts(["one more"], [{"year": 1}], ids=[f"more-{i}"]), list(range(50)))
    return {
        "reopen_ms": reopened * 1e3,
        "p50_ms": float(np.median(plain)) * 1e3,
        "p95_ms": float(np.percentile(plain, 95)) * 1e3,
        "recall": float(recall),
        "filtered_ms": float(np.median(filtered)) * 1e3,
        "filtered_found": float(complete),
        "add_one_ms": float(np.median(adding)) * 1e3,
    }


def _settle() -> None:
    """Let the disk write what is still waiting, so that one store's writes are not timed as another's reads."""
    if hasattr(os, "sync"):  # Windows has none
        os.sync()


def _timed(call: Callable[[Any], Any], items: list[Any]) -> tuple[list[float], list[Any]]:
    times, results = [], []
    for item in items:
        started = time.perf_counter()
        results.append(call(item))
        times.append(time.perf_counter() - started)
    return times, results


def _worker(arguments: argparse.Namespace) -> None:
    saved = np.load(arguments.corpus, allow_pickle=False)
    texts = json.loads(bytes(saved["texts"]))
    data = Corpus(texts, saved["vectors"], json.loads(bytes(saved["metadata"])), saved["queries"], "")
    folder = Path(arguments.folder)
    if arguments.phase == "ingest":
        print(json.dumps(ingest(arguments.worker, folder, data)))
    else:
        print(json.dumps(ask(arguments.worker, folder, data, saved["exact"])))


def _run(store: str, phase: str, folder: Path, saved: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.stores", "--worker", store, "--phase", phase]
    command += ["--folder", str(folder), "--corpus", str(saved), "--data", str(saved.parent)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{store}, {phase}:\n{run.stderr}")
    result: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return result


def compare(rows: int, stores: list[str], data: Path) -> None:
    """Print the table for one number of rows."""
    made = corpus(rows, data=data)
    exact = np.argsort(-(made.queries @ made.vectors.T), axis=1)[:, :K]
    print(f"\n## {rows:,} rows x {made.vectors.shape[1]} ({made.made_of}), k = {K}, filter selects 1 in 10\n")
    print("| store | ingest s | disk MB | reopen + first ms | p50 ms | p95 ms | recall@10 | filtered ms | ", end="")
    print("filter fills | add one ms |\n|" + "---|" * 10)
    with tempfile.TemporaryDirectory() as work:
        saved = Path(work) / "corpus.npz"
        texts, metadata = (np.frombuffer(json.dumps(part).encode(), np.uint8) for part in (made.texts, made.metadata))
        np.savez(saved, vectors=made.vectors, queries=made.queries, exact=exact, texts=texts, metadata=metadata)
        for store in stores:
            folder = Path(work) / store
            folder.mkdir()
            row = _run(store, "ingest", folder, saved)
            _settle()
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
            note = f" (mp4 {(folder / 'memory.mp4').stat().st_size / 1e6:.1f})" if store == "memvid" else ""
            row |= _run(store, "ask", folder, saved)
            print(
                f"| {store} | {row['ingest_s']:.2f} | {size:.1f}{note} | {row['reopen_ms']:.1f} | "
                f"{row['p50_ms']:.2f} | {row['p95_ms']:.2f} | {row['recall']:.4f} | "
                f"{row['filtered_ms']:.2f} | {row['filtered_found']:.2f} | {row['add_one_ms']:.2f} |",
                flush=True,
            )
            shutil.rmtree(folder)


def main() -> None:
    """Print the machine, then a table for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    add_data_option(parser)
    for name in ("worker", "phase", "folder", "corpus"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _worker(arguments)
        return
    peers = ("faiss-cpu", "langchain-community", "chromadb", "langchain-chroma")
    print(describe("memvid-core", "langchain-core", *peers, "numpy"))
    for rows in arguments.rows:
        compare(rows, arguments.stores, arguments.data)


if __name__ == "__main__":
    main()
