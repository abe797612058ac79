"""Follower: finds the newest snapshot, and waits until the index has every commit."""

from __future__ import annotations

import time
from typing import Final

from memvid_core.engine.current_state import CurrentState
from memvid_core.engine.index_place import INDEX_ERRORS, check_idle
from memvid_core.engine.index_updater import IndexUpdater
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import Action, Hint, LockedError
from memvid_core.journal import Cursor

__all__ = ["Follower"]

_PAUSE: Final = 0.005  # seconds between two looks at an index that another process is updating


class Follower:
    """Follow the commits of other processes, for readers.

    A reader needs no lock while the index has every commit, or while the process that holds the lock keeps it up to
    date. Otherwise it takes the lock and updates the index.

    Args:
        current: The file and the index in use.
        updater: Updates the index while the lock is held.
    """

    def __init__(self, current: CurrentState, updater: IndexUpdater) -> None:
        self._current = current
        self._updater = updater

    def refresh(self) -> Snapshot:
        """Return the newest snapshot; see :meth:`IndexedJournal.refresh`."""
        current = self._current
        current.check_open()
        epoch = current.epoch  # keeps the file open: another thread may replace it
        if not epoch.journal.video.unchanged(current.seen):
            self._follow()
        return current.snapshot

    def _follow(self) -> None:
        current = self._current
        deadline = time.monotonic() + current.timeout
        while True:
            with current.lock:
                current.check_open()
                if self._up_to_date():
                    return
            with current.owning(0) as owned, current.lock:  # in this order, as a writer does
                current.check_open()
                if owned and self._updater.follow_path():
                    return
            if current.journal.video.descriptor is None:  # in RAM: another thread is committing
                return
            if time.monotonic() > deadline:
                raise LockedError(
                    f"another process has been rebuilding the index of {current.journal.video.target} for "
                    f"{current.timeout:g} s",
                    hint=Hint(Action.WAIT),
                )
            time.sleep(_PAUSE)

    def wait_until_complete(self) -> bool:
        """Make the snapshot of a shared index that has every commit; return False if the index must be updated first.

        While another process updates the index, wait for it, unless the lock is free.
        """
        current = self._current
        deadline = time.monotonic() + current.timeout
        while current.shared and self._updater.survived():
            if self._show_complete(first=True):
                return True
            if time.monotonic() > deadline:
                return False
            with current.owning(0) as owned:
                if owned:
                    return False
            time.sleep(_PAUSE)
        return False

    def _up_to_date(self) -> bool:
        """Make the snapshot of the newest acknowledged commit; return False if the index must be updated first."""
        current = self._current
        video = current.journal.video
        if video.replaced():
            return self._go_on_with_complete_successor()
        cursor = current.index_cursor()
        if cursor is not None and current.is_cut(cursor, video.stamp()):  # readable records are read, none is written
            return True
        return current.seen == video.stamp() or (current.shared and self._show_complete())

    def _go_on_with_complete_successor(self) -> bool:
        """Continue with the file that has replaced this one; return False if its index must be updated first.

        A compaction builds the index before it swaps the file, so that no reader has to wait.
        """
        current = self._current
        journal = current.successor()
        try:
            index = current.place.open(journal)
        except INDEX_ERRORS:  # another process is rebuilding it
            journal.close()
            return False
        before = current.epoch, current.indexer, current.seen
        current.use(journal, index)
        if current.shared and self._show_complete(successor=True):
            return True
        (current.epoch, current.indexer, current.seen), made = before, current.epoch
        current.queue_at_index()
        made.close()
        return False

    def _show_complete(self, *, first: bool = False, successor: bool = False) -> bool:
        """Make the snapshot of the shared index, if it has every acknowledged commit; return whether it has.

        It has them if it has every commit in the file, or if the process that is committing vouches for it: that
        process adds a commit to the index before it acknowledges the commit.

        Args:
            first: Whether the index must have every commit in the file, and end at the last one.
            successor: Whether the file has just replaced another one, so that the index may be that of a copy that
                had other commits of the same size.
        """
        current = self._current
        vouched = current.turn.lock.vouched()  # before the index is read
        stamp = current.journal.video.stamp()
        try:
            replaced = current.index.replaced() or current.index.partial
            cursor = None if replaced else current.indexer.cursor()
            if cursor is None or cursor.offset > stamp[0]:
                return False
            complete = cursor.offset == stamp[0]
            if (first and not (complete and self._holds(cursor))) or not (complete or vouched):
                return False
            snapshot = current.snapshot
            overwritten = complete and snapshot.epoch is current.epoch and snapshot.commit == cursor.commit
            if (successor or overwritten) and not current.journal.holds(cursor):
                return False
            if not current.damage_is_current():
                return False
            current.update_snapshot()
        except INDEX_ERRORS as exc:
            check_idle(exc)
            return False
        if complete:
            current.seen = stamp
        return True

    def _holds(self, cursor: Cursor) -> bool:
        """Return whether the commit at a cursor is in the file."""
        journal, snapshot = self._current.journal, self._current.snapshot
        return cursor == journal.cursor or cursor.commit == snapshot.commit or journal.holds(cursor)
