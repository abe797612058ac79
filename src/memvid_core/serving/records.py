"""ServedRecords: the records of one memory that a server shows and changes, within a scope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from memvid_core.errors import FilterError, InvalidInputError, ReadOnlyError, RecordNotFoundError
from memvid_core.memory import Memory
from memvid_core.model import GivenSynonyms, Hit, Record, is_fittable
from memvid_core.serving.words import note_id

if TYPE_CHECKING:
    from memvid_core.library import Library

__all__ = ["RESERVED", "ServedRecords"]

RESERVED: Final = frozenset({"agent", "agent_memory", "claude_memory", "langgraph", "llama_index", "openai_session"})
"""Metadata keys by which the packages of this project recognize their records."""

_HIDDEN: Final[dict[str, Any]] = {
    "langgraph.kind": {"$nin": ["checkpoint", "blob", "write", "field"]},
    "agent.kind": {"$nin": ["resource", "category", "sources", "forgotten"]},
    "agent.superseded_at": {"$exists": False},
    "claude_memory.kind": {"$nin": ["version", "folder"]},
}
"""The filter that leaves out what is of no use to a reader: parts of checkpoints, counters, earlier versions."""

_OWNED: Final[dict[str, Any]] = {
    "langgraph.kind": {"$exists": False},
    "agent.kind": {"$exists": False},
    "claude_memory.kind": {"$exists": False},
    "llama_index.chat": {"$exists": False},
    "openai_session.name": {"$exists": False},
}
"""The filter that leaves out records which another component keeps, and which only it may change."""


class ServedRecords:
    """Search, list, save, change and delete the records of a memory, within a scope.

    Args:
        memory: An open memory, or a library, which is not changed.
        scope: Metadata that every saved record gets, and that every found or changed record must have.
        synonyms: Words that mean the same in every search, as in :meth:`memvid_core.Memory.search`.

    Raises:
        InvalidInputError: The scope has a reserved key.

    Example:
        >>> records = ServedRecords(Memory.create(":memory:"), {"user": "ada"})
        >>> records.save(["Ada drinks tea"], None) == records.save(["Ada drinks tea"], None)
        True
        >>> [hit.text for hit in records.search("tea", 5, None)]
        ['Ada drinks tea']
    """

    def __init__(
        self, memory: Memory | Library, scope: Mapping[str, Any] | None = None, synonyms: GivenSynonyms | None = None
    ) -> None:
        self._held = memory
        self._synonyms = synonyms
        self.scope = dict(scope or {})
        self._check_keys(self.scope, "the scope")

    @property
    def memory(self) -> Memory:
        """The memory, for a change.

        Raises:
            ReadOnlyError: It is a library.
        """
        if isinstance(self._held, Memory):
            return self._held
        raise ReadOnlyError(f"{self._held.path} is a library, which a server only reads")

    def _check_keys(self, given: Mapping[str, Any], what: str) -> None:
        taken = sorted(RESERVED & given.keys())
        if taken:
            raise InvalidInputError(f"{what} cannot have the key {taken[0]!r}, which is reserved; choose another name")

    def _mine(self) -> list[dict[str, Any]]:
        return [{key: {"$eq": value}} for key, value in self.scope.items()]

    def _shown(self, *filters: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"$and": [_HIDDEN, *self._mine(), *(each for each in filters if each)]}

    def _changeable(self, ids: Iterable[str]) -> dict[str, Any]:
        return {"$and": [_HIDDEN, _OWNED, *self._mine(), {"$id": {"$in": list(ids)}}]}

    @contextmanager
    def _explained(self, where: Mapping[str, Any] | None) -> Iterator[None]:
        """Make the message of an invalid filter name the place in the filter that was given."""
        try:
            yield
        except FilterError:
            self._held.select(where, limit=0)
            raise

    @property
    def everything(self) -> dict[str, Any]:
        """The filter of all records that are shown."""
        return self._shown()

    # --- reading ---

    def search(
        self,
        query: str,
        k: int,
        where: Mapping[str, Any] | None,
        *,
        min_relevance: float | None = None,
        unique: bool = False,
        passage: int | None = None,
    ) -> list[Hit]:
        """Return the best ``k`` records of the scope that match a filter; options as in ``Memory.search``."""
        chosen: dict[str, Any] = {"min_relevance": min_relevance, "unique": unique, "passage": passage}
        with self._explained(where):
            return self._held.search(query, k, self._shown(where), synonyms=self._synonyms, **chosen)

    def get(self, ids: Sequence[str]) -> list[Record]:
        """Return the records of the scope with some ids, in the order of the ids."""
        found = {record.id: record for record in self._held.select(self._shown({"$id": {"$in": list(ids)}}))}
        return [found[name] for name in dict.fromkeys(ids) if name in found]

    def page(
        self, where: Mapping[str, Any] | None, limit: int, offset: int, order_by: str | None, *, descending: bool
    ) -> tuple[list[Record], int]:
        """Return some records of the scope that match a filter, and the number of all of them."""
        wanted = self._shown(where)
        with self._explained(where):
            records = self._held.select(wanted, limit=limit, offset=offset, order_by=order_by, descending=descending)
            return records, len(self._held.ids(wanted))

    # --- writing ---

    def save(self, texts: Sequence[str], metadata: Mapping[str, Any] | None) -> list[str]:
        """Store texts that are not stored yet, as one commit, and return the ids of all.

        Raises:
            InvalidInputError: A text is empty, or the metadata has a key of the scope or a reserved one.
        """
        given = dict(metadata or {})
        self._check_keys(given, "the metadata")
        self._check_scope(given)
        named = {note_id(text, self.scope): text for text in map(_stripped, texts)}
        vectors = self._vectors(named)
        with self.memory.exclusive():
            if new := self._new(named):
                now = datetime.now(UTC).isoformat(timespec="seconds")
                stored = {"created_at": now, **given, **self.scope, "agent_memory": "note"}
                made = [vectors[name] for name in new] if new.keys() <= vectors.keys() else None
                self.memory.add(list(new.values()), [stored] * len(new), list(new), made)
        return list(named)

    def _new(self, named: Mapping[str, str]) -> dict[str, str]:
        there = set(self.memory.ids({"$id": {"$in": list(named)}}))
        return {name: text for name, text in named.items() if name not in there}

    def _vectors(self, named: Mapping[str, str]) -> dict[str, Any]:
        """Embed new texts before the lock is taken, if an embedder does so independently of the memory."""
        embedder = self.memory.embedder
        if embedder is None or is_fittable(embedder) or not (new := self._new(named)):
            return {}
        return dict(zip(new, embedder.embed_documents(list(new.values())), strict=True))

    def _check_scope(self, given: Mapping[str, Any]) -> None:
        for key in given.keys() & self.scope.keys():
            if given[key] != self.scope[key]:
                raise InvalidInputError(f"the metadata cannot change {key!r}: this server has a fixed scope")

    def update(self, record_id: str, text: str | None, metadata: Mapping[str, Any] | None) -> Record:
        """Change a record's text, some of its metadata, or both; a value of None removes its key.

        Raises:
            InvalidInputError: Nothing is to be changed, or a key is of the scope or reserved.
            RecordNotFoundError: The scope has no such record that can be changed.
        """
        if text is None and metadata is None:
            raise InvalidInputError("give a new text, new metadata, or both")
        given = dict(metadata or {})
        self._check_keys(given, "the metadata")
        self._check_scope(given)
        with self.memory.exclusive():
            found = self.memory.select(self._changeable([record_id]))
            if not found:
                raise RecordNotFoundError(f"no memory has the id {record_id!r}, or it cannot be changed here")
            merged = {**found[0].metadata, **given}
            kept = {key: value for key, value in merged.items() if not (key in given and value is None)}
            self.memory.update(
                record_id,
                text=None if text is None else _stripped(text),
                metadata=None if metadata is None else kept,
            )
        return self.memory.get(record_id)

    def forget(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Delete records of the scope; return the deleted ids and those that cannot be deleted."""
        names = list(dict.fromkeys(map(_bare, ids)))
        with self.memory.exclusive():
            found = set(self.memory.ids(self._changeable(names)))
            gone = [name for name in names if name in found]
            if gone:
                self.memory.delete(gone)
        return gone, [name for name in names if name not in found]


def _bare(name: str) -> str:
    """Return the bare id, without the brackets or quotes in which it may be shown."""
    return name.strip(" \t\n[]`'\"")


def _stripped(text: str) -> str:
    if not text.strip():
        raise InvalidInputError("the text is empty; say what to remember")
    return text.strip()
