"""Library: build, search and change a folder of sealed memories."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, get_args

from memvid_core.engine.embedders import new_embedder
from memvid_core.engine.validation import check_choice, check_unicode
from memvid_core.errors import InvalidInputError, MemoryExistsError
from memvid_core.library.aio import AsyncLibrary
from memvid_core.library.executor import Executor, ThreadExecutor
from memvid_core.library.manifest import (
    DESCRIPTION,
    FORMAT,
    Description,
    read_description,
    read_manifest,
    time_after,
    versions,
    write_description,
)
from memvid_core.library.objects import Objects
from memvid_core.library.remote import objects_at
from memvid_core.library.state import Place, State, open_state
from memvid_core.model import GIVEN, Index, Metric, VectorDtype
from memvid_core.system.forks import free_in_forks
from memvid_core.system.threads import WriterThread, run_in_thread

__all__ = ["Library"]

_DTYPES = ("float16", "float32", "float64", "int8")


class Library(AsyncLibrary):
    """A folder of sealed memories, the *shards*, searched as one memory.

    Each change adds files and commits one manifest, which names the files that count; nothing is ever rewritten. A
    library that is open stays on one version until :meth:`refresh`, or until it misses a file that a vacuum has
    deleted. Any number of processes and threads read and change one library.

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

    def __init__(
        self, place: Place, state: State, *, mode: Literal["a", "r"] = "a", pinned: bool = False, owner: bool = True
    ) -> None:
        given: object = place
        if not isinstance(given, Place):
            raise InvalidInputError("use Library.create(path) to create a library, and Library.open(path) to open one")
        self._place, self._state, self._mode, self._pinned, self._owner = place, state, mode, pinned, owner
        self._taking = threading.RLock()  # while another version takes the place of the open one
        free_in_forks(self._taking)
        self._thread = WriterThread()
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
        index: Index = "auto",
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create a library and open it.

        Args:
            path: The folder, which is created if its parent exists; or the URL of one in an object store, such as
                ``s3://bucket/library``.
            embedder: As in :meth:`memvid_core.Memory.create`.
            vectors: The dtype of stored vectors: ``"float16"``, ``"float32"``, ``"float64"`` or ``"int8"``.
            metric: As in :meth:`memvid_core.Memory.create`.
            partition_by: Metadata fields whose values each shard lists, so that a search with a filter asks only the
                shards that can match.
            index: As in :meth:`open`.
            executor: As in :meth:`open`.
            cache_dir: As in :meth:`open`.
            storage_options: As in :meth:`open`.

        Raises:
            MemoryExistsError: The folder has a library.
            MemoryNotFoundError: The folder of the folder does not exist.
            InvalidInputError: An argument is invalid.
            MissingExtraError: The package for a URL is not installed.
            StorageError: The store cannot create an object only if it is new.
        """
        objects = objects_at(path, storage_options)
        if vectors not in _DTYPES or vectors not in get_args(VectorDtype):
            raise InvalidInputError(f"vectors is one of {', '.join(_DTYPES)}, not {vectors!r}")
        if metric not in get_args(Metric):
            raise InvalidInputError(f"metric is one of {', '.join(get_args(Metric))}, not {metric!r}")
        check_choice(index, metric)
        made = new_embedder(embedder, exact=vectors == "float64")
        name = GIVEN if made is None else made.name
        fields = _fields(partition_by)
        description = Description(FORMAT, uuid.uuid4().hex, name, metric, vectors, fields, time_after(-1))
        if DESCRIPTION in objects.listing(""):
            raise MemoryExistsError(f"{objects.name} has a library; open it with Library.open")
        objects.prepare()
        write_description(objects, description)
        return cls._of(objects, description, embedder, index, executor, cache_dir)

    @classmethod
    async def acreate(
        cls,
        path: str | os.PathLike[str],
        embedder: object = None,
        *,
        vectors: VectorDtype = "float16",
        metric: Metric = "cosine",
        partition_by: Sequence[str] = (),
        index: Index = "auto",
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Async :meth:`create`."""
        create = partial(cls.create, path, embedder, vectors=vectors, metric=metric, partition_by=partition_by)
        given: dict[str, Any] = {"index": index, "executor": executor, "cache_dir": cache_dir}
        given["storage_options"] = storage_options
        return await run_in_thread(partial(create, **given))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        mode: Literal["a", "r"] = "a",
        *,
        as_of: int | datetime | None = None,
        embedder: object = None,
        index: Index = "auto",
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open an existing library.

        Args:
            path: The folder or its URL.
            mode: ``"a"`` to read and write, ``"r"`` to read.
            as_of: The number of a version or a time: opens that version, read-only.
            embedder: The embedder that wrote the library, as in :meth:`memvid_core.Memory.open`.
            index: How vectors are searched, as in :meth:`memvid_core.Memory.open`. With ``"ivf"`` or an ``Ivf``, new
                shards get their lists when they are built, and :meth:`prepare` makes those that are missing.
            executor: Who opens and asks the shards; by default the threads of this process
                (:class:`~memvid_core.library.ThreadExecutor`).
            cache_dir: The folder of the indexes of the shards, for a library that cannot be written; by default each
                lies in the folder of its shard. The shards behind a URL and their indexes are in the cache of remote
                memories.
            storage_options: For a URL, options of its file system of fsspec.

        Raises:
            NotAMemoryError: The folder has no library.
            DamagedLibraryError: The description, the manifest or the model is missing or damaged.
            UnsupportedFormatError: A newer version wrote it.
            EmbedderMismatchError: Another embedder wrote it.
            InvalidInputError: The version does not exist.
            MissingExtraError: The package for a URL is not installed.
        """
        objects = objects_at(path, storage_options)
        description = read_description(objects, objects.name)
        return cls._of(objects, description, embedder, index, executor, cache_dir, mode, as_of)

    @classmethod
    async def aopen(
        cls,
        path: str | os.PathLike[str],
        mode: Literal["a", "r"] = "a",
        *,
        as_of: int | datetime | None = None,
        embedder: object = None,
        index: Index = "auto",
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Async :meth:`open`."""
        options: dict[str, Any] = {"as_of": as_of, "embedder": embedder, "index": index, "executor": executor}
        options |= {"cache_dir": cache_dir, "storage_options": storage_options}
        return await run_in_thread(partial(cls.open, path, mode, **options))

    def past(self, as_of: int | datetime) -> Self:
        """Open another version of this library, for reading, with the same executor. Close it before this library.

        Args:
            as_of: The number of the version or a time, as in :meth:`open`.

        Raises:
            InvalidInputError: The version does not exist.
            DamagedLibraryError: Its manifest or its model is missing or damaged.
        """
        self._opened()
        number = _numbered(self._place.objects, self._place.description, as_of)
        return type(self)(self._place, open_state(self._place, number), mode="r", pinned=True, owner=False)

    async def apast(self, as_of: int | datetime) -> Self:
        """Async :meth:`past`."""
        return await run_in_thread(self.past, as_of)

    @classmethod
    def _of(
        cls,
        objects: Objects,
        description: Description,
        embedder: object,
        index: Index,
        executor: Executor | None,
        cache_dir: str | os.PathLike[str] | None,
        mode: Literal["a", "r"] = "a",
        as_of: int | datetime | None = None,
    ) -> Self:
        if mode not in ("a", "r"):
            raise InvalidInputError(f"mode is 'a' (write) or 'r' (read), not {mode!r}")
        if executor is not None and not all(callable(getattr(executor, name, None)) for name in ("ask", "close")):
            raise InvalidInputError(f"an executor has the methods ask and close; {type(executor).__name__} has not")
        try:
            cache = None if cache_dir is None else Path(os.path.expanduser(os.fsdecode(cache_dir))).absolute()
        except (TypeError, ValueError) as exc:
            raise InvalidInputError(f"cache_dir is a str or a PathLike that names a folder, not {cache_dir!r}") from exc
        check_choice(index, description.metric)
        place = Place(objects, description, executor or ThreadExecutor(), cache, embedder, index)
        number = None if as_of is None else _numbered(objects, description, as_of)
        try:
            return cls(place, open_state(place, number), mode=mode, pinned=as_of is not None, owner=executor is None)
        except BaseException:
            if executor is None:
                place.executor.close()
            raise

    def close(self) -> None:
        """Close the shards, unless an executor was given: who made it closes it. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._thread.close()
            if self._owner:
                self._place.executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Library {self.path!r}, closed>"
        found = self._state.manifest
        return f"<Library {self.path!r}, version {found.version}: {found.records} records, {len(found.shards)} shards>"

    async def aclose(self) -> None:
        """Async :meth:`close`, after the changes that were requested before."""
        await self._thread.run_last(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if hasattr(self, "_owner"):
            self.close()


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


def _numbered(objects: Objects, description: Description, as_of: int | datetime) -> int:
    """Return the number of the version at or before a number or a time."""
    if isinstance(as_of, bool) or not isinstance(as_of, int | datetime):
        raise InvalidInputError(f"as_of is the number of a version or a datetime, not {as_of!r}")
    numbers = versions(objects)
    if isinstance(as_of, int):
        if as_of and as_of not in numbers:
            known = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
            raise InvalidInputError(f"there is no version {as_of}; there are {known}")
        return as_of
    try:
        moment = int(as_of.timestamp() * 1_000_000)
    except (ValueError, OverflowError, OSError) as exc:  # a local time at the end of the calendar
        raise InvalidInputError(f"{as_of.isoformat()} is not a time that this system can convert: {exc}") from exc
    if moment < description.created:
        raise InvalidInputError(f"this library was made after {as_of.isoformat()}")
    found = (n for n in reversed(numbers) if read_manifest(objects, description, n).time <= moment)
    number = next(found, 0)
    if not number and numbers and numbers[0] > 1:
        raise InvalidInputError(
            f"the versions before version {numbers[0]}, of {as_of.isoformat()}, were removed by vacuum()"
        )
    return number
