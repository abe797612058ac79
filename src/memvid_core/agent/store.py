"""The one module of an agent's memory that calls ``Memory``: records in, records out, one commit a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from memvid_core.agent.passages import asked_of
from memvid_core.agent.records import AGENT, Draft, kind_of
from memvid_core.errors import DamagedFrameError, EmbeddingError
from memvid_core.memory import Memory
from memvid_core.model import Embedder, Hit, Record, is_fittable, plain_query

__all__ = ["Changes", "Store"]

_TRIES = 5


class Changes(NamedTuple):
    """The records that one commit writes and deletes, and the result for the caller."""

    drafts: Sequence[Draft]
    deleted: Sequence[str] = ()
    result: Any = None


class _Together(threading.local):
    """What a thread writes together, by id; None outside of such a block."""

    drafts: dict[str, Draft] | None = None


class Store:
    """An agent's records in an open memory.

    Args:
        memory: The memory; open for writing, if anything is to be written.
        embedder: Embeds where the memory itself has no embedder.
        owners: The fields that a scope may have, without that of its session.
    """

    def __init__(self, memory: Memory, embedder: Embedder | None = None, owners: Sequence[str] = ()) -> None:
        self.memory = memory
        self._owners = tuple(owners)
        self._given = embedder if memory.embedder is None else None
        self._together = _Together()

    @property
    def embedder(self) -> Embedder | None:
        """What embeds: the memory's own embedder, or else the given one."""
        return self._given or self.memory.embedder

    def notes(self, where: Mapping[str, Any]) -> list[str]:
        """Return the ids of the notes of a scope, which tools save next to what the service remembers."""
        return self.memory.ids({**where, "agent_memory": {"$exists": True}})

    def exactly(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return the filter of the records that belong to a scope, or to a session of it, and to no narrower scope."""
        others = {name: {"$exists": False} for name in self._owners if name not in scope}
        return {name: {"$eq": value} for name, value in scope.items()} | others

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one commit of what this thread writes inside the block, and none if the block raises.

        No one else can write meanwhile, so the block waits for nothing; where a model embeds, it changes nothing. What
        is searched for inside, or deleted, is not held back: what was written before it is a commit of its own.
        """
        if self._embeds_outside() or self._together.drafts is not None:
            yield
            return
        with self.memory.exclusive():
            self._together.drafts = {}
            try:
                yield
                self._write_held()
            finally:
                self._together.drafts = None

    def _write_held(self, kinds: Sequence[str] | None = None, may_be: Callable[[Record], bool] | None = None) -> None:
        """Commit what is held back if it has a record that may be looked for: one of some kinds that passes a test."""
        held = self._together.drafts or {}
        asked = (draft for draft in held.values() if kinds is None or draft.metadata[AGENT]["kind"] in kinds)
        if any(may_be is None or may_be(Record(*draft)) for draft in asked):
            self._commit(Changes(list(held.values())), {})
            held.clear()

    def _hits(self, query: str, k: int, where: Mapping[str, Any]) -> list[Hit]:
        if self._given is None or not query.strip() or not len(self.memory):
            return self.memory.search(query, k, where)
        return self.memory.search(query, k, where, "hybrid", embedding=self._given.embed_query(query))

    def search(
        self,
        question: str,
        where: Mapping[str, Any],
        k: int,
        kinds: Sequence[str],
        may_be: Callable[[Record], bool] | None = None,
    ) -> list[Hit]:
        """Return the best ``k`` records of some kinds, or fewer; none for a question without words.

        The filter is the scope alone: one column, which the first search after opening has to read. Only where other
        records crowd out the agent's own are those asked for by kind.

        Args:
            question: What is asked.
            where: The filter of a scope.
            k: How many to return at most.
            kinds: Which kinds of records.
            may_be: Tells whether a record that is not written yet may be looked for; only then is it written first.
        """
        query = plain_query(asked_of(question))
        if not query.strip():
            return []
        self._write_held(kinds, may_be)
        hits = self._hits(query, k, where)
        found = [hit for hit in hits if kind_of(hit.record) in kinds]
        if len(hits) == k and len(found) < k * 3 // 4:
            found = self.of_kinds(question, where, k, kinds)
        return found

    def of_kinds(self, question: str, where: Mapping[str, Any], k: int, kinds: Sequence[str]) -> list[Hit]:
        """Return the best ``k`` records of kinds that are few among the others: the filter names them."""
        query = plain_query(asked_of(question))
        if not query.strip():
            return []
        self._write_held(kinds)
        hits = self._hits(query, k, {**where, f"{AGENT}.kind": {"$in": list(kinds)}})
        return [hit for hit in hits if kind_of(hit.record) in kinds]

    def near(self, texts: Sequence[str], where: Mapping[str, Any], k: int) -> list[list[Hit]]:
        """Return, for each of some texts, the items whose vectors are nearest; none without an embedder."""
        if self.embedder is None or not texts or not all(text.strip() for text in texts):
            return [[] for _ in texts]
        self._write_held(["item"])
        queries: Any = list(texts)
        if self._given is not None:
            queries = np.stack([self._given.embed_query(text) for text in texts])
        elif is_fittable(self.embedder):  # questions as texts: many at once cost less
            queries = self.embedder.embed_documents(queries)
        found = self.memory.search_many(queries, k, {**where, f"{AGENT}.kind": {"$eq": "item"}})
        return [[hit for hit in hits if kind_of(hit.record) == "item"] for hits in found]

    def get(
        self, ids: Iterable[str], where: Mapping[str, Any] | None = None, kind: str | None = None
    ) -> dict[str, Record]:
        """Return the records that are there, by id; without those in damaged frames, of another scope or kind."""
        held = self._together.drafts or {}
        asked = list(dict.fromkeys(ids))
        wanted = [name for name in asked if name not in held]
        try:
            found = self.memory.get(wanted) if wanted else []
        except DamagedFrameError:
            found = self.memory.select({"$id": {"$in": wanted}})
        if len(wanted) < len(asked):
            stored = {record.id: record for record in found}
            there = (Record(*held[name]) if name in held else stored.get(name) for name in asked)
            found = [record for record in there if record is not None]
        own = (record for record in found if (its := kind_of(record)) is not None and kind in (None, its))
        return {record.id: record for record in own if where is None or _holds(where, record.metadata)}

    def select(self, kind: str, where: Mapping[str, Any], **options: Any) -> list[Record]:
        """Return the records of one kind within a scope, in the order they were added."""
        self._write_held([kind])
        found = self.memory.select({**where, f"{AGENT}.kind": {"$eq": kind}}, **options)
        return [record for record in found if kind_of(record) == kind]

    def write(self, plan: Callable[[], Changes]) -> Any:
        """Carry out a plan as one commit, and return its result.

        The plan is made while no one else can write, so what it read still holds when it is written. A model that
        embeds is asked before that, for a plan made without the lock; others wait for no model unless they change what
        was planned again and again.

        Raises:
            EmbeddingError: The memory was opened without an embedder, and the service has none.
        """
        if self.embedder is None:
            raise EmbeddingError(
                "the memory was opened without an embedder: open it with the one that wrote it, or give embedder= to "
                "the memory service"
            )
        vectors: dict[str, Any] = {}
        if self._embeds_outside():
            for _ in range(_TRIES):
                missing = [text for text in _texts(plan()) if text not in vectors]
                if not missing:
                    break
                vectors.update(self._embedded(missing))
        with self.memory.exclusive():
            changes = plan()
            held = self._together.drafts
            if held is None:
                self._commit(changes, vectors)
            elif changes.deleted:
                self._write_held()
                self._commit(changes, {})
            else:
                held.update((draft.id, draft) for draft in changes.drafts)
        return changes.result

    def _embeds_outside(self) -> bool:
        return self._given is not None or self._waits_for_a_model()

    def _waits_for_a_model(self) -> bool:
        embedder = self.memory.embedder
        return embedder is not None and not is_fittable(embedder)

    def _embedded(self, texts: Sequence[str]) -> dict[str, Any]:
        embedder = self.embedder
        return {} if embedder is None else dict(zip(texts, embedder.embed_documents(list(texts)), strict=True))

    def _commit(self, changes: Changes, vectors: Mapping[str, Any]) -> None:
        drafts = changes.drafts
        if not drafts:
            if changes.deleted:
                self.memory.delete(changes.deleted)
            return
        texts = [draft.text for draft in drafts]
        if self._given is not None:
            vectors = {**vectors, **self._embedded([text for text in texts if text not in vectors])}
        whole = bool(vectors) and all(text in vectors for text in texts)
        given = [vectors[text] for text in texts] if whole else None
        metadata = [draft.metadata for draft in drafts]
        self.memory.add(texts, metadata, [draft.id for draft in drafts], given, delete=changes.deleted)


def _holds(where: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Tell whether metadata has the values of a filter of a scope."""
    return all(
        name in metadata and metadata[name] in (test["$in"] if "$in" in test else (test["$eq"],))
        for name, test in where.items()
    )


def _texts(changes: Changes) -> list[str]:
    return list(dict.fromkeys(draft.text for draft in changes.drafts))
