"""Metadata by column, for filters that answer in a fraction of a millisecond.

A column is one metadata path: a number per row, and the distinct JSON texts that the numbers stand for. A condition is
run in SQL once per distinct value, not once per row, and its answers are spread over the rows by one NumPy ``take``.
(Dictionary encoding: Abadi, Madden, Ferreira, "Integrating Compression and Execution in Column-Oriented Database
Systems", SIGMOD 2006.) Nothing is written when records are added and nothing is kept on disk: a column is read from the
catalog when a filter first needs it, and later only the rows added since. So there is nothing to share between
processes, and a read-only catalog is served like any other.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.index.database import checked, roll_back
from memvid_core.index.filters.compiler import compile_filter, parse_filter, select_rows
from memvid_core.index.filters.conditions import MANY, condition, texts_of, value_at
from memvid_core.index.filters.language import ID, And, Filter, Leaf, Node, Not, Or
from memvid_core.index.filters.sql_functions import canonical, register_functions

__all__ = ["MetadataColumns"]

Mask = NDArray[np.bool_]

_NO_ROW: Final = 0  # the code of a row number that no record has
_ABSENT: Final = 1  # the code of a record without the path
_ANSWERS: Final = 128  # conditions whose answers a column keeps
_CHUNK: Final = 16_384  # rows read at a time
_NESTED: Final = ("[", "{")  # how the text of a list or a dict begins


class _Column:
    """One path: a code per row, and a private table of the distinct values."""

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
        # Beside its characters a text costs about 170 bytes: str header, dict slot, int, the row in the private table.
        return self._capacity.nbytes + 2 * self._text_bytes + 170 * len(self._code_of)

    def extend(self, connection: sqlite3.Connection, limit: int, max_distinct: int, max_bytes: int) -> bool:
        """Read the rows from where the column ends up to ``limit``; False when it holds more than it may."""
        start = len(self.codes)
        if limit > len(self._capacity):
            grown = np.full(max(limit, len(self._capacity) * 5 // 4), _NO_ROW, np.int32)
            grown[:start] = self.codes
            self._capacity = grown
        for first in range(start, limit, _CHUNK):
            last = min(first + _CHUNK, limit)
            try:
                rows, texts = self._read(connection, first, last)
            except sqlite3.DataError:  # longer than a string can be
                return False
            known = len(self._code_of)
            self._capacity[rows] = np.fromiter(map(self._code_of.__getitem__, texts), np.int32, len(texts))
            self._remember(list(islice(self._code_of, known, None)))
            self.gaps |= len(texts) < last - first
            if len(self._code_of) > max_distinct or self.nbytes > max_bytes:
                return False
        self.codes = self._capacity[: max(start, limit)]
        return True

    def _read(self, connection: sqlite3.Connection, first: int, last: int) -> tuple[slice | list[int], list[str]]:
        """The row numbers from ``first`` to ``last`` and their JSON texts, "" for an absent value."""
        value = value_at(self._path)
        # NOT INDEXED: by row number, so in its order. A JSON text has no line feed of its own.
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
        """For every code, whether its value meets the condition."""
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
        """The codes from ``done`` on whose values meet the condition."""
        if leaf.op in ("in", "any") and len(leaf.operand) > MANY:
            return np.array(list(self._among(leaf, done)), np.int64)
        test = condition(leaf)
        found = self._values.execute(
            f"SELECT group_concat(v.code) FROM {self.table} AS v WHERE v.code >= ? AND ({test.text})",
            (done, *test.params),
        ).fetchone()[0]
        return np.zeros(0, np.int64) if found is None else np.fromstring(str(found), dtype=np.int64, sep=",")

    def _among(self, leaf: Leaf, done: int) -> Iterator[int]:
        """The codes from ``done`` on whose values are among many: looked up here, for SQLite would sort the many."""
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
    r"""The filters of one catalog, answered from columns that are read lazily. Thread-safe.

    Rows must be appended in order and be immutable. Call :meth:`clear` when rows are numbered anew.

    Args:
        max_distinct: A path with more distinct values than this is scanned in the table each time instead.
        max_bytes: What all columns may hold; the least recently used one goes first.
        rows_of: Finds the rows of some ids; without it, ids are looked for in the whole table.

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
        self._kept = _Kept(OrderedDict(), set(), values)  # at once, whenever an interrupt comes

    @property
    def _columns(self) -> OrderedDict[str, _Column]:
        return self._kept.columns

    @property
    def nbytes(self) -> int:
        """About how many bytes the columns hold."""
        with self._lock:
            return sum(column.nbytes for column in self._columns.values())

    def clear(self) -> None:
        """Forget every column: the rows were numbered anew."""
        with self._lock:
            before = self._kept
            self._start()
            before.values.close()

    def mask(
        self, connection: sqlite3.Connection, where: Mapping[str, Any] | Filter, *, committed: int | None = None
    ) -> Mask:
        """Which rows match a filter, deleted records included.

        Args:
            connection: A connection with the table ``records``, given to
                :func:`~memvid_core.index.filters.compiler.register_functions`.
            where: The filter, parsed or not.
            committed: Rows below this number are committed and may be remembered. Not given: all of them when the
                connection is in no transaction, else none that are not yet remembered (they are scanned each time).

        Returns:
            A bool per row number, shape (highest row + 1,); the caller's own to change.

        Raises:
            FilterError: The filter is wrong.
            IndexStaleError: The table is damaged.
        """
        parsed = parse_filter(where)
        with self._lock, checked("the metadata in the index"):
            size = connection.execute("SELECT coalesce(max(row) + 1, 0) FROM records").fetchone()[0]
            if committed is None:
                committed = 0 if connection.in_transaction else size
            columns = {path: c for path in parsed.paths if (c := self._column(connection, path, min(size, committed)))}
            by_id = self._rows_of is not None and _asks_ids(parsed.root)  # which needs no column
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
        """The numbers of the rows that match, ascending; see :meth:`mask`."""
        return np.flatnonzero(self.mask(connection, where, committed=committed))

    def _column(self, connection: sqlite3.Connection, path: str, limit: int) -> _Column | None:
        """The column of a path, read up to ``limit``; None for a path that has too many values.

        A column that is being read belongs to nobody, so that half of one, left by an interrupt, answers nothing.
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
        """Drop what an interrupt left: an open transaction, and the tables of columns that were being read."""
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
