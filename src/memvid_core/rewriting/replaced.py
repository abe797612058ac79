"""What a file holds that a command is about to replace."""

from __future__ import annotations

from pathlib import Path

from memvid_core.journal import Journal

__all__ = ["memory_id_of"]


def memory_id_of(path: Path) -> bytes:
    """Return the id of the memory in a file, which is opened for it and closed again.

    Raises:
        NotAMemoryError: The file is not a memory.
        MemoryNotFoundError: The file does not exist.
    """
    journal = Journal.open(path, "r")
    journal.close()
    return journal.header.memory_id
