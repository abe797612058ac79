"""Forks wait until no other thread is inside SQLite.

A forked child inherits what SQLite knows about the locks of its parent's threads. A transaction that was open then
never ends in the child, which would wait for it if it opened the same database.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Any, Final

__all__ = ["free_in_forks"]

_WAIT: Final = 5.0  # seconds for all locks together; a longer transaction is forked in its middle
_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_registering = threading.Lock()
_taken: list[Any] = []


def free_in_forks(lock: Any) -> None:
    """Make forks wait until no other thread holds a lock.

    Args:
        lock: A ``threading.RLock``; the thread that forks may hold it.
    """
    with _registering:
        _locks.add(lock)


def _before() -> None:
    """Take all locks; while one is waited for, hold no other, for which its thread may wait."""
    deadline = time.monotonic() + _WAIT
    _registering.acquire()
    _taken.append(_registering)
    locks = list(_locks)
    while (missed := next((lock for lock in locks if not _took(lock, 0.0)), None)) is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        while _taken[1:]:
            _taken.pop().release()
        _took(missed, left)


def _took(lock: Any, timeout: float) -> bool:
    took = bool(lock.acquire(timeout=timeout))
    if took:
        _taken.append(lock)
    return took


def _after() -> None:
    while _taken:
        _taken.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
