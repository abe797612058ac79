"""Moving in and out: JSONL with vectors, LangGraph's SqliteStore, mem0's export; pickles are refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from memvid_core import Memory
from tests.core.cli.running import memvid

IDS = [f"r{n}" for n in range(50)]
# As langgraph-checkpoint-sqlite 3.1 creates it.
_STORE = """
CREATE TABLE store (prefix text NOT NULL, key text NOT NULL, value text NOT NULL, created_at TIMESTAMP DEFAULT
CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, expires_at TIMESTAMP, ttl_minutes REAL,
PRIMARY KEY (prefix, key))
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_vectors_go_out_and_come_in_exactly() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    with Memory.create("a.mp4", embedder="given", vector_dtype="float32", metric="euclidean") as memory:
        memory.add([f"text {n}" for n in range(50)], [{"n": n} for n in range(50)], IDS, vectors)
        asked = [hit.id for hit in memory.search(vectors[7], 10)]
    assert memvid("export", "a.mp4", "-o", "a.jsonl", "--vectors").code == 0
    assert memvid("import", "a.jsonl", "-o", "b.mp4", "--vectors", "--metric", "euclidean").code == 0
    with Memory.open("b.mp4") as memory:
        found = memory.get_vectors(IDS)
        assert [hit.id for hit in memory.search(vectors[7], 10)] == asked
    assert all(np.array_equal(found[f"r{n}"], vectors[n]) for n in range(50))
    assert memvid("import", "a.jsonl", "-o", "c.mp4").code == 0


@pytest.mark.parametrize("vector", ['"x"', '["a"]', "[[1]]", "[true]"])
def test_a_vector_that_is_none(vector: str) -> None:
    Path("a.jsonl").write_text(f'{{"text": "x", "vector": {vector}}}\n')
    done = memvid("import", "a.jsonl", "-o", "b.mp4", "--vectors")
    assert (done.code, Path("b.mp4").exists()) == (2, False)
    assert '"vector" is not a list of numbers' in done.err


def test_a_store_of_langgraph() -> None:
    database = sqlite3.connect("store.db")
    database.execute(_STORE)
    items = [("users.ada", "k1", {"text": "A wing lifts.", "n": 1}), ("users", "k2", {"other": "no field of text"})]
    for prefix, key, value in items:
        database.execute(
            "INSERT INTO store (prefix, key, value) VALUES (?, ?, ?)", (prefix, key, json.dumps(value).encode())
        )
    database.commit()
    database.close()
    assert memvid("import", "store.db", "-o", "a.mp4", "--json").json["records"] == 2
    with Memory.open("a.mp4") as memory:
        first, second = memory.get(["users.ada/k1", "users/k2"])
    assert first.text == "A wing lifts."
    assert (first.metadata["namespace"], first.metadata["key"], first.metadata["n"]) == ("users.ada", "k1", 1)
    assert second.text == '{"other": "no field of text"}'


def test_memories_of_mem0() -> None:
    results = [{"id": "7", "memory": "Likes figs.", "user_id": "ada", "metadata": {"from": "chat"}, "hash": None}]
    Path("mem0.json").write_text(json.dumps({"results": results}))
    assert memvid("import", "mem0.json", "-o", "a.mp4").code == 0
    with Memory.open("a.mp4") as memory:
        record = memory.get("7")
    assert (record.text, dict(record.metadata)) == ("Likes figs.", {"from": "chat", "user_id": "ada"})


@pytest.mark.parametrize("name", ["store/index.pkl", "store/collection/x/storage.sqlite", "store/plain.txt"])
def test_what_holds_pickles_is_refused_with_a_way_out(name: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x04")
    done = memvid("import", "store", "-o", "a.mp4")
    assert done.code == 2
    assert "as JSON lines" in done.err


def test_another_database_is_refused() -> None:
    database = sqlite3.connect("other.db")
    database.execute("CREATE TABLE notes (text)")
    database.commit()
    database.close()
    assert "without the table 'store'" in memvid("import", "other.db", "-o", "a.mp4").err
