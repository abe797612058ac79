"""How often, and after which pauses, something is tried that others may prevent."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

__all__ = ["TRIES", "pause", "waits"]

TRIES: Final = 30
"""How often a commit, or what a vacuum prevents, is tried."""

_FIRST_WAIT, _LONGEST_WAIT = 0.01, 1.0  # seconds
_LONGEST_PAUSE: Final = 20.0  # seconds


def waits() -> Iterator[float]:
    """Yield how long to wait after each try to read or to commit a version, in seconds."""
    wait = _FIRST_WAIT
    for _ in range(TRIES):
        yield wait * random.uniform(0.5, 1.5)
        wait = min(2 * wait, _LONGEST_WAIT)


def pause(tried: int, took: float) -> None:
    """Wait before the next try of a commit, at random within some of the times that a try takes.

    So of several writers that try at the same time, most find that no other one commits meanwhile.
    """
    time.sleep(min(random.uniform(0.0, 2 ** min(tried + 2, 5) * took), _LONGEST_PAUSE))
