"""The identity of a run of the operating system."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["boot_id"]


@cache
def boot_id() -> bytes | None:
    """Return an id of this run of the operating system, which changes at a restart; None if it is unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return None
