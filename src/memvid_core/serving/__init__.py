"""Memories for programs that are not written in Python, and for agents: an MCP server and memory tools.

Names are loaded on first use; each needs its extra: ``mcp``, ``anthropic`` or ``openai-agents``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memvid_core.serving.claude_memory import MemvidAsyncMemoryTool, MemvidMemoryTool
    from memvid_core.serving.openai_session import MemvidSession
    from memvid_core.serving.server import mcp_server

__all__ = ["MemvidAsyncMemoryTool", "MemvidMemoryTool", "MemvidSession", "mcp_server"]

_MODULES = {
    "MemvidAsyncMemoryTool": "claude_memory",
    "MemvidMemoryTool": "claude_memory",
    "MemvidSession": "openai_session",
    "mcp_server": "server",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
