"""Checkpoints of threads as records: how they are written and read.

A checkpoint, each value of a channel, and each pending write is one record. Its text is the serialized value; its
metadata identifies the thread, namespace and checkpoint. A value is stored once per version and shared by all
checkpoints that refer to it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite, writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol

from langchain_memvid.agents.record_schema import (
    BLOB,
    CHECKPOINT,
    KIND,
    META,
    WRITE,
    from_text,
    meta_of,
    parse_id,
    record_id,
)
from langchain_memvid.agents.record_schema import to_text as encoded
from memvid_core import Memory, MemoryFileError, MetadataError, Record

__all__ = ["EMPTY", "Key", "Loaded", "Threads", "to_row"]

EMPTY = "empty"
"""The type of a channel that had no value in some version."""
_THREAD, _NAMESPACE, _CHECKPOINT = f"{META}.thread", f"{META}.ns", f"{META}.checkpoint"


class Key(NamedTuple):
    """Identify a checkpoint."""

    thread: str
    ns: str
    checkpoint: str

    @property
    def record(self) -> str:
        """The id of the checkpoint's record."""
        return record_id(CHECKPOINT, *self)

    @property
    def config(self) -> RunnableConfig:
        """The LangGraph config that names the checkpoint."""
        return {"configurable": {"thread_id": self.thread, "checkpoint_ns": self.ns, "checkpoint_id": self.checkpoint}}


@dataclass(frozen=True)
class Loaded:
    """Hold a checkpoint without its channel values, with its metadata and its parent's id."""

    key: Key
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    parent: str | None

    @property
    def blobs(self) -> dict[str, str]:
        """The id of the record of each channel's value."""
        versions = self.checkpoint["channel_versions"]
        return {channel: record_id(BLOB, *self.key[:2], channel, version) for channel, version in versions.items()}

    @property
    def parent_key(self) -> Key | None:
        """The key of the parent checkpoint."""
        return self.key._replace(checkpoint=self.parent) if self.parent else None


class Row(NamedTuple):
    """Represent a record to be written."""

    id: str
    text: str
    metadata: dict[str, Any]


def to_row(
    serde: SerializerProtocol, kind: str, parts: Sequence[str | float], value: Any, meta: Mapping[str, Any]
) -> Row:
    """Encode a value as the record that ``parts`` identify; the type :data:`EMPTY` in ``meta`` encodes no value.

    Raises:
        MetadataError: The serializer cannot store the value.
    """
    name = record_id(kind, *parts)
    try:
        type_, data = (EMPTY, b"") if meta.get("type") == EMPTY else serde.dumps_typed(value)
    except (TypeError, ValueError) as exc:
        raise MetadataError(f"{name}: a value of type {type(value).__name__} cannot be stored: {exc}") from exc
    return Row(name, encoded(data), {META: {"kind": kind, **meta, "type": type_}})


class Threads:
    """Read checkpoints from a memory.

    Args:
        memory: The memory.
        serde: LangGraph's serializer.
    """

    def __init__(self, memory: Memory, serde: SerializerProtocol) -> None:
        self._memory = memory
        self._serde = serde

    def value(self, record: Record) -> Any:
        """Return the value that a record stores."""
        return self._serde.loads_typed((meta_of(record.metadata)["type"], from_text(record.text)))

    def keys(self, threads: Iterable[str] | None = None, ns: str | None = None) -> list[Key]:
        """Return the keys of the checkpoints of some threads, or of all, newest first."""
        where: dict[str, Any] = {KIND: CHECKPOINT}
        if threads is not None:
            where[_THREAD] = {"$in": list(threads)}
        if ns is not None:
            where[_NAMESPACE] = ns
        found = (Key(*parse_id(CHECKPOINT, name)) for name in self._memory.ids(where))
        return sorted(found, key=lambda key: key.checkpoint, reverse=True)

    def load(self, keys: Sequence[Key]) -> list[Loaded]:
        """Load the given checkpoints that exist, in order."""
        loaded: list[Loaded] = []
        for record in self._memory.get([key.record for key in keys]):
            value, meta = self.value(record), meta_of(record.metadata)
            key = Key(meta["thread"], meta["ns"], meta["checkpoint"])
            loaded.append(Loaded(key, value["checkpoint"], value["metadata"], meta["parent"]))
        return loaded

    def tuples(self, loaded: Sequence[Loaded]) -> list[CheckpointTuple]:
        """Return the checkpoints completely, with their channel values and pending writes.

        Raises:
            MemoryFileError: A value is lost, because the file is damaged: a graph would go on without it.
        """
        names = {name for entry in loaded for name in entry.blobs.values()}
        found = {record.id: record for record in self._memory.get(sorted(names))}
        if len(found) < len(names) and self._memory.info().lost:
            _check_whole(loaded, found)
        blobs = _with_values(found.values())
        pending = self._pending([entry.key for entry in loaded])
        made: list[CheckpointTuple] = []
        for entry in loaded:
            values = {channel: self.value(blobs[name]) for channel, name in entry.blobs.items() if name in blobs}
            checkpoint: Checkpoint = {**entry.checkpoint, "channel_values": values}
            parent = None if entry.parent_key is None else entry.parent_key.config
            made.append(CheckpointTuple(entry.key.config, checkpoint, entry.metadata, parent, pending[entry.key]))
        return made

    def blobs(self, names: Iterable[str]) -> dict[str, Record]:
        """Return the records, by id, of channels that have a value."""
        return _with_values(self._memory.get(sorted(names)))

    def writes(self, keys: Sequence[Key]) -> dict[str, Any]:
        """Return a filter for the pending writes of checkpoints; it may also match others with equal ids."""
        return {
            KIND: WRITE,
            _THREAD: {"$in": sorted({key.thread for key in keys})},
            _CHECKPOINT: {"$in": sorted({key.checkpoint for key in keys})},
        }

    def _pending(self, keys: Sequence[Key]) -> dict[Key, list[PendingWrite]]:
        found: dict[Key, list[tuple[tuple[str, str, int], PendingWrite]]] = {key: [] for key in keys}
        for record in self._memory.select(self.writes(keys)) if keys else []:
            meta = meta_of(record.metadata)
            key = Key(meta["thread"], meta["ns"], meta["checkpoint"])
            if key in found:
                order = writes_sort_key(meta["path"], meta["task"], meta["index"])
                found[key].append((order, (meta["task"], meta["channel"], self.value(record))))
        return {key: [write for _, write in sorted(entries, key=lambda e: e[0])] for key, entries in found.items()}

    # --- deleting ---

    def of(self, threads: Iterable[str]) -> dict[str, Any]:
        """Return a filter for all records of some threads."""
        return {KIND: {"$in": [CHECKPOINT, BLOB, WRITE]}, _THREAD: {"$in": list(threads)}}

    def of_runs(self, runs: Iterable[str]) -> list[Key]:
        """Return the checkpoints that some runs made."""
        names = self._memory.ids({KIND: CHECKPOINT, f"{META}.run": {"$in": list(runs)}})
        return [Key(*parse_id(CHECKPOINT, name)) for name in names]

    def without(self, gone: Sequence[Key]) -> list[str]:
        """Return the ids of all records to delete with checkpoints: their own, their writes and unshared values."""
        if not gone:
            return []
        going = set(gone)
        kept = [key for key in self.keys({key.thread for key in gone}) if key not in going]
        named = {name for entry in self.load(kept) for name in entry.blobs.values()}
        lost = {name for entry in self.load(gone) for name in entry.blobs.values()} - named
        written = self._memory.ids(self.writes(gone))
        writes = (name for name in written if Key(*parse_id(WRITE, name)[:3]) in going)
        return [*(key.record for key in gone), *writes, *lost]

    def needed(self, latest: Key) -> set[Key]:
        """Return a checkpoint and the ancestors from which its delta channels are rebuilt.

        A delta channel stores only its writes, and from time to time a snapshot. LangGraph counts in the metadata the
        writes since then. Ancestors are kept back to the last snapshot of each channel.
        """
        needed = {latest}
        current = next(iter(self.load([latest])), None)
        waiting = set() if current is None else set(current.metadata.get("counters_since_delta_snapshot") or {})
        while waiting and current is not None and current.parent_key is not None:
            current = next(iter(self.load([current.parent_key])), None)
            if current is not None:
                needed.add(current.key)
                there = self.blobs(current.blobs.values())
                waiting -= {channel for channel, name in current.blobs.items() if name in there}
        return needed


def _with_values(records: Iterable[Record]) -> dict[str, Record]:
    return {record.id: record for record in records if meta_of(record.metadata)["type"] != EMPTY}


def _check_whole(loaded: Iterable[Loaded], found: Container[str]) -> None:
    for entry in loaded:
        lost = sorted(channel for channel, name in entry.blobs.items() if name not in found)
        if lost:
            raise MemoryFileError(
                f"checkpoint {entry.key.checkpoint!r} of thread {entry.key.thread!r} cannot be read: the file is "
                f"damaged, and the values of {', '.join(lost)} are lost; restore the file, or go on from an earlier "
                "checkpoint"
            )
