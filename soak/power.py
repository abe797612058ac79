"""Power failures: any subset of the blocks of the last commit is on disk.

The ``fsync`` calls of a commit divide its writes: those before a call are on disk when the next ones begin. Between two
calls, each block of 512 or 4,096 bytes may be written or not, and the file may be shorter.
"""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from memvid_core import Memory
from soak.model import Change, State, check, put, random_change, versions_in

__all__ = ["run"]


def _images(path: Path, commit: Change) -> list[bytes]:
    """Hold the file before a commit, at each of its syncs, and after it."""
    images = [path.read_bytes()]
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync") if hasattr(os, name)}

    def synced(name: str, descriptor: int) -> None:
        images.append(path.read_bytes())
        real[name](descriptor)

    with Memory.open(path, "a", embedder="given") as memory:
        patches = [patch.object(os, name, partial(synced, name)) for name in real]
        for one in patches:
            one.start()
        try:
            put(memory, commit.put) if commit.put else memory.delete(commit.gone)
        finally:
            for one in patches:
                one.stop()
    check(images[-1] == path.read_bytes(), "a commit was acknowledged before all of it was synced")
    return [image for n, image in enumerate(images) if n == 0 or image != images[n - 1]]


def _states(before: bytes, after: bytes, rng: random.Random, count: int) -> Iterator[bytes]:
    """Yield the possible states on disk between two syncs: all subsets if there are few, otherwise random ones."""
    size = rng.choice([512, 4096])
    blocks = [
        at for at in range(0, max(len(before), len(after)), size) if before[at : at + size] != after[at : at + size]
    ]
    every = 1 << len(blocks)
    for number in range(every) if every <= count else (rng.getrandbits(len(blocks)) for _ in range(count)):
        chosen = {at for n, at in enumerate(blocks) if number >> n & 1}
        image = bytearray(after) if len(after) >= len(before) else bytearray(before)
        for at in set(blocks) - chosen:
            old = before[at : at + size]
            image[at : at + size] = old + bytes(len(image[at : at + size]) - len(old))
        yield bytes(image)
        if chosen and rng.random() < 0.3:
            yield bytes(image[: max(len(before), max(chosen) + rng.choice([size, size // 2]))])


def _look(path: Path, mode: str) -> State:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with Memory.open(path, mode, embedder="given") as memory:
            found = versions_in(memory)
            if mode == "a":
                put(memory, {"after-0": 1})
                after = versions_in(memory)
                check(after == {**found, "after-0": 1}, f"the next commit made {after} of {found}")
    return found


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: some commits, then six whose blocks a power failure may drop, with 64 or more states each."""
    rng = random.Random(seed)
    path = folder / "m.mp4"
    codec = "qr" if rng.random() < 0.15 else "pcm"
    with Memory.create(path, "given", codec=codec) as memory:
        put(memory, records := {f"r-{n}": 0 for n in range(rng.choice([1, 6]))})
        state = Change(records, []).apply({})
        for version in range(1, rng.randrange(1, 4)):
            put(memory, records := {f"r-{rng.randrange(8)}": version})
            state = Change(records, []).apply(state)
    counts: Counter[str] = Counter()
    for number in range(max(1, int(6 * scale))):
        state = _cut_last_commit(folder, rng, state, number, counts, states=20 if codec == "qr" else 64)
    return counts


def _cut_last_commit(
    folder: Path, rng: random.Random, state: State, number: int, counts: Counter[str], *, states: int
) -> State:
    """Commit once more, check each state that a power failure may leave, and continue with the complete commit."""
    path, index = folder / "m.mp4", folder / f"index before {number}"
    shutil.copytree(f"{path}.index", index)
    last = random_change(rng, state, 8, 1000 + number)
    images = _images(path, last)
    whole = folder / "index after"
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(f"{path}.index", whole)
    allowed = (state, last.apply(state))
    for before, after in pairwise(images):
        for image in _states(before, after, rng, states):
            path.write_bytes(image)
            shutil.rmtree(f"{path}.index", ignore_errors=True)
            if rng.random() < 0.5:
                shutil.copytree(index, f"{path}.index")
            found = _look(path, rng.choice(["r", "r", "a"]))
            check(found in allowed, f"state {counts['states']}: {found}, neither {state} nor with {last}")
            counts["states"] += 1
    path.write_bytes(images[-1])
    shutil.rmtree(f"{path}.index")
    shutil.copytree(whole, f"{path}.index")
    return allowed[1]
