"""Library: build, search and change a folder of sealed memories."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, get_args

from memvid_core.embedding import GIVEN, as_embedder
from memvid_core.engine.validation import check_ids, check_metadata, check_texts, check_unicode, wanted_ids
from memvid_core.engine.writing import GivenVectors
from memvid_core.errors import (
    Action,
    Hint,
    InvalidInputError,
    MemoryExistsError,
    MemoryNotFoundError,
    ReadOnlyError,
    storage_errors,
)
from memvid_core.index.vectors.metrics import check_choice
from memvid_core.library.building import Given, ShardBuilder, fitted_embedder
from memvid_core.library.compacting import Plan, compacted
from memvid_core.library.executor import Executor, ThreadExecutor
from memvid_core.library.manifest import (
    DESCRIPTION,
    FORMAT,
    Description,
    read_description,
    read_manifest,
    versions,
    write_description,
)
from memvid_core.library.objects import LocalObjects
from memvid_core.library.reading import LibraryReading
from memvid_core.library.reports import BuildReport, CompactReport, VacuumReport
from memvid_core.library.shards import Asking
from memvid_core.library.state import Change, Place, State, committed, open_state
from memvid_core.library.vacuuming import vacuumed
from memvid_core.model import Metric, Record, VectorDtype

__all__ = ["Library"]

_DTYPES = ("float16", "float32", "float64", "int8")


class Library(LibraryReading):
    """A folder of sealed memories, the *shards*, searched as one memory.

    Each change adds files and commits one manifest, which names the files that count; nothing is ever rewritten. A
    library that is open stays on one version until :meth:`refresh`. Any number of processes and threads read and change
    one library.

    Example:
        >>> import tempfile
        >>> from memvid_core import Record
        >>> from memvid_core.library import Library
        >>> folder = tempfile.mkdtemp()
        >>> with Library.create(f"{folder}/books") as library:
        ...     report = library.build(
        ...         [Record("a", "the wing lifts"), Record("b", "the engine hums")], rows_per_shard=1
        ...     )
        ...     report.shards, library.search("a lifting wing", k=1)[0].id
        (2, 'a')
    """

    def __init__(self, place: Place, state: State, *, pinned: bool, owner: bool = True) -> None:
        given: object = place
        if not isinstance(given, Place):
            raise InvalidInputError("use Library.create(path) to create a library, and Library.open(path) to open one")
        self._place, self._state, self._pinned, self._owner = place, state, pinned, owner
        self._closed = False

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        embedder: object = None,
        *,
        vectors: VectorDtype = "float16",
        metric: Metric = "cosine",
        partition_by: Sequence[str] = (),
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Create a library and open it.

        Args:
            path: The folder, which is created if its parent exists.
            embedder: As in :meth:`memvid_core.Memory.create`.
            vectors: The dtype of stored vectors: ``"float16"``, ``"float32"``, ``"float64"`` or ``"int8"``.
            metric: As in :meth:`memvid_core.Memory.create`.
            partition_by: Metadata fields whose values each shard lists, so that a search with a filter asks only the
                shards that can match.
            executor: As in :meth:`open`.
            cache_dir: As in :meth:`open`.

        Raises:
            MemoryExistsError: The folder has a library.
            MemoryNotFoundError: The folder of the folder does not exist.
            InvalidInputError: An argument is invalid, or the path is a URL.
        """
        objects = LocalObjects.of(path)
        if vectors not in _DTYPES or vectors not in get_args(VectorDtype):
            raise InvalidInputError(f"vectors is one of {', '.join(_DTYPES)}, not {vectors!r}")
        check_choice("auto", metric)
        given = isinstance(embedder, str) and embedder == GIVEN
        name = GIVEN if given else as_embedder(embedder, exact=vectors == "float64").name
        fields = _fields(partition_by)
        description = Description(FORMAT, uuid.uuid4().hex, name, metric, vectors, fields, time.time_ns() // 1000)
        with storage_errors():
            if (objects.root / DESCRIPTION).exists():
                raise MemoryExistsError(f"{objects.root} has a library; open it with Library.open")
            if not objects.root.parent.is_dir():
                raise MemoryNotFoundError(f"the folder {objects.root.parent} does not exist; create it first")
            objects.root.mkdir(exist_ok=True)
        write_description(objects, description)
        return cls._of(objects, description, embedder, executor, cache_dir)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        as_of: int | datetime | None = None,
        embedder: object = None,
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Open an existing library.

        Args:
            path: The folder.
            as_of: The number of a version or a time: opens that version, read-only.
            embedder: The embedder that wrote the library, as in :meth:`memvid_core.Memory.open`.
            executor: Who opens and asks the shards; by default the threads of this process
                (:class:`~memvid_core.library.ThreadExecutor`).
            cache_dir: The folder of the indexes of the shards, for a library that cannot be written; by default each
                lies beside its shard.

        Raises:
            NotAMemoryError: The folder has no library.
            DamagedLibraryError: The description, the manifest or the model is missing or damaged.
            UnsupportedFormatError: A newer version wrote it.
            EmbedderMismatchError: Another embedder wrote it.
            InvalidInputError: There is no such version, or the path is a URL.
        """
        objects = LocalObjects.of(path)
        description = read_description(objects, str(objects.root))
        return cls._of(objects, description, embedder, executor, cache_dir, as_of)

    @classmethod
    def _of(
        cls,
        objects: LocalObjects,
        description: Description,
        embedder: object,
        executor: Executor | None,
        cache_dir: str | os.PathLike[str] | None,
        as_of: int | datetime | None = None,
    ) -> Self:
        if executor is not None and not all(callable(getattr(executor, name, None)) for name in ("ask", "close")):
            raise InvalidInputError(f"an executor has the methods ask and close; {type(executor).__name__} has not")
        try:
            cache = None if cache_dir is None else Path(os.path.expanduser(os.fsdecode(cache_dir))).absolute()
        except (TypeError, ValueError) as exc:
            raise InvalidInputError(f"cache_dir is a str or a PathLike that names a folder, not {cache_dir!r}") from exc
        place = Place(objects, description, executor or ThreadExecutor(), cache, embedder)
        number = None if as_of is None else _numbered(objects, description, as_of)
        try:
            return cls(place, open_state(place, number), pinned=as_of is not None, owner=executor is None)
        except BaseException:
            if executor is None:
                place.executor.close()
            raise

    def refresh(self) -> int:
        """Read the newest version, which others may have committed; return its number."""
        state = self._opened()
        if not self._pinned:
            self._state = open_state(self._place, known=state)
        return self.version

    def close(self) -> None:
        """Close the shards, unless an executor was given: who made it closes it. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            if self._owner:
                self._place.executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_owner"):
            self.close()

    # --- changes ---

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
            CommitConflictError: Others committed again and again meanwhile; nothing is committed.
            StorageError: The disk refused; nothing is committed.

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
        builder = ShardBuilder(self._place.objects, self._place.description, embedder, rows, threads)
        built = builder.build(records)
        built.generated = generated
        return self._commit(Change(kind, built, embedder, state.manifest.model))

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
        The newest version stays. A reader that has an older one open gets an error that names the missing file.

        Args:
            older_than: How long ago a version was replaced, or a file was written, to be deleted. It must be longer
                than the longest time in which a running writer writes nothing; otherwise that writer fails, and commits
                nothing.
            dry_run: Whether only to tell what would be deleted.

        Raises:
            DamagedLibraryError: A manifest that stays cannot be read, so that it is not known what it names. Nothing is
                deleted.
        """
        self._writable()
        return vacuumed(self._place, older_than, dry_run=dry_run)

    def _commit(self, change: Change) -> BuildReport:
        self._state, changed = committed(self._place, change)
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
        self._opened()
        self.refresh()
        return self._state


def _fields(given: Sequence[str]) -> tuple[str, ...]:
    wrong = InvalidInputError(f"partition_by names metadata fields, not {given!r}")
    if not isinstance(given, Iterable):
        raise wrong
    fields: tuple[object, ...] = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(field, str) and field and not field.startswith("$") for field in fields):
        raise wrong
    for field in fields:
        check_unicode(str(field), "partition_by", InvalidInputError)
    return tuple(dict.fromkeys(map(str, fields)))


def _numbered(objects: LocalObjects, description: Description, as_of: int | datetime) -> int:
    """Return the number of the version at or before a number or a time."""
    if isinstance(as_of, bool) or not isinstance(as_of, int | datetime):
        raise InvalidInputError(f"as_of is the number of a version or a datetime, not {as_of!r}")
    numbers = versions(objects)
    if isinstance(as_of, int):
        if as_of and as_of not in numbers:
            known = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
            raise InvalidInputError(f"there is no version {as_of}; there are {known}")
        return as_of
    moment = int(as_of.timestamp() * 1_000_000)
    if moment < description.created:
        raise InvalidInputError(f"this library was made after {as_of.isoformat()}")
    found = (n for n in reversed(numbers) if read_manifest(objects, description, n).time <= moment)
    number = next(found, 0)
    if not number and numbers and numbers[0] > 1:
        raise InvalidInputError(
            f"the versions before version {numbers[0]}, of {as_of.isoformat()}, were removed by vacuum()"
        )
    return number
