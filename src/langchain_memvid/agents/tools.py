"""Tools with which a model saves, finds and deletes notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langchain_core.documents import Document
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from langchain_memvid.agents.notes import Notes
from langchain_memvid.agents.scopes import Scope, current_runtime
from langchain_memvid.documents import to_document
from langchain_memvid.wording import our_words
from memvid_core import TOOL_WORDS, Hit, Memory

__all__ = ["ForgetMemory", "SaveMemory", "SearchMemory", "create_memory_tools"]


class _SaveInput(BaseModel):
    text: str = Field(description=TOOL_WORDS["text"])


class _SearchInput(BaseModel):
    query: str = Field(description=TOOL_WORDS["query"])
    k: int = Field(default=5, ge=1, le=50, description=TOOL_WORDS["k"])


class _ForgetInput(BaseModel):
    id: str = Field(description=TOOL_WORDS["id"])


class _MemoryTool(BaseTool):
    """Work on an agent's notes; report errors to the model, which can correct the call or continue without it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    notes: Notes
    """The notes that the tool works on."""
    handle_tool_error: Any = True

    @contextmanager
    def _working(self, what: str) -> Iterator[Notes]:
        """Yield the notes of the current run; a failure becomes a message to the model."""
        try:
            with our_words():
                yield self.notes.within(current_runtime())
        except (ToolException, GraphBubbleUp):
            raise
        except Exception as exc:
            raise ToolException(f"Could not {what}: {type(exc).__name__}: {exc}") from exc


class SaveMemory(_MemoryTool):
    """Save a text; saving the same text again stores nothing new."""

    name: str = "save_memory"
    description: str = TOOL_WORDS["save"]
    args_schema: Any = _SaveInput

    @override
    def _run(self, text: str) -> str:
        with self._working("save it") as notes:
            return f"Saved as [{notes.save([_note(text)])[0]}]."

    @override
    async def _arun(self, text: str) -> str:
        with self._working("save it") as notes:
            return f"Saved as [{(await notes.asave([_note(text)]))[0]}]."


class SearchMemory(_MemoryTool):
    """Search the memory; the artifact contains the documents found."""

    name: str = "search_memory"
    description: str = TOOL_WORDS["search"]
    args_schema: Any = _SearchInput
    response_format: Any = "content_and_artifact"

    @override
    def _run(self, query: str, k: int = 5) -> tuple[str, list[Document]]:
        with self._working("search") as notes:
            return _listing(notes.recall(query, k))

    @override
    async def _arun(self, query: str, k: int = 5) -> tuple[str, list[Document]]:
        with self._working("search") as notes:
            return _listing(await notes.arecall(query, k))


class ForgetMemory(_MemoryTool):
    """Delete one note; other records of the memory cannot be deleted."""

    name: str = "forget_memory"
    description: str = TOOL_WORDS["forget"]
    args_schema: Any = _ForgetInput

    @override
    def _run(self, id: str) -> str:
        name = _bare(id)
        with self._working("forget it") as notes:
            return _gone(name, found=notes.forget(name))

    @override
    async def _arun(self, id: str) -> str:
        name = _bare(id)
        with self._working("forget it") as notes:
            return _gone(name, found=await notes.aforget(name))


def _bare(name: str) -> str:
    """Return the bare id, without the brackets or quotes in which it may be shown."""
    return name.strip(" \t\n[]`'\"")


def _gone(name: str, *, found: bool) -> str:
    return f"Forgot [{name}]." if found else f"No memory has the id [{name}]."


def _note(text: str) -> tuple[str, str]:
    if not text.strip():
        raise ToolException("The text is empty; say what to remember.")
    return "note", text.strip()


def _listing(hits: list[Hit]) -> tuple[str, list[Document]]:
    lines = [f"[{hit.id}] {hit.text}" for hit in hits]
    return "\n".join(lines) or "Nothing found.", [to_document(hit.record) for hit in hits]


def create_memory_tools(
    memory: Memory, *, scope: Scope = None, shared: bool | Mapping[str, Any] = False
) -> list[BaseTool]:
    """Create the tools ``save_memory``, ``search_memory`` and ``forget_memory`` for an agent.

    Without a scope, search covers all records of the memory, including documents; forget deletes only notes of agents.
    A failure, such as an embedding server that does not respond, is a message to the model and never ends the run.

    Args:
        memory: A memory open for writing.
        scope: Metadata that saved notes get, and that found or deleted records must have, such as ``{"user": "ada"}``;
            or a function of LangGraph's ``Runtime`` that returns it:
            ``lambda runtime: {"user": runtime.context["user"]}``. Pass a :class:`MemvidMiddleware` the same scope.
        shared: Whether documents without an owner are found too: those that have none of the scope's keys and were not
            written by an agent, store or conversation. A filter restricts them further, such as
            ``{"kind": "handbook"}``.

    Returns:
        The three tools; each can be called sync and async.

    Raises:
        InvalidInputError: ``memory`` is not a Memory, the scope does not name an owner, or it is an async function.

    Example:
        >>> save, search, forget = create_memory_tools(Memory.create(":memory:"), scope={"user": "ada"})
        >>> _ = save.invoke({"text": "Ada drinks tea without milk"})
        >>> print(search.invoke({"query": "tea"}))
        [note-...] Ada drinks tea without milk
    """
    notes = Notes(memory, scope, shared=shared)
    return [SaveMemory(notes=notes), SearchMemory(notes=notes), ForgetMemory(notes=notes)]
