"""MemvidMiddleware: gives an agent a memory that it uses automatically."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime
from typing_extensions import override

from langchain_memvid.agents.exchanges import Exchanges
from langchain_memvid.agents.scopes import Scope, ScopeError
from langchain_memvid.wording import our_words
from memvid_core import (
    Hit,
    InvalidInputError,
    Memory,
    MemoryService,
    ScopedService,
    SyncMemoryService,
    estimate_tokens,
    plain_query,
    run_in_thread,
)

__all__ = ["MemoryWarning", "MemvidMiddleware", "estimate_tokens"]

_HEADING: Final = ScopedService.heading
_RECALLED: Final = "memvid_recalled"
"""Marks the message that holds what was recalled, in its ``additional_kwargs``."""


class MemoryWarning(UserWarning):
    """Warn that an agent continued without its memory because recalling or recording failed."""


class MemvidMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    r"""Recall records before each model call, and record the messages of the user and the agent after it.

    Messages are recalled as exchanges: a question and its answer, with the speakers and the dates. Notes, documents and
    items of a store follow, one line each. All of it is quoted data under a heading. It is passed to the model for that
    call only. It is not part of the conversation and is never recorded. Texts that the conversation already contains
    are not recalled. If the memory fails, the agent continues without it and issues a :class:`MemoryWarning`.

    Args:
        memory: An open memory, or a memory service over one; for recording, one open for writing. A service decides
            whose messages are recorded (``roles``) and whether items are made of them.
        scope: Metadata that recorded messages get and that recalled records must have; or a function of LangGraph's
            ``Runtime`` that returns it, for example from the ``context`` that names the user. Pass the tools the same
            scope. With a service, its keys are fields of the service, and None is the service's default.
        shared: Whether documents without an owner are recalled too, as in :func:`create_memory_tools`.
        k: How many turns and records to recall at most.
        budget: How many tokens the recalled text may have, heading included; 0 recalls nothing.
        count_tokens: Counts the tokens of a text; by default :func:`estimate_tokens`.
        record: Whether to record.
        inject: Where the model finds it. ``"system"``: at the end of the system message. ``"message"``: in a message
            after the conversation, so that the prompt before it stays as it was and the provider's cache of it holds.

    Raises:
        InvalidInputError: ``memory`` is neither, or a number is not whole or is negative, or the scope names nobody, or
            is an async function. While the agent runs: the scope function failed, as without a ``context``.

    Example:
        >>> memory = Memory.create(":memory:")
        >>> _ = memory.add(["Ada drinks tea without milk"])
        >>> MemvidMiddleware(memory).remembered([HumanMessage("What does Ada drink?")], memory.search("Ada", k=1))
        'What you remember that may help, ...\n- Ada drinks tea without milk'
    """

    def __init__(
        self,
        memory: Memory | MemoryService | SyncMemoryService,
        *,
        scope: Scope = None,
        shared: bool | Mapping[str, Any] = False,
        k: int = 10,
        budget: int = 500,
        count_tokens: Callable[[str], int] = estimate_tokens,
        record: bool = True,
        inject: Literal["system", "message"] = "system",
    ) -> None:
        super().__init__()
        if any(type(number) is not int or number < 0 for number in (k, budget)):
            raise InvalidInputError(f"k and budget must be integers of 0 or more, not {k!r} and {budget!r}")
        if inspect.iscoroutinefunction(count_tokens):
            raise InvalidInputError("count_tokens is an async function and would not be awaited: pass a plain function")
        if inject not in ("system", "message"):
            raise InvalidInputError(f"inject is 'system' or 'message', not {inject!r}")
        self._exchanges = Exchanges(memory, scope, shared=shared)
        self._k = k if budget else 0
        self._budget = budget
        self._count_tokens = count_tokens
        self._record = record
        self._inject = inject

    # --- before the model is called ---

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the recalled records."""
        try:
            with our_words():
                if self._k:
                    exchanges = self._exchanges.within(request.runtime)
                    query = _question(request.messages)
                    hits = exchanges.notes.recall(plain_query(query), self._k, turns=False)
                    request = self._reminded(request, self._text(exchanges, request.messages, query, hits))
        except ScopeError:  # no memory has failed: the agent was called in a way that it can never remember
            raise
        except Exception as exc:  # the agent continues without its memory
            _warn("recall", exc)
        return handler(request)

    @override
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model with what is recalled, asynchronously."""
        try:
            with our_words():
                if self._k:
                    exchanges = self._exchanges.within(request.runtime)
                    query = _question(request.messages)
                    hits = await exchanges.notes.arecall(plain_query(query), self._k, turns=False)
                    text = await run_in_thread(self._text, exchanges, request.messages, query, hits)
                    request = self._reminded(request, text)
        except ScopeError:
            raise
        except Exception as exc:
            _warn("recall", exc)
        return await handler(request)

    def _reminded(self, request: ModelRequest[Any], text: str) -> ModelRequest[Any]:
        if not text:
            return request
        if self._inject == "message":
            last: list[AnyMessage] = [HumanMessage(text, additional_kwargs={_RECALLED: True})]
            return request.override(messages=[*request.messages, *last])
        before = request.system_message
        if before is None:
            return request.override(system_message=SystemMessage(text))
        blocks = [{"type": "text", "text": before.content}] if isinstance(before.content, str) else before.content
        added: list[Any] = [*blocks, {"type": "text", "text": f"\n\n{text}"}]
        return request.override(system_message=before.model_copy(update={"content": added}))

    def _text(self, exchanges: Exchanges, messages: Sequence[AnyMessage], query: str, hits: Sequence[Hit]) -> str:
        """Return the text for the model: exchanges, then other records. Each may use the budget that the other leaves.

        Half of the budget is reserved for the other records, as far as there are any.
        """
        known = [str(message.text) for message in messages]
        lines = self._lines(hits, known, self._k, self._budget)
        sure = self._lines(hits, known, self._k // 2, (self._budget + self._count_tokens(_HEADING)) // 2)
        left = self._budget - sum(self._count_tokens(f"\n{line}") for line in sure)
        room = self._k - len(sure)
        found = exchanges.recall(query, budget=left, k=room, known=known, count_tokens=self._count_tokens)
        if found.hits:
            left = self._budget - found.tokens + self._count_tokens(_HEADING)
            lines = self._lines(hits, known, self._k - len(found.hits), left)
        if self._inject == "message":
            lines.sort()  # the same lines are the same text, whichever of them answers best
        return "\n".join([found.text or _HEADING, *lines]) if found.hits or lines else ""

    def _lines(self, hits: Sequence[Hit], known: Sequence[str], k: int, budget: int) -> list[str]:
        """Return hits as lines, best first, as many as a budget with the heading in it has room for."""
        lines: list[str] = []
        left = budget - self._count_tokens(_HEADING)
        for hit in hits:
            line = f"- {ScopedService.quoted(hit.text)}"
            cost = self._count_tokens(f"\n{line}")
            if len(lines) < k and hit.text not in known and cost <= left:  # a shorter one may still fit
                lines.append(line)
                left -= cost
        return lines

    def remembered(self, messages: Sequence[AnyMessage], hits: Sequence[Hit]) -> str:
        """Return the text for the model with these hits, best first, as many as fit into the budget; "" for none."""
        lines = self._lines(hits, [str(message.text) for message in messages], len(hits), self._budget)
        return "\n".join([_HEADING, *lines]) if lines else ""

    # --- after it has answered ---

    @override
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Record the messages since the user's last message."""
        try:
            if self._record:
                with our_words():
                    self._exchanges.within(runtime).record(state["messages"])
        except ScopeError:
            raise
        except Exception as exc:
            _warn("record", exc)

    @override
    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Record what was said since the user spoke last, asynchronously."""
        try:
            if self._record:
                with our_words():
                    await self._exchanges.within(runtime).arecord(state["messages"])
        except ScopeError:
            raise
        except Exception as exc:
            _warn("record", exc)


def _warn(what: str, exc: Exception) -> None:
    warnings.warn(f"could not {what}: {type(exc).__name__}: {exc}", MemoryWarning, stacklevel=3)


def _question(messages: Sequence[AnyMessage]) -> str:
    """Return what the user said last; a message of ours holds no question."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage) and _RECALLED not in message.additional_kwargs:
            return str(message.text)
    return ""
