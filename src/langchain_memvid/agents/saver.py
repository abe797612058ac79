"""MemvidSaver: a memory as a LangGraph checkpointer."""

from __future__ import annotations

import os
import random
import threading
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Literal

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

from langchain_memvid.agents.record_schema import (
    BLOB,
    CHECKPOINT,
    IN_RAM,
    META,
    WRITE,
    memory_of,
    meta_of,
    parse_id,
    record_id,
)
from langchain_memvid.agents.threads import EMPTY, Key, Row, Threads, to_row
from langchain_memvid.opening import OverMemory
from langchain_memvid.wording import our_words
from memvid_core import (
    DamagedFrameError,
    DamageWarning,
    FilterError,
    Index,
    InvalidInputError,
    Memory,
    MemoryFileError,
    Metric,
    run_in_thread,
)

__all__ = ["MemvidSaver"]

_AT_A_TIME = 32  # checkpoints per page of a listing
_DAMAGED = (MemoryFileError, DamagedFrameError)  # other errors are of the system, or of the arguments
_REMEMBERED = 1 << 14  # how many checkpoints a saver remembers as existing


class MemvidSaver(BaseCheckpointSaver[str], OverMemory):
    """Store the state of LangGraph threads, step by step, in one MP4 file.

    A checkpoint and the channels that it changed are one commit, and so are the writes of a task. Each version of a
    channel's value is stored once. ``saver.memory.compact()`` removes deleted and pruned data from the file.

    Args:
        path: The MP4 file; it is created if it does not exist. ``":memory:"`` keeps everything in RAM.
        serde: LangGraph's serializer; it must not fall back to pickle.
        mode: ``"a"`` to read and write, ``"r"`` to read.
        memory: An open memory to use instead of ``path``. :meth:`close` leaves it open.
        index: How ``saver.memory`` searches vectors, as in :meth:`memvid_core.Memory.open`; the saver does not search.
        metric: How a new file compares vectors, for a store that shares the file. The default is cosine.
        index_dir: The folder of the index; by default ``<path>.index``, next to the file.
        timeout: How many seconds a write waits for other writers.

    Any number of savers, stores, threads and processes may write one file. In a coroutine,
    ``async with await MemvidSaver.aopen("threads.mp4") as saver`` does not block the event loop.

    Raises:
        InvalidInputError: Arguments conflict, or the serializer falls back to pickle.
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.

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
        index: Index = "auto",
        metric: Metric | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(serde=serde)
        inner = getattr(self.serde, "serde", self.serde)
        if getattr(inner, "pickle_fallback", False):
            raise InvalidInputError("reading a pickle can run code: pass a serializer with pickle_fallback=False")
        options: dict[str, Any] = {"index": index, "metric": metric, "index_dir": index_dir, "timeout": timeout}
        opened = memory_of(memory, path, mode, "given", "memory=", **options)
        self._hold(opened, owned=memory is None, serde=serde, **options)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._knowing = threading.Lock()

    def __repr__(self) -> str:
        return f"MemvidSaver({self.memory!r})"

    @property
    def _threads(self) -> Threads:
        return Threads(self.memory, self.serde)  # with_allowlist() copies a saver with another serializer

    @override
    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a version above ``current``; two branches of one thread never get the same version."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.getrandbits(64):020}"

    # --- reading ---

    @override
    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names, or the newest of the thread; None if it does not exist.

        Raises:
            MemoryFileError: The file is damaged, and a value of the checkpoint is lost.
        """
        thread, ns, name = _names(config)
        keys = [Key(thread, ns, name)] if name else self._threads.keys([thread], ns)[:1]
        with our_words():
            found = self._threads.tuples(self._threads.load(keys))
        self._remember(key.record for key in keys[: len(found)])
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
        """Yield checkpoints, newest first.

        Those of which a value is lost, because the file is damaged, are left out with a DamageWarning; to read one of
        them, as :meth:`get_tuple` does, raises an error.

        Args:
            config: Names a thread, and may name a namespace and a checkpoint; None lists all threads.
            filter: Values that their metadata must equal.
            before: Yield only checkpoints older than the one that this config names.
            limit: The maximum number.

        Raises:
            FilterError: The filter is not a dict.
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
        """Return the checkpoints that can be read; warn of each other one."""
        try:
            return self._read(keys, filter, limit)
        except MemoryFileError as exc:
            if type(exc) not in _DAMAGED:
                raise
        found: list[CheckpointTuple] = []
        for key in keys:
            if len(found) < limit:
                try:
                    found += self._read([key], filter, 1)
                except MemoryFileError as exc:
                    if type(exc) not in _DAMAGED:
                        raise
                    message = f"checkpoint {key.checkpoint!r} of thread {key.thread!r} is left out: {exc}"
                    warnings.warn(DamageWarning(message), stacklevel=3)
        return found

    def _read(self, keys: Sequence[Key], filter: dict[str, Any] | None, limit: int) -> Sequence[CheckpointTuple]:
        if filter is not None and not isinstance(filter, dict):
            raise FilterError(f"filter must be a dict of metadata values, not {filter!r}")
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
        """Store a checkpoint and its new channel values as one commit; return the config that names it.

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
        with our_words(), self.memory.exclusive():
            # Values shared with the parent exist as long as the parent exists.
            whole = parent is not None and key._replace(checkpoint=parent).record in self.memory
            self._commit(rows if whole else [*rows, *self._lost(checkpoint, key, new_versions)])
        self._remember([key.record])
        return key.config

    def _lost(self, checkpoint: Checkpoint, key: Key, new_versions: ChannelVersions) -> Iterator[Row]:
        """Yield values that this checkpoint shares with others and that were deleted with them in the meantime."""
        values = checkpoint["channel_values"]
        shared = {
            record_id(BLOB, key.thread, key.ns, channel, version): (channel, version)
            for channel, version in checkpoint["channel_versions"].items()
            if channel not in new_versions and channel in values
        }
        there = set(self.memory.ids({"$id": {"$in": list(shared)}})) if shared else set()
        for name in shared.keys() - there:
            channel, version = shared[name]
            meta = {"thread": key.thread, "ns": key.ns, "channel": channel}
            yield to_row(self.serde, BLOB, (key.thread, key.ns, channel, version), values[channel], meta)

    def _remember(self, names: Iterable[str]) -> None:
        """Remember checkpoints as existing, by the ids of their records."""
        with self._knowing:
            for name in names:
                self._known[name] = None
                self._known.move_to_end(name)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    @override
    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes to a checkpoint as one commit; earlier writes of the task are kept.

        Writes to a checkpoint that this saver knew and that has been deleted are dropped.

        Raises:
            InvalidInputError: The config does not name a checkpoint.
            MetadataError: The serializer cannot store a value. Nothing is written.
        """
        thread, ns, name = _names(config)
        if name is None:
            raise InvalidInputError('the config does not name a checkpoint: add "checkpoint_id" to "configurable"')
        key = Key(thread, ns, name)
        meta = {"thread": thread, "ns": ns, "checkpoint": key.checkpoint, "task": task_id, "path": task_path}
        rows: dict[str, tuple[int, Row]] = {}
        for place, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, place)
            noted = {**meta, "channel": channel, "index": index}
            row = to_row(self.serde, WRITE, (*key, task_id, index), value, noted)
            rows[row.id] = (index, row)
        with our_words(), self.memory.exclusive():
            if key.record in self._known and key.record not in self.memory:
                return  # the checkpoint was deleted while the task ran, so its writes cannot be read
            there = set(self.memory.ids({"$id": {"$in": list(rows)}})) if rows else set()
            # Errors, interrupts and resumes have negative numbers and replace earlier ones.
            self._commit([row for index, row in rows.values() if index < 0 or row.id not in there])

    def _commit(self, rows: Sequence[Row], gone: Iterable[str] = ()) -> None:
        ids, texts, metadata = zip(*rows, strict=True) if rows else ((), (), ())
        self.memory.add(texts, metadata, ids, [None] * len(rows), delete=gone)

    # --- deleting and copying ---

    @override
    def delete_thread(self, thread_id: str) -> None:
        """Delete all records of a thread as one commit."""
        self._delete_threads([str(thread_id)])

    def _delete_threads(self, threads: Sequence[str]) -> None:
        with our_words(), self.memory.exclusive():
            self._remember(key.record for key in self._threads.keys(threads))
            self.memory.delete(where=self._threads.of(threads))

    @override
    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of some runs, their writes, and the values that only they use."""
        with our_words(), self.memory.exclusive():
            self._delete(self._threads.of_runs(map(str, run_ids)))

    def _delete(self, gone: Sequence[Key]) -> None:
        self._remember(key.record for key in gone)
        self.memory.delete(self._threads.without(gone))

    @override
    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all records of a thread to another thread as one commit; other records of the target are kept."""
        with our_words(), self.memory.exclusive():
            rows = []
            for record in self.memory.select(self._threads.of([str(source_thread_id)])):
                meta = {**meta_of(record.metadata), "thread": str(target_thread_id)}
                name = record_id(meta["kind"], str(target_thread_id), *parse_id(meta["kind"], record.id)[1:])
                rows.append(Row(name, record.text, {META: meta}))
            self._commit(rows)

    @override
    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete old checkpoints of threads as one commit.

        Args:
            thread_ids: The threads.
            strategy: ``"keep_latest"`` keeps the newest checkpoint of each namespace, and the ancestors that its delta
                channels need; ``"delete"`` keeps nothing.

        Raises:
            InvalidInputError: The strategy is unknown.
        """
        threads = [str(thread) for thread in thread_ids]
        if strategy == "delete":
            self._delete_threads(threads)
        elif strategy == "keep_latest":
            with our_words(), self.memory.exclusive():
                keys = self._threads.keys(threads)
                newest = {key[:2]: key for key in reversed(keys)}.values()
                kept = {key for latest in newest for key in self._threads.needed(latest)}
                self._delete([key for key in keys if key not in kept])
        else:
            raise InvalidInputError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")

    # --- the same without blocking the event loop ---

    @override
    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await run_in_thread(self.get_tuple, config)

    @override
    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        listed = await run_in_thread(self._listed, config, before)
        left = len(listed) if limit is None else limit
        for start in range(0, len(listed), _AT_A_TIME):
            found = await run_in_thread(self._page, listed[start : start + _AT_A_TIME], filter, left)
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
        return await self._written(self.put, config, checkpoint, metadata, new_versions)

    @override
    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._written(self.put_writes, config, writes, task_id, task_path)

    @override
    async def adelete_thread(self, thread_id: str) -> None:
        await self._written(self.delete_thread, thread_id)

    @override
    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._written(self.delete_for_runs, run_ids)

    @override
    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._written(self.copy_thread, source_thread_id, target_thread_id)

    @override
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._written(self.prune, thread_ids, strategy=strategy)


def _names(config: RunnableConfig) -> tuple[str, str, str | None]:
    """Return the thread, the namespace, and the checkpoint, if any."""
    named = _configured(config)
    return str(named["thread_id"]), named.get("checkpoint_ns", ""), get_checkpoint_id(config)


def _configured(config: RunnableConfig) -> dict[str, Any]:
    named = config.get("configurable") or {}
    if named.get("thread_id") is None:
        raise InvalidInputError('the config does not name a thread: pass {"configurable": {"thread_id": "..."}}')
    return named
