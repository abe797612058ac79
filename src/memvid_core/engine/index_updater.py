"""IndexUpdater: adds the commits of the file to the index, and rebuilds a damaged index, while holding the lock."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from memvid_core.catalog.catalog import DamageRow
from memvid_core.engine.current_state import CurrentState
from memvid_core.engine.damage_evidence import all_damaged, is_behind
from memvid_core.engine.index_place import INDEX_ERRORS, check_idle, known_in
from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.journal import Cursor, Known
from memvid_core.system.telemetry import log, name_of

__all__ = ["EarlierIndex", "IndexUpdater"]


class EarlierIndex(NamedTuple):
    """What an index recorded that cannot be read from the file, kept while the index is rebuilt.

    ``cursor`` is the last commit in it, ``missing`` the damage that left no trace in the file, and ``places`` the
    locations of frames.
    """

    cursor: Cursor | None = None
    missing: Sequence[DamageRow] = ()
    places: Known | None = None


class IndexUpdater:
    """Change the index of an open memory; every method requires the lock, or an index in RAM.

    Args:
        current: The file and the index in use.
    """

    def __init__(self, current: CurrentState) -> None:
        self._current = current

    def follow(self) -> None:
        """Add the commits of other processes, before a commit of this one.

        Raises:
            StorageError: Another program cut the file.
        """
        current = self._current
        with current.lock:
            current.reopen_replaced_index()
            stamp = current.journal.video.stamp()
            cursor, damaged = current.index_standing()
            if cursor is not None and current.is_cut(cursor, stamp):
                raise StorageError(
                    f"{current.journal.video.target} is {cursor.offset - stamp[0]} bytes shorter than what was "
                    "committed: another program cut it; nothing was written. Open it again to see what is left"
                )
            complete = cursor is not None and cursor.offset == stamp[0] and self._stands_at(cursor, stamp)
            if cursor is None or not complete or (damaged and not current.damage_is_current()):
                self.catch_up()
            elif current.snapshot.epoch is not current.epoch or current.snapshot.commit != cursor.commit:
                current.update_snapshot()
            current.seen = stamp

    def _stands_at(self, cursor: Cursor, stamp: tuple[int, int]) -> bool:
        """Return whether the journal is at a cursor, and the file has not changed since, or goes on from there."""
        current, journal = self._current, self._current.journal
        return (journal.cursor == cursor and current.seen == stamp) or journal.resume(cursor)

    def follow_path(self) -> bool:
        """Bring the index of the file at the path up to date; return False if the lock on another file is needed."""
        current, turn = self._current, self._current.turn
        video = current.journal.video
        if current.shared and not turn.holds(video):  # another thread has replaced the file
            return False
        if not video.replaced():
            current.reopen_replaced_index()
            self.catch_up()
            return True
        journal = current.successor()
        if journal.video.descriptor is not None and current.shared:
            if not turn.lock.take_new(journal.video.descriptor):  # another process is committing to it
                journal.close()
                return False
            turn.lock.moved(journal.video.descriptor)
        current.go_on_with(journal)
        self.catch_up()
        return True

    def catch_up(self, earlier: EarlierIndex | None = None) -> None:
        """Add the commits that the index lacks; rebuild the index if it does not belong to the journal.

        Args:
            earlier: What an index recorded that this one replaces.
        """
        current = self._current
        with current.lock:
            stamp = current.journal.video.stamp()
            try:
                self._take_in(earlier or EarlierIndex())
            except (*INDEX_ERRORS, StorageError) as exc:
                check_idle(exc)
                current.check_not_overwritten()
                earlier = earlier if earlier is not None and earlier.cursor is not None else self.earlier()
                self.discard_index()
                try:
                    self._take_in(earlier)
                except (*INDEX_ERRORS, StorageError) as again:
                    if not current.place.stay_in_ram(f"its folder cannot be written: {again}"):
                        raise
                    self.discard_index()
                    self._take_in(earlier)
            current.seen = stamp

    def _take_in(self, earlier: EarlierIndex) -> None:
        current = self._current
        before, began = current.indexer.cursor(), time.monotonic()
        catalog = current.index.catalog
        taken = [row for row in catalog.damage("end") if before is not None and is_behind(row, before.offset)]
        if not all_damaged(current.journal, [*catalog.damage("commit"), *taken]):
            raise IndexStaleError("the file has changed where the index recorded damage; rebuild the index")
        current.indexer.catch_up(earlier.cursor, earlier.missing, earlier.places)
        last, seconds = current.journal.cursor.commit, time.monotonic() - began
        if before is None and last > 0:
            name = name_of(current.journal.video.target)
            log(logging.INFO, "index", "built the index of %s: commits to %d, in %.1f s", name, last, seconds)
        current.index.vectors(again=True)  # raises if its files do not match the catalog, so that they are rebuilt
        current.index.protect()
        current.snapshot = current.indexer.snapshot(current.journal.cursor, current.snapshot)

    def earlier(self) -> EarlierIndex:
        """Return what the index recorded that cannot be read from the file; call it before the index is deleted."""
        index = self._current.index
        try:
            earlier = EarlierIndex(self._current.indexer.cursor(), index.catalog.damage("missing"))
        except INDEX_ERRORS as exc:
            check_idle(exc)
            earlier = EarlierIndex()
        commit, rows = (-1, 0) if earlier.cursor is None else (earlier.cursor.commit, earlier.cursor.row)
        places = known_in(index, commit, rows)
        places.load()  # the index is about to be deleted
        return earlier._replace(places=places)

    def survived(self) -> bool:
        """Return whether the index is intact after a crash of the system."""
        try:
            return self._current.index.survived()
        except INDEX_ERRORS as exc:
            check_idle(exc)
            return False

    def discard_index(self) -> None:
        """Replace the index by an empty one."""
        current = self._current
        name = name_of(current.journal.video.target)
        log(logging.INFO, "rebuild", "the index of %s does not match the file, and is built again", name)
        journal = current.epoch.hand_on()
        current.index.discard()
        current.use(journal, current.place.open_anew(journal))
