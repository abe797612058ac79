"""MemvidVectorStore: a memory as a LlamaIndex vector store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from typing_extensions import Unpack, override

from llama_index_memvid.embedding import to_embed_model
from llama_index_memvid.filters import both, check_text_fields, to_where
from llama_index_memvid.nodes import REF_DOC, to_columns, to_node
from llama_index_memvid.opening import IN_RAM, OverMemory, embedder_of, held_of, mode_of, newest
from llama_index_memvid.options import check_options
from llama_index_memvid.parameters import (
    AnywhereOptions,
    NoOptions,
    OpenOptions,
    QueryOptions,
    ReopenOptions,
    VectorDtype,
)
from llama_index_memvid.querying import NodeSearch, scope_of, to_result
from llama_index_memvid.sharing import delete_nodes_that
from llama_index_memvid.wording import our_words
from memvid_core import (
    Index,
    InvalidInputError,
    Library,
    Memory,
    MemoryNotFoundError,
    MemvidError,
    Metric,
    WriterThread,
    run_in_thread,
)

__all__ = ["MemvidVectorStore"]


class MemvidVectorStore(OverMemory, BasePydanticVectorStore):
    """Store nodes in one MP4 file and find them by meaning, words, filter and id.

    Nodes are restored completely: class, relationships, excluded keys, images. Embeddings are returned by
        :meth:`get_nodes`, and by queries whose ``output_fields`` include ``"embedding"``. All query modes of LlamaIndex
        are supported; ``SPARSE`` and ``TEXT_SEARCH`` need no embedding. ``vector_store_kwargs`` may contain ``where``
        (a dict of ``docs/filters.md``, in addition to the filters), ``mmr_threshold``, and ``mmr_prefetch_factor`` or
        ``mmr_prefetch_k``; they override the query. With ``unique=True``, texts that occur several times are returned
        once; with ``passage=300``, the text of a node is the passage of at most 300 characters that answers best;
        ``rerank``, ``fuzzy`` and ``synonyms`` are those of :meth:`memvid_core.Memory.search`. The modes that train a
        classifier have none of these.

    Any number of stores, threads and processes may write one file. In a coroutine,
    ``async with await MemvidVectorStore.aopen("notes.mp4") as store`` does not block the event loop.

    Args:
        path: The MP4 file; it is created if it does not exist. By default everything is kept in RAM. With ``mode="r"``,
            also a URL, as in :meth:`memvid_core.Memory.open`. A path that ends in a slash, or a folder with
            ``library.json``, is a library (``docs/library.md``): each call of ``add`` then adds one file.
        mode: ``"a"`` to read and write; ``"r"`` to read, which requires that the file exists.
        embedder: Embeds queries that come without an embedding: a LlamaIndex embedding model, or anything else that
            ``memvid_core.as_embedder`` takes. None uses the built-in embedder if it wrote the file, and otherwise no
            embedder: an index supplies all embeddings.
        vector_dtype: The dtype of embeddings in a new file: ``"float16"`` (the default in a file), ``"float32"``,
            ``"float64"`` (the default in RAM, exact) or ``"int8"``.
        codec: How a new file stores payloads as pictures: ``"pcm"`` or ``"qr"``.
        index: How vectors are searched: ``"auto"``, ``"exact"``, ``"sklearn"``, ``"quantized"``, ``"ivf"`` or ``Ivf``,
            as in :meth:`memvid_core.Memory.open`. It is not stored in the file.
        metric: How a new file compares vectors: ``"cosine"`` (the default), ``"euclidean"``, ``"manhattan"`` or
            ``"chebyshev"``. For an existing file, it must be the metric of that file; None uses the file's metric.
            Similarities are cosines, or ``1 / (1 + distance)`` with another metric.
        index_dir: The folder of the index; by default ``<path>.index``, next to the file.
        memory: An open memory or library to use instead of all of the above. :meth:`close` leaves it open.
        timeout: How many seconds a write waits for other writers.
        storage_options: Options of fsspec's file system for a URL, such as credentials.
        fs: A file system of fsspec to read from, instead; ``path`` is a path in it.

    Raises:
        InvalidInputError: An argument is invalid, for example a model in place of the path.
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        EmbedderMismatchError: A different embedder wrote the file.

    Example:
        >>> from llama_index.core.schema import TextNode
        >>> with MemvidVectorStore(path="notes.mp4") as store:
        ...     ids = store.add([TextNode(id_="a", text="the wing lifts", embedding=[1.0, 0.0])])
        ...     store.query(VectorStoreQuery(query_embedding=[1.0, 0.0])).ids
        ['a']
    """

    stores_text: bool = True
    flat_metadata: bool = False
    path: str = IN_RAM
    mode: Literal["a", "r"] = "a"

    _held: Memory | Library = PrivateAttr()
    _owned: bool = PrivateAttr(default=True)
    _reopening: dict[str, Any] = PrivateAttr(default_factory=dict)
    _thread: WriterThread = PrivateAttr(default_factory=WriterThread)

    def __init__(
        self,
        path: str | os.PathLike[str] = IN_RAM,
        *,
        mode: Literal["a", "r"] = "a",
        embedder: object = None,
        vector_dtype: VectorDtype | None = None,
        codec: str = "pcm",
        index: Index = "auto",
        metric: Metric | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        memory: Memory | Library | None = None,
        timeout: float = 30.0,
        storage_options: Mapping[str, Any] | None = None,
        fs: object = None,
    ) -> None:
        options: dict[str, Any] = {"index": index, "metric": metric, "index_dir": index_dir, "timeout": timeout}
        options |= {
            name: value for name, value in (("storage_options", storage_options), ("fs", fs)) if value is not None
        }
        opened = held_of(memory, path, mode, embedder, codec=codec, vector_dtype=vector_dtype, **options)
        opened_for = mode if memory is None else mode_of(memory)
        super().__init__(path=opened.path, mode=opened_for)  # type: ignore[call-arg]
        self._held = opened
        self._owned = memory is None
        self._reopening = {"embedder": embedder if memory is None else embedder_of(memory), **options}

    # --- opening and closing ---

    @classmethod
    @override
    def class_name(cls) -> str:
        return "MemvidVectorStore"

    @classmethod
    def from_params(cls, path: str | os.PathLike[str] = IN_RAM, **options: Unpack[AnywhereOptions]) -> Self:
        """Open a store, as the constructor does; the name is a convention of LlamaIndex's stores."""
        return cls(path, **options)

    @classmethod
    def from_persist_path(
        cls, persist_path: str | os.PathLike[str], fs: Any = None, **options: Unpack[OpenOptions]
    ) -> Self:
        """Open the memory at a path; ``options`` are the constructor's.

        In a file system of ``fsspec`` that is not the local one, it is opened for reading.

        Raises:
            MemoryNotFoundError: The file does not exist.
        """
        protocols = getattr(fs, "protocol", "file")
        if "file" not in (protocols if isinstance(protocols, tuple | list) else (protocols,)):
            given: dict[str, Any] = {"mode": "r", **options}
            return cls(persist_path, fs=fs, **given)
        if not os.path.exists(persist_path):
            raise MemoryNotFoundError(f"{os.fspath(persist_path)!r} does not exist")
        return cls(persist_path, **options)

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any], **options: Unpack[ReopenOptions]) -> Self:
        """Open the store that ``to_dict`` described, by its path."""
        return cls(data.get("path", IN_RAM), mode=data.get("mode", "a"), **options)

    @override
    def persist(self, persist_path: str = "", fs: Any = None) -> None:
        """Check that the memory is open. Every change is durable in the memory's own file when its call returns.

        ``persist_path``, which names a JSON file in the folder of a storage context, is not written.
        """
        len(self._held)

    def __repr__(self) -> str:
        return f"MemvidVectorStore({self._held!r})"

    @property
    @override
    def client(self) -> Memory | Library:
        return self._held

    @property
    def embed_model(self) -> BaseEmbedding | None:
        """The memory's embedder as an embedding model, for an index on this store; None if it has none."""
        return to_embed_model(self._held.embedder)

    # --- writing ---

    @override
    def add(self, nodes: Sequence[BaseNode], batch_size: int | None = None, **unknown: Unpack[NoOptions]) -> list[str]:
        """Add nodes, durable on return. A known id is replaced completely; of equal ids the last one is kept.

        Args:
            nodes: Nodes with embeddings of equal length.
            batch_size: How many nodes are committed together; None commits all together.
            unknown: Rejected.

        Returns:
            The ids, in order.

        Raises:
            VectorError: A node has no embedding, or an invalid one.
            MetadataError: Metadata cannot be stored.
            UnknownOptionError: An option is unknown. Nothing is written.

        If a batch fails, earlier batches stay stored and the message says how many nodes they hold. Without
        ``batch_size``, a failure stores nothing.
        """
        check_options("add", unknown, ("batch_size",))
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise InvalidInputError(f"batch_size must be an integer of 1 or more, not {batch_size!r}")
        columns = to_columns(list(nodes))
        total = len(columns[0])
        stored: list[str] = []
        with our_words():
            for start in range(0, total, batch_size or max(total, 1)):
                stop = start + (batch_size or total)
                texts, metadata, ids, vectors = (column[start:stop] for column in columns)
                try:
                    stored += self._held.add(texts, metadata, ids, vectors)  # type: ignore[arg-type]
                except MemvidError as exc:
                    if stored:
                        exc.args = (
                            f"{exc.args[0]}; the first {start} of {total} nodes are stored: add nodes[{start}:] again",
                        )
                    raise
        return stored if total else self._held.add([])

    @override
    async def async_add(
        self, nodes: Sequence[BaseNode], batch_size: int | None = None, **unknown: Unpack[NoOptions]
    ) -> list[str]:
        """Async :meth:`add`, in a thread."""
        return await self._written(self.add, nodes, batch_size, **unknown)

    @override
    def delete(self, ref_doc_id: str, **unknown: Unpack[NoOptions]) -> None:
        """Delete the nodes of a document; an unknown document is ignored."""
        check_options("delete", unknown, ("ref_doc_id",))
        if not isinstance(ref_doc_id, str):
            raise InvalidInputError(f"ref_doc_id must be a str, not the {type(ref_doc_id).__name__} {ref_doc_id!r}")
        with our_words():
            self._held.delete(where={REF_DOC: ref_doc_id})

    @override
    async def adelete(self, ref_doc_id: str, **unknown: Unpack[NoOptions]) -> None:
        """Async :meth:`delete`, in a thread."""
        await self._written(self.delete, ref_doc_id, **unknown)

    @override
    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **unknown: Unpack[NoOptions]
    ) -> None:
        """Delete nodes by ids, by filters, or where both match; with neither, delete nothing.

        Without ids, records that agents, savers, stores and chat stores keep in the same memory are kept.
        """
        check_options("delete_nodes", unknown, ("node_ids", "filters"))
        with our_words():
            where = self._where(filters)
            if node_ids is not None:
                self._held.delete(node_ids, where=where or None)
            elif where:
                delete_nodes_that(self._held, where)

    @override
    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **unknown: Unpack[NoOptions]
    ) -> None:
        await self._written(self.delete_nodes, node_ids, filters, **unknown)

    @override
    def clear(self) -> None:
        """Delete all nodes. Until the memory is compacted, ``Memory.open(path, as_of=…)`` opens earlier states.

        Records that agents, savers, stores and chat stores keep in the same memory are kept.
        """
        with our_words():
            delete_nodes_that(self._held, {})

    @override
    async def aclear(self) -> None:
        await self._written(self.clear)

    # --- reading ---

    def _where(self, filters: MetadataFilters | None) -> dict[str, Any]:
        """Return the filters as a dict, checked against the stored values."""
        where = to_where(filters)
        check_text_fields(self._held, filters, {})
        return where

    @override
    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes with embeddings: those with the given ids, in their order, or all that match, as added.

        Unknown ids are ignored.
        """
        with our_words():
            return self._nodes(node_ids, self._where(filters))

    def _nodes(self, node_ids: list[str] | None, where: dict[str, Any]) -> list[BaseNode]:
        newest(self._held)
        if node_ids is None:
            return [to_node(record, vector) for record, vector in self._held.select_with_vectors(where)]
        wanted = list(node_ids)
        found = self._held.select_with_vectors(both({"$id": {"$in": wanted}}, where))
        nodes = {record.id: to_node(record, vector) for record, vector in found}
        return [nodes[name] for name in wanted if name in nodes]

    @override
    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        return await run_in_thread(self.get_nodes, node_ids, filters)

    @override
    def query(self, query: VectorStoreQuery, **options: Unpack[QueryOptions]) -> VectorStoreQueryResult:
        """Answer a query with nodes, ids and similarities, best first; ties in the order the nodes were added.

        Raises:
            QueryError: The mode is unknown, or needs words or an embedding that the query does not have.
            FilterError: The filter is invalid.
            DimensionError: The embedding has the wrong dimension.
        """
        question = NodeSearch.of(query, options)
        words = question.to_embed(self._held)
        if words is not None and self._held.embedder is not None:
            question = replace(question, embedding=self._held.embedder.embed_query(words))
        return self._answer(question, query)

    @override
    async def aquery(self, query: VectorStoreQuery, **options: Unpack[QueryOptions]) -> VectorStoreQueryResult:
        """Async :meth:`query`. Awaits the embedder; the search runs in a thread."""
        question = NodeSearch.of(query, options)
        words = question.to_embed(self._held)
        if words is not None and self._held.embedder is not None:
            question = replace(question, embedding=await self._held.embedder.aembed_query(words))
        return await run_in_thread(self._answer, question, query)

    def _answer(self, question: NodeSearch, query: VectorStoreQuery) -> VectorStoreQueryResult:
        with our_words():
            check_text_fields(newest(self._held), query.filters, scope_of(query))
            return to_result(question, question.hits(self._held))
