"""MemvidMemoryBlock: recalls messages of conversations that are stored in a memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field, model_validator
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.utils import get_tokenizer
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from typing_extensions import override

from llama_index_memvid.embedding import MemvidEmbedding
from llama_index_memvid.messages import text_of
from llama_index_memvid.vectorstore import MemvidVectorStore
from memvid_core import plain_query

__all__ = ["MemvidMemoryBlock"]

_SEPARATOR = "\n"


class MemvidMemoryBlock(BaseMemoryBlock[str]):
    """A memory block that stores every message in a memory and recalls those relevant to the latest messages.

    Messages are stored verbatim, one record each, and found by hybrid search; only the embedding model is called. A
    message that occurs twice in one session is stored once. If several users share a file, ``scope={"user": "ada"}``
    separates them, also with ``across_sessions``.

    Example:
        >>> block = MemvidMemoryBlock()
        >>> asyncio.run(block.aput([ChatMessage("My cat is called Ada.")], session_id="s"))
        >>> asyncio.run(block.aget([ChatMessage("What is my cat called?")], session_id="s"))
        "<message role='user'>My cat is called Ada.</message>"
    """

    name: str = Field(default="Memories", description="The name of the memory block.")
    vector_store: MemvidVectorStore = Field(
        default_factory=MemvidVectorStore, description="The store of the messages; by default in RAM."
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

    @model_validator(mode="before")
    @classmethod
    def _one_space(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Prefer the memory's own embedder: messages must be embedded for recall as they were when stored."""
        store = values.get("vector_store")
        if isinstance(store, str | os.PathLike):
            raise ValueError(f"{store!r} is a path: pass vector_store=MemvidVectorStore({os.fspath(store)!r})")
        own = store.embed_model if isinstance(store, MemvidVectorStore) else None
        return values if own is None else {"embed_model": own, **values}

    @override
    async def _aget(self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **_: Any) -> str:
        """Return the most relevant messages, best first, within the budget; an empty text if there are none."""
        latest = [text for message in (messages or [])[-self.context_messages :] if (text := text_of(message).strip())]
        if not latest or not self.similarity_top_k:
            return ""
        known = {text_of(message) for message in messages or []}  # messages in the context need no recall
        scoped = session_id is not None and not self.across_sessions
        named = {**self.scope, **({"session_id": session_id} if scoped else {})}
        where = {"role": {"$exists": True}, **{key: {"$eq": value} for key, value in named.items()}}
        # The last message alone is the best query; the messages before it resolve words such as "it" and "there".
        asked = dict.fromkeys([latest[-1], "\n".join(latest)])
        questions = [
            question for question in asked if plain_query(question).strip()
        ]  # a text of quotes only is not a query
        found = await asyncio.gather(*[self._found(question, where, len(known)) for question in questions])
        merged = {node.node_id: node for row in zip_longest(*found) for node in row if node is not None}
        kept = [node for node in merged.values() if node.get_content() not in known]
        return self._within_budget(kept[: self.similarity_top_k])

    async def _found(self, question: str, where: dict[str, Any], known: int) -> Sequence[BaseNode]:
        query = VectorStoreQuery(
            query_str=plain_query(question),  # quotes and dashes of a message are not query syntax
            query_embedding=await self.embed_model.aget_query_embedding(question),
            similarity_top_k=self.similarity_top_k + known,
            mode=VectorStoreQueryMode.HYBRID,
            alpha=self.alpha,
        )
        return (await self.vector_store.aquery(query, where=where)).nodes or []

    def _within_budget(self, nodes: list[BaseNode]) -> str:
        chosen: list[str] = []
        for node in nodes:
            line = f"<message role='{node.metadata['role']}'>{node.get_content()}</message>"
            if len(self.tokenizer_fn(_SEPARATOR.join([*chosen, line]))) <= self.token_budget:
                chosen.append(line)
        return _SEPARATOR.join(chosen)

    @override
    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Store messages, each in the session that its own ``session_id`` names."""
        nodes = [_node(message, self.scope) for message in messages if text_of(message).strip()]
        if not nodes:
            return
        embeddings = await self.embed_model.aget_text_embedding_batch([node.text for node in nodes])
        for node, embedding in zip(nodes, embeddings, strict=True):
            node.embedding = embedding
        await self.vector_store.async_add(nodes)

    @override
    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Drop the least relevant messages until that many tokens are removed; return None if none is left."""
        lines = content.split("</message>" + _SEPARATOR) if content else []
        whole = [line + "</message>" for line in lines[:-1]] + lines[-1:]
        room = len(self.tokenizer_fn(content)) - tokens_to_truncate
        while whole and len(self.tokenizer_fn(_SEPARATOR.join(whole))) > room:
            whole.pop()
        return _SEPARATOR.join(whole) or None


def _node(message: ChatMessage, scope: Mapping[str, Any]) -> TextNode:
    """Convert a message to a node; equal messages of a scope and session have the same id."""
    session, role, text = message.additional_kwargs.get("session_id"), message.role.value, text_of(message)
    whose = [json.dumps(scope, sort_keys=True)] if scope else []
    named = "\0".join([*whose, str(session), role, text])
    identity = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return TextNode(id_=identity[:32], text=text, metadata={**scope, "session_id": session, "role": role, "time": now})
