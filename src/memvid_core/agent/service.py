"""MemoryService: an agent's memory, asynchronous, with ``sync`` for programs without an event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, Self, TypeVar

from memvid_core.agent.config import MemorizeConfig, RetrieveConfig, UserConfig
from memvid_core.agent.forgetting import Receipt
from memvid_core.agent.pipelined import Pipelined
from memvid_core.agent.recalled import Recall, Recalled
from memvid_core.agent.records import Category, Item, Resource, Turn
from memvid_core.agent.results import Memorized, Retrieved
from memvid_core.agent.sync_service import Reader, SyncMemoryService
from memvid_core.agent.times import utc_now
from memvid_core.agent.tokens import estimate_tokens
from memvid_core.memory import Memory
from memvid_core.model import Embedder
from memvid_core.system.threads import WriterThread, run_in_thread

__all__ = ["MemoryService"]

T = TypeVar("T")


class MemoryService(Pipelined):
    r"""What an agent remembers: ``memorize`` and ``retrieve``, or ``add``, ``recall``, ``search`` and ``forget``.

    Every method is a coroutine; ``service.sync`` has the same methods for programs without an event loop, and describes
    them in full. Writes are made one after another in a thread of their own, reads in a few others.

    Args:
        memory: An open memory.
        model: As in :class:`~memvid_core.agent.SyncMemoryService`, and so are the others.
        memorize_config: How conversations are memorized.
        retrieve_config: How memory is retrieved.
        user_config: Whose memory it is.
        clock: Tells the present.
        embedder: Embeds for a memory that has no embedder.
        readers: Readers of files, by modality.

    Example:
        >>> import asyncio
        >>> async def talk() -> str:
        ...     service = MemoryService(Memory.create(":memory:"))
        ...     await service.add("Ada: When is the office party?\nBob: At six, on Friday.", user_id="ada")
        ...     return (await service.recall("When is the party?", user_id="ada")).hits[-1].text
        >>> asyncio.run(talk())
        'At six, on Friday.'
    """

    def __init__(
        self,
        memory: Memory,
        *,
        model: Any = None,
        memorize_config: MemorizeConfig | Mapping[str, Any] | None = None,
        retrieve_config: RetrieveConfig | Mapping[str, Any] | None = None,
        user_config: UserConfig | Mapping[str, Any] | None = None,
        clock: Callable[[], datetime] = utc_now,
        embedder: Embedder | None = None,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        self.sync = SyncMemoryService(
            memory,
            model=model,
            memorize_config=memorize_config,
            retrieve_config=retrieve_config,
            user_config=user_config,
            clock=clock,
            embedder=embedder,
            readers=readers,
        )
        self.pipelines = self.sync.pipelines
        self._thread = WriterThread()

    @property
    def memory(self) -> Memory:
        """The open memory."""
        return self.sync.memory

    async def aclose(self) -> None:
        """Wait for the writes that were begun. The memory stays open."""
        await self._thread.run(_nothing)
        self._thread.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _written(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return await self._thread.run(partial(function, *arguments, **options))

    async def _read(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return await run_in_thread(partial(function, *arguments, **options))

    async def memorize(
        self,
        *,
        resource_url: str | os.PathLike[str],
        modality: str = "conversation",
        user: Mapping[str, Any] | None = None,
    ) -> Memorized:
        """Memorize a file."""
        return await self._written(self.sync.memorize, resource_url=resource_url, modality=modality, user=user)

    async def add(self, messages: Any, **scope: Any) -> Memorized:
        """Remember messages."""
        return await self._written(self.sync.add, messages, **scope)

    async def recall(
        self,
        question: str,
        *,
        budget: int | None = None,
        now: datetime | None = None,
        as_of: datetime | str | None = None,
        k: int | None = None,
        known: Collection[str] = (),
        count_tokens: Callable[[str], int] = estimate_tokens,
        **scope: Any,
    ) -> Recall:
        """Recall what answers a question, as exchanges, within a budget of tokens."""
        options: dict[str, Any] = {"budget": budget, "now": now, "as_of": as_of, "k": k, "known": known}
        return await self._read(self.sync.recall, question, count_tokens=count_tokens, **options, **scope)

    async def search(
        self, question: str, *, k: int | None = None, budget: int | None = None, **scope: Any
    ) -> list[Recalled]:
        """Return turns and items that answer a question."""
        return await self._read(self.sync.search, question, k=k, budget=budget, **scope)

    async def retrieve(
        self,
        queries: Any,
        where: Mapping[str, Any] | None = None,
        *,
        method: Literal["rag", "llm"] | None = None,
    ) -> Retrieved:
        """Retrieve categories, items and resources that answer the last of some messages."""
        return await self._read(self.sync.retrieve, queries, where, method=method)

    async def list_memory_items(self, where: Mapping[str, Any] | None = None) -> list[Item]:
        """Return the items of a scope."""
        return await self._read(self.sync.list_memory_items, where)

    async def list_memory_categories(self, where: Mapping[str, Any] | None = None) -> list[Category]:
        """Return the categories of a scope."""
        return await self._read(self.sync.list_memory_categories, where)

    async def create_memory_item(
        self,
        *,
        memory_type: str = "knowledge",
        memory_content: str,
        memory_categories: Sequence[str] = (),
        user: Mapping[str, Any] | None = None,
        expires_at: datetime | str | None = None,
    ) -> Item:
        """Write an item by hand."""
        return await self._written(
            self.sync.create_memory_item,
            memory_type=memory_type,
            memory_content=memory_content,
            memory_categories=memory_categories,
            user=user,
            expires_at=expires_at,
        )

    async def update_memory_item(
        self,
        *,
        memory_id: str,
        memory_type: str | None = None,
        memory_content: str | None = None,
        memory_categories: Sequence[str] | None = None,
        user: Mapping[str, Any] | None = None,
    ) -> Item:
        """Correct an item."""
        return await self._written(
            self.sync.update_memory_item,
            memory_id=memory_id,
            memory_type=memory_type,
            memory_content=memory_content,
            memory_categories=memory_categories,
            user=user,
        )

    async def delete_memory_item(self, *, memory_id: str, user: Mapping[str, Any] | None = None) -> Item:
        """Forget an item, and return what it was."""
        return await self._written(self.sync.delete_memory_item, memory_id=memory_id, user=user)

    async def clear_memory(self, where: Mapping[str, Any] | None = None) -> Receipt:
        """Forget all of a scope."""
        return await self._written(self.sync.clear_memory, where)

    async def forget(
        self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None, **scope: Any
    ) -> Receipt:
        """Forget turns, items, categories or whole conversations, and what rests on them alone."""
        return await self._written(self.sync.forget, ids, where=where, **scope)

    async def history(self, memory_id: str, **scope: Any) -> list[Item]:
        """Return the versions of an item, oldest first."""
        return await self._read(self.sync.history, memory_id, **scope)

    async def get(self, record_id: str, **scope: Any) -> Turn | Item | Category | Resource:
        """Return a turn, an item, a category or a resource by its id."""
        return await self._read(self.sync.get, record_id, **scope)


def _nothing() -> None:
    """End of the line of writes."""
