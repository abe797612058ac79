"""Tasks that are shared between the calling thread and a few helper threads.

The caller works too, and waits only for tasks that another thread has begun. So where the system starts no thread, the
tasks are done one after the other; nothing fails, and nobody waits for a thread that never runs. (``Thread.start`` and
the pools of ``concurrent.futures`` do wait for one, if memory runs out while it starts.)
"""

from __future__ import annotations

import _thread
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, Final, TypeVar

__all__ = ["run_together", "sharing_cores", "split_over_cores", "usable_cores"]

T = TypeVar("T")

_MOST_HELPERS: Final = 3


class _Shared(threading.local):
    """With how many threads this one shares the cores."""

    threads = 1


_shared = _Shared()


def usable_cores() -> int:
    """Return how many cores this thread may run on: in a container, or under ``taskset``, not all of the machine's."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)  # Linux has it
    return os.cpu_count() or 1 if affinity is None else len(affinity(0))


@contextmanager
def sharing_cores(threads: int) -> Iterator[None]:
    """Let this thread split work over its share of the cores only.

    Args:
        threads: How many threads, this one included, share the cores during the block.

    Example:
        >>> parts = []
        >>> with sharing_cores(usable_cores()):
        ...     split_over_cores(lambda first, last: parts.append((first, last)), 100)
        >>> parts
        [(0, 100)]
    """
    before, _shared.threads = _shared.threads, threads
    try:
        yield
    finally:
        _shared.threads = before


class _Task:
    """A task, and what became of it."""

    __slots__ = ("done", "error", "function", "result")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = _thread.allocate_lock()  # held until the task is done
        self.done.acquire()


def _work(tasks: deque[_Task]) -> None:
    """Do tasks until all are begun, or one raises."""
    while True:
        try:
            task = tasks.popleft()
        except IndexError:  # another thread may take the last
            return
        try:  # right after: nothing in between can fail, and leave a task that is never done
            task.result = task.function()
        except BaseException as exc:
            task.error = exc
            return
        finally:
            task.done.release()


class _Helpers:
    """Threads that wait for tasks; a process starts its own, as a forked child has none of its parent's."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._offers: SimpleQueue[deque[_Task]] = SimpleQueue()
        self._threads = 0

    def offer(self, tasks: deque[_Task], count: int) -> None:
        """Let up to ``count`` helpers take part, one less than there are cores; one on a single core."""
        wanted = min(count, max(1, usable_cores() - 1), _MOST_HELPERS)
        for _ in range(wanted):
            self._offers.put(tasks)
        while self._threads < wanted:
            try:
                _thread.start_new_thread(self._loop, ())
            except (RuntimeError, MemoryError):  # the system has no more threads
                return
            self._threads += 1

    def _loop(self) -> None:
        try:
            while True:
                _work(self._offers.get())
        except MemoryError:
            self._threads -= 1  # the next call starts another thread


_helpers = _Helpers()


def run_together(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions, in this thread and in helper threads where there are any, and return their results in order.

    The first function begins in this thread at once. If one raises here, those that nobody has begun are not called.

    Args:
        functions: They must not wait for each other; they may call this function.

    Raises:
        BaseException: What a function raised, the first in order, after all that were begun have ended.
    """
    global _helpers
    if _helpers.pid != os.getpid():
        _helpers = _Helpers()
    every = [_Task(function) for function in functions]
    tasks = deque(every[1:])
    try:
        _helpers.offer(tasks, len(tasks))
        _work(deque(every[:1]))
        if every[0].error is None:
            _work(tasks)
    finally:
        _end(tasks, every[1:])
    for task in every:
        if task.error is not None:
            raise task.error
    return [task.result for task in every]


def _end(tasks: deque[_Task], every: Sequence[_Task]) -> None:
    """Take away tasks that nobody has begun, and wait for those that a helper has begun."""
    with suppress(IndexError):
        while True:
            tasks.popleft().done.release()
    for task in every:
        task.done.acquire()


def split_over_cores(work: Callable[[int, int], None], count: int) -> None:
    """Call ``work(start, stop)`` on even parts of ``range(count)``, one for each core that this thread may use.

    Args:
        work: The function; NumPy releases the interpreter lock in it, or it waits for the disk.
        count: How many pieces there are; fewer than two run in the caller's thread alone.
    """
    cores = min(usable_cores() // _shared.threads, _MOST_HELPERS + 1, count)
    if cores < 2:
        work(0, count)
        return
    borders = [count * core // cores for core in range(cores + 1)]
    run_together([partial(work, start, stop) for start, stop in pairwise(borders)])
