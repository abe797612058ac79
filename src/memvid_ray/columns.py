"""Rows of a dataset as records."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from memvid_core import InvalidInputError, Record

__all__ = ["Columns"]

_ROWS: Final = 4_096  # that are converted together


class Columns(NamedTuple):
    """Which columns of a dataset hold what.

    Attributes:
        text: The texts.
        vector: The vectors; None if the embedder makes them.
        id: The ids; None creates new ones.
        metadata: The metadata fields, which are left out of a record where they are null.
    """

    text: str
    vector: str | None
    id: str | None
    metadata: tuple[str, ...]

    def records(self, block: Any, first: int, last: int) -> Iterator[Record | tuple[Record, Any]]:
        """Yield the rows of a block from the ``first`` up to the ``last``.

        Raises:
            InvalidInputError: A column is missing, or an id is neither a string nor a whole number.
        """
        for start in range(first, last, _ROWS):
            yield from self._part(_table(block, start, min(start + _ROWS, last)))

    def texts(self, block: Any, places: range) -> list[str]:
        """Return the texts of some rows of a block."""
        table = _table(block, 0, places.stop)
        self._check(table)
        return [text for text in table[self.text].take(list(places)).to_pylist() if isinstance(text, str)]

    def _check(self, table: Any) -> None:
        wanted = [self.text, self.vector, self.id, *self.metadata]
        missing = [name for name in wanted if name is not None and name not in table.column_names]
        if missing:
            raise InvalidInputError(f"the dataset has no column {missing[0]!r}; it has {', '.join(table.column_names)}")

    def _part(self, table: Any) -> Iterator[Record | tuple[Record, Any]]:
        self._check(table)
        count = table.num_rows
        texts = table[self.text].to_pylist()
        ids = [uuid.uuid4().hex for _ in range(count)] if self.id is None else self._ids(table)
        fields = {name: table[name].to_pylist() for name in self.metadata}
        vectors = None if self.vector is None else _numbers(table, self.vector)
        for row in range(count):
            metadata = {name: values[row] for name, values in fields.items() if values[row] is not None}
            record = Record(ids[row], texts[row], metadata)
            yield record if vectors is None else (record, vectors[row])

    def _ids(self, table: Any) -> list[str]:
        found = table[self.id].to_pylist()
        for one in found:
            if isinstance(one, bool) or not isinstance(one, str | int):  # a null would be one record for all of them
                raise InvalidInputError(
                    f"an id in the column {self.id!r} is {one!r}: give strings or whole numbers; id=None creates ids"
                )
        return [str(one) for one in found]


def _table(block: Any, first: int, last: int) -> Any:
    """Return some rows of a block as a table of Arrow.

    Most blocks are one: Ray Data, which takes a second to import, is asked about the others only.
    """
    from pyarrow import Table

    if isinstance(block, Table):
        return block.slice(first, last - first)
    from ray.data.block import BlockAccessor

    return BlockAccessor.for_block(BlockAccessor.for_block(block).slice(first, last)).to_arrow()


def _numbers(table: Any, name: str) -> Any:
    """Return the vectors of a column, one for each row: (n, d), or a list with None for null."""
    if "list" in str(table[name].type).partition("<")[0]:  # and not in a field of a struct
        return _matrix(table[name])
    from ray.data.block import BlockAccessor

    return BlockAccessor.for_block(table).to_numpy(name)


def _matrix(column: Any) -> Any:
    """Return a column of lists of numbers: (n, d) if they are as long as each other, otherwise a list of lists.

    A number of Python for each component would take longer than all else that a build does with a vector.
    """
    from pyarrow import compute, types

    flat = compute.list_flatten(column)
    lengths = compute.unique(compute.list_value_length(column))
    if column.null_count or flat.null_count or len(lengths) != 1 or not types.is_floating(flat.type):
        return column.to_pylist()
    return flat.to_numpy().reshape(len(column), -1) if len(flat) else column.to_pylist()
