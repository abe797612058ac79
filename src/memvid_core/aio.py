"""The asynchronous face of a memory: embedders are awaited, everything else runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from memvid_core.model import Hit, Recency

if TYPE_CHECKING:
    from memvid_core.embedding import Embedder
    from memvid_core.generation import View
    from memvid_core.searching import Fusion, Mode, Query, Searcher, Where
    from memvid_core.writing import GivenVectors, Metadata, Writer

__all__ = ["AsyncMemory"]


class AsyncMemory:
    """Async twins of the methods that wait for a disk or a model; none of them blocks the event loop."""

    if TYPE_CHECKING:  # what Memory brings
        _searcher: Searcher
        _writer: Writer

        @property
        def embedder(self) -> Embedder | None:
            """What turns texts into vectors."""

        def _check_writable(self) -> None: ...

        def _view(self) -> View: ...

        def _query(self, *args: Any, **options: Any) -> Query: ...

        def default_mode(self, text: str | None) -> Mode:
            """What a search does when it is not told."""

        def get(self, ids: Any) -> Any:
            """Records by id."""

        def delete(self, ids: Any = None, *, where: Any = None) -> int:
            """Delete records."""

    async def aadd(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
        *,
        delete: Iterable[str] | str = (),
    ) -> list[str]:
        """Async :meth:`Memory.add`; the embedder's own async method is awaited, once."""
        self._check_writable()
        writer = self._writer
        prepared = await asyncio.to_thread(writer.prepare, texts, metadata, ids, delete)
        if not prepared.rows:
            return await asyncio.to_thread(lambda: writer.store(prepared, (), given=False))
        await asyncio.to_thread(writer.fit, prepared, learn=vectors is None)
        if vectors is not None:
            return await asyncio.to_thread(lambda: writer.store(prepared, writer.given(prepared, vectors), given=True))
        made = await writer.aembed(prepared)
        return await asyncio.to_thread(writer.store, prepared, made, given=False)

    async def asearch(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        **options: Any,
    ) -> list[Hit]:
        """Async :meth:`Memory.search`, with its options."""
        view = await asyncio.to_thread(self._view)  # before the question is embedded, as what embeds it may follow
        asked = await self._aquery(query, k, where, mode, **options)
        return await asyncio.to_thread(self._searcher.hits, view, asked)

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
        vectors: bool = False,
    ) -> list[Hit]:
        """Async :meth:`Memory.mmr`."""
        view = await asyncio.to_thread(self._view)
        options: dict[str, Any] = {"alpha": alpha, "fusion": fusion, "recency": recency, "vectors": vectors}
        asked = await self._aquery(query, k, where, mode or "dense", **options)
        return await asyncio.to_thread(self._searcher.mmr, view, asked, fetch_k, lambda_mult)

    async def _aquery(
        self,
        query: str | ArrayLike,
        k: int,
        where: Where | None,
        mode: Mode | None,
        embedding: ArrayLike | None = None,
        **options: Any,
    ) -> Query:
        text = query if isinstance(query, str) and query.strip() and embedding is None else None
        if text is not None and self.embedder is not None and (mode or self.default_mode(text)) != "lexical":
            embedding = await self.embedder.aembed_query(text)
        return self._query(query, k, where, mode, embedding, **options)

    async def aget(self, ids: str | Iterable[str]) -> Any:
        """Async :meth:`Memory.get`."""
        return await asyncio.to_thread(self.get, ids)

    async def adelete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Async :meth:`Memory.delete`."""
        return await asyncio.to_thread(lambda: self.delete(ids, where=where))
