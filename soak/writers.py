"""Several processes that commit record after record to one file, with concurrent readers and a compaction.

Readers must see complete commits, each writer's in order, and never an older state; at the end every record exists
once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from memvid_core import Memory
from soak.log import Log, Tail
from soak.model import State, check, put, text_of, unique_word, vector_of, versions_in
from soak.processes import start

__all__ = ["Shares", "contend", "run"]

_SECONDS = 300.0


class Shares(NamedTuple):
    """Report for each writer: seconds from first to last commit, longest wait, and commits seen of others."""

    seconds: float
    longest: float
    half_way: dict[int, int]
    reads: int


def records_of(writer: int, number: int, batch: int) -> State:
    """Return the records of one commit."""
    return {f"w{writer}-{number:05}-{part}": number for part in range(batch)}


def _write(path: Path, log: Path, writer: int, commits: int, batch: int, compact_at: int | None) -> tuple[float, float]:
    """Commit ``commits`` times; return when the last was done, and the longest duration in seconds."""
    notes, longest = Log(log), 0.0
    with Memory.open(path, "a", embedder="given", timeout=_SECONDS) as memory:
        for number in range(commits):
            started = time.monotonic()
            put(memory, records_of(writer, number, batch))
            longest = max(longest, time.monotonic() - started)
            notes.write(writer, number)
            if number == compact_at:
                memory.compact()
    return time.monotonic(), longest


def _read(path: Path, log: Path, total: int, batch: int, seed: int) -> int:
    """Read until every commit was logged; return how often."""
    rng, tail, reads = random.Random(seed), Tail(log), 0
    noted: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    with Memory.open(path, embedder="given") as memory:
        while True:
            noted.update(entry[0] for entry in tail.read())
            least = noted | seen
            seen = _progress(memory.ids(), batch)
            back = {writer: (seen[writer], count) for writer, count in least.items() if seen[writer] < count}
            check(not back, f"a reader saw fewer commits than before, or than were done: {back}")
            if any(seen.values()):
                _look_up(memory, rng, seen, batch)
            reads += 1
            if sum(noted.values()) == total:
                return reads


def _progress(ids: list[str], batch: int) -> Counter[int]:
    """Return the number of commits of each writer; they must be its first ones, in order and complete."""
    order: dict[int, list[str]] = {}
    for record_id in ids:
        order.setdefault(int(record_id[1 : record_id.index("-")]), []).append(record_id)
    seen: Counter[int] = Counter()
    for writer, own in order.items():
        expected = [i for number in range(-(-len(own) // batch)) for i in records_of(writer, number, batch)]
        check(own == expected, f"of writer {writer}, not whole commits in order: {set(own) ^ set(expected)}")
        seen[writer] = len(own) // batch
    return seen


def _look_up(memory: Any, rng: random.Random, seen: Counter[int], batch: int) -> None:
    """Find one record by id, by vector and by word."""
    writer = rng.choice([writer for writer, count in seen.items() if count])
    record_id, version = rng.choice(list(records_of(writer, rng.randrange(seen[writer]), batch).items()))
    check(memory.get(record_id).text == text_of(record_id, version), f"{record_id} has another text")
    hits = memory.search(vector_of(record_id, version), k=1, mode="dense")
    check(hits and hits[0].id == record_id, f"the vector of {record_id} finds {hits}")
    if rng.random() < 0.2:
        hits = memory.search(unique_word(record_id, version), mode="lexical")
        check([hit.id for hit in hits] == [record_id], f"the word of {record_id} finds {hits}")


def contend(path: Path, *, writers: int, commits: int, readers: int, batch: int = 1, compact: bool = True) -> Shares:
    """Let ``writers`` processes make ``commits`` commits each, with ``readers`` reading; check all results.

    Raises:
        WrongAnswer: A reader or the file at the end shows something else than was committed.
    """
    log = path.with_name("contention.log")
    Log(log).close()
    reading = [start(_read, path, log, writers * commits, batch, number) for number in range(readers)]
    started = time.monotonic()
    writing = [
        start(_write, path, log, writer, commits, batch, commits // 2 if compact and not writer else None)
        for writer in range(writers)
    ]
    try:
        done = [child.result(_SECONDS) for child in writing]
        reads = sum(child.result(_SECONDS) for child in reading)
    finally:
        for child in [*writing, *reading]:
            child.kill()
    order = [entry[0] for entry in Tail(log).read()]
    expected = {i: v for w in range(writers) for n in range(commits) for i, v in records_of(w, n, batch).items()}
    with Memory.open(path, embedder="given") as memory:
        check(dict(sorted(versions_in(memory).items())) == expected, "the records at the end are not those committed")
        check(memory.verify().ok, f"{memory.verify()}")
    half = Counter(order[: len(order) // 2])
    return Shares(max(end for end, _ in done) - started, max(wait for _, wait in done), dict(half), reads)


def run(folder: Path, seed: int, scale: float) -> Counter[str]:
    """Run one round: 2 to 8 writers, up to 4 readers, single records or small batches."""
    rng = random.Random(seed)
    path = folder / "m.mp4"
    Memory.create(path, "given").close()
    writers, commits = rng.choice([2, 4, 8]), max(10, int(100 * scale))
    shares = contend(path, writers=writers, commits=commits, readers=rng.choice([1, 4]), batch=rng.choice([1, 1, 3]))
    least = min(shares.half_way.get(writer, 0) for writer in range(writers))
    check(commits < 50 or least > 0, f"a writer had no commit while half of all were made: {shares.half_way}")
    return Counter({"commits": writers * commits, "reads": shares.reads})
