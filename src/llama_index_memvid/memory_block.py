"""MemvidMemoryBlock: recalls messages of conversations that are stored in a memory."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field, PrivateAttr, model_validator
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.schema import BaseNode
from llama_index.core.utils import get_tokenizer
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from typing_extensions import override

from llama_index_memvid.embedding import MemvidEmbedding, to_embed_model
from llama_index_memvid.messages import text_of
from llama_index_memvid.vectorstore import MemvidVectorStore
from memvid_core import (
    Memory,
    MemoryService,
    Recalled,
    ScopedService,
    SyncMemoryService,
    WriterThread,
    as_embedder,
    plain_query,
    run_in_thread,
)

__all__ = ["MemvidMemoryBlock"]

_NO_SESSION = "none"
"""The conversation of messages that name none."""


class MemvidMemoryBlock(BaseMemoryBlock[str]):
    """A memory block that keeps what was said in a memory file and recalls the exchanges that matter to the latest.

    Messages are kept word for word, and found by meaning and by words together, a question with its answer. They are
    shown in the order of time, with who said them and when, as quoted data under a heading. No model is called but the
    embedding model. A conversation that comes twice in one session is kept once. Where several users share a file,
    ``scope={"user": "ada"}`` keeps them apart, also with ``across_sessions``. Messages of systems and tools are not
    kept, unless ``memory`` is a service with other ``roles``.

    Example:
        >>> block = MemvidMemoryBlock()
        >>> asyncio.run(block.aput([ChatMessage("When is the party?"), ChatMessage("On Friday.")], session_id="s"))
        >>> print(asyncio.run(block.aget([ChatMessage("When does the party start?")], session_id="s")))
        What you remember that may help, ...
        [ref:...-0] ... user: When is the party?
        [ref:...-1] ... user: On Friday.
    """

    name: str = Field(default="Memories", description="The name of the memory block.")
    vector_store: MemvidVectorStore = Field(
        default_factory=MemvidVectorStore, description="The store of the messages; by default in RAM."
    )
    memory: Any = Field(
        default=None, exclude=True, description="An open Memory or a MemoryService to use in place of a vector store."
    )
    embed_model: BaseEmbedding = Field(
        default_factory=MemvidEmbedding,
        description="Embeds messages; by default the embedder of the store's memory, or the built-in offline embedder.",
    )
    similarity_top_k: int = Field(default=8, ge=0, description="The maximum number of messages to recall.")
    token_budget: int = Field(default=1000, ge=0, description="The maximum number of tokens of a recall.")
    context_messages: int = Field(
        default=3,
        ge=1,
        description="The number of latest messages to search with; the last one is also searched with alone.",
    )
    scope: dict[str, str | int | float] = Field(
        default_factory=dict,
        description="Metadata that stored messages get and recalled messages must have: their owner.",
    )
    across_sessions: bool = Field(
        default=False,
        description="Whether messages of other sessions are recalled too, for example in a file of a single user.",
    )
    alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The weight of dense against lexical search; None uses the memory's default.",
    )
    tokenizer_fn: Callable[[str], list[Any]] = Field(
        default_factory=get_tokenizer, exclude=True, description="Counts tokens."
    )

    _service: ScopedService | None = PrivateAttr(default=None)
    _thread: WriterThread | None = PrivateAttr(default=None)
    _scores: dict[str, float] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_space(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Use the memory's own embedder, which embedded what is recalled, instead of a new one."""
        store, memory = values.get("vector_store"), values.get("memory")
        if isinstance(store, str | os.PathLike):
            raise ValueError(f"{store!r} is a path: give vector_store=MemvidVectorStore({os.fspath(store)!r})")
        if memory is not None:
            if store is not None:
                raise ValueError("give a vector_store or a memory, not both")
            opened = memory.memory if isinstance(memory, MemoryService | SyncMemoryService) else memory
            if not isinstance(opened, Memory):
                raise ValueError(f"memory is an open Memory or a MemoryService, not {memory!r:.60}")
            values = {**values, "vector_store": MemvidVectorStore(memory=opened)}
            own = to_embed_model(opened.embedder)
        else:
            own = store.embed_model if isinstance(store, MemvidVectorStore) else None
        return values if own is None else {"embed_model": own, **values}

    @override
    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._scoped()

    def _scoped(self) -> ScopedService:
        """Return the service of the scope."""
        if self._service is None:
            memory = self.vector_store.memory if self.memory is None else self.memory
            self._service = ScopedService(memory, self.scope or None, embedder=as_embedder(self.embed_model))
        return self._service

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy over the same memory: that is one file, and is not copied."""
        kept = {id(one): one for one in (self.memory, self._service, self._thread)}
        return super().__deepcopy__({**(memo or {}), **kept})

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        private = {**(state["__pydantic_private__"] or {}), "_service": None, "_thread": None}
        return {**state, "__pydantic_private__": private}

    # --- recalling ---

    @override
    async def _aget(self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **_: Any) -> str:
        """Return the exchanges that matter most to the latest messages, within the budget; empty if there are none."""
        latest = [text for message in (messages or [])[-self.context_messages :] if (text := text_of(message).strip())]
        if not latest or not self.similarity_top_k:
            return ""
        known = [text_of(message) for message in messages or []]  # what is in the context needs no recall
        session = None if self.across_sessions else session_id
        # The last message alone says best what is asked; those before it say what "it" and "there" are.
        asked = dict.fromkeys([latest[-1], "\n".join(latest)])
        questions = [question for question in asked if plain_query(question).strip()]  # quotes alone ask nothing
        found = await asyncio.gather(*[run_in_thread(self._recalled, each, session, known) for each in questions])
        merged = {hit.id: hit for row in zip_longest(*found) for hit in row if hit is not None}
        older = await self._older(questions, session, known)
        return self._within_budget(list(merged.values()), older)

    def _recalled(self, question: str, session: str | None, known: Sequence[str]) -> list[Recalled]:
        """Return what a recall shows for a question, best first."""
        options: dict[str, Any] = {"k": self.similarity_top_k, "known": known, "count_tokens": self._count}
        answer = self._scoped().recall(question, session=session, budget=self.token_budget, **options)
        return sorted(answer.hits, key=lambda hit: -hit.score)

    def _count(self, text: str) -> int:
        return len(self.tokenizer_fn(text))

    def _within_budget(self, hits: Sequence[Recalled], older: Sequence[str]) -> str:
        """Return as many of the best as the budget has room for, in the order of time."""
        chosen: list[Recalled] = []
        lines: list[str] = []
        outdated: set[str] = set()
        for hit in hits:
            room = len(chosen) < self.similarity_top_k and hit.id not in outdated
            if room and self._fits([*[one.shown for one in chosen], hit.shown]):
                chosen.append(hit)
            else:  # what it corrects is not shown without it
                outdated.update(hit.corrects)
        chosen.sort(key=lambda hit: (hit.kind != "item", hit.created_at, hit.session or "", hit.position or 0))
        for line in older:
            entries = [*[hit.shown for hit in chosen], *lines, line]
            if len(entries) <= self.similarity_top_k and self._fits(entries):
                lines.append(line)
        self._scores = {hit.shown: hit.score for hit in chosen}
        entries = [*[hit.shown for hit in chosen], *lines]
        return "\n".join([ScopedService.heading, *entries]) if entries else ""

    def _fits(self, lines: Sequence[str]) -> bool:
        return self._count("\n".join([ScopedService.heading, *lines])) <= self.token_budget

    async def _older(self, questions: Sequence[str], session: str | None, known: Sequence[str]) -> list[str]:
        """Return messages that earlier versions of this class kept as nodes, a line each, best first."""
        named = {**self.scope, **({"session_id": session} if session is not None else {})}
        where = {"role": {"$exists": True}, **{key: {"$eq": value} for key, value in named.items()}}
        if self.memory is not None or not questions or not await run_in_thread(self._holds, where):
            return []
        query = VectorStoreQuery(
            query_str=plain_query(questions[0]),
            query_embedding=await self.embed_model.aget_query_embedding(questions[0]),
            similarity_top_k=self.similarity_top_k + len(known),
            mode=VectorStoreQueryMode.HYBRID,
            alpha=self.alpha,
        )
        nodes: Sequence[BaseNode] = (await self.vector_store.aquery(query, where=where)).nodes or []
        return [
            f"- {node.metadata['role']}: {ScopedService.quoted(node.get_content())}"
            for node in nodes
            if node.get_content() not in known
        ]

    def _holds(self, where: dict[str, Any]) -> bool:
        return bool(self.vector_store.client.select(where, limit=1))

    # --- keeping ---

    @override
    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Keep messages, each for the session that its own ``session_id`` names."""
        sessions: dict[str, list[ChatMessage]] = {}
        for message in messages:
            named = message.additional_kwargs.get("session_id")
            sessions.setdefault(_NO_SESSION if named is None else str(named), []).append(message)
        thread = self._thread = self._thread or WriterThread()
        for session, said in sessions.items():
            await thread.run(self._scoped().record, said, session)

    @override
    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Drop the least important messages until that many tokens are gone; None if none is left."""
        heading, *lines = re.split(r"\n(?!  \| )", content) if content else [""]
        room = self._count(content) - tokens_to_truncate
        while lines and self._count("\n".join([heading, *lines])) > room:
            lines.remove(min(reversed(lines), key=lambda line: self._scores.get(line, 0.0)))
        return "\n".join([heading, *lines]) if lines else None
