"""Moving in: stores made by other packages, imported without a model, compared with what the packages return.

The packages are chromadb, lancedb, qdrant-client, langchain-community with faiss-cpu, langgraph-checkpoint-sqlite, and
mem0ai, which keeps its memories in a local Qdrant; its JSON has no vectors. JSONL is written by the standard library,
and Parquet by pyarrow; the answers of these two are those of an exact search by numpy. ``--keep`` leaves the
stores in a folder, which is how ``tests/core/golden/peers.zip`` was made (``--records 200 --dimension 8``).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.machine import describe
from memvid_core import Memory
from memvid_core.cli import app

_BATCH = 500
_QUESTIONS = 20
_BEST = 10
_PACKAGES = (
    "chromadb",
    "qdrant-client",
    "faiss-cpu",
    "langchain-community",
    "lancedb",
    "langgraph-checkpoint-sqlite",
    "mem0ai",
    "pyarrow",
    "numpy",
)
_FILES = ("store.db", "notes.jsonl", "notes.parquet")  # stores that are one file, not a folder


def main() -> None:
    """Make a store with each package, import it, and print what came in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--only", nargs="*", choices=_PEERS, default=list(_PEERS))
    parser.add_argument("--keep", type=Path, help="a folder for the stores; by default a temporary one")
    options = parser.parse_args()
    given = _Given(options.records, options.dimension)
    print(describe("memvid-core", *_PACKAGES), end="\n\n")
    print("| store | records | texts and metadata equal | vectors equal to the bit | same top ten | import |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for name, (make, metric) in _PEERS.items():
            if name not in options.only:
                continue
            store = folder / name
            store.mkdir(parents=True)
            ask, expected = make(store, given)
            (folder / f"{name}.json").write_text(json.dumps(expected, ensure_ascii=False))
            print(_compared(name, store, Path(temporary) / f"{name}.mp4", metric, given, ask, expected), flush=True)


class _Given:
    """Hold the records that every store gets."""

    def __init__(self, records: int, dimension: int) -> None:
        rng = np.random.default_rng(1)
        self.vectors = rng.normal(size=(records, dimension)).astype(np.float32)
        self.questions = rng.normal(size=(_QUESTIONS, dimension)).astype(np.float32)
        self.ids = [f"id-{n}" for n in range(records)]
        self.texts = [f'text {n} 값 "q"\n line' for n in range(records)]
        self.metadata: list[dict[str, Any]] = [
            {"n": n, "f": n / 7, "s": f"s{n % 5}", "b": n % 2 == 0} for n in range(records)
        ]
        self.batches = [slice(start, start + _BATCH) for start in range(0, records, _BATCH)]

        self.asked = [f"question {n}" for n in range(_QUESTIONS)]

    def by_text(self) -> dict[str, Any]:
        """Return the vectors by the texts that they belong to, also those of the questions."""
        return dict(zip([*self.texts, *self.asked], [*self.vectors, *self.questions], strict=True))

    def expected(self) -> dict[str, Any]:
        """Return text, metadata and vector by id."""
        rows = zip(self.ids, self.texts, self.metadata, self.vectors.tolist(), strict=True)
        return {record_id: [text, about, vector] for record_id, text, about, vector in rows}


_Made = tuple[Callable[[Any], list[str]], dict[str, Any]]


def _chroma(folder: Path, given: _Given) -> _Made:
    import chromadb

    size = len(given.ids)
    settings: Any = {"hnsw": {"space": "cosine", "sync_threshold": max(10, size // 3), "batch_size": 10}}
    notes = chromadb.PersistentClient(str(folder)).create_collection(
        "notes", configuration=settings, embedding_function=None
    )
    for part in given.batches:
        notes.add(given.ids[part], given.vectors[part], given.metadata[part], given.texts[part])
    notes.delete([given.ids[3]])
    notes.update(given.ids[5], embeddings=given.vectors[5], metadatas={"n": None, "new": 1}, documents="changed")
    got = notes.get(include=["embeddings", "documents", "metadatas"])
    vectors = np.asarray(got["embeddings"], np.float32)
    rows = zip(got["ids"], got["documents"], got["metadatas"], vectors.tolist(), strict=True)
    # Its search is approximate, so the answers are those of an exact one over the vectors that it returns.
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = got["ids"]
    return (
        lambda question: [order[n] for n in np.argsort(-(units @ question), kind="stable")[:_BEST]],
        {record_id: [text, about, vector] for record_id, text, about, vector in rows},
    )


def _lancedb(folder: Path, given: _Given) -> _Made:
    import lancedb

    rows = zip(given.ids, given.texts, given.vectors, given.metadata, strict=True)
    table = lancedb.connect(str(folder)).create_table(
        "notes", [{"id": i, "text": text, "vector": vector, "metadata": about} for i, text, vector, about in rows]
    )
    return lambda question: [row["id"] for row in table.search(question).limit(_BEST).to_list()], given.expected()


def _qdrant(folder: Path, given: _Given) -> _Made:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    size = given.vectors.shape[1]
    client.create_collection("notes", vectors_config=models.VectorParams(size=size, distance=models.Distance.EUCLID))
    points = [
        models.PointStruct(id=n, vector=vector.tolist(), payload={"text": text, **about})
        for n, (vector, text, about) in enumerate(zip(given.vectors, given.texts, given.metadata, strict=True))
    ]
    for part in given.batches:
        client.upsert("notes", points[part])

    def ask(question: Any) -> list[str]:
        return [str(point.id) for point in client.query_points("notes", question.tolist(), limit=_BEST).points]

    return ask, {str(n): row for n, row in enumerate(given.expected().values())}


def _faiss(folder: Path, given: _Given) -> _Made:
    from langchain_community.vectorstores import FAISS
    from langchain_core.embeddings import FakeEmbeddings

    pairs = list(zip(given.texts, given.vectors.tolist(), strict=True))
    model = FakeEmbeddings(size=given.vectors.shape[1])
    store = FAISS.from_embeddings(pairs, model, metadatas=given.metadata, ids=given.ids)
    store.save_local(str(folder))

    def ask(question: Any) -> list[str]:
        return [str(found.id) for found in store.similarity_search_by_vector(question.tolist(), k=_BEST)]

    return ask, given.expected()


def _langgraph(folder: Path, given: _Given) -> _Made:
    from langgraph.store.base import PutOp
    from langgraph.store.sqlite import SqliteStore

    vectors = given.by_text()
    index: Any = {
        "dims": given.vectors.shape[1],
        "embed": lambda texts: [vectors[text].tolist() for text in texts],
        "text_fields": ["text"],
    }
    values = [{"text": text, **about} for text, about in zip(given.texts, given.metadata, strict=True)]
    puts = [PutOp(("notes",), key, value) for key, value in zip(given.ids, values, strict=True)]
    with SqliteStore.from_conn_string(str(folder / "store.db"), index=index) as store:
        store.setup()
        for part in given.batches:
            store.batch(puts[part])
        found = [
            [f"notes/{item.key}" for item in store.search(("notes",), query=text, limit=_BEST)] for text in given.asked
        ]
    answers = {question.tobytes(): ids for question, ids in zip(given.questions, found, strict=True)}
    expected = {
        f"notes/{key}": [text, {**about, "namespace": "notes", "key": key}, vector]
        for key, (text, about, vector) in given.expected().items()
    }
    return lambda question: answers[question.tobytes()], expected


def _mem0(folder: Path, given: _Given) -> _Made:
    os.environ |= {"MEM0_TELEMETRY": "False", "OPENAI_API_KEY": "none", "MEM0_DIR": str(folder / "settings")}
    from mem0 import Memory as Mem0
    from mem0.utils.factory import EmbedderFactory

    vectors = given.by_text()

    class Given:
        config = SimpleNamespace(embedding_dims=given.vectors.shape[1])

        def embed(self, text: str, memory_action: str | None = None) -> list[float]:
            vector: list[float] = vectors[text].tolist()
            return vector

        def embed_batch(self, texts: list[str], memory_action: str | None = None) -> list[list[float]]:
            return [self.embed(text) for text in texts]

    EmbedderFactory.create = staticmethod(lambda *_: Given())
    size = given.vectors.shape[1]
    place = {"path": str(folder), "on_disk": True, "embedding_model_dims": size, "collection_name": "notes"}
    store = {"provider": "qdrant", "config": place}
    memory = Mem0.from_config({"vector_store": store, "history_db_path": str(folder / "history.db")})
    for text, about in zip(given.texts, given.metadata, strict=True):
        memory.add(text, user_id="ada", metadata=about, infer=False)
    points = memory.vector_store.list(top_k=len(given.texts))[0]
    stored = memory.vector_store.client.retrieve("notes", [point.id for point in points], with_vectors=True)
    expected = {
        str(point.id): [point.payload["data"], {k: v for k, v in point.payload.items() if k != "data"}, _dense(point)]
        for point in stored
    }

    def ask(question: Any) -> list[str]:
        found = memory.vector_store.client.query_points("notes", question.tolist(), limit=_BEST)
        return [str(point.id) for point in found.points]

    return ask, expected


def _jsonl(folder: Path, given: _Given) -> _Made:
    with (folder / "notes.jsonl").open("w", encoding="utf-8") as file:
        for record_id, (text, about, vector) in given.expected().items():
            record = {"id": record_id, "text": text, "metadata": about, "vector": vector}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return _nearest(given), given.expected()


def _parquet(folder: Path, given: _Given) -> _Made:
    import pyarrow as pa
    from pyarrow import parquet

    size = given.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(given.vectors.ravel()), size)
    columns = {"id": given.ids, "text": given.texts, "vector": vectors, "metadata": given.metadata}
    parquet.write_table(pa.table(columns), folder / "notes.parquet")
    return _nearest(given), given.expected()


def _nearest(given: _Given) -> Callable[[Any], list[str]]:
    """Return an exact search over the given vectors, by Euclidean distance."""

    def ask(question: Any) -> list[str]:
        distances = np.linalg.norm(given.vectors - question, axis=1)
        return [given.ids[n] for n in np.argsort(distances, kind="stable")[:_BEST]]

    return ask


def _dense(point: Any) -> list[float]:
    vector: Any = point.vector
    return list(vector if isinstance(vector, list) else vector[""])


_PEERS: dict[str, tuple[Callable[[Path, _Given], _Made], str]] = {
    "chroma": (_chroma, "cosine"),
    "qdrant": (_qdrant, "euclidean"),
    "faiss": (_faiss, "euclidean"),
    "lancedb": (_lancedb, "euclidean"),
    "langgraph": (_langgraph, "cosine"),
    "mem0": (_mem0, "cosine"),
    "jsonl": (_jsonl, "euclidean"),
    "parquet": (_parquet, "euclidean"),
}


def _undated(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without the times that LangGraph adds to items."""
    return {name: value for name, value in metadata.items() if name not in ("created_at", "modified")}


def _compared(
    name: str, store: Path, output: Path, metric: str, given: _Given, ask: Any, expected: dict[str, Any]
) -> str:
    began = time.perf_counter()
    path = next((store / file for file in _FILES if (store / file).exists()), store)
    app(["import", str(path), "-o", str(output), "--vectors", "--metric", metric], standalone_mode=False)
    seconds = time.perf_counter() - began
    with Memory.open(output, index="exact") as memory:
        found = {record.id: record for record in memory}
        vectors = memory.get_vectors(list(found))
        whole = [
            i
            for i, (text, about, _) in expected.items()
            if i in found and found[i].text == text and _undated(found[i].metadata) == _undated(about)
        ]
        # Chroma divides vectors by their lengths and multiplies them again, but its log has them as they were given;
        # Qdrant keeps them as they were given, and returns those of mem0 with length 1.
        first = {**given.by_text(), "changed": given.vectors[5]}
        equal = [
            i
            for i, (text, _, vector) in expected.items()
            if any(np.array_equal(vectors[i], np.asarray(of, np.float32)) for of in (vector, first.get(text, vector)))
        ]
        same = [[hit.id for hit in memory.search(question, _BEST)] == ask(question) for question in given.questions]
    count = len(expected)
    return (
        f"| {name} | {len(found):,} of {count:,} | {len(whole):,} | {len(equal):,} "
        f"| {sum(same)} of {len(same)} | {seconds:.1f} s |"
    )


if __name__ == "__main__":
    main()
