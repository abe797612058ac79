"""Moving in and out: JSONL and Parquet with vectors, and the stores of other packages; no pickle is executed."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.base import VECTOR_MIGRATIONS

from memvid_core import Memory
from tests.core.cli.running import memvid

IDS = [f"r{n}" for n in range(50)]


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
    with SqliteStore.from_conn_string("store.db") as store:
        store.setup()
        for n in range(200):
            store.put(("users", f"u{n % 3}"), f"k{n}", {"text": f"Fact {n} 값.", "n": n, "tags": ["a", {"b": None}]})
        store.put(("users",), "other", {"kind": "no field of text"})
        store.delete(("users", "u0"), "k0")
        items = {f"{'.'.join(item.namespace)}/{item.key}": item for item in store.search((), limit=1000)}
    vectors = np.random.default_rng(5).normal(size=(len(items), 8)).astype(np.float32)
    expected = dict(zip(items, vectors, strict=True))
    # Its own tables of vectors. Many builds of Python cannot load the extension with which it fills them.
    with closing(sqlite3.connect("store.db")) as database:
        for migration in VECTOR_MIGRATIONS:
            database.executescript(migration)
        for record_id, vector in expected.items():
            row = (*record_id.split("/"), "text", vector.tobytes())
            database.execute("INSERT INTO store_vectors (prefix, key, field_name, embedding) VALUES (?, ?, ?, ?)", row)
        database.execute(
            "INSERT INTO store_vectors (prefix, key, field_name, embedding) VALUES ('users', 'other', 'kind', ?)",
            (vectors[0].tobytes(),),
        )
        database.commit()
    done = memvid("import", "store.db", "-o", "a.mp4", "--vectors", "--metric", "cosine", "--json")
    assert done.json["records"] == len(items) == 200
    del expected["users/other"]  # of its two vectors, none is the item's
    with Memory.open("a.mp4", index="exact") as memory:
        assert {record.id for record in memory} == set(items)
        for record in memory:
            item = items[record.id]
            value = dict(item.value)
            assert record.text == (value.pop("text", None) or json.dumps(item.value))
            assert {key: record.metadata[key] for key in value} == value
            assert (record.metadata["namespace"], record.metadata["key"]) == (".".join(item.namespace), item.key)
            assert datetime.fromisoformat(record.metadata["modified"]).date() == item.updated_at.date()
        stored = memory.get_vectors(list(items))
        assert {record_id for record_id, vector in stored.items() if vector is not None} == set(expected)
        assert all(np.array_equal(stored[record_id], vector) for record_id, vector in expected.items())


# What `Memory.get_all(filters={"user_id": "ada"})` of mem0ai 2.2.1 returned.
_MEM0 = """
{"results": [{
"id": "0f359896-69fe-4a42-a949-1e7a83565746", "memory": "Ada likes figs 0 값.",
"hash": "96f013887a81ff54043a1997a6ce4ab9",
"metadata": {"from": "chat", "n": 0}, "created_at": "2026-11-29T10:22:43.882145+00:00",
"updated_at": "2026-11-29T10:22:43.882145+00:00", "user_id": "ada", "role": "user"
}, {
"id": "b0d63e23-789f-44e6-86f7-aaf207675e3e", "memory": "Ada likes figs 2 값.",
"hash": "ae407150edadf2792cde9d1589bfc2f3",
"metadata": {"from": "chat", "n": 2}, "created_at": "2026-11-29T10:22:44.022163+00:00",
"updated_at": "2026-11-29T10:22:44.022163+00:00", "user_id": "ada", "agent_id": "a1", "role": "user"
}]}
"""


def test_memories_of_mem0() -> None:
    Path("mem0.json").write_text(_MEM0, encoding="utf-8")
    assert memvid("import", "mem0.json", "-o", "a.mp4").code == 0
    found = {item["id"]: item for item in json.loads(_MEM0)["results"]}
    with Memory.open("a.mp4") as memory:
        assert {record.id: record.text for record in memory} == {key: item["memory"] for key, item in found.items()}
        for record in memory:
            item = found[record.id]
            rest = {key: value for key, value in item.items() if key not in ("id", "memory", "metadata")}
            assert record.metadata == {**item["metadata"], **rest}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of 200 records that `benchmarks/peers.py` made with the real packages, and what those return."""
    folder = tmp_path_factory.mktemp("peers")
    with zipfile.ZipFile(Path(__file__).parents[1] / "golden" / "peers.zip") as archive:
        archive.extractall(folder)
    return folder


def imported(store: Path, expected: dict[str, Any], metric: str = "euclidean") -> None:
    """Import a store, and compare ids, texts, metadata, vectors and answers with what its own package returned."""
    assert memvid("import", store, "-o", "peer.mp4", "--vectors", "--metric", metric).code == 0
    matrix = np.array([vector for _, _, vector in expected.values()], np.float32)
    ids = list(expected)
    units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    with Memory.open("peer.mp4", index="exact") as memory:
        assert {record.id: [record.text, record.metadata] for record in memory} == {
            record_id: row[:2] for record_id, row in expected.items()
        }
        vectors = memory.get_vectors(ids)
        assert all(np.array_equal(vectors[record_id], row) for record_id, row in zip(ids, matrix, strict=True))
        for question in np.random.default_rng(3).normal(size=(10, matrix.shape[1])).astype(np.float32):
            far = -(units @ question) if metric == "cosine" else np.linalg.norm(matrix - question, axis=1)
            assert [hit.id for hit in memory.search(question, 10)] == [ids[n] for n in np.argsort(far)[:10]]


@pytest.mark.parametrize(("name", "metric"), [("chroma", "cosine"), ("qdrant", "euclidean"), ("faiss", "euclidean")])
def test_stores_of_the_real_packages_come_in_complete(stores: Path, name: str, metric: str) -> None:
    before = {path: path.read_bytes() for path in (stores / name).rglob("*") if path.is_file()}
    imported(stores / name, json.loads((stores / f"{name}.json").read_text()), metric)
    assert {path: path.read_bytes() for path in (stores / name).rglob("*") if path.is_file()} == before


def test_several_collections_keep_all_their_records(stores: Path, tmp_path: Path) -> None:
    """Collections with the same ids."""
    folder = shutil.copytree(stores / "qdrant", tmp_path / "qdrant")
    shutil.copytree(folder / "collection" / "notes", folder / "collection" / "more")
    assert memvid("import", folder, "-o", "a.mp4", "--json").json["records"] == 400
    with Memory.open("a.mp4") as memory:
        one, other = memory.get(["notes/7", "more/7"])
        assert (one.text, one.metadata["collection"], other.metadata["collection"]) == (other.text, "notes", "more")
    chroma = shutil.copytree(stores / "chroma", tmp_path / "chroma")
    with closing(sqlite3.connect(chroma / "chroma.sqlite3")) as database:
        database.execute("INSERT INTO databases SELECT 'two', 'two', tenant_id FROM databases LIMIT 1")
        database.execute("INSERT INTO collections SELECT 'c2', name, dimension, 'two', '{}', '{}' FROM collections")
        database.execute("INSERT INTO segments SELECT 's2', type, scope, 'c2' FROM segments WHERE scope = 'METADATA'")
        database.execute(
            "INSERT INTO embeddings SELECT id + 1000, 's2', embedding_id, seq_id, created_at FROM embeddings"
        )
        database.commit()
    assert memvid("import", chroma, "-o", "b.mp4", "--json").json["records"] == 2 * 199


def test_the_queue_of_chroma_is_taken_in(stores: Path, tmp_path: Path) -> None:
    """Operations that Chroma has written to its log, and not yet to its tables and its index."""
    folder = shutil.copytree(stores / "chroma", tmp_path / "chroma")
    expected = json.loads((stores / "chroma.json").read_text())
    new = np.arange(8, dtype=np.float32)
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as database:
        (topic,) = database.execute("SELECT topic FROM embeddings_queue").fetchone()
        about = {"chroma:document": "new", "n": 1.5}
        operations = [
            (0, "new", new, about), (0, "new", new + 1, {"n": 2}), (1, "id-7", new, {"n": None, "x": "y"}),
            (2, "id-8", new, {"chroma:document": "eight"}), (3, "id-9", None, {}), (1, "unknown", new, about),
        ]  # fmt: skip
        for operation, record_id, vector, metadata in operations:
            database.execute(
                "INSERT INTO embeddings_queue (operation, topic, id, vector, encoding, metadata) VALUES (?,?,?,?,?,?)",
                (
                    operation,
                    topic,
                    record_id,
                    None if vector is None else vector.tobytes(),
                    "FLOAT32",
                    json.dumps(metadata),
                ),
            )
        database.commit()
    del expected["id-9"]
    expected["new"] = ["new", {"n": 1.5}, new.tolist()]
    seven, eight = expected["id-7"], expected["id-8"]
    expected["id-7"] = [seven[0], {**{k: v for k, v in seven[1].items() if k != "n"}, "x": "y"}, new.tolist()]
    expected["id-8"] = ["eight", eight[1], new.tolist()]
    assert memvid("import", folder, "-o", "a.mp4", "--vectors").code == 0
    with Memory.open("a.mp4") as memory:
        found = memory.get_vectors(list(expected))
        assert {r.id: [r.text, r.metadata, found[r.id].tolist()] for r in memory} == expected


class _Bomb:
    """Write a file when it is unpickled by a reader that calls what a pickle names."""

    def __reduce__(self) -> Any:
        return (exec, ("open('executed', 'w').close()",))


def pickles() -> Iterator[bytes]:
    """Pickles that run code, contain themselves, or are much larger than they look."""
    loop: list[Any] = []
    loop.append(loop)
    wide: Any = "x"
    for _ in range(40):
        wide = [wide, wide]
    for value in (_Bomb(), {"a": _Bomb()}, loop, wide):
        yield pickle.dumps(value)
    yield b"\x80\x04"
    yield b"\x80\x04\x82\x01."  # a registered extension
    yield b"\x80\x02N" + b"r\xff\xff\xff\x7f."  # a memo of two thousand million entries


@pytest.mark.parametrize("data", list(pickles()), ids="abcdefg")
@pytest.mark.parametrize("kind", ["faiss", "qdrant", "chroma"])
def test_no_pickle_is_executed(stores: Path, tmp_path: Path, kind: str, data: bytes) -> None:
    folder = shutil.copytree(stores / kind, tmp_path / kind)
    if kind == "faiss":
        (folder / "index.pkl").write_bytes(data)
    elif kind == "chroma":
        next(folder.rglob("index_metadata.pickle")).write_bytes(data)
    else:
        with closing(sqlite3.connect(next(folder.rglob("storage.sqlite")))) as database:
            database.execute("UPDATE points SET point = ?", (data,))
            database.commit()
    done = memvid("import", folder, "-o", "a.mp4", "--vectors")
    assert (done.code, Path("executed").exists(), Path("a.mp4").exists()) == (2, False, False)
    assert "as JSON lines" in done.err
    assert str(folder) in done.err.replace("\n", "")


@pytest.mark.parametrize("kind", ["faiss", "qdrant", "chroma"])
def test_a_damaged_store_is_named(stores: Path, tmp_path: Path, kind: str) -> None:
    """Each file of a store in turn, cut in the middle."""
    files = [
        path.relative_to(stores) for path in (stores / kind).rglob("*") if path.is_file() and path.stat().st_size > 500
    ]
    for name in files:
        folder = shutil.copytree(stores / kind, tmp_path / kind, dirs_exist_ok=True)
        with (tmp_path / name).open("r+b") as file:
            file.truncate((stores / name).stat().st_size // 2)
        done = memvid("import", folder, "-o", "a.mp4", "--vectors")
        if name.name in ("meta.json", "link_lists.bin"):
            assert done.code == 0
            Path("a.mp4").unlink()
        else:
            assert (done.code, Path("a.mp4").exists()) == (2, False), name


def test_an_index_of_faiss_that_is_not_flat_is_refused(stores: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stores / "faiss", tmp_path / "faiss")
    data = (folder / "index.faiss").read_bytes()
    (folder / "index.faiss").write_bytes(b"IwPQ" + data[4:])
    assert "only flat indexes hold exact vectors" in memvid("import", folder, "-o", "a.mp4").err


def test_a_folder_without_a_store_is_refused() -> None:
    Path("store").mkdir()
    Path("store/plain.txt").write_text("x")
    done = memvid("import", "store", "-o", "a.mp4")
    assert done.code == 2
    assert "as JSON lines" in done.err


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_parquet_goes_out_and_comes_in_exactly(dtype: Literal["float16", "float32", "float64"]) -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 16)).astype(dtype)
    metadata = [{"n": n, "deep": {"list": [n, None, 0.5]}, "값": "é"} for n in range(50)]
    with Memory.create("a.mp4", embedder="given", vector_dtype=dtype, metric="euclidean") as memory:
        memory.add([f"text {n}" for n in range(50)], metadata, IDS, vectors)
    assert memvid("export", "a.mp4", "-o", "a.parquet", "--vectors", "--json").json["records"] == 50
    options = ["--vectors", "--vector-dtype", dtype, "--metric", "euclidean"]
    assert memvid("import", "a.parquet", "-o", "b.mp4", *options).code == 0
    with Memory.open("a.mp4") as one, Memory.open("b.mp4") as other:
        assert list(one) == list(other)
        before, after = one.get_vectors(IDS), other.get_vectors(IDS)
    assert all(np.array_equal(before[i], after[i]) and before[i].dtype == after[i].dtype for i in IDS)
    table = pq.read_table("a.parquet")
    assert table.schema.names == ["id", "text", "metadata", "vector"]
    assert table.column("vector").type.list_size == 16


def test_parquet_of_others() -> None:
    """Other names of columns, metadata as a struct, dates, and rows without an id or a vector."""
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    rows = [
        {"_id": 7, "page_content": "one", "embedding": [0.5, 0.25], "metadata": {"a": 1}, "when": when, "page": 3},
        {"_id": 8, "page_content": "two", "embedding": [1.0, 0.0], "metadata": {"a": None}, "when": None, "page": 4},
    ]
    pq.write_table(pa.Table.from_pylist(rows), "a.parquet")
    assert memvid("import", "a.parquet", "-o", "a.mp4", "--vectors").code == 0
    with Memory.open("a.mp4") as memory:
        assert [record.metadata for record in memory.get(["7", "8"])] == [
            {"a": 1, "when": when.isoformat(), "page": 3}, {"a": None, "when": None, "page": 4}
        ]  # fmt: skip
        assert memory.get_vectors("7")["7"].tolist() == [0.5, 0.25]


def test_parquet_that_is_refused() -> None:
    pq.write_table(pa.table({"a": [1]}), "no_text.parquet")
    assert "no column of text among a" in memvid("import", "no_text.parquet", "-o", "a.mp4").err
    pq.write_table(pa.table({"text": ["x"], "raw": [b"x"]}), "bytes.parquet")
    assert "column 'raw' has a bytes" in memvid("import", "bytes.parquet", "-o", "a.mp4").err
    Path("cut.parquet").write_bytes(Path("bytes.parquet").read_bytes()[:50])
    assert "not readable as a store" in memvid("import", "cut.parquet", "-o", "a.mp4").err
    with Memory.create("m.mp4") as memory:
        memory.add("x")
    done = memvid("export", "m.mp4", "--format", "parquet")
    assert (done.code, "give -o FILE" in done.err) == (2, True)


@pytest.mark.parametrize(("module", "extra"), [("pyarrow", "parquet"), ("lancedb", "lancedb")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, extra: str) -> None:
    pq.write_table(pa.table({"text": ["x"]}), "a.parquet")
    Path("notes.lance/_versions").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    done = memvid("import", "a.parquet" if module == "pyarrow" else "notes.lance", "-o", "a.mp4")
    assert (done.code, f"memvid-core[{extra}]" in done.err) == (10, True)


def test_another_database_is_refused() -> None:
    database = sqlite3.connect("other.db")
    database.execute("CREATE TABLE notes (text)")
    database.commit()
    database.close()
    assert "without the table 'store'" in memvid("import", "other.db", "-o", "a.mp4").err
