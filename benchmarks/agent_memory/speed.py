"""Speed of an agent's memory: recall, adding a session, the first recall after opening, bulk, in a file on disk.

The memory has 10 users with 40 sessions each. Its turns are made of a vocabulary with the word frequencies of a natural
language (Zipf), from a fixed seed, so that every run writes the same. Each figure is given as elapsed time, and as
processor time (user and system), which other programs disturb less.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.agent_memory.chats import Chat
from memvid_core import Memory, plain_query
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.recall import CANDIDATES

__all__ = ["report"]

USERS: Final = 10
SESSIONS: Final = 40
ADDED: Final = 20
"""The turns of a session that is added to the full memory."""
QUESTIONS: Final = 200
BULK: Final = 20_000
FIRST: Final = 5
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SYLLABLES: Final = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
_FIRST_RECALL: Final = """
import json, sys, time
from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
begun, used = time.perf_counter(), time.process_time()
service = SyncMemoryService(Memory.open(sys.argv[1]))
answer = service.recall(sys.argv[2], user_id="user 3")
assert answer.hits
print(json.dumps([(time.perf_counter() - begun) * 1e3, (time.process_time() - used) * 1e3]))
"""


class _Times(NamedTuple):
    """Milliseconds of calls: elapsed, and of the processor."""

    elapsed: list[float]
    processor: list[float]

    def add(self, elapsed: float, processor: float) -> None:
        self.elapsed.append(elapsed)
        self.processor.append(processor)

    def row(self, asked: str) -> str:
        cells = [f"{_at(times, 0.5):.1f} | {_at(times, 0.95):.1f} | {min(times):.1f}" for times in self]
        return f"{' | '.join(cells)} | {asked}"


def _at(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)]


class _Timed:
    """Adds the time of a block to some times."""

    def __init__(self, times: _Times) -> None:
        self._times = times

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *exc: object) -> None:
        elapsed, processor = time.perf_counter() - self._begun[0], time.process_time() - self._begun[1]
        self._times.add(elapsed * 1e3, processor * 1e3)


class _Free:
    """An embedder that costs nothing: one of 1,000 vectors."""

    name = "free"
    dimension = 256

    def __init__(self) -> None:
        vectors = np.random.default_rng(0).standard_normal((1_000, self.dimension)).astype(np.float32)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._vectors[[len(text) % len(self._vectors) for text in texts]]
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_documents([text])[0]
        return vector


class _Talk:
    """Turns of two people, from a seed."""

    def __init__(self, seed: int, words: int = 20_000) -> None:
        self._rng = random.Random(seed)
        spell = random.Random(0)
        self._words = ["".join(spell.choices(_SYLLABLES, k=spell.randint(1, 4))) for _ in range(words)]
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(words)))

    def text(self, fewest: int = 5, most: int = 35) -> str:
        return " ".join(self._rng.choices(self._words, cum_weights=self._weights, k=self._rng.randint(fewest, most)))

    def session(self, number: int, turns: int) -> list[dict[str, Any]]:
        begun = _START + timedelta(days=number)
        return [
            {
                "role": "user",
                "name": ("Ada", "Bob")[turn % 2],
                "content": f"{self.text().capitalize()}{'.?'[turn % 5 == 0]}",
                "created_at": (begun + timedelta(minutes=turn)).isoformat(),
            }
            for turn in range(turns)
        ]


def _sessions(turns: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    talk = _Talk(1)
    for number in range(SESSIONS):
        for user in range(USERS):
            scope = {"user_id": f"user {user}", "session_id": f"session {number}"}
            yield scope, talk.session(number, turns // (USERS * SESSIONS))


def report(turns: int, sets: Mapping[str, Sequence[Chat]]) -> None:
    """Fill a memory with turns and print the times of its operations, and of adding the first chat of each set."""
    with tempfile.TemporaryDirectory(prefix="memvid-speed-") as folder:
        path = Path(folder) / "agent.mp4"
        filled = _Times([], [])
        with Memory.create(path) as memory:
            service = SyncMemoryService(memory)
            with _Timed(filled):
                for scope, said in _sessions(turns):
                    service.add(said, **scope)
        seconds, used = filled.elapsed[0] / 1e3, filled.processor[0] / 1e3
        print(f"\n## Speed: {turns:,} turns, {USERS} users, {SESSIONS} sessions each\n")
        print(
            f"Filled a session at a time, embedded: {turns / seconds:,.0f} turns/s ({turns / used:,.0f} of processor)"
        )
        bulk = _bulk(Path(folder) / "bulk.mp4")
        rate, processor = (BULK / times[0] * 1e3 for times in bulk)
        print(f"Bulk of {BULK:,} without embedding: {rate:,.0f} turns/s ({processor:,.0f} of processor); asked 2,000")
        print("\n| milliseconds | p50 | p95 | least | p50, processor | p95, processor | least, processor | asked |")
        print("|---|---|---|---|---|---|---|---|")
        print(f"| first recall after opening, in a new process | {_first(path).row('150')} |")
        with Memory.open(path, "a") as memory:
            for label, extract, asked in (("raw", "raw", "10"), ("rules", "rules", "")):
                service = SyncMemoryService(memory, memorize_config={"extract": extract})
                print(f"| add a session of {ADDED} turns, durable ({label}) | {_added(service, label).row(asked)} |")
            for name, (chat, *_) in sets.items():
                for extract in ("raw", "rules"):
                    service = SyncMemoryService(memory, memorize_config={"extract": extract})
                    label = f"add {ADDED} turns of {name}, durable ({extract})"
                    print(f"| {label} | {_added_natural(service, chat, label).row('')} |")
            print(f"| recall within a user's turns | {_recalled(SyncMemoryService(memory)).row('15, p95 30')} |")
            print(f"| of it, Memory.search with k={CANDIDATES} | {_searched(memory).row('')} |")
        size = sum(file.stat().st_size for file in Path(folder).rglob("agent.mp4*") if file.is_file())
        size += sum(file.stat().st_size for file in Path(f"{path}.index").rglob("*") if file.is_file())
        print(f"\n{size / 1e6:,.0f} MB on disk")


def _bulk(path: Path) -> _Times:
    times = _Times([], [])
    with Memory.create(path, _Free()) as memory:
        service = SyncMemoryService(memory)
        sessions = [_Talk(2).session(number, 500) for number in range(BULK // 500)]
        with _Timed(times):
            for number, said in enumerate(sessions):
                service.add(said, user_id="user 0", session_id=str(number))
    return times


def _first(path: Path) -> _Times:
    times, talk = _Times([], []), _Talk(3)
    for number in range(-1, FIRST):  # the first process may compile modules
        command = [sys.executable, "-c", _FIRST_RECALL, str(path), talk.text(5, 9)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if number >= 0:
            times.add(*json.loads(done.stdout))
    return times


def _added(service: SyncMemoryService, label: str) -> _Times:
    times, talk = _Times([], []), _Talk(4)
    for number in range(40):
        said = talk.session(number, ADDED)
        with _Timed(times):
            service.add(said, user_id=f"user {number % USERS}", session_id=f"{label} {number}")
    return times


def _added_natural(service: SyncMemoryService, chat: Chat, label: str) -> _Times:
    times, said = _Times([], []), [message for message in chat.messages if message.text.strip()]
    for first in range(0, len(said) - ADDED + 1, ADDED):
        with _Timed(times):
            service.add(said[first : first + ADDED], user_id=label, session_id=str(first))
    return times


def _recalled(service: SyncMemoryService) -> _Times:
    now = _START + timedelta(days=SESSIONS)
    return _asked(lambda question, user: service.recall(question, now=now, user_id=user).hits)


def _searched(memory: Memory) -> _Times:
    """The search alone that a recall begins with."""
    return _asked(lambda question, user: memory.search(plain_query(question), CANDIDATES, {"user_id": user}))


def _asked(ask: Callable[[str, str], list[Any]]) -> _Times:
    times, talk = _Times([], []), _Talk(5)
    for number in range(-20, QUESTIONS):
        question, kept = f"{talk.text(4, 9).capitalize()}?", times if number >= 0 else _Times([], [])
        with _Timed(kept):
            found = ask(question, f"user {number % USERS}")
        if not found:
            raise RuntimeError("a question found nothing")
    return times
