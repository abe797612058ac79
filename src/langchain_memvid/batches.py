"""Adding texts in batches: each batch is one commit, so a failure loses one batch at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from memvid_core import EmbeddingError, InvalidInputError, MemvidError

__all__ = ["Batches"]

Columns = tuple[list[str], list[Any] | None, list[Any] | None, Any]


@dataclass
class Batches:
    """Hold the columns to add, and the ids of the records that are stored already.

    Example:
        >>> batches = Batches.of(["a", "b", "c"], None, ["1", "2", "3"], None, 2)
        >>> [texts for texts, _, _, _ in batches]
        [['a', 'b'], ['c']]
    """

    texts: list[str]
    metadatas: list[Any] | None
    ids: list[Any] | None
    vectors: Any
    size: int
    stored: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None,
        ids: Iterable[str | None] | None,
        vectors: Sequence[Any] | None,
        batch_size: int | None,
    ) -> Batches:
        """Check the columns that a caller gave: all must have the same length.

        Raises:
            InvalidInputError: Lengths differ, or ``batch_size`` is not an integer of 1 or more.
        """
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise InvalidInputError(f"batch_size must be an integer of 1 or more, not {batch_size!r}")
        given = [texts] if isinstance(texts, str) else list(texts)
        columns = {"metadatas": _listed(metadatas, Mapping), "ids": _listed(ids, str)}
        for name, column in (*columns.items(), ("vectors", vectors)):
            if column is not None and len(column) != len(given):
                raise InvalidInputError(
                    f"{name} must be as many as texts, but there are {len(column)} {name} and {len(given)} texts"
                )
        return cls(given, columns["metadatas"], columns["ids"], vectors, batch_size or max(len(given), 1))

    def __iter__(self) -> Iterator[Columns]:
        for start in range(0, max(len(self.texts), 1), self.size):
            stop = start + self.size
            rest = (None if one is None else one[start:stop] for one in (self.metadatas, self.ids, self.vectors))
            metadatas, ids, vectors = rest
            yield self.texts[start:stop], metadatas, ids, vectors

    @contextmanager
    def reporting_progress(self) -> Iterator[None]:
        """Add the number of stored texts to any error that the block raises."""
        try:
            yield
        except MemvidError as exc:
            if self.stored and exc.args:
                exc.args = (f"{exc.args[0]}; {self._progress()}", *exc.args[1:])
            raise
        except Exception as exc:
            if not self.stored:
                raise
            raise EmbeddingError(f"{type(exc).__name__}: {exc}; {self._progress()}") from exc

    def _progress(self) -> str:
        done = len(self.stored)
        return f"the first {done} of {len(self.texts)} texts are stored: add texts[{done}:] again" + (
            ", or all of them with the same ids" if self.ids is not None else ""
        )


def _listed(column: Any, single: type) -> list[Any] | None:
    return None if column is None else [column] if isinstance(column, single) else list(column)
