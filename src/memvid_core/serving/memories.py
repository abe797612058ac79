"""The memories of a server, by name, each with its scope."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memvid_core.agent.scopes import DEFAULT_FIELDS, SESSION, ScopeRules
from memvid_core.agent.trust import defused
from memvid_core.errors import InvalidInputError, MemoryFileError, MemvidError, ReadOnlyError
from memvid_core.memory import Memory, session_of
from memvid_core.model import GivenSynonyms, MemoryInfo
from memvid_core.serving.records import ServedRecords

if TYPE_CHECKING:
    from memvid_core.agent.service import MemoryService
    from memvid_core.library import Library

__all__ = ["DEFAULT_OWNER", "Served", "checked_names", "names_of", "served"]

DEFAULT_OWNER: Final = {"agent_id": "mcp"}
"""Whose the remembered conversations are if the server has no scope."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DESCRIPTION_LENGTH: Final = 300


class Served:
    """One memory of a server: its records and its conversations, within a scope.

    Args:
        name: The name by which tools choose it.
        memory: The open memory, or a library, which is only read.
        scope: Metadata that every record has.
        read_only: Whether it must not be changed.
        synonyms: Words that mean the same in every search of its records.

    Raises:
        InvalidInputError: The scope has a reserved key.
    """

    def __init__(
        self,
        name: str,
        memory: Memory | Library,
        scope: Mapping[str, Any],
        *,
        read_only: bool,
        synonyms: GivenSynonyms | None = None,
    ) -> None:
        self.name = name
        self.memory = memory
        self.records = ServedRecords(memory, scope, synonyms)
        self.writable = not read_only and isinstance(memory, Memory) and _writable(memory)
        owner = dict(scope) or DEFAULT_OWNER
        fields = tuple(dict.fromkeys((*owner, SESSION))) if scope else DEFAULT_FIELDS
        self._whose = ScopeRules(fields, owner)
        self._service: MemoryService | None = None
        self._making = threading.Lock()

    @property
    def service(self) -> MemoryService:
        """The conversations.

        Raises:
            InvalidInputError: A library has none.
        """
        if not isinstance(self.memory, Memory):
            raise InvalidInputError(f"{self.name} is a library, which keeps no conversations")
        with self._making:
            if self._service is None:
                from memvid_core.agent.service import MemoryService  # late: a fifth of the start of a server

                user = {"model": list(self._whose.fields), "default": self._whose.default}
                self._service = MemoryService(self.memory, memorize_config={"extract": "rules"}, user_config=user)
            return self._service

    @property
    def converses(self) -> bool:
        """Whether it keeps conversations."""
        return isinstance(self.memory, Memory)

    def follow(self) -> None:
        """Read the newest version of a library; a memory follows its file by itself."""
        if not isinstance(self.memory, Memory):
            self.memory.refresh()

    def warm(self) -> None:
        """Build what the first calls would otherwise build: the index of words, the embedder, columns of metadata."""
        with suppress(MemvidError):
            if isinstance(self.memory, Memory):
                self.memory.prepare()
            self.records.search("memory", 1, None)
            if self.converses:
                self.service  # noqa: B018

    def facts(self) -> dict[str, Any]:
        """Return what a client may know of the memory: not the path of its file, and in a scope nothing of others.

        What others write shows in the number of commits, in the time of the last one and in the number of lost records.
        """
        info = self.memory.info()
        whole: dict[str, Any] = {"modified": info.modified.isoformat()}
        if isinstance(info, MemoryInfo):
            whole |= {"commits": info.commits, "damaged_records": info.lost}
        else:
            whole |= {"versions": info.version, "shards": info.shards}
        return {
            "name": self.name,
            "description": info.description if isinstance(info, MemoryInfo) else "",
            "records": self._count(),
            "created": info.created.isoformat(),
            "embedder": info.embedder,
            "writable": self.writable,
            "search": self.memory.default_mode,
            **({} if self.records.scope else whole),
        }

    def _count(self) -> int:
        everything = self.records.everything
        if isinstance(self.memory, Memory):
            return session_of(self.memory).answer(lambda snapshot: int(snapshot.mask(everything).sum()))
        try:
            return len(self.memory.ids(everything))
        except MemoryFileError:  # a shard does not answer, which a search will say
            return len(self.memory) if not self.records.scope else 0

    def sentence(self) -> str:
        """Return a sentence about the memory for a model."""
        facts = self.facts()
        parts = [f"{self.name}: {_counted(facts['records'], 'record')}"]
        if facts["description"]:
            parts.append(" ".join(defused(facts["description"]).split())[:_DESCRIPTION_LENGTH])
        if self.memory.embedder is None:
            parts.append("found by words only, and nothing can be saved: its embedder is not loaded")
        if facts.get("damaged_records"):
            parts.append(f"{_counted(facts['damaged_records'], 'record')} cannot be read, because of damage")
        if not self.writable:
            parts.append("read-only")
        return "; ".join(parts) + "."


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _writable(memory: Memory) -> bool:
    try:
        session_of(memory).check_writable()
    except ReadOnlyError:
        return False
    return True


def served(
    memories: Memory | Library | Mapping[str, Memory | Library],
    scope: Mapping[str, Any],
    *,
    read_only: bool,
    synonyms: GivenSynonyms | None = None,
) -> dict[str, Served]:
    """Return the memories of a server by name.

    Raises:
        InvalidInputError: There is none, or a name is not a word of letters, digits, hyphens and underscores.
    """
    named = dict(memories) if isinstance(memories, Mapping) else {"memory": memories}
    if not named or not all(_can_be_served(memory) for memory in named.values()):
        raise InvalidInputError("a server needs an open Memory, or a dict of open memories by name")
    checked_names(list(named))
    options: dict[str, Any] = {"read_only": read_only, "synonyms": synonyms}
    return {name: Served(name, memory, scope, **options) for name, memory in named.items()}


def _can_be_served(memory: object) -> bool:
    if isinstance(memory, Memory):
        return True
    from memvid_core.library import Library  # late: most servers have none

    return isinstance(memory, Library)


def checked_names(names: Sequence[str]) -> None:
    """Check that names of memories can be choices of a tool.

    Raises:
        InvalidInputError: One is not a word, or is given twice.
    """
    for name in names:
        if not _NAME.fullmatch(str(name)):
            raise InvalidInputError(f"{name!r} cannot name a memory; use up to 64 letters, digits and hyphens")
    if len(set(names)) < len(names):
        raise InvalidInputError("two memories have the same name: give each its own")


def names_of(paths: Iterable[Path]) -> list[str]:
    """Return a name for each path: its stem in plain letters, with a number if it would be there twice.

    Example:
        >>> names_of([Path("notes.mp4"), Path("old/notes.mp4"), Path("내 기억.mp4")])
        ['notes', 'notes-2', 'memory']
    """
    names: list[str] = []
    for path in paths:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_")[:48] or "memory"
        count = 1
        while (name := stem if count == 1 else f"{stem}-{count}") in names:
            count += 1
        names.append(name)
    return names
