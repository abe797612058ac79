"""EngineSettings: the tuning constants that depend on the size of a memory, in one object that tests can replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULTS", "EngineSettings"]

_COMPACTION_PROGRAM: Final = (
    "import json, sys; task = json.loads(sys.stdin.buffer.readline()); sys.path[:] = task['modules']; "
    "from memvid_core.engine.compaction_process import main; main(task)"
)


@dataclass(frozen=True)
class EngineSettings:
    """When a memory is compacted automatically, and how many texts are indexed at once.

    Args:
        compact_every: The number of commits between two checks whether a compaction is due.
        compact_least_bytes: The bytes that an automatic compaction must save at least.
        compaction_program: The Python program of the process that compacts; it reads the task from its standard input.
        feed_rows: The number of rows that are added to the lexical index at once.
        feed_characters: The number of characters that are added to it at once. Both are large enough for posting blocks
            that no merge has to write again.

    Example:
        >>> from dataclasses import replace
        >>> replace(DEFAULTS, compact_every=16).compact_every
        16
    """

    compact_every: int = 256
    compact_least_bytes: int = 1 << 20
    compaction_program: str = _COMPACTION_PROGRAM
    feed_rows: int = 1 << 16
    feed_characters: int = 1 << 25


DEFAULTS: EngineSettings = EngineSettings()
"""The settings of a memory that is opened without others."""
