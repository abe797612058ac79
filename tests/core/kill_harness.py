"""Kills a writer at random moments, again and again, and looks at what is left. Run in its own process.

Prints a JSON object: how many rounds, how many commits were acknowledged, how often a write was torn.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import warnings
from pathlib import Path

from memvid_core import Memory, TornTailWarning
from tests.core.embedders import embed


def write_until_killed(path: Path, acknowledge: int, seed: int) -> None:
    """Add and delete records, compact, and write a line for each commit that returned."""
    rng = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTailWarning)
        memory = Memory.open(path, "a", embedder=embed)
    n = 0
    while True:
        count = rng.choice([1, 1, 2, 40])
        ids = [f"{seed}-{n}-{i}" for i in range(count)]
        memory.add([f"text of {record_id} " * rng.randrange(1, 30) for record_id in ids], ids=ids)
        os.write(acknowledge, (json.dumps(ids) + "\n").encode())
        if n % 5 == 4:
            gone = ids[: rng.randrange(1, count + 1)]
            memory.delete(gone)
            os.write(acknowledge, (json.dumps({"gone": gone}) + "\n").encode())
        if n % 3 == 2:
            memory.compact(keep_history=rng.random() < 0.5)
        n += 1


def main(folder: str, rounds: int, seed: int) -> None:
    """Run the rounds and check after each that what was acknowledged is there, and nothing is half there."""
    rng = random.Random(seed)
    path = Path(folder) / f"m{seed}.mp4"
    Memory.create(path, embed).close()
    live: set[str] = set()
    acknowledged = torn = 0
    for turn in range(rounds):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_until_killed(path, writing, seed * 1000 + turn)
        os.close(writing)
        with os.fdopen(reading) as lines:
            first = lines.readline()  # it is writing now
            time.sleep(rng.random() * 0.03)  # the random moment
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said = [json.loads(line) for line in [first, *lines] if line.endswith("\n")]
        for entry in said:
            acknowledged += 1
            if isinstance(entry, dict):
                live -= set(entry["gone"])
            else:
                live |= set(entry)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TornTailWarning)
            with Memory.open(path, embedder=embed) as memory:
                there = {record.id for record in memory}
        torn += any(issubclass(warning.category, TornTailWarning) for warning in caught)
        extra = there - live
        missing = live - there
        # One more commit may have become durable without its acknowledgement getting out: an add, or a delete.
        assert len({record_id.rsplit("-", 1)[0] for record_id in extra}) <= 1, extra
        assert len({record_id.rsplit("-", 1)[0] for record_id in missing}) <= 1, missing
        assert not (extra and missing), (extra, missing)
        last = said[-1]
        assert not missing or (isinstance(last, list) and missing <= set(last)), missing
        live = there
        if turn % 10 == 9:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TornTailWarning)
                writer = Memory.open(path, "a", embedder=embed)
            with writer:
                writer.add("after the fall", ids=f"{seed}-after-{turn}")
                live.add(f"{seed}-after-{turn}")
                report = writer.verify()
                assert report.ok, report
                assert all(writer.get(record_id).text for record_id in rng.sample(sorted(live), min(20, len(live))))
    print(json.dumps({"rounds": rounds, "acknowledged": acknowledged, "torn": torn}))
