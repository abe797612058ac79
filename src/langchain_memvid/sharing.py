"""Whose records are whose in a memory that several things share, and which of them are documents."""

from __future__ import annotations

from typing import Any, Final

from memvid_core import Memory, Record

__all__ = ["AGENT", "CHAT", "KIND", "META", "NOTE", "is_machinery", "of_services", "readable", "records_of_others"]

META: Final = "langgraph"
"""The metadata key of what a store or a saver of LangGraph wrote."""
KIND: Final = f"{META}.kind"
NOTE: Final = "agent_memory"
"""The metadata key of a note: who said it, ``"user"``, ``"assistant"``, or ``"note"`` for what was saved on purpose."""
CHAT: Final = "llama_index.chat"
"""The metadata key of a message of a chat store of LlamaIndex."""

AGENT: Final = "agent.kind"
"""The metadata key of what a memory service wrote: ``"turn"``, ``"item"``, ``"category"`` or ``"resource"``."""

_MACHINERY: Final = ("checkpoint", "blob", "write", "field")
_BOOKKEEPING: Final = ("resource", "category")
_NOTE_ID: Final = "note-"


def records_of_others(memory: Memory) -> set[str]:
    """Return the ids of what agents, savers, stores and chat stores wrote: no filter of a document store deletes it.

    Metadata goes along with what is made of a record, such as the parts of a split document, and its id does not: of
    LangGraph's records and notes only both together say whose they are.
    """
    kinds = [{KIND: {"$exists": True}}, {NOTE: {"$exists": True}}]
    named = {name for name in memory.ids({"$or": kinds}) if "[" in name or name.startswith(_NOTE_ID)}
    return named | set(memory.ids({"$or": [{CHAT: {"$exists": True}}, of_services()]}))


def of_services() -> dict[str, Any]:
    """Return the filter for what memory services wrote."""
    return {AGENT: {"$in": ["turn", "item", *_BOOKKEEPING]}}


def readable() -> dict[str, Any]:
    """Return the filter for what can be read: not the bytes of checkpoints, repeated fields of items, or indexes."""
    return {KIND: {"$nin": list(_MACHINERY)}, AGENT: {"$nin": list(_BOOKKEEPING)}}


def is_machinery(record: Record) -> bool:
    """Return whether :func:`readable` leaves a record out."""
    noted, about = record.metadata.get(META), record.metadata.get("agent")
    machinery = isinstance(noted, dict) and noted.get("kind") in _MACHINERY
    return machinery or (isinstance(about, dict) and about.get("kind") in _BOOKKEEPING)
