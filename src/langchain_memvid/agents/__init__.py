"""Long-term memory, tools and checkpoints for LangGraph and LangChain agents, in one MP4 file.

>>> from langchain_memvid.agents import MemvidStore
>>> store = MemvidStore()
>>> store.put(("users", "ada"), "drink", {"text": "Ada drinks tea without milk"})
>>> store.search(("users",), query="what does Ada drink?", limit=1)[0].key
'drink'
"""

from __future__ import annotations

import importlib
import typing

from memvid_core import MissingExtraError

try:
    import langchain
    import langgraph.graph
except ImportError as exc:
    raise MissingExtraError(
        "langchain_memvid.agents needs langgraph and langchain, and one of them is not installed: "
        'pip install "memvid-core[agents]"'
    ) from exc

if typing.TYPE_CHECKING:
    from langchain_memvid.agents.files import create_memory_file_tool
    from langchain_memvid.agents.middleware import MemoryWarning, MemvidMiddleware
    from langchain_memvid.agents.saver import MemvidSaver
    from langchain_memvid.agents.store import MemvidStore
    from langchain_memvid.agents.tools import create_memory_tools

__all__ = [
    "MemoryWarning",
    "MemvidMiddleware",
    "MemvidSaver",
    "MemvidStore",
    "create_memory_file_tool",
    "create_memory_tools",
]

# Names are loaded on first use: importing langchain's agents takes seconds.
_MODULES = {
    "MemoryWarning": "middleware",
    "MemvidMiddleware": "middleware",
    "MemvidSaver": "saver",
    "MemvidStore": "store",
    "create_memory_file_tool": "files",
    "create_memory_tools": "tools",
}

del langchain, langgraph, MissingExtraError


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
