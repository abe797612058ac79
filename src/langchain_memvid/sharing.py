"""Sharing one memory: which records belong to agents, savers and chats, and which are documents."""

from __future__ import annotations

from typing import Any, Final

from memvid_core import Library, Memory, Record

__all__ = ["AGENT", "CHAT", "KIND", "META", "NOTE", "is_machinery", "of_services", "readable", "records_of_others"]

META: Final = "langgraph"
"""The metadata key of records that a LangGraph store or saver wrote."""
KIND: Final = f"{META}.kind"
NOTE: Final = "agent_memory"
"""The metadata key of a note: its author, ``"user"`` or ``"assistant"``, or ``"note"`` if it was saved explicitly."""
CHAT: Final = "llama_index.chat"
"""The metadata key of a message that a LlamaIndex chat store wrote."""

AGENT: Final = "agent.kind"
"""The metadata key of records that a memory service wrote: ``"turn"``, ``"item"``, or one of its bookkeeping."""

_MACHINERY: Final = ("checkpoint", "blob", "write", "field")
_BOOKKEEPING: Final = ("resource", "category", "sources", "forgotten")
_NOTE_ID: Final = "note-"


def records_of_others(memory: Memory | Library) -> set[str]:
    """Return the ids that agents, savers, stores and chat stores wrote, which a document store must not delete.

    The parts of a split document inherit its metadata but not its id. So LangGraph's records and notes are recognized
    by metadata and id together.
    """
    kinds = [{KIND: {"$exists": True}}, {NOTE: {"$exists": True}}]
    named = {name for name in memory.ids({"$or": kinds}) if "[" in name or name.startswith(_NOTE_ID)}
    return named | set(memory.ids({"$or": [{CHAT: {"$exists": True}}, of_services()]}))


def of_services() -> dict[str, Any]:
    """Return a filter for the records that memory services wrote."""
    return {AGENT: {"$in": ["turn", "item", *_BOOKKEEPING]}}


def readable() -> dict[str, Any]:
    """Return a filter for readable records.

    It excludes the bytes of checkpoints, repeated fields of items, and the resources and categories of memory services.
    """
    return {KIND: {"$nin": list(_MACHINERY)}, AGENT: {"$nin": list(_BOOKKEEPING)}}


def is_machinery(record: Record) -> bool:
    """Return whether :func:`readable` excludes a record."""
    noted, about = record.metadata.get(META), record.metadata.get("agent")
    machinery = isinstance(noted, dict) and noted.get("kind") in _MACHINERY
    return machinery or (isinstance(about, dict) and about.get("kind") in _BOOKKEEPING)
