"""The reading methods of a library: by search, by id and by filter, and its properties."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, overload

from numpy.typing import ArrayLike, NDArray

from memvid_core.engine.search_request import Diversity, Fusion, Mode, Rerank, SearchRequest, Where, default_mode
from memvid_core.engine.validation import check_count, check_timeout, wanted_ids
from memvid_core.errors import (
    ClosedError,
    CommitConflictError,
    DamagedLibraryError,
    IncompleteSearchError,
    InvalidInputError,
    MemoryFileError,
    QueryError,
    RecordNotFoundError,
)
from memvid_core.library.answers import ids_at, ranked, records_at, rows_of, selected, shards_of, vectors_at, vectors_of
from memvid_core.library.executor import opened_shard
from memvid_core.library.manifest import Manifest, is_removed, read_manifest, versions
from memvid_core.library.partitions import may_match
from memvid_core.library.reports import LibraryHits, LibraryInfo, LibraryReport, LibraryShard, LibraryVersion
from memvid_core.library.shards import Asking
from memvid_core.library.state import Place, State, on_newest, open_state, replaced
from memvid_core.library.verifying import verified
from memvid_core.library.waiting import Deadline
from memvid_core.memory import Memory
from memvid_core.model import Embedder, GivenSynonyms, Recency, Record
from memvid_core.system.telemetry import measured

__all__ = ["PAGE", "LibraryReading", "MmrOptions", "Partial", "SearchOptions"]

Partial = Literal["raise", "allow"]
"""What a search does if shards do not answer."""

T = TypeVar("T")

PAGE: Final = 1_024
"""How many records an iteration reads together."""


class MmrOptions(TypedDict, total=False):
    """The options of a search for diverse hits; see :meth:`memvid_core.Memory.mmr`."""

    alpha: float | None
    fusion: Fusion
    recency: Recency | None
    unique: bool
    passage: int | None
    fuzzy: bool
    synonyms: GivenSynonyms | None
    embedding: ArrayLike | None
    with_vectors: bool


class SearchOptions(MmrOptions, total=False):
    """The options of a search; see :meth:`memvid_core.Memory.search`."""

    rerank: Rerank | str | None
    min_relevance: float | None
    explain: bool


class LibraryReading:
    """The reading methods of :class:`memvid_core.library.Library`. Each call reads the version that is open."""

    _place: Place
    _state: State
    _taking: threading.RLock
    _mode: Literal["a", "r"]
    _pinned: bool
    _closed: bool

    @property
    def path(self) -> str:
        """The path of the library, or its URL without credentials."""
        return self._place.objects.name

    @property
    def mode(self) -> Literal["a", "r"]:
        """``"a"`` if the library can be changed, ``"r"`` if it was opened for reading, or in the past."""
        return "r" if self._pinned else self._mode

    @property
    def version(self) -> int:
        """The number of the version that is open, 0 for an empty library."""
        return self._state.manifest.version

    @property
    def embedder(self) -> Embedder | None:
        """The embedder; None if the library was opened without the embedder that wrote it."""
        return self._state.vectors.embedder

    @property
    def default_mode(self) -> Mode:
        """The default search mode for a text: ``"hybrid"``, or ``"lexical"`` without an embedder."""
        return default_mode(self.embedder)

    def _on_newest(self, work: Callable[[State], T]) -> T:
        """Do something with the version that is open; with the newest one, if a vacuum deleted files of it."""
        state = self._opened()
        if self._pinned:
            try:
                return work(state)
            except IncompleteSearchError:
                raise
            except MemoryFileError:
                read_manifest(self._place.objects, self._place.description, self.version)  # says if it was removed
                raise
        found, result = on_newest(self._place, state, work)
        self._take(found)
        return result

    def _take(self, found: State, known: State | None = None) -> None:
        """Go on with a version that was read, unless another thread has read or committed a newer one meanwhile.

        Args:
            found: The version.
            known: What was open before it was read: if it still is, an older one counts, as of a library put back.
        """
        with self._taking:
            if self._state is known or found.manifest.version > self.version:
                self._state = found

    def _opened(self) -> State:
        if self._closed:
            raise ClosedError(f"this library is closed; Library.open({self.path!r}) opens it again")
        return self._state

    def refresh(self) -> int:
        """Read the newest version, which others may have committed; return its number."""
        state = self._opened()
        if not self._pinned:
            self._take(open_state(self._place, known=state), state)
        return self.version

    # --- by search ---

    def search(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        partial: Partial = "raise",
        timeout: float | None = 10.0,
        **options: Unpack[SearchOptions],
    ) -> LibraryHits:
        """Find the records that answer a question best, in all shards; the hits are those that one memory would find.

        Args:
            query: The question, or its vector (d,).
            k: The maximum number of hits.
            where: As in :meth:`memvid_core.Memory.search`. Shards whose partition fields exclude a match are not asked.
            mode: As in :meth:`memvid_core.Memory.search`.
            partial: ``"raise"``, or ``"allow"`` to return the hits of the shards that answered; ``hits.report`` says
                which did not.
            timeout: How many seconds the shards have to answer, in all rounds of the search together. Each round may
                take four fifths of what is left, so that without a shard that is late the others can be asked again.
                None waits for all.
            options: ``alpha``, ``fusion``, ``recency``, ``rerank``, ``min_relevance``, ``unique``, ``passage``,
                ``fuzzy``, ``synonyms``, ``embedding``, ``with_vectors`` and ``explain``, as in
                :meth:`memvid_core.Memory.search`.

        Returns:
            Hits, best first, with scores in [0, 1]; ties are in the order of addition. ``.report`` says which shards
            answered.

        Raises:
            IncompleteSearchError: A shard is missing, damaged or late. It has ``.hits`` and ``.report``.
            QueryError: As in :meth:`memvid_core.Memory.search`.
            FilterError: The filter is invalid.
            DimensionError: A vector has another dimension.
        """
        return self._search(SearchRequest.of(self.embedder, query, k, where, mode, **options), partial, timeout)

    def mmr(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        partial: Partial = "raise",
        timeout: float | None = 10.0,
        **options: Unpack[MmrOptions],
    ) -> LibraryHits:
        """Return hits that are relevant and diverse; see :meth:`memvid_core.Memory.mmr` and :meth:`search`."""
        diversity = Diversity(fetch_k, lambda_mult)
        request = SearchRequest.of(self.embedder, query, k, where, mode or "dense", diversity=diversity, **options)
        return self._search(request, partial, timeout)

    def _search(self, request: SearchRequest, partial: Partial, timeout: float | None) -> LibraryHits:
        return measured("search", self.path, lambda: self._found(request, partial, timeout), len)

    def _found(self, request: SearchRequest, partial: Partial, timeout: float | None) -> LibraryHits:
        if partial not in ("raise", "allow"):
            raise QueryError(f"partial is 'raise' or 'allow', not {partial!r}")
        deadline = Deadline(None if timeout is None else check_timeout(timeout))
        try:
            return self._on_newest(lambda state: ranked(state, request, deadline))
        except IncompleteSearchError as exc:
            if partial == "allow":
                return LibraryHits(exc.hits, exc.report)
            raise

    def prepare(self) -> None:
        """Build what the first searches of shards would build, where it is missing, and the lists of ``index="ivf"``.

        A build makes both. Shards that were built with another index have no lists.

        Raises:
            MemoryFileError: A shard does not answer.
        """

        def prepared(state: State) -> None:
            asking = Asking(state.shards)
            asking.ask_all("prepare")
            asking.check()

        self._on_newest(prepared)

    def explain_shards(self, where: Mapping[str, Any] | None = None) -> dict[str, bool]:
        """Return which shards a search with a filter asks, by the name of their file."""
        entries = self._opened().manifest.shards
        return {entry.file: bool(entry.live) and may_match(entry.fields, where) for entry in entries}

    # --- by shard ---

    def shards(self) -> list[LibraryShard]:
        """Return the shards of the version that is open, in the order of addition."""
        entries = self._opened().manifest.shards
        return [LibraryShard(entry.file, entry.live, entry.rows - entry.live, entry.bytes) for entry in entries]

    def shards_of(self, ids: Iterable[str] | str) -> dict[str, str]:
        """Return the file of the shard that has each record, by id; unknown ids are left out.

        Raises:
            MemoryFileError: A shard does not answer.
        """
        wanted = wanted_ids(ids)
        return self._on_newest(lambda state: shards_of(state, wanted))

    def open_shard(self, file: str) -> Memory:
        """Open a shard as a memory, for reading, after comparing it with the manifest. Close it before the library.

        It still has the records that the library has deleted or replaced since. A shard behind a URL is fetched.

        Args:
            file: The name of its file in the version that is open, as :meth:`shards` lists it.

        Raises:
            InvalidInputError: The version has no such shard.
            MemvidError: The shard is missing, damaged or another file.
        """

        def opened(state: State) -> Memory:
            for ref in state.shards.refs:
                if ref.entry.file == file:
                    return opened_shard(self._place.objects, ref)[0]
            raise InvalidInputError(f"version {state.manifest.version} of {self.path} has no shard {file!r}")

        return self._on_newest(opened)

    # --- by id, by filter ---

    @overload
    def get(self, ids: str) -> Record: ...  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
    @overload
    def get(self, ids: Iterable[str]) -> list[Record]: ...
    def get(self, ids: str | Iterable[str]) -> Record | list[Record]:
        """Return the record with an id, or the records with some ids in their order; unknown ids are ignored.

        Raises:
            RecordNotFoundError: ``ids`` is a ``str`` and no record has that id.
            MemoryFileError: A shard does not answer.
        """
        wanted = wanted_ids(ids)

        def read(state: State) -> list[Record]:
            rows = rows_of(state, wanted)
            return records_at(state, [rows[record_id] for record_id in wanted if record_id in rows])

        found = self._on_newest(read)
        if not isinstance(ids, str):
            return found
        if not found:
            raise RecordNotFoundError(f"no record has the id {ids!r}")
        return found[0]

    def get_vectors(self, ids: Iterable[str] | str) -> dict[str, NDArray[Any]]:
        """Return the stored vectors (d,) by id; unknown ids and records without a vector are left out.

        Raises:
            MemoryFileError: A shard does not answer.
        """
        wanted = wanted_ids(ids)
        found = self._on_newest(lambda state: vectors_of(state, wanted))
        return {name: found[name] for name in wanted if name in found}

    def __contains__(self, record_id: object) -> bool:
        return isinstance(record_id, str) and bool(self._on_newest(lambda state: rows_of(state, [record_id])))

    def __len__(self) -> int:
        return self._opened().manifest.records

    def __bool__(self) -> bool:
        return True  # an empty library is still a library

    def __iter__(self) -> Iterator[Record]:
        """Yield every record of the version that is open now, in the order of addition.

        Raises:
            CommitConflictError: A vacuum deleted files of this version meanwhile; begin again.
            MemoryFileError: A shard does not answer.
        """

        def begun(state: State) -> tuple[State, list[int], list[Record]]:
            rows = selected(state, None, None, descending=False)
            return state, rows, records_at(state, rows[:PAGE])

        state, rows, page = self._on_newest(begun)
        yield from page
        for first in range(PAGE, len(rows), PAGE):
            try:
                page = records_at(state, rows[first : first + PAGE])
            except MemoryFileError as exc:
                if not replaced(state, open_state(self._place, known=state)):
                    raise
                raise CommitConflictError(
                    f"a vacuum deleted files of version {state.manifest.version} of {self.path} while its records were "
                    "read; begin again, and give vacuum() an older_than that is longer than reading takes"
                ) from exc
            yield from page

    def select(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        order_by: str | None = None,
        descending: bool = False,
    ) -> list[Record]:
        """Return the records that match a filter; see :meth:`memvid_core.Memory.select`.

        Raises:
            MemoryFileError: A shard does not answer.
        """
        first = check_count(offset, "offset is a number of records")
        last = None if limit is None else first + check_count(limit, "limit is a number of records")

        def read(state: State) -> list[Record]:
            return records_at(state, selected(state, where, order_by, descending=descending, count=last)[first:])

        return self._on_newest(read)

    def select_with_vectors(self, where: Mapping[str, Any] | None = None) -> list[tuple[Record, NDArray[Any] | None]]:
        """Return records with their vectors; see :meth:`memvid_core.Memory.select_with_vectors`.

        Raises:
            MemoryFileError: A shard does not answer.
        """

        def read(state: State) -> list[tuple[Record, NDArray[Any] | None]]:
            rows = selected(state, where, None, descending=False)
            vectors = vectors_at(state, rows)
            return [(record, vectors.get(row)) for row, record in zip(rows, records_at(state, rows), strict=True)]

        return self._on_newest(read)

    def ids(
        self, where: Mapping[str, Any] | None = None, *, order_by: str | None = None, descending: bool = False
    ) -> list[str]:
        """Return the ids of the records that match a filter, ordered as by :meth:`select`."""
        return self._on_newest(lambda state: ids_at(state, selected(state, where, order_by, descending=descending)))

    # --- about the library ---

    def info(self) -> LibraryInfo:
        """Return the properties and sizes of the library."""
        state, description = self._opened(), self._place.description
        shards = state.manifest.shards
        return LibraryInfo(
            path=self.path,
            id=description.id,
            version=state.manifest.version,
            records=state.manifest.records,
            deleted=sum(entry.rows - entry.live for entry in shards),
            shards=len(shards),
            bytes=sum(entry.bytes for entry in shards),
            dimension=state.manifest.dimension,
            vector_dtype=description.vectors,
            metric=description.metric,
            embedder=description.embedder,
            partition_by=description.partition_by,
            created=_when(description.created),
            modified=_when(state.manifest.time),
        )

    def history(self) -> list[LibraryVersion]:
        """Return every version up to the one that is open, oldest first."""
        objects, open_version = self._place.objects, self._opened().manifest.version
        found = []
        for number in versions(objects):
            try:
                if number <= open_version:
                    found.append(_version(read_manifest(objects, self._place.description, number)))
            except DamagedLibraryError:
                if not is_removed(objects, number):  # by a vacuum in another process, meanwhile
                    raise
        return found

    def verify(self) -> LibraryReport:
        """Read every object of the library, verify every checksum, and return a report of the damage."""
        self._opened()
        return verified(self._place)


def _version(manifest: Manifest) -> LibraryVersion:
    return LibraryVersion(
        manifest.version,
        _when(manifest.time),
        manifest.change,
        manifest.added,
        manifest.deleted,
        manifest.records,
        len(manifest.shards),
    )


def _when(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
