"""MemvidChatStore: chat messages stored in a memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from typing_extensions import override

from llama_index_memvid.messages import message_of, text_of, what_else
from llama_index_memvid.opening import IN_RAM, OverMemory, memory_of, mode_of
from llama_index_memvid.wording import our_words
from memvid_core import Index, InvalidInputError, Library, Memory, Metric, Record, WriterThread, run_in_thread

__all__ = ["MemvidChatStore"]

T = TypeVar("T")

_KEY, _CHAT = "llama_index", "llama_index.chat"


class MemvidChatStore(OverMemory, AsyncDBChatStore):
    """Store conversations in one MP4 file, as the ``chat_store`` of LlamaIndex's ``Memory``.

    Each message is a record. Its text is the text of the message; its metadata under ``llama_index.chat`` has the
    conversation's ``key``, ``role``, ``status``, ``time`` (nanoseconds since 1970) and the remaining fields of the
    message. The records have no vectors: lexical search finds them, dense search over the same file does not.

    Args:
        path: The MP4 file; it is created if it does not exist. By default everything is kept in RAM.
        mode: ``"a"`` to read and write; ``"r"`` to read, which requires that the file exists.
        memory: An open memory to use instead, which may hold other records too. :meth:`close` leaves it open.
        index: How ``memory`` searches vectors, as in :meth:`memvid_core.Memory.open`; the chat store does not search.
        metric: How a new file compares vectors, for a vector store that shares the file. The default is cosine.
        index_dir: The folder of the index; by default ``<path>.index``, next to the file.
        timeout: How many seconds a write waits for other writers.

    Any number of stores, threads and processes may write one file. In a coroutine,
    ``async with await MemvidChatStore.aopen("chat.mp4") as store`` does not block the event loop.

    Raises:
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        InvalidInputError: An argument is invalid, for example a key that is not a string. Nothing is written.
        MetadataError: A message cannot be stored. Nothing is written.

    Example:
        >>> store = MemvidChatStore()
        >>> import asyncio
        >>> asyncio.run(store.add_message("a talk", ChatMessage("Wings lift.")))
        >>> asyncio.run(store.get_messages("a talk"))[0].content
        'Wings lift.'
    """

    path: str = IN_RAM
    mode: Literal["a", "r"] = "a"

    _held: Memory | Library = PrivateAttr()
    _owned: bool = PrivateAttr(default=True)
    _reopening: dict[str, Any] = PrivateAttr(default_factory=dict)
    _thread: WriterThread = PrivateAttr(default_factory=WriterThread)

    def __init__(
        self,
        path: str | os.PathLike[str] = IN_RAM,
        *,
        mode: Literal["a", "r"] = "a",
        memory: Memory | None = None,
        index: Index = "auto",
        metric: Metric | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        options: dict[str, Any] = {"index": index, "metric": metric, "index_dir": index_dir, "timeout": timeout}
        opened = memory_of(memory, path, mode, "given" if memory is None else None, **options)  # no vectors are needed
        super().__init__(path=opened.path, mode=mode if memory is None else mode_of(memory))  # type: ignore[call-arg]
        self._held = opened
        self._owned = memory is None
        self._reopening = options

    @classmethod
    @override
    def class_name(cls) -> str:
        return "MemvidChatStore"

    # --- the interface of AsyncDBChatStore; each method accesses the disk in a thread ---

    @override
    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Return the messages of a conversation, oldest first; ``status=None`` returns all of them."""
        first, count = _count(offset or 0, "offset"), None if limit is None else _count(limit, "limit")
        found = await run_in_thread(self._records, key, status)
        return [_message(record) for record in found[first : None if count is None else first + count]]

    @override
    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        return len(await run_in_thread(self._records, key, status))

    @override
    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        await self.add_messages(key, [message], status)

    @override
    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        await self._write(lambda: self._add(key, messages, status))

    @override
    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Replace all messages of the conversation."""

        def put() -> None:
            self._add(key, messages, status, [record.id for record in self._records(key, None)])

        await self._write(put)

    @override
    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at an index among all of the conversation; return None if the index is out of range.

        Raises:
            InvalidInputError: The index is not an integer.
        """
        given: object = idx
        if type(given) is not int:
            raise InvalidInputError(f"the index of a message must be an integer, not {given!r}")

        def delete() -> ChatMessage | None:
            found = self._records(key, None)
            return self._delete(found[idx : idx + 1])[0] if 0 <= idx < len(found) else None

        return await self._write(delete)

    @override
    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        await self._write(lambda: self.memory.delete(where=_where(key, status)))

    @override
    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest active messages and return them."""
        return await self._write(lambda: self._delete(self._oldest(key, n)))

    @override
    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest active messages of the conversation and return them."""

        def archive() -> list[ChatMessage]:
            found = self._oldest(key, n)
            archived = [_metadata({**_chat(record), "status": MessageStatus.ARCHIVED.value}) for record in found]
            self._put([record.text for record in found], archived, [record.id for record in found])
            return [_message(record) for record in found]

        return await self._write(archive)

    @override
    async def get_keys(self) -> list[str]:
        """Return the keys of all conversations, oldest conversation first."""
        with our_words():
            found = await run_in_thread(self.memory.select, {f"{_CHAT}.key": {"$type": "string"}})
        return list(dict.fromkeys(_chat(record)["key"] for record in sorted(found, key=_time)))

    # --- helpers ---

    async def _write(self, work: Callable[[], T]) -> T:
        def alone() -> T:
            with our_words(), self.memory.exclusive():  # reading and writing must see the same records
                return work()

        return await self._written(alone)

    def _records(self, key: str, status: MessageStatus | None) -> list[Record]:
        with our_words():
            return sorted(self.memory.select(_where(key, status)), key=_time)

    def _oldest(self, key: str, n: int) -> list[Record]:
        if type(n) is not int:
            raise InvalidInputError(f"n must be an integer, not {n!r}")
        return self._records(key, MessageStatus.ACTIVE)[: max(n, 0)]

    def _add(self, key: str, messages: Sequence[ChatMessage], status: MessageStatus, ids: Sequence[str] = ()) -> None:
        place = {"key": _checked(key), "status": _name(status)}
        metadata = [
            _metadata({**place, "role": message.role.value, "time": now} | what_else(message))
            for message, now in zip(_all_messages(messages), self._times(key, len(messages)), strict=True)
        ]
        chosen = [*ids[: len(messages)], *[None] * (len(messages) - len(ids))]
        self._put([text_of(message) for message in messages], metadata, chosen, ids[len(messages) :])

    def _put(
        self, texts: list[str], metadata: list[dict[str, Any]], ids: Sequence[str | None], gone: Sequence[str] = ()
    ) -> None:
        self.memory.add(texts, metadata, ids, [None] * len(texts), delete=gone)

    def _times(self, key: str, count: int) -> range:
        """Return one time per message; all are later than those of the conversation: a clock may be set back."""
        newest = self.memory.select(_where(key, None), order_by=f"{_CHAT}.time", descending=True, limit=1)
        first = max(time.time_ns(), *(_time(record) + 1 for record in newest), 0)
        return range(first, first + count)

    def _delete(self, records: list[Record]) -> list[ChatMessage]:
        self.memory.delete([record.id for record in records])
        return [_message(record) for record in records]


def _where(key: str, status: MessageStatus | None) -> dict[str, Any]:
    where: dict[str, Any] = {f"{_CHAT}.key": _checked(key)}
    return where if status is None else where | {f"{_CHAT}.status": _name(status)}


def _checked(key: object) -> str:
    """Check that a key is a str: None or a dict in a filter would match, and might delete, other records."""
    if not isinstance(key, str):
        raise InvalidInputError(f"the key of a conversation must be a str, not {key!r}")
    return key


def _name(status: object) -> str:
    try:
        return MessageStatus(status).value
    except ValueError as exc:
        raise InvalidInputError(f"status must be 'active' or 'archived', not {status!r}") from exc


def _count(number: object, name: str) -> int:
    if type(number) is not int or number < 0:
        raise InvalidInputError(f"{name} must be an integer of 0 or more, not {number!r}")
    return number


def _all_messages(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    for place, message in enumerate(messages):
        if not isinstance(message, ChatMessage):
            raise InvalidInputError(f"message {place} must be a ChatMessage, not {message!r}")
    return messages


def _metadata(chat: dict[str, Any]) -> dict[str, Any]:
    return {_KEY: {"chat": chat}}


def _chat(record: Record) -> dict[str, Any]:
    chat: dict[str, Any] = record.metadata[_KEY]["chat"]
    return chat


def _time(record: Record) -> int:
    return int(_chat(record)["time"])


def _message(record: Record) -> ChatMessage:
    chat = _chat(record)
    rest: dict[str, Any] = {name: chat[name] for name in ("blocks", "additional_kwargs") if name in chat}
    return message_of(chat["role"], record.text, rest)
