"""Claims: small objects that show that a writer is at work, and are renewed as long as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from memvid_core.errors import MemvidError

__all__ = ["CLAIMS", "GRACE", "renewed"]

_EVERY: Final = 60.0  # seconds
CLAIMS: Final = "writing"
"""The folder of claims. A claim is named by the first half of the names of the shards that its writer makes."""
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
