"""Tools that let a model keep, find and drop what it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from langchain_memvid.agents.notes import Notes
from langchain_memvid.documents import to_document
from memvid_core import Hit, Memory

__all__ = ["ForgetMemory", "SaveMemory", "SearchMemory", "create_memory_tools"]


class _SaveInput(BaseModel):
    text: str = Field(description="One fact in one sentence that is understood on its own, with names and dates.")


class _SearchInput(BaseModel):
    query: str = Field(description="What to look for: a question, or words that the memory has.")
    k: int = Field(default=5, ge=1, le=50, description="How many memories to return at most.")


class _ForgetInput(BaseModel):
    id: str = Field(description="The id of the memory, as search_memory shows it in brackets.")


class _MemoryTool(BaseTool):
    """A tool over an agent's notes; what it cannot take is told to the model, which can mend it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    notes: Notes
    """Where it works."""
    handle_tool_error: Any = True


class SaveMemory(_MemoryTool):
    """Saves a text; saying the same again stores nothing new."""

    name: str = "save_memory"
    description: str = (
        "Save a fact to long-term memory, so that it is known in later conversations: what the user says about "
        "themselves, preferences, decisions, results. Do not save what is only of use right now."
    )
    args_schema: Any = _SaveInput

    @override
    def _run(self, text: str) -> str:
        return f"Saved as [{self.notes.save([_note(text)])[0]}]."

    @override
    async def _arun(self, text: str) -> str:
        return f"Saved as [{(await self.notes.asave([_note(text)]))[0]}]."


class SearchMemory(_MemoryTool):
    """Searches the memory; the artifact is the documents that were found."""

    name: str = "search_memory"
    description: str = (
        "Search long-term memory, from this and from earlier conversations. Use it before you say that you do not know."
    )
    args_schema: Any = _SearchInput
    response_format: Any = "content_and_artifact"

    @override
    def _run(self, query: str, k: int = 5) -> tuple[str, list[Document]]:
        return _told(self.notes.recall(query, k))

    @override
    async def _arun(self, query: str, k: int = 5) -> tuple[str, list[Document]]:
        return _told(await self.notes.arecall(query, k))


class ForgetMemory(_MemoryTool):
    """Deletes one note; other records of the memory it cannot delete."""

    name: str = "forget_memory"
    description: str = "Delete one memory that is wrong or no longer wanted, by its id. Search for it first."
    args_schema: Any = _ForgetInput

    @override
    def _run(self, id: str) -> str:
        return f"Forgot [{id}]." if self.notes.forget(id) else f"There is no memory with the id [{id}]."

    @override
    async def _arun(self, id: str) -> str:
        return await asyncio.to_thread(self._run, id)


def _note(text: str) -> tuple[str, str]:
    if not text.strip():
        raise ToolException("The text is empty; say what to remember.")
    return "note", text.strip()


def _told(hits: list[Hit]) -> tuple[str, list[Document]]:
    lines = [f"[{hit.id}] {hit.text}" for hit in hits]
    return "\n".join(lines) or "Nothing found.", [to_document(hit.record) for hit in hits]


def create_memory_tools(memory: Memory, *, scope: Mapping[str, Any] | None = None) -> list[BaseTool]:
    """Tools for an agent to save, search and forget: ``save_memory``, ``search_memory``, ``forget_memory``.

    Search sees all that is in the memory, documents too; forget deletes only what was saved by an agent.

    Args:
        memory: A memory open for writing.
        scope: Metadata that what is saved gets, and that what is found must have, such as ``{"user": "ada"}``.

    Returns:
        The three tools, each with a sync and an async form.

    Raises:
        InvalidInputError: ``memory`` is none.

    Example:
        >>> save, search, forget = create_memory_tools(Memory.create(":memory:"), scope={"user": "ada"})
        >>> _ = save.invoke({"text": "Ada drinks tea without milk"})
        >>> print(search.invoke({"query": "tea"}))
        [note-...] Ada drinks tea without milk
    """
    notes = Notes(memory, scope)
    return [SaveMemory(notes=notes), SearchMemory(notes=notes), ForgetMemory(notes=notes)]
