"""The async methods of a library: everything runs in threads of this package, and embedders are awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, Unpack, overload

from numpy.typing import ArrayLike, NDArray

from memvid_core.engine.search_request import Diversity, Mode, SearchRequest, Where
from memvid_core.engine.writing import GivenVectors
from memvid_core.library.building import Given
from memvid_core.library.reading import MmrOptions, Partial, SearchOptions
from memvid_core.library.reports import (
    BuildReport,
    CompactReport,
    LibraryHits,
    LibraryInfo,
    LibraryReport,
    LibraryVersion,
    VacuumReport,
)
from memvid_core.library.writing import LibraryWriting
from memvid_core.memory import Memory
from memvid_core.model import Record
from memvid_core.system.threads import WriterThread, run_in_thread

__all__ = ["AsyncLibrary"]

_AT_A_TIME = 256  # records that an async iteration reads at once


class AsyncLibrary(LibraryWriting):
    """Async versions of every method that waits for a disk, a shard or a model; none of them blocks the event loop.

    Changes run in one thread per library, everything else in a few threads that all memories share. A task that is
    canceled while it waits for a change may have committed, because the change runs to its end in its thread.
    """

    _thread: WriterThread

    # --- writing ---

    async def abuild(
        self, records: Iterable[Given], *, rows_per_shard: int = 2_000_000, sample: int = 20_000, threads: int = 1
    ) -> BuildReport:
        """Async :meth:`build`; the records are read in a thread."""
        build = partial(self.build, records, rows_per_shard=rows_per_shard, sample=sample, threads=threads)
        return await self._thread.run(build)

    async def aadd(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Mapping[str, Any] | None] | Mapping[str, Any] | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
    ) -> list[str]:
        """Async :meth:`add`."""
        return await self._thread.run(self.add, texts, metadata, ids, vectors)

    async def adelete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Async :meth:`delete`."""
        return await self._thread.run(partial(self.delete, ids, where=where))

    async def acompact(
        self, rows_per_shard: int = 2_000_000, *, max_deleted: float = 0.2, keep_partitions: bool = True
    ) -> CompactReport:
        """Async :meth:`compact`; other tasks read and change the library meanwhile."""
        options: dict[str, Any] = {"max_deleted": max_deleted, "keep_partitions": keep_partitions}
        return await run_in_thread(partial(self.compact, rows_per_shard, **options))

    async def avacuum(self, older_than: timedelta = timedelta(days=1), *, dry_run: bool = False) -> VacuumReport:
        """Async :meth:`vacuum`."""
        return await run_in_thread(partial(self.vacuum, older_than, dry_run=dry_run))

    # --- reading ---

    async def arefresh(self) -> int:
        """Async :meth:`refresh`."""
        return await run_in_thread(self.refresh)

    async def aprepare(self) -> None:
        """Async :meth:`prepare`."""
        await run_in_thread(self.prepare)

    async def asearch(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        partial: Partial = "raise",
        timeout: float | None = 10.0,  # noqa: ASYNC109  # of the shards, as in search()
        **options: Unpack[SearchOptions],
    ) -> LibraryHits:
        """Async :meth:`search`; the embedder's own async method is awaited. Functions are called in a thread."""
        request = SearchRequest.of(self.embedder, query, k, where, mode, **options)
        return await run_in_thread(self._search, await request.aembedded(self.embedder), partial, timeout)

    async def ammr(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        partial: Partial = "raise",
        timeout: float | None = 10.0,  # noqa: ASYNC109  # of the shards, as in search()
        **options: Unpack[MmrOptions],
    ) -> LibraryHits:
        """Async :meth:`mmr`."""
        diversity = Diversity(fetch_k, lambda_mult)
        request = SearchRequest.of(self.embedder, query, k, where, mode or "dense", diversity=diversity, **options)
        return await run_in_thread(self._search, await request.aembedded(self.embedder), partial, timeout)

    @overload
    async def aget(self, ids: str) -> Record: ...  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
    @overload
    async def aget(self, ids: Iterable[str]) -> list[Record]: ...
    async def aget(self, ids: str | Iterable[str]) -> Record | list[Record]:
        """Async :meth:`get`."""
        return await run_in_thread(self.get, ids)

    async def ashards_of(self, ids: Iterable[str] | str) -> dict[str, str]:
        """Async :meth:`shards_of`."""
        return await run_in_thread(self.shards_of, ids)

    async def aopen_shard(self, file: str) -> Memory:
        """Async :meth:`open_shard`."""
        return await run_in_thread(self.open_shard, file)

    async def aget_vectors(self, ids: Iterable[str] | str) -> dict[str, NDArray[Any]]:
        """Async :meth:`get_vectors`."""
        return await run_in_thread(self.get_vectors, ids)

    async def aselect_with_vectors(
        self, where: Mapping[str, Any] | None = None
    ) -> list[tuple[Record, NDArray[Any] | None]]:
        """Async :meth:`select_with_vectors`."""
        return await run_in_thread(self.select_with_vectors, where)

    async def aselect(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        order_by: str | None = None,
        descending: bool = False,
    ) -> list[Record]:
        """Async :meth:`select`."""
        options: dict[str, Any] = {"limit": limit, "offset": offset, "order_by": order_by, "descending": descending}
        return await run_in_thread(partial(self.select, where, **options))

    async def aids(
        self, where: Mapping[str, Any] | None = None, *, order_by: str | None = None, descending: bool = False
    ) -> list[str]:
        """Async :meth:`ids`."""
        return await run_in_thread(partial(self.ids, where, order_by=order_by, descending=descending))

    async def __aiter__(self) -> AsyncIterator[Record]:
        """Yield every record, in the order of addition."""
        records = iter(self)
        while some := await run_in_thread(lambda: list(islice(records, _AT_A_TIME))):
            for record in some:
                yield record

    # --- about the library ---

    async def ainfo(self) -> LibraryInfo:
        """Async :meth:`info`."""
        return await run_in_thread(self.info)

    async def ahistory(self) -> list[LibraryVersion]:
        """Async :meth:`history`."""
        return await run_in_thread(self.history)

    async def averify(self) -> LibraryReport:
        """Async :meth:`verify`."""
        return await run_in_thread(self.verify)
