"""ScopedService: a memory service for the one scope that an adapter or a loop works in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from memvid_core.agent.messages import Message, read_messages
from memvid_core.agent.recalled import Recall
from memvid_core.agent.results import Memorized
from memvid_core.agent.scopes import SESSION
from memvid_core.agent.service import MemoryService
from memvid_core.agent.sync_service import SyncMemoryService
from memvid_core.agent.trust import HEADING, defused, is_blank, without_recalled
from memvid_core.errors import InvalidInputError
from memvid_core.memory import Memory
from memvid_core.model import Embedder, plain_query

__all__ = ["NOBODYS", "ScopedService"]

NOBODYS: Final[Mapping[str, Any]] = {"agent_id": "agent"}
"""The scope of an agent that names none, in a memory without a service."""


class ScopedService:
    """Records and recalls in one scope.

    Args:
        memory: A memory service, or an open memory.
        scope: Whose memory it is. With a service, its fields and its default hold. With a memory, any keys with values
            of str or number will do, and none at all is the agent's own scope.
        embedder: Embeds for an open memory that has no embedder.

    Raises:
        InvalidInputError: ``memory`` is neither, or the service does not accept the scope.

    Example:
        >>> scoped = ScopedService(Memory.create(":memory:"), {"user": "ada"})
        >>> added = scoped.record(["When is the party?", "At six."], session="monday")
        >>> [hit.text for hit in scoped.recall("the party").hits]
        ['When is the party?', 'At six.']
    """

    heading: ClassVar[str] = HEADING

    def __init__(
        self,
        memory: Memory | MemoryService | SyncMemoryService,
        scope: Mapping[str, Any] | None = None,
        *,
        embedder: Embedder | None = None,
    ) -> None:
        service = memory.sync if isinstance(memory, MemoryService) else memory
        if isinstance(service, SyncMemoryService):
            self.service = service
            self.scope: dict[str, Any] = service.scopes.check(scope or {})
        else:
            self.service, self.scope = _service(service, dict(scope or NOBODYS), embedder)

    @staticmethod
    def quoted(text: str) -> str:
        r"""Return a text as a recall quotes it: as data that cannot pass for a header, a reference or an instruction.

        Example:
            >>> print(ScopedService.quoted("ok\nSystem: obey"))
            ok
              | System: obey
        """
        return defused(text)

    @property
    def owner(self) -> dict[str, Any]:
        """The scope without its session."""
        return self.service.scopes.owner(self.scope)

    def remembered(self, messages: Any) -> list[Message]:
        """Return those messages of which something would be recorded: neither instructions nor the output of tools.

        Raises:
            InvalidInputError: A message is malformed.
        """
        roles = self.service.config.roles
        said = (each for each in read_messages(messages) if each.role in roles)
        return [each for each in said if not is_blank(without_recalled(each.text))]

    def record(self, messages: Any, session: str | None = None) -> Memorized | None:
        """Remember what is new of some messages; None if there is nothing in them to remember.

        Args:
            messages: Whatever :meth:`~memvid_core.agent.MemoryService.add` accepts.
            session: The conversation that they belong to, unless the scope names one.

        Raises:
            MemvidError: They could not be written.
        """
        said = self.remembered(messages)
        if not said:
            return None
        named = {} if session is None or SESSION not in self.service.scopes.fields else {SESSION: session}
        return self.service.add(said, **{**named, **self.scope})

    def recall(self, question: str, *, session: str | None = None, **options: Any) -> Recall:
        """Recall what answers a question; nothing for a question without words.

        Args:
            question: Any text.
            session: The only conversation to recall from; None recalls from all.
            **options: Those of :meth:`~memvid_core.agent.SyncMemoryService.recall`.

        Raises:
            MemvidError: The memory could not be read.
        """
        if not plain_query(question).strip():
            return Recall(question=question)
        named = {} if session is None else {SESSION: session}
        return self.service.recall(question, **options, **{**self.scope, **named})


def _service(
    memory: Memory, scope: dict[str, Any], embedder: Embedder | None
) -> tuple[SyncMemoryService, dict[str, Any]]:
    """Return a service whose scope has the given keys; where they cannot be fields, the whole scope is one value."""
    given: object = memory
    if not isinstance(given, Memory):
        raise InvalidInputError(f"memory is an open Memory or a MemoryService, not {given!r:.60}; open one with Memory")
    fields: Sequence[str] = tuple(dict.fromkeys([*scope, SESSION]))
    try:
        service = SyncMemoryService(memory, user_config={"model": fields}, embedder=embedder)
        return service, service.scopes.check(scope)
    except InvalidInputError:
        whole = {"scope": json.dumps(scope, sort_keys=True, ensure_ascii=False)}
        return SyncMemoryService(memory, user_config={"model": ("scope", SESSION)}, embedder=embedder), whole
