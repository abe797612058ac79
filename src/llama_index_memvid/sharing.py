"""Which records of a memory that several things share are nodes, for what deletes without naming ids."""

from __future__ import annotations

from typing import Any

from memvid_core import Memory

__all__ = ["delete_nodes_that"]

_OTHERS = {
    "$or": [{f"{key}": {"$exists": True}} for key in ("langgraph.kind", "agent_memory", "llama_index.chat")],
}
"""What a store or saver of LangGraph, an agent or a chat store wrote."""
_OF_SERVICES = {"agent.kind": {"$in": ["turn", "item", "category", "resource"]}}
"""What a memory service wrote."""


def delete_nodes_that(memory: Memory, where: dict[str, Any]) -> None:
    """Delete the nodes that match a filter, as one commit; what other parts keep in the memory stays.

    Metadata goes along with what is made of a record, and its id does not: of LangGraph's records and notes only both
    together say whose they are.
    """
    with memory.exclusive():
        others = {name for name in memory.ids(_OTHERS) if "[" in name or name.startswith("note-")}
        others |= set(memory.ids({"$or": [{"llama_index.chat": {"$exists": True}}, _OF_SERVICES]}))
        memory.delete([name for name in memory.ids(where) if name not in others])
