"""The writing methods of a memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from memvid_core.engine import compaction, inspection
from memvid_core.engine.film import Picture
from memvid_core.engine.validation import check_timeout
from memvid_core.engine.writing import GivenVectors, Metadata
from memvid_core.errors import Action, Hint, InvalidInputError
from memvid_core.memory.reading import MemoryReading

__all__ = ["MemoryWriting"]


class MemoryWriting(MemoryReading):
    """The writing methods of :class:`memvid_core.Memory`. Each change is one commit, durable when the call returns."""

    def add(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
        *,
        delete: Iterable[str] | str = (),
        pictures: Iterable[Picture | None] | Picture | None = None,
    ) -> list[str]:
        """Add records as one commit, durable on return. Existing ids are replaced; of equal ids the last wins.

        Args:
            texts: The texts; one ``str`` is one record.
            metadata: One dict per text, with values None, bool, int, float, str, and lists and dicts of them.
            ids: One id per text; None creates new ids.
            vectors: (n, d) numbers, or one vector or None per text (None: found by words and filters only). By default
                the embedder creates them.
            delete: Ids of records to delete in the same commit; an id that is also added is replaced.
            pictures: One image or None per text, the path or the bytes of its file, which the video shows for three
                seconds where the record is. It is a small preview; the image itself is not stored. For memories that
                were created with ``film=True``.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: If lengths differ, or a value cannot be stored; the message names it. Nothing is written.
            EmbeddingError: If the embedder failed. Nothing is written.
            StorageError: If the file cannot be written, such as on a full disk. The memory is unchanged.
        """
        self._session.check_writable()
        return self._session.write(self._session.writer.prepare(texts, metadata, ids, vectors, delete, pictures))

    def update(self, record_id: str, *, text: str | None = None, metadata: Metadata | None = None) -> None:
        """Replace a record's text, its metadata, or both. A new text is embedded.

        Args:
            record_id: The id of the record to update.
            text: The new text, embedded before the lock is taken; None keeps the text.
            metadata: The new metadata, which replaces all old metadata; None keeps it.

        Raises:
            RecordNotFoundError: If no live record has that id.
        """
        self._session.check_writable()
        self._session.write(self._session.writer.prepare_update(record_id, text, metadata))

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[Self]:
        """Hold the write lock over several calls, so that reads inside the block stay valid until it ends.

        Other processes and threads continue to read; their commits wait.

        Args:
            timeout: The maximum time to wait for the lock, in seconds; by default the memory's timeout.

        Raises:
            LockedError: If others held the lock all that time; the message names the process.

        Example:
            >>> from memvid_core import Memory
            >>> with Memory.create(":memory:") as memory, memory.exclusive():
            ...     if "a" not in memory:
            ...         ids = memory.add("the first", ids="a")
            ...     len(memory)
            1
        """
        session = self._session
        session.check_writable()
        with session.indexed.writing(None if timeout is None else check_timeout(timeout)):
            yield self

    def delete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete records by ids, by a filter, or by both; unknown ids are ignored.

        Their bytes stay in the file until :meth:`compact`.

        Returns:
            The number of deleted records.

        Raises:
            InvalidInputError: If neither ids nor a filter are given, or only an empty filter, which would match all.
            FilterError: If the filter is invalid.
        """
        self._session.check_writable()
        if ids is None and not where:
            raise InvalidInputError("no ids and no filter: nothing to delete", hint=Hint(Action.NAME_RECORDS))
        return self._session.writer.delete(lambda snapshot: snapshot.selected(ids, where))

    def clear(self) -> int:
        """Delete every record; return the number of deleted records."""
        self._session.check_writable()
        return self._session.writer.delete(lambda snapshot: np.flatnonzero(snapshot.live).tolist())

    def refit(self, *, drop_damaged: bool = False) -> int:
        """Fit the embedder to all records and embed them again, as one commit.

        Args:
            drop_damaged: Continue with the readable records if the file is damaged.

        Returns:
            The number of embedded records.

        Raises:
            InvalidInputError: If the embedder cannot be fitted.
            MemoryFileError: If this memory is damaged and ``drop_damaged`` is not set.
        """
        self._session.check_writable()
        return self._session.writer.refit(drop_damaged=drop_damaged)

    def save(self, path: str | os.PathLike[str], *, drop_damaged: bool = False) -> None:
        """Write the live records with their vectors to a new memory, replacing a file at ``path``.

        Args:
            path: The file to write.
            drop_damaged: Continue with the readable records if this memory is damaged.

        Raises:
            InvalidInputError: If ``path`` is this memory's own file.
            MemoryFileError: If this memory is damaged and ``drop_damaged`` is not set.
            LockedError: If another process writes to a memory at ``path``.
            StorageError: If the file cannot be written. A file at ``path`` is unchanged.
        """
        session = self._session
        session.writer.mended(
            lambda: inspection.save(session.indexed, session.snapshot(), path, drop_damaged=drop_damaged)
        )

    def compact(self, *, keep_history: bool = False, drop_damaged: bool = False) -> int:
        """Rewrite the file without deleted records, and return the number of bytes saved.

        Other processes read and write meanwhile, and wait only while their last commits are copied. If the process is
        killed, the file is completely the old one or the new one.

        Args:
            keep_history: Keep every commit. By default small commits are merged, and earlier commits can no longer be
                opened with ``as_of``.
            drop_damaged: Continue with the readable records if the file is damaged.

        Raises:
            MemoryFileError: If the file is damaged and ``drop_damaged`` is not set.
            LockedError: If others were writing for longer than the memory's timeout.
            StorageError: If the disk has no space for the new file next to the old one. The old one is unchanged.
        """
        self._session.check_writable()
        indexed = self._session.indexed
        return self._session.writer.mended(
            lambda: compaction.compact(indexed, keep_history=keep_history, drop_damaged=drop_damaged)
        )
