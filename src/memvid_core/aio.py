"""The asynchronous face of a memory: embedders are awaited, everything else runs in a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from numpy.typing import ArrayLike

from memvid_core.embedding import FittableEmbedder
from memvid_core.model import Hit, IndexName, Metric, Recency
from memvid_core.system.threads import WriterThread, run_in_thread

T = TypeVar("T")

if TYPE_CHECKING:
    from memvid_core.embedding import Embedder
    from memvid_core.engine.searching import Fusion, Mode, Query, Searcher, Where
    from memvid_core.engine.snapshot import Snapshot
    from memvid_core.engine.writing import GivenVectors, Metadata, VectorDtype, Writer

__all__ = ["AsyncMemory"]


class AsyncMemory:
    """Async twins of the methods that wait for a disk, a lock or a model; none of them blocks the event loop.

    Commits are made in a thread of the memory's own, reads in a few threads that all memories share: none in the
    default executor of the event loop.
    """

    if TYPE_CHECKING:  # what Memory brings
        _searcher: Searcher
        _writer: Writer
        _thread: WriterThread

        @property
        def embedder(self) -> Embedder | None:
            """What turns texts into vectors."""

        def _check_writable(self) -> None: ...

        def _snapshot(self) -> Snapshot: ...

        def _answer(self, question: Callable[[Snapshot], T]) -> T: ...

        def _query(self, snapshot: Snapshot, *args: Any, **options: Any) -> Query: ...

        def default_mode(self, text: str | None) -> Mode:
            """What a search does when it is not told."""

        def get(self, ids: Any) -> Any:
            """Records by id."""

        def delete(self, ids: Any = None, *, where: Any = None) -> int:
            """Delete records."""

        def update(self, record_id: str, *, text: str | None = None, metadata: Metadata | None = None) -> None:
            """Replace a record's text or metadata."""

        def prepare(self) -> None:
            """Build what the first searches would build."""

        def close(self) -> None:
            """Close the file."""

    # --- opening and closing ---

    @classmethod
    async def aopen(
        cls,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        embedder: object = None,
        as_of: int | datetime | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        force: bool = False,
        show_progress: bool | None = None,
        index: IndexName = "auto",
        metric: Metric | None = None,
        create: bool = False,
        timeout: float = 30.0,  # noqa: ASYNC109  # of later commits, not of this call
        auto_compact: float | None = None,
    ) -> Self:
        """Async :meth:`Memory.open`.

        Example:
            >>> import asyncio
            >>> from memvid_core import Memory
            >>> async def count() -> int:
            ...     async with await Memory.aopen("async.mp4", "a", create=True) as memory:
            ...         await memory.aadd("the wing lifts")
            ...         return len(memory)
            >>> asyncio.run(count())
            1
        """
        options: dict[str, Any] = {"as_of": as_of, "force": force, "show_progress": show_progress, "create": create}
        shared = {"embedder": embedder, "index_dir": index_dir, "timeout": timeout}
        options |= {"index": index, "metric": metric, "auto_compact": auto_compact}
        opened: Self = await run_in_thread(partial(cast(Any, cls).open, path, mode, **options, **shared))
        return opened

    @classmethod
    async def acreate(
        cls,
        path: str | os.PathLike[str] = ":memory:",
        embedder: object = None,
        codec: str = "pcm",
        vector_dtype: VectorDtype | None = None,
        *,
        codec_options: Mapping[str, Any] | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        description: str = "",
        index: IndexName = "auto",
        metric: Metric = "cosine",
        timeout: float = 30.0,  # noqa: ASYNC109  # of later commits, not of this call
        auto_compact: float | None = None,
    ) -> Self:
        """Async :meth:`Memory.create`."""
        options = {"codec_options": codec_options, "index_dir": index_dir, "description": description}
        shared = {"index": index, "metric": metric, "timeout": timeout, "auto_compact": auto_compact}
        call = partial(cast(Any, cls).create, path, embedder, codec, vector_dtype, **options, **shared)
        made: Self = await run_in_thread(call)
        return made

    async def aclose(self) -> None:
        """Async :meth:`Memory.close`, after the commits that were asked for before."""
        await self._thread.run(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # --- writing ---

    async def aadd(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
        *,
        delete: Iterable[str] | str = (),
    ) -> list[str]:
        """Async :meth:`Memory.add`; the embedder's own async method is awaited, once.

        A task that is cancelled while it waits may have committed: the commit itself runs to its end in its thread.
        """
        self._check_writable()
        return await self._writer.aadd(texts, metadata, ids, vectors, delete, self._thread)

    async def aupdate(self, record_id: str, *, text: str | None = None, metadata: Metadata | None = None) -> None:
        """Async :meth:`Memory.update`."""
        await self._writer.in_turn(self._thread, partial(self.update, record_id, text=text, metadata=metadata))

    async def adelete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Async :meth:`Memory.delete`."""
        return await self._writer.in_turn(self._thread, partial(self.delete, ids, where=where))

    # --- reading ---

    async def asearch(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        **options: Any,
    ) -> list[Hit]:
        """Async :meth:`Memory.search`, with its options."""
        embedding = options.pop("embedding", None)
        if embedding is None:
            embedding = await self._aembedded(query, mode)
        return await run_in_thread(
            self._answer,
            lambda snapshot: self._searcher.hits(
                snapshot, self._query(snapshot, query, k, where, mode, embedding, **options)
            ),
        )

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
        with_vectors: bool = False,
    ) -> list[Hit]:
        """Async :meth:`Memory.mmr`."""
        options: dict[str, Any] = {"alpha": alpha, "fusion": fusion, "recency": recency, "with_vectors": with_vectors}
        chosen = mode or "dense"
        embedding = await self._aembedded(query, chosen)
        return await run_in_thread(
            self._answer,
            lambda snapshot: self._searcher.mmr(
                snapshot, self._query(snapshot, query, k, where, chosen, embedding, **options), fetch_k, lambda_mult
            ),
        )

    async def _aembedded(self, query: str | ArrayLike, mode: Mode | None) -> Any:
        """Await a model's vector of a question; None where none is needed, or the snapshot is needed first."""
        if not isinstance(query, str) or not query.strip() or (mode or self.default_mode(query)) == "lexical":
            return None
        embedder = self.embedder
        if embedder is None or isinstance(embedder, FittableEmbedder):  # embeds in the thread, for its snapshot
            return None
        return await embedder.aembed_query(query)

    async def aprepare(self) -> None:
        """Async :meth:`Memory.prepare`."""
        await run_in_thread(self.prepare)

    async def aget(self, ids: str | Iterable[str]) -> Any:
        """Async :meth:`Memory.get`."""
        return await run_in_thread(self.get, ids)
