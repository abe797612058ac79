"""Rounds of workloads until the time is over: each is seeded, runs in its own process, and continues the last call."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from soak import (
    agent,
    corruption,
    disks,
    index_corruption,
    kills,
    limits,
    power,
    rays,
    readers,
    servers,
    stores,
    writers,
)
from soak.model import WrongAnswer
from soak.processes import Child, end_group, first_ready, start, warm_up

__all__ = ["WORKLOADS", "Failure", "Progress", "Workload", "one_round", "soak", "table"]

Round = Callable[[Path, int, float], "Counter[str]"]


class Workload(NamedTuple):
    """Describe a workload: its round, its share of the time, and the limit of a round in seconds."""

    run: Round
    share: float
    limit: float
    about: str


WORKLOADS: dict[str, Workload] = {
    "readers": Workload(readers.run, 4, 300, "one writer and concurrent readers, every answer checked"),
    "writers": Workload(writers.run, 3, 600, "several writers of one file, with concurrent readers"),
    "kills": Workload(kills.run, 5, 900, "SIGKILL at random moments over mixed work"),
    "agent": Workload(agent.run, 2, 300, "an agent's memory, killed while it memorizes and imports, with a reader"),
    "corruption": Workload(corruption.run, 5, 300, "damage to the file, index kept or deleted"),
    "index": Workload(index_corruption.run, 2, 300, "damage to the index, closed, live and in use"),
    "power": Workload(power.run, 2, 300, "subsets of the last commit's blocks"),
    "disks": Workload(disks.run, 1, 300, "full disks and failing syncs"),
    "limits": Workload(limits.run, 1, 600, "few descriptors, little memory, threads, forks"),
    "servers": Workload(servers.run, 1, 600, "a web server, two graphs, a notebook cell run again"),
}
if find_spec("ray") is not None:
    WORKLOADS["ray"] = Workload(rays.run, 1, 3_600, "a library built by Ray, whose workers are killed 20 times")
if find_spec("moto") is not None and find_spec("s3fs") is not None:
    WORKLOADS["stores"] = Workload(stores.run, 1, 1_800, "eight processes commit 50 times each to a library in S3")


class Failure(NamedTuple):
    """Describe a round that found a wrong answer."""

    workload: str
    seed: int
    message: str


class Progress:
    """Keep the counts so far and the number of the next round in a file.

    Args:
        path: The file; None stores nothing.
        seed: The seed; rounds of other seeds are counted separately.
    """

    def __init__(self, path: Path | None, seed: int) -> None:
        self._path, self._seed = path, seed
        self._all: dict[str, dict[str, dict[str, float]]] = {}
        if path is not None and path.exists():
            self._all = json.loads(path.read_text(encoding="utf-8"))
        self.counts = self._all.setdefault(str(seed), {})

    def next_seed(self, name: str) -> int:
        """Return the seed of the next round; seeds of different calls differ."""
        return self._seed * 1_000_000 + int(self.counts.get(name, {}).get("rounds", 0))

    def add(self, name: str, seconds: float, counted: Counter[str]) -> None:
        """Record a finished round."""
        total = self.counts.setdefault(name, {})
        for key, value in {"rounds": 1, "seconds": seconds, **counted}.items():
            total[key] = total.get(key, 0) + value
        if self._path is not None:
            half = self._path.with_suffix(".half")
            half.write_text(json.dumps(self._all, indent=1), encoding="utf-8")
            half.replace(self._path)


class _Running(NamedTuple):
    """A running round."""

    name: str
    seed: int
    folder: Path
    child: Child
    started: float

    def left(self) -> float:
        """Return the remaining seconds of the limit."""
        return self.started + WORKLOADS[self.name].limit - time.monotonic()

    def counted(self) -> Counter[str]:
        """Wait for its end, and return what it counted; its folder stays if it failed.

        Raises:
            WrongAnswer: What it found, or that it did not end in time; the message names the folder.
        """
        try:
            counted: Counter[str] = self.child.result(max(0.0, self.left()))
        except WrongAnswer as exc:
            raise WrongAnswer(f"{exc}\n(the files are in {self.folder})") from None
        finally:
            end_group(self.child)
        shutil.rmtree(self.folder)
        return counted


def _begin(name: str, seed: int, scale: float, root: Path | None) -> _Running:
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{name}-{seed}-", dir=root))
    child = start(WORKLOADS[name].run, folder, seed, scale, own_group=True)
    return _Running(name, seed, folder, child, time.monotonic())


def one_round(name: str, seed: int, scale: float, root: Path | None = None) -> Counter[str]:
    """Run one round in an empty folder, which is kept if the round fails.

    Raises:
        WrongAnswer: The round found a wrong answer or did not end in time; the message names the folder.
    """
    return _begin(name, seed, scale, root).counted()


def soak(
    names: Iterable[str],
    minutes: float,
    progress: Progress,
    *,
    scale: float,
    root: Path | None,
    go_on: bool,
    jobs: int = 1,
) -> list[Failure]:
    """Run rounds until the time is over; the workload with the least of its share is next.

    Args:
        names: The workloads.
        minutes: The duration; a running round is finished.
        progress: The counts, and the round at which to continue.
        scale: The size of rounds.
        root: The folder for rounds; None uses the folder for temporary files.
        go_on: Whether to continue after a wrong answer.
        jobs: How many rounds are made at the same time.

    Returns:
        The rounds that failed.
    """
    deadline = time.monotonic() + minutes * 60
    spent = dict.fromkeys(names, 0.0)
    running: list[_Running] = []
    failures: list[Failure] = []
    while True:
        while len(running) < jobs and time.monotonic() < deadline and (go_on or not failures):
            under_way = Counter(one.name for one in running)
            name = min(spent, key=lambda name: (spent[name] / WORKLOADS[name].share, under_way[name]))
            running.append(_begin(name, progress.next_seed(name) + under_way[name], scale, root))
        if not running:
            return failures
        child = first_ready([one.child for one in running], min(one.left() for one in running))
        one = next(one for one in running if one.child is child)
        running.remove(one)
        try:
            counted = one.counted()
        except WrongAnswer as exc:
            counted = Counter({"wrong": 1})
            failures.append(Failure(one.name, one.seed, str(exc)))
            print(f"WRONG, {one.name} {one.seed}: {exc}", file=sys.stderr, flush=True)
        seconds = time.monotonic() - one.started
        spent[one.name] += seconds
        progress.add(one.name, seconds, counted)


def table(counts: dict[str, dict[str, float]]) -> str:
    """Return all counts, one line per workload."""
    lines = ["| workload | rounds | seconds | wrong | counted |", "|---|---|---|---|---|"]
    for name in [name for name in WORKLOADS if name in counts]:
        total = counts[name]
        rest = [f"{key} {value:,.0f}" for key, value in total.items() if key not in ("rounds", "seconds", "wrong")]
        lines.append(
            f"| {name} | {total['rounds']:,.0f} | {total['seconds']:,.0f} | {total.get('wrong', 0):,.0f} | "
            f"{', '.join(rest)} |"
        )
    return "\n".join(lines)
