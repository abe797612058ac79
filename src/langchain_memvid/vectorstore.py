"""MemvidVectorStore: a memory as LangChain's vector store."""

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
from langchain_memvid.opening import IN_RAM, OverMemory, is_path, open_memory
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
from memvid_core import IndexName, InvalidInputError, Memory, MemoryNotFoundError, Metric, run_in_thread

__all__ = ["MemvidVectorStore"]

_ADDING = ("metadatas", "ids", "vectors", "batch_size")


class MemvidVectorStore(Searches, OverMemory):
    """Documents in one MP4 file, found again by meaning, by words, by filter and by id.

    Every search takes ``k`` and these options:

    - ``filter``: a dict of the filter language (``docs/filters.md``), or a function of a ``Document``, which the async
      methods call in another thread;
    - ``retrieval_mode``: ``"dense"``, ``"hybrid"`` or ``"lexical"``, for this call;
    - ``score_threshold``: the least relevance, in [0, 1];
    - ``alpha``, ``fusion`` and ``recency``: as in :meth:`memvid_core.Memory.search`, but not for maximal marginal
      relevance.

    ``…_with_score`` gives cosines for a dense search, and the score in [0, 1] for the others; with another metric than
    cosine it gives ``1 / (1 + distance)`` for a dense search. Higher is always better. ``…_with_relevance_scores``
    gives scores in [0, 1] for all. A blank query lists what matches the filter, or all documents, in the order they
    were added.

    Give each document an id of its own, or use LangChain's ``index()``: a program that is run twice then stores each
    document once. Without ids the second run adds them all again.

    Any number of stores, threads and processes may write one file. In a coroutine,
    ``async with await MemvidVectorStore.aopen(path=...) as store`` does not block the event loop.

    Args:
        embedding: A LangChain ``Embeddings``, or anything else :func:`memvid_core.as_embedder` takes; None is the
            built-in offline embedder.
        path: The MP4 file, opened if it is there and created if not; ``":memory:"`` keeps all in RAM.
        mode: ``"a"`` to read and write, ``"r"`` to read; the file must then exist.
        vector_dtype: How a new file stores vectors: ``"float16"`` (the default in a file), ``"float32"``, ``"float64"``
            (the default in RAM), ``"int8"`` or ``"none"``.
        codec: What a new file's pictures are: ``"pcm"`` or ``"qr"``.
        index: How vectors are searched: ``"auto"``, ``"exact"``, ``"sklearn"``, ``"quantized"`` or ``"ivf"``, as in
            :meth:`memvid_core.Memory.open`. It is not kept in the file.
        metric: How a new file compares vectors: ``"cosine"`` (the default), ``"euclidean"``, ``"manhattan"`` or
            ``"chebyshev"``. Of a file that is there it must be the one that it was made with; None takes that.
        index_dir: Where the index goes; by default beside the file, as ``<path>.index``.
        retrieval_mode: How texts are searched for when a call does not say. By default ``"dense"``, which is what
            LangChain means by similarity, and ``"hybrid"`` with the built-in embedder.
        memory: An open memory to use instead of all the above but ``retrieval_mode``; it stays open on :meth:`close`.
        timeout: How many seconds a write waits while others write.

    Raises:
        InvalidInputError: An argument that cannot be taken, as a path where the embedding goes.
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        EmbedderMismatchError: Another embedder wrote the file.

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
        index: IndexName = "auto",
        metric: Metric | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        retrieval_mode: RetrievalMode | None = None,
        memory: Memory | None = None,
        timeout: float = 30.0,
    ) -> None:
        if is_path(embedding):
            raise InvalidInputError(f"{embedding!r} is a path, and this is the embedding: give path={embedding!r}")
        self.retrieval_mode = None if retrieval_mode is None else check_mode(retrieval_mode)
        if memory is not None:
            if (
                path != IN_RAM
                or index != "auto"
                or any(given is not None for given in (embedding, vector_dtype, index_dir, metric))
            ):
                raise InvalidInputError("give an open memory, or an embedding and a path: the memory has its own")
            if not isinstance(memory, Memory):
                raise InvalidInputError(f"memory is an open Memory, not a value of type {type(memory).__name__}")
        chosen = embedding.embedder if isinstance(embedding, MemvidEmbeddings) else embedding
        options: dict[str, Any] = {"index": index, "metric": metric, "index_dir": index_dir, "timeout": timeout}
        opened = memory or open_memory(path, mode, chosen, codec=codec, vector_dtype=vector_dtype, **options)
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
        """A store with these texts in it; ``batch_size`` is that of :meth:`add_texts`.

        ``options`` are the constructor's.

        A file that is there is added to; give ``ids`` to replace what an earlier run stored.
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
        """A store with these documents in it, as :meth:`from_texts`; documents with an ``id`` are stored once."""
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
        """Open the memory that :meth:`dump`, or anything else, wrote at ``path``; what is added later goes there too.

        Raises:
            MemoryNotFoundError: There is no such file.
        """
        if not os.path.exists(path):
            raise MemoryNotFoundError(f"there is no memory at {os.fspath(path)!r} to load")
        return cls(embedding, path=path, **options)

    def dump(self, path: str | os.PathLike[str]) -> None:
        """Write every record into a memory of its own at ``path``, in place of what is there: one MP4 file.

        The folder is made if it is missing. The store goes on with the file it had, or in RAM.

        Raises:
            InvalidInputError: ``path`` is the file of this very store.
            StorageError: The system refused. What was there stays.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with our_words():
            self.memory.save(path)

    def __repr__(self) -> str:
        mode = "" if self.retrieval_mode is None else f", retrieval_mode={self.retrieval_mode!r}"
        return f"MemvidVectorStore({self.memory!r}{mode})"

    @property
    @override
    def embeddings(self) -> Embeddings | None:
        """What embeds texts; None if the memory was opened without the embedder that wrote it."""
        return to_embeddings(self.memory.embedder)

    @property
    def store(self) -> StoreView:
        """Every record by its id, with its vector, to read only."""
        return StoreView(self.memory)

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
        """Add texts, durable on return. A known id is replaced whole; of equal ids the last one stays.

        Args:
            texts: The texts.
            metadatas: A dict a text.
            ids: An id a text; where one is None, a new one is made.
            vectors: A vector a text, instead of embedding them.
            batch_size: How many texts are embedded and committed at a time; None is all of them, as one commit.
            unknown: Refused.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: Lengths differ, or something cannot be stored.
            EmbeddingError: The embedder failed.
            UnknownOptionError: An option that is none of these. Nothing is written.

        What was raised is of the batch that failed: those before it stay, and the message says how many texts that are.
        With ids of their own all of them can be added again. Without ``batch_size`` nothing is written.
        """
        check_options("add_texts", unknown, _ADDING)
        batches = Batches.of(texts, metadatas, ids, vectors, batch_size)
        with our_words():
            for batch in batches:
                with batches.told():
                    batches.stored += self.memory.add(*batch)
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
                with batches.told():
                    batches.stored += await self.memory.aadd(*batch)
        return batches.stored

    @override
    def add_documents(
        self, documents: Iterable[Document], ids: Iterable[str | None] | None = None, **options: Unpack[AddOptions]
    ) -> list[str]:
        """Add documents as :meth:`add_texts` does; ``ids`` go before the documents' own."""
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
        """Delete by id, by filter, or what both name. With neither, delete all documents, as LangChain's contract says.

        Without ids, what agents, savers, stores and chat stores keep in the same memory is not touched. An empty list
        deletes nothing, and an empty filter alone raises ``InvalidInputError``. Until the memory is compacted,
        ``Memory.open(path, as_of=…)`` shows the past.

        Returns:
            True: ids that are not there are passed over, and a real failure raises.

        Raises:
            FilterError: The filter is wrong, or a function that gives no bool. Nothing is deleted.
            UnknownOptionError: Another option. Nothing is deleted.
        """
        check_options("delete", unknown, ("ids", "filter"))
        where = to_where(filter)
        if isinstance(where, Mapping) and not where and ids is None:
            raise InvalidInputError(
                "say what to delete: ids, filter=, or neither of them to clear the store of every document"
            )
        with our_words(), self.memory.exclusive():  # what is read here is still true when it is deleted
            if ids is None:
                others = records_of_others(self.memory)
                names = [one.id for one in self.memory if where(one)] if callable(where) else self.memory.ids(where)
                self.memory.delete([name for name in names if name not in others])
            elif callable(where):
                self.memory.delete([one.id for one in self.memory.get(_several(ids)) if where(one)])
            else:
                self.memory.delete(_several(ids), where=where)
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
            return [to_document(record) for record in self.memory.get(_several(ids))]

    @override
    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return await run_in_thread(self.get_by_ids, ids)


def _several(ids: Iterable[str]) -> list[str]:
    """The ids as a list; one ``str`` is one id, and not its letters."""
    return [ids] if isinstance(ids, str) else list(ids)


def _columns(
    documents: Iterable[Document], ids: Iterable[str | None] | None
) -> tuple[list[str], list[dict[str, Any]], list[str | None]]:
    """Texts, metadata and ids of documents, which may come from a generator."""
    given = list(documents)
    chosen = [document.id for document in given] if ids is None else list(ids)
    return [document.page_content for document in given], [document.metadata for document in given], chosen
