"""The async methods of a memory: embedders are awaited, everything else runs in threads of this package."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Self, overload

from numpy.typing import ArrayLike, NDArray

from memvid_core.engine.film import Picture
from memvid_core.engine.search_request import Diversity, Fusion, Mode, Rerank, SearchRequest, Where
from memvid_core.engine.writing import GivenVectors, Metadata
from memvid_core.errors import ClosedError
from memvid_core.memory.writing import MemoryWriting
from memvid_core.model import Commit, GivenSynonyms, Hit, MemoryInfo, Recency, Record, VerifyReport

__all__ = ["AsyncMemory"]

_AT_A_TIME = 256  # records that an async iteration reads at once


class AsyncMemory(MemoryWriting):
    """Async versions of every method that waits for a disk, a lock or a model; none of them blocks the event loop.

    Commits run in one thread per memory, everything else in a few threads shared by all memories, and nothing in the
    default executor of the event loop. A task that is canceled while it waits for a commit may have committed, because
    the commit runs to its end in its thread.
    """

    # --- writing ---

    async def aadd(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
        *,
        delete: Iterable[str] | str = (),
        pictures: Iterable[Picture | None] | Picture | None = None,
    ) -> list[str]:
        """Async :meth:`add`; the embedder's own async method is awaited, once."""
        self._session.check_writable()
        prepare = self._session.writer.prepare
        return await self._session.awrite(
            await self._session.in_thread(prepare, texts, metadata, ids, vectors, delete, pictures)
        )

    async def aupdate(self, record_id: str, *, text: str | None = None, metadata: Metadata | None = None) -> None:
        """Async :meth:`update`; the embedder's own async method is awaited, once, before the lock is taken."""
        self._session.check_writable()
        prepare = self._session.writer.prepare_update
        await self._session.awrite(await self._session.in_thread(prepare, record_id, text, metadata))

    @asynccontextmanager
    async def aexclusive(self, timeout: float | None = None) -> AsyncIterator[Self]:  # noqa: ASYNC109  # as in exclusive()
        """Async :meth:`exclusive`: this task, and the tasks that it starts inside the block, hold the write lock.

        Other tasks, threads and processes continue to read; their commits wait. Use the async methods inside the block.

        Example:
            >>> import asyncio
            >>> from memvid_core import Memory
            >>> async def add_once() -> int:
            ...     async with await Memory.acreate() as memory, memory.aexclusive():
            ...         if not await memory.aids({"$id": "a"}):
            ...             await memory.aadd("the first", ids="a")
            ...         return len(memory)
            >>> asyncio.run(add_once())
            1
        """
        async with self._session.taking_turn(partial(self.exclusive, timeout)):
            yield self

    async def adelete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Async :meth:`delete`."""
        return await self._session.in_turn(partial(self.delete, ids, where=where))

    async def aclear(self) -> int:
        """Async :meth:`clear`."""
        return await self._session.in_turn(self.clear)

    async def arefit(self, *, drop_damaged: bool = False) -> int:
        """Async :meth:`refit`."""
        return await self._session.in_turn(partial(self.refit, drop_damaged=drop_damaged))

    async def acompact(self, *, keep_history: bool = False, drop_damaged: bool = False) -> int:
        """Async :meth:`compact`; other tasks commit meanwhile."""
        compact = partial(self.compact, keep_history=keep_history, drop_damaged=drop_damaged)
        return await self._session.beside_others(compact)

    async def asave(self, path: str | os.PathLike[str], *, drop_damaged: bool = False) -> None:
        """Async :meth:`save`."""
        await self._session.beside_others(partial(self.save, path, drop_damaged=drop_damaged))

    # --- reading ---

    @overload
    async def aget(self, ids: str) -> Record: ...  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
    @overload
    async def aget(self, ids: Iterable[str]) -> list[Record]: ...
    async def aget(self, ids: str | Iterable[str]) -> Record | list[Record]:
        """Async :meth:`get`."""
        return await self._session.in_thread(self.get, ids)

    async def aget_vectors(self, ids: Iterable[str] | str) -> dict[str, Any]:
        """Async :meth:`get_vectors`."""
        return await self._session.in_thread(self.get_vectors, ids)

    async def aselect_with_vectors(
        self, where: Mapping[str, Any] | None = None
    ) -> list[tuple[Record, NDArray[Any] | None]]:
        """Async :meth:`select_with_vectors`."""
        return await self._session.in_thread(self.select_with_vectors, where)

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
        return await self._session.in_thread(
            partial(self.select, where, limit=limit, offset=offset, order_by=order_by, descending=descending)
        )

    async def aids(
        self, where: Mapping[str, Any] | None = None, *, order_by: str | None = None, descending: bool = False
    ) -> list[str]:
        """Async :meth:`ids`."""
        return await self._session.in_thread(partial(self.ids, where, order_by=order_by, descending=descending))

    async def __aiter__(self) -> AsyncIterator[Record]:
        """Yield every record, in the order of addition."""
        records = iter(self)
        while some := await self._session.in_thread(lambda: list(islice(records, _AT_A_TIME))):
            for record in some:
                yield record

    async def asearch(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        alpha: float | None = None,
        fusion: Fusion = "score",
        recency: Recency | None = None,
        rerank: Rerank | str | None = None,
        min_relevance: float | None = None,
        unique: bool = False,
        passage: int | None = None,
        fuzzy: bool = True,
        synonyms: GivenSynonyms | None = None,
        embedding: ArrayLike | None = None,
        with_vectors: bool = False,
        explain: bool = False,
    ) -> list[Hit]:
        """Async :meth:`search`; the embedder's own async method is awaited. Functions are called in a thread."""
        request = SearchRequest.of(
            self._session.embedder,
            query,
            k,
            where,
            mode,
            embedding=embedding,
            alpha=alpha,
            fusion=fusion,
            recency=recency,
            rerank=rerank,
            min_relevance=min_relevance,
            unique=unique,
            passage=passage,
            fuzzy=fuzzy,
            synonyms=synonyms,
            with_vectors=with_vectors,
            explain=explain,
        )
        return await self._session.in_thread(self._session.search, await self._session.aembedded(request))

    async def asearch_many(
        self, queries: Sequence[str] | ArrayLike, k: int = 5, where: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Async :meth:`search_many`."""
        requests = [await self._session.aembedded(request) for request in self._requests(queries, k, where)]
        return await self._session.in_thread(self._session.search_many, requests)

    async def ammr(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        alpha: float | None = None,
        fusion: Fusion = "score",
        recency: Recency | None = None,
        unique: bool = False,
        passage: int | None = None,
        fuzzy: bool = True,
        synonyms: GivenSynonyms | None = None,
        embedding: ArrayLike | None = None,
        with_vectors: bool = False,
    ) -> list[Hit]:
        """Async :meth:`mmr`."""
        request = SearchRequest.of(
            self._session.embedder,
            query,
            k,
            where,
            mode or "dense",
            alpha=alpha,
            fusion=fusion,
            recency=recency,
            unique=unique,
            passage=passage,
            fuzzy=fuzzy,
            synonyms=synonyms,
            embedding=embedding,
            with_vectors=with_vectors,
            diversity=Diversity(fetch_k, lambda_mult),
        )
        return await self._session.in_thread(self._session.search, await self._session.aembedded(request))

    async def acontext(self, record: Record | Hit, before: int = 1, after: int = 1) -> list[Record]:
        """Async :meth:`context`."""
        return await self._session.in_thread(self.context, record, before, after)

    # --- about the memory ---

    async def ainfo(self) -> MemoryInfo:
        """Async :meth:`info`."""
        return await self._session.in_thread(self.info)

    async def ahistory(self) -> list[Commit]:
        """Async :meth:`history`."""
        return await self._session.in_thread(self.history)

    async def afollow(self, since: int | None = None, *, interval: float | None = 2.0) -> AsyncIterator[Commit]:
        """Async :meth:`follow`."""
        session = self._session
        place = await session.in_thread(session.following, since, interval)
        while True:
            try:
                found = await session.in_thread(session.new_commits, place)
            except ClosedError:
                return
            for commit in found:
                yield commit
            if interval is None:
                return
            await asyncio.sleep(interval)

    async def averify(self) -> VerifyReport:
        """Async :meth:`verify`."""
        return await self._session.in_thread(self.verify)

    async def aprepare(self) -> None:
        """Async :meth:`prepare`."""
        await self._session.in_thread(self.prepare)
