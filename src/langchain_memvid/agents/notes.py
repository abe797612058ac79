"""Notes: what an agent chose to keep, as plain records that every door of the memory reads."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from langchain_memvid.agents.layout import ITEM, KIND
from memvid_core import Hit, InvalidInputError, Memory

__all__ = ["NOTE", "Notes"]

NOTE: Final = "agent_memory"
"""The metadata key of a note: who said it, ``"user"``, ``"assistant"``, or ``"note"`` for what was saved on purpose."""


_Prepared = tuple[list[str], list[str], list[str], list[dict[str, Any]]]
"""The ids of all notes; and ids, texts and metadata of those that are not there yet."""


class Notes:
    """An agent's notes in a memory, and everything else in there that it may read.

    A note's id is a hash of its text and scope, so that saying a thing twice stores it once.

    Args:
        memory: An open memory.
        scope: Metadata that every note gets, and that everything recalled must have: whose memory it is.

    Raises:
        InvalidInputError: ``memory`` is none; or the scope names keys of ours, or no owner, such as ``{"user": None}``.

    Example:
        >>> notes = Notes(Memory.create(":memory:"), {"user": "ada"})
        >>> notes.save([("note", "Ada drinks tea")]) == notes.save([("note", "Ada drinks tea")])
        True
        >>> [hit.text for hit in notes.recall("what does she drink?", 5)]
        ['Ada drinks tea']
    """

    def __init__(self, memory: Memory, scope: Mapping[str, Any] | None = None) -> None:
        if not isinstance(memory, Memory):
            raise InvalidInputError(f"give an open Memory, not a value of type {type(memory).__name__}")
        self.memory = memory
        self.scope = _checked(scope or {})

    def _id(self, text: str) -> str:
        named = json.dumps([self.scope, text], sort_keys=True, ensure_ascii=False, default=str)
        return f"note-{hashlib.blake2b(named.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"

    def _prepared(self, said: Iterable[tuple[str, str]]) -> _Prepared:
        """The ids of all notes; and id, text and metadata of those that are not there yet."""
        named = {self._id(text): (role, text) for role, text in said}
        there = set(self.memory.ids({"$id": {"$in": list(named)}})) if named else set()
        new = {name: entry for name, entry in named.items() if name not in there}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        metadata = [{**self.scope, NOTE: role, "created_at": now} for role, _ in new.values()]
        return list(named), list(new), [text for _, text in new.values()], metadata

    def save(self, said: Iterable[tuple[str, str]]) -> list[str]:
        """Keep (role, text) pairs, as one commit; returns their ids. Those that are there stay as they are."""
        names, ids, texts, metadata = self._prepared(said)
        if ids:
            self.memory.add(texts, metadata, ids)
        return names

    async def asave(self, said: Iterable[tuple[str, str]]) -> list[str]:
        """Async :meth:`save`."""
        names, ids, texts, metadata = await asyncio.to_thread(self._prepared, said)
        if ids:
            await self.memory.aadd(texts, metadata, ids)
        return names

    def _readable(self) -> dict[str, Any]:
        # Checkpoints are not for reading, and a further field of an item repeats the item.
        equal = [{key: {"$eq": value}} for key, value in self.scope.items()]
        return {"$and": [{KIND: {"$in": [None, ITEM]}}, *equal]}

    def recall(self, query: str, k: int) -> list[Hit]:
        """The best ``k`` records within the scope; none for a blank query."""
        return self.memory.search(query, k, self._readable()) if query.strip() else []

    async def arecall(self, query: str, k: int) -> list[Hit]:
        """Async :meth:`recall`."""
        return await self.memory.asearch(query, k, self._readable()) if query.strip() else []

    def forget(self, name: str) -> bool:
        """Delete the note with an id; False if no note within the scope has it. Other records are not touched."""
        return bool(self.memory.delete([name], where={"$and": [self._readable(), {NOTE: {"$exists": True}}]}))


def _checked(scope: Mapping[Any, Any]) -> dict[str, Any]:
    """A scope that says whose notes they are: to a filter, None would be everyone who has not said."""
    if not isinstance(scope, Mapping):
        raise InvalidInputError(f"a scope is a dict such as {{'user': 'ada'}}, not {scope!r}")
    if taken := scope.keys() & {NOTE, "created_at"}:
        raise InvalidInputError(f"the scope cannot have the keys {sorted(taken)}: notes have their own")
    for key, value in scope.items():
        if not isinstance(key, str) or key.startswith("$") or not isinstance(value, str | int | float):
            raise InvalidInputError(
                f"the scope {key!r}: {value!r} names nobody: give a str or a number under a plain key"
            )
    return dict(scope)
