"""MemoryLoop: memory for an agent's own loop, which it neither holds up nor breaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any, Self

import msgspec

from memvid_core.agent.messages import Message
from memvid_core.agent.recalled import Recall
from memvid_core.agent.scoped import ScopedService
from memvid_core.agent.service import MemoryService
from memvid_core.agent.sync_service import SyncMemoryService
from memvid_core.errors import InvalidInputError
from memvid_core.memory import Memory

__all__ = ["Dropped", "Flushed", "MemoryLoop"]


class Dropped(msgspec.Struct, frozen=True):
    """Messages that were not recorded, and why: malformed, no room in the queue, or an error of the memory."""

    messages: Any
    why: str


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the turns since the flush before.

    Attributes:
        recorded: How many turns were written, or were there already.
        dropped: What was not recorded.
        failures: Why recalls returned nothing, if they failed.
        pending: How many turns still wait; above 0 only if the time was over.
    """

    recorded: int
    dropped: list[Dropped]
    failures: list[str]
    pending: int = 0


class MemoryLoop:
    r"""Records turns in the background and recalls before the next, for an agent without a framework.

    ``record`` puts a turn into a queue and returns at once. ``recall`` waits for a limited time. Neither raises an
    exception: :meth:`flush` returns the losses, and ``on_drop`` is called with each. Threads may share an instance.

    Args:
        memory: A memory service, or an open memory; open for writing.
        scope: Whose memory it is, such as ``{"user_id": "ada"}``.
        session: The conversation; messages of one session are neighbors.
        budget: How many tokens a recall may have.
        patience: How many seconds a recall may take. One that takes longer returns nothing.
        queue: How many turns may wait to be written. What comes on top is dropped.
        on_drop: Called with each :class:`Dropped`, in the thread where it was dropped.

    Raises:
        InvalidInputError: ``memory`` is none, the scope names no owner, or a number is out of range.

    Example:
        >>> with MemoryLoop(Memory.create(":memory:"), {"user_id": "ada"}, session="monday") as loop:
        ...     for said in ("When is the office party?", "And where?"):
        ...         prompt = f"{loop.recall(said).text}\n\n{said}"  # for the model
        ...         queued = loop.record([{"role": "user", "content": said}, ("assistant", "At six, in the garden.")])
        ...     loop.flush().recorded
        2
    """

    def __init__(
        self,
        memory: Memory | MemoryService | SyncMemoryService,
        scope: Mapping[str, Any] | None = None,
        *,
        session: str | None = None,
        budget: int = 1_000,
        patience: float = 2.0,
        queue: int = 1_000,
        on_drop: Callable[[Dropped], None] | None = None,
    ) -> None:
        if type(budget) is not int or budget < 0 or type(queue) is not int or queue < 1 or not patience > 0:
            raise InvalidInputError("budget is 0 or more, queue is 1 or more, and patience is above 0")
        self._scoped = ScopedService(memory, scope)
        self._session = session
        self._budget = budget
        self._patience = patience
        self._limit = queue
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._recorded = 0
        self._dropped: list[Dropped] = []
        self._failures: list[str] = []
        self._closed = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="memvid-loop-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="memvid-loop-reader")
        self._reading: Future[Recall] | None = None

    # --- after a turn ---

    def record(self, messages: Any) -> bool:
        """Queue the messages of a turn, and return at once whether they will be written.

        Args:
            messages: Whatever :meth:`~memvid_core.agent.MemoryService.add` accepts. Later changes to a list or its
                messages have no effect. System messages, the output of tools and recalled memory are left out.
        """
        try:
            said = self._scoped.remembered(messages)
            why = self._queue(said) if said else ""
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
        return self._drop(messages, why) if why else True

    def _queue(self, said: list[Message]) -> str:
        """Queue messages; returns why that was not possible."""
        with self._lock:
            if self._closed:
                return "the loop is closed"
            if len(self._pending) >= self._limit:
                return f"{self._limit} turns are waiting already"
            future = self._writer.submit(self._write, said)
            self._pending.add(future)
        future.add_done_callback(self._done)
        return ""

    def _write(self, said: list[Message]) -> None:
        try:
            self._scoped.record(said, self._session)
        except Exception as exc:
            self._drop(said, f"{type(exc).__name__}: {exc}")
        else:
            with self._lock:
                self._recorded += 1

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._pending.discard(future)

    def _drop(self, messages: Any, why: str) -> bool:
        dropped = Dropped(messages, why)
        with self._lock:
            self._dropped.append(dropped)
            del self._dropped[: -self._limit]  # of a flood, the last ones
        if self._on_drop is not None:
            try:
                self._on_drop(dropped)
            except Exception as exc:
                self._fail(f"on_drop: {type(exc).__name__}: {exc}")
        return False

    def _fail(self, why: str) -> None:
        with self._lock:
            self._failures.append(why)
            del self._failures[: -self._limit]

    # --- before the next ---

    def recall(self, question: str, **options: Any) -> Recall:
        """Recall what answers a question; nothing if that fails or takes too long.

        Args:
            question: What the user said.
            **options: Those of :meth:`~memvid_core.agent.SyncMemoryService.recall`, such as ``known``.
        """
        try:
            future = self._begin(question, options)
            return Recall(question=question) if future is None else future.result(self._patience)
        except Exception as exc:
            return self._nothing(question, exc)

    async def arecall(self, question: str, **options: Any) -> Recall:
        """Recall like :meth:`recall`, without blocking the event loop."""
        try:
            future = self._begin(question, options)
            if future is None:
                return Recall(question=question)
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), self._patience)
        except Exception as exc:
            return self._nothing(question, exc)

    def _begin(self, question: str, options: Mapping[str, Any]) -> Future[Recall] | None:
        """Begin a recall; None if the one before still hangs, for then this one would, too."""
        with self._lock:
            busy = self._reading is not None and not self._reading.done()
            if not busy and not self._closed:
                given = {"budget": self._budget, **options}
                self._reading = self._reader.submit(self._scoped.recall, question, **given)
                return self._reading
        self._fail("the loop is closed" if self._closed else "an earlier recall has not returned")
        return None

    def _nothing(self, question: str, exc: Exception) -> Recall:
        late = isinstance(exc, TimeoutError)
        self._fail(f"no answer in {self._patience} s" if late else f"{type(exc).__name__}: {exc}")
        return Recall(question=question)

    # --- at the end ---

    def flush(self, patience: float | None = 30.0) -> Flushed:
        """Wait until the queue is empty, and report the recorded and dropped turns since the last flush.

        Args:
            patience: How many seconds to wait at most; None waits until it is done.
        """
        with self._lock:
            waiting = list(self._pending)
        wait_for(waiting, patience)
        with self._lock:
            pending = sum(not future.done() for future in self._pending)
            report = Flushed(recorded=self._recorded, dropped=self._dropped, failures=self._failures, pending=pending)
            self._recorded, self._dropped, self._failures = 0, [], []
        return report

    async def aflush(self, patience: float | None = 30.0) -> Flushed:
        """Flush like :meth:`flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, patience)

    def close(self) -> None:
        """Write what waits, and end the threads. The memory stays open."""
        with self._lock:
            self._closed = True
        self._writer.shutdown(wait=True)
        self._reader.shutdown(wait=False)

    async def aclose(self) -> None:
        """Close like :meth:`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
