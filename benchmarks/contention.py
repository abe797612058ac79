"""Many processes that commit single records to one file, compared with Chroma and SQLite.

    python -m benchmarks.contention                       # 8 processes x 500 records, 4 readers, a compaction
    python -m benchmarks.contention --writers 4 --stores memvid sqlite --readers-do paced

One process first commits all the records. Then the writers share them, with one commit per record, and memvid is
compacted once in the middle. Both runs are measured without readers, with paced readers (20 reads per second each, like
a web worker), and with readers that never pause. "Ratio" compares the writers with one writer and the same readers; "to
alone" compares them with one writer without readers. Readers that never pause leave a writer only its share of the
processors: with four of them on two cores, that alone makes it 2.5 times as slow.

A read counts the records and looks up one whose commit has returned. A "wrong read" is a count that decreased or is
below the number committed, or a committed record that is not found. "Share" is the part of the first half of all
commits that the slowest writer made, relative to an equal share. SQLite runs with a write-ahead log,
``synchronous=FULL`` (as durable as memvid) and ``busy_timeout``; it looks records up by id, the others by vector.
Chroma is ``PersistentClient`` in each process.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from soak.log import Log, Tail
from soak.model import WrongAnswer
from soak.processes import start

_DIMENSION, _SECONDS = 384, 1800.0


class Peer(Protocol):
    """A store that a process has open."""

    def add(self, name: str, text: str, vector: NDArray[np.float32]) -> None: ...
    def count(self) -> int: ...
    def find(self, name: str, vector: NDArray[np.float32]) -> str | None: ...
    def compact(self) -> None: ...
    def close(self) -> None: ...


class Memvid:
    def __init__(self, folder: Path) -> None:
        from memvid_core import Memory

        self._memory = Memory.open(folder / "m.mp4", "a", embedder="given", create=True, timeout=_SECONDS)

    def add(self, name: str, text: str, vector: NDArray[np.float32]) -> None:
        self._memory.add([text], ids=[name], vectors=vector[None])

    def count(self) -> int:
        return len(self._memory)

    def find(self, name: str, vector: NDArray[np.float32]) -> str | None:
        hits = self._memory.search(vector, k=1)
        return hits[0].id if hits else None

    def compact(self) -> None:
        self._memory.compact()

    def close(self) -> None:
        self._memory.close()


class SQLite:
    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "s.sqlite", timeout=_SECONDS, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, text TEXT, vector BLOB)")

    def add(self, name: str, text: str, vector: NDArray[np.float32]) -> None:
        self._connection.execute("INSERT INTO records VALUES (?, ?, ?)", (name, text, vector.tobytes()))

    def count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def find(self, name: str, vector: NDArray[np.float32]) -> str | None:
        found = self._connection.execute("SELECT name FROM records WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def compact(self) -> None:
        pass

    def close(self) -> None:
        self._connection.close()


class Chroma:
    def __init__(self, folder: Path) -> None:
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(str(folder / "chroma"), settings)
        self._records: Any = self._client.get_or_create_collection("records", embedding_function=None)

    def add(self, name: str, text: str, vector: NDArray[np.float32]) -> None:
        self._records.add(ids=[name], documents=[text], embeddings=[vector])

    def count(self) -> int:
        return int(self._records.count())

    def find(self, name: str, vector: NDArray[np.float32]) -> str | None:
        found = self._records.query(query_embeddings=[vector], n_results=1)["ids"][0]
        return found[0] if found else None

    def compact(self) -> None:
        pass

    def close(self) -> None:
        pass


PEERS: dict[str, type[Memvid | SQLite | Chroma]] = {"memvid": Memvid, "sqlite": SQLite, "chroma": Chroma}


_Times = tuple[float, float, list[float]]


def _record(writer: int, number: int) -> tuple[str, str, NDArray[np.float32]]:
    """Return a record of 100 bytes of text and a vector of length 1, the same at each call."""
    name = f"w{writer}-{number:05}"
    vector = np.random.default_rng([writer, number]).standard_normal(_DIMENSION).astype(np.float32)
    return (
        name,
        f"record {name} of a process that writes with others ".ljust(100, "."),
        vector / np.linalg.norm(vector),
    )


def _write(
    store: str, folder: Path, log: Path, writer: int, numbers: range, compact_at: int, writers: int = 1
) -> _Times:
    """Commit records one by one, from when all writers have the store open.

    Return when it began and ended, and the duration of each commit in seconds.
    """
    notes, times = Log(log), []
    peer: Peer = PEERS[store](folder)
    records = [_record(writer, number) for number in numbers]
    log.with_name(f"ready-{writer}").touch()
    while len(list(folder.glob("ready-*"))) < writers:
        time.sleep(0.001)
    began = time.perf_counter()
    for number, record in enumerate(records):
        started = time.perf_counter()
        for attempt in range(1000):
            try:
                peer.add(*record)
                break
            except Exception:  # Chroma's "database is locked", which its callers have to try again
                if store != "chroma" or attempt == 999:
                    raise
        times.append(time.perf_counter() - started)
        notes.write(writer, number)
        if number == compact_at:
            peer.compact()
    ended = time.perf_counter()
    peer.close()
    return began, ended, times


def _read(store: str, folder: Path, log: Path, total: int, seed: int, pause: float) -> tuple[int, int, str]:
    """Read until all was committed; returns how many reads there were, how many were wrong, and an example."""
    rng, tail = random.Random(seed), Tail(log)
    done: list[tuple[int, int]] = []
    reads = wrong = seen = 0
    example = ""
    peer: Peer = PEERS[store](folder)
    while len(done) < total:
        time.sleep(pause)
        done += [(entry[0], entry[1]) for entry in tail.read()]
        if not done:
            continue
        least = max(seen, len(done))
        name, _, vector = _record(*rng.choice(done))
        try:
            count, found = peer.count(), peer.find(name, vector)
        except Exception as exc:
            count, found = -1, repr(exc)
        reads += 1
        if count < least or found != name:
            wrong += 1
            example = example or f"count {count}, {least} committed; {name} finds {found}"[:200]
        seen = max(seen, count)
    return reads, wrong, example


class Row(NamedTuple):
    """Format one line of the table."""

    alone: float
    shared: float
    share: float
    median_ms: float
    longest_ms: float
    reads: int
    wrong: int
    there: int
    found: int
    example: str


def _last(store: str, folder: Path, expected: list[tuple[int, int]]) -> tuple[int, int]:
    """Return, from a new process, the number of records, and how many of 400 are found."""
    peer: Peer = PEERS[store](folder)
    chosen = random.Random(1).sample(expected, min(400, len(expected)))
    found = 0
    for entry in chosen:
        name, _, vector = _record(*entry)
        found += peer.find(name, vector) == name
    count = peer.count()
    peer.close()
    return count, found * 100 // len(chosen)


class Shared(NamedTuple):
    """Hold the results of writers and readers on one file."""

    seconds: float
    times: list[float]
    looked: list[tuple[int, int, str]]
    order: list[int]
    expected: list[tuple[int, int]]


def _share(
    store: str, folder: Path, writers: int, commits: int, readers: int, pause: float, *, compact: bool
) -> Shared:
    """Have writers commit to one file while readers read."""
    folder.mkdir()
    log, total = folder / "log", writers * commits
    start(_write, store, folder, folder / "first", 0, range(0), -1).result(_SECONDS)  # makes the file
    Log(log).close()
    reading = [start(_read, store, folder, log, total, number, pause) for number in range(readers)]
    writing = [
        start(
            _write, store, folder, log, writer, range(commits), commits // 2 if compact and writer == 0 else -1, writers
        )
        for writer in range(writers)
    ]
    waits = [child.result(_SECONDS) for child in writing]
    return Shared(
        seconds=max(end for _, end, _ in waits) - min(begin for begin, _, _ in waits),
        times=[time_ for _, _, times in waits for time_ in times],
        looked=[child.result(_SECONDS) for child in reading],
        order=[entry[0] for entry in Tail(log).read()],
        expected=[(writer, number) for writer in range(writers) for number in range(commits)],
    )


def measure(store: str, folder: Path, writers: int, commits: int, readers: int, pause: float) -> Row:
    """Measure one store with one kind of readers: one writer, then all."""
    folder.mkdir()
    total = writers * commits
    alone = _share(store, folder / "one", 1, total, readers, pause, compact=False)
    shared = _share(store, folder / "all", writers, commits, readers, pause, compact=True)
    half = Counter(shared.order[: total // 2])
    there, found = start(_last, store, folder / "all", shared.expected).result(_SECONDS)
    looked = alone.looked + shared.looked
    every = np.array(shared.times) * 1e3
    return Row(
        alone=alone.seconds,
        shared=shared.seconds,
        share=min(half.get(writer, 0) for writer in range(writers)) / (total / 2 / writers),
        median_ms=float(np.median(every)),
        longest_ms=float(every.max()),
        reads=sum(reads for reads, _, _ in shared.looked),
        wrong=sum(wrong for _, wrong, _ in looked),
        there=there,
        found=found,
        example=next((example for _, _, example in looked if example), ""),
    )


PAUSES = {"none": 0.0, "paced": 0.05, "saturating": 0.0}
"""What readers may do, and the seconds between two reads."""


def main() -> None:
    """Print the machine, then one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--commits", type=int, default=500, help="of each writer")
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--readers-do", nargs="+", choices=PAUSES, default=list(PAUSES))
    parser.add_argument("--folder", type=Path, help="where the files go: a real disk (default: temporary files)")
    arguments = parser.parse_args()
    writers, commits, readers = arguments.writers, arguments.commits, arguments.readers
    print(describe("memvid-core", "chromadb", "numpy"))
    print(f"\n## {writers} processes x {commits} single records, {readers} readers, {_DIMENSION}-d\n")
    print(
        "| store | readers | one process s | all s | ratio | to alone | median ms | longest ms | least share | ", end=""
    )
    print("reads | wrong | there at the end | found % |\n|" + "---|" * 13)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as work:
        for store in arguments.stores:
            alone = None
            for kind in arguments.readers_do:
                count = 0 if kind == "none" else readers
                try:
                    row = measure(store, Path(work) / f"{store}-{kind}", writers, commits, count, PAUSES[kind])
                except WrongAnswer as exc:
                    print(f"| {store} | {kind} | failed: {str(exc).splitlines()[-1]} |" + " |" * 10, flush=True)
                    continue
                alone = row.alone if kind == "none" else alone
                to_alone = "" if alone is None else f"{row.shared / alone:.2f}"
                print(
                    f"| {store} | {kind} | {row.alone:.1f} | {row.shared:.1f} | {row.shared / row.alone:.2f} | "
                    f"{to_alone} | {row.median_ms:.2f} | {row.longest_ms:.0f} | {row.share:.2f} | {row.reads:,} | "
                    f"{row.wrong:,} | {row.there:,} of {writers * commits:,} | {row.found} |",
                    flush=True,
                )
                if row.example:
                    print(f"\n{store}, a wrong read: {row.example}\n")


if __name__ == "__main__":
    main()
