"""Deleting nodes from a shared memory without naming ids: records of agents, savers and chats are kept."""

from __future__ import annotations

from typing import Any

from llama_index_memvid.opening import alone
from memvid_core import Library, Memory

__all__ = ["delete_nodes_that"]

_OTHERS = {
    "$or": [{f"{key}": {"$exists": True}} for key in ("langgraph.kind", "agent_memory", "llama_index.chat")],
}
"""Records that a LangGraph store or saver, an agent or a chat store wrote."""
_OF_SERVICES = {"agent.kind": {"$in": ["turn", "item", "category", "resource", "sources", "forgotten"]}}
"""Records that a memory service wrote."""


def delete_nodes_that(memory: Memory | Library, where: dict[str, Any]) -> None:
    """Delete the nodes that match a filter as one commit; keep records that other parts store in the memory.

    Derived records inherit metadata but not ids. So LangGraph's records and notes are recognized by metadata and id
    together.
    """
    with alone(memory):
        others = {name for name in memory.ids(_OTHERS) if "[" in name or name.startswith("note-")}
        others |= set(memory.ids({"$or": [{"llama_index.chat": {"$exists": True}}, _OF_SERVICES]}))
        memory.delete([name for name in memory.ids(where) if name not in others])
