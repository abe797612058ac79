"""Disks that are full or fail: acknowledged records exist, refused ones do not.

The faults are a limit on the size of files (``RLIMIT_FSIZE``) in a separate process, a small tmpfs if it can be
mounted, and calls of ``fsync`` that fail with EIO.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from memvid_core import Memory, MemoryFileError
from soak.log import Log, Tail
from soak.model import Change, State, check, put, random_change, versions_in
from soak.processes import start

__all__ = ["run"]

_SECONDS = 60.0


def _work(path: Path, log: Path, seed: int, calls: int, guard: Callable[[], object] | None) -> None:
    """Commit, compact and save on a failing disk; log each call and its outcome."""
    if guard is not None:
        guard()
    rng, notes = random.Random(seed), Log(log)
    with Memory.open(path, "a", embedder="given") as memory:
        state = versions_in(memory)
        for number in range(1, calls + 1):
            kind = rng.random()
            change = random_change(rng, state, 40, seed * 1000 + number) if kind < 0.85 else Change({}, [])
            notes.write("begin", change)
            try:
                if kind < 0.85:
                    put(memory, change.put) if change.put else memory.delete(change.gone)
                elif kind < 0.93:
                    memory.compact()
                else:
                    memory.save(path.with_name("saved.mp4"))
            except MemoryFileError:
                notes.write("refused")
            else:
                notes.write("done")
                state = change.apply(state)
            check(versions_in(memory) == state, f"after call {number}: the memory does not show what was acknowledged")


def _states(log: Path, state: State) -> tuple[State, int, int]:
    """Return the acknowledged state, and the numbers of successful and refused calls."""
    done = refused = 0
    change = Change({}, [])
    for what, *more in Tail(log).read():
        if what == "begin":
            change = Change(*more[0])
        elif what == "done":
            state, done = change.apply(state), done + 1
        else:
            refused += 1
    return state, done, refused


def _limit_files(size: int) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


class _Limit:
    """Reject files beyond a size in this process."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self) -> None:
        _limit_files(self._size)


class _BadSync:
    """Make about every third sync fail with EIO."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __call__(self) -> None:
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if self._rng.random() < 0.3:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(descriptor)

        os.fsync = fsync  # type: ignore[assignment]  # for good: the process is there for this alone


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a tmpfs of ``size`` bytes at ``folder``; yield False if that is not permitted."""
    folder.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0
    if mounted:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def _check_after(path: Path, log: Path, state: State) -> Counter[str]:
    """Return what a process without the fault finds."""
    state, done, refused = _states(log, state)
    with Memory.open(path, "r", embedder="given") as memory:
        found = versions_in(memory)
        check(found == state, f"{len(found)} records; {len(state)} were acknowledged; {_difference(found, state)}")
    with Memory.open(path, "a", embedder="given") as memory:
        put(memory, {"after-0": 1})
        check(versions_in(memory) == {**state, "after-0": 1}, "the next commit changed other records")
        check(memory.verify().ok, f"{memory.verify()}")
    return Counter({"calls": done + refused, "refused": refused})


def _difference(found: State, state: State) -> str:
    return str(sorted(set(found.items()) ^ set(state.items()))[:6])


def _prepare(path: Path, rng: random.Random) -> State:
    records = {f"r-{n}": 0 for n in range(rng.choice([1, 20]))}
    with Memory.create(path, "given") as memory:
        put(memory, records)
    return Change(records, []).apply({})


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: each of the three faults, with some dozens of calls each."""
    rng = random.Random(seed)
    calls = max(10, int(60 * scale))
    counts: Counter[str] = Counter()
    guards: dict[str, Callable[[], object]] = {"sync": _BadSync(seed)}
    if os.name == "posix":
        guards["limit"] = _Limit(rng.randrange(40_000, 200_000))
    for name, guard in guards.items():
        path, log = folder / f"{name}.mp4", folder / f"{name}.log"
        state = _prepare(path, rng)
        Log(log).close()
        start(_work, path, log, seed, calls, guard).result(_SECONDS)
        counts += _check_after(path, log, state)
    with _small_disk(folder / "disk", rng.randrange(300_000, 900_000)) as mounted:
        path, log = folder / "disk" / "m.mp4", folder / "disk.log"
        state = _prepare(path, rng)
        Log(log).close()
        if mounted:
            start(_work, path, log, seed, calls, None).result(_SECONDS)
        for item in [path, Path(f"{path}.index")]:
            if item.exists():  # where there is room
                target = folder / item.name
                shutil.copytree(item, target) if item.is_dir() else shutil.copy2(item, target)
        counts += _check_after(folder / path.name, log, state)
    return counts
