"""Tasks shared between threads: the same results with helper threads, without, and in forked children."""

from __future__ import annotations

import _thread
import multiprocessing
import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from memvid_core.system.shared_work import run_together, sharing_cores, split_over_cores, usable_cores


def _refuse(*arguments: object) -> int:
    raise RuntimeError("can't start new thread")


def _never_run(*arguments: object) -> int:
    """Start a thread that dies at once, as one does for which there is no memory."""
    return 0


@pytest.fixture(params=["helpers", "no thread starts", "threads never run"])
def helpers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    substitute: dict[str, Callable[..., int]] = {"no thread starts": _refuse, "threads never run": _never_run}
    if request.param in substitute:
        monkeypatch.setattr("os.getpid", lambda: -1)  # as in a forked child, which has no helpers yet
        monkeypatch.setattr(_thread, "start_new_thread", substitute[request.param])


@pytest.mark.usefixtures("helpers")
class TestRunTogether:
    @pytest.mark.parametrize("count", [1, 2, 50])
    def test_results_come_in_order(self, count: int) -> None:
        assert run_together([partial(int, number) for number in range(count)]) == list(range(count))

    def test_the_first_function_runs_in_the_calling_thread(self) -> None:
        assert run_together([threading.get_ident] * 4)[0] == threading.get_ident()

    def test_the_first_error_in_order_is_raised_after_all_that_began_have_ended(self) -> None:
        begun: list[int] = []
        ended: list[int] = []

        def work(number: int) -> None:
            begun.append(number)
            if number >= 3:
                raise ValueError(number)
            ended.append(number)

        with pytest.raises(ValueError, match="3"):
            run_together([partial(work, number) for number in range(6)])
        assert {0, 1, 2, 3} <= set(begun)
        assert sorted(ended) == [0, 1, 2]

    def test_what_nobody_has_begun_is_left_out_when_the_first_raises(self) -> None:
        ended: list[int] = []

        def fail() -> None:
            raise KeyboardInterrupt

        # Work of many times the interval after which a thread lets another one run.
        others: list[Callable[[], None]] = [partial(ended.append, number) for number in range(5_000)]

        with pytest.raises(KeyboardInterrupt):
            run_together([fail, *others])
        assert len(ended) < 5_000

    def test_a_function_may_share_its_own_work(self) -> None:
        inner = partial(run_together, [partial(int, number) for number in range(5)])
        assert run_together([inner] * 6) == [list(range(5))] * 6

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 97])
    def test_parts_cover_the_range_once(self, count: int) -> None:
        parts: list[tuple[int, int]] = []
        split_over_cores(lambda start, stop: parts.append((start, stop)), count)
        parts.sort()
        assert parts[0][0] == 0
        assert parts[-1][1] == count
        assert all(before[1] == after[0] for before, after in pairwise(parts))


def _parts(count: int) -> int:
    parts: list[tuple[int, int]] = []
    split_over_cores(lambda start, stop: parts.append((start, stop)), count)
    return len(parts)


def test_threads_that_work_at_the_same_time_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    found = [_parts(100)]
    with sharing_cores(2):
        found.append(_parts(100))
        with sharing_cores(4):
            found.append(_parts(100))
        found.append(_parts(100))
    assert [*found, _parts(100)] == [4, 2, 1, 2, 4]


def test_only_cores_that_may_be_used_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3}, raising=False)
    assert (usable_cores(), _parts(100)) == (1, 1)
    monkeypatch.delattr("os.sched_getaffinity")  # as on Windows and macOS
    assert usable_cores() == 64


def test_work_is_shared_by_two_threads() -> None:
    """Each waits for the other: one thread alone would never end."""
    both = threading.Barrier(2)
    assert sorted(run_together([partial(both.wait, 30)] * 2)) == [0, 1]


def test_an_error_here_waits_for_what_a_helper_has_begun() -> None:
    """It may still write to the caller's arrays."""
    begun, ended, expected = threading.Event(), [0], sum(range(5_000_000))

    def fail() -> None:
        assert begun.wait(30)
        raise KeyError("here")

    def work() -> None:
        begun.set()
        ended[0] = sum(range(5_000_000))

    with pytest.raises(KeyError, match="here"):
        run_together([fail, work])
    assert ended == [expected]


def test_many_threads_may_share_work_at_once() -> None:
    wrong: list[object] = []

    def caller(seed: int) -> None:
        for _ in range(200):
            found = run_together([partial(int, seed + number) for number in range(5)])
            if found != [seed + number for number in range(5)]:
                wrong.append(found)

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _child(answers: object) -> None:
    answers.put(run_together([partial(int, number) for number in range(9)]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_made_later_has_helpers_of_its_own(method: str) -> None:
    run_together([int, int])
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(answers,))
    child.start()
    assert answers.get() == list(range(9))
    child.join()
