"""Executors: who opens the shards of a library and asks them. By default the threads of this process do."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol

from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.shard import Seal, ShardReader
from memvid_core.errors import (
    ClosedError,
    InvalidInputError,
    MemvidError,
    MemvidWarning,
)
from memvid_core.library.deletes import read_deletes
from memvid_core.library.manifest import ShardEntry
from memvid_core.library.objects import Objects
from memvid_core.library.remote import objects_at
from memvid_core.library.thread_costs import SOON, ThreadCosts
from memvid_core.memory import Memory, session_of
from memvid_core.model import Index
from memvid_core.system.shared_work import sharing_cores, usable_cores

__all__ = ["Executor", "Failure", "Questions", "ShardRef", "ThreadExecutor", "opened_shard"]

_CLOSED: Final = "this library is closed; Library.open opens it again"

_FEWEST, _MOST = 8, 64  # open memories
_MOST_SMALL: Final = 512  # of which all files together are small
_SMALL: Final = 256 << 20  # bytes
_PROCESSOR_TIME: Final = time.perf_counter if os.name == "nt" else time.thread_time
"""How long a thread has worked: what Windows says of it comes in steps of 16 ms, longer than most questions take."""
_HANDLES: Final = 12  # of an open memory, with those that an open needs for a moment


class ShardRef(NamedTuple):
    """A shard of a library, for who opens it, in this process or another.

    Attributes:
        library: The folder of the library.
        entry: The entry in the manifest.
        index_dir: The folder of its index; None for the default one.
        options: The options of the file system of a library behind a URL.
        strategy: How its vectors are searched.
    """

    library: str
    entry: ShardEntry
    index_dir: str | None = None
    options: Mapping[str, Any] | None = None
    strategy: Index = "auto"

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies the shard with its deleted rows, also among those of other libraries, such as a copy."""
        entry = self.entry
        seal = entry.memory_id, entry.commit, entry.chain, entry.rows, entry.records, entry.bytes
        return self.library, self.index_dir, self.strategy, entry.name, entry.deletes, *seal


class Failure(NamedTuple):
    """Why a shard did not answer."""

    reason: str


Questions = Sequence[tuple[ShardRef, tuple[Any, ...]]]
"""Shards, each with the arguments of a call."""


class Executor(Protocol):
    """What asks the shards of a library.

    If a message takes longer than reading some records in vain, an executor can have an attribute ``distant`` that is
    true: then a search asks the shards in fewer rounds, and they send more.
    """

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards at the same time.

        Args:
            call: The name of a method of :class:`memvid_core.engine.shard.ShardReader`.
            questions: Shards, each with the arguments of the method.
            timeout: How long to wait for the answers, in seconds; None waits for all.

        Returns:
            The answer of each shard, or a :class:`Failure`.

        Raises:
            InvalidInputError: The question is invalid.
        """
        ...

    def close(self) -> None:
        """Close what is open. Closing twice is allowed."""
        ...


class ThreadExecutor:
    """Ask shards in threads of this process; the least recently used memories are closed.

    Args:
        open_shards: The maximum number of open memories; by default as many as the limit of open files allows, between
            8 and 64, and up to 512 if their files together are at most 256 MB.
        threads: The maximum number of shards that are asked at the same time; by default two per core, at most 32.

    Raises:
        InvalidInputError: A number is not positive.
    """

    def __init__(self, open_shards: int | None = None, threads: int | None = None) -> None:
        for name, number in (("open_shards", open_shards), ("threads", threads)):
            if number is not None and not (type(number) is int and number > 0):
                raise InvalidInputError(f"{name} is a positive number, not {number!r}")
        limit, small = (_default_open(_MOST), _default_open(_MOST_SMALL)) if open_shards is None else (open_shards, 0)
        self._threads = min(limit, threads or min(32, 2 * usable_cores()))
        self._shards = OpenShards(limit, small, _SMALL)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._costs: dict[tuple[str, str], ThreadCosts] = {}  # of calls
        self._closed = False
        self._process = os.getpid()

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards in threads."""
        if self._process != os.getpid():  # the threads are in the parent
            raise ClosedError(
                f"process {self._process} opened this library, and this is a fork of it; Library.open opens it here"
            )
        with self._lock:
            if self._closed:
                raise ClosedError(_CLOSED)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="memvid-shard")
            pool = self._pool
        # Those that are open come first: the others take the places of the ones that were asked longest ago.
        opened = [self._shards.has(ref) for ref, _ in questions]
        left = deque(sorted(range(len(questions)), key=lambda at: not opened[at]))
        answers: dict[int, Any] = {}
        spent: list[float] = []  # processor time of the threads

        def answer_some() -> None:  # a task a shard would take longer than small shards do
            begun = _PROCESSOR_TIME()
            try:
                with sharing_cores(sharing):
                    while True:
                        try:
                            at = left.popleft()
                        except IndexError:
                            return
                        answers[at] = self._answer(questions[at][0], call, questions[at][1])
            finally:
                spent.append(_PROCESSOR_TIME() - begun)

        most = min(self._threads, len(questions))
        costs = self._costs.setdefault(_kind(call, questions), ThreadCosts())
        few, soon = costs.threads(len(questions), most) if all(opened) else (most, SOON)
        sharing = few if few > 1 or len(questions) == 1 else usable_cores()  # who is to answer alone uses one core
        try:
            tasks = self._begun(pool, answer_some, few)
            done, late = wait(tasks, timeout if few == most else min(soon, soon if timeout is None else timeout))
            if late and few < most:  # one of them may wait for its disk
                tasks += self._begun(pool, answer_some, most - few)
                done, late = wait(tasks, None if timeout is None else max(0.0, timeout - soon))
            left.clear()
            for task in late:
                task.cancel()
            for task in done:
                task.result()
        except RuntimeError as exc:
            with self._lock:
                if not self._closed:
                    raise
            raise ClosedError(_CLOSED) from exc
        if all(opened) and not late:  # also if the others helped: shards may take longer than before
            costs.learn(few, sum(spent) / max(len(questions), 1))
        missing = Failure(f"did not answer within {round(timeout or 0.0, 2):g} seconds; a larger timeout= waits for it")
        return [answers.get(at, missing) for at in range(len(questions))]

    def _begun(self, pool: ThreadPoolExecutor, work: Callable[[], None], threads: int) -> list[Future[None]]:
        """Let threads do some work, or this one where no thread can be started because the main thread has ended."""
        tasks: list[Future[None]] = []
        try:
            for _ in range(threads):
                tasks.append(pool.submit(work))
        except RuntimeError:
            with self._lock:
                if self._closed:
                    raise
            work()
        return tasks

    def _answer(self, ref: ShardRef, call: str, arguments: tuple[Any, ...]) -> Any:
        try:
            with self._shards.leased(ref) as reader:
                return getattr(reader, call)(*arguments)
        except (InvalidInputError, ClosedError):
            raise
        except (MemvidError, MemvidWarning, OSError) as exc:  # a warning, where the caller turns them into errors
            return Failure(str(exc))

    def close(self) -> None:
        """Close the open memories, after their current questions."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)  # what waits for a thread still gets one: nobody is told of what is cancelled
        self._shards.close()

    @property
    def open_count(self) -> int:
        """The number of open memories."""
        return self._shards.count


def _kind(call: str, questions: Questions) -> tuple[str, str]:
    """Return what tells calls that take different times: their name, and the mode of a search."""
    first = questions[0][1][:1] if questions else ()
    return call, first[0].mode if first and isinstance(first[0], SearchRequest) else ""


class _Open:
    """An open shard, and how many threads use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = self.bytes = 0
        self.objects: Objects | None = None  # whose cache has the memory
        self.memory: Memory | None = None
        self.reader: ShardReader | None = None

    def close(self) -> None:
        if self.memory is not None:
            self.memory.close()
        self.memory = self.reader = self.objects = None


class OpenShards:
    """Keep at most ``limit`` memories open; of those that nobody uses, the least recently used is closed first.

    Args:
        limit: The maximum number, if no more are in use at the same time.
        small: The maximum number of those whose files together are small.
        together: The size of their files, in bytes, at most.
    """

    def __init__(self, limit: int, small: int = 0, together: int = 0) -> None:
        self._limit, self._small, self._together = limit, small, together
        self._bytes = 0  # of the files of the open ones
        self._open: OrderedDict[tuple[object, ...], _Open] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def count(self) -> int:
        """The number of open memories."""
        return len(self._open)

    def has(self, ref: ShardRef) -> bool:
        """Return whether a shard is open."""
        return ref.key in self._open

    @contextmanager
    def leased(self, ref: ShardRef) -> Iterator[ShardReader]:
        """Open a shard unless it is open, and keep it open during the block."""
        key = ref.key
        with self._lock:
            if self._closed:
                raise ClosedError(_CLOSED)
            held = self._open.setdefault(key, _Open())
            self._open.move_to_end(key)
            self._bytes += ref.entry.bytes - held.bytes
            held.bytes = ref.entry.bytes
            held.users += 1
            gone = self._evicted()
        try:
            for other in gone:
                other.close()
            with held.lock:
                if held.reader is None:
                    held.objects = objects_at(ref.library, ref.options)
                    held.memory, held.reader = opened_shard(held.objects, ref)
                reader = held.reader
            yield reader
        finally:
            with self._lock:
                held.users -= 1
                if held.reader is None and not held.users and self._open.get(key) is held:
                    self._removed(key)  # it could not be opened
                gone = self._evicted()
            for other in gone:
                other.close()

    def _evicted(self) -> list[_Open]:
        """Remove the shards beyond the limit that nobody uses; all of them after :meth:`close`."""
        if not self._too_many():
            return []
        gone = []
        for key in [key for key, held in self._open.items() if not held.users]:
            gone.append(self._removed(key))
            if not self._too_many():
                break
        return gone

    def _too_many(self) -> bool:
        if self._closed:
            return bool(self._open)
        limit = max(self._limit, self._small) if self._bytes <= self._together else self._limit
        return len(self._open) > limit

    def _removed(self, key: tuple[object, ...]) -> _Open:
        held = self._open.pop(key)
        self._bytes -= held.bytes
        return held

    def close(self) -> None:
        """Close every memory that is not in use; the others are closed when their question is answered."""
        with self._lock:
            self._closed = True
            gone = self._evicted()
        for held in gone:
            held.close()


def opened_shard(objects: Objects, ref: ShardRef) -> tuple[Memory, ShardReader]:
    """Open a shard and compare it with the manifest.

    Raises:
        MemvidError: It is missing, damaged or another file, or cannot be opened.
    """
    entry = ref.entry
    path = objects.fetched(entry.file, entry.bytes, entry.checksum)
    deleted = read_deletes(objects, entry)
    memory = Memory.open(path, embedder="given", index_dir=ref.index_dir, index=ref.strategy)
    try:
        seal = Seal(entry.memory_id, entry.commit, entry.chain, entry.rows, entry.records)
        reader = ShardReader(session_of(memory), seal, deleted)
        reader.check()
    except BaseException:
        memory.close()
        raise
    return memory, reader


def _default_open(most: int) -> int:
    """Return how many memories may be open, up to ``most``: half of the limit of open files is for them."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return most
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if limit < 0 else max(_FEWEST, min(most, limit // 2 // _HANDLES))
