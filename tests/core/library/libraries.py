"""Records for libraries, and libraries beside one memory of the same records."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memvid_core import Hit, Library, Memory, Record

ENGLISH = [
    f"{a}{b}{c}" for a in ("b", "d", "f", "gr", "k", "pl") for b in ("a", "e", "o") for c in ("rim", "tas", "lend")
]
KOREAN = [f"{a}{b}{c}" for a in "대한민국서울" for b in "가나다라" for c in ("마을", "사람")]
TOPICS = ("wing", "engine", "heat", "shock", "boundary")


def records(count: int, seed: int = 5) -> list[Record]:
    """Texts of different lengths in two languages, some equal, with metadata."""
    rng = random.Random(seed)
    made: list[Record] = []
    for number in range(count):
        topic = rng.choice(TOPICS)
        words = rng.choices(ENGLISH + KOREAN, k=rng.randrange(3, 60)) + [topic] * rng.randrange(3)
        rng.shuffle(words)
        text = made[number // 2].text if number % 17 == 16 else " ".join(words) + "."
        year = 1990 + rng.randrange(30)
        made.append(Record(f"r{number}", text, {"topic": topic, "year": year, "at": f"{year}-05-01", "n": number}))
    return made


def by_topic(some: Sequence[Record]) -> list[Record]:
    """The same records, those of one topic together."""
    return sorted(some, key=lambda record: str(record.metadata["topic"]))


@contextmanager
def pair(
    tmp_path: Path, some: Sequence[Record], shards: int, *, vectors: Sequence[Any] | None = None, **options: Any
) -> Iterator[tuple[Memory, Library]]:
    """One memory and a library with the same records in the same order."""
    embedder = options.pop("embedder", None)
    rows = -(-len(some) // shards)
    with (
        Memory.create(tmp_path / "one.mp4", embedder, **options) as memory,
        Library.create(tmp_path / "library", embedder, **options) as library,
    ):
        memory.add([r.text for r in some], [r.metadata for r in some], [r.id for r in some], vectors)
        given = some if vectors is None else list(zip(some, vectors, strict=True))
        assert library.build(given, rows_per_shard=rows).shards == shards
        yield memory, library


def plain(hits: Sequence[Hit]) -> list[tuple[Any, ...]]:
    """Everything of hits that can be compared, vectors as lists."""
    return [
        (
            *(h.record, h.score, h.rank, h.cosine, h.distance, h.relevance, h.explain, h.passage),
            None if h.vector is None else h.vector.tolist(),
        )
        for h in hits
    ]
