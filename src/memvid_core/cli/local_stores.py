"""Qdrant's local collections, and FAISS stores of LangChain: their pickles are read as plain values."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from memvid_core.cli.pickled_values import Stored, attributes, plain, read_values

__all__ = ["faiss_records", "qdrant_records"]

_TEXTS = ("text", "document", "page_content", "content", "memory", "data")
# Kind, dimension, vectors, two numbers without use, trained, metric, and the number of floats that follow.
_FLAT = struct.Struct("<4siqqqBiQ")
_FLAT_KINDS = (b"IxF2", b"IxFI", b"IxFl")


def qdrant_records(database_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the points of a local collection of Qdrant.

    Args:
        database_path: The file `collection/NAME/storage.sqlite`.

    Raises:
        ValueError: A point is damaged, or has several named vectors.
        sqlite3.Error: The database cannot be read.
    """
    with closing(sqlite3.connect(f"{database_path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        for (data,) in database.execute("SELECT point FROM points ORDER BY rowid"):
            point = attributes(read_values(data))
            vector = point.get("vector")
            if isinstance(vector, dict) and len(vector) == 1:
                (vector,) = vector.values()
            if isinstance(vector, dict | Stored):
                raise ValueError(f"point {point['id']} has named or sparse vectors; only one dense vector is read")
            fields = plain(point.get("payload") or {}, len(data))
            yield {"id": _id(point["id"]), **_split(fields), "vector": vector or None}


def faiss_records(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the documents of a store that `langchain_community.vectorstores.FAISS.save_local` wrote.

    Args:
        folder: Its folder.
        name: The name of the two files without their suffix, `index` by default.

    Raises:
        ValueError: A file is damaged, or the index is not a flat one.
    """
    data = (folder / f"{name}.pkl").read_bytes()
    pair = read_values(data)
    if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], dict)):
        raise ValueError("not a docstore of LangChain")
    documents, ids = attributes(pair[0])["_dict"], pair[1]
    vectors = _flat_vectors(folder / f"{name}.faiss")
    for position in sorted(ids):
        about = attributes(documents[ids[position]])
        yield {
            "id": str(ids[position]),
            "text": str(about["page_content"]),
            "metadata": plain(about.get("metadata") or {}, len(data)),
            "vector": vectors(position),
        }


def _flat_vectors(path: Path) -> Any:
    """Return the function from a position to the vector there."""
    data = path.read_bytes()
    kind, dimension, count, _, _, _, metric, floats = _FLAT.unpack_from(data)
    if kind not in _FLAT_KINDS or metric not in (0, 1):
        raise ValueError(f"an index of type {kind.decode('latin-1')!r}; only flat indexes hold exact vectors")
    if dimension < 1 or floats != dimension * count or len(data) < _FLAT.size + floats * 4:
        raise ValueError("an index that is cut or damaged")

    def vector(position: int) -> list[float]:
        if not 0 <= position < count:
            raise ValueError(f"position {position} is outside the index")
        return list(struct.unpack_from(f"<{dimension}f", data, _FLAT.size + position * dimension * 4))

    return vector


def _id(value: Any) -> str:
    """Return the id of a point: a number, a string, or a UUID, which a pickle holds as one number."""
    if isinstance(value, Stored):
        from uuid import UUID

        return str(UUID(int=attributes(value)["int"]))
    return str(value)


def _split(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the text and the metadata of a payload; LangChain and LlamaIndex put the metadata into a field of it."""
    name = next((name for name in _TEXTS if isinstance(fields.get(name), str)), None)
    rest = {key: value for key, value in fields.items() if key != name}
    inner = rest.get("metadata")
    if set(rest) == {"metadata"}:
        rest = inner if isinstance(inner, dict) else {}
    return {"text": fields[name] if name else "", "metadata": rest}
