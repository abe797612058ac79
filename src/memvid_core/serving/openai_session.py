"""MemvidSession: the conversation of an agent of the OpenAI Agents SDK, in a memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from memvid_core.agent.records import digest
from memvid_core.errors import InvalidInputError
from memvid_core.memory import Memory
from memvid_core.serving.extras import missing
from memvid_core.system.threads import WriterThread, run_in_thread

try:
    from agents.memory import SessionSettings
except ImportError as exc:
    raise missing("openai-agents", exc) from exc

__all__ = ["MemvidSession"]

_KEY: Final = "openai_session"
_TEXTS: Final = ("input_text", "output_text", "text", "refusal")
_PARTS: Final = ("content", "output", "summary")


class MemvidSession:
    """Keep a session of the OpenAI Agents SDK in a memory; every item comes back exactly as it was given, in order.

    Each call is one commit. The text of an item is searchable, as that of any other record. Any number of sessions,
    objects and processes may share a file.

    Args:
        session_id: The name of the conversation.
        memory: A memory open for writing.
        scope: Metadata that every item gets and must have, such as ``{"user_id": "ada"}``; sessions of different
            scopes with the same name are different.
        session_settings: As in the SDK: ``SessionSettings(limit=...)``, or a dict.

    Raises:
        InvalidInputError: ``memory`` is not an open memory, or the session has no name.
        MissingExtraError: The package ``openai-agents`` is not installed.

    Example:
        >>> import asyncio
        >>> async def talk():
        ...     session = MemvidSession("monday", Memory.create(":memory:"))
        ...     await session.add_items([{"role": "user", "content": "I like figs."}])
        ...     return await session.get_items()
        >>> asyncio.run(talk())
        [{'role': 'user', 'content': 'I like figs.'}]
    """

    def __init__(
        self,
        session_id: str,
        memory: Memory,
        scope: Mapping[str, Any] | None = None,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        given: object = memory
        if not isinstance(given, Memory):
            raise InvalidInputError(f"a session needs an open Memory, not {given!r:.60}")
        if not session_id or not isinstance(session_id, str):
            raise InvalidInputError(f"a session has a name, not {session_id!r:.60}")
        self.session_id = session_id
        self.memory = memory
        self.scope = dict(scope or {})
        self.session_settings: SessionSettings | None = SessionSettings().resolve(session_settings)
        self._key = digest(self.scope, session_id)
        self._thread = WriterThread()

    # --- the SDK's protocol ---

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return the items, oldest first; with a limit, the newest ones.

        Args:
            limit: The most items; by default that of ``session_settings``. A negative one is none, as in the SDK.
        """
        most = self.session_settings.limit if limit is None and self.session_settings is not None else limit
        return await run_in_thread(self._items, most)

    async def add_items(self, items: Sequence[Any]) -> None:
        """Store items as one commit.

        Raises:
            InvalidInputError: An item is not JSON. Nothing is stored.
        """
        if items:
            await self._thread.run(self._add, [_encoded(item) for item in items])

    async def pop_item(self) -> Any | None:
        """Delete the newest item and return it; None if there is none."""
        return await self._thread.run(self._pop)

    async def clear_session(self) -> None:
        """Delete all items of this session."""
        await self._thread.run(self._clear)

    # --- records ---

    @property
    def _where(self) -> dict[str, Any]:
        return {f"{_KEY}.key": {"$eq": self._key}}

    def _newest(self, limit: int | None) -> list[Any]:
        return self.memory.select(self._where, order_by=f"{_KEY}.at", descending=True, limit=limit)

    def _items(self, limit: int | None) -> list[Any]:
        records = self._newest(None if limit is None or limit < 0 else limit)
        return [json.loads(record.metadata[_KEY]["item"]) for record in reversed(records)]

    def _add(self, items: list[str]) -> None:
        with self.memory.exclusive():
            newest = self._newest(1)
            first = newest[0].metadata[_KEY]["at"] + 1 if newest else 0
            now = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"name": self.session_id, "key": self._key}
            metadata = [
                {**self.scope, "created_at": now, _KEY: {**about, "at": at, "item": item}}
                for at, item in enumerate(items, first)
            ]
            ids = [f"{self._key}-item-{at}" for at in range(first, first + len(items))]
            vectors = [None] * len(items) if self.memory.embedder is None else None
            self.memory.add([_text_of(json.loads(item)) for item in items], metadata, ids, vectors)

    def _pop(self) -> Any | None:
        with self.memory.exclusive():
            newest = self._newest(1)
            if not newest:
                return None
            self.memory.delete([newest[0].id])
        return json.loads(newest[0].metadata[_KEY]["item"])

    def _clear(self) -> None:
        with self.memory.exclusive():
            if ids := self.memory.ids(self._where):
                self.memory.delete(ids)


def _encoded(item: Any) -> str:
    try:
        return json.dumps(item)
    except RecursionError as exc:  # its repr fails, too
        raise InvalidInputError("an item of a session must be JSON, and is nested too deeply") from exc
    except (TypeError, ValueError) as exc:
        raise InvalidInputError(f"an item of a session must be JSON, not {item!r:.80} ({exc})") from exc


def _text_of(item: Any) -> str:
    """Return what an item says, to be searched; an empty text for one that says nothing to a person.

    Example:
        >>> _text_of({"role": "assistant", "content": [{"type": "output_text", "text": "At six."}]})
        'assistant: At six.'
        >>> _text_of({"type": "function_call", "name": "weather", "arguments": '{"city": "Lisbon"}'})
        'weather {"city": "Lisbon"}'
    """
    if not isinstance(item, Mapping):
        return ""
    said = " ".join(part for key in _PARTS for part in _said(item.get(key)))
    called = " ".join(str(item[key]) for key in ("name", "arguments") if isinstance(item.get(key), str))
    text = " ".join(part for part in (called, said) if part)
    role = item.get("role")
    shown = f"{role}: {text}" if isinstance(role, str) and text else text
    return shown.encode("utf-8", "replace").decode()


def _said(content: Any) -> list[str]:
    """Return the texts of a content: a text itself, or those of its parts."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [
        text for part in parts if isinstance(part, Mapping) for key in _TEXTS if isinstance(text := part.get(key), str)
    ]
