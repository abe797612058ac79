"""MemvidVectorStore: a memory as LangChain's vector store."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from typing_extensions import override

from langchain_memvid.documents import Filter, StoreView, to_document, to_where
from langchain_memvid.embeddings import MemvidEmbeddings, to_embeddings
from langchain_memvid.search import RetrievalMode, Searches, check_mode
from memvid_core import InvalidInputError, Memory, MemoryNotFoundError

__all__ = ["MemvidVectorStore"]

_IN_RAM = ":memory:"


class MemvidVectorStore(Searches):
    """Documents in one MP4 file, found again by meaning, by words, by filter and by id.

    Every search takes ``k`` and these options:

    - ``filter``: a dict of the filter language (``docs/filters.md``), or a function of a ``Document``, which the async
      methods call in another thread;
    - ``retrieval_mode``: ``"dense"``, ``"hybrid"`` or ``"lexical"``, for this call;
    - ``score_threshold``: the least relevance, in [0, 1];
    - ``alpha``, ``fusion`` and ``recency``: as in :meth:`memvid_core.Memory.search`, but not for maximal marginal
      relevance.

    ``…_with_score`` gives cosines, higher is better, for a dense search, and the score in [0, 1] for the others;
    ``…_with_relevance_scores`` gives scores in [0, 1] for all. A blank query with a filter lists what matches.

    Args:
        embedding: A LangChain ``Embeddings``, or anything else :func:`memvid_core.as_embedder` takes; None is the
            built-in offline embedder.
        path: The MP4 file, opened if it is there and created if not; ``":memory:"`` keeps all in RAM.
        mode: ``"a"`` to write, ``"r"`` to read beside another writer; the file must then exist.
        vectors: How a new file stores vectors: ``"float16"`` (the default in a file), ``"float32"``, ``"float64"`` (the
            default in RAM), ``"int8"`` or ``"none"``.
        codec: What a new file's pictures are: ``"pcm"`` or ``"qr"``.
        index_dir: Where the index goes; by default beside the file, as ``<path>.index``.
        retrieval_mode: How texts are searched for when a call does not say. By default ``"dense"``, which is what
            LangChain means by similarity, and ``"hybrid"`` with the built-in embedder.
        memory: An open memory to use instead of all the above but ``retrieval_mode``; it stays open on :meth:`close`.

    Raises:
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        EmbedderMismatchError: Another embedder wrote the file.
        LockedError: Another writer has it.

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
        path: str | os.PathLike[str] = _IN_RAM,
        mode: Literal["a", "r"] = "a",
        vectors: Literal["float16", "float32", "float64", "int8", "none"] | None = None,
        codec: str = "pcm",
        index_dir: str | os.PathLike[str] | None = None,
        retrieval_mode: RetrievalMode | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._owned = memory is None
        self.retrieval_mode = None if retrieval_mode is None else check_mode(retrieval_mode)
        if memory is not None:
            if path != _IN_RAM or any(given is not None for given in (embedding, vectors, index_dir)):
                raise InvalidInputError("give an open memory, or an embedding and a path: the memory has its own")
            self.memory = memory
            return
        embedder = embedding.embedder if isinstance(embedding, MemvidEmbeddings) else embedding
        if path != _IN_RAM and (mode == "r" or os.path.exists(path)):
            self.memory = Memory.open(path, mode, embedder=embedder, index_dir=index_dir)
        else:
            self.memory = Memory.create(path, embedder, codec, vectors, index_dir=index_dir)

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
        **options: Any,
    ) -> Self:
        """A store with these texts in it; ``options`` are the constructor's. A file that is there is added to."""
        store = cls(embedding, **options)
        try:
            store.add_texts(texts, metadatas, ids=ids)
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
        **options: Any,
    ) -> Self:
        """Async :meth:`from_texts`."""
        store = await asyncio.to_thread(cls, embedding, **options)
        try:
            await store.aadd_texts(texts, metadatas, ids=ids)
        except BaseException:
            await asyncio.to_thread(store.close)
            raise
        return store

    @classmethod
    @override
    def from_documents(
        cls, documents: Iterable[Document], embedding: Embeddings | object = None, **options: Any
    ) -> Self:
        """A store with these documents in it; ``options`` are the constructor's. A file that is there is added to."""
        texts, metadatas, ids = _columns(documents, options.pop("ids", None))
        return cls.from_texts(texts, embedding, metadatas, ids=ids, **options)

    @classmethod
    @override
    async def afrom_documents(
        cls, documents: Iterable[Document], embedding: Embeddings | object = None, **options: Any
    ) -> Self:
        """Async :meth:`from_documents`."""
        texts, metadatas, ids = _columns(documents, options.pop("ids", None))
        return await cls.afrom_texts(texts, embedding, metadatas, ids=ids, **options)

    @classmethod
    def load(cls, path: str | os.PathLike[str], embedding: Embeddings | object = None, **options: Any) -> Self:
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
        self.memory.save(path)

    def close(self) -> None:
        """Close the memory, unless it was given open; closing twice is fine."""
        if self._owned:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

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
        **others: Any,
    ) -> list[str]:
        """Add texts as one commit, durable on return. A known id is replaced whole; of equal ids the last one stays.

        Args:
            texts: The texts.
            metadatas: A dict a text.
            ids: An id a text; where one is None, a new one is made.
            vectors: A vector a text, instead of embedding them.
            others: What LangChain hands on for other stores, such as ``batch_size``; passed over.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: Lengths differ, or something cannot be stored. Nothing is written.
            TypeError: An option that is nearly one of these. Nothing is written.
        """
        _check_names(others)
        return self.memory.add(texts, metadatas, ids, vectors)

    @override
    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        vectors: Sequence[Sequence[float] | None] | None = None,
        **others: Any,
    ) -> list[str]:
        _check_names(others)
        return await self.memory.aadd(texts, metadatas, ids, vectors)

    @override
    def add_documents(
        self, documents: Iterable[Document], ids: Iterable[str | None] | None = None, **options: Any
    ) -> list[str]:
        """Add documents as :meth:`add_texts` does; ``ids`` go before the documents' own."""
        texts, metadatas, ids = _columns(documents, ids)
        return self.add_texts(texts, metadatas, ids=ids, **options)

    @override
    async def aadd_documents(
        self, documents: Iterable[Document], ids: Iterable[str | None] | None = None, **options: Any
    ) -> list[str]:
        texts, metadatas, ids = _columns(documents, ids)
        return await self.aadd_texts(texts, metadatas, ids=ids, **options)

    @override
    def delete(self, ids: Iterable[str] | None = None, *, filter: Filter | None = None, **unknown: Any) -> bool:
        """Delete by id, by filter, or what both name. With neither, delete all, as LangChain's contract says.

        An empty list deletes nothing, and an empty filter alone raises ``InvalidInputError``. Until the memory is
        compacted, ``Memory.open(path, as_of=…)`` shows the past.

        Returns:
            True: ids that are not there are passed over, and a real failure raises.
        """
        if unknown:  # passed over, a mistyped filter would delete everything
            raise TypeError(f"delete takes ids and filter, not {', '.join(sorted(unknown))}")
        where = to_where(filter)
        if ids is None and where is None:
            self.memory.clear()
            return True
        chosen = None if ids is None else _several(ids)
        if callable(where):
            records = self.memory if chosen is None else self.memory.get(chosen)
            self.memory.delete([record.id for record in records if where(record)])
        else:
            self.memory.delete(chosen, where=where)
        return True

    @override
    async def adelete(self, ids: Iterable[str] | None = None, **options: Any) -> bool:
        return await asyncio.to_thread(self.delete, ids, **options)

    # --- reading ---

    @override
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return [to_document(record) for record in self.memory.get(_several(ids))]

    @override
    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return [to_document(record) for record in await self.memory.aget(_several(ids))]


def _several(ids: Iterable[str]) -> list[str]:
    """The ids as a list; one ``str`` is one id, and not its letters."""
    return [ids] if isinstance(ids, str) else list(ids)


def _check_names(options: Mapping[str, Any]) -> None:
    """Raise for a slip of the pen, which would lose metadata, ids or vectors without a word."""
    for name in options:
        near = difflib.get_close_matches(name, ("metadatas", "ids", "vectors"), n=1, cutoff=0.75)
        if near:
            raise TypeError(f"there is no option {name!r}; did you mean {near[0]!r}?")


def _columns(
    documents: Iterable[Document], ids: Iterable[str | None] | None
) -> tuple[list[str], list[dict[str, Any]], list[str | None]]:
    """Texts, metadata and ids of documents, which may come from a generator."""
    given = list(documents)
    chosen = [document.id for document in given] if ids is None else list(ids)
    return [document.page_content for document in given], [document.metadata for document in given], chosen
