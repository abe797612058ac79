"""mcp_server: an MCP server over open memories, to run or to mount in an application."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from memvid_core.errors import Action, InvalidInputError, MemvidError, worded
from memvid_core.memory import Memory
from memvid_core.model import GivenSynonyms
from memvid_core.serving.extras import missing
from memvid_core.serving.memories import Served, served
from memvid_core.serving.tools import AGENT_TOOLS, RECORD_TOOLS, Tool
from memvid_core.serving.words import TOOL_WORDS
from memvid_core.system.threads import run_in_thread

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.server.mcpserver.tools import Tool as RegisteredTool
    from pydantic import Field
except ImportError as exc:
    raise missing("mcp", exc) from exc

if TYPE_CHECKING:
    from memvid_core.library import Library

__all__ = ["mcp_server"]

_TOOLS: Final[Mapping[str, tuple[Tool, ...]]] = {"records": RECORD_TOOLS, "agent": AGENT_TOOLS}

_LET_BEGIN: Final = 0.2  # seconds in which a client can begin the protocol before the memories are prepared

_WORDS: Final = {
    Action.ALLOW_PARTIAL: "memvid library verify looks at every file",
    Action.FILTER: "list_memories lists them without a query",
    Action.GIVE_EMBEDDER: "start the server with --embedder {embedder}",
    Action.FORCE: "start the server with --embedder {embedder}",
    Action.OPEN_FOR_WRITING: "start the server without --read-only",
    Action.SEARCH_WORDS: "start the server with --embedder {embedder}",
    Action.WAIT: "try again in a moment",
}
"""What an operator or a model can do about an error."""


def mcp_server(
    memories: Memory | Library | Mapping[str, Memory | Library],
    *,
    read_only: bool = False,
    scope: Mapping[str, Any] | None = None,
    tools: Collection[str] = ("records", "agent"),
    name: str = "memvid",
    synonyms: GivenSynonyms | None = None,
) -> MCPServer[None]:
    """Return an MCP server with tools that search and change memories.

    Any number of servers and programs may use one file; a commit waits for those of others. The server does not close
    the memories.

    Args:
        memories: An open memory, or open memories by the name with which a tool call chooses one. Memories that are
            open for reading are not changed. A library can stand for a memory: it is only read, has no conversations,
            and each call reads its newest version.
        read_only: Offer only tools that read.
        scope: Metadata that every saved record gets, and that every found or changed record must have, such as
            ``{"user_id": "ada"}``. A client cannot see or change it.
        tools: ``"records"`` (search, get, list, save, update, forget), ``"agent"`` (remember, recall, forget, history:
            conversations, through a :class:`~memvid_core.agent.MemoryService`), or both.
        name: The name of the server for clients.
        synonyms: Words and phrases that mean the same in every search of records, as in
            :meth:`memvid_core.Memory.search`.

    Raises:
        InvalidInputError: A name or the scope is invalid, or no memory is given.
        MissingExtraError: The package ``mcp`` is not installed.

    Example:
        >>> import asyncio
        >>> from mcp import Client
        >>> memory = Memory.create(":memory:")
        >>> server = mcp_server(memory, tools=["records"])
        >>> async def talk():
        ...     async with Client(server) as client:
        ...         await client.call_tool("save_memories", {"texts": ["Ada drinks tea"]})
        ...         return (await client.call_tool("search_memory", {"query": "tea"})).content[0].text
        >>> asyncio.run(talk())
        '[note-...] Ada drinks tea'
    """
    chosen = served(memories, scope or {}, read_only=read_only, synonyms=synonyms)
    wanted = [tool for kind in _checked(tools) for tool in _TOOLS[kind]]
    registered = []
    for tool in wanted:
        fitting = {name: each for name, each in chosen.items() if each.converses or tool in RECORD_TOOLS}
        targets = {name: each for name, each in fitting.items() if each.writable or not tool.writes}
        if targets:
            registered.append(_registered(tool, targets, several=len(chosen) > 1))
    server: MCPServer[None] = MCPServer(
        name,
        tools=registered,
        title="Memory",
        version=importlib.metadata.version("memvid-core"),
        instructions=_instructions(chosen),
        log_level="WARNING",
        lifespan=_warming(chosen),
    )
    _add_info(server, chosen)
    return server


def _checked(tools: Collection[str]) -> list[str]:
    unknown = [kind for kind in tools if kind not in _TOOLS]
    if isinstance(tools, str) or unknown or not tools:
        raise InvalidInputError(f"tools is a list of {' and '.join(map(repr, _TOOLS))}, not {tools!r}")
    return [kind for kind in _TOOLS if kind in tools]


def _instructions(chosen: Mapping[str, Served]) -> str:
    lines = [
        "Long-term memory that lasts over conversations. Search it before you say that you do not know something.",
        "Save what will matter later.",
        TOOL_WORDS["data"],
        *(each.sentence() for each in chosen.values()),
    ]
    return "\n".join(lines)


def _warming(chosen: Mapping[str, Served]) -> Any:
    """Return a lifespan that prepares the memories in the background, once for all sessions."""
    begun: list[threading.Thread] = []

    def warm() -> None:
        time.sleep(_LET_BEGIN)
        for each in chosen.values():
            each.warm()

    @asynccontextmanager
    async def lifespan(server: MCPServer[None]) -> AsyncIterator[None]:
        if not begun:
            begun.append(threading.Thread(target=warm, name="memvid-warm", daemon=True))
            begun[0].start()
        yield None

    return lifespan


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error of this package into the result of a tool: its sentence, without a traceback."""
    try:
        yield
    except MemvidError as exc:
        raise ToolError(worded(exc, _WORDS)) from exc


def _registered(tool: Tool, targets: Mapping[str, Served], *, several: bool) -> RegisteredTool:
    """Return a tool for the SDK; it has a parameter ``memory`` if the server has several memories."""
    signature = inspect.signature(tool.function, eval_str=True)
    parameters = [each for each in signature.parameters.values() if each.name != "served"]
    if several:
        choice = Annotated[Literal[tuple(targets)], Field(description="Which memory.")]  # type: ignore[valid-type]
        parameters.insert(0, inspect.Parameter("memory", inspect.Parameter.KEYWORD_ONLY, annotation=choice))

    async def call(**given: Any) -> Any:
        target = targets[given.pop("memory")] if several else next(iter(targets.values()))
        with _reported():
            if not target.converses:
                await run_in_thread(target.follow)
            return await tool.function(target, **given)

    call.__name__ = tool.name
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    made = RegisteredTool.from_function(
        call, tool.name, tool.title, tool.description, annotations=tool.annotations, structured_output=True
    )
    made.parameters = _untitled(made.parameters)
    made.fn_metadata.output_schema = _untitled(made.fn_metadata.output_schema)
    return made


def _untitled(schema: Any) -> Any:
    """Return a JSON schema without its titles, which repeat the names of the properties."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _untitled(value)
        for key, value in schema.items()
        if key != "title"
    }


def _add_info(server: MCPServer[None], chosen: Mapping[str, Served]) -> None:
    @server.resource(
        "memory://info", name="info", description="Counts, embedder and dates.", mime_type="application/json"
    )
    def info() -> str:
        """Return the facts about every memory as JSON."""
        return json.dumps([each.facts() for each in chosen.values()], ensure_ascii=False)
