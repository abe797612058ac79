"""IndexFolder: the catalog, vector index and lexical index of one journal, which can be deleted and rebuilt."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.catalog import Catalog, CommitContents, CommitRow, RecordRow
from memvid_core.catalog.column_files import ColumnFiles
from memvid_core.catalog.frame_table import FrameTable
from memvid_core.engine.words_part import Holds, WordsPart
from memvid_core.errors import ClosedError, IndexStaleError
from memvid_core.model import FrameLocation, Index, Metric
from memvid_core.system.boot import boot_id
from memvid_core.system.folders import bytes_in, has_links, named, paths_in
from memvid_core.system.permissions import OWNER_WRITES, is_trusted, pass_mode_on
from memvid_core.vectors.matrix import StoredDtype
from memvid_core.vectors.row_totals import UNPROVEN, Derived, total_in, total_note
from memvid_core.vectors.vector_index import VectorIndex
from memvid_core.vectors.video_rows import Pictures

__all__ = ["Change", "IndexFolder"]

Vectors = Sequence[tuple[NDArray[np.int64], NDArray[Any]]]
"""Row numbers and the matrix of their vectors."""

_NO_VECTORS: Final[tuple[int, int, int | None, Derived]] = 0, 0, None, UNPROVEN
_TRIES = 5  # reads while a writer changes the files


class Change(NamedTuple):
    """One commit in the form that the index takes.

    ``first_row`` is the number of rows before it; ``staged`` says that its vectors are already stored.
    """

    commit: CommitRow
    first_row: int
    records: Iterable[RecordRow]
    frames: Sequence[FrameLocation]
    vectors: Vectors
    tombstones: Sequence[int]
    model: bytes | None
    cursor: bytes
    staged: bool = False

    def contents(self) -> CommitContents:
        """Return the part of the commit that the catalog stores."""
        return CommitContents(self.commit, self.first_row, list(self.records), self.frames, self.tombstones)


class IndexFolder:
    """The catalog, vector index and lexical index of one epoch of a memory.

    Args:
        root: The index folder of the memory; None keeps the index in RAM.
        name: The subfolder for this memory and epoch. A compaction uses another one, so that it never changes the files
            that a reader has open.
        dtype: The dtype of stored vectors: ``"float16"`` or ``"float32"``.
        strategy: The kind of vector index; each kind also stores the data that the others need.
        metric: The metric of the vectors.
        like: The memory's file; the index gets its permissions.
        pictures: The video, if single vectors can be read from it, so that a large index need not copy them. It must
            stay open as long as this index.
        holds: Tells whether the journal has the commit of an encoded cursor, and up to it at least some rows.
    """

    def __init__(
        self,
        root: Path | None,
        name: str,
        *,
        dtype: StoredDtype = "float16",
        strategy: Index = "auto",
        metric: Metric = "cosine",
        like: Path | None = None,
        pictures: Pictures | None = None,
        holds: Holds = lambda cursor, rows: True,
    ) -> None:
        self.folder = None if root is None else root / name
        # As str, because each commit uses it.
        self._catalog_path = os.path.join(self.folder or "", "catalog.sqlite")
        self._like = like
        self._dtype: StoredDtype = dtype
        self._strategy: Index = strategy
        self._metric: Metric = metric
        if self.folder is not None:
            self._make_folder(self.folder)
        self.catalog = Catalog(None if self.folder is None else self.folder / "catalog.sqlite")
        self.columns = ColumnFiles(self.catalog, self.folder)
        self._identity = self._on_disk()
        self._placements: dict[int, FrameTable] = {}
        self._vectors: VectorIndex | None = None
        self._pictures = pictures
        self._settle_from = 0  # number of rows from which on to try to read more of them from the video
        # What the catalog says, read at the beginning of the transaction.
        self._vector_rows, self._video_rows, self._vector_total, self._derived = _NO_VECTORS
        self.holds = holds
        """Tells whether the journal has the commit of an encoded cursor, and up to it at least some rows."""
        self.words = WordsPart(self.folder, partial(self.catalog.state, "cursor"), holds)
        """The index of words."""
        self._closed = False

    def _make_folder(self, folder: Path) -> None:
        with suppress(FileExistsError):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(0o777 if self._like is None or os.name == "nt" else 0o700)
            self.protect()
        if self._like is not None and not (is_trusted(folder.parent, self._like) and is_trusted(folder, self._like)):
            raise PermissionError(f"{folder} belongs to a user who may not write the memory")
        if has_links(folder):  # an index has none: writing it must not change what they lead to
            raise IndexStaleError(f"{folder} is or contains a symbolic link")

    def protect(self) -> None:
        """Give the folder and its files the permissions and the owner of the memory's file."""
        if self.folder is None or os.name == "nt":
            return
        for path in (self.folder, *paths_in(self.folder)):
            pass_mode_on(self._like, path, most=0o666, least=OWNER_WRITES)

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            there = None if self.folder is None else os.stat(self._catalog_path)
        except FileNotFoundError:
            return None
        return None if there is None else (there.st_dev, there.st_ino)

    def replaced(self) -> bool:
        """Return whether the folder was deleted or the index was rebuilt since this object opened it."""
        return self._on_disk() != self._identity

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the index; all its parts count as far as the catalog's cursor."""
        rows = 0
        try:
            with self.catalog.transaction() as connection:
                self._vector_rows, self._video_rows, self._vector_total, self._derived = self._counts()
                rows = self._vector_rows
                yield connection
        except BaseException:
            if self._vectors is not None:
                self._vectors.roll_back(rows)
            raise

    def _counts(self) -> tuple[int, int, int | None, Derived]:
        """Return the number of rows of vectors, how many of them are read from the video, and what identifies them.

        And what identifies the files that are made of them.
        """
        *counts, noted = self.catalog.states("vector_rows", "video_rows", "vector_total")
        rows, in_video = (int(count or 0) for count in counts)
        return rows, in_video, *total_in(noted, rows, in_video)

    @property
    def cursor(self) -> bytes | None:
        """The encoded cursor of the last commit in the index."""
        return self.catalog.state("cursor")

    @property
    def partial(self) -> bool:
        """Whether a rebuild is in progress, so that the index lacks acknowledged commits."""
        return self.catalog.state("partial") is not None

    def mark_partial(self, partial: bool) -> None:
        """Record whether a rebuild is in progress; call it inside a transaction."""
        self.catalog.set_state("partial", b"1" if partial else None)

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors; None if there are none."""
        if self._vectors is not None:
            return self._vectors.dimension
        found = self.catalog.state("dimension")
        return None if found is None else int(found)

    def apply(self, change: Change) -> None:
        """Add one commit; call it inside a transaction. It can be repeated after a crash."""
        catalog = self.catalog
        catalog.add_records(change.records)
        catalog.add_frames(change.frames)
        catalog.bury(change.tombstones, change.commit.number)
        catalog.add_commit(change.commit)
        if change.model is not None:
            catalog.add_model(change.commit.number, change.model)
        self._extend_vectors(change)
        self.note(change.cursor)

    def apply_run(self, run: Sequence[Change]) -> None:
        """Add consecutive small commits without models, faster than :meth:`apply` for each of them."""
        self.catalog.add_run([change.contents() for change in run])
        dense = [change for change in run if change.vectors]
        if dense:
            rows, matrices = zip(*(part for change in dense for part in change.vectors), strict=True)
            vectors = [(np.concatenate(rows), np.concatenate(matrices))]
            self._extend_vectors(dense[-1]._replace(first_row=run[0].first_row, vectors=vectors))
        self.note(run[-1].cursor)

    def note(self, cursor: bytes) -> None:
        """Record the cursor of the last commit in the index; call it inside a transaction."""
        self.catalog.set_state("cursor", cursor)
        self.catalog.set_state("boot", boot_id())

    def stage_vectors(self, first_row: int, stop: int, vectors: Vectors) -> None:
        """Store the vectors of rows [``first_row``, ``stop``), which become visible with :meth:`apply`.

        Call it inside a transaction. Rows of an unfinished write, which the catalog does not count, are overwritten.

        Raises:
            IndexStaleError: The catalog counts some of these rows.
        """
        start = self._vector_rows
        if start > first_row:
            raise IndexStaleError(f"vectors of row {first_row} are in the index, which counts {start}; rebuild it")
        dimension = vectors[0][1].shape[1]
        index = self._vectors or self._open_vectors(dimension)
        if start == first_row and len(vectors) == 1 and len(vectors[0][0]) == stop - start:
            index.extend(start, vectors[0][1], self._video_rows, self._derived)
        else:  # rows without a vector are zero, and excluded from searches
            matrix = np.zeros((stop - start, dimension), np.float32)
            for rows, part in vectors:
                matrix[rows - start] = part
            index.extend(start, matrix, self._video_rows, self._derived)

    def _settle(self, index: VectorIndex, before: int) -> None:
        """Read more rows from the video instead of a copy, if they are stored there; call it inside a transaction.

        Args:
            index: The vectors.
            before: How many of them are identified in the catalog.
        """
        rows = self._vector_rows
        most = index.due(rows) if self._pictures is not None and rows >= self._settle_from else 0
        if most and self._settled(index, most):
            before = 0
        else:
            index.keep()
            if most:
                self._settle_from = rows + rows // 8  # it failed: try again only after some growth
        known = self._vector_total if before else None
        total, derived = index.total(rows, before, known), index.derived(rows)
        if total is not None and (known is None or before != rows or derived != self._derived):
            self.catalog.set_state("vector_total", total_note(rows, self._video_rows, total, derived))
            self._vector_total, self._derived = total, derived

    def _settled(self, index: VectorIndex, most: int) -> bool:
        """Return whether more rows are read from the video than before, from at most ``most`` frames."""
        assert self._pictures is not None
        kind, after = self._pictures.kind, self._video_rows - 1
        frames = self.catalog.frames_after(kind, after, most)
        settled = index.settle(frames, self._vector_rows) if len(frames) <= most else 0
        if settled <= self._video_rows:
            return False
        self.catalog.set_state("video_rows", str(settled).encode())
        self._video_rows = settled
        return True

    def _extend_vectors(self, change: Change) -> None:
        if not change.vectors:
            return
        if not change.staged:
            self.stage_vectors(change.first_row, change.commit.rows, change.vectors)
        self.catalog.set_state("dimension", str(change.vectors[0][1].shape[1]).encode())
        self.catalog.set_state("vector_rows", str(change.commit.rows).encode())
        before, self._vector_rows = self._vector_rows, change.commit.rows
        if self._vectors is not None:
            self._settle(self._vectors, before)

    def vectors(self, *, again: bool = False) -> VectorIndex | None:
        """Return the vector index with the rows that the catalog counts, or None if there are no vectors.

        Args:
            again: Whether to read the catalog again.
        """
        if again or self._vectors is None:
            dimension = self.dimension
            if dimension is None:
                return None
            index = self._vectors or self._open_vectors(dimension)
            self._sync(index)
        return self._vectors

    def _sync(self, index: VectorIndex) -> None:
        """Load the rows that the catalog counts."""
        for _ in range(_TRIES):
            counts = self._counts()
            try:
                return index.sync(*counts)
            except IndexStaleError:
                if self._counts() == counts:
                    raise
        index.sync(*counts)

    def _assert_open(self) -> None:
        if self._closed:
            raise ClosedError("this index is closed; open the memory again")

    def _open_vectors(self, dimension: int) -> VectorIndex:
        self._assert_open()
        folder = None if self.folder is None else self.folder / ("vectors" if self._metric == "cosine" else "raw")
        self._vectors = VectorIndex(
            dimension,
            folder=folder,
            dtype=self._dtype,
            strategy=self._strategy,
            metric=self._metric,
            pictures=self._pictures,
        )
        return self._vectors

    def frame_table(self, kind: int) -> FrameTable:
        """Return the table that maps rows to frames of a kind."""
        table = self._placements.get(kind)
        return table or self._placements.setdefault(kind, FrameTable(self.catalog, kind))

    def mask(self, where: Mapping[str, Any], rows: int) -> NDArray[np.bool_]:
        """Return which of the first ``rows`` rows match a filter, live or not: bool, (rows,).

        Raises:
            FilterError: The filter is invalid.
        """
        return self.columns.mask(where, rows)

    def nbytes(self) -> int:
        """Return the size of the files, in bytes."""
        return 0 if self.folder is None else bytes_in(self.folder)

    def sync(self, *, lists: bool = True) -> None:
        """Make the vectors durable, and record that the index can be trusted after a power cut.

        Args:
            lists: Whether to make the lists of an inverted file, too, which takes long.
        """
        cursor, vectors = self.cursor, self._vectors  # another thread may close the index meanwhile
        unsynced = cursor is not None and cursor != self.catalog.state("synced")
        if vectors is not None and (unsynced or vectors.strategy == "ivf" or vectors.unsaved):
            with self.transaction():
                vectors.sync(self._vector_rows, self._video_rows, self._vector_total, self._derived)
                self._settle(vectors, self._vector_rows)
            vectors.flush(lists=lists)
            if vectors.derived(self._vector_rows) != self._derived:  # codes are kept from now on
                with self.transaction():
                    self._settle(vectors, self._vector_rows)
        if unsynced:
            with self.transaction():
                self.catalog.set_state("synced", cursor)

    @property
    def _has_unsaved_codes(self) -> bool:
        vectors = self._vectors  # another thread may close the index meanwhile
        return vectors is not None and vectors.unsaved

    @property
    def unsaved(self) -> bool:
        """Whether a search has made columns of metadata or codes of vectors that are worth a lock to save."""
        return self.columns.unsaved or self._has_unsaved_codes

    def save_columns(self) -> None:
        """Save what :attr:`unsaved` says; only the owner of the index may call it."""
        if self.columns.unsaved:
            self.columns.save()
        if self._has_unsaved_codes:
            self.sync(lists=False)

    def save_lists(self) -> None:
        """Save the lists and the codes of vectors that searches have made."""
        vectors = self._vectors
        if vectors is not None and (vectors.strategy == "ivf" or vectors.unsaved):
            self.sync()

    def survived(self) -> bool:
        """Return whether the vectors can be trusted: they were synced, or the system has run since they were written.

        After a power cut, SQLite's own files are consistent, but the vectors may be older than the catalog.
        """
        synced, boot = self.catalog.state("synced"), self.catalog.state("boot")
        return self.cursor == synced or (boot is not None and boot == boot_id())

    def close(self) -> None:
        """Close the index; the files stay."""
        self._closed = True
        self.catalog.close()
        self.words.close()
        if self._vectors is not None:
            self._vectors.close()
        self._vectors = None

    def discard(self) -> None:
        """Close the index and delete its files."""
        self.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def sweep(root: Path, keep: str) -> None:
        """Delete the indexes of earlier epochs of one memory; those of other memories stay.

        Args:
            root: The index folder.
            keep: The name of the current index of the memory.
        """
        memory, _, _ = keep.rpartition("-")
        for path in named(root, f"{memory}-"):
            if path.name != keep and path.is_dir() and (path / "catalog.sqlite").exists():
                shutil.rmtree(path, ignore_errors=True)
