"""IndexPlace: where a memory keeps its indexes, one folder an epoch, or RAM where no folder can be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final, cast

import msgspec

from memvid_core.engine.index_folder import IndexFolder
from memvid_core.errors import StorageError
from memvid_core.index.stale import IndexStaleError
from memvid_core.index.vectors.matrix import StoredDtype
from memvid_core.index.wal import is_busy
from memvid_core.journal import FrameLocation, Header, Journal, Known
from memvid_core.journal.video_vectors import VectorPictures
from memvid_core.model import IndexName, Metric
from memvid_core.system.atomic_files import compacting

__all__ = ["INDEX_ERRORS", "IndexPlace", "check_idle", "known_in"]

INDEX_ERRORS: Final = (sqlite3.Error, IndexStaleError, msgspec.DecodeError)
"""What a damaged index raises: it is made anew from the file."""


class IndexPlace:
    """Opens, deletes and tidies the indexes of one memory.

    An index may read vectors from the file of the journal that it was opened for, which stays open for as long.

    Args:
        root: The index folder; None keeps every index in RAM.
        strategy: How vectors are searched.
        like: The memory's file, whose permissions an index gets.
    """

    def __init__(self, root: Path | None, strategy: IndexName, like: Path | None) -> None:
        self._root = root
        self.strategy: IndexName = strategy
        """How vectors are searched."""
        self._like = like

    @property
    def root(self) -> Path | None:
        """The index folder; None where every index is kept in RAM."""
        return self._root

    def open(self, journal: Journal) -> IndexFolder:
        """Open the index of an epoch, or make an empty one; in RAM where there is no room for it.

        Raises:
            Exception: One of :data:`INDEX_ERRORS`: the one in the folder is damaged.
        """
        if self._root is None:
            return self.in_ram(journal)
        try:
            return self._made(self._root, journal)
        except OSError:
            return self.in_ram(journal)

    def in_ram(self, journal: Journal) -> IndexFolder:
        """Make an empty index in RAM."""
        return self._made(None, journal)

    def building(self, journal: Journal, key: str) -> IndexFolder:
        """Make an empty index in a folder of its own, for a file that nobody else knows yet.

        Args:
            journal: Whose index.
            key: The name of the compaction: while its file is there, nobody deletes the folder.
        """
        if self._root is None:
            return self.in_ram(journal)
        try:
            return self._made(self._root, journal, f"{_memory(journal.header)}.{key}")
        except (OSError, *INDEX_ERRORS):
            return self.in_ram(journal)

    def settle(self, index: IndexFolder, journal: Journal) -> IndexFolder:
        """Give an index that was being built the place where others look for it; the lock on the file is held.

        What is there was left by a process that was killed before its file came into use.
        """
        if index.folder is None:
            return index
        root, folder = index.folder.parent, index.folder.with_name(_name(journal.header))
        index.close()
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rename(index.folder, folder)
            return self._made(root, journal)
        except (OSError, *INDEX_ERRORS):  # it is made once more when it is needed
            shutil.rmtree(index.folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            return self.in_ram(journal)

    def _made(self, root: Path | None, journal: Journal, name: str | None = None) -> IndexFolder:
        """Open or make an index that reads its vectors from the file, where they lie there as the index stores them."""
        header = journal.header
        metric = cast(Metric, header.metric)
        # Bytes with a scale may stand for numbers beyond float16; rows of length 1 never do.
        half = ("float16", "int8") if metric == "cosine" else ("float16",)
        dtype: StoredDtype = "float16" if header.vectors in half else "float32"
        pictures = VectorPictures.of(journal.video) if root is not None and header.vectors == dtype else None
        return IndexFolder(
            root,
            name or _name(header),
            dtype=dtype,
            strategy=self.strategy,
            metric=metric,
            like=self._like,
            pictures=pictures,
        )

    def open_anew(self, journal: Journal) -> IndexFolder:
        """Delete an index that does not open and make an empty one; the lock on the file is held."""
        try:
            return self.open(journal)  # another process has replaced it meanwhile
        except INDEX_ERRORS as exc:
            check_idle(exc)
        if self._root is not None:
            shutil.rmtree(self._root / _name(journal.header), ignore_errors=True)
        try:
            return self.open(journal)
        except INDEX_ERRORS:
            return self.in_ram(journal)

    def stay_in_ram(self) -> bool:
        """Keep every further index in RAM, for want of room or rights; return whether that is a change."""
        changed, self._root = self._root is not None, None
        return changed

    def sweep(self, header: Header) -> None:
        """Delete the indexes of other epochs, and of killed compactions; the lock on the file is held."""
        if self._root is None:
            return
        IndexFolder.sweep(self._root, _name(header))
        for path in self._root.glob(f"{_memory(header)}.*"):  # made after its compaction's file, and gone before it
            if self._like is not None and not compacting(self._like, path.suffix[1:]).exists():
                shutil.rmtree(path, ignore_errors=True)


def known_in(index: IndexFolder, commit: int, rows: int) -> Known:
    """Return what an index says of its journal up to a commit; of a damaged index, what can be read."""

    def load() -> tuple[list[FrameLocation], list[tuple[int, int]]]:
        try:
            return index.catalog.known()
        except INDEX_ERRORS:
            return [], []

    return Known(commit, rows, load)


def check_idle(exc: Exception) -> None:
    """Refuse to take an index that another process is busy with for a damaged one, and delete it.

    Raises:
        StorageError: It is busy.
    """
    if is_busy(exc):
        raise StorageError("another process has been writing the index for a minute; try again") from exc


def _name(header: Header) -> str:
    return f"{_memory(header)}-{header.epoch}"


def _memory(header: Header) -> str:
    return header.memory_id.hex()[:16]
