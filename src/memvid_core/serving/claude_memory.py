"""Claude's memory tool over a memory: ``MemvidMemoryTool`` and its async twin, for Anthropic's SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from memvid_core.errors import MemvidError
from memvid_core.memory import Memory
from memvid_core.serving.extras import missing
from memvid_core.serving.memory_files import MemoryFiles
from memvid_core.system.threads import WriterThread, run_in_thread

try:
    from anthropic.lib.tools import ToolError
    from anthropic.tools.memory import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool
except ImportError as exc:
    raise missing("anthropic", exc) from exc

if TYPE_CHECKING:
    from anthropic.types.beta import (
        BetaCacheControlEphemeralParam,
        BetaMemoryTool20250818CreateCommand,
        BetaMemoryTool20250818DeleteCommand,
        BetaMemoryTool20250818InsertCommand,
        BetaMemoryTool20250818RenameCommand,
        BetaMemoryTool20250818StrReplaceCommand,
        BetaMemoryTool20250818ViewCommand,
    )

__all__ = ["MemvidAsyncMemoryTool", "MemvidMemoryTool"]

T = TypeVar("T")


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error of this package into one that the SDK shows to the model."""
    try:
        yield
    except MemvidError as exc:
        raise ToolError(str(exc)) from exc


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

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Show a file or a folder."""
        with _reported():
            return self.files.view(command.path, command.view_range)

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Create a file."""
        with _reported():
            return self.files.create(command.path, command.file_text)

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text in a file."""
        with _reported():
            return self.files.str_replace(command.path, command.old_str, command.new_str)

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line of a file."""
        with _reported():
            return self.files.insert(command.path, command.insert_line, command.insert_text)

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Delete a file or a folder."""
        with _reported():
            return self.files.delete(command.path)

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Rename a file or a folder."""
        with _reported():
            return self.files.rename(command.old_path, command.new_path)

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

    async def _written(self, function: Callable[..., T], *arguments: object) -> T:
        with _reported():
            return await self._thread.run(function, *arguments)

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Show a file or a folder."""
        with _reported():
            return await run_in_thread(self.files.view, command.path, command.view_range)

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Create a file."""
        return await self._written(self.files.create, command.path, command.file_text)

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text in a file."""
        return await self._written(self.files.str_replace, command.path, command.old_str, command.new_str)

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line of a file."""
        return await self._written(self.files.insert, command.path, command.insert_line, command.insert_text)

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Delete a file or a folder."""
        return await self._written(self.files.delete, command.path)

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Rename a file or a folder."""
        return await self._written(self.files.rename, command.old_path, command.new_path)

    async def clear_all_memory(self) -> str:
        """Delete all files of the scope."""
        return await self._written(self.files.clear)
