"""Replica: the one place where the journal and what is derived from it meet."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import Embedder, FittableEmbedder
from memvid_core.errors import ClosedError, DamageWarning, EmbeddingError, StorageError, TornTailWarning
from memvid_core.generation import Generation, View
from memvid_core.index.catalog import CommitRow, FrameRow, RecordRow
from memvid_core.index.filters import encode_metadata
from memvid_core.index.folder import Change, IndexFolder
from memvid_core.index.rows import StoredDtype
from memvid_core.index.vectors import IndexStaleError
from memvid_core.index.wal import is_busy
from memvid_core.journal import Batch, Cursor, Entry, Header, Journal
from memvid_core.progress import progress
from memvid_core.video.file import sync_folder

__all__ = ["NewRecords", "Replica", "beside", "metadata_json"]

Vectors = list[tuple[NDArray[np.int64], NDArray[Any]]]
"""Row numbers and the matrix of their vectors."""

_SHOW_PROGRESS_BYTES = 32 << 20
_TRANSACTION_SECONDS = 1.0  # a rebuild commits this often, so that Ctrl-C loses no more than this
_STAGED_ROWS = 4096  # from here on a commit's vectors are indexed beside its writing
_INDEX_ERRORS = (sqlite3.Error, IndexStaleError, msgspec.DecodeError)


class NewRecords(NamedTuple):
    """Records to be added, as the catalog keeps them: their ids, and what :func:`metadata_json` made of them."""

    ids: Sequence[str]
    metadata: Sequence[str | None]


class Replica:
    """A journal, its index, and the view that a caller searches.

    Whoever opens a memory, writer or reader, takes what the journal has beyond the index into the index; SQLite lets
    one process do so at a time. A view is made afterwards and never changes, so a search sees a whole commit or none.

    Args:
        journal: The log, just opened.
        mode: ``"r"`` or ``"a"``.
        index_root: The index folder; None keeps the index in RAM.
        embedder: For a memory that stores no vectors: they are made again when the index is.
        show_progress: Whether a rebuild shows a bar; None shows it on a terminal.
        ivf: Whether vectors are searched through an inverted file.
        cache_bytes: How much of what was read last to keep.
    """

    def __init__(
        self,
        journal: Journal,
        mode: str,
        index_root: Path | None,
        *,
        embedder: Embedder | None = None,
        show_progress: bool | None = None,
        ivf: bool = False,
        cache_bytes: int = 128 << 20,
    ) -> None:
        self._mode = mode
        self._strategy: Literal["auto", "ivf"] = "ivf" if ivf else "auto"
        self._root = index_root
        self._embedder = embedder
        self._show_progress = show_progress
        self._cache_bytes = cache_bytes
        self._lock = threading.RLock()
        self._stale = True
        self._closed = False
        self._model = 0  # the commit that brought what the embedder knows
        self.generation = self._opened(journal)
        self.view = self.generation.empty()
        try:
            if mode == "a" and not self.index.survived():
                self._discard_index()
            self._catch_up()
        except BaseException:
            self.close()
            raise
        if mode == "a":
            self._tidy()
        if self.journal.torn_bytes:
            warnings.warn(
                f"the last write never finished: {self.journal.torn_bytes} bytes at the end of the file are ignored, "
                "and cut at the next write",
                TornTailWarning,
                stacklevel=4,
            )
        if self.view.lost:
            warnings.warn(
                f"{self.view.lost} records cannot be read, because their frames are damaged; verify() names them, and "
                "compact(drop_damaged=True) goes on without",
                DamageWarning,
                stacklevel=4,
            )

    # --- opening ---

    @property
    def journal(self) -> Journal:
        """The log, as the file has it now."""
        return self.generation.journal

    @property
    def index(self) -> IndexFolder:
        """What is derived from it."""
        return self.generation.index

    def _opened(self, journal: Journal) -> Generation:
        return Generation(journal, self._open_index(journal.header), self._cache_bytes)

    def _open_index(self, header: Header) -> IndexFolder:
        dtype: StoredDtype = "float16" if header.vectors in ("float16", "int8") else "float32"
        name, strategy = _index_name(header), self._strategy
        try:
            return IndexFolder(self._root, name, dtype=dtype, strategy=strategy)
        except (*_INDEX_ERRORS, OSError) as exc:
            _check_idle(exc)
            if self._root is None:
                raise
            shutil.rmtree(self._root / name, ignore_errors=True)
        try:
            return IndexFolder(self._root, name, dtype=dtype, strategy=strategy)
        except (*_INDEX_ERRORS, OSError):
            self._root = None
            return IndexFolder(None, name, dtype=dtype, strategy=strategy)

    def _discard_index(self) -> None:
        """Begin the index anew. Rows keep their numbers, so the views of this generation stay what they are."""
        self.index.discard()
        self.generation.index = self._open_index(self.journal.header)

    # --- keeping level with the journal ---

    def refresh(self) -> View:
        """Take in what others committed since the last call, and return the newest view.

        Raises:
            ClosedError: The memory was closed.
        """
        self._check_open()
        if self._mode == "r" or self._stale:
            with self._lock:
                if self._mode == "r" or self._stale:
                    self._follow()
        return self.view

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the memory that this comes from is closed; open it again")

    def _follow(self) -> None:
        self._check_open()
        if self.journal.video.replaced():
            self._go_on_with(Journal.open(self.journal.video.target, self._mode))
        elif self._stale or self.journal.video.changed():
            self._catch_up()

    def _go_on_with(self, journal: Journal) -> None:
        """The file was swapped, by a compaction or for another memory: the new one, with an index of its own."""
        self._stale = True
        if journal.header.memory_id != self.journal.header.memory_id and isinstance(self._embedder, FittableEmbedder):
            self._embedder.fit(())  # of nothing, nothing is learned: what the other memory taught does not hold here
            self._model = 0
        self.generation = self._opened(journal)
        self._catch_up()

    def _catch_up(self) -> None:
        """Bring the index level with the journal; if the index is not of this journal, build it anew."""
        self.journal.video.changed()
        try:
            self._replay(self.view)
        except (*_INDEX_ERRORS, StorageError) as exc:
            _check_idle(exc)
            self._discard_index()
            try:
                self._replay(self.generation.empty())
            except (*_INDEX_ERRORS, StorageError):
                if self._root is None:
                    raise
                self._root = None  # there is no room for it, or no right to write: as on a medium that is read only
                self._discard_index()
                self._replay(self.generation.empty())
        self._stale = False

    def _replay(self, before: View) -> None:
        size = self.journal.video.size()
        cursor = self._cursor()
        if not self.journal.resume(cursor):
            raise IndexStaleError("the index reaches beyond the journal, or belongs to another")
        behind = size - cursor.offset
        show = self._show_progress if behind > _SHOW_PROGRESS_BYTES else False
        with progress("Indexing", behind, show=show) as advance:
            while self._replay_some():
                advance(self.journal.cursor.offset - cursor.offset)
        self.index.vectors(again=True)  # if its files are not what the catalog counts, it is told here and rebuilt
        view = self._make_view(self.journal.cursor, before)
        self._learn(view)
        self.view = view

    def _learn(self, view: View) -> None:
        """Let an embedder that learns know what the one knew that made the vectors of ``view``."""
        if isinstance(self._embedder, FittableEmbedder):
            learned = self.index.catalog.model(view.commit)
            if learned is not None and learned[0] != self._model:
                self._model, data = learned
                self._embedder.load(data)

    def _replay_some(self) -> bool:
        """Take commits in for about a second, as one transaction; False when there are no more."""
        deadline = time.monotonic() + _TRANSACTION_SECONDS
        with self.index.transaction():
            cursor = self._cursor()  # another process may have done part of it meanwhile
            self.journal.resume(cursor)
            for entry in self.journal.replay(cursor):
                self.index.apply(self._change(entry, cursor.row))
                cursor = entry.cursor
                if time.monotonic() > deadline:
                    return True
        return False

    def _cursor(self) -> Cursor:
        noted = self.index.cursor
        return self.journal.start if noted is None else msgspec.msgpack.decode(noted, type=Cursor)

    def _change(self, entry: Entry, first_row: int) -> Change:
        """A commit read back from the file, as the index takes it in."""
        vectors = self._embedded(entry) if self.journal.header.vectors == "none" else entry.vectors
        dense = {row for rows, _ in vectors for row in rows.tolist()}
        records = [
            (row, record_id, entry.number, row in dense, metadata_json(metadata))
            for row, (record_id, _, metadata) in zip(entry.row_numbers, entry.rows, strict=True)
        ]
        return self._make_change(entry, first_row, records, vectors)

    def _embedded(self, entry: Entry) -> Vectors:
        """The vectors of a commit whose file stores none, made again."""
        embedder = self._embedder
        if not entry.rows:
            return []
        if embedder is None:
            raise EmbeddingError(
                "this memory stores no vectors and its index has to be rebuilt: open it with "
                f"{self.journal.header.embedder!r}"
            )
        if entry.model is not None and isinstance(embedder, FittableEmbedder):
            embedder.load(entry.model)
        matrix = embedder.embed_documents([text for _, text, _ in entry.rows])
        return [(np.array(entry.row_numbers, np.int64), matrix)] if len(matrix) else []

    def _make_change(self, entry: Entry, first_row: int, records: Iterable[RecordRow], vectors: Vectors) -> Change:
        cursor = entry.cursor
        added = cursor.row - first_row
        frames = cursor.frame - entry.first_frame
        size = cursor.offset - entry.start
        commit = CommitRow(entry.number, entry.time, cursor.row, added, len(entry.tombstones), frames, size)
        placed = [FrameRow(*frame) for frame in entry.row_frames]
        encoded = msgspec.msgpack.encode(cursor)
        return Change(commit, first_row, records, placed, vectors, entry.tombstones, entry.model, encoded)

    def _make_view(self, cursor: Cursor, before: View) -> View:
        """The view after the last commit, built on the one before where that is possible."""
        catalog = self.index.catalog
        last = catalog.commit(cursor.commit)
        time_ = 0 if last is None else last.time
        if before.generation is not self.generation or before.commit > cursor.commit:
            before = self.generation.empty()
        live = np.ones(cursor.row, np.bool_)
        live[: before.rows] = before.live
        dense = np.ones(cursor.row, np.bool_)
        dense[: before.rows] = before.dense
        gone = catalog.missing(before.rows, cursor.row)
        live[gone] = False
        dense[gone] = False
        dense[catalog.without_vector(before.rows, cursor.row)] = False
        dead = catalog.dead(cursor.row, before.commit, cursor.commit)
        live[dead] = False
        dense[dead] = False
        return View(self.generation, cursor.commit, time_, cursor.row, live, dense, before.lost + len(gone))

    def view_at(self, commit: CommitRow) -> View:
        """The view as it was after ``commit``."""
        catalog = self.index.catalog
        live = np.ones(commit.rows, np.bool_)
        gone = catalog.missing(0, commit.rows)
        live[gone] = False
        live[catalog.dead(commit.rows, -1, commit.number)] = False
        dense = live.copy()
        dense[catalog.without_vector(0, commit.rows)] = False
        return View(self.generation, commit.number, commit.time, commit.rows, live, dense, len(gone))

    # --- writing ---

    @property
    def word_embedder(self) -> bool:
        """Whether the vectors are made of words alone, as the built-in embedder's are."""
        return isinstance(self._embedder, FittableEmbedder)

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, once it is known."""
        return self.index.dimension or self.journal.header.dimension

    @contextmanager
    def writing(self) -> Iterator[View]:
        """The newest view, held while a commit that depends on it is prepared and written."""
        with self._lock:
            self._check_open()
            if self._stale:
                self._follow()
            yield self.view

    def commit(self, new: NewRecords, batch: Batch, unstored: NDArray[Any] | None) -> None:
        """Append one commit, durable on return, and take it into the index.

        Args:
            new: The records of the batch's rows.
            batch: What the journal stores.
            unstored: Vectors for the index alone, where the journal stores none.
        """
        with self.writing():
            before = self.journal.cursor
            placed = batch.placed(before.row)
            if unstored is not None and batch.vector_places is not None:
                placed = [(batch.vector_places + before.row, unstored)]
            self._stale = True  # until the view is the new one: an interrupt in between only means a catch-up
            try:
                if placed and len(new.ids) >= _STAGED_ROWS:
                    entry = self._append_staged(new, batch, before, placed)
                else:
                    entry = self.journal.append(batch)
                    with self.index.transaction():
                        self._apply(entry, before, new, batch, placed, staged=False)
                if self._cursor() == entry.cursor:
                    self.view = self._make_view(entry.cursor, self.view)
                    self._stale = False
                else:
                    self._catch_up()
            except (*_INDEX_ERRORS, OSError) as exc:
                if self.journal.cursor == before:  # the journal itself refused, and nothing was stored
                    self._stale = False
                    _check_idle(exc)
                    raise
                warnings.warn(
                    f"commit {self.journal.cursor.commit} is stored, but the index could not take it in ({exc}); "
                    "the next call tries again",
                    stacklevel=4,
                )

    def _append_staged(self, new: NewRecords, batch: Batch, before: Cursor, placed: Vectors) -> Entry:
        """A large commit: its vectors are indexed while the journal compresses, writes and waits for the disk.

        The index is held meanwhile, so that nobody else takes the same rows in. If the journal fails, the vectors stand
        behind the last row that counts, and the next commit overwrites them.
        """
        with self.index.transaction(), ThreadPoolExecutor(1) as pool:
            first, stop = before.row, before.row + len(new.ids)
            staging = pool.submit(self.index.stage_vectors, first, stop, placed) if self._cursor() == before else None
            entry = self.journal.append(batch)
            if staging is not None:
                staging.result()
            self._apply(entry, before, new, batch, placed, staged=staging is not None)
        return entry

    def _apply(
        self, entry: Entry, before: Cursor, new: NewRecords, batch: Batch, placed: Vectors, *, staged: bool
    ) -> None:
        """Take a commit of our own into the index, unless another process has done so already."""
        if self._cursor() == before:
            dense = np.zeros(len(new.ids), np.bool_)
            if batch.vector_places is not None:
                dense[batch.vector_places] = True
            rows = zip(count(before.row), new.ids, repeat(entry.number), dense.tolist(), new.metadata, strict=False)
            change = self._make_change(entry, before.row, rows, placed)
            self.index.apply(change._replace(staged=staged))

    # --- looking after it ---

    def swap(self, made: Journal) -> None:
        """Put another file in the place of the memory's own, and go on with it; call it inside :meth:`writing`.

        Args:
            made: The same memory's next generation, at :func:`beside` its path, or in RAM.

        Raises:
            StorageError: The system refuses, as Windows does while another process reads. The old file is still there.
        """
        path, new = self.journal.video.target, made.video.target
        if isinstance(path, Path) and isinstance(new, Path):
            made.close()
            self._stale = True  # an interrupt from here on only means that the next call looks which file is there
            if os.name == "nt":  # which replaces no open file
                self.journal.close()
            try:
                os.replace(new, path)
            except OSError as exc:
                new.unlink(missing_ok=True)
                if os.name == "nt":
                    self._go_on_with(Journal.open(path, self._mode))
                raise StorageError(
                    f"cannot swap the compacted file in ({exc}); close other readers and try again"
                ) from exc
            sync_folder(path.parent)
            made = Journal.open(path, self._mode)
        self._go_on_with(made)
        self._tidy()

    def _tidy(self) -> None:
        """Delete what a compaction left: the index before it, and its own file if it was killed."""
        if self._root is not None:
            IndexFolder.sweep(self._root, _index_name(self.journal.header))
        if isinstance(self.journal.video.target, Path):
            beside(self.journal.video.target).unlink(missing_ok=True)

    def journal_copy(self) -> Journal:
        """A second journal over the same file, to walk without moving this one."""
        return Journal.open(self.journal.video.target, "r")

    def close(self) -> None:
        """Close journal and index."""
        with self._lock:
            self._closed = self.generation.closed = True
            self.journal.close()
            try:
                if self._mode == "a" and not self._stale:
                    with suppress(*_INDEX_ERRORS, OSError):  # what is not synced is built anew after a power cut
                        self.index.sync()
            finally:
                self.index.close()


def metadata_json(metadata: dict[str, Any]) -> str | None:
    """Metadata as the catalog keeps it and filters read it; what is nothing takes no room."""
    return encode_metadata(metadata) if metadata else None


def _check_idle(exc: Exception) -> None:
    """An index that another process is busy with is not broken, and not to be deleted.

    Raises:
        StorageError: It is busy.
    """
    if is_busy(exc):
        raise StorageError("another process has been writing the index for a minute; try again") from exc


def beside(path: Path) -> Path:
    """Where a compaction writes."""
    return path.with_name(path.name + ".compacting")


def _index_name(header: Header) -> str:
    return f"{header.memory_id.hex()[:16]}-{header.generation}"
