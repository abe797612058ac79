"""Work in threads of our own: it leaves asyncio's pool alone, and carries context and errors."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import threading

import pytest

from memvid_core.system.threads import run_in_thread

variable = contextvars.ContextVar("variable", default="unset")


async def test_it_calls_with_arguments_and_context_in_a_thread_of_ours():
    variable.set("seen")

    def work(*args: int) -> tuple[object, ...]:
        return args, variable.get(), threading.current_thread().name

    args, seen, name = await run_in_thread(work, 1, 2)
    assert (args, seen) == ((1, 2), "seen")
    assert str(name).startswith("memvid")


async def test_errors_come_back():
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0)


async def test_asyncios_pool_stays_free_while_all_of_ours_wait():
    """Sixteen calls that wait for a lock held up every look-up of the application."""
    leave = threading.Event()
    waiting = [asyncio.ensure_future(run_in_thread(leave.wait)) for _ in range(40)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(os.getpid), 5) == os.getpid()
    finally:
        leave.set()
    assert await asyncio.gather(*waiting) == [True] * 40


def test_it_works_in_one_event_loop_after_another():
    assert [asyncio.run(run_in_thread(int, "3")) for _ in range(3)] == [3, 3, 3]


def _child(answers: object) -> None:
    answers.put(asyncio.run(run_in_thread(os.getpid)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_made_later_has_threads_of_its_own(method):
    asyncio.run(run_in_thread(int, "3"))
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(answers,))
    child.start()
    assert answers.get() == child.pid
    child.join()
