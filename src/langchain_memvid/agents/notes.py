"""Notes: facts that an agent saved, as plain records that every part of the package can read."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from langgraph.runtime import Runtime

from langchain_memvid.agents.record_schema import checked_memory
from langchain_memvid.agents.scopes import Scope, check_scope, scope_for
from langchain_memvid.sharing import AGENT, CHAT, KIND, NOTE, of_services, readable
from memvid_core import FilterError, FittableEmbedder, Hit, Memory, WriterThread, note_id, run_in_thread

__all__ = ["NOTE", "Notes", "writer_of"]

_OWNED: Final = (KIND, NOTE, CHAT, AGENT, "session_id")
"""Metadata keys of records that belong to a conversation, an agent or a namespace, and so have an owner."""

_writers: weakref.WeakKeyDictionary[Memory, WriterThread] = weakref.WeakKeyDictionary()


def writer_of(memory: Memory) -> WriterThread:
    """Return the thread in which a memory is written."""
    return _writers.setdefault(memory, WriterThread())


class Notes:
    """Manage an agent's notes in a memory, and the other records that the agent may read.

    A note's id is a hash of its text and scope, so saving the same text again stores it only once.

    Args:
        memory: An open memory.
        scope: Metadata that every note gets and every recalled record must have: its owner; or a function of a run's
            ``Runtime`` that returns it.
        shared: Whether documents without an owner are recalled too: those that have none of the scope's keys and were
            not written by an agent, store or conversation. A filter restricts them further.

    Raises:
        InvalidInputError: ``memory`` is not a Memory; or the scope has reserved keys, or no owner, as
            ``{"user": None}``.

    Example:
        >>> notes = Notes(Memory.create(":memory:"), {"user": "ada"})
        >>> notes.save([("note", "Ada drinks tea")]) == notes.save([("note", "Ada drinks tea")])
        True
        >>> [hit.text for hit in notes.recall("what does she drink?", 5)]
        ['Ada drinks tea']
    """

    def __init__(self, memory: Memory, scope: Scope = None, *, shared: bool | Mapping[str, Any] = False) -> None:
        if not isinstance(shared, bool | Mapping):
            raise FilterError(f"shared must be True, False or a filter such as {{'kind': 'handbook'}}, not {shared!r}")
        check_scope(scope)
        self.memory = checked_memory(memory)
        self.shared = shared
        self._scope = scope

    @property
    def scope(self) -> dict[str, Any]:
        """The owner of the notes; a scope function is only evaluated in a run, see :meth:`within`."""
        return scope_for(self._scope, None)

    def within(self, runtime: Runtime[Any] | None) -> Notes:
        """Return the notes of one run.

        Raises:
            ScopeError: The scope function failed.
            InvalidInputError: The function returned a scope without an owner.
        """
        if not callable(self._scope):
            return self
        return Notes(self.memory, scope_for(self._scope, runtime), shared=self.shared)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Notes:
        return self

    def _named(self, said: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
        return {note_id(text, self.scope): (role, text) for role, text in said}

    def _new(self, named: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        """Return the notes that are not stored yet."""
        there = set(self.memory.ids({"$id": {"$in": list(named)}})) if named else set()
        return {name: entry for name, entry in named.items() if name not in there}

    def _store(self, named: Mapping[str, tuple[str, str]], vectors: Mapping[str, Any] | None = None) -> list[str]:
        """Store the notes that are not stored yet, as one commit; existing notes are unchanged."""
        with self.memory.exclusive():
            if new := self._new(named):
                now = datetime.now(UTC).isoformat(timespec="seconds")
                metadata = [{**self.scope, NOTE: role, "created_at": now} for role, _ in new.values()]
                made = [vectors[name] for name in new] if vectors is not None and new.keys() <= vectors.keys() else None
                self.memory.add([text for _, text in new.values()], metadata, list(new), made)
        return list(named)

    def save(self, said: Iterable[tuple[str, str]]) -> list[str]:
        """Store (role, text) pairs as one commit and return their ids. Existing notes are unchanged."""
        return self._store(self._named(said))

    async def asave(self, said: Iterable[tuple[str, str]]) -> list[str]:
        """Async :meth:`save`. Awaits the embedder once."""
        named, embedder = self._named(said), self.memory.embedder
        vectors: dict[str, Any] | None = None
        if embedder is not None and not isinstance(embedder, FittableEmbedder):
            new = await run_in_thread(self._new, named)
            if not new:
                return list(named)
            made = await embedder.aembed_documents([text for _, text in new.values()])
            vectors = dict(zip(new, made, strict=False))
        return await writer_of(self.memory).run(self._store, named, vectors)

    def _mine(self) -> list[dict[str, Any]]:
        return [{key: {"$eq": value}} for key, value in self.scope.items()]

    def _readable(self) -> dict[str, Any]:
        if not self.scope:
            return readable()
        if self.shared is False:
            return {"$and": [readable(), *self._mine()]}
        unowned: list[Any] = [{key: {"$exists": False}} for key in (*self.scope, *_OWNED)]
        if isinstance(self.shared, Mapping):
            unowned.append(self.shared)
        return {"$and": [readable(), {"$or": [{"$and": self._mine()}, {"$and": unowned}]}]}

    def recall(self, query: str, k: int, *, turns: bool = True) -> list[Hit]:
        """Return the best ``k`` records within the scope; an empty list for a blank query.

        ``turns`` says whether records of a memory service are included.
        """
        return self.memory.search(query, k, self._where(turns=turns)) if query.strip() else []

    async def arecall(self, query: str, k: int, *, turns: bool = True) -> list[Hit]:
        """Async :meth:`recall`."""
        return await self.memory.asearch(query, k, self._where(turns=turns)) if query.strip() else []

    def _where(self, *, turns: bool) -> dict[str, Any]:
        return self._readable() if turns else {"$and": [self._readable(), {"$not": of_services()}]}

    def _own(self) -> dict[str, Any]:
        return {"$and": [{NOTE: {"$exists": True}}, {KIND: {"$exists": False}}, *self._mine()]}

    def forget(self, name: str) -> bool:
        """Delete the note with an id; return False if the scope has no such note. Other records are not deleted."""
        return bool(self.memory.delete([name], where=self._own()))

    async def aforget(self, name: str) -> bool:
        """Async :meth:`forget`."""
        return bool(await self.memory.adelete([name], where=self._own()))
