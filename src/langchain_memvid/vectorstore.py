"""MemvidVectorStore: a memory as a LangChain vector store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from typing_extensions import Unpack, override

from langchain_memvid.batches import Batches
from langchain_memvid.documents import Filter, StoreView, to_document, to_where
from langchain_memvid.embeddings import MemvidEmbeddings, to_embeddings
from langchain_memvid.opening import IN_RAM, OverMemory, alone, is_library, is_path, newest, open_library, open_memory
from langchain_memvid.options import check_options
from langchain_memvid.parameters import (
    AddOptions,
    CreateOptions,
    NoOptions,
    OpenOptions,
    RetrievalMode,
    VectorDtype,
)
from langchain_memvid.search import Searches, check_mode
from langchain_memvid.sharing import records_of_others
from langchain_memvid.wording import our_words
from memvid_core import Index, InvalidInputError, Library, Memory, MemoryNotFoundError, Metric, run_in_thread

__all__ = ["MemvidVectorStore"]

_ADDING = ("metadatas", "ids", "vectors", "batch_size")


class MemvidVectorStore(Searches, OverMemory):
    """Store documents in one MP4 file and find them by meaning, words, filter and id.

    Every search takes ``k`` and these options:

    - ``filter``: a dict in the filter language (``docs/filters.md``), or a function of a ``Document``, which the async
      methods call in another thread;
    - ``retrieval_mode``: ``"dense"``, ``"hybrid"`` or ``"lexical"``, for this call;
    - ``score_threshold``: the minimum relevance, in [0, 1];
    - ``unique``: whether texts that occur several times are returned once;
    - ``passage``: a number of characters; documents are then the passages of at most that length that answer the query
      best, with their ``start_index`` in the metadata;
    - ``alpha``, ``fusion``, ``recency``, ``fuzzy`` and ``synonyms``: as in :meth:`memvid_core.Memory.search`.

    ``…_with_score`` returns cosines for a dense search, or ``1 / (1 + distance)`` with another metric than cosine, and
    scores in [0, 1] for other modes. Higher is always better. ``…_with_relevance_scores`` always returns scores in
    [0, 1]. A blank query lists the documents that match the filter, or all documents, in the order they were added.

    Give each document its own id, or use LangChain's ``index()``, so that a program that runs twice stores each
    document once. Without ids, the second run adds all documents again.

    Any number of stores, threads and processes may write one file. In a coroutine,
    ``async with await MemvidVectorStore.aopen(path=...) as store`` does not block the event loop.

    Args:
        embedding: A LangChain ``Embeddings``, or anything else that :func:`memvid_core.as_embedder` takes. None selects
            the built-in offline embedder.
        path: The MP4 file; it is created if it does not exist. ``":memory:"`` keeps everything in RAM. With
            ``mode="r"``, also a URL, as in :meth:`memvid_core.Memory.open`. A path that ends in a slash, or a folder
            with ``library.json``, is a library (``docs/library.md``): each call of ``add_texts`` then adds one file.
        mode: ``"a"`` to read and write; ``"r"`` to read, which requires that the file exists.
        vector_dtype: The dtype of vectors in a new file: ``"float16"`` (the default in a file), ``"float32"``,
            ``"float64"`` (the default in RAM), ``"int8"`` or ``"none"``.
        codec: How a new file stores payloads as pictures: ``"pcm"`` or ``"qr"``.
        index: How vectors are searched: ``"auto"``, ``"exact"``, ``"sklearn"``, ``"quantized"``, ``"ivf"`` or ``Ivf``,
            as in :meth:`memvid_core.Memory.open`. It is not stored in the file.
        metric: How a new file compares vectors: ``"cosine"`` (the default), ``"euclidean"``, ``"manhattan"`` or
            ``"chebyshev"``. For an existing file, it must be the metric of that file; None uses the file's metric.
        index_dir: The folder of the index; by default ``<path>.index``, next to the file.
        retrieval_mode: The mode of searches for a text that do not set one. The default is ``"hybrid"`` with the
            built-in embedder, and otherwise ``"dense"``, LangChain's similarity search.
        memory: An open memory or library to use instead of all of the above except ``retrieval_mode``. :meth:`close`
            leaves it open.
        timeout: How many seconds a write waits for other writers.
        storage_options: Options of fsspec's file system for a URL, such as credentials.
        fs: A file system of fsspec to read from, instead; ``path`` is a path in it.

    Raises:
        InvalidInputError: An argument is invalid, for example a path in place of the embedding.
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        EmbedderMismatchError: A different embedder wrote the file.

    Example:
        >>> with MemvidVectorStore(path="notes.mp4") as store:
        ...     ids = store.add_texts(["the wing lifts", "the engine hums"], [{"page": 1}, {"page": 2}])
        ...     store.similarity_search("what does a wing do?", k=1, filter={"page": {"$lt": 2}})[0].page_content
        'the wing lifts'
    """

    def __init__(
        self,
        embedding: Embeddings | object = None,
        *,
        path: str | os.PathLike[str] = IN_RAM,
        mode: Literal["a", "r"] = "a",
        vector_dtype: VectorDtype | None = None,
        codec: str = "pcm",
        index: Index = "auto",
        metric: Metric | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        retrieval_mode: RetrievalMode | None = None,
        memory: Memory | Library | None = None,
        timeout: float = 30.0,
        storage_options: Mapping[str, Any] | None = None,
        fs: object = None,
    ) -> None:
        if is_path(embedding):
            raise InvalidInputError(f"{embedding!r} is a path, not an embedding: pass path={embedding!r}")
        self.retrieval_mode = None if retrieval_mode is None else check_mode(retrieval_mode)
        if memory is not None:
            if (
                path != IN_RAM
                or index != "auto"
                or any(given is not None for given in (embedding, vector_dtype, index_dir, metric, storage_options, fs))
            ):
                raise InvalidInputError("give either an open memory, or an embedding and a path: a memory has its own")
            if not isinstance(memory, Memory | Library):
                raise InvalidInputError(f"memory must be an open Memory, not a value of type {type(memory).__name__}")
        chosen = embedding.embedder if isinstance(embedding, MemvidEmbeddings) else embedding
        options: dict[str, Any] = {"index": index, "metric": metric, "index_dir": index_dir, "timeout": timeout}
        options |= {
            name: value for name, value in (("storage_options", storage_options), ("fs", fs)) if value is not None
        }
        opener = open_library if is_library(path) else open_memory
        opened = memory or opener(path, mode, chosen, codec=codec, vector_dtype=vector_dtype, **options)
        self._hold(opened, owned=memory is None, retrieval_mode=self.retrieval_mode, **options)
        self._arguments["embedding"] = self._embedder()

    # --- opening and closing ---

    @classmethod
    @override
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | object = None,
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """Create a store with these texts; ``batch_size`` is that of :meth:`add_texts`.

        ``options`` are the constructor's.

        If the file exists, the texts are added to it; give ``ids`` to replace the texts of an earlier run.
        """
        store = cls(embedding, **options)
        try:
            store.add_texts(texts, metadatas, ids=ids, batch_size=batch_size)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    @override
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | object = None,
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """Async :meth:`from_texts`."""
        store = await run_in_thread(partial(cls, embedding, **options))
        try:
            await store.aadd_texts(texts, metadatas, ids=ids, batch_size=batch_size)
        except BaseException:
            await store.aclose()
            raise
        return store

    @classmethod
    @override
    def from_documents(
        cls,
        documents: Iterable[Document],
        embedding: Embeddings | object = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """Create a store with these documents, as :meth:`from_texts` does; a document with an ``id`` is stored once."""
        texts, metadatas, ids = _columns(documents, ids)
        return cls.from_texts(texts, embedding, metadatas, ids=ids, batch_size=batch_size, **options)

    @classmethod
    @override
    async def afrom_documents(
        cls,
        documents: Iterable[Document],
        embedding: Embeddings | object = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Unpack[CreateOptions],
    ) -> Self:
        """Async :meth:`from_documents`."""
        texts, metadatas, ids = _columns(documents, ids)
        return await cls.afrom_texts(texts, embedding, metadatas, ids=ids, batch_size=batch_size, **options)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], embedding: Embeddings | object = None, **options: Unpack[OpenOptions]
    ) -> Self:
        """Open the existing memory at ``path``, for example one that :meth:`dump` wrote. Additions go to the same file.

        Raises:
            MemoryNotFoundError: The file does not exist.
        """
        remote = options.get("fs") is not None or "://" in os.fspath(path)
        if not remote and not os.path.exists(path):
            raise MemoryNotFoundError(f"{os.fspath(path)!r} does not exist")
        return cls(embedding, path=path, **options)

    @classmethod
    async def aload(
        cls, path: str | os.PathLike[str], embedding: Embeddings | object = None, **options: Unpack[OpenOptions]
    ) -> Self:
        """Async :meth:`load`."""
        return await run_in_thread(partial(cls.load, path, embedding, **options))

    def dump(self, path: str | os.PathLike[str]) -> None:
        """Write every record to a new memory at ``path``: one MP4 file, which replaces an existing one.

        The folder is created if it is missing. The store keeps using its own file, or RAM.

        Raises:
            InvalidInputError: ``path`` is the store's own file.
            StorageError: Writing failed. An existing file is unchanged.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with our_words():
            self.memory.save(path)

    async def adump(self, path: str | os.PathLike[str]) -> None:
        """Async :meth:`dump`."""
        await self._written(self.dump, path)

    def __repr__(self) -> str:
        mode = "" if self.retrieval_mode is None else f", retrieval_mode={self.retrieval_mode!r}"
        return f"MemvidVectorStore({self._held!r}{mode})"

    @property
    @override
    def embeddings(self) -> Embeddings | None:
        """The embeddings; None if the memory was opened without the embedder that wrote it."""
        return to_embeddings(self._held.embedder)

    @property
    def store(self) -> StoreView:
        """A read-only mapping from each id to its record and vector."""
        return StoreView(newest(self._held))

    # --- writing ---

    @override
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        vectors: Sequence[Sequence[float] | None] | None = None,
        batch_size: int | None = None,
        **unknown: Unpack[NoOptions],
    ) -> list[str]:
        """Add texts, durable on return. A known id is replaced completely; of equal ids the last one is kept.

        Args:
            texts: The texts.
            metadatas: One dict per text.
            ids: One id per text; for None, an id is generated.
            vectors: One vector per text, used instead of embedding the text.
            batch_size: How many texts are embedded and committed together; None commits all together.
            unknown: Rejected.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: Lengths differ, or a value cannot be stored.
            EmbeddingError: The embedder failed.
            UnknownOptionError: An option is unknown. Nothing is written.

        If a batch fails, earlier batches stay stored and the message says how many texts they hold; with explicit ids,
        all texts can be added again. Without ``batch_size``, a failure stores nothing.
        """
        check_options("add_texts", unknown, _ADDING)
        batches = Batches.of(texts, metadatas, ids, vectors, batch_size)
        with our_words():
            for batch in batches:
                with batches.reporting_progress():
                    batches.stored += self._held.add(*batch)
        return batches.stored

    @override
    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        vectors: Sequence[Sequence[float] | None] | None = None,
        batch_size: int | None = None,
        **unknown: Unpack[NoOptions],
    ) -> list[str]:
        check_options("aadd_texts", unknown, _ADDING)
        batches = Batches.of(texts, metadatas, ids, vectors, batch_size)
        with our_words():
            for batch in batches:
                with batches.reporting_progress():
                    batches.stored += await self._held.aadd(*batch)
        return batches.stored

    @override
    def add_documents(
        self, documents: Iterable[Document], ids: Iterable[str | None] | None = None, **options: Unpack[AddOptions]
    ) -> list[str]:
        """Add documents as :meth:`add_texts` does; ``ids`` override the documents' own ids."""
        texts, metadatas, ids = _columns(documents, ids)
        return self.add_texts(texts, metadatas, ids=ids, **options)

    @override
    async def aadd_documents(
        self, documents: Iterable[Document], ids: Iterable[str | None] | None = None, **options: Unpack[AddOptions]
    ) -> list[str]:
        texts, metadatas, ids = _columns(documents, ids)
        return await self.aadd_texts(texts, metadatas, ids=ids, **options)

    @override
    def delete(
        self, ids: Iterable[str] | None = None, *, filter: Filter | None = None, **unknown: Unpack[NoOptions]
    ) -> bool:
        """Delete by ids, by filter, or where both match. With neither, delete all documents, as LangChain specifies.

        Without ids, records that agents, savers, stores and chat stores keep in the same memory are kept. An empty list
        deletes nothing; an empty filter alone raises ``InvalidInputError``. Until the memory is compacted,
        ``Memory.open(path, as_of=…)`` opens earlier states.

        Returns:
            True. Unknown ids are ignored; a failure raises.

        Raises:
            FilterError: The filter is invalid, or a filter function does not return a bool. Nothing is deleted.
            UnknownOptionError: An option is unknown. Nothing is deleted.
        """
        check_options("delete", unknown, ("ids", "filter"))
        where = to_where(filter)
        if isinstance(where, Mapping) and not where and ids is None:
            raise InvalidInputError(
                "say what to delete: ids, filter=, or both; with neither, delete() removes every document"
            )
        with our_words(), alone(self._held):  # reading and deleting must see the same records
            if ids is None:
                others = records_of_others(self._held)
                names = [one.id for one in self._held if where(one)] if callable(where) else self._held.ids(where)
                self._held.delete([name for name in names if name not in others])
            elif callable(where):
                self._held.delete([one.id for one in self._held.get(_several(ids)) if where(one)])
            else:
                self._held.delete(_several(ids), where=where)
        return True

    @override
    async def adelete(
        self, ids: Iterable[str] | None = None, *, filter: Filter | None = None, **unknown: Unpack[NoOptions]
    ) -> bool:
        return await self._written(self.delete, ids, filter=filter, **unknown)

    # --- reading ---

    @override
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        with our_words():
            return [to_document(record) for record in newest(self._held).get(_several(ids))]

    @override
    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return await run_in_thread(self.get_by_ids, ids)


def _several(ids: Iterable[str]) -> list[str]:
    """Return the ids as a list; a single ``str`` is one id."""
    given: object = ids
    if not isinstance(given, Iterable):
        raise InvalidInputError(f"ids are texts, not a value of type {type(given).__name__}")
    return [ids] if isinstance(ids, str) else list(ids)


def _columns(
    documents: Iterable[Document], ids: Iterable[str | None] | None
) -> tuple[list[str], list[dict[str, Any]], list[str | None]]:
    """Return the texts, metadata and ids of documents, which may be a generator."""
    given = list(documents)
    chosen = [document.id for document in given] if ids is None else list(ids)
    return [document.page_content for document in given], [document.metadata for document in given], chosen
