"""Claims: small objects that show that a writer is at work, and are renewed as long as it is."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from memvid_core.errors import MemvidError
from memvid_core.system.file_lock import still_named, system_lock, unshared

__all__ = ["CLAIMS", "GRACE", "UNKNOWN", "claim_file", "is_held", "remove_claim", "renewed"]

_PAUSE: Final = 0.01  # seconds
_OPEN: Final = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_EVERY: Final = 60.0  # seconds
CLAIMS: Final = "writing"
"""The folder of claims. A claim is named by the first half of the names of the shards that its writer makes."""
UNKNOWN: Final = 1 << 62
"""The time of an object whose store does not say when it was written."""
GRACE: Final = 10 * 60 * 1_000_000
"""Microseconds for which a claim counts that nobody has renewed."""


@contextmanager
def renewed(renew: Callable[[], object], every: float = _EVERY) -> Iterator[None]:
    """Call a function again and again in a thread during the block.

    Args:
        renew: The function. If it fails, it is called again next time.
        every: The time between two calls, in seconds.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every):
            try:
                renew()
            except (MemvidError, OSError):  # such as a network that is away for a moment
                continue

    thread = threading.Thread(target=run, name="memvid-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def is_held(path: Path, modified: int, since: int) -> bool:
    """Return whether a process holds the lock on a file that is a claim.

    Args:
        path: The file.
        modified: When it was written or renewed, in microseconds since 1970.
        since: The earliest such time at which it counts where the file system has no locks.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return False
    except OSError:  # Windows, or another user's
        return True
    try:
        return not system_lock().try_lock(descriptor)
    except OSError:  # a file system without locks
        return modified >= since
    finally:
        os.close(descriptor)


def claim_file(path: Path) -> io.FileIO:
    """Create and lock a file, and return it."""
    while True:
        file = unshared(os.open(path, _OPEN | os.O_CREAT, 0o666))
        try:
            if system_lock().try_lock(file.fileno()) and still_named(path, file.fileno()):
                return file
        except OSError:  # a file system without locks
            return file
        file.close()  # a vacuum looked at the file, or deleted it, before it was locked
        time.sleep(_PAUSE)


def remove_claim(path: Path) -> None:
    """Delete a claim, unless a writer has locked it meanwhile."""
    with suppress(OSError):
        descriptor = os.open(path, _OPEN)
        try:
            if not system_lock().try_lock(descriptor) or not still_named(path, descriptor):
                return
            if os.name != "nt":
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        if os.name == "nt":  # only a closed file can be deleted, and only if no writer has it open again
            path.unlink(missing_ok=True)
