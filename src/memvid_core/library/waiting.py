"""How often, and after which pauses, something is tried that others may prevent, and how long a search may take."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

__all__ = ["TRIES", "Deadline", "pause", "waits"]

TRIES: Final = 30
"""How often a commit, or what a vacuum prevents, is tried."""

_FIRST_WAIT, _LONGEST_WAIT = 0.01, 1.0  # seconds
_LONGEST_PAUSE: Final = 20.0  # seconds
_SHARE: Final = 0.8
"""Of the time that is left to a search, how much one round may take: others follow, also after a shard was late."""


def waits() -> Iterator[float]:
    """Yield how long to wait after each try to read or to commit a version, in seconds."""
    wait = _FIRST_WAIT
    for _ in range(TRIES):
        yield wait * random.uniform(0.5, 1.5)
        wait = min(2 * wait, _LONGEST_WAIT)


class Deadline:
    """The time of one search, from now on, in all its rounds.

    Args:
        seconds: How long the search may take; None for any time.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        """How long the whole search may take."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def of_round(self) -> float | None:
        """Return how many seconds the next round may take: 0 if the time is over, None for any number."""
        return None if self._end is None else max(0.0, _SHARE * (self._end - time.monotonic()))


def pause(tried: int, took: float) -> None:
    """Wait before the next try of a commit, at random within some of the times that a try takes.

    So of several writers that try at the same time, most find that no other one commits meanwhile.
    """
    time.sleep(min(random.uniform(0.0, 2 ** min(tried + 2, 5) * took), _LONGEST_PAUSE))
