"""WordsPart: the lexical index of an index folder, which may lag behind the catalog, and belongs to one journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from memvid_core.errors import ClosedError, IndexStaleError, StorageError
from memvid_core.words.lexical_index import LexicalIndex

__all__ = ["Holds", "WordsPart"]

Holds = Callable[[bytes, int], bool]
"""Tells whether the journal has the commit of an encoded cursor, and up to it at least some rows."""

_KEPT_ROWS: Final = 1024  # larger commits are left to the next lexical search, which indexes them faster


class WordsPart:
    """The lexical index of one epoch of a memory. It has a file of its own, which is written after the catalog.

    So the file may stay when the catalog is deleted, or be another copy's, or a later one's that was restored. It
    records the cursor of a commit that has all of its rows: the file is used if the journal has that commit.

    Args:
        folder: The folder of the index; None keeps it in RAM.
        cursor: Returns the encoded cursor of the last commit in the catalog.
        holds: Tells whether the journal has the commit of a cursor.
    """

    def __init__(self, folder: Path | None, cursor: Callable[[], bytes | None], holds: Holds) -> None:
        self._folder, self._cursor, self._holds = folder, cursor, holds
        self._path = os.path.join(folder or "", "lexical")  # as str, because each commit uses it
        self._index: LexicalIndex | None = None
        self._closed = False

    def index(self) -> LexicalIndex:
        """Return the lexical index; the caller adds the rows that it lacks."""
        if self._index is None:
            self._check_open()
            # In RAM if a compaction has deleted the folder, which must not be created again.
            folder = None if self._folder is None or not self._folder.is_dir() else self._folder / "lexical"
            try:
                self._index = LexicalIndex(folder, trusted=self._holds)
            except StorageError:  # the disk is full
                self._index = LexicalIndex(None)
        return self._index

    def extend(self, index: LexicalIndex, first_row: int, texts: Sequence[str]) -> None:
        """Add the texts of the next rows, all of which the catalog has, to the lexical index."""
        index.extend(first_row, texts, self._cursor() or b"")

    def keep(self, first_row: int, texts: Sequence[str]) -> None:
        """Add the texts of a small commit to the lexical index, if it is in use and has all rows before them.

        Otherwise, or if the lexical index is damaged, the next lexical search adds them.
        """
        if not texts or len(texts) > _KEPT_ROWS or self._closed:
            return
        if self._index is None and (self._folder is None or not LexicalIndex.in_use(self._path)):
            return
        with suppress(StorageError, IndexStaleError):
            index = self.index()
            if index.rows != first_row:
                index.sync()
            if index.rows == first_row:
                self.extend(index, first_row, texts)

    @property
    def in_use(self) -> bool:
        """Whether there was a lexical search, so that the lexical index is kept up to date."""
        return self._index is not None or (self._folder is not None and LexicalIndex.in_use(self._path))

    def take(self, first_row: int, texts: Sequence[str]) -> None:
        """Add the texts of the next rows to the lexical index, if it has all rows before them."""
        with suppress(StorageError, IndexStaleError):
            index = self.index()
            if index.rows >= first_row:
                self.extend(index, first_row, texts)

    def copy(self, source: WordsPart) -> bool:
        """Copy the lexical index of an index with the same rows; return whether that worked.

        It may have rows of later commits, too, which this index lacks: take them before it is opened by others.
        """
        if self._folder is None or self._index is not None:
            return False
        folder = self._folder / "lexical"
        try:
            if not source.index().copy(folder, self._cursor() or b""):  # it was opened, so it is of its journal
                return False
            self._index = LexicalIndex(folder)
        except (ClosedError, StorageError):
            return False
        return True

    def in_ram(self) -> LexicalIndex:
        """Replace the lexical index by an empty one in RAM, because the disk is full, and return it."""
        self._check_open()
        if self._index is not None:
            self._index.close()
        self._index = LexicalIndex(None)
        return self._index

    def close(self) -> None:
        """Close the index; the file stays."""
        self._closed = True
        if self._index is not None:
            self._index.close()
        self._index = None

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this index is closed; open the memory again")
