"""IndexedJournal: one open memory, with the lock that each commit takes and the snapshot that searches read."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from memvid_core.catalog.catalog import DamageRow
from memvid_core.engine import file_damage, file_swap
from memvid_core.engine import settings as engine_settings
from memvid_core.engine.committing import NewRecords, commit
from memvid_core.engine.current_state import CurrentState
from memvid_core.engine.follower import Follower
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.engine.index_place import IN_USE, INDEX_ERRORS, IndexPlace, check_idle, index_errors
from memvid_core.engine.index_updater import IndexUpdater
from memvid_core.engine.indexing import Indexer
from memvid_core.engine.settings import EngineSettings
from memvid_core.engine.snapshot import Epoch, Snapshot
from memvid_core.errors import ClosedError, IndexStaleError, MemvidError, StorageError
from memvid_core.journal import Batch, Cursor, Journal
from memvid_core.model import Embedder, Index, is_fittable
from memvid_core.system.telemetry import measured

__all__ = ["IndexedJournal"]


class IndexedJournal:
    """One open memory: a journal, its index and the newest snapshot.

    Any number of them, in any number of threads and processes, read and write one file. A commit locks the file, adds
    the commits of other processes to the index, appends, updates the shared index and unlocks. Only the holder of the
    lock changes the file or the shared index: a reader that finds commits which the index lacks takes the lock to add
    them, or answers from the last complete state.

    Args:
        journal: The journal, as it was opened.
        mode: ``"r"`` or ``"a"``.
        index_root: The index folder; None keeps the index in RAM.
        embedder: The embedder; one that learns is never changed, but copied.
        timeout: The longest time that a commit waits for the lock, in seconds.
        show_progress: Whether to show a progress bar while the index is rebuilt; None shows it on a terminal.
        strategy: The kind of vector index.
        cache_bytes: The size of the cache of decoded frames.
        settings: Tuning constants; None takes :data:`settings.DEFAULTS`.
        announced: Whether to warn of damage to the file; otherwise :meth:`announce` does.
        why_in_ram: Why a memory in a file has no index folder.
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
        strategy: Index = "auto",
        cache_bytes: int = 128 << 20,
        settings: EngineSettings | None = None,
        announced: bool = True,
        why_in_ram: str = "",
    ) -> None:
        self.settings = engine_settings.DEFAULTS if settings is None else settings
        """Tuning constants."""
        self.word_embedder = is_fittable(embedder)
        """Whether the vectors are made of words alone, as the built-in embedder's are."""
        self.on_commit: Callable[[int], None] | None = None
        """Called with the number of each commit that is made here, while the lock is held."""
        self._reported: list[DamageRow] = []
        current = self._current = CurrentState(
            journal,
            mode,
            index_root,
            embedder=embedder,
            timeout=timeout,
            show_progress=show_progress,
            strategy=strategy,
            cache_bytes=cache_bytes,
            why_in_ram=why_in_ram,
        )
        self._turn = current.turn
        self._updater = IndexUpdater(current)
        self._follower = Follower(current, self._updater)
        try:
            self._open_first(journal)
        except BaseException:
            current.closed = True
            self._turn.lock.close()
            raise
        current.opened = True
        if announced:
            self.announce()

    def _open_first(self, journal: Journal) -> None:
        """Open the index and make the first snapshot, with the lock if the index must be changed."""
        current, updater = self._current, self._updater
        try:
            current.use(journal, current.place.open(journal))
        except INDEX_ERRORS as exc:
            check_idle(exc)
            current.use(journal, current.replacement_index(journal))
        if not self._follower.wait_until_complete():
            with current.owning(current.timeout) as owned:
                if not owned:  # other processes held the lock all the time, and the index is incomplete
                    current.use(current.epoch.hand_on(), current.place.in_ram(journal, IN_USE))
                earlier = updater.earlier()
                if owned and not updater.survived():
                    updater.discard_index()
                updater.catch_up(earlier)
        if current.mode == "a" and current.shared:
            with current.owning(0) as owned:
                if owned and not current.journal.video.replaced():  # leftovers belong to the newest file
                    file_swap.delete_leftovers(current)

    # --- the state ---

    @property
    def epoch(self) -> Epoch:
        """The file and the index in use."""
        return self._current.epoch

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in use, which :meth:`refresh` replaces."""
        return self._current.snapshot

    @property
    def journal(self) -> Journal:
        """The journal in use."""
        return self._current.epoch.journal

    @property
    def index(self) -> IndexFolder:
        """The index in use."""
        return self._current.epoch.index

    @property
    def place(self) -> IndexPlace:
        """The location of the indexes of this memory."""
        return self._current.place

    @property
    def cursor(self) -> Cursor:
        """The last commit in the index."""
        return self._current.indexer.cursor() or self.journal.start

    @property
    def timeout(self) -> float:
        """The longest time to wait for the lock, in seconds."""
        return self._current.timeout

    @property
    def closed(self) -> bool:
        """Whether the memory was closed."""
        return self._current.closed

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds the right to commit."""
        return self._turn.mine()

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors; None if it is not known yet."""
        return self.index.dimension or self.journal.header.dimension

    # --- damage ---

    def announce(self) -> None:
        """Warn of an unfinished write and of damage to the file."""
        try:
            self._reported = file_damage.warn_of_damage(self._current)
        except INDEX_ERRORS as exc:
            self.heal(self.snapshot, exc)

    def damage(self) -> list[DamageRow]:
        """Return the known damage to the file."""
        return file_damage.known_damage(self._current)

    @property
    def lost(self) -> int:
        """The number of records that are known to be lost."""
        return file_damage.lost_records(self._current)

    def check_whole(self, drop_damaged: bool) -> None:
        """Check that a new file would lose no more records than the damage already has.

        Raises:
            MemoryFileError: The file is damaged, and ``drop_damaged`` is False.
        """
        file_damage.check_whole(self._current, drop_damaged)

    def heal(self, snapshot: Snapshot, exc: Exception) -> Snapshot:
        """Rebuild the index because reading from ``snapshot`` failed; return the newest snapshot.

        If another thread has rebuilt it meanwhile, and so closed what was being read, nothing is rebuilt.

        Raises:
            Exception: ``exc`` again, if the lock is not available.
            ClosedError: The memory was closed.
        """
        check_idle(exc)
        current = self._current
        if isinstance(exc, ClosedError) and snapshot.epoch is not current.epoch:
            current.check_open()
            return self.refresh()  # without the lock, which another process may hold
        with current.owning(current.timeout) as owned:
            if not owned:
                raise exc
            with current.lock:
                current.check_open()
                right = not current.shared or self._turn.holds(current.journal.video)
                if right and snapshot.epoch is current.epoch:  # otherwise another thread has rebuilt it
                    if isinstance(exc, ClosedError):
                        raise exc
                    if current.embedder is None and current.journal.header.vectors == "none":
                        raise exc  # the vectors could not be computed again
                    try:
                        self._rebuild_index()
                    except INDEX_ERRORS:
                        if not current.journal.video.replaced():
                            raise
        return self.refresh()

    def _rebuild_index(self) -> None:
        """Rebuild the index of the file in use, unless another process has replaced that file.

        The processes that use the new file delete the index of the old one, which is not rebuilt for that reason.
        """
        current, updater = self._current, self._updater
        if not current.journal.video.replaced():
            earlier, reported = updater.earlier(), self._reported
            updater.discard_index()
            updater.catch_up(earlier)
            if self.damage() != reported:
                self._reported = file_damage.warn_of_damage(current)

    # --- reading ---

    def refresh(self) -> Snapshot:
        """Return the newest snapshot, with the commits of other processes since the last call.

        Raises:
            ClosedError: The memory was closed.
            LockedError: Another process has been rebuilding the index for the whole timeout.
        """
        return self._follower.refresh()

    def view_at(self, number: int) -> Snapshot | None:
        """Return the snapshot after the last commit up to ``number``, or None if there is none."""
        commit = self.index.catalog.commit(number)
        return None if commit is None else self._current.indexer.view_at(commit.number)

    def empty_view(self, time_: int) -> Snapshot:
        """Return the snapshot before the first commit."""
        return self.epoch.empty(time_, self._current.embedder)

    def journal_copy(self) -> Journal:
        """Open the file a second time, to walk over it without moving the cursor of the first journal."""
        return Journal.open(self.journal.video.target, "r")

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Prevent commits while the block runs, if the lock is available within the timeout."""
        with self._current.owning(self.timeout):
            yield

    def save_columns(self, index: IndexFolder) -> None:
        """Write new columns and codes to files of an index, if it is in use and nobody else is changing it."""
        current = self._current
        if current.closed or index is not current.index:
            index.columns.unsaved = False
            return
        with suppress(*INDEX_ERRORS, MemvidError, OSError), current.owning(0) as owned:
            if owned and current.shared and index is current.index and not index.replaced():
                index.save_columns()
                index.protect()

    def save_lists(self) -> None:
        """Write the lists of vectors to files of the index, unless somebody else is changing it."""
        current = self._current
        with suppress(*INDEX_ERRORS, MemvidError, OSError), current.owning(0) as owned:
            if owned and current.shared and not current.closed and not current.index.replaced():
                current.index.save_lists()
                current.index.protect()

    # --- committing ---

    @contextmanager
    def writing(self, timeout: float | None = None) -> Iterator[Snapshot]:
        """Hold the right to commit, and yield the newest snapshot, which stays the newest until the block ends.

        Args:
            timeout: The longest time to wait for other processes, in seconds; None: the timeout of the memory.

        Raises:
            LockedError: Others held the lock all that time; the message names the process.
            StorageError: The file was deleted or cut short by another program. Nothing was written.
        """
        current = self._current
        wait = current.timeout if timeout is None else timeout
        deadline = time.monotonic() + wait
        current.check_open()
        with self._turn.taken(wait, current.journal.video.target, lambda: self._lock_file(deadline)) as outermost:
            current.check_open()
            if outermost:
                try:
                    self._updater.follow()
                except INDEX_ERRORS as exc:
                    with index_errors():
                        self.heal(current.snapshot, exc)
                self._turn.lock.vouch()
            else:
                current.check_file()
            yield current.snapshot

    def _lock_file(self, deadline: float) -> None:
        """Lock the file that is at the path now."""
        current = self._current
        while True:
            epoch = current.epoch  # keeps the file open while waiting: another thread may replace it
            video = epoch.journal.video
            self._turn.lock_file(video, deadline)
            if current.epoch is epoch and video.in_place():
                return
            self._turn.lock.release()
            if current.epoch is epoch and video.gone():
                raise StorageError(f"{video.target} was deleted or renamed by another program; nothing was written")
            if current.epoch is epoch:
                self._go_on_with_locked_successor(deadline)

    def _go_on_with_locked_successor(self, deadline: float) -> None:
        current = self._current
        journal = current.successor()
        try:
            self._turn.lock_file(journal.video, deadline)
        except BaseException:
            journal.close()
            raise
        with current.lock, index_errors():
            current.go_on_with(journal)
        self._turn.lock.release()  # and look again which file is at the path

    def commit(self, new: NewRecords, batch: Batch, unstored: NDArray[Any] | None, embedder: Embedder | None) -> None:
        """Append one commit, durable on return, and add it to the index; call it inside :meth:`writing`.

        Args:
            new: The records of the batch's rows.
            batch: The content of the commit.
            unstored: Vectors (n, d) for the index, if the journal stores none.
            embedder: The embedder with the state that the batch's model contains, if it has one.
        """
        current = self._current
        before, snapshot = current.journal.cursor, current.snapshot
        current.seen = None  # until the snapshot is replaced, so that an interrupt only causes a catch-up
        try:
            entry = measured(
                "commit",
                current.journal.video.target,
                lambda: commit(current.epoch, current.indexer, new, batch, unstored),
                lambda _: len(new.ids),
            )
            with current.lock:
                stamp = current.journal.video.stamp()
                if batch.model is not None and embedder is not None:
                    current.indexer.remember(entry.number, embedder)
                if current.snapshot is snapshot:  # otherwise another thread has read the commit from the index
                    current.snapshot = current.indexer.own_view(entry, snapshot, batch.vector_places)
                current.seen = stamp
            if self.on_commit is not None:
                self.on_commit(entry.number)
        except (*INDEX_ERRORS, OSError, MemoryError) as exc:
            if current.journal.cursor == before:  # the journal failed, and nothing was stored
                check_idle(exc)
                raise
            try:
                if not isinstance(exc, IndexStaleError):
                    raise
                self.heal(snapshot, exc)  # others have deleted it
            except (*INDEX_ERRORS, MemvidError, OSError, MemoryError) as failure:
                warnings.warn(
                    f"commit {current.journal.cursor.commit} is stored, but the index could not take it in "
                    f"({failure}); the next call tries again",
                    stacklevel=4,
                )

    def adopt(self, embedder: Embedder) -> None:
        """Use an embedder for a memory that was opened without one."""
        current = self._current
        with current.lock:
            current.embedder = embedder
            self.word_embedder = is_fittable(embedder)
            current.indexer = Indexer(current.epoch, embedder, current.show_progress)
            current.snapshot = replace(current.snapshot, embedder=current.indexer.embedder_at(current.snapshot.commit))

    # --- compacting ---

    def building(self, made: Journal, key: str) -> tuple[Epoch, Indexer]:
        """Begin the index of a file that no other process knows yet; see :func:`file_swap.begin_epoch`."""
        return file_swap.begin_epoch(self._current, made, key)

    def build_in_ram(self, epoch: Epoch) -> None:
        """Continue without the index being built, because the disk is full; it is rebuilt when it is needed."""
        epoch.index.discard()
        epoch.index = self.place.in_ram(epoch.journal, "its folder could not be written while the memory was compacted")

    def swap(self, built: Epoch) -> None:
        """Replace the file, and continue with the new one; call it inside :meth:`writing`.

        Args:
            built: The epoch that :meth:`building` began.

        Raises:
            StorageError: The system refuses, as Windows does while another process reads. The old file is still there.
        """
        file_swap.swap(self._current, self._updater, built)

    # --- closing ---

    def close(self) -> None:
        """Close journal and index, after a commit that is under way in another thread."""
        current = self._current
        if current.closed:
            return
        with current.owning(0, thread_wait=current.timeout) as owned:
            if owned and current.mode == "a" and current.shared and current.seen is not None:
                with suppress(*INDEX_ERRORS, OSError):  # an index that is not synced is rebuilt after a power cut
                    current.index.sync()
                    current.index.protect()
            with current.lock:
                current.closed = current.epoch.closed = True
                self._turn.lock.close()
                current.journal.close()
                current.index.close()
