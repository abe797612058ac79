"""Folders of Chroma: the records in its SQLite file, the vectors in the files of its HNSW index, and its queue."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from memvid_core.cli.pickled_values import attributes, read_values

__all__ = ["DATABASE", "chroma_records"]

DATABASE = "chroma.sqlite3"
_DOCUMENT = "chroma:document"
_ADD, _UPDATE, _UPSERT, _DELETE = range(4)
# A version, and numbers of 64 bits: offset, capacity, elements, bytes of an element, places of label and vector.
_HEADER = struct.Struct("<i6Q")


def chroma_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of every collection of a folder that `chromadb.PersistentClient` wrote.

    Vectors are those that Chroma returns, in single precision. If there are several collections, an id is preceded by
    the name of its collection, and `collection` is in the metadata.

    Args:
        folder: The folder with `chroma.sqlite3`.

    Raises:
        ValueError: Files of the folder are damaged or of an unknown version.
        sqlite3.Error: The database cannot be read.
    """
    address = f"{(folder / DATABASE).resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as database:
        collections = database.execute("SELECT id, name FROM collections ORDER BY name, id").fetchall()
        names = [name for _, name in collections]
        for collection, given in collections:
            name = given if names.count(given) == 1 else f"{given}-{collection}"  # of another tenant or database
            for record_id, fields, vector in _collection(database, folder, collection):
                text = fields.pop(_DOCUMENT, None)
                uri = fields.get("chroma:uri")
                several = len(collections) > 1
                yield {
                    "id": f"{name}/{record_id}" if several else record_id,
                    "text": text if text is not None else str(uri or ""),
                    "metadata": {**fields, "collection": name} if several else fields,
                    "vector": vector,
                }


def _collection(
    database: sqlite3.Connection, folder: Path, collection: str
) -> Iterator[tuple[str, dict[str, Any], list[float] | None]]:
    segments = dict(database.execute("SELECT scope, id FROM segments WHERE collection = ?", (collection,)).fetchall())
    fields = dict(_fields(database, segments.get("METADATA", "")))
    vectors, level = _index(folder / segments.get("VECTOR", ""), cosine=_space(database, collection) == "cosine")
    known = dict(database.execute("SELECT segment_id, seq_id FROM max_seq_id").fetchall())
    _replay(
        database,
        collection,
        fields,
        vectors,
        _number(known.get(segments.get("METADATA"))),
        max(level, _number(known.get(segments.get("VECTOR")))),
    )
    for record_id, about in fields.items():
        yield record_id, about, vectors.get(record_id)


def _fields(database: sqlite3.Connection, segment: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the metadata of each record, with its document, in the order in which they were added."""
    arrays = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'embedding_metadata_array'").fetchone()
    tables = ["embedding_metadata", *(["embedding_metadata_array"] if arrays else [])]
    for number, record_id in database.execute(
        "SELECT id, embedding_id FROM embeddings WHERE segment_id = ? ORDER BY id", (segment,)
    ):
        found: dict[str, Any] = {}
        for table in tables:
            for key, text, whole, real, truth in database.execute(
                # The name of the table is one of two constants.
                f"SELECT key, string_value, int_value, float_value, bool_value FROM {table} WHERE id = ?",
                (number,),
            ):
                value = (
                    bool(truth) if truth is not None else next((v for v in (text, whole, real) if v is not None), None)
                )
                if table == "embedding_metadata":
                    found[key] = value
                else:
                    found.setdefault(key, []).append(value)
        yield record_id, found


def _space(database: sqlite3.Connection, collection: str) -> str:
    """Return how the vectors of a collection are compared: each version of Chroma stores it in another place."""
    rows = database.execute("SELECT * FROM collections WHERE id = ?", (collection,))
    names = [column[0] for column in rows.description]
    about = dict(zip(names, rows.fetchone(), strict=True))
    schema, settings = (json.loads(about.get(name) or "{}") for name in ("schema_str", "config_json_str"))
    paths = [
        (schema, ("keys", "#embedding", "float_list", "vector_index", "config", "space")),
        (settings, ("hnsw", "space")),
        (settings, ("hnsw_configuration", "space")),
    ]
    for value, path in paths:
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            return value
    named = "SELECT str_value FROM collection_metadata WHERE collection_id = ? AND key = 'hnsw:space'"
    return str((database.execute(named, (collection,)).fetchone() or ["l2"])[0])


def _index(folder: Path, *, cosine: bool) -> tuple[dict[str, list[float]], int]:
    """Return the vectors of an HNSW index by id, and the number of the last operation in it.

    For cosines, the index holds vectors of length 1, and the original lengths in a file of their own.
    """
    import numpy as np

    pickled = folder / "index_metadata.pickle"
    if not pickled.is_file():
        return {}, 0
    about = attributes(read_values(pickled.read_bytes()))
    header = (folder / "header.bin").read_bytes()
    data = (folder / "data_level0.bin").read_bytes()
    version, _, _, count, size, label_at, data_at = _HEADER.unpack_from(header)
    if version != 1 or not data_at < label_at <= size - 8 or (label_at - data_at) % 4 or count * size > len(data):
        raise ValueError(f"{folder.name}: an HNSW index of an unknown version")
    ids = {label: record_id for record_id, label in about["id_to_label"].items()}
    elements = np.frombuffer(data, np.uint8, count * size).reshape(count, size)
    values = elements[:, data_at:label_at].copy().view("<f4")
    if cosine:
        values = values * np.fromfile(folder / "length.bin", "<f4", count)[:, None]
    labels = elements[:, label_at : label_at + 8].copy().view("<u8")[:, 0].tolist()
    vectors = {ids[label]: row for label, row in zip(labels, values.tolist(), strict=True) if label in ids}
    return vectors, _number(about.get("max_seq_id"))


def _replay(
    database: sqlite3.Connection,
    collection: str,
    fields: dict[str, dict[str, Any]],
    vectors: dict[str, list[float]],
    fields_level: int,
    vectors_level: int,
) -> None:
    """Apply the operations in the queue that the records, or the vectors, do not contain yet."""
    rows = database.execute(
        "SELECT seq_id, operation, id, vector, encoding, metadata FROM embeddings_queue "
        "WHERE substr(topic, -length(?)) = ? ORDER BY seq_id",
        (collection, collection),
    )
    for number, operation, record_id, vector, encoding, metadata in rows:
        order = _number(number)
        if order > fields_level:
            _change_fields(fields, operation, record_id, json.loads(metadata or "{}"))
        if order > vectors_level:
            if operation == _DELETE:
                vectors.pop(record_id, None)
            elif vector is not None and not (operation == _ADD and record_id in vectors):
                vectors[record_id] = _vector(vector, encoding)


def _change_fields(fields: dict[str, dict[str, Any]], operation: int, record_id: str, given: dict[str, Any]) -> None:
    if operation == _DELETE:
        fields.pop(record_id, None)
    elif (record_id in fields) == (operation != _ADD) or operation == _UPSERT:
        both = {**fields.get(record_id, {}), **given}
        fields[record_id] = {key: value for key, value in both.items() if value is not None}


def _vector(data: bytes, encoding: str) -> list[float]:
    if encoding not in ("FLOAT32", "INT32"):
        raise ValueError(f"vectors of type {encoding}, which is unknown")
    return [
        float(number) for number in struct.unpack(f"<{len(data) // 4}{'f' if encoding == 'FLOAT32' else 'i'}", data)
    ]


def _number(value: Any) -> int:
    """Return the number of an operation; old versions store it as bytes."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value or 0)
