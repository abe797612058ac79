"""Few descriptors, little memory, many threads, forks: errors are typed, and acknowledged records are never lost."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from memvid_core import ClosedError, Memory, MemvidError
from soak.model import State, check, embed, put, text_of, versions_in
from soak.processes import FORKS, start

__all__ = ["run"]

_SECONDS = 120.0


def _records(name: str, count: int, version: int = 0) -> State:
    return {f"{name}-{number}": version for number in range(count)}


def _holds(path: Path, expected: State) -> None:
    with Memory.open(path, embedder="given") as memory:
        found = versions_in(memory)
        check(found == expected, f"{path.name}: {len(found)} records, {len(expected)} were acknowledged")
        check(memory.verify().ok, f"{path.name}: {memory.verify()}")


# --- few descriptors ---


def _few_descriptors(folder: Path, in_turn: int, at_once: int) -> tuple[int, dict[str, int]]:
    """Open many memories with 256 descriptors; return how many calls were refused, and each memory's records."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    refused, acknowledged = 0, {}
    for number in range(in_turn):
        path = folder / f"turn-{number}.mp4"
        with Memory.create(path, "given") as memory:
            put(memory, _records("r", 2))
            check(len(memory.search(embed(["x"])[0], k=2)) == 2, "a search with few descriptors finds less")
        acknowledged[path.name] = 2
    with ExitStack() as stack:
        opened: list[Memory] = []
        for number in range(at_once):
            try:
                opened.append(stack.enter_context(Memory.open(folder / f"turn-{number}.mp4", "a", embedder="given")))
            except MemvidError:
                refused += 1
        for memory in opened:
            try:
                put(memory, _records("r", 4))
            except MemvidError:
                refused += 1
            else:
                acknowledged[Path(memory.path).name] = 4
    return refused, acknowledged


def _descriptors(folder: Path, scale: float) -> Counter[str]:
    turn, once = max(5, int(100 * scale)), max(5, int(40 * scale))
    refused, acknowledged = start(_few_descriptors, folder, turn, once).result(_SECONDS)
    for name, count in acknowledged.items():
        _holds(folder / name, _records("r", count))
    return Counter({"calls": turn + once * 2, "refused": refused})


# --- little memory ---


def _little_memory(path: Path, room: int, rows: int) -> list[str]:
    """Add, search and compact with a limited address space; return the calls that succeeded."""
    import resource

    done = []
    with Memory.open(path, "a", embedder="given") as memory:
        with open("/proc/self/statm", encoding="ascii") as numbers:
            used = int(numbers.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.getrlimit(resource.RLIMIT_AS)[1]))
        calls: dict[str, Callable[[], object]] = {
            "add": lambda: put(memory, _records("more", rows)),
            "search": lambda: memory.search(embed(["x"])[0], k=10),
            "compact": memory.compact,
        }
        for name, call in calls.items():
            try:
                call()
            except (MemvidError, MemoryError):
                continue
            done.append(name)
    return done


def _memory(folder: Path, rng: random.Random, scale: float) -> Counter[str]:
    path, rows = folder / "memory.mp4", max(500, int(10_000 * scale))
    with Memory.create(path, "given") as memory:
        put(memory, _records("first", 500))
    done = start(_little_memory, path, rng.choice([5, 20, 60, 150]) << 20, rows).result(_SECONDS)
    more = _records("more", rows) if "add" in done else {}
    _holds(path, {**_records("first", 500), **more})
    return Counter({"calls": 3, "refused": 3 - len(done)})


# --- many threads ---


def _threads(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Use one memory in 32 threads, each with its own records, and compact it in another one."""
    path, calls = folder / "threads.mp4", max(4, int(30 * scale))
    failures: list[str] = []
    kept: list[State] = [{} for _ in range(32)]
    Memory.create(path, "given").close()
    with Memory.open(path, "a", embedder="given") as memory:

        def work(number: int) -> None:
            rng, mine = random.Random(seed + number), kept[number]
            try:
                for version in range(calls):
                    records = {f"t{number}-{rng.randrange(10)}": version for _ in range(rng.choice([1, 3]))}
                    put(memory, records)
                    mine.update(records)
                    gone = rng.choice(list(mine))
                    check(memory.get(gone).text == text_of(gone, mine[gone]), f"thread {number} reads another {gone}")
                    if version % 3 == 2:
                        check(memory.delete(gone) == 1, f"{gone} was not there to delete")
                        del mine[gone]
                    if number == 0 and version % 5 == 4:
                        memory.compact()
            except BaseException as exc:
                failures.append(repr(exc))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not failures, f"{len(failures)} threads failed: {failures[:2]}")
        expected = {record_id: version for mine in kept for record_id, version in mine.items()}
        check(versions_in(memory) == expected, "32 threads: the memory does not hold what they wrote")
    _holds(path, expected)
    return Counter({"calls": 32 * calls})


# --- forks ---


def _forking_writer(path: Path, ready: int, hold: int, release: int) -> None:
    """Fork inside ``exclusive``, report whether the fork is refused, and wait to be killed; the fork survives."""
    os.close(release)
    memory = Memory.open(path, "a", embedder="given")
    with memory.exclusive():
        put(memory, _records("parent", 1))
        child = os.fork()
        if child == 0:
            try:
                memory.add(["from a fork"], vectors=embed(["x"]))
            except ClosedError:
                os.write(ready, b"refused\n")
            else:
                os.write(ready, b"taken\n")
            os.read(hold, 1)  # until the checking process closes its end
            os._exit(0)
        os.read(hold, 1)


def _forks(folder: Path) -> Counter[str]:
    """Check that a fork refuses to use the memory and does not hold the lock of a killed parent."""
    path = folder / "fork.mp4"
    Memory.create(path, "given").close()
    reading, ready = os.pipe()
    hold, release = os.pipe()
    writer = start(_forking_writer, path, ready, hold, release)
    os.close(ready)
    reported = os.read(reading, 100)
    try:
        writer.kill()
        check(reported == b"refused\n", f"a fork of an open memory: {reported!r}")
        with Memory.open(path, "a", embedder="given", timeout=5.0) as memory:
            put(memory, _records("next", 1))
            check(versions_in(memory) == {"parent-0": 0, "next-0": 0}, "after the fork's parent was killed")
    finally:
        for descriptor in (release, hold, reading):
            os.close(descriptor)
    return Counter({"calls": 2})


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round of each."""
    counts = _threads(folder, seed, scale)
    if os.name == "posix":
        counts += _descriptors(folder, scale)
    if Path("/proc/self/statm").exists():
        counts += _memory(folder, random.Random(seed), scale)
    if FORKS:
        counts += _forks(folder)
    return counts
