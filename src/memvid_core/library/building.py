"""Building: records become sealed shards, each a memory of its own; nothing counts until a manifest names them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final

from memvid_core.engine.shard import index_words, seal_of, word_totals
from memvid_core.engine.validation import check_metadata, check_texts
from memvid_core.errors import Action, EmbeddingError, Hint, InvalidInputError, VectorError, storage_errors
from memvid_core.library.claims import CLAIMS
from memvid_core.library.manifest import Description, ShardEntry
from memvid_core.library.objects import DESCRIPTION, Objects, digest_of_file
from memvid_core.library.partitions import Summaries
from memvid_core.memory import Memory, session_of
from memvid_core.model import GIVEN, Embedder, Index, Record, is_fittable
from memvid_core.system.permissions import OWNER_WRITES, pass_mode_on

__all__ = ["Built", "Given", "ShardBuilder", "claimed", "combined", "fitted_embedder"]

Given = Record | tuple[Record, Any]
"""A record, or a record with its vector (d,) or None."""

_BATCH_ROWS: Final = 16_384
_BATCH_CHARACTERS: Final = 1 << 24


@dataclass
class Built:
    """Shards that are sealed and not committed yet.

    Attributes:
        entries: Their entries for the manifest.
        dimension: The dimension of the vectors; None if no record has one.
        generated: Whether all ids are new, so that no record replaces another.
    """

    entries: list[ShardEntry] = field(default_factory=list)
    dimension: int | None = None
    generated: bool = False

    def discard(self, objects: Objects) -> None:
        """Delete the files, which no manifest names."""
        for entry in self.entries:
            objects.remove_memory(entry.file)


def combined(parts: Iterable[Built]) -> Built:
    """Return several builds as one.

    Raises:
        VectorError: Their vectors have different dimensions.
    """
    parts = list(parts)
    dimensions = {part.dimension for part in parts if part.dimension is not None}
    if len(dimensions) > 1:
        raise VectorError(f"the vectors have different dimensions: {sorted(dimensions)}")
    return Built([entry for part in parts for entry in part.entries], next(iter(dimensions), None))


@contextmanager
def claimed(objects: Objects) -> Iterator[str]:
    """Yield the first half of the names of shards that no vacuum deletes during the block."""
    claim = uuid.uuid4().hex[:16]
    with objects.claim(f"{CLAIMS}/{claim}"):
        yield claim


class ShardBuilder:
    """Write records to shards of a library.

    Args:
        objects: The library.
        description: Its description.
        claim: The first half of the names of the shards; see :func:`claimed`.
        embedder: The embedder, in the state of the library's model; None if vectors are given.
        rows_per_shard: The number of records of a shard, the last one excepted.
        threads: The number of shards that are indexed and sealed while the next one is written.
        index: How vectors will be searched: the lists of an inverted file are made, too.
    """

    def __init__(
        self,
        objects: Objects,
        description: Description,
        claim: str,
        embedder: Embedder | None,
        rows_per_shard: int,
        threads: int = 1,
        index: Index = "auto",
    ) -> None:
        self._objects, self._description, self._claim, self._embedder = objects, description, claim, embedder
        self._rows, self._threads, self._index = rows_per_shard, threads, index

    def build(self, records: Iterable[Given]) -> Built:
        """Write all records; return the sealed shards, in the order of the records.

        Raises:
            InvalidInputError: A record is invalid.
        """
        pending: list[Future[tuple[ShardEntry, int | None]]] = []
        left = iter(records)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="memvid-seal") as pool:
            try:
                for first in left:
                    if len(pending) > self._threads:  # no more unsealed shards than threads that seal them
                        pending[len(pending) - self._threads - 1].result()
                    shard = _Shard(self._objects, self._description, self._claim, self._embedder, self._index)
                    shard.write(_batches(chain([first], islice(left, self._rows - 1))))
                    pending.append(pool.submit(shard.sealed))
                found = [future.result() for future in pending]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                for future in pending:
                    if not future.cancelled() and future.exception() is None:
                        self._objects.remove_memory(future.result()[0].file)
                raise
        return combined([Built([entry], dimension) for entry, dimension in found])


class _Shard:
    """A shard that is being written."""

    def __init__(
        self, objects: Objects, description: Description, claim: str, embedder: Embedder | None, index: Index
    ) -> None:
        self._name = claim + uuid.uuid4().hex[:16]
        self._embedder, self._recorded = embedder, description.embedder
        self._summaries = Summaries(description.partition_by)
        self._objects, self.file = objects, f"shards/{self._name}.mp4"
        self._path = objects.path(self.file)
        objects.prepare_memory(self.file)
        vectors: Any = description.vectors
        metric: Any = description.metric
        given = GIVEN if embedder is None else embedder
        self._memory = Memory.create(self._path, given, vector_dtype=vectors, metric=metric, index=index)
        if os.name != "nt":  # before it has records: who may not read the library must not read them meanwhile
            pass_mode_on(objects.path(DESCRIPTION), self._path, least=OWNER_WRITES)

    def write(self, batches: Iterable[list[Given]]) -> None:
        try:
            for batch in batches:
                self._add(batch)
        except BaseException:
            self.discard()
            raise

    def _add(self, batch: list[Given]) -> None:
        if any(isinstance(item, tuple) and len(item) != 2 for item in batch):
            raise InvalidInputError("a tuple in a build is a Record and its vector, and of two")
        records = [item[0] if isinstance(item, tuple) else item for item in batch]
        kinds = {type(record) for record in records} - {Record}
        if kinds:
            raise InvalidInputError(f"a library is built of Record objects, not of {kinds.pop().__name__}")
        texts = check_texts([record.text for record in records])  # before they are embedded, which may cost
        metadata = check_metadata([record.metadata for record in records], len(records))
        vectors: Any = [item[1] if isinstance(item, tuple) else None for item in batch]
        places = [place for place, item in enumerate(batch) if not isinstance(item, tuple)]
        if places and self._embedder is None and self._recorded != GIVEN:
            raise EmbeddingError(
                f"this library was written by {self._recorded!r} and opened without it",
                hint=Hint(Action.GIVE_EMBEDDER, {"embedder": self._recorded}),
            )
        if self._embedder is not None:
            made: Any = self._embedder.embed_documents([texts[place] for place in places]) if places else []
            if len(places) == len(batch):
                vectors = made
            else:
                for place, vector in zip(places, made, strict=True):
                    vectors[place] = vector
        self._memory.add(texts, metadata, [record.id for record in records], vectors)
        self._summaries.add(metadata)

    def sealed(self) -> tuple[ShardEntry, int | None]:
        """Index the words, close the memory, and return its entry and the dimension of its vectors."""
        try:
            session = session_of(self._memory)
            index_words(session)
            seal, (live, tokens), dimension = seal_of(session), word_totals(session), self._memory.info().dimension
            has_vectors = bool(session.snapshot().dense.any())
            self._memory.close()  # an inverted file gets its lists
            with storage_errors():
                size = self._path.stat().st_size
            self._objects.publish(self.file)
            entry = ShardEntry(
                self._name, *seal, live, tokens, size, digest_of_file(self._path), self._summaries.found()
            )
        except BaseException:
            self.discard()
            raise
        return entry, dimension if has_vectors else None

    def discard(self) -> None:
        self._memory.close()
        self._objects.remove_memory(self.file)


def _batches(records: Iterator[Given]) -> Iterator[list[Given]]:
    """Yield the records of one commit each."""
    batch: list[Given] = []
    characters = 0
    for item in records:
        given: object = item[0] if isinstance(item, tuple) and item else item
        batch.append(item)
        text: object = getattr(given, "text", None)
        characters += len(text) if isinstance(text, str) else 0  # others are refused when they are added
        if len(batch) == _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def fitted_embedder(
    embedder: Embedder | None, records: Iterable[Given], sample: int
) -> tuple[Embedder | None, Iterable[Given]]:
    """Fit a copy of an embedder that learns to a sample of records.

    Args:
        embedder: The embedder.
        records: The records; a sequence is sampled evenly, otherwise the first ones are taken.
        sample: The number of records.

    Returns:
        The embedder, and all records.
    """
    if not is_fittable(embedder) or embedder.fitted:
        return embedder, records
    if isinstance(records, Sequence):
        some, rest = records[:: max(1, -(-len(records) // sample))], iter(records)
    else:
        left = iter(records)
        some = list(islice(left, sample))
        rest = chain(some, left)
    given: list[object] = [item[0] if isinstance(item, tuple) and item else item for item in some]
    texts = [record.text for record in given if isinstance(record, Record)]
    fitted = embedder.clone()
    fitted.fit(texts)
    return (fitted if fitted.fitted else embedder), rest
