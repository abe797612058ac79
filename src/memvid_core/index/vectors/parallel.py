"""A few threads for the long loops of a search; NumPy lets go of the interpreter's lock inside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

__all__ = ["split_over_cores"]

_MOST: Final = 4
_pools: dict[int, ThreadPoolExecutor] = {}  # by process id: a forked child must not use its parent's threads


def split_over_cores(work: Callable[[int, int], None], count: int) -> None:
    """Call ``work(start, stop)`` on even parts of ``range(count)``, one for each core; the caller's thread takes one.

    Args:
        work: Must not use this function itself.
        count: How many pieces there are; fewer than two parts' worth run in the caller's thread alone.
    """
    cores = min(os.cpu_count() or 1, _MOST, count)
    if cores < 2:
        work(0, count)
        return
    pid = os.getpid()
    pool = _pools.get(pid)
    if pool is None:
        _pools.clear()
        pool = _pools.setdefault(pid, ThreadPoolExecutor(_MOST - 1, thread_name_prefix="memvid-search"))
    borders = [count * core // cores for core in range(cores + 1)]
    others = [pool.submit(work, start, stop) for start, stop in pairwise(borders[1:])]
    try:
        work(0, borders[1])
    finally:
        for other in others:  # never return while another thread writes to the caller's arrays
            other.exception()
    for other in others:
        other.result()
