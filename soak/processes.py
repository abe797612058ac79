"""Processes that run a function and return its result, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from typing import Any

from soak.model import WrongAnswer

__all__ = ["FORKS", "Child", "end_group", "first_ready", "start", "warm_up"]

FORKS = "fork" in multiprocessing.get_all_start_methods()
_CONTEXT: Any = multiprocessing.get_context("fork" if FORKS else "spawn")  # a fork of what is imported takes 5 ms


class Child:
    """Run one function in a process. Use :func:`start`."""

    def __init__(self, process: Any, results: Connection) -> None:
        self._process, self._results = process, results

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    def kill(self) -> None:
        """Kill the process immediately (SIGKILL, or TerminateProcess) and wait until it is gone."""
        self._process.kill()
        self._process.join()

    def ended(self) -> bool:
        """Return whether the process has ended."""
        return not self._process.is_alive()

    def result(self, seconds: float) -> Any:
        """Return the function's result.

        Raises:
            WrongAnswer: The function raised, the process died, or it took longer than ``seconds``.
        """
        try:
            if not self._results.poll(seconds):
                if self.ended():  # and a process that it started still has the pipe
                    raise WrongAnswer(f"the process died with exit code {self._process.exitcode}, and left others")
                raise WrongAnswer(f"no result after {seconds:.0f} s: a hang")
            failed, value = self._results.recv()
        except EOFError:
            self._process.join()
            raise WrongAnswer(f"the process died with exit code {self._process.exitcode}") from None
        finally:
            self._process.kill()
            self._process.join()
            self._results.close()
        if failed:
            raise WrongAnswer(value)
        return value


def _run(function: Callable[..., Any], arguments: tuple[Any, ...], results: Connection, *, own_group: bool) -> None:
    if own_group and hasattr(os, "setsid"):
        os.setsid()
    try:
        answer = (False, function(*arguments))
    except WrongAnswer as exc:
        answer = (True, str(exc))
    except BaseException:
        answer = (True, "".join(traceback.format_exc().splitlines(keepends=True)[-40:]))
    with suppress(BrokenPipeError):
        results.send(answer)
    results.close()


def start(function: Callable[..., Any], *arguments: Any, own_group: bool = False) -> Child:
    """Run a function of a module in a separate process.

    Args:
        function: The function; its result must be picklable.
        arguments: Its arguments.
        own_group: Whether :func:`end_group` can end the process and all its children.
    """
    receiving, sending = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_run, args=(function, arguments, sending), kwargs={"own_group": own_group})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about a fork in a process with threads
        process.start()
    sending.close()
    return Child(process, receiving)


@cache
def warm_up() -> None:
    """Import, and make once, what every memory needs, so that forks of this process have it: that takes 0.15 s."""
    if not FORKS:
        return
    from memvid_core import Memory

    with Memory.create(":memory:") as memory:
        memory.add([f"record {number}" for number in range(60)])
        memory.search("record")
        memory.compact()
        memory.verify()
        memory.refit()


def first_ready(children: Sequence[Child], seconds: float) -> Child:
    """Wait for one of some processes to have its result, at most so many seconds; return it, or the first."""
    ready = wait([child._results for child in children], max(0.0, seconds))
    return next((child for child in children if child._results in ready), children[0])


def end_group(child: Child) -> None:
    """Kill the remaining processes of a process's own group."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
