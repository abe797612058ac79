"""Tools that let a model keep, find and drop what it knows."""

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
    """A tool over an agent's notes; what fails is told to the model, which can mend it or do without."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    notes: Notes
    """Where it works."""
    handle_tool_error: Any = True

    @contextmanager
    def _working(self, what: str) -> Iterator[Notes]:
        """The notes of the run that this is called in; whatever fails, the run goes on."""
        try:
            with our_words():
                yield self.notes.within(current_runtime())
        except (ToolException, GraphBubbleUp):
            raise
        except Exception as exc:
            raise ToolException(f"Could not {what}: {type(exc).__name__}: {exc}") from exc


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
        with self._working("save it") as notes:
            return f"Saved as [{notes.save([_note(text)])[0]}]."

    @override
    async def _arun(self, text: str) -> str:
        with self._working("save it") as notes:
            return f"Saved as [{(await notes.asave([_note(text)]))[0]}]."


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
        with self._working("search") as notes:
            return _told(notes.recall(query, k))

    @override
    async def _arun(self, query: str, k: int = 5) -> tuple[str, list[Document]]:
        with self._working("search") as notes:
            return _told(await notes.arecall(query, k))


class ForgetMemory(_MemoryTool):
    """Deletes one note; other records of the memory it cannot delete."""

    name: str = "forget_memory"
    description: str = "Delete one memory that is wrong or no longer wanted, by its id. Search for it first."
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
    """The id, as it is or as it is shown: in brackets, perhaps in quotes."""
    return name.strip(" \t\n[]`'\"")


def _gone(name: str, *, found: bool) -> str:
    return f"Forgot [{name}]." if found else f"There is no memory with the id [{name}]."


def _note(text: str) -> tuple[str, str]:
    if not text.strip():
        raise ToolException("The text is empty; say what to remember.")
    return "note", text.strip()


def _told(hits: list[Hit]) -> tuple[str, list[Document]]:
    lines = [f"[{hit.id}] {hit.text}" for hit in hits]
    return "\n".join(lines) or "Nothing found.", [to_document(hit.record) for hit in hits]


def create_memory_tools(
    memory: Memory, *, scope: Scope = None, shared: bool | Mapping[str, Any] = False
) -> list[BaseTool]:
    """Tools for an agent to save, search and forget: ``save_memory``, ``search_memory``, ``forget_memory``.

    Without a scope, search sees all that is in the memory, documents too; forget deletes only what was saved by an
    agent. What fails, as when the embedder's server refuses, is a message to the model and never the end of a run.

    Args:
        memory: A memory open for writing.
        scope: Metadata that what is saved gets, and that what is found or forgotten must have, such as
            ``{"user": "ada"}``; or a function of LangGraph's ``Runtime`` that gives it:
            ``lambda runtime: {"user": runtime.context["user"]}``. Give a :class:`MemvidMiddleware` the same.
        shared: Whether documents that are nobody's are found too: those that have none of the scope's keys and that no
            agent, store or conversation wrote. A filter says which of them, such as ``{"kind": "handbook"}``.

    Returns:
        The three tools, each with a sync and an async form.

    Raises:
        InvalidInputError: ``memory`` is none; the scope names nobody, or is an async function.

    Example:
        >>> save, search, forget = create_memory_tools(Memory.create(":memory:"), scope={"user": "ada"})
        >>> _ = save.invoke({"text": "Ada drinks tea without milk"})
        >>> print(search.invoke({"query": "tea"}))
        [note-...] Ada drinks tea without milk
    """
    notes = Notes(memory, scope, shared=shared)
    return [SaveMemory(notes=notes), SearchMemory(notes=notes), ForgetMemory(notes=notes)]
