r"""Agent memory: conversations in, exchanges out, kept apart by scope, with or without a model.

>>> from memvid_core import Memory
>>> service = SyncMemoryService(Memory.create(":memory:"))
>>> added = service.add("Ada: When is the office party?\nBob: At six, on Friday.", user_id="ada")
>>> print(service.recall("When is the party?", user_id="ada").text)
What you remember that may help, ...
[ref:...-0] ... Ada: When is the office party?
[ref:...-1] ... Bob: At six, on Friday.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memvid_core.agent.config import MemorizeConfig, RetrieveConfig, UserConfig
    from memvid_core.agent.forgetting import Receipt
    from memvid_core.agent.loop import Dropped, Flushed, MemoryLoop
    from memvid_core.agent.markdown_async import aexport_markdown, aimport_markdown
    from memvid_core.agent.markdown_export import Exported, export_markdown
    from memvid_core.agent.markdown_import import Imported, import_markdown
    from memvid_core.agent.media import audio_reader, image_reader, video_reader
    from memvid_core.agent.messages import Conversation, Message, read_conversations, read_messages
    from memvid_core.agent.pipelines import Pipeline, Step
    from memvid_core.agent.recalled import LeftOut, Recall, Recalled
    from memvid_core.agent.records import Category, Item, Resource, Turn
    from memvid_core.agent.results import Memorized, Retrieved
    from memvid_core.agent.scoped import ScopedService
    from memvid_core.agent.service import MemoryService
    from memvid_core.agent.sync_service import SyncMemoryService

__all__ = [
    "Category",
    "Conversation",
    "Dropped",
    "Exported",
    "Flushed",
    "Imported",
    "Item",
    "LeftOut",
    "MemorizeConfig",
    "Memorized",
    "MemoryLoop",
    "MemoryService",
    "Message",
    "Pipeline",
    "Recall",
    "Recalled",
    "Receipt",
    "Resource",
    "RetrieveConfig",
    "Retrieved",
    "ScopedService",
    "Step",
    "SyncMemoryService",
    "Turn",
    "UserConfig",
    "aexport_markdown",
    "aimport_markdown",
    "audio_reader",
    "export_markdown",
    "image_reader",
    "import_markdown",
    "read_conversations",
    "read_messages",
    "video_reader",
]

# Loaded on first use: a server that is asked for records alone does without.
_MODULES = {
    "Category": "records",
    "Conversation": "messages",
    "Dropped": "loop",
    "Exported": "markdown_export",
    "Flushed": "loop",
    "Imported": "markdown_import",
    "Item": "records",
    "LeftOut": "recalled",
    "MemorizeConfig": "config",
    "Memorized": "results",
    "MemoryLoop": "loop",
    "MemoryService": "service",
    "Message": "messages",
    "Pipeline": "pipelines",
    "Recall": "recalled",
    "Recalled": "recalled",
    "Receipt": "forgetting",
    "Resource": "records",
    "RetrieveConfig": "config",
    "Retrieved": "results",
    "ScopedService": "scoped",
    "Step": "pipelines",
    "SyncMemoryService": "sync_service",
    "Turn": "records",
    "UserConfig": "config",
    "aexport_markdown": "markdown_async",
    "aimport_markdown": "markdown_async",
    "audio_reader": "media",
    "export_markdown": "markdown_export",
    "image_reader": "media",
    "import_markdown": "markdown_import",
    "read_conversations": "messages",
    "read_messages": "messages",
    "video_reader": "media",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
