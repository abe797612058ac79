"""Indexer: adds the commits of a journal to its index, and makes snapshots from the index."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from copy import copy
from itertools import accumulate
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.catalog import CommitRow, DamageRow, RecordRow
from memvid_core.catalog.filter_compiler import encode_metadata
from memvid_core.engine.damage_evidence import (
    damage_row,
    is_behind,
    is_damaged,
    missing_commits,
    restored_bytes,
    unreadable_bytes,
)
from memvid_core.engine.index_folder import Change, Vectors
from memvid_core.engine.snapshot import Epoch, Snapshot
from memvid_core.errors import EmbeddingError, IndexStaleError
from memvid_core.journal import Cursor, Entry, Known
from memvid_core.journal.entries import Row
from memvid_core.model import Embedder, is_fittable
from memvid_core.system.progress import progress

__all__ = ["Indexer", "change_of", "metadata_columns", "metadata_json"]

_encode: Final = msgspec.json.Encoder().encode
_SHOW_PROGRESS_BYTES = 32 << 20
_RUN_ROWS = 512  # rows of small commits that are added together
_TRANSACTION_SECONDS = 1.0  # the duration of a transaction of a rebuild, which is what Ctrl-C loses


class Indexer:
    """Update the index of one epoch from its journal.

    Args:
        epoch: The file and its index.
        embedder: The embedder for vectors that the file does not store; None if the memory was opened without one.
        show_progress: Whether a rebuild shows a progress bar; None shows it on a terminal.
    """

    def __init__(self, epoch: Epoch, embedder: Embedder | None, show_progress: bool | None) -> None:
        self._epoch = epoch
        self._embedder = embedder
        self._show_progress = show_progress
        self._learns = is_fittable(embedder)
        self._learned: dict[int, Embedder] = {}
        self.with_words = False
        """Whether the texts of new commits are also added to the lexical index."""
        self._cursor: tuple[bytes, Cursor | None] = b"", None  # the last encoded cursor, and its decoded form
        self._flags, self._flagged = np.empty((2, 0), np.bool_), 0  # live and dense rows, with room for more

    # --- adding commits; the caller owns the index ---

    def cursor(self) -> Cursor | None:
        """Return the last commit in the index, or None if the index is empty."""
        return self._decoded(self._epoch.index.cursor)

    def standing(self) -> tuple[Cursor | None, bool]:
        """Return the last commit in the index, None for an empty one, and whether the index records damage."""
        noted, damage = self._epoch.index.catalog.states("cursor", "damage")
        return self._decoded(noted), int(damage or 0) > 0

    def _decoded(self, noted: bytes | None) -> Cursor | None:
        if noted is None:
            return None
        known, cursor = self._cursor
        if noted != known:
            cursor = msgspec.msgpack.decode(noted, type=Cursor)
            self._cursor = noted, cursor
        return cursor

    def catch_up(
        self, known: Cursor | None = None, missing: Sequence[DamageRow] = (), places: Known | None = None
    ) -> None:
        """Add every commit that the index lacks, and record the damage to the file.

        Args:
            known: The last commit in an earlier index; the commits up to it were acknowledged, even if the file is
                damaged.
            missing: Damage that an earlier index recorded, and that left no trace in the file.
            places: The locations of frames in an earlier index.

        Raises:
            IndexStaleError: The index belongs to another journal, or has commits that the journal lacks.
        """
        journal = self._epoch.journal
        start = self.cursor() or journal.start
        if not journal.resume(start):
            raise IndexStaleError("the index has commits that the journal lacks, or belongs to another journal")
        behind = journal.video.size() - start.offset
        show = self._show_progress if behind > _SHOW_PROGRESS_BYTES else False
        journal.known = places
        try:
            with progress("Indexing", behind, show=show) as advance:
                while self._replay_some(0 if known is None else known.offset):
                    advance(journal.cursor.offset - start.offset)
        finally:
            journal.known = None
        self._note_damage(known, missing, start)

    def _note_damage(self, known: Cursor | None, missing: Sequence[DamageRow], start: Cursor) -> None:
        """Record the damage at the end of the file, and missing commits; what comes after ``start`` was read."""
        index, journal = self._epoch.index, self._epoch.journal
        lost = None if known is None else journal.missing(known)
        if not (journal.unfinished or lost or missing or index.catalog.damage()):
            return
        behind = [row for row in index.catalog.damage("end") if is_behind(row, start.offset)]
        first, stop = journal.cursor.offset, journal.video.end.offset  # without a torn tail, which the next write cuts
        evidence = unreadable_bytes(journal, first, stop) if journal.unfinished and stop > first else b""
        recorded = dict.fromkeys((*index.catalog.damage("missing"), *missing))
        noted = [row for row in recorded if is_damaged(journal, row)]
        if known is not None and lost is not None:
            noted.append(damage_row(lost, missing_commits(journal, known)))
        with index.transaction():
            index.catalog.clear_damage("end")
            index.catalog.add_damage("end", [*behind, *(damage_row(found, evidence) for found in journal.unfinished)])
            index.catalog.clear_damage("missing")
            index.catalog.add_damage("missing", noted)

    def _replay_some(self, acknowledged: int) -> bool:
        """Add commits for about a second, in one transaction; return False if there are no more."""
        deadline = time.monotonic() + _TRANSACTION_SECONDS
        index, journal = self._epoch.index, self._epoch.journal
        with index.transaction():
            noted = self.cursor()
            cursor = journal.start if noted is None else noted
            embedder = self.embedder_at(cursor.commit)
            run = _Run(self, embedder)
            for entry in journal.replay(cursor, acknowledged=acknowledged):
                if entry.model is None and not entry.damage and len(entry.rows) <= _RUN_ROWS:
                    run.add(entry, cursor.row)
                else:
                    run.apply()
                    if entry.model is not None:
                        run.embedder = _taught(self._embedder, entry.model)
                    self._take_alone(entry, cursor, run.embedder)
                cursor = entry.cursor
                if time.monotonic() > deadline:
                    run.apply()
                    index.mark_partial(True)
                    return True
            run.apply()
            index.mark_partial(False)
            if noted is None and cursor == journal.start:  # so that the index of an empty memory counts as complete
                index.note(msgspec.msgpack.encode(cursor))
        return False

    def _take_alone(self, entry: Entry, before: Cursor, embedder: Embedder | None) -> None:
        """Add a commit that is large, damaged, or contains a model; ``before`` is the position before it."""
        catalog, first_row = self._epoch.index.catalog, before.row
        [vectors] = self._vectors_of_run([entry], embedder)
        self._epoch.index.apply(self._change(entry, first_row, vectors))
        if entry.damage:
            journal = self._epoch.journal
            start = 0 if before == journal.start else before.offset  # the start is a guess if the head is damaged
            evidence = unreadable_bytes(journal, start, entry.cursor.offset)
            if self._restored(before):  # the evidence is that of whole bytes
                evidence = restored_bytes(start, entry.cursor.offset)
            catalog.add_damage("commit", [damage_row(damage, evidence) for damage in entry.damage])
        catalog.bury_replaced(first_row, entry.cursor.row, entry.number)
        self._take_words([entry], first_row)

    def _restored(self, before: Cursor) -> bool:
        """Return whether another program has restored the commit after ``before``, which was damaged when it was read.

        Otherwise damage would be recorded forever, with whole bytes as evidence. What is damage only because of
        earlier commits, such as vectors of another dimension, is damage again.
        """
        journal = self._epoch.journal
        again = journal.again()
        again.known = journal.known
        found = next(again.replay(before, contents=copy(journal.contents)), None)
        return found is not None and not found.damage

    def take_run(self, run: Sequence[tuple[Entry, int]], embedder: Embedder | None) -> None:
        """Add consecutive small commits, each given with its first row."""
        vectors = self._vectors_of_run([entry for entry, _ in run], embedder)
        changes = [self._change(entry, row, part) for (entry, row), part in zip(run, vectors, strict=True)]
        self._epoch.index.apply_run(changes)
        self._take_words([entry for entry, _ in run], run[0][1])

    def _take_words(self, run: Sequence[Entry], first_row: int) -> None:
        """Add the texts of consecutive commits to the lexical index; a row that cannot be read has none."""
        rows = run[-1].cursor.row - first_row
        if not self.with_words or not rows:
            return
        texts = [""] * rows
        for entry in run:
            for row, (_, text, _) in zip(entry.row_numbers, entry.rows, strict=True):
                texts[row - first_row] = text
        self._epoch.index.words.take(first_row, texts)

    def _vectors_of_run(self, run: Sequence[Entry], embedder: Embedder | None) -> list[Vectors]:
        """Return the vectors of each commit; if the file stores none, embed the texts of all commits at once."""
        if self._epoch.journal.header.vectors != "none":
            return [entry.vectors for entry in run]
        made = self._embedded([row for entry in run for row in entry.rows], embedder)
        ends = list(accumulate(len(entry.rows) for entry in run))
        parts = (made[end - len(entry.rows) : end] for entry, end in zip(run, ends, strict=True))
        return [_placed(entry, part) for entry, part in zip(run, parts, strict=True)]

    def _change(self, entry: Entry, first_row: int, vectors: Vectors) -> Change:
        """Return a commit of the file in the form that the index takes."""
        dense = {row for rows, _ in vectors for row in rows.tolist()}
        records = [
            (row, record_id, entry.number, row in dense, metadata_json(metadata))
            for row, (record_id, _, metadata) in zip(entry.row_numbers, entry.rows, strict=True)
        ]
        return change_of(entry, first_row, records, vectors)

    def _embedded(self, rows: Sequence[Row], embedder: Embedder | None) -> NDArray[Any]:
        """Embed the texts of records: (n, d)."""
        if not rows:
            return np.zeros((0, 0), np.float32)
        if embedder is None:
            raise EmbeddingError(
                "this memory stores no vectors and its index has to be rebuilt: open it with "
                f"{self._epoch.journal.header.embedder!r}"
            )
        return embedder.embed_documents([text for _, text, _ in rows])

    # --- snapshots ---

    def embedder_at(self, commit: int) -> Embedder | None:
        """Return the embedder in the state that made the vectors of a commit; that object is never changed."""
        if not self._learns:
            return self._embedder
        catalog = self._epoch.index.catalog
        number = catalog.model_number(commit)
        if number is None:
            return self._embedder
        known = self._learned.get(number)
        if known is None:
            data = catalog.model_data(number)
            known = self._embedder if data is None else _taught(self._embedder, data)
            assert known is not None
            self.remember(number, known)
        return known

    def remember(self, number: int, embedder: Embedder) -> None:
        """Keep the embedder with the model of commit ``number``, so that it need not be loaded again."""
        self._learned[number] = embedder
        while len(self._learned) > 4:  # enough for a few snapshots of earlier states
            self._learned.pop(next(iter(self._learned)))

    def snapshot(self, cursor: Cursor, before: Snapshot) -> Snapshot:
        """Return the snapshot after the commit at ``cursor``, made from an earlier one of the same epoch."""
        if before.epoch is not self._epoch or before.commit > cursor.commit:
            before = self._epoch.empty()
        return self._after(before, cursor.commit, cursor.row)

    def view_at(self, number: int) -> Snapshot:
        """Return the snapshot after commit ``number``."""
        return self._after(self._epoch.empty(), number, None)

    def own_view(self, entry: Entry, before: Snapshot, places: NDArray[np.int64] | None) -> Snapshot:
        """Return the snapshot after a commit of this process, without reading the catalog.

        Snapshots of commits that delete nothing share one array, of which each has the beginning.

        Args:
            entry: The commit.
            before: The snapshot before it.
            places: The rows of the commit that have a vector, counted from its first row; None: none.
        """
        rows = entry.cursor.row
        flags = self._flags
        newest = before.live.base is flags and before.rows == self._flagged
        if entry.tombstones or not newest or rows > flags.shape[1]:
            flags = np.empty((2, rows + rows // 8), np.bool_)
            flags[0, : before.rows], flags[1, : before.rows] = before.live, before.dense
        flags[0, before.rows : rows], flags[1, before.rows : rows] = True, False
        if places is not None:
            flags[1, places + before.rows] = True
        if entry.tombstones:
            flags[:, entry.tombstones] = False
        self._flags, self._flagged = flags, rows
        live, dense = flags[0, :rows], flags[1, :rows]
        live.flags.writeable = dense.flags.writeable = False
        embedder = before.embedder if entry.model is None else self.embedder_at(entry.number)
        return Snapshot(before.epoch, entry.number, entry.time, rows, live, dense, embedder, before.lost)

    def _after(self, before: Snapshot, number: int, rows: int | None) -> Snapshot:
        """Return the snapshot after commit ``number``, which has ``rows`` rows; None: as many as the catalog has."""
        changes = self._epoch.index.catalog.changes(before.commit or -1, number)
        last = changes.commit
        size = rows if rows is not None else 0 if last is None else last.rows
        if last is not None and last.rows != size:
            raise IndexStaleError(f"the index has {last.rows} rows where the file has {size}")
        live, dense = np.ones(size, np.bool_), np.ones(size, np.bool_)
        live[: before.rows] = before.live
        dense[: before.rows] = before.dense
        for gone in (changes.missing, changes.dead):
            live[gone] = False
            dense[gone] = False
        dense[changes.sparse] = False
        live.flags.writeable = dense.flags.writeable = False  # a snapshot never changes
        return Snapshot(
            epoch=self._epoch,
            commit=number,
            time=0 if last is None else last.time,
            rows=size,
            live=live,
            dense=dense,
            embedder=self.embedder_at(number),
            lost=before.lost + len(changes.missing),
        )


class _Run:
    """Small commits that are added to the index together.

    Args:
        indexer: The indexer.
        embedder: The embedder for vectors that the file does not store.
    """

    def __init__(self, indexer: Indexer, embedder: Embedder | None) -> None:
        self._indexer = indexer
        self.embedder = embedder
        self._entries: list[tuple[Entry, int]] = []
        self._rows = 0

    def add(self, entry: Entry, first_row: int) -> None:
        """Add the next commit, whose first row is ``first_row``."""
        self._entries.append((entry, first_row))
        self._rows += 1 + len(entry.rows) + len(entry.tombstones)
        if self._rows >= _RUN_ROWS:
            self.apply()

    def apply(self) -> None:
        """Add the collected commits to the index."""
        if self._entries:
            self._indexer.take_run(self._entries, self.embedder)
        self._entries, self._rows = [], 0


def _placed(entry: Entry, matrix: NDArray[Any]) -> Vectors:
    """Return the vectors of a commit with their row numbers."""
    return [(np.array(entry.row_numbers, np.int64), matrix)] if len(matrix) else []


def change_of(entry: Entry, first_row: int, records: Iterable[RecordRow], vectors: Vectors) -> Change:
    """Return a commit in the form that the index takes; its first row is ``first_row``."""
    cursor = entry.cursor
    added = cursor.row - first_row
    frames = cursor.frame - entry.first_frame
    size = cursor.offset - entry.start
    commit = CommitRow(entry.number, entry.time, cursor.row, added, len(entry.tombstones), frames, size)
    placed = list(entry.row_frames)
    encoded = msgspec.msgpack.encode(cursor)
    return Change(commit, first_row, records, placed, vectors, entry.tombstones, entry.model, encoded)


def metadata_json(metadata: dict[str, object]) -> str | None:
    """Return metadata as JSON for the catalog and filters; None if it is empty."""
    return encode_metadata(metadata) if metadata else None


def metadata_columns(metadata: Sequence[dict[str, object]]) -> list[str | None]:
    """Return :func:`metadata_json` of many records, in half of the time."""
    try:
        return [_encode(item).decode() if item else None for item in metadata]
    except (TypeError, ValueError, RecursionError):
        return list(map(metadata_json, metadata))  # its errors name the key


def _taught(embedder: Embedder | None, model: bytes) -> Embedder | None:
    """Return a copy of an embedder with the state in ``model``, or the embedder itself if it does not learn."""
    if not is_fittable(embedder):
        return embedder
    made = embedder.clone()
    made.load(model)
    return made
