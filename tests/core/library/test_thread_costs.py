"""ThreadCosts: shards are asked with as many threads as pay."""

import pytest

from memvid_core.library.thread_costs import ThreadCosts

SHARDS, MOST = 10, 4


def after(monkeypatch: pytest.MonkeyPatch, alone: float, together: float, calls: int = 200) -> list[int]:
    """Return with how many threads each of some calls was made, which take so many seconds a shard."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    costs, made = ThreadCosts(), []
    for _ in range(calls):
        threads, late = costs.threads(SHARDS, MOST)
        assert 1 <= threads <= MOST
        assert 0.01 <= late < 0.2
        costs.learn(threads, alone if threads == 1 else together)
        made.append(threads)
    return made


def test_threads_that_wait_for_each_other_give_way_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    later = after(monkeypatch, 0.0005, 0.0015)[16:]
    assert later.count(1) >= len(later) - 3  # now and then the others are tried


def test_threads_that_do_not_wait_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    later = after(monkeypatch, 0.001, 0.0011)[16:]
    assert later.count(MOST) >= len(later) - 3


def test_little_work_is_done_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(after(monkeypatch, 0.00005, 0.00005)[1:]) == {1}


def test_much_work_is_never_left_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(after(monkeypatch, 0.01, 0.03)) == {MOST}


def test_what_has_changed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    costs = ThreadCosts()
    for calls, together, chosen in ((100, 0.003, 1), (400, 0.001, MOST), (2_000, 0.003, 1)):
        for _ in range(calls):
            threads, _ = costs.threads(SHARDS, MOST)
            costs.learn(threads, 0.001 if threads == 1 else together)
        assert costs.threads(SHARDS, MOST)[0] == chosen
