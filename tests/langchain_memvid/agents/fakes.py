"""Fakes for agents: a model that follows a script, embeddings of letters, and a clock."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field
from typing_extensions import override

Step = AIMessage | Callable[[list[BaseMessage]], AIMessage]


class ScriptedModel(BaseChatModel):
    """Answers with the next step of its script, a message or a function of what it was sent; notes what that was."""

    script: list[Any]
    seen: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    @override
    def _llm_type(self) -> str:
        return "scripted"

    @override
    def bind_tools(self, tools: Sequence[Any], **_: Any) -> ScriptedModel:
        return self

    @override
    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(list(messages))
        step: Step = self.script[len(self.seen) - 1]
        return ChatResult(generations=[ChatGeneration(message=step(messages) if callable(step) else step)])


def call(name: str, **arguments: Any) -> AIMessage:
    """A message that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}])


class LetterEmbeddings(Embeddings):
    """How often each of eight groups of letters occurs; calls are counted, with the threads they came in."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.threads: set[int] = set()

    def vector(self, text: str) -> list[float]:
        counts = [0.0] * 8
        for character in text:
            counts[ord(character) % 8] += 1.0
        return counts

    def _count(self, name: str) -> None:
        self.calls[name] += 1
        self.threads.add(threading.get_ident())

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self._count("embed_documents")
        return [self.vector(text) for text in texts]

    @override
    def embed_query(self, text: str) -> list[float]:
        self._count("embed_query")
        return self.vector(text)

    @override
    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self._count("aembed_documents")
        await asyncio.sleep(0)
        return [self.vector(text) for text in texts]

    @override
    async def aembed_query(self, text: str) -> list[float]:
        self._count("aembed_query")
        await asyncio.sleep(0)
        return self.vector(text)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_minutes(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)
