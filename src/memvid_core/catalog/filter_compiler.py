"""Compile filters to SQL: boolean expressions over the table of records, with every value and path as a parameter.

The table is ``records(row, id, …, metadata)``; ``metadata`` is the result of :func:`encode_metadata`, NULL for none.
A condition is an expression over ``v.j``, the JSON text of the value at its path (NULL if absent), and not over the
record. So the same condition is used to scan the records and to scan a path's distinct values
(:mod:`memvid_core.catalog.metadata_columns`). It is 0 or 1, never NULL, so negation is exact.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.filter_conditions import Sql, condition, joined, member, value_at
from memvid_core.catalog.filter_language import ID, And, Filter, Leaf, Node, Not, Or, parse_filter
from memvid_core.catalog.sql_functions import register_functions
from memvid_core.errors import FilterError, MetadataError

__all__ = [
    "CompiledFilter",
    "Filter",
    "compile_filter",
    "encode_metadata",
    "parse_filter",
    "register_functions",
    "select_rows",
]

_MAX_PARAMETERS: Final = 32_000  # SQLITE_MAX_VARIABLE_NUMBER is 32,766; the caller may add some
_MAX_SQL: Final = 900_000  # SQLITE_MAX_SQL_LENGTH is 1,000,000
_MAX_TERMS: Final = 100  # of one chain; SQLite parses "a AND b AND …" into a tree that deep, and allows 1,000


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A filter compiled to SQL.

    Attributes:
        sql: A boolean expression in parentheses; 0 or 1, never NULL.
        params: The values of its placeholders, in order.
        paths: The metadata paths it reads.
    """

    sql: str
    params: tuple[Any, ...]
    paths: tuple[str, ...]


def encode_metadata(metadata: Mapping[str, Any]) -> str:
    """Encode metadata as compact JSON with minimal escapes, as filters read it.

    Args:
        metadata: A dict of JSON values.

    Returns:
        The JSON text, for the ``metadata`` column.

    Raises:
        MetadataError: If a value is not a JSON value; the message names its key.

    Example:
        >>> encode_metadata({"name": "é", "pages": [1, 2.0]})
        '{"name":"é","pages":[1,2.0]}'
    """
    try:
        return msgspec.json.encode(metadata).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        for key, value in metadata.items():
            try:
                msgspec.json.encode({key: value})
            except (TypeError, ValueError, RecursionError) as cause:
                raise MetadataError(f"metadata[{key!r}] cannot be stored as JSON: {cause}") from cause
        raise MetadataError(f"the metadata cannot be stored as JSON: {exc}") from exc


def compile_filter(where: Mapping[str, Any] | Filter, *, alias: str = "r") -> CompiledFilter:
    """Compile a filter to a boolean SQL expression with bound parameters.

    Call :func:`register_functions` with the connection that runs it.

    Args:
        where: A filter, parsed or not.
        alias: The alias of the table of records in the surrounding statement.

    Returns:
        The expression, its parameters and the paths it reads.

    Raises:
        FilterError: If the filter is invalid, or too large for one SQL statement.

    Example:
        >>> compiled = compile_filter({"$id": {"$in": ["a", "b"]}})
        >>> compiled.sql, compiled.params
        ('(r.id IN (?, ?))', ('a', 'b'))
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", alias):
        raise FilterError(f"{alias!r} cannot name a table; use letters, digits and underscores")
    parsed = parse_filter(where)
    sql = _spell(_shape(parsed.root, negate=False, alias=alias))
    if len(sql.params) > _MAX_PARAMETERS or len(sql.text) > _MAX_SQL:
        raise FilterError(
            f"the filter has too many conditions ({len(sql.params):,} parameters, {len(sql.text):,} characters); "
            "put all values of a field into one $in, which takes any number"
        )
    return CompiledFilter(f"({sql.text})", sql.params, parsed.paths)


def select_rows(
    connection: sqlite3.Connection, compiled: CompiledFilter, *, extra_sql: str = "", extra_params: Sequence[Any] = ()
) -> NDArray[np.int64]:
    r"""Return the rows of all matching records, by one scan of the table.

    SQLite returns the row numbers as one string, in half the time of one tuple per row.

    Args:
        connection: A connection with the table ``records``, given to :func:`register_functions`.
        compiled: A filter compiled with the alias ``r``.
        extra_sql: An additional boolean expression over ``r``, such as ``r.died IS NULL``.
        extra_params: Its parameters.

    Returns:
        (matches,) int64, ascending.

    Example:
        >>> connection = sqlite3.connect(":memory:")
        >>> register_functions(connection)
        >>> _ = connection.execute("CREATE TABLE records (row INTEGER PRIMARY KEY, id TEXT, metadata TEXT)")
        >>> _ = connection.execute("INSERT INTO records VALUES (0, 'a', '{\"page\":3}'), (1, 'b', NULL)")
        >>> select_rows(connection, compile_filter({"page": {"$gte": 3}})).tolist()
        [0]
    """
    extra = f" AND ({extra_sql})" if extra_sql else ""
    statement = f"SELECT group_concat(r.row) FROM records AS r WHERE {compiled.sql}{extra}"
    (text,) = connection.execute(statement, (*compiled.params, *extra_params)).fetchone()
    if text is None:
        return np.empty(0, np.int64)
    rows = np.fromstring(str(text), dtype=np.int64, sep=",")
    if (rows[1:] < rows[:-1]).any():  # an index was scanned instead of the table
        rows.sort()
    return rows


# The tree as SQL ------------------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """AND or OR of shapes, or (word "") one compiled condition."""

    word: str
    parts: tuple[_Shape, ...]
    sql: Sql
    depth: int


def _shape(node: Node, *, negate: bool, alias: str) -> _Shape:
    """Push negations down to the conditions and merge nested groups of one kind."""
    match node:
        case Not(part):
            return _shape(part, negate=not negate, alias=alias)
        case Leaf():
            sql = _on_records(node, alias)
            return _Shape("", (), Sql(f"NOT {sql.text}", sql.params) if negate else sql, 0)
        case And(parts) | Or(parts):
            word = "AND" if isinstance(node, And) != negate else "OR"
            shapes = [_shape(part, negate=negate, alias=alias) for part in parts]
            merged = [s for shape in shapes for s in (shape.parts if shape.word == word else (shape,))]
            if not merged:
                return _Shape("", (), Sql("1" if word == "AND" else "0"), 0)
            if len(merged) == 1:
                return merged[0]
            return _Shape(word, tuple(merged), Sql(""), 1 + max(shape.depth for shape in merged))


def _spell(shape: _Shape) -> Sql:
    if not shape.word:
        return shape.sql
    # Deepest first: the left operand leaves SQLite's parser stack (100 entries) before the right one is parsed.
    ordered = sorted(shape.parts, key=lambda part: -part.depth)
    return _chain([_enclosed(part) for part in ordered], shape.word)


def _enclosed(shape: _Shape) -> Sql:
    sql = _spell(shape)
    return Sql(f"({sql.text})", sql.params) if shape.word else sql


def _chain(terms: list[Sql], word: str) -> Sql:
    while len(terms) > _MAX_TERMS:
        groups = [terms[i : i + _MAX_TERMS] for i in range(0, len(terms), _MAX_TERMS)]
        terms = [Sql(f"({text})", params) for text, params in (joined(group, word) for group in groups)]
    return joined(terms, word)


def _on_records(leaf: Leaf, alias: str) -> Sql:
    if leaf.path == ID and leaf.op in ("in", "any"):  # in a form that an index on the id serves
        return member(f"{alias}.id", [v for v in leaf.operand if isinstance(v, str)])
    test, value = condition(leaf), value_at(leaf.path, alias=alias)
    return Sql(f"(SELECT {test.text} FROM (SELECT {value.text} AS j) AS v)", test.params + value.params)
