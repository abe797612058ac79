"""IndexPlace: the location of a memory's indexes: one folder per epoch, or RAM if the folder cannot be written."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final, cast

import msgspec

from memvid_core.engine.index_folder import IndexFolder
from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.journal import Cursor, FrameLocation, Header, Journal, Known
from memvid_core.journal.video_vectors import VectorPictures
from memvid_core.model import Index, Metric
from memvid_core.system.atomic_files import compaction_path
from memvid_core.system.folders import named, remove_folder
from memvid_core.system.permissions import OWNER_WRITES, is_trusted, pass_mode_on
from memvid_core.system.sqlite_wal import is_busy
from memvid_core.system.telemetry import log, name_of
from memvid_core.vectors.matrix import StoredDtype

__all__ = ["INDEX_ERRORS", "IN_USE", "IndexPlace", "check_idle", "index_errors", "known_in", "why_unusable"]

INDEX_ERRORS: Final = (sqlite3.Error, IndexStaleError, msgspec.DecodeError)
"""The exceptions of a damaged index, which is rebuilt from the file."""

IN_USE: Final = "other processes were changing the one in its folder; open the memory again"
"""Why an index is in RAM that should be in its folder."""


class index_errors:  # a context manager, like storage_errors
    """Convert an error of the index that rebuilding it did not end to a StorageError, which says what to do."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, INDEX_ERRORS):
            raise StorageError(
                f"the index failed, and again after it was rebuilt ({exc}). The memory is not damaged: try again, "
                "or close it, delete its index folder, and open it"
            ) from exc


class IndexPlace:
    """Open, create and delete the indexes of one memory.

    An index may read vectors from the file of the journal that it was opened for; this file must stay open as long as
    the index.

    Args:
        root: The index folder; None keeps every index in RAM.
        strategy: The kind of vector index.
        like: The memory's file; an index gets its permissions.
        why_in_ram: Why a memory in a file has no index folder.
    """

    def __init__(self, root: Path | None, strategy: Index, like: Path | None, why_in_ram: str = "") -> None:
        self._root = root
        self.why_in_ram = why_in_ram
        """Why the last index that was opened in RAM is not in the folder; empty for a memory that is in RAM itself."""
        self.strategy: Index = strategy
        """The kind of vector index."""
        self._like = like

    @property
    def root(self) -> Path | None:
        """The index folder; None if every index is in RAM."""
        return self._root

    def open(self, journal: Journal) -> IndexFolder:
        """Open the index of an epoch, or create an empty one, in RAM if the folder cannot be written.

        Raises:
            Exception: One of :data:`INDEX_ERRORS`: the index in the folder is damaged.
        """
        if self._root is None:
            return self.in_ram(journal)
        try:
            return self._made(self._root, journal)
        except OSError as exc:
            log(logging.WARNING, "index", "the index is built in RAM, since its folder cannot be used: %s", exc)
            return self.in_ram(journal, f"its folder cannot be used: {exc}")

    def in_ram(self, journal: Journal, why: str = "") -> IndexFolder:
        """Create an empty index in RAM, and note why, unless every index is there."""
        if self._root is not None:
            self.why_in_ram = why
        return self._made(None, journal)

    def building(self, journal: Journal, key: str) -> IndexFolder:
        """Create an empty index in a folder of its own, for a file that no other process knows yet.

        Args:
            journal: The journal of that file.
            key: The name of the compaction; its folder is kept as long as its file exists.
        """
        if self._root is None:
            return self.in_ram(journal)
        try:
            return self._made(self._root, journal, f"{_memory(journal.header)}.{key}")
        except (OSError, *INDEX_ERRORS) as exc:
            return self.in_ram(journal, f"its folder could not be made while the memory was compacted: {exc}")

    def settle(self, index: IndexFolder, journal: Journal) -> IndexFolder:
        """Rename the folder of a finished index to the name that others look for; the lock on the file is held.

        An existing folder of that name was left by a process that was killed before it swapped its file.
        """
        if index.folder is None:
            return index
        root, folder = index.folder.parent, index.folder.with_name(_name(journal.header))
        index.close()
        remove_folder(folder)
        try:
            os.rename(index.folder, folder)
            return self._made(root, journal)
        except (OSError, *INDEX_ERRORS) as exc:  # it is rebuilt when it is needed
            shutil.rmtree(index.folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            return self.in_ram(journal, f"its folder could not be renamed after the memory was compacted: {exc}")

    def _made(self, root: Path | None, journal: Journal, name: str | None = None) -> IndexFolder:
        """Open or create an index, which reads its vectors from the file if both store them in the same way."""
        header = journal.header
        metric = cast(Metric, header.metric)
        # int8 vectors with a scale may exceed the range of float16, unless their length is 1.
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
            holds=partial(_has_rows, journal),
        )

    def open_anew(self, journal: Journal) -> IndexFolder:
        """Replace an index that cannot be opened by an empty one; the lock on the file is held."""
        try:
            return self.open(journal)  # another process has replaced it meanwhile
        except INDEX_ERRORS as exc:
            check_idle(exc)
        if self._root is not None:
            remove_folder(self._root / _name(journal.header))
        try:
            return self.open(journal)
        except INDEX_ERRORS as exc:
            return self.in_ram(journal, f"the one in its folder is damaged, and cannot be replaced: {exc}")

    def stay_in_ram(self, why: str) -> bool:
        """Keep every further index in RAM, because the folder cannot be written; return whether that is a change."""
        if self._root is None:
            return False
        self._root, self.why_in_ram = None, why
        return True

    def sweep(self, header: Header) -> None:
        """Delete the indexes of other epochs and of killed compactions; the lock on the file is held."""
        if self._root is None:
            return
        IndexFolder.sweep(self._root, _name(header))
        for path in named(self._root, f"{_memory(header)}."):
            # It was created after the file of its compaction, and is deleted before it.
            if self._like is not None and not compaction_path(self._like, path.suffix[1:]).exists():
                shutil.rmtree(path, ignore_errors=True)


def why_unusable(root: Path, like: Path) -> str:
    """Return why an index folder is not used: it cannot be written, or was made by who may not write the memory's file.

    Args:
        root: The index folder, which is created.
        like: The memory's file.

    Returns:
        The reason, with what to do; empty if the folder is used.
    """
    try:
        if not root.is_dir():
            root.mkdir(parents=True, exist_ok=True)
            if root.name == f"{like.name}.index" and os.name != "nt":  # of this memory alone
                pass_mode_on(like, root, most=0o666, least=OWNER_WRITES)
        trusted = is_trusted(root, like)
    except OSError as exc:
        return f"its folder {name_of(root)} cannot be made ({exc.strerror or exc}); give another index_dir"
    if not trusted:
        log(
            logging.WARNING,
            "index",
            "the index folder %s belongs to a user who may not write %s: it is not used, and the index is built in "
            "RAM; remove the folder, or give another index_dir",
            name_of(root),
            name_of(like),
        )
        return (
            f"its folder {name_of(root)} belongs to a user who may not write the memory; remove the folder, or give "
            "another index_dir"
        )
    if not os.access(root, os.W_OK):
        return f"its folder {name_of(root)} cannot be written; give another index_dir"
    return ""


def _has_rows(journal: Journal, noted: bytes, rows: int) -> bool:
    """Return whether a journal has the commit of an encoded cursor, and up to it at least some rows."""
    try:
        cursor = msgspec.msgpack.decode(noted, type=Cursor)
    except msgspec.DecodeError:
        return False
    return cursor.row >= rows and journal.again().holds(cursor)  # what the journal itself knows stays


def known_in(index: IndexFolder, commit: int, rows: int) -> Known:
    """Return what an index knows of the journal up to a commit; of a damaged index, the readable part.

    Args:
        index: The index.
        commit: The number of the last commit.
        rows: The number of rows up to that commit.
    """

    def load() -> tuple[list[FrameLocation], list[tuple[int, int]]]:
        try:
            return index.catalog.known()
        except INDEX_ERRORS:
            return [], []

    return Known(commit, rows, load)


def check_idle(exc: Exception) -> None:
    """Check that an index is damaged, and not only busy, before it is deleted.

    Raises:
        StorageError: Another process is writing it.
    """
    if is_busy(exc):
        raise StorageError("another process has been writing the index for a minute; try again") from exc


def _name(header: Header) -> str:
    return f"{_memory(header)}-{header.epoch}"


def _memory(header: Header) -> str:
    return header.memory_id.hex()[:16]
