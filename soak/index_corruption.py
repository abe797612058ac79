"""Damage to the files of the index folder: answers stay right, because the memory's file has everything.

Closed indexes, indexes as a writer has them open (with a write-ahead log), and files damaged under an open reader.
"""

from __future__ import annotations

import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from memvid_core import Memory
from soak.damage import damage
from soak.model import WrongAnswer, check
from soak.past import Past
from soak.questions import ask_everything

__all__ = ["run"]

_SECONDS = 5.0


def _changed(past: Past, rng: random.Random) -> tuple[dict[str, bytes], str, str]:
    """Damage, delete or exchange one file of an index; return it with the change and the name of the file."""
    name = rng.choice([name for name in past.index if not name.endswith("-shm")])
    if rng.random() < 0.06:
        return {other: data for other, data in past.index.items() if other != name}, name, "gone"
    made = damage(past.index[name], rng)
    return {**past.index, name: made.data}, name, made.what


def _ask_closed(past: Past, index: dict[str, bytes], mode: str) -> None:
    past.restore(past.data, index)
    with Memory.open(past.path, mode, embedder="given") as memory:
        ask_everything(memory, past.state, given=True)


def _ask_open(past: Past, index: dict[str, bytes], name: str) -> None:
    """Damage a file of an open reader, which may have answered before."""
    past.restore(past.data, past.index)
    with Memory.open(past.path, embedder="given") as memory:
        ask_everything(memory, past.state, given=True, sample=2)
        target = Path(f"{past.path}.index") / name
        if name in index and target.exists():  # on the file that is open, not one in its place
            with open(target, "r+b") as file:
                file.write(index[name])
                file.truncate(len(index[name]))
        else:
            target.unlink(missing_ok=True)
        ask_everything(memory, past.state, given=True)


def cases(folder: Path, seed: int, scale: float) -> Iterator[tuple[str, str]]:
    """Damage one index many times; yield each change, and "right" or the error."""
    rng = random.Random(seed)
    live = rng.random() < 0.4
    past = Past(folder, seed, live=live, vector_dtype=rng.choice(["float16", "float32"]))
    for _ in range(max(4, int(100 * scale))):
        index, name, done = _changed(past, rng)
        how = rng.choices(["r", "a", "open"], [5, 3, 0 if live or name.endswith("-wal") else 2])[0]
        what = f"{'live' if live else 'closed'} {Path(name).name}, {done}, {how}"
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                _ask_open(past, index, name) if how == "open" else _ask_closed(past, index, how)
            check(time.monotonic() - started < _SECONDS, "hang")
            outcome = "right"
        except WrongAnswer as exc:
            outcome = f"WRONG silent: {exc}"
        except Exception as exc:
            outcome = f"WRONG raw: {type(exc).__name__}: {exc}"
        yield what, outcome


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: 100 damages of one index."""
    counts: Counter[str] = Counter()
    for what, outcome in cases(folder, seed, scale):
        if outcome.startswith("WRONG"):
            raise WrongAnswer(f"case {counts['damages']} ({what}): {outcome}")
        counts.update(["damages", outcome])
    return counts
