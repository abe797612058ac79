"""Stores of other packages that ``memvid import`` reads, without executing anything that is stored in them."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from memvid_core.cli.chroma_folder import DATABASE, chroma_records
from memvid_core.cli.local_stores import faiss_records, qdrant_records
from memvid_core.cli.tables import lance_records, lance_tables, parquet_records

__all__ = ["peer_records"]

_SQLITE = b"SQLite format 3\0"
_PARQUET = b"PAR1"
_QDRANT = "storage.sqlite"
_TEXT_FIELDS = ("text", "content", "memory", "data", "document")
_WAY_OUT = "export it with its own package as JSON lines of id, text, metadata and vector, and import that"


def peer_records(path: Path) -> Iterator[dict[str, Any]] | None:
    """Return the records of another package's store, or None if the path is not one.

    Folders of Chroma, LanceDB, local Qdrant and of LangChain's FAISS store, Parquet files, LangGraph's `SqliteStore`
    and the JSON of mem0's `get_all` are read. A record has ``id``, ``text``, ``metadata`` and, if the store has
    vectors, ``vector``.

    Raises:
        IngestError: The store is damaged, or is one of another kind.
    """
    from memvid_core import IngestError

    if path.is_dir() or path.name in (_QDRANT, DATABASE) or path.suffix == ".pkl":
        stores = list(_stores(path))
        if not stores:
            raise IngestError(f"{path}: not a store of Chroma, LanceDB, Qdrant or LangChain; {_WAY_OUT}")
        return chain.from_iterable(_named(name, records) if len(stores) > 1 else records for name, records in stores)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head.startswith(_PARQUET):
        return _checked(path, parquet_records(path))
    if head == _SQLITE:
        return _langgraph(path)
    return _mem0(path) if path.suffix.lower() == ".json" and head.lstrip()[:1] in (b"{", b"[") else None


def _stores(path: Path) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Yield a name and the records of each store at a path."""
    folder = path if path.is_dir() else path.parent
    if (folder / DATABASE).is_file():
        yield "chroma", _checked(path, chroma_records(folder))
    for table in lance_tables(folder):
        yield table.stem, _checked(table, lance_records(table))
    for database in [path] if path.is_file() and path.name == _QDRANT else sorted(folder.glob(f"**/{_QDRANT}")):
        yield database.parent.name, _checked(database, qdrant_records(database))
    for pickled in [path] if path.suffix == ".pkl" else sorted(folder.glob("*.pkl")):
        if pickled.with_suffix(".faiss").is_file():
            yield pickled.stem, _checked(pickled, faiss_records(folder, pickled.stem))


def _named(name: str, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield records with the name of their store, because several stores can have the same ids."""
    for record in records:
        named = None if record["id"] is None else f"{name}/{record['id']}"
        yield {**record, "id": named, "metadata": {**record["metadata"], "collection": name}}


def _checked(path: Path, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield records; an error of the store or of the package that reads it names the store and the way out."""
    from memvid_core import IngestError, MemvidError

    try:
        yield from records
    except MemvidError:
        raise
    except Exception as exc:  # damaged files raise errors of many types, also those of pyarrow and lancedb
        raise IngestError(f"{path}: not readable as a store: {exc!r}; {_WAY_OUT}") from exc


def _langgraph(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the items of LangGraph's `SqliteStore`: the namespace and the key are the id."""
    from memvid_core import IngestError

    try:
        # Read-only, and without creating files of a log.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "store" not in tables:
                raise IngestError(f"{path}: an SQLite database without the table 'store' of LangGraph; {_WAY_OUT}")
            vectors = _vectors(database) if "store_vectors" in tables else {}
            rows = database.execute("SELECT prefix, key, value, created_at, updated_at FROM store ORDER BY prefix, key")
            for prefix, key, value, created, updated in rows:
                item = json.loads(value)
                fields = item if isinstance(item, dict) else {"value": item}
                text, rest = _split(fields)
                about = {"namespace": str(prefix), "key": str(key)}
                dates = {"created_at": str(created), "modified": str(updated)}
                yield {
                    "id": f"{prefix}/{key}",
                    "text": text,
                    "metadata": {**rest, **about, **dates},
                    "vector": vectors.get((prefix, key)),
                }
    except (sqlite3.Error, ValueError, RecursionError) as exc:
        raise IngestError(f"{path}: not readable as a store of LangGraph: {exc}") from exc


def _vectors(database: sqlite3.Connection) -> dict[tuple[str, str], list[float]]:
    """Return the vectors of the items that have one; an item can have one for each of its fields."""
    of_one = "SELECT prefix, key, min(embedding) FROM store_vectors GROUP BY prefix, key HAVING count(*) = 1"
    rows = database.execute(of_one)
    return {
        (prefix, key): list(struct.unpack(f"<{len(data) // 4}f", data))
        for prefix, key, data in rows
        if isinstance(data, bytes) and len(data) % 4 == 0
    }


def _mem0(path: Path) -> Iterator[dict[str, Any]] | None:
    """Return the memories that mem0's `get_all` returned, saved as JSON; None if the file is another one."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    found = value.get("results") if isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(item, dict) and "memory" in item for item in found):
        return None
    return map(_mem0_record, found)


def _mem0_record(item: dict[str, Any]) -> dict[str, Any]:
    inner = item.get("metadata")
    rest = {key: value for key, value in item.items() if key not in ("id", "memory", "metadata") and value is not None}
    about = inner if isinstance(inner, dict) else {}
    record_id = item.get("id")
    return {
        "id": None if record_id is None else str(record_id),
        "text": str(item["memory"]),
        "metadata": {**about, **rest},
    }


def _split(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the text of an item and its other fields; without a field of text, all of them as JSON."""
    for name in _TEXT_FIELDS:
        if isinstance(fields.get(name), str):
            return fields[name], {key: value for key, value in fields.items() if key != name}
    return json.dumps(fields, ensure_ascii=False), fields
