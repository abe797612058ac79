"""The lock for one commit: the same behavior with the calls of Linux and macOS, and with those of Windows."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memvid_core.errors import LockedError, StorageError
from memvid_core.system.commit_lock import CommitLock
from memvid_core.system.file_lock import FlockLock, RangeLock, SystemLock

_EXCLUSIVE, _AT_ONCE = 0x2, 0x1


class Kernel:
    """Lock byte ranges as ``kernel32`` does: each belongs to the handle that locked it."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], list[tuple[int, bool]]] = {}
        self.error = 0

    def LockFileEx(self, handle: Any, flags: int, reserved: int, low: int, high: int, place: Any) -> int:
        assert flags & _AT_ONCE, "a call that waits would hold up every thread of the process"
        assert (reserved, low, high) == (0, 1, 0)
        if self.error:
            return 0
        exclusive = bool(flags & _EXCLUSIVE)
        holders = self.held.setdefault(self._range(handle, place), [])
        if holders and (exclusive or any(alone for _, alone in holders)):
            return 0
        holders.append((handle.value, exclusive))
        return 1

    def UnlockFileEx(self, handle: Any, reserved: int, low: int, high: int, place: Any) -> int:
        holders = self.held.get(self._range(handle, place), [])
        mine = [holder for holder in holders if holder[0] == handle.value]
        for holder in mine[:1]:
            holders.remove(holder)
        return bool(mine)

    def _range(self, handle: Any, place: Any) -> tuple[int, int]:
        overlapped = place._obj
        assert overlapped.offset_high, "bytes near the beginning would hold up reads and writes of the file"
        return os.fstat(handle.value).st_ino, overlapped.offset_high << 32 | overlapped.offset


def _windows() -> SystemLock:
    return RangeLock(Kernel(), lambda descriptor: descriptor)


_SYSTEMS: dict[str, Callable[[], SystemLock]] = {"windows": _windows}
if sys.platform != "win32":
    _SYSTEMS["posix"] = FlockLock


@pytest.fixture(params=_SYSTEMS)
def system(request: pytest.FixtureRequest) -> SystemLock:
    return _SYSTEMS[request.param]()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "memory"
    path.write_bytes(b"")
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], int]]:
    descriptors: list[int] = []

    def open_() -> int:
        descriptors.append(os.open(path, os.O_RDWR))
        return descriptors[-1]

    yield open_
    for descriptor in descriptors:
        os.close(descriptor)


def lock_of(system: SystemLock, path: Path) -> CommitLock:
    lock = CommitLock(system)
    lock.queue_at(path.with_name("writer"))
    return lock


class TestSystemLock:
    def test_two_opens_of_one_file_exclude_each_other(self, system: SystemLock, opened: Callable[[], int]) -> None:
        one, other = opened(), opened()
        assert system.try_lock(one)
        assert not system.try_lock(other)
        assert not system.try_lock(other, shared=True)
        system.unlock(one)
        assert system.try_lock(other)

    def test_shared_locks_stand_together_and_exclude_an_exclusive_one(
        self, system: SystemLock, opened: Callable[[], int]
    ) -> None:
        one, other, third = opened(), opened(), opened()
        assert system.try_lock(one, shared=True)
        assert system.try_lock(other, shared=True)
        assert not system.try_lock(third)
        system.unlock(one)
        assert not system.try_lock(third)
        system.unlock(other)
        assert system.try_lock(third)


def test_a_file_system_without_locks_is_an_error_on_windows(
    path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel()
    kernel.error = 50  # ERROR_NOT_SUPPORTED
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.error, raising=False)
    system = RangeLock(kernel, lambda descriptor: descriptor)
    with pytest.raises(StorageError, match="local disk"):
        lock_of(system, path).acquire(opened(), path, 0)


class TestCommitLock:
    def test_a_second_writer_waits_and_learns_who_holds_the_lock(
        self, system: SystemLock, path: Path, opened: Callable[[], int]
    ) -> None:
        one, other = lock_of(system, path), lock_of(system, path)
        one.acquire(opened(), path, 0)
        descriptor = opened()
        with pytest.raises(LockedError, match=f"process {os.getpid()} .*this process"):
            other.acquire(descriptor, path, 0)
        one.release()
        other.acquire(descriptor, path, 0)
        assert other.held
        other.release()

    def test_a_writer_that_gave_up_leaves_the_queue(
        self, system: SystemLock, path: Path, opened: Callable[[], int]
    ) -> None:
        one, other, third = (lock_of(system, path) for _ in range(3))
        first = opened()
        one.acquire(first, path, 0)
        with pytest.raises(LockedError):
            other.acquire(opened(), path, 0.01)
        one.release()
        third.acquire(opened(), path, 0)
        third.release()

    def test_a_file_that_is_closed_to_be_replaced_is_locked_again_before_others(
        self, system: SystemLock, path: Path
    ) -> None:
        """As on Windows, where an open file cannot be replaced: the new file often has the old one's number."""
        one, other = lock_of(system, path), lock_of(system, path)
        first = os.open(path, os.O_RDWR)
        one.acquire(first, path, 0)
        one.keep_others_waiting()
        system.unlock(first)  # as closing does on Windows
        os.close(first)
        waiting = os.open(path, os.O_RDWR)
        with pytest.raises(LockedError):
            other.acquire(waiting, path, 0)
        os.close(waiting)
        again = os.open(path, os.O_RDWR)
        assert again == first
        one.take_again(again)
        assert one.holds(again)
        late = os.open(path, os.O_RDWR)
        with pytest.raises(LockedError):
            other.acquire(late, path, 0)
        one.release()
        other.acquire(late, path, 0)
        other.release()
        for descriptor in (again, late):
            os.close(descriptor)

    def test_a_writer_that_commits_in_a_loop_leaves_room_for_others(
        self, system: SystemLock, path: Path, opened: Callable[[], int]
    ) -> None:
        descriptors, done, stop = [opened() for _ in range(4)], [0] * 4, threading.Event()

        def loop(number: int) -> None:
            lock = lock_of(system, path)
            while not stop.is_set():
                lock.acquire(descriptors[number], path, 60)
                done[number] += 1
                lock.release()
                if min(done) >= 3:
                    stop.set()
            lock.close()

        threads = [threading.Thread(target=loop, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert min(done) >= 3
        stop.set()

    def test_a_loop_of_commits_does_not_enter_the_queue_each_time(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr("memvid_core.system.commit_lock.time.monotonic", lambda: now[0])
        tries: list[int] = []

        class Counting(RangeLock):
            def try_lock(self, descriptor: int, *, shared: bool = False) -> bool:
                tries.append(descriptor)
                return super().try_lock(descriptor, shared=shared)

        lock, descriptor = lock_of(Counting(Kernel(), lambda one: one), path), opened()
        for commits in range(60):  # one a millisecond
            lock.acquire(descriptor, path, 0)
            lock.release()
            now[0] += 0.001
            if commits == 0:
                assert tries[-1] == descriptor
        queued = len(tries) - 60
        assert 2 <= queued <= 6, "about every 20 ms"
