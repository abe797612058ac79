"""Records of the core as LangChain's documents, and filters over documents as filters over records."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from langchain_core.documents import Document

from memvid_core import FilterError, Memory, Record, RecordNotFoundError

__all__ = ["Filter", "StoreView", "to_document", "to_where"]

Filter = Mapping[str, Any] | Callable[[Document], bool]
"""A dict of the filter language (``docs/filters.md``), or a function of a document."""


def to_document(record: Record) -> Document:
    """The record as a document of its own: changing it changes nothing in the memory."""
    return Document(id=record.id, page_content=record.text, metadata=record.metadata)


def to_where(chosen: Filter | None) -> Mapping[str, Any] | Callable[[Record], bool] | None:
    """What :meth:`memvid_core.Memory.search` takes for a filter over documents.

    Raises:
        FilterError: It is neither a dict nor a function, or an async one; or, when it is asked, it gives no bool.
    """
    if chosen is None or isinstance(chosen, Mapping):
        return chosen
    if not callable(chosen):
        raise FilterError(f"filter is a dict or a function of a Document, not a value of type {type(chosen).__name__}")
    if inspect.iscoroutinefunction(chosen) or inspect.iscoroutinefunction(type(chosen).__call__):
        raise FilterError("filter is an async function, whose answer nobody waits for: give a plain one")
    accepts: Callable[[Document], object] = chosen
    return lambda record: _verdict(accepts(to_document(record)))


def _verdict(answer: object) -> bool:
    """What a filter says of a document, if it says it: any other object would be taken for a yes."""
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    if inspect.iscoroutine(answer):
        answer.close()
    raise FilterError(
        f"the filter gave a value of type {type(answer).__name__}: a function of a Document returns True or False"
    )


class StoreView(Mapping[str, dict[str, Any]]):
    """Every record by its id, read from the memory when asked for: ``id``, ``vector``, ``text`` and ``metadata``.

    LangChain's ``InMemoryVectorStore`` keeps such a dict as ``store``; this one cannot be written to.

    Example:
        >>> from memvid_core import Memory
        >>> memory = Memory.create(":memory:", lambda texts: [[1.0, 0.0] for _ in texts])
        >>> _ = memory.add(["hello"], ids=["a"])
        >>> StoreView(memory)["a"]
        {'id': 'a', 'vector': [1.0, 0.0], 'text': 'hello', 'metadata': {}}
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getitem__(self, record_id: str) -> dict[str, Any]:
        try:
            record = self._memory.get(record_id)
        except RecordNotFoundError:
            raise KeyError(record_id) from None
        vector = self._memory.get_vectors([record_id]).get(record_id)
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
