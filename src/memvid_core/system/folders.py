"""Making new names in folders durable."""

from __future__ import annotations

import os
from pathlib import Path

from memvid_core.errors import StorageError

__all__ = ["sync_folder"]


def sync_folder(folder: Path) -> None:
    """Make a new or renamed name in ``folder`` durable where the system supports it (POSIX, not Windows).

    Raises:
        StorageError: The sync failed; the name exists, but a power failure may undo it.
    """
    if os.name == "posix":
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise StorageError(f"cannot make the names in {folder} durable: {exc}") from exc
