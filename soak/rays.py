"""A library built by Ray while its workers are killed: nothing is missing, and nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np

from memvid_core import Library
from soak.model import check

__all__ = ["Noted", "run"]

_ROWS, _KILLS, _SHARDS = 1_000_000, 20, 40
_DIMENSION = 8


class Noted:
    """Embed a text as the numbers in it, and note the id of the process, for who kills it.

    Args:
        folder: The folder of the notes.
    """

    name = "noted"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def embed_documents(self, texts: Sequence[str]) -> Any:
        """Embed texts."""
        (self._folder / str(os.getpid())).touch()
        numbers = np.array([int(text.split()[1]) for text in texts], np.float64)
        return np.cos(numbers[:, None] / 10.0 ** np.arange(_DIMENSION)).astype(np.float32)

    def embed_query(self, text: str) -> Any:
        """Embed a question."""
        return self.embed_documents([text])[0]


class _Killer:
    """Kill a worker that has embedded, again and again.

    Args:
        folder: The folder of the notes.
        rng: Chooses the moments.
        kills: How many workers are killed.
    """

    def __init__(self, folder: Path, rng: random.Random, kills: int) -> None:
        self._folder, self._rng, self._left = folder, rng, kills
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed = 0

    def _run(self) -> None:
        while self._left and not self._ended.wait(self._rng.uniform(0.1, 3.0)):
            notes = sorted(self._folder.iterdir())
            if notes:
                note = self._rng.choice(notes)
                note.unlink()
                with suppress(ProcessLookupError):
                    if b"ray::" in Path(f"/proc/{note.name}/cmdline").read_bytes():  # and no other with this id
                        os.kill(int(note.name), signal.SIGKILL)
                        self.killed += 1
                        self._left -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Build a library of a million rows, while 20 workers are killed; compare every id and some answers."""
    from memvid_ray import build
    from memvid_ray.cluster import connected

    ray = connected()
    from ray import data

    rng = random.Random(seed)
    rows, kills = max(1_000, int(_ROWS * scale)), max(2, int(_KILLS * min(5 * scale, 1)))
    notes, path = folder / "notes", folder / "library"
    notes.mkdir()
    dataset = data.range(rows, override_num_blocks=_SHARDS * 2).map_batches(_texts, batch_format="numpy")
    with _Killer(notes, rng, kills) as killer:
        report = build(dataset, path, embedder=Noted(notes), rows_per_shard=-(-rows // _SHARDS))
    ray.shutdown()
    check(report.added == rows, f"{report.added} of {rows} rows were added")
    with Library.open(path, embedder=Noted(notes)) as library:
        ids = library.ids()
        check(ids == [f"r{number}" for number in range(rows)], f"{len(ids)} ids, {len(set(ids))} distinct, in order?")
        for number in rng.sample(range(rows), 20):
            hits = library.search(f"row {number}", 1, mode="lexical", timeout=None)
            found = [hit.id for hit in hits]
            check(found == [f"r{number}"], f"row {number} is not found, but {found}")
        orphans = library.verify()
        check(orphans.ok, f"{orphans.damage}")
        library.vacuum(timedelta(0))
        check(library.verify().orphans == (), "orphans stay after a vacuum")
    return Counter({"rows": rows, "killed": killer.killed, "orphans": len(orphans.orphans)})


def _texts(batch: dict[str, Any]) -> dict[str, Any]:
    numbers = batch["id"].tolist()
    return {"id": [f"r{number}" for number in numbers], "text": [f"row {number}" for number in numbers]}
