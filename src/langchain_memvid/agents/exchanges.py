"""Exchanges: the conversations of an agent, recorded and recalled through a memory service, within a scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.config import get_config
from langgraph.runtime import Runtime

from langchain_memvid.agents.notes import Notes, writer_of
from langchain_memvid.agents.scopes import Scope, ScopeError
from memvid_core import Memory, MemoryService, Recall, ScopedService, SyncMemoryService

__all__ = ["Exchanges"]

Service = Memory | MemoryService | SyncMemoryService


class Exchanges:
    """Record and recall the turns of a scope, and its notes.

    Args:
        memory: An open memory, or a memory service.
        scope: Whose it is: as in :class:`~langchain_memvid.agents.notes.Notes`, with the fields of the service.
        shared: As in :class:`~langchain_memvid.agents.notes.Notes`.

    Raises:
        InvalidInputError: ``memory`` is neither, or the scope names nobody.
    """

    def __init__(self, memory: Service, scope: Scope = None, *, shared: bool | Mapping[str, Any] = False) -> None:
        self._memory = memory
        self._services: dict[tuple[str, ...], SyncMemoryService] = {}
        self._scope = scope
        self._shared = shared
        opened = memory.memory if isinstance(memory, MemoryService | SyncMemoryService) else memory
        self.notes = Notes(opened, scope, shared=shared)
        self._scoped: ScopedService | None = None
        if not callable(scope):
            self._scoped = ScopedService(memory, scope)
            if memory is not opened:
                self.notes = Notes(opened, self._scoped.owner, shared=shared)

    def within(self, runtime: Runtime[Any] | None) -> Exchanges:
        """Return the exchanges of one run.

        Raises:
            ScopeError: The scope function failed.
            InvalidInputError: It names nobody.
        """
        if not callable(self._scope):
            return self
        scope = self.notes.within(runtime).scope
        fields = tuple(sorted(scope))
        within = Exchanges(self._services.get(fields, self._memory), scope, shared=self._shared)
        if within.scoped.scope == scope:  # the scope is made of fields, and not one value as a whole
            self._services[fields] = within.scoped.service  # it knows the conversations that it has seen
        return within

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Exchanges:
        return self

    @property
    def scoped(self) -> ScopedService:
        """The service of the scope, which must be known by now."""
        if self._scoped is None:
            raise ScopeError("the scope is a function of LangGraph's Runtime, and this is outside of a run")
        return self._scoped

    def recall(self, question: str, **options: Any) -> Recall:
        """Recall turns of any conversation of the scope."""
        return self.scoped.recall(question, **options)

    def record(self, messages: Sequence[AnyMessage]) -> None:
        """Record the messages since the user's last one; without a thread id, all new messages."""
        thread = _thread()
        self.scoped.record(_latest(messages) if thread else messages, thread)

    async def arecord(self, messages: Sequence[AnyMessage]) -> None:
        """Record like :meth:`record`, in the thread for writing."""
        thread = _thread()
        said = list(_latest(messages) if thread else messages)
        await writer_of(self.notes.memory).run(self.scoped.record, said, thread)


def _thread() -> str | None:
    """Return the id of the thread that this run belongs to, if it has one."""
    try:
        thread = get_config().get("configurable", {}).get("thread_id")
    except RuntimeError:  # no run of a graph
        return None
    return str(thread) if thread not in (None, "") else None


def _latest(messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """Return the last message of the user and all messages after it."""
    last = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=0)
    return messages[last:]
