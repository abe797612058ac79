"""Claude's memory tool over a memory: ``MemvidMemoryTool`` and its async twin, for Anthropic's SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memvid_core.errors import MemvidError
from memvid_core.memory import Memory
from memvid_core.serving.extras import missing
from memvid_core.serving.memory_files import COMMANDS, MemoryFiles
from memvid_core.system.threads import WriterThread, run_in_thread

try:
    from anthropic.lib.tools import ToolError
    from anthropic.tools.memory import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool
except ImportError as exc:
    raise missing("anthropic", exc) from exc

if TYPE_CHECKING:
    from anthropic.types.beta import (
        BetaCacheControlEphemeralParam,
        BetaMemoryTool20250818Command,
        BetaMemoryTool20250818ViewCommand,
    )

__all__ = ["MemvidAsyncMemoryTool", "MemvidMemoryTool"]


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error of this package into one that the SDK shows to the model."""
    try:
        yield
    except MemvidError as exc:
        raise ToolError(str(exc)) from exc


def _arguments(command: BetaMemoryTool20250818Command) -> dict[str, Any]:
    """Return a command of the SDK as a dict, without arguments that it does not have."""
    names = {"command", *COMMANDS[command.command]}
    return {name: value for name, value in command.to_dict().items() if name in names}


class MemvidMemoryTool(BetaAbstractMemoryTool):
    """Keep the files of Claude's memory tool in a memory.

    Commands, texts and errors are those of the SDK's own file-system backend. No path leaves ``/memories``. Each edit
    is one commit and keeps the text before it (``tool.files.versions(path)``), and a
    :class:`~memvid_core.agent.MemoryService` with the same scope recalls what the files say.

    Args:
        memory: A memory open for writing. Any number of tools and processes may share its file.
        scope: Whose the files are: fields of a memory service, such as ``{"user_id": "ada"}``; by default
            ``{"agent_id": "claude"}``.
        cache_control: As in the SDK.

    Raises:
        InvalidInputError: ``memory`` is not an open memory, or the scope names no owner.
        MissingExtraError: The package ``anthropic`` is not installed.

    Example:
        >>> tool = MemvidMemoryTool(Memory.create(":memory:"))
        >>> tool.call({"command": "create", "path": "/memories/tea.txt", "file_text": "Ada drinks tea"})
        'File created successfully at: /memories/tea.txt'
    """

    def __init__(
        self,
        memory: Memory,
        scope: Mapping[str, Any] | None = None,
        *,
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self.files = MemoryFiles(memory, scope)

    def _run(self, command: BetaMemoryTool20250818Command) -> str:
        """Carry out a command."""
        with _reported():
            return self.files.run(_arguments(command))

    view = create = str_replace = insert = delete = rename = _run

    def clear_all_memory(self) -> str:
        """Delete all files of the scope."""
        with _reported():
            return self.files.clear()


class MemvidAsyncMemoryTool(BetaAsyncAbstractMemoryTool):
    """The async twin of :class:`MemvidMemoryTool`; no command blocks the event loop.

    Args:
        memory: As in :class:`MemvidMemoryTool`, and so are the others.
        scope: Whose the files are.
        cache_control: As in the SDK.

    Example:
        >>> import asyncio
        >>> tool = MemvidAsyncMemoryTool(Memory.create(":memory:"))
        >>> command = {"command": "create", "path": "/memories/tea.txt", "file_text": "Ada drinks tea"}
        >>> asyncio.run(tool.call(command))
        'File created successfully at: /memories/tea.txt'
    """

    def __init__(
        self,
        memory: Memory,
        scope: Mapping[str, Any] | None = None,
        *,
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self.files = MemoryFiles(memory, scope)
        self._thread = WriterThread()

    async def _run(self, command: BetaMemoryTool20250818Command) -> str:
        """Carry out a command that changes files: one at a time, in a thread of its own."""
        with _reported():
            return await self._thread.run(self.files.run, _arguments(command))

    create = str_replace = insert = delete = rename = _run

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Show a file or a folder."""
        with _reported():
            return await run_in_thread(self.files.run, _arguments(command))

    async def clear_all_memory(self) -> str:
        """Delete all files of the scope."""
        with _reported():
            return await self._thread.run(self.files.clear)
