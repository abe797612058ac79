"""Puts our session in the place of ``SQLiteSession``, for the tests of the OpenAI Agents SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import agents
from agents.memory import sqlite_session

from memvid_core import Memory
from memvid_core.serving import MemvidSession

_memories: dict[str, Memory] = {}


class InPlace(MemvidSession):
    """The session in a memory beside the path that the tests give."""

    def __init__(self, session_id: str, db_path: Any = ":memory:", *, session_settings: Any = None) -> None:
        path = f"{db_path}.mp4"
        if str(db_path) == ":memory:":
            memory = Memory.create(":memory:")
        elif path in _memories:
            memory = _memories[path]
        else:
            memory = _memories[path] = Memory.open(Path(path), "a", create=True)
        super().__init__(session_id, memory, session_settings=session_settings)

    def close(self) -> None:
        """Leave the memory open for the other sessions of a test."""


def pytest_configure() -> None:
    """Replace the class before the tests import it."""
    replaced: Any = agents
    replaced.SQLiteSession = InPlace
    sqlite_session.SQLiteSession = InPlace
