"""Parquet files and LanceDB tables as records, and records as Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, time
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memvid_core import Memory, Record

__all__ = ["lance_records", "lance_tables", "parquet_records", "with_vectors", "write_parquet"]

_IDS = ("id", "_id", "ids", "doc_id", "uuid", "key")
_TEXTS = ("text", "content", "document", "page_content", "chunk", "memory", "data")
_VECTORS = ("vector", "embedding", "embeddings", "vectors")
_ROWS = 1024
_LARGE = 4096  # rows of a group


def parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file as records.

    Args:
        path: The file. The columns `id`, `text` and `vector` are recognized by usual names; `metadata`, a struct or
            JSON, and every other column become the metadata.

    Raises:
        MissingExtraError: pyarrow is not installed.
        IngestError: A column of text is missing, or a value does not exist in JSON.
        OSError, ValueError: The file cannot be read; errors of pyarrow are of these types.
    """
    parquet = _required("pyarrow.parquet", "parquet")
    with parquet.ParquetFile(path) as file:
        yield from _rows(path, file.schema_arrow.names, file.iter_batches(_ROWS))


def lance_tables(path: Path) -> list[Path]:
    """Return the tables of LanceDB in a folder, or the folder itself if it is one."""
    tables = [path, *sorted(path.glob("*.lance"))]
    return [table for table in tables if table.suffix == ".lance" and (table / "_versions").is_dir()]


def lance_records(table: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of LanceDB as records, like those of a Parquet file.

    Args:
        table: The folder `NAME.lance`.

    Raises:
        MissingExtraError: lancedb is not installed.
        IngestError: A column of text is missing, or a value does not exist in JSON.
    """
    lancedb = _required("lancedb", "lancedb")
    content = lancedb.connect(str(table.parent)).open_table(table.stem).to_arrow()
    yield from _rows(table, content.schema.names, content.to_batches(_ROWS))


def write_parquet(file: IO[bytes], memory: Memory, records: Iterable[Record], *, vectors: bool) -> Iterator[int]:
    """Write records as Parquet, with the columns `id`, `text`, `metadata` (JSON) and, if asked for, `vector`.

    Args:
        file: A file that is open for writing.
        memory: The memory of the records.
        records: The records to write.
        vectors: Also write the vectors, as lists of a fixed size in the dtype of the memory.

    Yields:
        How many records are written so far.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = _required("pyarrow", "parquet")
    parquet = _required("pyarrow.parquet", "parquet")
    rows = iter(records)
    first = list(islice(rows, _LARGE))
    columns = [pa.field("id", pa.string()), pa.field("text", pa.string()), pa.field("metadata", pa.string())]
    if vectors:
        one = next((vector for _, vector in with_vectors(memory, first) if vector is not None), None)
        kind = pa.from_numpy_dtype(one.dtype if one is not None else "float32")
        columns.append(pa.field("vector", pa.list_(kind, len(one) if one is not None else 1)))
    schema = pa.schema(columns)
    done = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        batch = first
        while batch:
            values: list[dict[str, Any]] = [
                {"id": record.id, "text": record.text, "metadata": json.dumps(record.metadata, ensure_ascii=False)}
                | ({"vector": vector} if vectors else {})
                for record, vector in (with_vectors(memory, batch) if vectors else ((one, None) for one in batch))
            ]
            writer.write_table(pa.Table.from_pylist(values, schema=schema))
            done += len(values)
            yield done
            batch = list(islice(rows, _LARGE))


def with_vectors(memory: Memory, records: Iterable[Record]) -> Iterator[tuple[Record, Any]]:
    """Yield records with their vectors, in order, as they are now: others may replace or delete some meanwhile."""
    ids = [record.id for record in records]
    found = {record.id: (record, vector) for record, vector in memory.select_with_vectors({"$id": {"$in": ids}})}
    return (found[name] for name in ids if name in found)


def _required(module: str, extra: str) -> Any:
    import importlib

    from memvid_core import MissingExtraError

    try:
        return importlib.import_module(module)
    except ImportError as exc:
        name = module.partition(".")[0]
        raise MissingExtraError(
            f"{name} is not installed; install it with: pip install 'memvid-core[{extra}]', or use JSON lines"
        ) from exc


def _rows(path: Path, names: list[str], batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    from memvid_core import IngestError

    id_name, text_name, vector_name = (_first(names, usual) for usual in (_IDS, _TEXTS, _VECTORS))
    if text_name is None:
        columns = ", ".join(names)
        raise IngestError(f"{path}: no column of text among {columns}; name it one of: {', '.join(_TEXTS)}")
    for row in chain.from_iterable(batch.to_pylist() for batch in batches):
        record_id, text = row.pop(id_name, None) if id_name else None, row.pop(text_name)
        vector = row.pop(vector_name, None) if vector_name else None
        yield {
            "id": None if record_id is None else str(record_id),
            "text": "" if text is None else str(text),
            "metadata": _metadata(path, row),
            "vector": vector,
        }


def _first(names: list[str], usual: tuple[str, ...]) -> str | None:
    return next((name for name in usual if name in names), None)


def _metadata(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    inner = row.get("metadata")
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except ValueError:
            inner = None
    if isinstance(inner, dict):
        row = {**inner, **{key: value for key, value in row.items() if key != "metadata"}}
    return {key: _plain(path, key, value) for key, value in row.items()}


def _plain(path: Path, column: str, value: Any) -> Any:
    from memvid_core import IngestError

    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(path, column, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(path, column, item) for item in value]
    raise IngestError(
        f"{path}: column {column!r} has a {type(value).__name__}, which metadata cannot hold; leave it out"
    )
