"""Threads of this package for asynchronous methods, and a limit on the threads of native libraries."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Final, Literal, TypeVar

__all__ = ["WriterThread", "one_native_thread", "run_in_thread"]

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


async def run_in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in one of the process's few threads and wait for it without blocking the event loop.

    Args:
        function: The function; it runs with the caller's context variables.
        *arguments: Its arguments.
    """
    call = partial(contextvars.copy_context().run, function, *arguments)
    return await asyncio.get_running_loop().run_in_executor(_pool(), call)


class WriterThread:
    """Run the commits of one memory, which are sequential anyway, in one thread."""

    def __init__(self) -> None:
        self._pools: dict[int, ThreadPoolExecutor] = {}  # the thread of this process, by its id

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in the thread, after those that came before."""
        call = partial(contextvars.copy_context().run, function, *arguments)
        return await asyncio.wrap_future(self.submit(call))

    async def run_last(self, function: Callable[[], T]) -> T:
        """Call a function as :meth:`run` does; it is called even if the task that waits for it is canceled."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(function)))

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Call a function in the thread, after those that came before, whatever becomes of the caller."""
        pid = os.getpid()
        while True:
            pool = self._pools.get(pid)
            if pool is None:
                pool = self._pools.setdefault(pid, ThreadPoolExecutor(1, thread_name_prefix="memvid-writer"))
            try:
                return pool.submit(function)
            except RuntimeError:
                if self._pools.get(pid) is pool:  # the interpreter ends
                    raise  # otherwise another thread has closed this one

    def close(self) -> None:
        """Let the thread end when its calls are done."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.shutdown(wait=False)


_limited = threading.RLock()
_limits: list[Any] = []  # the limits of BLAS that are set, the outermost first


@contextmanager
def one_native_thread(kind: Literal["blas", "openmp"]) -> Iterator[None]:
    """Limit a native library to one thread: on a busy machine two wait for each other longer than the work takes.

    ``python -m benchmarks.busy --spinning 4`` shows it: fitting an index next to four busy processes on two cores takes
    60 times as long with two threads. The limit of BLAS is per process, so those who set it wait for each other.

    Args:
        kind: The library, which must be loaded: "blas" multiplies matrices, "openmp" searches for scikit-learn.
    """
    # The number of OpenMP threads belongs to the thread that calls.
    if kind == "openmp":
        with _controller(kind).limit(limits=1, user_api=kind):
            yield
        return
    with _limited, _controller(kind).limit(limits=1, user_api=kind) as limit:
        _limits.append(limit)
        try:
            yield
        finally:
            _limits.pop()


@cache
def _controller(kind: str) -> Any:
    """Return what sets the limit; finding the loaded libraries takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api=kind)


def _after_fork() -> None:
    """Replace the lock, which a thread of the parent process may hold, and end the limit, which that thread has set."""
    global _limited
    if _limits and not _limited._is_owned():  # type: ignore[attr-defined]  # otherwise this thread ends it
        _limits[0].restore_original_limits()
        _limits.clear()
    _limited = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
