"""Threads of this package for asynchronous methods, so that waits do not occupy the caller's threads."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

__all__ = ["WriterThread", "run_in_thread"]

T = TypeVar("T")

_MOST: Final = 8
_pools: dict[int, ThreadPoolExecutor] = {}  # by process id: a forked child does not have its parent's threads


def _pool() -> ThreadPoolExecutor:
    pid = os.getpid()
    pool = _pools.get(pid)
    if pool is None:
        _pools.clear()
        pool = _pools.setdefault(pid, ThreadPoolExecutor(_MOST, thread_name_prefix="memvid"))
    return pool


async def run_in_thread(function: Callable[..., T], *arguments: object, pool: ThreadPoolExecutor | None = None) -> T:
    """Call a function in a thread and wait for it without blocking the event loop.

    Args:
        function: The function; it runs with the caller's context variables.
        *arguments: Its arguments.
        pool: The thread pool; by default a small one that all memories of the process share.
    """
    call = partial(contextvars.copy_context().run, function, *arguments)
    return await asyncio.get_running_loop().run_in_executor(_pool() if pool is None else pool, call)


class WriterThread:
    """Run the commits of one memory, which are sequential anyway, in one thread."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def _own(self) -> ThreadPoolExecutor:
        """Call a function in the thread, after all earlier calls."""
        if self._pool is None or self._process != os.getpid():
            self._process = os.getpid()
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="memvid-writer")
        return self._pool

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in the thread, after those that came before."""
        return await run_in_thread(function, *arguments, pool=self._own())

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Call a function in the thread, after those that came before, whatever becomes of the caller."""
        return self._own().submit(function)

    def close(self) -> None:
        """Let the thread end when its calls are done."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(wait=False)
        self._pool = None
