"""Conversion of records to LangChain documents, and of document filters to record filters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from langchain_core.documents import Document

from memvid_core import FilterError, Hit, Library, Memory, Record

__all__ = ["Filter", "StoreView", "hit_document", "to_document", "to_where"]

_START = "start_index"  # as LangChain's text splitters call it

Filter = Mapping[str, Any] | Callable[[Document], bool]
"""A dict in the filter language (``docs/filters.md``), or a function of a document."""


def to_document(record: Record) -> Document:
    """Convert a record to an independent document: changing it does not change the memory."""
    return Document(id=record.id, page_content=record.text, metadata=record.metadata)


def hit_document(hit: Hit) -> Document:
    """Convert a hit to a document: the passage of a hit that has one, and otherwise the whole text.

    The metadata of a passage has its ``start_index``, in the text, or in the source if the text's own is known.
    """
    if hit.passage is None:
        return to_document(hit.record)
    first = hit.metadata.get(_START)
    start = hit.passage.start + (first if type(first) is int else 0)
    return Document(id=hit.id, page_content=hit.passage.text, metadata={**hit.metadata, _START: start})


def to_where(chosen: Filter | None) -> Mapping[str, Any] | Callable[[Record], bool] | None:
    """Convert a filter over documents to the filter that :meth:`memvid_core.Memory.search` takes.

    Raises:
        FilterError: The filter is neither a dict nor a plain function, or the function returns something other than a
            bool.
    """
    if chosen is None or isinstance(chosen, Mapping):
        return chosen
    if not callable(chosen):
        raise FilterError(
            f"filter must be a dict or a function of a Document, not a value of type {type(chosen).__name__}"
        )
    if inspect.iscoroutinefunction(chosen) or inspect.iscoroutinefunction(type(chosen).__call__):
        raise FilterError("filter is an async function and would not be awaited: pass a plain function")
    accepts: Callable[[Document], object] = chosen
    return lambda record: _verdict(accepts(to_document(record)))


def _verdict(answer: object) -> bool:
    """Check that a filter function returned a bool: any other object would count as True."""
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    if inspect.iscoroutine(answer):
        answer.close()
    raise FilterError(
        f"the filter returned a value of type {type(answer).__name__}: a filter function must return True or False"
    )


class StoreView(Mapping[str, dict[str, Any]]):
    """Map every record id to its ``id``, ``vector``, ``text`` and ``metadata``, read from the memory on access.

    LangChain's ``InMemoryVectorStore`` has such a dict as ``store``; this one is read-only.

    Example:
        >>> from memvid_core import Memory
        >>> memory = Memory.create(":memory:", lambda texts: [[1.0, 0.0] for _ in texts])
        >>> _ = memory.add(["hello"], ids=["a"])
        >>> StoreView(memory)["a"]
        {'id': 'a', 'vector': [1.0, 0.0], 'text': 'hello', 'metadata': {}}
    """

    def __init__(self, memory: Memory | Library) -> None:
        self._memory = memory

    def __getitem__(self, record_id: str) -> dict[str, Any]:
        there = self._memory.select_with_vectors({"$id": record_id})
        if not there:
            raise KeyError(record_id)
        [(record, vector)] = there
        found = None if vector is None else vector.tolist()
        return {"id": record.id, "vector": found, "text": record.text, "metadata": record.metadata}

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._memory

    def __iter__(self) -> Iterator[str]:
        return (record.id for record in self._memory)

    def __len__(self) -> int:
        return len(self._memory)

    def __repr__(self) -> str:
        return f"<StoreView of {self._memory!r}>"
