"""Memories that compact themselves, with readers among the writers; the process that compacts is killed, too."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NoReturn

from memvid_core import Memory, MemvidWarning
from memvid_core.engine import settings
from memvid_core.engine.compaction_process import CompactionProcess
from soak.model import versions_in
from soak.scenes.core import Core, quietly

__all__ = ["Compactions"]

_EVERY = 8  # commits between two looks


class Compactions(Core):
    """The core with a compaction after every few commits. It is in a process of its own, or in a thread."""

    share: ClassVar[float | None] = 0.05
    moment = 4.0  # a process that compacts takes half a second to start

    def write(self, folder: Path, log: Path, writer: int, seed: int) -> None:
        """Write without end; of several, some only read."""
        rng = random.Random(seed)
        settings.DEFAULTS = replace(
            settings.DEFAULTS, compact_every=_EVERY, compact_least_bytes=0
        )  # until it is killed
        if rng.random() < 0.3:
            CompactionProcess.possible = staticmethod(lambda: False)  # type: ignore[method-assign]
        warnings.simplefilter("ignore", MemvidWarning)  # that the process which compacts was killed
        if writer and rng.random() < 0.4:
            self._read(folder / "m.mp4")
        super().write(folder, log, writer, rng.randrange(1 << 40))

    def _read(self, path: Path) -> NoReturn:
        memory = quietly(path, "r", self.embedder)
        while True:
            versions_in(memory)

    def disturb(self, memory: Memory, rng: random.Random) -> None:
        """Kill the process that compacts now and then, and have the next compaction in a process again."""
        auto = memory._auto
        if auto is None:
            return
        process = auto._process
        if process is not None and rng.random() < 0.01:
            process._process.kill()
        if rng.random() < 0.1:
            auto._alone = False
