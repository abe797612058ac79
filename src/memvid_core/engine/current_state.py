"""CurrentState: the file, the index and the snapshot in use, and the locks that order changes to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memvid_core.catalog.catalog import DamageRow
from memvid_core.engine.damage_evidence import all_damaged
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.engine.index_place import IN_USE, INDEX_ERRORS, IndexPlace, check_idle
from memvid_core.engine.indexing import Indexer
from memvid_core.engine.snapshot import Epoch, Snapshot
from memvid_core.engine.write_turn import WriteTurn
from memvid_core.errors import ClosedError, MemoryFileError, StorageError
from memvid_core.journal import Cursor, Journal
from memvid_core.model import Embedder, Index

__all__ = ["CurrentState"]


class CurrentState:
    """The state of one open memory that a commit, a compaction or another process changes.

    Two locks order the threads of a process: ``turn`` is held while the file or the index changes, ``lock`` while the
    current epoch or snapshot is replaced. A thread that needs both takes ``turn`` first.

    Args:
        journal: The journal, as it was opened.
        mode: ``"r"`` or ``"a"``.
        index_root: The index folder; None keeps the index in RAM.
        embedder: The embedder; one that learns is never changed, but copied.
        timeout: The longest time to wait for the lock on the file, in seconds.
        show_progress: Whether to show a progress bar while the index is rebuilt; None shows it on a terminal.
        strategy: The kind of vector index.
        cache_bytes: The size of the cache of decoded frames.
    """

    def __init__(
        self,
        journal: Journal,
        mode: str,
        index_root: Path | None,
        *,
        embedder: Embedder | None,
        timeout: float,
        show_progress: bool | None,
        strategy: Index,
        cache_bytes: int,
        why_in_ram: str = "",
    ) -> None:
        self.mode = mode
        self.timeout = timeout
        self.embedder = embedder
        self.show_progress = show_progress
        self.cache_bytes = cache_bytes
        self.path = journal.video.target if isinstance(journal.video.target, Path) else None
        self.place = IndexPlace(index_root, strategy, self.path, why_in_ram)
        self.turn = WriteTurn()
        self.lock = threading.RLock()
        self.seen: tuple[int, int] | None = None
        """The stamp of the file when the snapshot last had every commit in it."""
        self.closed = False
        self.opened = False
        """Whether the memory was open once with every commit, so that a shorter file was cut by another program."""
        self.epoch: Epoch
        self.snapshot: Snapshot
        self.indexer: Indexer
        self._first = True  # no epoch is in use yet
        self._damaged: tuple[tuple[int, int] | None, list[DamageRow]] = None, []  # a stamp of the file, and its damage

    @property
    def journal(self) -> Journal:
        """The journal of the current epoch."""
        return self.epoch.journal

    @property
    def index(self) -> IndexFolder:
        """The index of the current epoch."""
        return self.epoch.index

    @property
    def shared(self) -> bool:
        """Whether other processes use the same index."""
        return self.index.folder is not None

    @contextmanager
    def owning(self, wait: float, *, thread_wait: float | None = None) -> Iterator[bool]:
        """Try to get the right to change the index; yield whether that worked.

        An index in RAM belongs to this memory, and needs no lock on the file.
        """
        epoch = self.epoch  # keeps the file open while it is locked
        video = epoch.journal.video if epoch.index.folder is not None else None
        with self.turn.tried(video, wait, thread_wait=thread_wait) as owned:
            yield owned

    # --- changing the epoch ---

    def use(self, journal: Journal, index: IndexFolder, epoch: Epoch | None = None) -> None:
        """Continue with a file and an index; snapshots of the previous ones stay valid."""
        self.epoch = epoch or Epoch(journal, index, self.cache_bytes)
        self.indexer = Indexer(self.epoch, self.embedder, self.show_progress)
        self.queue_at_index()
        self.seen = None
        if self._first:
            self._first = False
            self.snapshot = self.epoch.empty(embedder=self.embedder)

    def queue_at_index(self) -> None:
        """Keep the queue of the waiting writers in the folder of the current index."""
        self.turn.lock.queue_at(None if self.index.folder is None else self.index.folder / "writer")

    def successor(self) -> Journal:
        """Open the file that has replaced this one.

        Raises:
            StorageError: It is another memory, which a writer must not change.
        """
        journal = Journal.open(self.journal.video.target, self.mode)
        if self.mode == "a" and journal.header.memory_id != self.journal.header.memory_id:
            journal.close()
            raise StorageError(
                f"{self.journal.video.target} was replaced by another memory; nothing was written. Open it again"
            )
        return journal

    def go_on_with(self, journal: Journal) -> None:
        """Continue with the file that has replaced this one, and with the index of that file."""
        try:
            index = self._index_of(journal)
        except BaseException:
            journal.close()
            raise
        self.use(journal, index)

    def _index_of(self, journal: Journal) -> IndexFolder:
        """Open the index of a file, or replace one that cannot be opened."""
        try:
            return self.place.open(journal)
        except INDEX_ERRORS as exc:
            check_idle(exc)
        return self.replacement_index(journal)

    def replacement_index(self, journal: Journal) -> IndexFolder:
        """Replace an index that cannot be opened, or return one in RAM if another process is using it."""
        with self.turn.tried(journal.video, self.timeout) as owned:
            return self.place.open_anew(journal) if owned else self.place.in_ram(journal, IN_USE)

    def reopen_replaced_index(self) -> None:
        """Continue with the index in the folder if another process has replaced or deleted the one in use."""
        if self.index.replaced():
            index = self._index_of(self.journal)
            self.use(self.epoch.hand_on(), index)

    # --- the snapshot ---

    def update_snapshot(self) -> None:
        """Replace the snapshot by the state of the index, unless the snapshot is newer and of the same file."""
        cursor = self.indexer.cursor()
        if cursor is None:
            return
        if self.snapshot.epoch is not self.epoch or cursor.commit > self.snapshot.commit:
            self.index.vectors(again=True)
            self.snapshot = self.indexer.snapshot(cursor, self.snapshot)

    def index_cursor(self) -> Cursor | None:
        """Return the last commit in the index; None if the index is empty or damaged, so that it must be rebuilt."""
        return self.index_standing()[0]

    def index_standing(self) -> tuple[Cursor | None, bool]:
        """Return the last commit in the index, as :meth:`index_cursor`, and whether the index records damage."""
        try:
            return self.indexer.standing()
        except INDEX_ERRORS as exc:
            check_idle(exc)
            return None, True

    # --- checks ---

    def damage_is_current(self) -> bool:
        """Return whether the file still has all damage that the index records; if not, the index must be updated."""
        damage = self.index.catalog.damage()
        if not damage:
            return True
        checked = self.journal.video.stamp(), damage
        if checked != self._damaged:
            if not all_damaged(self.journal, damage):
                return False
            self._damaged = checked
        return True

    def check_open(self) -> None:
        """Check that the memory is open.

        Raises:
            ClosedError: It was closed.
        """
        if self.closed:
            raise ClosedError("the memory that this comes from is closed; open it again")

    def is_cut(self, cursor: Cursor, stamp: tuple[int, int]) -> bool:
        """Return whether another program has shortened the file since it was opened."""
        return self.opened and cursor.offset > stamp[0]

    def check_file(self) -> None:
        """Check that no other program has changed the file although it is locked.

        Raises:
            StorageError: The file was deleted, renamed, replaced or cut.
        """
        video = self.journal.video
        if video.gone() or video.replaced() or video.size() < self.journal.cursor.offset:
            raise StorageError(
                f"{video.target} was deleted, replaced or cut by another program while it was locked; nothing was "
                "written. Open it again to see what is left"
            )

    def check_not_overwritten(self) -> None:
        """Check that the file still contains this memory.

        Raises:
            StorageError: Another program has overwritten the file.
        """
        if self.path is None or not self.opened:
            return
        try:
            there = Journal.open(self.path, "r")
        except MemoryFileError as exc:
            raise StorageError(f"{self.path} was overwritten by another program ({exc})") from exc
        there.close()
        if there.header.memory_id != self.journal.header.memory_id:
            raise StorageError(f"{self.path} was overwritten by another memory; open it again")
