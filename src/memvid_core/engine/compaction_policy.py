"""AutoCompact: compacts a memory in the background when that saves more than a given share of the file."""

from __future__ import annotations

import io
import os
import threading
import warnings
import weakref
from pathlib import Path
from typing import Final

import numpy as np

from memvid_core.engine.compaction import Compacted, compact_once, log_compaction
from memvid_core.engine.compaction_process import CompactionProcess, CompactionTask
from memvid_core.engine.index_place import INDEX_ERRORS
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import ClosedError, InvalidInputError, LockedError, MemvidError, MemvidWarning
from memvid_core.journal import Batch, Journal
from memvid_core.journal.frames import encode_rows
from memvid_core.system.atomic_files import being_compacted

__all__ = ["AutoCompact", "check_share", "compacted_bytes"]

_SAMPLE: Final = 128  # records that are written to estimate the size
_MERGED_BYTES: Final = 2 << 20  # per commit: writers in this process wait while one is made


class _StoppedError(Exception):
    """Signal that the memory is being closed."""


def check_share(share: float | None) -> float | None:
    """Check the share of a file that a compaction must save, and return it; None turns it off.

    Raises:
        InvalidInputError: The share is not a number between 0 and 1.
    """
    given: object = share
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise InvalidInputError(
            f"auto_compact must be a share of the file between 0 and 1, such as 0.5, or None for never, not {share!r}"
        )
    return float(given)


class _Running:
    """Allow one compaction at a time in a process; a forked child starts with a new lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.lock = threading.Lock()


_running = _Running()


class AutoCompact:
    """Check a memory every few hundred commits, and compact it in the background when that is due.

    A check is due at commit numbers, so that any process can make the commits. The compaction runs in a process of its
    own, which does not slow down the threads of this one, or in a thread if no process can be started.

    Args:
        indexed: The memory, open for writing.
        share: The share of the file's bytes that a compaction must save.
    """

    def __init__(self, indexed: IndexedJournal, share: float) -> None:
        self._indexed = weakref.ref(indexed)  # a cycle would keep the file open
        self._share = share
        self._settings = indexed.settings
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: CompactionProcess | None = None
        self._alone = False  # whether other processes cannot be started
        self._sampled = (0, 0.0, 0.0)  # records at the last sample, bytes per commit, bytes per record
        self._error = 1.0  # size after the last compaction, divided by its estimate
        indexed.on_commit = self.committed

    def committed(self, number: int) -> None:
        """Check in a thread whether a compaction is due, without making the caller, which commits, wait."""
        if (
            number % self._settings.compact_every
            or self._stop.is_set()
            or (self._thread is not None and self._thread.is_alive())
        ):
            return
        thread = threading.Thread(target=self._run, name="memvid-compaction", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads, or the interpreter is ending
            return
        self._thread = thread

    def close(self) -> None:
        """Cancel a running compaction, which then changes nothing, and wait for its thread."""
        self._stop.set()
        process, thread = self._process, self._thread
        if process is not None:
            process.stop()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        indexed, running = self._indexed(), _running.lock
        if indexed is None or not running.acquire(blocking=False):
            return
        try:
            self._compact_if_due(indexed)
        except (_StoppedError, ClosedError, LockedError):  # closed, or others are writing: the next check tries again
            pass
        except (MemvidError, OSError, *INDEX_ERRORS) as exc:
            if not self._stop.is_set():
                warnings.warn(MemvidWarning(f"the memory could not be compacted by itself: {exc}"), stacklevel=1)
        finally:
            running.release()

    def _compact_if_due(self, indexed: IndexedJournal) -> None:
        snapshot = indexed.refresh()
        target, size = snapshot.epoch.journal.video.target, snapshot.epoch.journal.video.size()
        if size - self._expected(snapshot) <= max(self._share * size, self._settings.compact_least_bytes):
            return
        if isinstance(target, Path) and being_compacted(target):
            return
        done = self._compacted(indexed)
        if done is not None:
            _, commit, record = self._sampled
            expected = commit + done.records * record
            if expected:  # nothing is learned from a memory without records
                self._error = done.bytes / expected

    def _compacted(self, indexed: IndexedJournal) -> Compacted | None:
        """Compact in another process, or in this thread if none can be started."""
        task = None if self._alone else _task(indexed)
        process = None if task is None else self._started(task)
        if process is None:
            return compact_once(indexed, merged_bytes=_MERGED_BYTES, quiet=True, step=self._step)
        try:
            done = process.result()
            if done is not None:
                log_compaction(indexed, done)
            return done
        except OSError:  # it ended without an answer, as another one would
            self._alone = True
            raise
        finally:
            self._process = None

    def _started(self, task: CompactionTask) -> CompactionProcess | None:
        try:
            process = self._process = CompactionProcess(task, self._settings.compaction_program)
        except OSError:
            self._alone = True
            return None
        if self._stop.is_set():  # close() ran before the process was started
            process.stop()
        return process

    def _expected(self, snapshot: Snapshot) -> float:
        """Return the estimated size of the file after a compaction, in bytes."""
        if not self._sampled[0] <= snapshot.record_count <= 2 * self._sampled[0]:
            self._sampled = (snapshot.record_count, *compacted_bytes(snapshot))
        _, commit, record = self._sampled
        return (commit + snapshot.record_count * record) * self._error

    def _step(self) -> None:
        """Raise if the memory is being closed."""
        if self._stop.is_set():
            raise _StoppedError


def _task(indexed: IndexedJournal) -> CompactionTask | None:
    """Return the task for another process; None if the memory is in RAM or its vectors need the embedder."""
    journal, place = indexed.journal, indexed.place
    if not isinstance(journal.video.target, Path) or place.root is None or journal.header.vectors == "none":
        return None
    if not CompactionProcess.possible():
        return None
    path, root = str(journal.video.target), str(place.root)
    return CompactionTask(path, root, place.strategy, indexed.timeout, _MERGED_BYTES)


def compacted_bytes(snapshot: Snapshot) -> tuple[float, float]:
    """Return the bytes per commit and per record, by writing a sample of a snapshot's records in RAM."""
    rows = np.flatnonzero(snapshot.live)
    if not len(rows):
        return float(snapshot.epoch.journal.start.offset), 0.0
    rows = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    source, epoch = snapshot.epoch.journal, snapshot.epoch
    records = [epoch.record(row) for row in rows.tolist()]
    encoded = encode_rows((record.id, record.text, record.metadata) for record in records)
    vectors = epoch.vectors(snapshot, rows.tolist()) if source.header.vectors != "none" else {}
    places = np.array([i for i, row in enumerate(rows.tolist()) if row in vectors], np.int64)
    matrix = np.array([vectors[int(rows[i])] for i in places]) if len(places) else None
    trial = Journal.create_with(io.BytesIO(), source.video.codec, source.header)
    empty = trial.video.size()
    trial.append(Batch(encoded[:1]))
    commit = trial.video.size()
    trial.append(Batch(encoded, matrix, places if len(places) else None))
    each = (trial.video.size() - commit - (commit - empty)) / len(rows)
    return float(commit), max(0.0, each)
