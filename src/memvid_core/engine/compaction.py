"""Compacting: rewrites a memory without deleted records and with merged commits, while other processes write."""

from __future__ import annotations

import io
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from memvid_core.engine.evidence import copy_evidence
from memvid_core.engine.film import film_again
from memvid_core.engine.index_place import INDEX_ERRORS, known_in
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.indexing import Indexer
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.torn_copies import drop_needless
from memvid_core.errors import LockedError, StorageError
from memvid_core.journal import Header
from memvid_core.journal.copying import MERGED_BYTES, JournalCopy
from memvid_core.system.atomic_files import compaction_path, remove_left
from memvid_core.system.permissions import pass_mode_on
from memvid_core.system.progress import progress
from memvid_core.system.telemetry import log, name_of

__all__ = ["Compacted", "compact", "compact_once", "log_compaction"]

_TRIES: Final = 3  # without the lock, while others compact the same file
_ROUNDS: Final = 8  # of taking over what was committed meanwhile, before the lock is taken for the last of it
_FEW_COMMITS: Final = 32  # that are left for it
_WAIT_SECONDS: Final = 1.0  # for the lock, before the caller is asked whether to go on
_SHOW_PROGRESS_BYTES: Final = 32 << 20


class Compacted(NamedTuple):
    """The result of a compaction: bytes saved, and bytes and records of the file before later commits."""

    saved: int
    bytes: int
    records: int


def compact(indexed: IndexedJournal, *, keep_history: bool, drop_damaged: bool) -> int:
    """Compact a memory; see :meth:`memvid_core.Memory.compact`.

    Returns:
        The number of bytes saved.
    """
    for _ in range(_TRIES):
        done = compact_once(indexed, keep_history=keep_history, drop_damaged=drop_damaged)
        if done is not None:
            break
    else:
        with indexed.writing():  # so that no other compaction can be faster
            done = compact_once(indexed, keep_history=keep_history, drop_damaged=drop_damaged)
    assert done is not None
    drop_needless(indexed, indexed.refresh())
    return done.saved


def compact_once(
    indexed: IndexedJournal,
    *,
    keep_history: bool = False,
    drop_damaged: bool = False,
    merged_bytes: int = MERGED_BYTES,
    quiet: bool = False,
    step: Callable[[], None] = lambda: None,
) -> Compacted | None:
    """Rewrite a memory once; the lock is held only while the last commits are copied and the file is swapped.

    Args:
        indexed: The memory.
        keep_history: Whether to keep every commit and deleted records.
        drop_damaged: Whether to continue without damaged records.
        merged_bytes: The size of the content of a merged commit, in bytes.
        quiet: Whether to hide the progress bar.
        step: Called repeatedly; an exception that it raises cancels the compaction, which then changes nothing.

    Returns:
        The result; None if another compaction was faster, so that nothing was changed.
    """
    with _writing(indexed, step) as snapshot:  # briefly: reports damage to the file, and rebuilds a damaged index
        indexed.check_whole(drop_damaged)
    source = snapshot.epoch.journal
    _check_one_name(source.video.target)
    size = source.video.size()
    show = False if quiet or size <= _SHOW_PROGRESS_BYTES else None
    with progress("Compacting", size, show=show) as advance:

        def went_on(done: int) -> None:
            advance(done)
            step()

        running = _Compaction(indexed, snapshot, keep_history=keep_history, drop_damaged=drop_damaged, advance=went_on)
        try:
            running.rewrite(merged_bytes)
            if not running.catch_up():
                return None
            with _writing(indexed, step) as snapshot:
                done = running.finish(snapshot)
            if done is not None:
                log_compaction(indexed, done)
            return done
        finally:
            running.clean_up()


def log_compaction(indexed: IndexedJournal, done: Compacted) -> None:
    """Log that a memory was compacted, by this process or by the one that it started."""
    name = name_of(indexed.journal.video.target)
    log(logging.INFO, "compact", "compacted %s: %d bytes saved, %d records", name, done.saved, done.records)


@contextmanager
def _writing(indexed: IndexedJournal, step: Callable[[], None]) -> Iterator[Snapshot]:
    """Hold the right to commit; call ``step`` repeatedly while waiting for it."""
    deadline = time.monotonic() + indexed.timeout
    with ExitStack() as stack:
        while True:
            step()
            wait = min(_WAIT_SECONDS, max(0.0, deadline - time.monotonic()))
            try:
                snapshot = stack.enter_context(indexed.writing(wait))
                break
            except LockedError:
                if time.monotonic() >= deadline:
                    raise
        yield snapshot


class _Compaction:
    """One compaction in progress: the new file and its index, which no other process knows yet.

    Args:
        indexed: The memory.
        snapshot: The state to rewrite; later commits are copied one by one.
        keep_history: Whether to keep every commit and deleted records.
        drop_damaged: Whether to continue without damaged records.
        advance: Called with the byte offset reached in the old file.
    """

    def __init__(
        self,
        indexed: IndexedJournal,
        snapshot: Snapshot,
        *,
        keep_history: bool,
        drop_damaged: bool,
        advance: Callable[[int], None],
    ) -> None:
        self._indexed = indexed
        self._snapshot = snapshot
        self._size = 0  # of the new file with the records of the snapshot
        self._keep_history = keep_history
        self._drop_damaged = drop_damaged
        own = snapshot.epoch.journal.video.target
        key = uuid.uuid4().hex[:12]
        self._target = compaction_path(own, key) if isinstance(own, Path) else io.BytesIO()
        source = snapshot.epoch.journal.again()
        source.known = known_in(snapshot.epoch.index, snapshot.commit, snapshot.rows)
        self._copy = JournalCopy(
            source,
            self._target,
            snapshot.epoch.journal.video.codec,
            self._header(snapshot),
            film=film_again(snapshot, own),
            drop_damaged=drop_damaged,
            advance=advance,
        )
        self._copy.made.video.defer_sync(True)
        try:
            if isinstance(own, Path) and isinstance(self._target, Path):
                pass_mode_on(own, self._target)
            self._built, self._indexer = indexed.building(self._copy.made, key)
            self._words = snapshot.epoch.index.words.in_use
            self._same_rows = bool(snapshot.live.all())
        except BaseException:
            self._remove()
            raise

    def _header(self, snapshot: Snapshot) -> Header:
        header = snapshot.epoch.journal.header
        return msgspec.structs.replace(
            header,
            epoch=header.epoch + 1,
            history_from=header.history_from if self._keep_history else snapshot.commit,
            dimension=snapshot.epoch.index.dimension or header.dimension,
        )

    @property
    def _acknowledged(self) -> int:
        """The byte offset up to which commits are known to be durable."""
        epoch = self._snapshot.epoch
        cursor = Indexer(epoch, None, False).cursor()
        return (cursor or epoch.journal.start).offset

    def rewrite(self, merged_bytes: int) -> None:
        """Write and index the records of the snapshot, also in the lexical index if that is in use."""
        self._indexer.with_words = self._words and not self._same_rows
        written = self._copy.copy_live(
            self._snapshot.live,
            upto=self._snapshot.commit,
            keep_history=self._keep_history,
            acknowledged=self._acknowledged,
            merged_bytes=merged_bytes,
        )
        for _ in written:
            if not self._keep_history:
                self._index()
        self._index()
        self._size = self._copy.made.video.size()
        if self._words and self._same_rows:
            self._built.index.words.copy(self._snapshot.epoch.index.words)
        if self._words:
            copy_evidence(self._snapshot, self._built.index)
        self._indexer.with_words = self._words

    def _index(self) -> None:
        """Add the new commits to the new index."""
        try:
            self._indexer.catch_up()
        except INDEX_ERRORS:
            self._indexed.build_in_ram(self._built)

    def catch_up(self) -> bool:
        """Copy most of the commits made meanwhile; return False if another compaction was faster."""
        for _ in range(_ROUNDS):
            snapshot = self._indexed.refresh()
            if snapshot.epoch is not self._snapshot.epoch:
                return False
            if snapshot.commit - self._copy.source.cursor.commit <= _FEW_COMMITS:
                break
            self._copy.take_over(snapshot.commit, self._acknowledged)
            self._index()
        self._copy.made.video.sync()  # so that the sync under the lock is short
        return True

    def finish(self, snapshot: Snapshot) -> Compacted | None:
        """Copy the last commits and swap the file; return None if another compaction was faster.

        Args:
            snapshot: The newest snapshot; the lock is held.
        """
        if snapshot.epoch is not self._snapshot.epoch:
            return None
        self._indexed.check_whole(self._drop_damaged)
        own, made = snapshot.epoch.journal.video, self._copy.made.video
        before = own.size()
        self._copy.take_over(None, self._acknowledged)
        self._index()
        made.defer_sync(False)
        made.sync()
        _check_one_name(own.target)
        if isinstance(own.target, Path) and isinstance(self._target, Path):
            pass_mode_on(own.target, self._target)
        self._indexed.swap(self._built)
        return Compacted(before - made.size(), self._size, self._snapshot.record_count)

    def clean_up(self) -> None:
        """Delete the new file and its index, unless they are in use."""
        if self._indexed.journal is not self._copy.made:
            with suppress(OSError):
                self._built.index.discard()
            self._remove()

    def _remove(self) -> None:
        self._copy.made.close()
        if isinstance(self._target, Path):  # the temporary name: after an interrupt, the file may already be swapped
            with suppress(OSError):
                self._target.unlink(missing_ok=True)


def _check_one_name(target: object) -> None:
    """Check that a file has only one name, because other hard links would keep the old contents.

    Raises:
        StorageError: The file has several names.
    """
    if isinstance(target, Path):
        remove_left(target)
        try:
            names = os.stat(target).st_nlink
        except OSError as exc:
            raise StorageError(f"{target} cannot be compacted: {exc}") from exc
        if names > 1:
            raise StorageError(
                f"{target} has {names} names (hard links), and compacting it under one would part them: "
                "remove the others, or copy the file"
            )
