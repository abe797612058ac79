"""What filters mean, in plain Python, and a catalog's table to hold SQL against it."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from typing import Any

from memvid_core.catalog.filter_compiler import compile_filter, encode_metadata, register_functions, select_rows

SCHEMA = """CREATE TABLE records
    (row INTEGER PRIMARY KEY, id TEXT, born INTEGER, died INTEGER, frame INTEGER, slot INTEGER, metadata TEXT)"""


def catalog(records: list[dict[str, Any] | None], path: str = ":memory:") -> sqlite3.Connection:
    """A table of records with the ids r0, r1, …, under the limits that SQLite has by default."""
    connection = sqlite3.connect(path)
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 1_000_000)
    register_functions(connection)
    connection.execute(SCHEMA)
    with connection:
        append(connection, records)
    return connection


def append(connection: sqlite3.Connection, records: list[dict[str, Any] | None]) -> None:
    start = connection.execute("SELECT coalesce(max(row) + 1, 0) FROM records").fetchone()[0]
    connection.executemany(
        "INSERT INTO records (row, id, born, metadata) VALUES (?, ?, 1, ?)",
        [
            (start + i, f"r{start + i}", None if metadata is None else encode_metadata(metadata))
            for i, metadata in enumerate(records)
        ],
    )


def scan(connection: sqlite3.Connection, where: dict[str, Any]) -> list[int]:
    return select_rows(connection, compile_filter(where)).tolist()


MISSING = object()


def kind(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "list", dict: "dict"}
    return names[type(value)]


def family(value: Any) -> str:
    return "number" if kind(value) in ("integer", "float") else kind(value)


def same(a: Any, b: Any) -> bool:
    if family(a) != family(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is MISSING else [value]


def oracle_fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def like(text: str, pattern: str) -> bool:
    tokens = re.findall(r"\\.|.", pattern, re.DOTALL)
    out = "".join(".*" if t == "%" else "." if t == "_" else re.escape(t[-1]) for t in tokens)
    return re.fullmatch(out, text, re.DOTALL) is not None


def resolve(metadata: dict[str, Any], path: str) -> Any:
    if path in metadata:
        return metadata[path]
    steps = path.split(".")
    if len(steps) == 1 or "" in steps:
        return MISSING
    value: Any = metadata
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return MISSING
        value = value[step]
    return value


def holds(value: Any, op: str, x: Any) -> bool:
    match op:
        case "$eq":
            if x is None and value is MISSING:
                return True
            return same(value, x) or (isinstance(value, list) and any(same(item, x) for item in value))
        case "$ne":
            return not holds(value, "$eq", x)
        case "$in":
            return any(holds(value, "$eq", one) for one in x)
        case "$nin":
            return not holds(value, "$in", x)
        case "$gt":
            return any(family(v) == family(x) and v > x for v in items(value))
        case "$gte":
            return any(family(v) == family(x) and v >= x for v in items(value))
        case "$lt":
            return any(family(v) == family(x) and v < x for v in items(value))
        case "$lte":
            return any(family(v) == family(x) and v <= x for v in items(value))
        case "$between":
            return any(family(v) == family(x[0]) and x[0] <= v <= x[1] for v in items(value))
        case "$exists":
            return (value is not MISSING) == x
        case "$like":
            return any(isinstance(v, str) and like(v, x) for v in items(value))
        case "$ilike":
            return any(isinstance(v, str) and like(oracle_fold(v), oracle_fold(x)) for v in items(value))
        case "$contains":
            if isinstance(value, list):
                return any(same(v, x) for v in value)
            return isinstance(x, str) and isinstance(value, str | dict) and x in value
        case "$icontains":
            if isinstance(value, list):
                return any(isinstance(v, str) and oracle_fold(v) == oracle_fold(x) for v in value)
            return isinstance(value, str) and oracle_fold(x) in oracle_fold(value)
        case "$all":
            return bool(x) and all(any(same(v, one) for v in items(value)) for one in x)
        case "$any":
            return any(same(v, one) for v in items(value) for one in x)
        case "$empty":
            return (value is MISSING or (value in (None, "", [], {}) and family(value) != "boolean")) == x
        case "$type":
            return bool({kind(value), family(value)} & set([x] if isinstance(x, str) else x))
        case "$not":
            return not all(holds(value, name, operand) for name, operand in x.items())
    raise AssertionError(op)


def agrees(where: dict[str, Any], metadata: dict[str, Any] | None, id: str) -> bool:
    def one(key: str, value: Any) -> bool:
        match key:
            case "$and":
                return all(agrees(part, metadata, id) for part in value)
            case "$or":
                return any(agrees(part, metadata, id) for part in value)
            case "$nor":
                return not any(agrees(part, metadata, id) for part in value)
            case "$not":
                return not agrees(value, metadata, id)
        found = id if key == "$id" else resolve(metadata or {}, key)
        if isinstance(value, dict) and any(name.startswith("$") for name in value):
            return all(holds(found, name, operand) for name, operand in value.items())
        return holds(found, "$eq", value)

    return all(one(key, value) for key, value in where.items())
