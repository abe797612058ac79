"""What a memory service returns."""

from __future__ import annotations

import msgspec

from memvid_core.agent.records import Category, Item, Readable, Resource, Turn

__all__ = ["Memorized", "Retrieved"]


class Memorized(Readable, frozen=True, kw_only=True):
    """What a conversation left behind.

    Attributes:
        resource: The last resource that was memorized: the conversation, or the file.
        resources: All of them; an export holds many conversations.
        turns: The turns that are new.
        items: The items that are new or were said again.
        categories: Their categories.
        failures: What a model did not manage; the turns are kept.
        model_calls: How often a model was asked.
    """

    resource: Resource
    resources: list[Resource] = msgspec.field(default_factory=list)
    turns: list[Turn] = msgspec.field(default_factory=list)
    items: list[Item] = msgspec.field(default_factory=list)
    categories: list[Category] = msgspec.field(default_factory=list)
    failures: list[str] = msgspec.field(default_factory=list)
    model_calls: int = 0


class Retrieved(Readable, frozen=True, kw_only=True):
    """What answers a question, by layers.

    Attributes:
        needs_retrieval: Whether memory helps with the question; without a model, always.
        original_query: The question.
        rewritten_query: The question as it was searched for.
        next_step_query: What a model would ask next, if anything.
        categories: Categories, best first.
        items: Items, best first.
        resources: Conversations and files that they come from.
        text: What :meth:`~memvid_core.agent.MemoryService.recall` shows for the question.
        model_calls: How often a model was asked.
    """

    needs_retrieval: bool = True
    original_query: str
    rewritten_query: str
    next_step_query: str | None = None
    categories: list[Category] = msgspec.field(default_factory=list)
    items: list[Item] = msgspec.field(default_factory=list)
    resources: list[Resource] = msgspec.field(default_factory=list)
    text: str = ""
    model_calls: int = 0
