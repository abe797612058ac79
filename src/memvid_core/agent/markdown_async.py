"""Markdown out and in for programs with an event loop: files and memory are read and written in other threads."""

from __future__ import annotations

import os
from typing import Any

from memvid_core.agent.markdown_export import Exported, export_markdown
from memvid_core.agent.markdown_import import Imported, import_markdown
from memvid_core.agent.service import MemoryService

__all__ = ["aexport_markdown", "aimport_markdown"]


async def aexport_markdown(
    service: MemoryService, folder: str | os.PathLike[str], *, force: bool = False, **scope: Any
) -> Exported:
    """Write the items of a scope as Markdown, like :func:`~memvid_core.agent.export_markdown`, in another thread.

    It is done in the order of the writes of the service: what was added before it is in it.

    Example:
        >>> import asyncio, tempfile
        >>> from memvid_core import Memory
        >>> async def written() -> list[str]:
        ...     service = MemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"})
        ...     await service.add("I live in Turin.", user_id="ada")
        ...     return (await aexport_markdown(service, tempfile.mkdtemp(), user_id="ada")).files
        >>> asyncio.run(written())
        ['MEMORY.md', 'personal_info.md']
    """
    return await service._written(export_markdown, service.sync, folder, force=force, **scope)


async def aimport_markdown(
    service: MemoryService, folder: str | os.PathLike[str], *, forget_missing: bool = False, **scope: Any
) -> Imported:
    """Read a folder of Markdown into memory, like :func:`~memvid_core.agent.import_markdown`, in another thread."""
    return await service._written(import_markdown, service.sync, folder, forget_missing=forget_missing, **scope)
