"""The methods of a memory that write: records, and the file itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from memvid_core.engine import compacting, inspection
from memvid_core.engine.validation import check_timeout
from memvid_core.engine.writing import GivenVectors, Metadata
from memvid_core.errors import Action, Hint, InvalidInputError, storage_errors
from memvid_core.memory.reading import MemoryReading

__all__ = ["MemoryWriting"]


class MemoryWriting(MemoryReading):
    """What :class:`memvid_core.Memory` writes. Each change is one commit, durable when the call returns."""

    def add(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
        *,
        delete: Iterable[str] | str = (),
    ) -> list[str]:
        """Add records as one commit, durable on return. A known id is replaced whole; of equal ids the last one stays.

        Args:
            texts: The texts; one ``str`` is one record.
            metadata: A dict a text: None, bool, int, float, str, lists and dicts of them.
            ids: An id a text; None makes new ones.
            vectors: (n, d) numbers, or a vector or None a text (None: found by words and filters alone). By default the
                embedder makes them.
            delete: Ids of records to delete in the same commit; an id that is also added is replaced.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: Lengths differ, or something cannot be stored; the message says what. Nothing is written.
            EmbeddingError: The embedder failed. Nothing is written.
            StorageError: The system refused, as when the disk is full. Nothing is kept.
        """
        self._session.check_writable()
        return self._session.write(self._session.writer.prepare(texts, metadata, ids, vectors, delete))

    def update(self, record_id: str, *, text: str | None = None, metadata: Metadata | None = None) -> None:
        """Replace a record's text, its metadata, or both; what is not given stays. A new text is embedded.

        Args:
            record_id: The id of the record to update.
            text: The new text; it is embedded before the lock is taken.
            metadata: The new metadata, in place of all the old.

        Raises:
            RecordNotFoundError: No live record has that id.
        """
        self._session.check_writable()
        self._session.write(self._session.writer.prepare_update(record_id, text, metadata))

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[Self]:
        """Hold the right to write over several calls: what is read inside the block stays true until it ends.

        Other processes, and other threads of this one, read on, and wait with their commits.

        Args:
            timeout: How many seconds to wait for others; by default what the memory was opened with.

        Raises:
            LockedError: Others were writing all that time; the message names the process.

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
        """Delete records by id, by filter, or by both at once; ids that are not there are passed over.

        The bytes stay in the file until :meth:`compact`.

        Returns:
            How many were deleted.

        Raises:
            InvalidInputError: Neither ids nor a filter was given, or only a filter that is empty and so means all.
            FilterError: The filter is wrong.
        """
        self._session.check_writable()
        if ids is None and not where:
            raise InvalidInputError("nothing says what to delete", hint=Hint(Action.NAME_RECORDS))
        return self._session.writer.delete(lambda snapshot: snapshot.selected(ids, where))

    def clear(self) -> int:
        """Delete every record; return how many there were."""
        self._session.check_writable()
        return self._session.writer.delete(lambda snapshot: np.flatnonzero(snapshot.live).tolist())

    def refit(self, *, drop_damaged: bool = False) -> int:
        """Let an embedder that learns do so from all there is, and embed every record anew, as one commit.

        Args:
            drop_damaged: Go on although the file is damaged, with what can be read.

        Returns:
            How many records were embedded.

        Raises:
            InvalidInputError: The embedder does not learn.
            MemoryFileError: This memory is damaged, and ``drop_damaged`` is not set.
        """
        self._session.check_writable()
        with self._session.indexed.writing():
            self._session.indexed.check_whole(drop_damaged)
            return self._session.writer.refit()

    def save(self, path: str | os.PathLike[str], *, drop_damaged: bool = False) -> None:
        """Write the live records, with their vectors, into a memory of their own; what is at ``path`` is replaced.

        Args:
            path: The file to write.
            drop_damaged: Go on where this memory is damaged, with what can be read.

        Raises:
            InvalidInputError: ``path`` is this memory's own file.
            MemoryFileError: This memory is damaged, and ``drop_damaged`` is not set.
            LockedError: Somebody is writing to a memory at ``path``.
            StorageError: The system refused. What was at ``path`` stays.
        """
        session = self._session
        with storage_errors():
            inspection.save(session.indexed, session.snapshot(), path, drop_damaged=drop_damaged)

    def compact(self, *, keep_history: bool = False, drop_damaged: bool = False) -> int:
        """Write the file anew without deleted records and swap it in; returns how many bytes that saved.

        Small commits are merged. The past before this call can then no longer be told, unless ``keep_history`` is set,
        which merges nothing. Others read and write meanwhile, and wait only while the last of their commits are taken
        over. If the process dies, the file is the old one or the new one, whole.

        Raises:
            MemoryFileError: The file is damaged, and ``drop_damaged`` does not say to go on with what can be read.
            LockedError: Others were writing for longer than the memory's timeout.
            StorageError: There is no room for the new file beside the old one. The old one stays.
        """
        self._session.check_writable()
        with storage_errors():
            return compacting.compact(self._session.indexed, keep_history=keep_history, drop_damaged=drop_damaged)
