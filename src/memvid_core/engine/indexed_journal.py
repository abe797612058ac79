"""IndexedJournal: the file of one open memory, its index, the lock of commits, and the snapshot that searches read."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from memvid_core.embedding import Embedder, FittableEmbedder
from memvid_core.engine.committing import NewRecords, commit
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.engine.index_place import INDEX_ERRORS, IndexPlace, check_idle, known_in
from memvid_core.engine.indexing import Indexer, damage_row
from memvid_core.engine.snapshot import Epoch, Snapshot
from memvid_core.engine.write_turn import WriteTurn
from memvid_core.errors import (
    Action,
    ClosedError,
    DamageWarning,
    Hint,
    LockedError,
    MemoryFileError,
    StorageError,
    TornTailWarning,
)
from memvid_core.index.catalog.catalog import DamageRow
from memvid_core.journal import Batch, Cursor, Journal, Known
from memvid_core.model import IndexName
from memvid_core.system.atomic_files import remove_left
from memvid_core.system.folders import sync_folder

__all__ = ["IndexedJournal"]


class _Before(NamedTuple):
    """What an index knew before it is made anew: how far it reached, what is missing in the file, what lies where."""

    cursor: Cursor | None = None
    missing: Sequence[DamageRow] = ()
    places: Known | None = None


_LEVEL_PAUSE: Final = 0.005  # seconds between two looks whether another process has brought the index level


class IndexedJournal:
    """One open memory.

    Any number of replicas, in any number of threads and processes, read and write one file. A commit takes the lock on
    the file, takes in what others committed, appends, brings the shared index level and gives the lock back. Whoever
    does not hold that lock changes neither the file nor the shared index: a reader that finds commits which the index
    lacks takes the lock to add them, or answers from the last state that is whole.

    Two locks order the threads of one indexed: ``_turn`` is held by the one that changes file or index, ``_state`` for
    the moment in which the current snapshot changes. A thread that needs both takes the turn first.

    Args:
        journal: The log, just opened.
        mode: ``"r"`` or ``"a"``.
        index_root: The index folder; None keeps the index in RAM.
        embedder: What makes vectors; one that learns is never changed, but copied and taught.
        timeout: How many seconds a commit waits for the lock.
        show_progress: Whether a rebuild of the index shows a bar; None shows it on a terminal.
        strategy: How vectors are searched.
        cache_bytes: How much of what was read last to keep.
    """

    def __init__(
        self,
        journal: Journal,
        mode: str,
        index_root: Path | None,
        *,
        embedder: Embedder | None = None,
        timeout: float = 30.0,
        show_progress: bool | None = None,
        strategy: IndexName = "auto",
        cache_bytes: int = 128 << 20,
    ) -> None:
        self.timeout = timeout
        self._mode = mode
        self._embedder = embedder
        self.word_embedder = isinstance(embedder, FittableEmbedder)
        """Whether the vectors are made of words alone, as the built-in embedder's are."""
        self._show_progress = show_progress
        self._cache_bytes = cache_bytes
        self._state = threading.RLock()
        self._seen: tuple[int, int] | None = None  # the stamp of the file that the snapshot is level with
        self._closed = False
        self._level_once = False
        self._told_damage: list[DamageRow] = []
        self._path = journal.video.target if isinstance(journal.video.target, Path) else None
        self._place = IndexPlace(index_root, strategy, self._path)
        self._turn = WriteTurn()
        self._first = True  # nothing is in use yet
        self.on_commit: Callable[[int], None] | None = None
        """Called with the number of each commit that is made here, while the lock is held."""
        self.epoch: Epoch
        self.snapshot: Snapshot
        try:
            self._open_first(journal)
        except BaseException:
            self._closed = True
            self._turn.lock.close()
            raise
        self._level_once = True
        try:
            self._warn()
        except INDEX_ERRORS as exc:
            self.heal(self.snapshot, exc)

    def _warn(self) -> None:
        if self.journal.torn_bytes:
            kept = (
                f" A copy of the {self.journal.torn_records} records in them is kept"
                if self.journal.torn_records
                else ""
            )
            warnings.warn(
                f"the last write never finished: {self.journal.torn_bytes} bytes at the end of the file are ignored, "
                f"and cut at the next write.{kept}",
                TornTailWarning,
                stacklevel=5,
            )
        damage = self._told_damage = self.damage()
        if damage:
            warnings.warn(DamageWarning(_told(damage, self.lost), hint=Hint(Action.DROP_DAMAGED)), stacklevel=5)

    def damage(self) -> list[DamageRow]:
        """Return what is wrong with the file, as far as it is known: its head is looked at by each open."""
        return [*map(damage_row, self.journal.head_damage), *self.index.catalog.damage()]

    @property
    def lost(self) -> int:
        """How many records damage took away, as far as anything still tells."""
        catalog = self.index.catalog
        behind = [*catalog.damage("missing"), *catalog.damage("end")]
        return self.snapshot.lost + sum(damage.records for damage in behind)

    def check_whole(self, drop_damaged: bool) -> None:
        """Refuse to make a loss final.

        Raises:
            MemoryFileError: The file is damaged, and ``drop_damaged`` is not set.
        """
        damage = [] if drop_damaged else self.damage()
        if damage:
            raise MemoryFileError(
                f"{_told(damage, self.lost)}, and a new file would make that final", hint=Hint(Action.DROP_DAMAGED)
            )

    # --- opening ---

    @property
    def journal(self) -> Journal:
        """The log, as the file has it now."""
        return self.epoch.journal

    @property
    def index(self) -> IndexFolder:
        """What is derived from it."""
        return self.epoch.index

    @property
    def place(self) -> IndexPlace:
        """Where indexes go."""
        return self._place

    @property
    def cursor(self) -> Cursor:
        """How far the index reaches."""
        return self._indexer.cursor() or self.journal.start

    def _open_first(self, journal: Journal) -> None:
        """Open the index and make the first snapshot, with the lock if the index has to be changed for it."""
        try:
            self._use(journal, self._place.open(journal))
        except INDEX_ERRORS as exc:
            check_idle(exc)
            self._use(journal, self._index_made_anew(journal))
        if not self._wait_until_level():
            with self._owning(self.timeout) as owned:
                if not owned:  # somebody writes for longer than we wait, and the index is not whole
                    self._use(self.epoch.hand_on(), self._place.in_ram(journal))
                known = self._known()
                if owned and not self._survived():
                    self._discard_index()
                self._catch_up(known)
        if self._mode == "a" and self._shared:
            with self._owning(0) as owned:
                if owned and not self.journal.video.replaced():  # what is left is that of the newest file
                    self._tidy()

    def _survived(self) -> bool:
        try:
            return self.index.survived()
        except INDEX_ERRORS as exc:
            check_idle(exc)
            return False

    def _wait_until_level(self) -> bool:
        """Make the snapshot of a shared index that has every commit; return False if the index must be changed first.

        While another process takes a commit in, wait for it, unless the lock can be had.
        """
        deadline = time.monotonic() + self.timeout
        while self._shared and self._survived():
            if self._show_whole(first=True):
                return True
            if time.monotonic() > deadline:
                return False
            with self._owning(0) as owned:
                if owned:
                    return False
            time.sleep(_LEVEL_PAUSE)
        return False

    def _show_whole(self, *, first: bool = False) -> bool:
        """Make the snapshot of what the shared index has, if it has every commit that was acknowledged.

        That is so if it has every commit of the file, or if the one who is committing keeps it level: then a commit is
        acknowledged when it is in the index.

        Args:
            first: Whether the index must have every commit of the file, and lead to the last one of it.
        """
        vouched = self._turn.lock.vouched()  # before the index is looked at
        stamp = self.journal.video.stamp()
        try:
            cursor = None if self.index.replaced() or self.index.partial else self._indexer.cursor()
            if cursor is None or cursor.offset > stamp[0]:
                return False
            level = cursor.offset == stamp[0]
            if (first and not (level and self._holds(cursor))) or not (level or vouched):
                return False
            self._take_view()
        except INDEX_ERRORS as exc:
            check_idle(exc)
            return False
        if level:
            self._seen = stamp
        return True

    def _holds(self, cursor: Cursor) -> bool:
        """Return whether the commit that a cursor stands behind is in the file."""
        return cursor == self.journal.cursor or cursor.commit == self.snapshot.commit or self.journal.holds(cursor)

    def _index_made_anew(self, journal: Journal) -> IndexFolder:
        """Replace an index that does not open, or keep one in RAM where another process is using it."""
        with self._turn.tried(journal.video, self.timeout) as owned:
            return self._place.open_anew(journal) if owned else self._place.in_ram(journal)

    def _use(self, journal: Journal, index: IndexFolder, epoch: Epoch | None = None) -> None:
        """Go on with a file and an index; snapshots of what was used before stay good."""
        self.epoch = epoch or Epoch(journal, index, self._cache_bytes)
        self._indexer = Indexer(self.epoch, self._embedder, self._show_progress)
        self._turn.lock.queue_at(None if index.folder is None else index.folder / "writer")
        self._seen = None
        if self._first:
            self._first = False
            self.snapshot = self.epoch.empty(embedder=self._embedder)

    @property
    def _shared(self) -> bool:
        """Whether other processes use the same index."""
        return self.index.folder is not None

    # --- the lock ---

    @contextmanager
    def _owning(self, wait: float, *, thread_wait: float | None = None) -> Iterator[bool]:
        """Try to become the one that may change the index; yield whether that worked.

        An index in RAM is its own, and needs no lock on the file.
        """
        epoch = self.epoch  # kept while its file is looked at
        video = epoch.journal.video if epoch.index.folder is not None else None
        with self._turn.tried(video, wait, thread_wait=thread_wait) as owned:
            yield owned

    @contextmanager
    def writing(self, timeout: float | None = None) -> Iterator[Snapshot]:
        """Hold the right to commit, and yield the newest snapshot, which stays the newest until the block ends.

        Args:
            timeout: How many seconds to wait for others; None is the memory's own.

        Raises:
            LockedError: Others held the lock all that time; the message names the process.
            StorageError: The file was deleted or cut short by another program. Nothing was written.
        """
        wait = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + wait
        self._check_open()
        with self._turn.taken(wait, self.journal.video.target, lambda: self._lock_file(deadline)) as outermost:
            self._check_open()
            if outermost:
                self._follow_as_owner()
                self._turn.lock.vouch()
            else:
                self._check_file()
            yield self.snapshot

    def _lock_file(self, deadline: float) -> None:
        """Take the lock on the file that the path names now."""
        while True:
            epoch = self.epoch  # kept while we wait: another thread may go on with the next
            video = epoch.journal.video
            if video.gone():
                raise StorageError(f"{video.target} was deleted or renamed by another program; nothing was written")
            self._turn.lock_file(video, deadline)
            if self.epoch is epoch and not video.replaced():
                return
            self._turn.lock.release()
            if self.epoch is epoch:
                self._go_on_with_locked_successor(deadline)

    def _go_on_with_locked_successor(self, deadline: float) -> None:
        journal = self._successor()
        try:
            self._turn.lock_file(journal.video, deadline)
        except BaseException:
            journal.close()
            raise
        with self._state:
            self._go_on_with(journal)
        self._turn.lock.release()  # and look again which file the path names

    def _successor(self) -> Journal:
        """Open the file that took the place of this one.

        Raises:
            StorageError: It is another memory, into which a writer did not mean to write.
        """
        journal = Journal.open(self.journal.video.target, self._mode)
        if self._mode == "a" and journal.header.memory_id != self.journal.header.memory_id:
            journal.close()
            raise StorageError(
                f"{self.journal.video.target} was replaced by another memory; nothing was written. Open it again"
            )
        return journal

    def _follow_as_owner(self) -> None:
        """Take in what others committed; the lock is held."""
        with self._state:
            self._reopen_replaced_index()
            stamp = self.journal.video.stamp()
            cursor = self._noted_cursor()
            if cursor is not None and self._is_cut(cursor, stamp):
                raise StorageError(
                    f"{self.journal.video.target} is {cursor.offset - stamp[0]} bytes shorter than what was committed: "
                    "another program cut it; nothing was written. Open it again to see what is left"
                )
            if cursor is None or cursor.offset != stamp[0] or not self._stands_at(cursor):
                self._catch_up()
            elif self.snapshot.epoch is not self.epoch or self.snapshot.commit != cursor.commit:
                self._take_view()
            self._seen = stamp

    def _check_file(self) -> None:
        """Refuse to go on with a file that another program changed although the lock is held.

        Raises:
            StorageError: It was deleted, renamed, replaced or cut.
        """
        video = self.journal.video
        if video.gone() or video.replaced() or video.size() < self.journal.cursor.offset:
            raise StorageError(
                f"{video.target} was deleted, replaced or cut by another program while it was locked; nothing was "
                "written. Open it again to see what is left"
            )

    def _check_not_overwritten(self) -> None:
        """Refuse to go on with another memory that was written over this one's file.

        Raises:
            StorageError: Another memory, or none, is in the file.
        """
        if self._path is None or not self._level_once:
            return
        try:
            there = Journal.open(self._path, "r")
        except MemoryFileError as exc:
            raise StorageError(f"{self._path} was overwritten by another program ({exc})") from exc
        there.close()
        if there.header.memory_id != self.journal.header.memory_id:
            raise StorageError(f"{self._path} was overwritten by another memory; open it again")

    def _is_cut(self, cursor: Cursor, stamp: tuple[int, int]) -> bool:
        """Return whether another program made the file shorter since it was opened here."""
        return self._level_once and cursor.offset > stamp[0]

    def _reopen_replaced_index(self) -> None:
        """Go on with the index that is in the folder now, if another process made it anew or deleted it."""
        if self.index.replaced():
            index = self._place.open(self.journal)
            self._use(self.epoch.hand_on(), index)

    def _noted_cursor(self) -> Cursor | None:
        """Return how far the index reaches; a damaged one reaches nowhere, and is made anew."""
        try:
            return self._indexer.cursor()
        except INDEX_ERRORS as exc:
            check_idle(exc)
            return None

    def _stands_at(self, cursor: Cursor) -> bool:
        return self.journal.cursor == cursor or self.journal.resume(cursor)

    # --- keeping level with the file ---

    def refresh(self) -> Snapshot:
        """Return the newest snapshot, after taking in what others committed since the last call.

        Raises:
            ClosedError: The memory was closed.
        """
        self._check_open()
        epoch = self.epoch  # kept while it is looked at: another thread may go on with the next
        if not epoch.journal.video.unchanged(self._seen):
            self._follow()
        return self.snapshot

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the memory that this comes from is closed; open it again")

    def _follow(self) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            with self._state:
                self._check_open()
                if self._up_to_date():
                    return
            with self._owning(0) as owned, self._state:  # in this order, which is a writer's
                self._check_open()
                if owned and self._catch_up_with_path():
                    return
            if self.journal.video.descriptor is None:  # in RAM: another thread is at work, and nothing else is newer
                return
            if time.monotonic() > deadline:
                raise LockedError(
                    f"the index of {self.journal.video.target} has been made anew by another process for "
                    f"{self.timeout:g} s",
                    hint=Hint(Action.WAIT),
                )
            time.sleep(_LEVEL_PAUSE)

    def _up_to_date(self) -> bool:
        """Make the snapshot of the newest acknowledged commit; return False if the index must be changed first."""
        video = self.journal.video
        if video.replaced():
            return self._go_on_with_whole_successor()
        cursor = self._noted_cursor()
        if cursor is not None and self._is_cut(cursor, video.stamp()):  # what can be read is read, and nothing written
            return True
        return self._seen == video.stamp() or (self._shared and self._show_whole())

    def _go_on_with_whole_successor(self) -> bool:
        """Go on with the file that took the place of this one; return False if its index must be changed first.

        A compaction makes the index before it swaps the file in, so that nobody has to wait for it.
        """
        journal = self._successor()
        try:
            index = self._place.open(journal)
        except INDEX_ERRORS:  # it is being made anew
            journal.close()
            return False
        before = self.epoch, self._indexer, self._seen
        self._use(journal, index)
        if self._shared and self._show_whole():
            return True
        (self.epoch, self._indexer, self._seen), made = before, self.epoch
        self._turn.lock.queue_at(None if self.index.folder is None else self.index.folder / "writer")
        made.close()
        return False

    def _catch_up_with_path(self) -> bool:
        """Bring the index of the file that the path names level, if the lock that is held is the right one."""
        video = self.journal.video
        if self._shared and not self._turn.holds(video):  # another thread went on with another file
            return False
        if not video.replaced():
            self._reopen_replaced_index()
            self._catch_up()
            return True
        journal = self._successor()
        if journal.video.descriptor is not None and self._shared:
            if not self._turn.lock.take_new(journal.video.descriptor):  # somebody commits to it
                journal.close()
                return False
            self._turn.lock.moved(journal.video.descriptor)
        self._go_on_with(journal)
        self._catch_up()
        return True

    def _go_on_with(self, journal: Journal) -> None:
        """Go on with the file that took the place of this one, and with an index of its own."""
        try:
            index = self._place.open(journal)
        except INDEX_ERRORS as exc:
            check_idle(exc)
            index = self._index_made_anew(journal)
        self._use(journal, index)

    def _take_view(self) -> None:
        """Make the snapshot of what the index has; never an older one than before of the same file."""
        cursor = self._indexer.cursor()
        if cursor is None:
            return
        if self.snapshot.epoch is not self.epoch or cursor.commit > self.snapshot.commit:
            self.index.vectors(again=True)
            self.snapshot = self._indexer.snapshot(cursor, self.snapshot)

    def _known(self) -> _Before:
        """Return what the index knows of the file that the file cannot tell: read it before the index is deleted."""
        try:
            before = _Before(self._indexer.cursor(), self.index.catalog.damage("missing"))
        except INDEX_ERRORS as exc:
            check_idle(exc)
            before = _Before()
        commit, rows = (-1, 0) if before.cursor is None else (before.cursor.commit, before.cursor.row)
        places = known_in(self.index, commit, rows)
        places.load()  # the index is about to be deleted
        return before._replace(places=places)

    def _catch_up(self, known: _Before | None = None) -> None:
        """Bring the index level with the journal; if it is not of this journal, make it anew. The lock is held."""
        with self._state:
            stamp = self.journal.video.stamp()
            try:
                self._take_in(known or _Before())
            except (*INDEX_ERRORS, StorageError) as exc:
                check_idle(exc)
                self._check_not_overwritten()
                known = known if known is not None and known.cursor is not None else self._known()
                self._discard_index()
                try:
                    self._take_in(known)
                except (*INDEX_ERRORS, StorageError):
                    if not self._place.stay_in_ram():  # no room for it, or no right: as on a medium that is read only
                        raise
                    self._discard_index()
                    self._take_in(known)
            self._seen = stamp

    def _take_in(self, before: _Before) -> None:
        self._indexer.catch_up(before.cursor, before.missing, before.places)
        self.index.vectors(again=True)  # if its files are not what the catalog counts, it is told here and made anew
        self.index.protect()
        self.snapshot = self._indexer.snapshot(self.journal.cursor, self.snapshot)

    def _discard_index(self) -> None:
        """Delete the index and begin an empty one in its place; the lock is held."""
        journal = self.epoch.hand_on()
        self.index.discard()
        self._use(journal, self._place.open(journal))

    def heal(self, snapshot: Snapshot, exc: Exception) -> Snapshot:
        """Make the index anew, because answering from ``snapshot`` failed; return the newest snapshot.

        Raises:
            Exception: ``exc`` again, if the lock cannot be had.
        """
        check_idle(exc)
        with self._owning(self.timeout) as owned:
            if not owned:
                raise exc
            with self._state:
                self._check_open()
                right = not self._shared or self._turn.holds(self.journal.video)
                if right and snapshot.epoch is self.epoch:  # or another thread has done it meanwhile
                    if self._embedder is None and self.journal.header.vectors == "none":
                        raise exc  # nobody could make its vectors again
                    known, told = self._known(), self._told_damage
                    self._discard_index()
                    self._catch_up(known)
                    if self.damage() != told:
                        self._warn()
        return self.refresh()

    # --- writing ---

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds the right to write."""
        return self._turn.mine()

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, once it is known."""
        return self.index.dimension or self.journal.header.dimension

    def commit(self, new: NewRecords, batch: Batch, unstored: NDArray[Any] | None, embedder: Embedder | None) -> None:
        """Append one commit, durable on return, and take it into the index; call it inside :meth:`writing`.

        Args:
            new: The records of the batch's rows.
            batch: What the journal stores.
            unstored: Vectors for the index alone, where the journal stores none.
            embedder: What the batch's model is the knowledge of, if it has one.
        """
        before, snapshot = self.journal.cursor, self.snapshot
        self._seen = None  # until the snapshot is the new one: an interrupt in between only means a catch-up
        try:
            entry = commit(self.epoch, self._indexer, new, batch, unstored)
            with self._state:
                stamp = self.journal.video.stamp()
                if batch.model is not None and embedder is not None:
                    self._indexer.remember(entry.number, embedder)
                if self.snapshot is snapshot:  # or another thread has taken the commit from the index by now
                    self.snapshot = self._indexer.own_view(entry, snapshot, batch.vector_places)
                self._seen = stamp
            if self.on_commit is not None:
                self.on_commit(entry.number)
        except (*INDEX_ERRORS, OSError) as exc:
            if self.journal.cursor == before:  # the journal itself refused, and nothing was stored
                check_idle(exc)
                raise
            warnings.warn(
                f"commit {self.journal.cursor.commit} is stored, but the index could not take it in ({exc}); "
                "the next call tries again",
                stacklevel=4,
            )

    def adopt(self, embedder: Embedder) -> None:
        """Take an embedder for a memory that was opened without one."""
        with self._state:
            self._embedder = embedder
            self.word_embedder = isinstance(embedder, FittableEmbedder)
            self._indexer = Indexer(self.epoch, embedder, self._show_progress)
            self.snapshot = replace(self.snapshot, embedder=self._indexer.embedder_at(self.snapshot.commit))

    # --- looking after it ---

    def view_at(self, number: int) -> Snapshot | None:
        """Return the snapshot after the last commit at or before ``number``, or None if there is none."""
        commit = self.index.catalog.commit(number)
        return None if commit is None else self._indexer.view_at(commit.number)

    def empty_view(self, time_: int) -> Snapshot:
        """Return the snapshot before the first commit."""
        return self.epoch.empty(time_, self._embedder)

    def building(self, made: Journal, key: str) -> tuple[Epoch, Indexer]:
        """Begin the index of a file that nobody else knows yet, in a folder that nobody else uses.

        Args:
            made: The same memory's next epoch.
            key: The name of the compaction that writes it.
        """
        epoch = Epoch(made, self._place.building(made, key), self._cache_bytes)
        return epoch, Indexer(epoch, self._embedder, self._show_progress)

    def build_in_ram(self, epoch: Epoch) -> None:
        """Go on without the index that was being built: there is no room for it, and it is made when it is needed."""
        epoch.index.discard()
        epoch.index = self._place.in_ram(epoch.journal)

    def swap(self, built: Epoch) -> None:
        """Put another file in the place of the memory's own, and go on with it; call it inside :meth:`writing`.

        Args:
            built: What :meth:`building` began: the next epoch, beside the memory's path or in RAM, with its index.

        Raises:
            StorageError: The system refuses, as Windows does while another process reads. The old file is still there.
        """
        path, made = self.journal.video.target, built.journal
        index = self._place.settle(built.index, made)
        epoch = built if index is built.index else Epoch(built.hand_on(), index, self._cache_bytes)
        if isinstance(path, Path) and isinstance(made.video.target, Path):
            try:
                self._swap_files(made, path, made.video.target)
            except StorageError:
                index.discard()
                raise
        with self._state:
            self._use(made, index, epoch)
            self._catch_up()
            self._tidy()

    def _swap_files(self, made: Journal, path: Path, new: Path) -> None:
        """Rename ``new`` to ``path`` while holding the lock on both."""
        self._seen = None  # an interrupt from here on only means that the next call looks which file is there
        if os.name == "nt":  # which replaces no open file
            made.close()
            self.journal.close()
        try:
            os.replace(new, path)
        except OSError as exc:
            new.unlink(missing_ok=True)
            if os.name == "nt":
                self._go_on_with(Journal.open(path, self._mode))
            raise StorageError(f"cannot swap the compacted file in ({exc}); close other readers and try again") from exc
        made.video.renamed(path)
        if os.name == "nt":
            made.video.reopen()
            if made.video.descriptor is not None:
                self._turn.lock.take_new(made.video.descriptor)
        if made.video.descriptor is not None:
            self._turn.lock.moved(made.video.descriptor)
        with suppress(OSError):  # the swap is done, and a power cut may only undo it
            sync_folder(path.parent)

    def _tidy(self) -> None:
        """Delete what a compaction left: the index before it, and its own file if it was killed; the lock is held."""
        if self._path is not None:
            remove_left(self._path)
        self._place.sweep(self.journal.header)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Keep others from committing while the block runs, if that can be had within the timeout."""
        with self._owning(self.timeout):
            yield

    def journal_copy(self) -> Journal:
        """Return a second journal over the same file, to walk without moving this one."""
        return Journal.open(self.journal.video.target, "r")

    def close(self) -> None:
        """Close journal and index, after a commit that is under way in another thread."""
        if self._closed:
            return
        with self._owning(0, thread_wait=self.timeout) as owned:
            if owned and self._mode == "a" and self._shared and self._seen is not None:
                with suppress(*INDEX_ERRORS, OSError):  # what is not synced is made anew after a power cut
                    self.index.sync()
                    self.index.protect()
            with self._state:
                self._closed = self.epoch.closed = True
                self._turn.lock.close()
                self.journal.close()
                self.index.close()


def _told(damage: Sequence[DamageRow], lost: int) -> str:
    """What is wrong with the file, in one sentence."""
    vectors, deletions = sum(d.vectors for d in damage), sum(d.deletions for d in damage)
    told = []
    if lost:
        told.append(f"{lost} records cannot be read, because their frames are damaged or missing")
    if vectors:
        told.append(f"the vectors of {vectors} records cannot be read")
    if deletions:
        told.append(f"{deletions} deletions cannot be read, so that what they deleted is back")
    return " and ".join(told) or f"the file is damaged in {len(damage)} places, and no record is lost"
