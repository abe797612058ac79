"""MemvidVectorStore: a memory as LlamaIndex's vector store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
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
from typing_extensions import override

from llama_index_memvid.embedding import to_embed_model
from llama_index_memvid.filters import both, check_text_fields, to_where
from llama_index_memvid.nodes import REF_DOC, to_columns, to_node
from llama_index_memvid.opening import IN_RAM, open_memory
from llama_index_memvid.querying import Question, scope_of, to_result
from memvid_core import InvalidInputError, Memory, MemoryNotFoundError

__all__ = ["MemvidVectorStore"]


class MemvidVectorStore(BasePydanticVectorStore):
    """Nodes in one MP4 file, found again by meaning, by words, by filter and by id.

    Nodes come back whole: class, relationships, excluded keys, images. Embeddings come with :meth:`get_nodes`, and with
    a query whose ``output_fields`` name ``"embedding"``. All query modes of LlamaIndex are there; ``SPARSE`` and
    ``TEXT_SEARCH`` need no embedding. ``vector_store_kwargs`` may hold ``where`` (a dict of ``docs/filters.md``, beside
    the filters), ``mmr_threshold``, and ``mmr_prefetch_factor`` or ``mmr_prefetch_k``.

    Args:
        path: The MP4 file, opened if it is there and created if not; by default all is kept in RAM.
        mode: ``"a"`` to write, ``"r"`` to read beside another writer; the file must then exist.
        embedder: What embeds a query that comes without an embedding: an embedding model of LlamaIndex, or anything
            else ``memvid_core.as_embedder`` takes. None is the built-in one if that wrote the file, and otherwise none:
            an index brings all embeddings itself.
        vectors: How a new file stores embeddings: ``"float16"`` (the default in a file), ``"float32"``, ``"float64"``
            (the default in RAM: exactly what was given) or ``"int8"``.
        codec: What a new file's pictures are: ``"pcm"`` or ``"qr"``.
        index_dir: Where the index goes; by default beside the file, as ``<path>.index``.
        memory: An open memory to use instead of all the above; it stays open on :meth:`close`.

    Raises:
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        EmbedderMismatchError: Another embedder wrote the file.
        LockedError: Another writer has it.

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

    _memory: Memory = PrivateAttr()
    _owned: bool = PrivateAttr(default=True)
    _reopening: dict[str, Any] = PrivateAttr(default_factory=dict)
    _reads_first: bool = PrivateAttr(default=False)

    def __init__(
        self,
        path: str | os.PathLike[str] = IN_RAM,
        *,
        mode: Literal["a", "r"] = "a",
        embedder: object = None,
        vectors: Literal["float16", "float32", "float64", "int8"] | None = None,
        codec: str = "pcm",
        index_dir: str | os.PathLike[str] | None = None,
        memory: Memory | None = None,
    ) -> None:
        if memory is not None and (
            path != IN_RAM or any(given is not None for given in (embedder, vectors, index_dir))
        ):
            raise InvalidInputError("give an open memory, or a path and its options: the memory has its own")
        if memory is not None and not isinstance(memory, Memory):
            raise InvalidInputError(f"memory is an open Memory, not a value of type {type(memory).__name__}")
        opened = memory
        if opened is None:
            opened = open_memory(path, mode, embedder, codec=codec, vectors=vectors, index_dir=index_dir)
        super().__init__(path=opened.path, mode=mode)  # type: ignore[call-arg]
        self._memory = opened
        self._owned = memory is None
        self._reopening = {"embedder": embedder, "index_dir": index_dir}

    # --- opening and closing ---

    @classmethod
    @override
    def class_name(cls) -> str:
        return "MemvidVectorStore"

    @classmethod
    def from_params(cls, path: str | os.PathLike[str] = IN_RAM, **options: Any) -> Self:
        """The same as the constructor, under the name that other stores of LlamaIndex have for it."""
        return cls(path, **options)

    @classmethod
    def from_persist_path(cls, persist_path: str | os.PathLike[str], fs: Any = None, **options: Any) -> Self:
        """Open the memory at a path; ``options`` are the constructor's.

        Raises:
            MemoryNotFoundError: There is no such file.
            InvalidInputError: It lies on a file system of ``fsspec`` that is not the local one.
        """
        protocols = getattr(fs, "protocol", "file")
        if "file" not in (protocols if isinstance(protocols, tuple | list) else (protocols,)):
            raise InvalidInputError(f"a memory is a local file; copy it from {protocols} first")
        if not os.path.exists(persist_path):
            raise MemoryNotFoundError(f"there is no memory at {os.fspath(persist_path)!r} to open")
        return cls(persist_path, **options)

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any], **options: Any) -> Self:
        """The store that ``to_dict`` described, opened anew by its path."""
        return cls(data.get("path", IN_RAM), mode=data.get("mode", "a"), **options)

    @override
    def persist(self, persist_path: str = "", fs: Any = None) -> None:
        """Make sure that the memory is open: each change is in its own file, durable, when its call returns.

        Nothing is written to ``persist_path``, which names a JSON file in the folder of a storage context.
        """
        len(self._memory)

    def close(self) -> None:
        """Close the memory, unless it was given open; closing twice is fine."""
        if self._owned:
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MemvidVectorStore({self._memory!r})"

    def __copy__(self) -> Self:
        return self  # one file has one writer: a copy is the same store

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    @override
    def __getstate__(self) -> dict[str, Any]:
        if self.path == IN_RAM:
            raise InvalidInputError("a store in RAM cannot be pickled; give it a path, and the copy opens that")
        return {"path": os.path.abspath(self.path), "mode": self.mode, **self._reopening}

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        mode = state["mode"]
        self.__init__(**{**state, "mode": "r"})  # type: ignore[misc]
        self.mode = mode
        self._reads_first = mode == "a"

    @property
    def memory(self) -> Memory:
        """The memory underneath."""
        return self._memory

    @property
    @override
    def client(self) -> Memory:
        return self._memory

    @property
    def embed_model(self) -> BaseEmbedding | None:
        """The memory's embedder as an embedding model, for an index on this store; None if it has none."""
        return to_embed_model(self._memory.embedder)

    def _writable(self) -> Memory:
        """The memory to write to: what unpickling opened beside the writer is opened anew, now that it is to write."""
        if self._reads_first:
            opened = open_memory(self.path, "a", **self._reopening)
            self._memory.close()
            self._memory, self._reads_first = opened, False
        return self._memory

    # --- writing ---

    @override
    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Add nodes as one commit, durable on return. A known id is replaced whole; of equal ids the last one stays.

        Args:
            nodes: Nodes with embeddings of one length.

        Returns:
            Their ids, in order.

        Raises:
            VectorError: A node without an embedding, or with a bad one. Nothing is written.
            MetadataError: Metadata that cannot be stored. Nothing is written.
        """
        memory = self._writable()
        texts, metadata, ids, vectors = to_columns(list(nodes))
        return memory.add(texts, metadata, ids, vectors)

    @override
    async def async_add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Async :meth:`add`, in a thread: the loop goes on."""
        return await asyncio.to_thread(self.add, nodes, **options)

    @override
    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes that come from a document; one that is not known is passed over."""
        if not isinstance(ref_doc_id, str):
            raise InvalidInputError(
                f"ref_doc_id is a document's id, not the {type(ref_doc_id).__name__} {ref_doc_id!r}"
            )
        self._writable().delete(where={REF_DOC: ref_doc_id})

    @override
    async def adelete(self, ref_doc_id: str, **options: Any) -> None:
        """Async :meth:`delete`, in a thread: the loop goes on."""
        await asyncio.to_thread(self.delete, ref_doc_id, **options)

    @override
    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any) -> None:
        """Delete the nodes that ids and filters both name, or the one that is given; with neither, none."""
        where = self._where(filters)
        if node_ids is None and not where:
            return
        self._writable().delete(node_ids, where=where or None)

    @override
    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **options: Any
    ) -> None:
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **options)

    @override
    def clear(self) -> None:
        """Delete every node. Until the memory is compacted, ``Memory.open(path, as_of=…)`` shows the past."""
        self._writable().clear()

    @override
    async def aclear(self) -> None:
        await asyncio.to_thread(self.clear)

    # --- reading ---

    def _where(self, filters: MetadataFilters | None) -> dict[str, Any]:
        """The filters as a dict, checked against what is stored."""
        where = to_where(filters)
        check_text_fields(self._memory, filters, {})
        return where

    @override
    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes with their embeddings: those with some ids, in their order; else all that match, in the order added.

        Ids that are not there are passed over.
        """
        where = self._where(filters)
        if node_ids is None:
            records = self._memory.select(where)
        else:
            records = self._memory.get(list(node_ids))
            if where:
                matching = {record.id for record in self._memory.select(both({"$id": {"$in": list(node_ids)}}, where))}
                records = [record for record in records if record.id in matching]
        vectors = self._memory.vectors([record.id for record in records])
        return [to_node(record, vectors.get(record.id)) for record in records]

    @override
    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    @override
    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Answer a query with nodes, ids and similarities, best first; ties in the order the nodes were added.

        Raises:
            QueryError: The mode is not known, or needs words or an embedding that are not there.
            FilterError: The filter is wrong.
            DimensionError: An embedding of another dimension.
        """
        question = Question.of(query, options)
        words = question.to_embed(self._memory)
        if words is not None and self._memory.embedder is not None:
            question = replace(question, embedding=self._memory.embedder.embed_query(words))
        return self._answer(question, query)

    @override
    async def aquery(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """Async :meth:`query`: the embedder's own async method, then a thread."""
        question = Question.of(query, options)
        words = question.to_embed(self._memory)
        if words is not None and self._memory.embedder is not None:
            question = replace(question, embedding=await self._memory.embedder.aembed_query(words))
        return await asyncio.to_thread(self._answer, question, query)

    def _answer(self, question: Question, query: VectorStoreQuery) -> VectorStoreQueryResult:
        check_text_fields(self._memory, query.filters, scope_of(query))
        return to_result(question, question.hits(self._memory))
