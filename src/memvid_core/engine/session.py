"""Session: one open memory; checks, takes a snapshot, runs a query, and repairs the index and retries if needed."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from numpy.typing import NDArray

from memvid_core.engine.compaction_policy import AutoCompact
from memvid_core.engine.index_place import INDEX_ERRORS, index_errors
from memvid_core.engine.inspection import history, past_snapshot
from memvid_core.engine.opening import IN_RAM, Opened
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.searching import Searcher
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_count, check_pause
from memvid_core.engine.writing import AddRequest, UpdateRequest, Writer
from memvid_core.errors import (
    Action,
    ClosedError,
    DamagedFrameError,
    Hint,
    IndexStaleError,
    InvalidInputError,
    ReadOnlyError,
    storage_errors,
)
from memvid_core.model import Commit, Embedder, Hit, Record
from memvid_core.system.remote_copies import RemoteCopy
from memvid_core.system.telemetry import log, measured, name_of
from memvid_core.system.threads import WriterThread, run_in_thread

__all__ = ["Following", "Session"]

T = TypeVar("T")

_turns: ContextVar[dict[Session, WriterThread]] = ContextVar("memvid_turns", default={})  # noqa: B039  # never changed
"""The threads that hold the right to commit for this task, by memory."""


@dataclass
class Following:
    """Mark how far the commits of a memory were read."""

    memory_id: bytes
    number: int


class Session:
    """An open memory, for the methods of :class:`memvid_core.Memory`.

    Args:
        opened: The opened memory.
        auto_compact: The share of the file that an automatic compaction must save; None turns it off.
    """

    def __init__(self, opened: Opened, auto_compact: float | None = None) -> None:
        self.path, self.writable, self.pinned = opened.path, opened.writable, opened.pinned
        self.indexed = opened.indexed
        self.closed = False
        self.searcher = Searcher(self.indexed)
        self.writer = Writer(self.indexed)
        self._opened = opened
        self._process = os.getpid()
        self._thread = WriterThread()
        self._closing = threading.Event()
        compacts = auto_compact is not None and opened.writable
        self.auto = AutoCompact(opened.indexed, auto_compact) if compacts and auto_compact is not None else None
        how, count, number = "writing" if self.writable else "reading", self.newest.record_count, self.newest.commit
        log(logging.INFO, "open", "opened %s for %s: %d records, commit %d", name_of(self.path), how, count, number)

    @property
    def remote(self) -> RemoteCopy | None:
        """The copy of a remote memory."""
        return self._opened.remote

    @property
    def file(self) -> str:
        """The path of the file, or of the copy of a remote memory."""
        return self.path if self.remote is None else str(self.remote.path)

    # --- states ---

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of the newest known state, without reading commits of other processes."""
        return self.newest.embedder

    @property
    def newest(self) -> Snapshot:
        """The newest known state, or the one of ``as_of``, without reading commits of other processes."""
        return self.indexed.snapshot if self.pinned is None else self.pinned

    def snapshot(self) -> Snapshot:
        """Return the newest state, or the one of ``as_of``."""
        self.check_open()
        if self.pinned is not None:
            return self.pinned
        if self.remote is not None:
            self.remote.look()
        with index_errors():
            try:
                return self.indexed.refresh()
            except FileNotFoundError:
                if self.remote is None:
                    raise
                return self.indexed.refresh()  # another process has replaced the copy, and deleted its index

    def check_open(self) -> None:
        """Check that the memory is open in this process.

        Raises:
            ClosedError: It was closed, or this process is a fork of the one that opened it.
        """
        if self.closed:
            raise ClosedError("this memory is closed", hint=Hint(Action.OPEN_AGAIN, {"path": self.path}))
        if self._process != os.getpid() and self.path != IN_RAM:  # SQLite and the lock do not survive a fork
            raise ClosedError(
                f"process {self._process} opened this memory, and this is a fork of it",
                hint=Hint(Action.OPEN_AGAIN, {"path": self.path}),
            )

    def check_writable(self) -> None:
        """Check that the memory is open for writing.

        Raises:
            ReadOnlyError: The memory is open for reading.
            ClosedError: See :meth:`check_open`.
        """
        self.check_open()
        _HeldTurn.give_back_left()
        if not self.writable:
            raise ReadOnlyError(f"{self.path} is open for reading", hint=Hint(Action.OPEN_FOR_WRITING))

    def close(self) -> None:
        """Close the memory. Closing twice is allowed."""
        if not self.closed:
            self.closed = True
            self._closing.set()
            _HeldTurn.give_back_left()
            if self._process == os.getpid():  # in a fork, file, lock and index belong to the parent
                self._thread.close()
                if self.auto is not None:
                    self.auto.close()
                self._opened.close()
            log(logging.DEBUG, "close", "closed %s", name_of(self.path))

    # --- reading ---

    def answer(self, question: Callable[[Snapshot], T], *, past_damage: bool = True) -> T:
        """Run a query on the newest snapshot; if the index is damaged, rebuild it and run the query again.

        Args:
            question: The query.
            past_damage: Whether to rebuild the index for a damaged frame, too, which omits its records.
        """
        with index_errors(), storage_errors():
            snapshot = self.snapshot()
            for attempt in range(3):
                try:
                    with snapshot.reading():
                        answer = question(snapshot)
                    if snapshot.epoch.index.unsaved:
                        self.indexed.save_columns(snapshot.epoch.index)
                    return answer
                except FileNotFoundError:
                    if self.remote is None or attempt == 2:
                        raise
                    snapshot = self.snapshot()  # as above
                except (*INDEX_ERRORS, ClosedError, DamagedFrameError) as exc:
                    if attempt < 2 and isinstance(exc, DamagedFrameError) and self.fetched_again():
                        snapshot = self.snapshot()
                        continue
                    if attempt == 2 or (isinstance(exc, DamagedFrameError) and not past_damage):
                        raise
                    if attempt == 0 and isinstance(exc, IndexStaleError):
                        continue  # a damaged lexical index has replaced itself; only the query must be repeated
                    snapshot = self._healed(snapshot, exc)
        raise AssertionError("the last attempt answers or raises")

    def prepare(self) -> None:
        """Build what the first searches would build, and save the lists of vectors for other processes."""
        self.answer(self.searcher.prepare)
        self.indexed.save_lists()

    def fetched_again(self) -> bool:
        """Replace the damaged copy of a remote memory; return False if it has none, or the object is damaged itself."""
        if self.remote is None or not self.remote.fetch_again():
            return False
        self.indexed.refresh()
        if self.pinned is not None:
            self.pinned = past_snapshot(self.indexed, self.pinned.commit)
        return True

    def _healed(self, snapshot: Snapshot, exc: Exception) -> Snapshot:
        """Rebuild the index, and return the snapshot for the next attempt."""
        healed = self.indexed.heal(snapshot, exc)
        if self.pinned is not None:
            healed = self.pinned = past_snapshot(self.indexed, self.pinned.commit)
        return healed

    def records(self) -> Iterator[Record]:
        """Yield every record, in the order they were added."""
        snapshot, done = self.snapshot(), -1
        while True:
            try:
                with snapshot.reading():
                    for row, record in snapshot.records(done):
                        yield record
                        done = row
                return
            except (*INDEX_ERRORS, ClosedError, DamagedFrameError) as exc:
                with index_errors():
                    again = isinstance(exc, DamagedFrameError) and self.fetched_again()
                    healed = self.indexed.snapshot if again else self.indexed.heal(snapshot, exc)
                    if not snapshot.same_rows(healed):
                        raise  # a compaction renumbered the rows
                    snapshot = snapshot.reduced_to(healed)

    def following(self, since: int | None, interval: float | None) -> Following:
        """Return what the commits after number ``since``, by default the newest one, are read with."""
        self.check_open()
        if self.pinned is not None:
            raise InvalidInputError("a memory that was opened with as_of does not change")
        if interval is not None:
            check_pause(interval)
        newest = self.answer(lambda snapshot: (snapshot.epoch.journal.header.memory_id, snapshot.commit))
        return Following(
            newest[0], newest[1] if since is None else check_count(since, "since is the number of a commit")
        )

    def new_commits(self, place: Following) -> list[Commit]:
        """Return the commits after a place, oldest first, and move it after them.

        If another memory has replaced this one, all of its commits are new. The commits of an older copy are not.
        """
        if self.remote is not None:
            self.remote.look(at_once=True)

        def newer(snapshot: Snapshot) -> list[Commit]:
            memory_id = snapshot.epoch.journal.header.memory_id
            after = place.number if memory_id == place.memory_id else 0
            found = history(self.indexed, snapshot, after) if snapshot.commit > after else []
            place.memory_id, place.number = memory_id, snapshot.commit
            return found

        return self.answer(newer)

    def pause(self, seconds: float) -> bool:
        """Wait; return False, at once, if the memory is closed meanwhile."""
        return not self._closing.wait(seconds)

    @staticmethod
    async def in_thread(question: Callable[..., T], *arguments: object) -> T:
        """Run what commits nothing in one of the threads that all memories share."""
        return await run_in_thread(question, *arguments)

    def search(self, request: SearchRequest) -> list[Hit]:
        """Run a search."""
        return measured(
            "search", self.path, lambda: self.answer(lambda snapshot: self.searcher.search(snapshot, request)), len
        )

    def search_many(self, requests: Sequence[SearchRequest]) -> list[list[Hit]]:
        """Run searches that differ only in their queries."""
        return measured(
            "search",
            self.path,
            lambda: self.answer(lambda snapshot: self.searcher.search_many(snapshot, requests)),
            lambda found: sum(map(len, found)),
            len(requests),
        )

    async def aembedded(self, request: SearchRequest) -> SearchRequest:
        """Return a request with its vector; see :meth:`SearchRequest.aembedded`."""
        return await request.aembedded(self.embedder)

    # --- writing ---

    def write(self, request: AddRequest | UpdateRequest) -> list[str]:
        """Embed the texts of a request, and commit it."""
        return self._commit(request, self.writer.embed(request))

    async def awrite(self, request: AddRequest | UpdateRequest) -> list[str]:
        """Await the embedder, and commit a request in the thread of the memory; async :meth:`write`."""
        embedded = await self.writer.aembed(request)
        return await self.in_turn(self._commit, request, embedded)

    def _commit(self, request: AddRequest | UpdateRequest, embedded: NDArray[Any] | None) -> list[str]:
        """Commit a request; if words are searched, learn about the rankings then, so that no question has to."""
        ids = self.writer.commit(request, embedded)
        with suppress(Exception):  # what was committed stays; the next question tries again, and says what fails
            if self.searcher.has_doubled(self.newest):
                self.answer(self.searcher.evidence)
        return ids

    async def in_turn(self, change: Callable[..., T], *arguments: object) -> T:
        """Run a change in the thread that commits.

        That is the caller's thread inside ``exclusive()``, the thread that holds the lock inside ``aexclusive()``, and
        the thread of the memory otherwise.
        """
        return change(*arguments) if self.indexed.mine else await self._turn_thread().run(change, *arguments)

    async def beside_others(self, change: Callable[..., T], *arguments: object) -> T:
        """Run a change that allows commits meanwhile, outside the thread that commits."""
        if self.indexed.mine or self in _turns.get():
            return await self.in_turn(change, *arguments)
        return await run_in_thread(change, *arguments)

    def _turn_thread(self) -> WriterThread:
        return _turns.get().get(self, self._thread)

    @asynccontextmanager
    async def taking_turn(self, turn: Callable[[], AbstractContextManager[object]]) -> AsyncIterator[None]:
        """Hold the lock in a separate thread, which makes the changes of this task and of the tasks that it starts.

        Args:
            turn: Returns the context that holds the lock.
        """
        if self.indexed.mine or self in _turns.get():  # a block inside a block
            yield
            return
        held = _HeldTurn()
        await held.begin(turn)
        _turns.set({**_turns.get(), self: held.thread})
        try:
            yield
        except GeneratorExit:  # the task was deleted, after its event loop was closed: nothing can be awaited
            held.give_back()
            raise
        except BaseException:
            await self._end_turn(held)
            raise
        else:
            await self._end_turn(held)

    async def _end_turn(self, held: _HeldTurn) -> None:
        _turns.set({session: other for session, other in _turns.get().items() if session is not self})
        ended = held.give_back()
        if ended is not None:
            await asyncio.shield(asyncio.wrap_future(ended))

    async def aclose(self) -> None:
        """Close the memory after the commits that were requested before; async :meth:`close`.

        A canceled task does not wait for that, but the memory is closed.
        """
        await self._thread.run_last(self.close)


class _HeldTurn:
    """The right to commit, held in a thread of its own until it is given back."""

    _all: ClassVar[set[_HeldTurn]] = set()
    """All of them: a turn that is deleted with its task ends in another thread, which cannot release its lock."""

    def __init__(self) -> None:
        self.thread = WriterThread()
        self._stack = ExitStack()
        self._given_back = threading.Lock()
        self._loop = asyncio.get_running_loop()

    @classmethod
    def give_back_left(cls) -> None:
        """Give back the turns of tasks that will not continue, because their event loop is closed."""
        for held in list(cls._all):
            if held._loop.is_closed():
                held.give_back()

    async def begin(self, turn: Callable[[], AbstractContextManager[object]]) -> None:
        """Take the turn; a canceled or deleted task does not wait for it, but the thread does, and gives it back."""

        def take() -> None:
            self._stack.enter_context(turn())
            if self._loop.is_closed():  # the task will not continue
                self.give_back()

        self._all.add(self)
        try:
            await self.thread.run(take)
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> Future[None] | None:
        """Give the turn back after the changes that were requested before; return what to wait for, the first time."""
        if not self._given_back.acquire(blocking=False):
            return None
        ended = self.thread.submit(self._end)
        self.thread.close()
        return ended

    def _end(self) -> None:
        try:
            self._stack.close()
        finally:
            self._all.discard(self)
