"""The writing methods of a library: each change adds files, and commits one version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from memvid_core.engine.validation import check_ids, check_metadata, check_texts, wanted_ids
from memvid_core.engine.writing import GivenVectors
from memvid_core.errors import Action, Hint, InvalidInputError, ReadOnlyError
from memvid_core.library.building import Given, ShardBuilder, claimed, fitted_embedder
from memvid_core.library.compacting import Plan, compacted
from memvid_core.library.reading import LibraryReading
from memvid_core.library.reports import BuildReport, CompactReport, VacuumReport
from memvid_core.library.shards import Asking
from memvid_core.library.state import Change, State, committed
from memvid_core.library.vacuuming import vacuumed
from memvid_core.model import Record

__all__ = ["LibraryWriting"]


class LibraryWriting(LibraryReading):
    """The writing methods of :class:`memvid_core.library.Library`."""

    def build(
        self,
        records: Iterable[Given],
        *,
        rows_per_shard: int = 2_000_000,
        sample: int = 20_000,
        threads: int = 1,
    ) -> BuildReport:
        """Write records to new shards, and commit all of them as one version.

        An id that the library has is replaced. If the process dies, nothing was committed, and :meth:`verify` lists the
        files that are left.

        Args:
            records: Records, or pairs of a record and its vector (d,); without a vector, the embedder makes it. For
                ``partition_by``, give them in the order of these fields, so that each shard has few values.
            rows_per_shard: The number of records of a shard. Few large shards answer faster than many small ones.
            sample: The number of records to which the built-in embedder is fitted, in the first build.
            threads: The number of shards that are indexed while the next one is written.

        Raises:
            InvalidInputError: A record is invalid; nothing is committed.
            EmbeddingError: The embedder failed, or is not known, and a record has no vector; nothing is committed.
            CommitConflictError: Others committed again and again meanwhile; nothing is committed.
            StorageError: The disk refused; nothing is committed. Or an object store stayed silent; the message says
                whether that is known.

        Example:
            >>> import tempfile
            >>> from memvid_core import Record
            >>> from memvid_core.library import Library
            >>> with Library.create(tempfile.mkdtemp()) as library:
            ...     report = library.build(Record(str(n), f"page {n}") for n in range(5))
            ...     len(library)
            5
        """
        for name, number in (("rows_per_shard", rows_per_shard), ("sample", sample), ("threads", threads)):
            if not (type(number) is int and number > 0):
                raise InvalidInputError(f"{name} is a positive number, not {number!r}")
        if not isinstance(records, Iterable):
            raise InvalidInputError(f"records are an iterable of Record, not of type {type(records).__name__}")
        return self._build("build", records, rows_per_shard, sample, threads, generated=False)

    def add(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Mapping[str, Any] | None] | Mapping[str, Any] | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
    ) -> list[str]:
        """Add records as one new shard. Existing ids are replaced; of equal ids the last wins.

        Each call makes a file, so add many records at once; a store with many small commits is a memory.

        Args:
            texts: As in :meth:`memvid_core.Memory.add`, like the other arguments.
            metadata: One dict per text.
            ids: One id per text; None creates new ids.
            vectors: (n, d) numbers, or one vector or None per text; by default the embedder makes them.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: As in :meth:`memvid_core.Memory.add`.
            EmbeddingError: As in :meth:`build`.
            CommitConflictError: As in :meth:`build`.
        """
        checked = check_texts(texts)
        given = check_ids(ids, len(checked))
        plain = check_metadata(metadata, len(checked))
        records: list[Given] = [Record(*one) for one in zip(given, checked, plain, strict=True)]
        if vectors is not None:
            if not isinstance(vectors, Iterable):
                raise InvalidInputError(f"vectors are one per text, not a value of type {type(vectors).__name__}")
            listed: list[Any] = list(vectors)
            if len(listed) != len(records):
                raise InvalidInputError(
                    f"vectors must be as many as texts: {len(listed)} vectors, {len(records)} texts"
                )
            records = [(record, vector) for record, vector in zip(records, listed, strict=True)]  # type: ignore[misc]
        if records:
            self._build("add", records, len(records), len(records), 1, generated=ids is None)
        return given

    def _build(
        self, kind: str, records: Iterable[Given], rows: int, sample: int, threads: int, *, generated: bool
    ) -> BuildReport:
        state = self._writable()
        embedder = state.vectors.embedder
        if not state.manifest.shards:
            embedder, records = fitted_embedder(embedder, records, sample)
        with claimed(self._place.objects) as claim:
            place = self._place
            builder = ShardBuilder(
                place.objects, place.description, claim, embedder, rows, threads=threads, index=place.index
            )
            built = builder.build(records)
            built.generated = generated
            return self._commit(Change(kind, built, embedder, state.manifest.model, state.manifest.vacuum))

    def delete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete records by ids, by a filter, or by both; unknown ids are ignored. Return their number.

        The files of the shards stay as they are; the rows are listed in a new object.

        Raises:
            InvalidInputError: Neither ids nor a filter are given.
            FilterError: The filter is invalid.
            MemoryFileError: A shard does not answer.
        """
        self._writable()
        if ids is None and not where:
            raise InvalidInputError("no ids and no filter: nothing to delete", hint=Hint(Action.NAME_RECORDS))
        wanted = None if ids is None else wanted_ids(ids)

        def chosen(state: State) -> dict[int, list[int]]:
            asking = Asking(state.shards)
            found: dict[int, list[int]] = asking.ask("chosen", dict.fromkeys(asking.matching(where), (wanted, where)))
            asking.check()
            return found

        return self._commit(Change("delete", deleted=chosen)).deleted

    def compact(
        self, rows_per_shard: int = 2_000_000, *, max_deleted: float = 0.2, keep_partitions: bool = True
    ) -> CompactReport:
        """Merge neighboring small shards, and write shards with many deleted records again without them.

        The order of the records stays. Each merged shard is committed as a version, so that a compaction that is
        interrupted keeps what it has done. Others may read and change the library meanwhile. The old files stay until
        :meth:`vacuum` deletes them, so that older versions can be opened.

        Args:
            rows_per_shard: The maximum number of records of a merged shard. Shards with more than half of it stay.
            max_deleted: The largest share of deleted records of a shard that stays, in [0, 1].
            keep_partitions: Whether shards without a common value in a partition field stay apart.

        Raises:
            MemoryFileError: A shard does not answer.
            CommitConflictError: As in :meth:`build`.

        Example:
            >>> import tempfile
            >>> from memvid_core.library import Library
            >>> with Library.create(tempfile.mkdtemp()) as library:
            ...     ids = [library.add(f"page {n}") for n in range(3)]
            ...     report = library.compact()
            ...     report.replaced, report.written, library.info().shards
            (3, 1, 1)
        """
        plan = Plan(rows_per_shard, max_deleted, keep_partitions)
        self._state, report = compacted(self._place, self._writable(), plan)
        return report

    def vacuum(self, older_than: timedelta = timedelta(days=1), *, dry_run: bool = False) -> VacuumReport:
        """Delete the versions that were replaced long ago, and the files that no other version names.

        These are the shards, models and lists of deleted records of old versions, and what killed writers have left.
        The newest version stays. Who has an older one open and misses a file of it goes on with the newest one, unless
        it was opened with ``as_of``; an iteration that has begun raises an error, since its records are others then.
        Files of a running writer stay, however old they are. If files are deleted, a version is committed first that
        lists them, so that no writer commits one of them at the same time.

        Args:
            older_than: How long ago a version was replaced, or a file was written, to be deleted. In an object store
                it and ten minutes, whichever is longer, is how long a writer may be suspended; after that it fails,
                and commits nothing.
            dry_run: Whether only to tell what would be deleted.

        Raises:
            CommitConflictError: As in :meth:`build`.
            DamagedLibraryError: A manifest that stays cannot be read, so that it is not known what it names. Nothing is
                deleted.
        """
        self._writable()
        report = vacuumed(self._place, older_than, dry_run=dry_run)
        self.refresh()
        return report

    def _commit(self, change: Change) -> BuildReport:
        self._state, changed = committed(self._place, change, self._state)
        manifest = self._state.manifest
        if not changed:
            return BuildReport(manifest.version, 0, 0, 0)
        return BuildReport(manifest.version, len(change.built.entries), manifest.added, manifest.deleted)

    def _writable(self) -> State:
        if self._pinned:
            raise ReadOnlyError(
                f"version {self.version} of {self.path} was opened with as_of, and the past cannot be changed; "
                "open the library without it"
            )
        if self._mode == "r":
            raise ReadOnlyError(f"{self.path} is open for reading", hint=Hint(Action.OPEN_FOR_WRITING))
        self._opened()
        self.refresh()
        return self._state
