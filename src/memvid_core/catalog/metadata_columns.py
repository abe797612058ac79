"""Metadata by column, for filters that take a fraction of a millisecond.

A column is one metadata path: a code per row, and the distinct JSON texts of the codes. A condition is evaluated in SQL
once per distinct value, not once per row, and the results are mapped to the rows by one NumPy ``take``. (Dictionary
encoding: Abadi, Madden, Ferreira, "Integrating Compression and Execution in Column-Oriented Database Systems", SIGMOD
2006.) A column is read from the catalog when a filter first needs it, and later only the rows added since. The owner of
the index may keep it in a file (:mod:`memvid_core.catalog.column_files`).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.filter_compiler import compile_filter, parse_filter, select_rows
from memvid_core.catalog.filter_conditions import MANY, condition, texts_of, value_at
from memvid_core.catalog.filter_language import ID, And, Filter, Leaf, Node, Not, Or
from memvid_core.catalog.sql_functions import canonical, register_functions
from memvid_core.system.sqlite_files import checked, roll_back

__all__ = ["ColumnData", "MetadataColumns"]

Mask = NDArray[np.bool_]

_NO_ROW: Final = 0  # the code of a row without a record
_ABSENT: Final = 1  # the code of a record without the path
_ANSWERS: Final = 128  # conditions whose results a column caches
_CHUNK: Final = 16_384  # rows read at a time
_NESTED: Final = ("[", "{")  # the first character of a list or a dict


class ColumnData(NamedTuple):
    """The content of a column: its distinct JSON texts from code 1 on, the first of them "", and a code per row."""

    texts: list[str]
    codes: NDArray[np.int32]


class _Column:
    """The column of one path: a code per row, and a private table of the distinct values."""

    def __init__(self, number: int, path: str, values: sqlite3.Connection) -> None:
        self.codes = np.empty(0, np.int32)
        self.gaps = False
        self._path = path
        self._capacity = self.codes
        self._text_bytes = 0
        self._nested = False  # whether any value is a list or a dict
        self._code_of: defaultdict[str, int] = defaultdict(count(_ABSENT).__next__)
        self._values = values
        self.table = f"v{number}"
        self._answers: OrderedDict[str, Mask] = OrderedDict()
        values.execute(f"CREATE TABLE {self.table} (code INTEGER PRIMARY KEY, j)")
        self._remember([""])

    @property
    def nbytes(self) -> int:
        # A text costs about 170 bytes plus its characters: str header, dict slot, int, the row in the private table.
        return self._capacity.nbytes + 2 * self._text_bytes + 170 * len(self._code_of)

    def extend(self, connection: sqlite3.Connection, limit: int, max_distinct: int, max_bytes: int) -> bool:
        """Read the rows from the end of the column up to ``limit``; return False if the column exceeds its limits."""
        start = len(self.codes)
        if limit > len(self._capacity):
            grown = np.full(max(limit, len(self._capacity) * 5 // 4), _NO_ROW, np.int32)
            grown[:start] = self.codes
            self._capacity = grown
        for first in range(start, limit, _CHUNK):
            last = min(first + _CHUNK, limit)
            try:
                rows, texts = self._read(connection, first, last)
            except sqlite3.DataError:  # longer than SQLite's maximum for strings
                return False
            known = len(self._code_of)
            self._capacity[rows] = np.fromiter(map(self._code_of.__getitem__, texts), np.int32, len(texts))
            self._remember(list(islice(self._code_of, known, None)))
            self.gaps |= len(texts) < last - first
            if len(self._code_of) > max_distinct or self.nbytes > max_bytes:
                return False
        self.codes = self._capacity[: max(start, limit)]
        return True

    def data(self) -> ColumnData:
        """Return the content of the column."""
        return ColumnData(list(self._code_of), self.codes)

    def restore(self, data: ColumnData) -> None:
        """Continue an empty column with the content of an earlier one."""
        self._remember(data.texts[1:])
        self.codes = self._capacity = data.codes
        self.gaps = bool((data.codes == _NO_ROW).any())

    def _read(self, connection: sqlite3.Connection, first: int, last: int) -> tuple[slice | list[int], list[str]]:
        """Read the row numbers in [``first``, ``last``) and their JSON texts, "" for an absent value."""
        value = value_at(self._path)
        # NOT INDEXED scans in the order of row numbers. A JSON text contains no line feed.
        table = "FROM records AS r NOT INDEXED WHERE r.row >= ? AND r.row < ?"
        parameters = (*value.params, first, last)
        number, joined = connection.execute(
            f"SELECT count(*), group_concat(coalesce({value.text}, ''), char(10)) {table}", parameters
        ).fetchone()
        if number == last - first:
            return slice(first, last), joined.split("\n")
        found = connection.execute(f"SELECT coalesce({value.text}, ''), r.row {table}", parameters).fetchall()
        return [row for _, row in found], [text for text, _ in found]

    def _remember(self, texts: list[str]) -> None:
        rows = [(self._code_of[text], text or None) for text in texts]
        self._values.execute("BEGIN")
        self._values.executemany(f"INSERT INTO {self.table} VALUES (?, ?)", rows)
        self._values.execute("COMMIT")
        self._text_bytes += sum(map(len, texts))
        self._nested |= any(text[:1] in _NESTED for text in texts if text)

    def answer(self, leaf: Leaf) -> Mask:
        """Return for every code whether its value satisfies the condition, (codes,) bool."""
        known = self._answers.get(leaf.key)
        size = len(self._code_of) + 1
        if known is None or len(known) < size:
            answers = np.zeros(size, np.bool_)
            done = 0 if known is None else len(known)
            answers[:done] = False if known is None else known
            answers[self._meeting(leaf, done)] = True
            self._answers[leaf.key] = known = answers
        self._answers.move_to_end(leaf.key)
        if len(self._answers) > _ANSWERS:
            self._answers.popitem(last=False)
        return known

    def _meeting(self, leaf: Leaf, done: int) -> NDArray[np.int64]:
        """Return the codes from ``done`` on with values that satisfy the condition."""
        if leaf.op in ("in", "any") and (len(leaf.operand) > MANY or self._looked_up(leaf.operand)):
            return np.array(list(self._among(leaf, done)), np.int64)
        test = condition(leaf)
        found = self._values.execute(
            f"SELECT group_concat(v.code) FROM {self.table} AS v WHERE v.code >= ? AND ({test.text})",
            (done, *test.params),
        ).fetchone()[0]
        return np.zeros(0, np.int64) if found is None else np.fromstring(str(found), dtype=np.int64, sep=",")

    def _looked_up(self, operand: Sequence[Any]) -> bool:
        """Return whether a few values need no scan: they are strings, and the column has no lists or dicts."""
        return not self._nested and all(type(value) is str for value in operand)

    def _among(self, leaf: Leaf, done: int) -> Iterator[int]:
        """Yield the codes from ``done`` on with values in a long list; SQLite would sort the list for each query."""
        whole = leaf.op == "in"
        if whole and None in leaf.operand and done <= _ABSENT:
            yield _ABSENT
        for text in texts_of(leaf.operand):
            code = self._code_of.get(text, _NO_ROW) if text else _NO_ROW
            if code > _ABSENT and code >= done:
                yield code
        if self._nested:
            wanted = set(map(canonical, leaf.operand))
            for text, code in islice(self._code_of.items(), max(done - 1, 0), None):
                if text[:1] in _NESTED and text:
                    value = json.loads(text)
                    is_list = isinstance(value, list)
                    found = (whole or not is_list) and canonical(value) in wanted
                    if found or (is_list and not wanted.isdisjoint(map(canonical, value))):
                        yield code

    def drop(self) -> None:
        self._values.execute(f"DROP TABLE {self.table}")


class _Kept(NamedTuple):
    columns: OrderedDict[str, _Column]
    wide: set[str]
    values: sqlite3.Connection


class MetadataColumns:
    r"""Evaluate the filters of one catalog on columns that are read lazily. Thread-safe.

    Rows must be appended in order and be immutable. Call :meth:`clear` when rows are renumbered.

    Args:
        max_distinct: A path with more distinct values is not kept as a column; its filters scan the table.
        max_bytes: The maximum size of all columns; the least recently used one is dropped first.
        rows_of: Function from ids to row numbers; without it, filters on ids scan the table.

    Example:
        >>> connection = sqlite3.connect(":memory:")
        >>> register_functions(connection)
        >>> _ = connection.execute("CREATE TABLE records (row INTEGER PRIMARY KEY, id TEXT, metadata TEXT)")
        >>> with connection:
        ...     _ = connection.execute("INSERT INTO records VALUES (0, 'a', '{\"page\":3}'), (1, 'b', NULL)")
        >>> MetadataColumns().mask(connection, {"page": {"$lt": 5}}).tolist()
        [True, False]
    """

    def __init__(
        self,
        *,
        max_distinct: int = 250_000,
        max_bytes: int = 256 << 20,
        rows_of: Callable[[Sequence[str]], NDArray[np.int64]] | None = None,
    ) -> None:
        self._rows_of = rows_of
        self._max_distinct = max_distinct
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._made = 0
        self._start()

    def _start(self) -> None:
        values = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        register_functions(values)
        self._kept = _Kept(OrderedDict(), set(), values)  # one assignment, so that an interrupt cannot split it

    @property
    def _columns(self) -> OrderedDict[str, _Column]:
        return self._kept.columns

    @property
    def nbytes(self) -> int:
        """The approximate size of all columns in bytes."""
        with self._lock:
            return sum(column.nbytes for column in self._columns.values())

    def clear(self) -> None:
        """Drop every column, after the rows were renumbered."""
        with self._lock:
            before = self._kept
            self._start()
            before.values.close()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Let no other thread add or drop columns while the block runs."""
        with self._lock:
            yield

    def missing(self, where: Mapping[str, Any] | Filter) -> list[str]:
        """Return the paths of a filter that have no column yet."""
        columns, wide, _ = self._kept
        return [path for path in parse_filter(where).paths if path not in columns and path not in wide]

    def covered(self, where: Mapping[str, Any] | Filter) -> int:
        """Return the number of rows whose metadata is not read to evaluate a filter, as the columns have it."""
        columns = self._kept.columns
        return min(
            (len(columns[path].codes) if path in columns else 0 for path in parse_filter(where).paths), default=0
        )

    def restore(self, path: str, data: ColumnData) -> None:
        """Take in the content of the column of a path that has none, unless it exceeds the limits."""
        if len(data.texts) > self._max_distinct or data.codes.nbytes > self._max_bytes:
            return
        with self._lock:
            self._tidy()
            column = self._new_column(path)
            column.restore(data)
            self._kept.columns[path] = column

    def sizes(self) -> dict[str, int]:
        """Return the number of rows of each column, by path."""
        with self._lock:
            return {path: len(column.codes) for path, column in self._kept.columns.items()}

    def data(self, path: str) -> ColumnData | None:
        """Return the content of the column of a path; None without one."""
        with self._lock:
            column = self._kept.columns.get(path)
            return None if column is None else column.data()

    def mask(
        self, connection: sqlite3.Connection, where: Mapping[str, Any] | Filter, *, committed: int | None = None
    ) -> Mask:
        """Return which rows match a filter, including deleted records.

        Args:
            connection: A connection with the table ``records``, given to
                :func:`~memvid_core.catalog.filter_compiler.register_functions`.
            where: The filter, parsed or not.
            committed: Rows below this number are committed and may be cached. Default: all rows if the connection is
                not in a transaction; otherwise none but those cached already (the others are scanned each time).

        Returns:
            (highest row + 1,) bool, a new array.

        Raises:
            FilterError: If the filter is invalid.
            IndexStaleError: If the table is damaged.
        """
        parsed = parse_filter(where)
        with self._lock, checked("the metadata in the index"):
            size = connection.execute("SELECT coalesce(max(row) + 1, 0) FROM records").fetchone()[0]
            if committed is None:
                committed = 0 if connection.in_transaction else size
            columns = {path: c for path in parsed.paths if (c := self._column(connection, path, min(size, committed)))}
            by_id = self._rows_of is not None and _asks_ids(parsed.root)  # needs no column
            reached = min(size, committed) if by_id else 0
            covered = min((len(column.codes) for column in columns.values()), default=reached)
            answer = np.zeros(size, np.bool_)
            if head := min(covered, size):
                answer[:head] = self._evaluate(connection, parsed.root, columns, head)
                for column in columns.values():
                    if column.gaps:
                        answer[:head] &= column.codes[:head] != _NO_ROW
            if head < size:
                compiled = compile_filter(parsed)
                rows = select_rows(
                    connection, compiled, extra_sql="r.row >= ? AND r.row < ?", extra_params=(head, size)
                )
                answer[rows] = True
            self._shrink(keep=parsed.paths)
            return answer

    def rows(
        self, connection: sqlite3.Connection, where: Mapping[str, Any] | Filter, *, committed: int | None = None
    ) -> NDArray[np.int64]:
        """Return the matching row numbers, (n,) int64, ascending; see :meth:`mask`."""
        return np.flatnonzero(self.mask(connection, where, committed=committed))

    def _column(self, connection: sqlite3.Connection, path: str, limit: int) -> _Column | None:
        """Return the column of a path, read up to ``limit``; None for a path with too many values.

        A column is taken out of the cache while it is read, so that one left incomplete by an interrupt is never used.
        """
        columns, wide, values = self._kept
        if path in wide:
            return None
        column = columns.get(path)
        if column is None or len(column.codes) < limit:
            if values.in_transaction or column is None:
                self._tidy()
            column = columns.pop(path, None) or self._new_column(path)
            if not column.extend(connection, limit, self._max_distinct, self._max_bytes):
                wide.add(path)
                column.drop()
                return None
            columns[path] = column
        columns.move_to_end(path)
        return column

    def _new_column(self, path: str) -> _Column:
        self._made += 1
        return _Column(self._made, path, self._kept.values)

    def _tidy(self) -> None:
        """Clean up after an interrupt: an open transaction, and the tables of incomplete columns."""
        columns, _, values = self._kept
        roll_back(values)
        kept = {column.table for column in columns.values()}
        for (table,) in values.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            if table not in kept:
                values.execute(f"DROP TABLE {table}")

    def _evaluate(self, connection: sqlite3.Connection, node: Node, columns: dict[str, _Column], size: int) -> Mask:
        match node:
            case Leaf(path=path) if path in columns:
                return columns[path].answer(node)[columns[path].codes[:size]]
            case Leaf():
                return self._scanned(connection, node, size)
            case Not(part):
                return ~self._evaluate(connection, part, columns, size)
            case And(parts) | Or(parts):
                every = isinstance(node, And)
                mask = np.full(size, every)
                for part in parts:
                    other = self._evaluate(connection, part, columns, size)
                    np.logical_and(mask, other, out=mask) if every else np.logical_or(mask, other, out=mask)
                return mask

    def _scanned(self, connection: sqlite3.Connection, leaf: Leaf, size: int) -> Mask:
        mask = np.zeros(size, np.bool_)
        if self._rows_of is not None and _asks_ids(leaf):
            rows = self._rows_of([value for value in leaf.operand if isinstance(value, str)])
            mask[rows[rows < size]] = True
            return mask
        compiled = compile_filter(Filter(leaf, leaf.key, () if leaf.path == ID else (leaf.path,)))
        mask[select_rows(connection, compiled, extra_sql="r.row < ?", extra_params=(size,))] = True
        return mask

    def _shrink(self, keep: tuple[str, ...]) -> None:
        for path in list(self._columns):
            if self.nbytes <= self._max_bytes:
                return
            if path not in keep:
                self._columns.pop(path).drop()


def _asks_ids(node: Node) -> bool:
    return isinstance(node, Leaf) and node.path == ID and node.op in ("in", "any")
