"""Texts and vectors that are read together are of one commit, also while others replace the records."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from langchain_memvid.documents import StoreView
from llama_index_memvid import MemvidVectorStore
from memvid_core import DamagedFrameError, DamageWarning, HashingEmbedder, Library, Memory
from memvid_core.cli.tables import parquet_records
from tests.core.cli.running import memvid

RECORDS, ROUNDS = 40, 30
IDS = [f"r{n}" for n in range(RECORDS)]
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta")
EMBEDDER = HashingEmbedder()
QUESTION = EMBEDDER.embed_query("wing alpha")
Pairs = list[tuple[str, Any]]


def text(n: int, turn: int) -> str:
    return f"wing {WORDS[(n + turn) % 7]} {WORDS[(n * turn + 2) % 7]} {n}"


@contextmanager
def replacing(change: Callable[[int], object]) -> Iterator[None]:
    """Change all records again and again in another thread."""
    ended, turn = threading.Event(), iter(range(1, 1_000_000))

    def work() -> None:
        while not ended.is_set():
            change(next(turn))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def queried(mode: VectorStoreQueryMode) -> Callable[[Memory | Library], Pairs]:
    def ask(held: Memory | Library) -> Pairs:
        query = VectorStoreQuery(QUESTION.tolist(), 8, query_str="wing", mode=mode, output_fields=["embedding"])
        nodes = MemvidVectorStore(memory=held).query(query).nodes or []
        return [(node.get_content(), node.embedding) for node in nodes]

    return ask


def nodes(held: Memory | Library) -> Pairs:
    store = MemvidVectorStore(memory=held)
    return [(node.get_content(), node.embedding) for node in [*store.get_nodes(IDS[:9]), *store.get_nodes()]]


def view(held: Memory | Library) -> Pairs:
    found = [StoreView(held)[name] for name in IDS[:9]]
    return [(one["text"], one["vector"]) for one in found]


def selected(held: Memory | Library) -> Pairs:
    return [(record.text, vector) for record, vector in held.select_with_vectors({"$id": {"$in": IDS[:20]}})]


DOORS = {mode.value: queried(mode) for mode in VectorStoreQueryMode if mode.value not in ("sparse", "text_search")}
DOORS |= {"get_nodes": nodes, "view": view, "select_with_vectors": selected}


def check(pairs: Pairs) -> None:
    assert pairs
    for found, vector in pairs:
        right, given = EMBEDDER.embed_documents([found])[0], np.asarray(vector, np.float64)
        assert right @ given > 0.999 * np.linalg.norm(right) * np.linalg.norm(given), found


@pytest.mark.parametrize("door", DOORS)
def test_a_text_has_its_own_vector_while_others_replace_it(tmp_path: Path, door: str) -> None:
    with (
        Memory.create(tmp_path / "m.mp4", EMBEDDER) as writer,
        Memory.open(tmp_path / "m.mp4", embedder=EMBEDDER) as memory,
    ):
        writer.add([text(n, 0) for n in range(RECORDS)], ids=IDS)
        with replacing(lambda turn: writer.add([text(n, turn) for n in range(RECORDS)], ids=IDS)):
            for _ in range(ROUNDS):
                check(DOORS[door](memory))


@pytest.mark.parametrize("door", ["hybrid", "svm", "get_nodes", "select_with_vectors"])
def test_a_text_of_a_library_has_its_own_vector_while_another_thread_replaces_it(tmp_path: Path, door: str) -> None:
    with Library.create(tmp_path / "library", EMBEDDER) as library:
        library.add([text(n, 0) for n in range(RECORDS)], ids=IDS)
        with replacing(lambda turn: library.add([text(n, turn) for n in range(RECORDS)], ids=IDS)):
            for _ in range(ROUNDS):
                check(DOORS[door](library))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_has_each_text_with_its_own_vector_while_others_replace_it(tmp_path: Path, kind: str) -> None:
    with Memory.create(tmp_path / "m.mp4", EMBEDDER) as writer:
        writer.add([text(n, 0) for n in range(RECORDS)], ids=IDS)
        with replacing(lambda turn: writer.add([text(n, turn) for n in range(RECORDS)], ids=IDS)):
            for _ in range(ROUNDS // 3):
                out = tmp_path / f"out.{kind}"
                assert memvid("export", tmp_path / "m.mp4", "--vectors", "--force", "-o", out).code == 0
                check([(one["text"], one["vector"]) for one in exported(out)])


def exported(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return [dict(one) for one in parquet_records(path)]


def test_merged_memories_have_each_text_with_its_own_vector_while_others_replace_it(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", EMBEDDER) as writer:
        writer.add([text(n, 0) for n in range(RECORDS)], ids=IDS)
        with replacing(lambda turn: writer.add([text(n, turn) for n in range(RECORDS)], ids=IDS)):
            for n in range(ROUNDS // 3):
                assert memvid("merge", tmp_path / "m.mp4", "-o", tmp_path / f"{n}.mp4").code == 0
                assert memvid("library", "build", tmp_path / f"library-{n}", tmp_path / "m.mp4").code == 0
                with Memory.open(tmp_path / f"{n}.mp4", embedder=EMBEDDER) as memory:
                    check(selected(memory))
                with Library.open(tmp_path / f"library-{n}", embedder=EMBEDDER) as library:
                    check(selected(library))


def test_selected_records_have_their_vectors(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", "given") as memory:
        memory.add(["a", "b"], [{"n": 1}, {"n": 2}], ids=["a", "b"], vectors=[[1.0, 0.0], None])
        assert [
            (record.id, None if vector is None else vector.tolist()) for record, vector in memory.select_with_vectors()
        ] == [
            ("a", [1.0, 0.0]),
            ("b", None),
        ]
        assert [record.id for record, _ in memory.select_with_vectors({"n": 2})] == ["b"]


def test_a_damaged_record_is_an_error_if_it_is_asked_for_by_id(tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    with Memory.create(path) as memory:
        for name in IDS[:3]:
            memory.add([f"wing {name}"], ids=[name])
        [place] = memory._session.snapshot().frames_of([IDS[1]]).values()
    with path.open("r+b") as file:
        file.seek(place.offset)
        file.write(bytes(place.size))
    lookups: list[Callable[[Memory], object]] = [
        lambda memory: memory.get(IDS[:3]),
        lambda memory: memory.select_with_vectors({"$id": {"$in": IDS[:3]}}),
        lambda memory: memory.select_with_vectors({"$and": [{"$id": {"$in": IDS[:3]}}, {"n": {"$exists": False}}]}),
        lambda memory: StoreView(memory)[IDS[1]],
        lambda memory: MemvidVectorStore(memory=memory).get_nodes(IDS[:3]),
    ]
    for lookup in lookups:
        with Memory.open(path, mode="r") as memory, pytest.raises(DamagedFrameError):
            lookup(memory)
    with Memory.open(path, mode="r") as memory:
        with pytest.warns(DamageWarning):
            assert [record.id for record, _ in memory.select_with_vectors()] == [IDS[0], IDS[2]]
        assert [record.id for record in memory.select()] == [IDS[0], IDS[2]]
