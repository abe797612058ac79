"""IndexFolder: everything derived from one journal, in one place that can be thrown away."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import ClosedError, StorageError
from memvid_core.index.catalog.catalog import Catalog, CommitContents, CommitRow, RecordRow
from memvid_core.index.catalog.frame_table import FrameTable
from memvid_core.index.filters.columns import MetadataColumns
from memvid_core.index.stale import IndexStaleError
from memvid_core.index.vectors.matrix import StoredDtype
from memvid_core.index.vectors.vector_index import VectorIndex
from memvid_core.index.vectors.video_rows import Pictures
from memvid_core.index.words.lexical_index import LexicalIndex
from memvid_core.model import FrameLocation, IndexName, Metric

__all__ = ["Change", "IndexFolder"]

Vectors = Sequence[tuple[NDArray[np.int64], NDArray[Any]]]
"""Row numbers and the matrix of their vectors."""


_KEPT_ROWS: Final = 1024  # a larger commit is left to the next search by words, which takes it in faster
_TRIES = 5  # while a writer goes on with other files between two looks


class Change(NamedTuple):
    """One commit, as the indexes take it in.

    ``first_row`` is the number of rows before it; ``staged`` says that its vectors are in place already.
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
        """Return what the catalog takes in of it."""
        return CommitContents(self.commit, self.first_row, list(self.records), self.frames, self.tombstones)


class IndexFolder:
    """Catalog, vector index and lexical index of one memory in one of its epochs.

    Args:
        root: The index folder of the memory; None keeps all in RAM. What lies in it belongs to ``name``, a folder for
            each memory and epoch, so that a compaction never changes what a reader has open.
        name: Tells this memory and epoch from others.
        dtype: How rows of vectors are kept: ``"float16"`` or ``"float32"``.
        strategy: How they are searched; each keeps up what the others need.
        metric: How they are compared.
        like: The memory's file: whoever may not read it may not read what is derived from it.
        pictures: The video that vectors are stored in, if single ones can be read there: a large index then keeps no
            copy of them. It stays open for as long as this index.
    """

    def __init__(
        self,
        root: Path | None,
        name: str,
        *,
        dtype: StoredDtype = "float16",
        strategy: IndexName = "auto",
        metric: Metric = "cosine",
        like: Path | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self.folder = None if root is None else root / name
        # As str, because each commit looks at them.
        self._catalog_path = os.path.join(self.folder or "", "catalog.sqlite")
        self._lexical_path = os.path.join(self.folder or "", "lexical")
        self._like = like
        self._dtype: StoredDtype = dtype
        self._strategy: IndexName = strategy
        self._metric: Metric = metric
        if self.folder is not None:
            self._make_folder(self.folder)
        self.catalog = Catalog(None if self.folder is None else self.folder / "catalog.sqlite")
        self.columns = MetadataColumns(rows_of=self.catalog.rows_of)
        self._identity = self._on_disk()
        self._placements: dict[int, FrameTable] = {}
        self._vectors: VectorIndex | None = None
        self._pictures = pictures
        self._settle_from = 0  # rows from which on it is worth a try to read more of them from the video
        self._vector_rows = self._video_rows = 0  # that the catalog counts, as read in the transaction that is open
        self._lexical: LexicalIndex | None = None
        self._closed = False

    def _make_folder(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(0o700 if self._mode() is not None else 0o777)
            self.protect()

    def _mode(self) -> int | None:
        """The permissions of the memory's file, where the system has such."""
        if self._like is None or os.name == "nt":
            return None
        try:
            return stat.S_IMODE(os.stat(self._like).st_mode) & 0o666
        except OSError:
            return None

    def protect(self) -> None:
        """Give the folder and its files the permissions and the owner of the memory's file."""
        mode = self._mode()
        if mode is None or self.folder is None or self._like is None:
            return
        owner = os.stat(self._like)
        for path in (self.folder, *self.folder.rglob("*")):
            with suppress(OSError):  # a file of another user is that user's to protect
                there = path.stat()
                wanted = mode | (mode & 0o444) >> 2 if stat.S_ISDIR(there.st_mode) else mode
                if stat.S_IMODE(there.st_mode) != wanted:
                    path.chmod(wanted)
                if (there.st_uid, there.st_gid) != (owner.st_uid, owner.st_gid):
                    os.chown(path, owner.st_uid, owner.st_gid)

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            there = None if self.folder is None else os.stat(self._catalog_path)
        except FileNotFoundError:
            return None
        return None if there is None else (there.st_dev, there.st_ino)

    def replaced(self) -> bool:
        """Return whether somebody deleted the folder, or made the index anew, since this one was opened."""
        return self._on_disk() != self._identity

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One process at a time changes the index; the catalog's cursor says how far all of it reaches."""
        with self.catalog.transaction() as connection:
            self._vector_rows, self._video_rows = self._counts()
            yield connection

    def _counts(self) -> tuple[int, int]:
        """Return how many rows of vectors there are, and how many of them are read from the video."""
        rows, in_video = self.catalog.states("vector_rows", "video_rows")
        return int(rows or 0), int(in_video or 0)

    @property
    def cursor(self) -> bytes | None:
        """How far the index reaches, as the caller noted it with its last change."""
        return self.catalog.state("cursor")

    @property
    def partial(self) -> bool:
        """Whether more commits are being taken in, so that it lacks some that were acknowledged."""
        return self.catalog.state("partial") is not None

    def mark_partial(self, partial: bool) -> None:
        """Note whether more is to come; call it inside a transaction."""
        self.catalog.set_state("partial", b"1" if partial else None)

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, once there are any."""
        if self._vectors is not None:
            return self._vectors.dimension
        found = self.catalog.state("dimension")
        return None if found is None else int(found)

    def apply(self, change: Change) -> None:
        """Take one commit in; call it inside a transaction. Repeating it after a crash does no harm."""
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
        """Take small commits in that follow each other, none of which has a model, as :meth:`apply` does one by one."""
        self.catalog.add_run([change.contents() for change in run])
        dense = [change for change in run if change.vectors]
        if dense:
            rows, matrices = zip(*(part for change in dense for part in change.vectors), strict=True)
            vectors = [(np.concatenate(rows), np.concatenate(matrices))]
            self._extend_vectors(dense[-1]._replace(first_row=run[0].first_row, vectors=vectors))
        self.note(run[-1].cursor)

    def note(self, cursor: bytes) -> None:
        """Note how far the index reaches; call it inside a transaction."""
        self.catalog.set_state("cursor", cursor)
        self.catalog.set_state("boot", boot_id())

    def stage_vectors(self, first_row: int, stop: int, vectors: Vectors) -> None:
        """Put the vectors of rows [``first_row``, ``stop``) in place; nobody sees them before :meth:`apply` says so.

        Call it inside a transaction. Rows that the catalog does not count, of a write that never finished, are
        overwritten.

        Raises:
            IndexStaleError: The catalog counts rows that are to be written.
        """
        start = self._vector_rows
        if start > first_row:
            raise IndexStaleError(f"vectors of row {first_row} are in the index, which counts {start}; rebuild it")
        dimension = vectors[0][1].shape[1]
        index = self._vectors or self._open_vectors(dimension)
        index.sync(start, self._video_rows)
        if start == first_row and len(vectors) == 1 and len(vectors[0][0]) == stop - start:
            index.extend(start, vectors[0][1])
        else:  # rows without a vector are zero, and masked out of every search
            matrix = np.zeros((stop - start, dimension), np.float32)
            for rows, part in vectors:
                matrix[rows - start] = part
            index.extend(start, matrix)

    def _settle(self, index: VectorIndex) -> None:
        """Have rows read from the video that are stored there by now; call it inside a transaction."""
        rows = self._vector_rows
        most = index.due(rows) if self._pictures is not None and rows >= self._settle_from else 0
        if most and self._settled(index, most):
            return
        index.keep()
        if most:
            self._settle_from = rows + rows // 8  # in vain: not again with every commit

    def _settled(self, index: VectorIndex, most: int) -> bool:
        """Whether more rows are read from the video now than before; ``most`` frames may hold them."""
        assert self._pictures is not None
        kind, after = self._pictures.kind, self._video_rows - 1
        frames = self.catalog.frames_after(kind, after)
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
        self._vector_rows = change.commit.rows
        if self._vectors is not None:
            self._settle(self._vectors)

    def vectors(self, *, again: bool = False) -> VectorIndex | None:
        """The vector index as far as the catalog says it reaches, or None while there are no vectors.

        Args:
            again: Ask the catalog again; without it, what it said last is still good.
        """
        if again or self._vectors is None:
            dimension = self.dimension
            if dimension is None:
                return None
            index = self._vectors or self._open_vectors(dimension)
            self._sync(index)
        return self._vectors

    def _sync(self, index: VectorIndex) -> None:
        """Bring the vectors to what the catalog counts."""
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
        """Where the rows of frames of a kind lie."""
        table = self._placements.get(kind)
        return table or self._placements.setdefault(kind, FrameTable(self.catalog, kind))

    def mask(self, where: Mapping[str, Any], rows: int) -> NDArray[np.bool_]:
        """Which of the first ``rows`` rows match a filter, live or not.

        Raises:
            FilterError: The filter is wrong.
        """
        self.catalog.verify_metadata(rows)
        with self.catalog.reading() as connection:
            found = self.columns.mask(connection, where, committed=rows)
        mask = np.zeros(rows, np.bool_)
        mask[: min(rows, len(found))] = found[:rows]
        return mask

    def lexical(self) -> LexicalIndex:
        """The lexical index, which the caller feeds up to where it wants to search."""
        if self._lexical is None:
            self._assert_open()
            # In RAM for who still looks at what a compaction swept: the folder must not come back.
            folder = None if self.folder is None or not self.folder.is_dir() else self.folder / "lexical"
            try:
                self._lexical = LexicalIndex(folder)
            except StorageError:  # there is no room for it
                self._lexical = LexicalIndex(None)
        return self._lexical

    def keep_words(self, first_row: int, texts: Sequence[str]) -> None:
        """Take the words of a small commit in, if the lexical index is in use and level; whoever commits calls it.

        What it lacks otherwise, and what is damaged, is made up for by the next search by words.
        """
        if not texts or len(texts) > _KEPT_ROWS or self._closed:
            return
        if self._lexical is None and (self.folder is None or not LexicalIndex.in_use(self._lexical_path)):
            return
        with suppress(StorageError, IndexStaleError):
            index = self.lexical()
            if index.rows != first_row:
                index.sync()
            if index.rows == first_row:
                index.extend(first_row, texts)

    @property
    def words_in_use(self) -> bool:
        """Whether anybody has searched by words, so that it pays to have them at hand."""
        if self._lexical is not None:
            return True
        return self.folder is not None and LexicalIndex.in_use(self.folder / "lexical")

    def extend_words(self, first_row: int, texts: Sequence[str]) -> None:
        """Take the words of the next rows in, if all before them are there; the next search takes in what is not."""
        with suppress(StorageError, IndexStaleError):
            index = self.lexical()
            if index.rows >= first_row:
                index.extend(first_row, texts)

    def copy_words(self, source: IndexFolder) -> bool:
        """Begin with the words of an index whose rows are the same; return whether that worked."""
        if self.folder is None or source.folder is None or self._lexical is not None:
            return False
        return LexicalIndex.copy(source.folder / "lexical", self.folder / "lexical")

    def lexical_in_ram(self) -> LexicalIndex:
        """An empty lexical index in place of the one in the folder, which cannot grow any more."""
        self._assert_open()
        if self._lexical is not None:
            self._lexical.close()
        self._lexical = LexicalIndex(None)
        return self._lexical

    def nbytes(self) -> int:
        """Bytes on disk."""
        if self.folder is None:
            return 0
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def sync(self) -> None:
        """Force the vectors to the disk, and note how far what is there can be trusted after a power cut."""
        cursor = self.cursor
        unsynced = cursor is not None and cursor != self.catalog.state("synced")
        if self._vectors is not None and (unsynced or self._strategy == "ivf"):  # lists are made by searching, too
            with self.transaction():
                self._vectors.sync(self._vector_rows, self._video_rows)
                self._settle(self._vectors)
            self._vectors.flush()
        if unsynced:
            with self.transaction():
                self.catalog.set_state("synced", cursor)

    def survived(self) -> bool:
        """Whether the vectors' file can be trusted: it was synced last, or the system has run ever since.

        SQLite keeps its own order through a power cut; nothing keeps the order between it and the vectors' file.
        """
        synced, boot = self.catalog.state("synced"), self.catalog.state("boot")
        return self.cursor == synced or (boot is not None and boot == boot_id())

    def close(self) -> None:
        """Close everything; the files stay."""
        self._closed = True
        self.catalog.close()
        for index in (self._vectors, self._lexical):
            if index is not None:
                index.close()
        self._vectors = self._lexical = None

    def discard(self) -> None:
        """Close everything and delete the files."""
        self.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def sweep(root: Path, keep: str) -> None:
        """Delete what earlier epochs of the memory of ``keep`` left in ``root``, where others may lie, too.

        What another process holds open stays for later.
        """
        memory, _, _ = keep.rpartition("-")
        if root.is_dir():
            for path in root.glob(f"{memory}-*"):
                if path.name != keep and path.is_dir() and (path / "catalog.sqlite").exists():
                    shutil.rmtree(path, ignore_errors=True)

    @staticmethod
    def usable(root: Path) -> bool:
        """Whether an index can be kept in ``root``."""
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(root, os.W_OK)


@cache
def boot_id() -> bytes | None:
    """What tells one run of the system from another; None where nothing does, and then only a sync is trusted."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return None
