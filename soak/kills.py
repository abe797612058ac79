"""Writers killed at random moments of mixed work; after each kill the memory is opened and compared with the log.

A round keeps one file for several turns. A turn starts 1, 2 or 4 writers from this process, which never opens the
memory itself, kills one, lets the others continue briefly, and kills them too. Their log of each call determines the
possible contents: see :class:`soak.ledger.Ledger`. A scene defines their work.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

from soak.log import Log
from soak.model import WrongAnswer
from soak.processes import Child, start
from soak.scenes.agents import Agents
from soak.scenes.compactions import Compactions
from soak.scenes.core import Core
from soak.scenes.folders import Folders
from soak.scenes.symbols import Symbols

__all__ = ["SCENES", "Scene", "run"]

_START_SECONDS, _CHECK_SECONDS = 30.0, 60.0


class Scene(Protocol):
    """Define the work of writers that are killed, and the check afterwards."""

    torn: int
    """The number of writes that were found incomplete."""
    moment: float
    """Within how many seconds a writer is killed."""

    def __init__(self, rng: random.Random) -> None: ...

    def prepare(self, folder: Path) -> None:
        """Make the memory."""

    def write(self, folder: Path, log: Path, writer: int, seed: int) -> None:
        """Write without end, logging each call."""

    def compare(self, folder: Path, log: Path, turn: int) -> int:
        """Check the contents in a separate process; return the number of acknowledged calls."""


SCENES: dict[str, type[Scene]] = {
    "core": Core,
    "agents": Agents,
    "folders": Folders,
    "compactions": Compactions,
    "symbols": Symbols,
}


def _kill_one_after_another(children: list[Child], log: Path, rng: random.Random, moment: float) -> None:
    """Kill the first process, usually after a call has returned; the others continue briefly."""
    try:
        if rng.random() < 0.75:
            _wait_for_a_commit(children, log)
        for child in rng.sample(children, len(children)):
            time.sleep(rng.random() ** 2 * moment)  # the random moment
            if child.ended():
                child.result(0)
                raise WrongAnswer("a writer ended before it was killed")
            child.kill()
    finally:
        for child in children:
            child.kill()


def _wait_for_a_commit(children: list[Child], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while b"done" not in log.read_bytes():
        if any(child.ended() for child in children):
            return
        if time.monotonic() > deadline:
            raise WrongAnswer(f"no call has returned after {_START_SECONDS:.0f} s")
        time.sleep(0.001)


def run(folder: Path, seed: int, scale: float, *, scene: str | None = None, writers: int | None = None) -> Counter[str]:
    """Run one round: a scene, and several turns with the same number of writers."""
    rng = random.Random(seed)
    name = scene or rng.choices(list(SCENES), [10, 3, 2, 5, 1])[0]
    chosen = SCENES[name](random.Random(rng.random()))
    counts: Counter[str] = Counter()
    start(chosen.prepare, folder).result(_CHECK_SECONDS)
    for turn in range(max(2, int(30 * scale))):
        many = writers or rng.choice([1, 1, 2, 4])
        log = folder / f"log-{turn}"
        Log(log).close()
        children = [start(chosen.write, folder, log, n, rng.randrange(1 << 40)) for n in range(many)]
        _kill_one_after_another(children, log, rng, chosen.moment)
        acknowledged, chosen = start(_compared, chosen, folder, log, turn).result(_CHECK_SECONDS)
        counts["torn"] = chosen.torn
        counts.update({"kills": many, "acknowledged": acknowledged, f"kills, {name}": many})
        log.unlink()
    return counts


def _compared(scene: Scene, folder: Path, log: Path, turn: int) -> tuple[int, Scene]:
    """Return the scene after the comparison; the next turn uses it."""
    return scene.compare(folder, log, turn), scene
