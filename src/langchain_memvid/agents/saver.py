"""MemvidSaver: a memory as LangGraph's checkpointer."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Literal, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from typing_extensions import override

from langchain_memvid.agents.layout import (
    BLOB,
    CHECKPOINT,
    IN_RAM,
    META,
    WRITE,
    meta_of,
    open_memory,
    parse_id,
    record_id,
)
from langchain_memvid.agents.threads import EMPTY, Key, Row, Threads, to_row
from memvid_core import InvalidInputError, Memory

__all__ = ["MemvidSaver"]

_AT_A_TIME = 32  # checkpoints that are listed at a time


class MemvidSaver(BaseCheckpointSaver[str]):
    """The state of LangGraph's threads, step by step, in one MP4 file.

    A checkpoint with the channels it changed is one commit, and so are the writes of a task. A channel's value is kept
    once per version. What was deleted or pruned leaves the file with ``saver.memory.compact()``.

    Args:
        path: The MP4 file, opened if it is there and created if not; ``":memory:"`` keeps all in RAM.
        serde: LangGraph's serializer; it must not fall back to pickle.
        mode: ``"a"`` to write, ``"r"`` to read beside another writer.
        memory: An open memory to use instead of ``path``, as when a :class:`MemvidStore` shares the file; it stays open
            on :meth:`close`.
        index_dir: Where the index goes; by default beside the file, as ``<path>.index``.

    Raises:
        InvalidInputError: Settings that contradict each other, or a serializer with pickle.
        LockedError: Another writer has the file.

    Example:
        >>> from langgraph.graph import StateGraph
        >>> graph = StateGraph(int).add_node("double", lambda n: 2 * n)
        >>> graph = graph.set_entry_point("double").set_finish_point("double")
        >>> thread = {"configurable": {"thread_id": "1"}}
        >>> with MemvidSaver("threads.mp4") as saver:
        ...     graph.compile(checkpointer=saver).invoke(21, thread)
        42
        >>> with MemvidSaver("threads.mp4", mode="r") as saver:
        ...     graph.compile(checkpointer=saver).get_state(thread).values
        42
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = IN_RAM,
        *,
        serde: SerializerProtocol | None = None,
        mode: Literal["a", "r"] = "a",
        memory: Memory | None = None,
        index_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(serde=serde)
        inner = getattr(self.serde, "serde", self.serde)
        if getattr(inner, "pickle_fallback", False):
            raise InvalidInputError("pickle runs code when it is read: give a serializer with pickle_fallback=False")
        self._owned = memory is None
        self.memory = open_memory(path, mode, "given", memory, index_dir)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the memory, unless it was given open; closing twice is fine."""
        if self._owned:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"MemvidSaver({self.memory!r})"

    @property
    def _threads(self) -> Threads:
        return Threads(self.memory, self.serde)  # with_allowlist() gives copies of a saver another serializer

    @override
    def get_next_version(self, current: str | None, channel: None) -> str:
        """A version above ``current``; two branches of one thread never come to the same one."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.getrandbits(64):020}"

    # --- reading ---

    @override
    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the thread's newest; None if there is none."""
        thread, ns, name = _names(config)
        keys = [Key(thread, ns, name)] if name else self._threads.keys([thread], ns)[:1]
        found = self._threads.tuples(self._threads.load(keys))
        return found[0]._replace(config=config) if found and name else found[0] if found else None

    @override
    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the newest first.

        Args:
            config: Names a thread, and may name a namespace and a checkpoint; None lists all threads.
            filter: What their metadata must equal.
            before: Only those older than the checkpoint this names.
            limit: How many at most.
        """
        listed = self._listed(config, before)
        left = len(listed) if limit is None else limit
        for start in range(0, len(listed), _AT_A_TIME):
            found = self._page(listed[start : start + _AT_A_TIME], filter, left)
            left -= len(found)
            yield from found
            if left <= 0:
                return

    def _listed(self, config: RunnableConfig | None, before: RunnableConfig | None) -> Sequence[Key]:
        named = None if config is None else _configured(config)
        threads = None if named is None else [str(named["thread_id"])]
        keys = self._threads.keys(threads, None if named is None else named.get("checkpoint_ns"))
        if config is not None and (name := get_checkpoint_id(config)):
            keys = [key for key in keys if key.checkpoint == name]
        if before is not None and (end := get_checkpoint_id(before)):
            keys = [key for key in keys if key.checkpoint < end]
        return keys

    def _page(self, keys: Sequence[Key], filter: dict[str, Any] | None, limit: int) -> Sequence[CheckpointTuple]:
        wanted = (filter or {}).items()
        loaded = [
            entry
            for entry in self._threads.load(keys if limit > 0 else [])
            if all(entry.metadata.get(key) == value for key, value in wanted)
        ]
        return self._threads.tuples(loaded[:limit])

    # --- writing ---

    @override
    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint and the channels that are new in it, as one commit; returns the config that names it.

        Raises:
            MetadataError: The serializer cannot store a value. Nothing is written.
        """
        thread, ns, parent = _names(config)
        key, place = Key(thread, ns, checkpoint["id"]), {"thread": thread, "ns": ns}
        noted = get_checkpoint_metadata(config, metadata)
        bare = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        meta = {**place, "checkpoint": key.checkpoint, "parent": parent, "run": noted.get("run_id")}
        rows = [to_row(self.serde, CHECKPOINT, key, {"checkpoint": bare, "metadata": noted}, meta)]
        values = checkpoint["channel_values"]
        for channel, version in new_versions.items():
            blob = {**place, "channel": channel} | ({} if channel in values else {"type": EMPTY})
            rows.append(to_row(self.serde, BLOB, (thread, ns, channel, version), values.get(channel), blob))
        self._commit(rows)
        return key.config

    @override
    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote on a checkpoint, as one commit; what the same task wrote before stays.

        Raises:
            InvalidInputError: The config names no checkpoint.
            MetadataError: The serializer cannot store a value. Nothing is written.
        """
        thread, ns, name = _names(config)
        if name is None:
            raise InvalidInputError('the config names no checkpoint to write to: "configurable" needs "checkpoint_id"')
        key = Key(thread, ns, name)
        meta = {"thread": thread, "ns": ns, "checkpoint": key.checkpoint, "task": task_id, "path": task_path}
        rows: dict[str, tuple[int, Row]] = {}
        for place, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, place)
            noted = {**meta, "channel": channel, "index": index}
            row = to_row(self.serde, WRITE, (*key, task_id, index), value, noted)
            rows[row.id] = (index, row)
        with self._lock:
            there = {record.id for record in self.memory.get(list(rows))}
            # Errors, interrupts and resumes have negative numbers, and do replace.
            self._commit([row for index, row in rows.values() if index < 0 or row.id not in there])

    def _commit(self, rows: Sequence[Row], gone: Iterable[str] = ()) -> None:
        ids, texts, metadata = zip(*rows, strict=True) if rows else ((), (), ())
        self.memory.add(texts, metadata, ids, [None] * len(rows), delete=gone)

    # --- deleting and copying ---

    @override
    def delete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread, as one commit."""
        self.memory.delete(where=self._threads.of([str(thread_id)]))

    @override
    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that some runs made, with their writes and with values nobody else names."""
        with self._lock:
            self.memory.delete(self._threads.without(self._threads.of_runs(map(str, run_ids))))

    @override
    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy everything of a thread to another, as one commit; what the other has besides stays."""
        rows = []
        for record in self.memory.select(self._threads.of([str(source_thread_id)])):
            meta = {**meta_of(record.metadata), "thread": str(target_thread_id)}
            name = record_id(meta["kind"], str(target_thread_id), *parse_id(meta["kind"], record.id)[1:])
            rows.append(Row(name, record.text, {META: meta}))
        self._commit(rows)

    @override
    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete the past of threads, as one commit.

        Args:
            thread_ids: The threads.
            strategy: ``"keep_latest"`` keeps the newest checkpoint of each namespace, and the ancestors that a delta
                channel of its still needs; ``"delete"`` keeps nothing.

        Raises:
            InvalidInputError: Another strategy.
        """
        threads = [str(thread) for thread in thread_ids]
        if strategy == "delete":
            self.memory.delete(where=self._threads.of(threads))
        elif strategy == "keep_latest":
            with self._lock:
                keys = self._threads.keys(threads)
                newest = {key[:2]: key for key in reversed(keys)}.values()
                kept = {key for latest in newest for key in self._threads.needed(latest)}
                self.memory.delete(self._threads.without([key for key in keys if key not in kept]))
        else:
            raise InvalidInputError(f"strategy is 'keep_latest' or 'delete', not {strategy!r}")

    # --- the same without blocking the event loop ---

    @override
    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    @override
    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        listed = await asyncio.to_thread(self._listed, config, before)
        left = len(listed) if limit is None else limit
        for start in range(0, len(listed), _AT_A_TIME):
            found = await asyncio.to_thread(self._page, listed[start : start + _AT_A_TIME], filter, left)
            left -= len(found)
            for entry in found:
                yield entry
            if left <= 0:
                return

    @override
    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    @override
    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    @override
    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    @override
    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    @override
    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    @override
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.prune(thread_ids, strategy=strategy))


def _names(config: RunnableConfig) -> tuple[str, str, str | None]:
    """The thread, the namespace, and the checkpoint if there is one."""
    named = _configured(config)
    return str(named["thread_id"]), named.get("checkpoint_ns", ""), get_checkpoint_id(config)


def _configured(config: RunnableConfig) -> dict[str, Any]:
    named = config.get("configurable") or {}
    if named.get("thread_id") is None:
        raise InvalidInputError('the config names no thread: it needs {"configurable": {"thread_id": "..."}}')
    return named
