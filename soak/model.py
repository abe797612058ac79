"""The expected contents of a memory: texts, vectors and metadata derived from an id and a version, and changes."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COLORS",
    "DIMENSION",
    "Change",
    "State",
    "WrongAnswer",
    "check",
    "color_of",
    "embed",
    "metadata_of",
    "put",
    "random_change",
    "text_of",
    "unique_word",
    "vector_of",
    "versions_in",
]

DIMENSION = 16
COLORS = ("amber", "blue", "coral", "green", "violet")
_FILLER = ("wing", "motor", "river", "paper", "stone", "cloud", "lamp", "field")

State = dict[str, int]
"""The version of each live record by its id, in the order the records were added."""


class WrongAnswer(AssertionError):
    """Report that a memory answered, kept or lost something wrongly."""


def check(holds: object, message: str) -> None:
    """Check that ``holds`` is true.

    Raises:
        WrongAnswer: It does not hold; ``message`` says what was found.
    """
    if not holds:
        raise WrongAnswer(message)


class Change(NamedTuple):
    """Describe one commit: records put, by id with their version, and ids deleted."""

    put: dict[str, int]
    gone: list[str]

    def apply(self, state: State) -> State:
        """Return the state after the change; ``state`` itself is unchanged."""
        after = dict(state)
        for record_id in self.gone:
            after.pop(record_id, None)
        for record_id, version in self.put.items():
            after.pop(record_id, None)  # a replaced record moves to the end
            after[record_id] = version
        return after

    def to_json(self) -> str:
        """Return the change as one line of JSON."""
        return json.dumps([self.put, self.gone])

    @classmethod
    def from_json(cls, line: str) -> Change:
        """Parse the change that :meth:`to_json` wrote."""
        return cls(*json.loads(line))


def _digest(record_id: str, version: int) -> bytes:
    return hashlib.blake2b(f"{record_id}@{version}".encode(), digest_size=16).digest()


def unique_word(record_id: str, version: int) -> str:
    """Return a word that no other record or version has."""
    return "zq" + "".join(chr(ord("a") + byte % 26) for byte in _digest(record_id, version)[:10]) + "x"


def color_of(record_id: str, version: int) -> str:
    """Return the color that the text names."""
    return COLORS[_digest(record_id, version)[0] % len(COLORS)]


def text_of(record_id: str, version: int) -> str:
    """Return a text of ten to some hundreds of words, the same at each call."""
    digest = _digest(record_id, version)
    words = [_FILLER[byte % len(_FILLER)] for byte in digest]
    repeated = words * (1 + digest[1] % 4) if digest[2] % 8 else words * 40
    named = f"{record_id}@{version} {unique_word(record_id, version)} {color_of(record_id, version)}"
    return " ".join([named, *repeated])


def metadata_of(record_id: str, version: int) -> dict[str, Any]:
    """Return the metadata: version, one of ten groups, the owner with which the id begins, a nested value."""
    digest = _digest(record_id, version)
    return {"version": version, "group": digest[3] % 10, "owner": record_id.split("-")[0], "deep": {"list": [1, None]}}


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return a direction for each text, equal for equal texts and different for others."""
    rows = [np.frombuffer(hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest(), np.int8) for text in texts]
    return np.array(rows, np.float32).reshape(-1, DIMENSION) + np.float32(0.5)


def vector_of(record_id: str, version: int) -> NDArray[np.float32]:
    """Return the vector (16,) that :func:`embed` computes for the text."""
    vector: NDArray[np.float32] = embed([text_of(record_id, version)])[0]
    return vector


def put(memory: Any, records: dict[str, int], *, delete: Iterable[str] = ()) -> None:
    """Add records as one commit, with given vectors or with the memory's embedder."""
    texts = [text_of(*item) for item in records.items()]
    metadata = [metadata_of(*item) for item in records.items()]
    vectors = embed(texts) if memory.embedder is None else None
    memory.add(texts, metadata, list(records), vectors, delete=delete)


def versions_in(records: Iterable[Any]) -> State:
    """Return the state of the given records.

    Raises:
        WrongAnswer: A text or its metadata is not what was written.
    """
    found: State = {}
    for record in records:
        version = record.metadata.get("version")
        check(isinstance(version, int), f"{record.id}: metadata {record.metadata!r}")
        check(record.id not in found, f"{record.id} is there twice")
        check(record.text == text_of(record.id, version), f"{record.id}@{version}: text {record.text[:60]!r}")
        check(record.metadata == metadata_of(record.id, version), f"{record.id}: metadata {record.metadata!r}")
        found[record.id] = version
    return found


def random_change(rng: random.Random, state: State, ids: int, version: int) -> Change:
    """Return a typical change: one record, a few, or a deletion, over ``ids`` different ids."""
    kind = rng.random()
    if state and kind < 0.2:
        return Change({}, rng.sample(list(state), min(len(state), rng.choice([1, 1, 3]))))
    count = rng.choice([1, 1, 1, 2, 5, 20])
    chosen = rng.sample(range(ids), min(count, ids))
    return Change({f"r-{number}": version for number in chosen}, [])
