"""ThreadCosts: with how many threads shards are asked, by what that took before."""

from __future__ import annotations

from typing import Final

from memvid_core.system.shared_work import usable_cores

__all__ = ["SOON", "ThreadCosts"]

SOON: Final = 0.01
"""Seconds after which all threads help, at least."""

_LONGER: Final = 3.0  # times as long as usual, after which they do
_WORTH: Final = 0.001  # seconds of work for which another thread is woken
_MUCH: Final = 0.05  # seconds of work that one thread is not left alone with
_CROWDED: Final = 1.25  # times the processor time of one thread, from which on several wait for each other
_TRIED: Final = 16  # calls of which every second one is answered by one thread, to learn what that takes
_AGAIN: Final = 64  # later calls after which the other way is tried


class ThreadCosts:
    """What a call takes of processor time in one thread, and in several, to ask with as many threads as pay.

    Threads that mostly run Python wait for each other, and switch so often that several answer later than one, for up
    to four times its processor time; those that mostly compute with NumPy answer sooner, for the same.

    Example:
        >>> costs = ThreadCosts()
        >>> for number in range(16):
        ...     threads, _ = costs.threads(shards=10, most=4)
        ...     costs.learn(threads, 0.0005 if threads == 1 else 0.0015)
        >>> costs.threads(shards=10, most=4)[0]
        1
    """

    def __init__(self) -> None:
        self._alone, self._together = 0.0, 0.0  # seconds for a shard; 0 if it is not known
        self._asked = 0

    def threads(self, shards: int, most: int) -> tuple[int, float]:
        """Choose with how many threads to ask some open shards.

        Args:
            shards: Their number.
            most: The maximum number of threads.

        Returns:
            The number of threads, and after how many seconds all of them help: a shard may wait for its disk.
        """
        self._asked += 1
        usual = self._alone or self._together
        if not usual:
            return most, SOON
        work = shards * usual
        alone = self._together > _CROWDED * self._alone
        if self._asked <= _TRIED:
            alone = self._asked % 2 == 0
        elif self._asked % _AGAIN == 0:
            alone = not alone
        several = min(most, usable_cores(), 1 + int(work / _WORTH))
        return 1 if alone and work <= _MUCH else several, min(max(SOON, _LONGER * work), _LONGER * _MUCH)

    def learn(self, threads: int, seconds: float) -> None:
        """Take note of what a call took with some threads.

        Args:
            threads: Their number.
            seconds: Their processor time, in seconds for each shard.
        """
        if threads == 1:
            self._alone = _lately(self._alone, seconds)
        else:
            self._together = _lately(self._together, seconds)


def _lately(known: float, seconds: float) -> float:
    """Return what a call takes that took this long: the first ones, and some on a busy machine, take longer."""
    return min(seconds, 0.75 * known + 0.25 * seconds) if known else seconds
