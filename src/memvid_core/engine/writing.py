"""Writer: turns what a caller gives into commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memvid_core.embedding import Embedder, FittableEmbedder, HashingEmbedder, check_vectors
from memvid_core.engine.committing import NewRecords
from memvid_core.engine.index_place import INDEX_ERRORS
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.indexing import metadata_json
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_ids, check_metadata, check_texts, encode_records, wanted_ids
from memvid_core.errors import (
    Action,
    DimensionError,
    EmbeddingError,
    Hint,
    InvalidInputError,
    MemvidError,
    RecordNotFoundError,
    VectorError,
    storage_errors,
)
from memvid_core.journal import Batch
from memvid_core.model import Record
from memvid_core.system.threads import WriterThread, run_in_thread

__all__ = ["Prepared", "VectorDtype", "Writer"]

VectorDtype = Literal["float16", "float32", "float64", "int8", "none"]
Metadata = Mapping[str, Any]
T = TypeVar("T")
GivenVectors = ArrayLike | Sequence[ArrayLike | None]

_FLOAT16_MAX = 65504.0
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FEWEST, _MOST = 1_000, 100_000  # rows of a memory whose embedder learns by itself
_SAME = 0.02  # how far a stored component may be from the one that was embedded, for rounding to int8


@dataclass
class Prepared:
    """Checked input of one commit. ``ids`` are those to return; the records have each id once, the last one given.

    The records are columns of bytes and strings rather than objects: a hundred thousand of those would set off the
    interpreter's search for cycles again and again, which then visits every vector that the caller holds, too.
    """

    ids: list[str]
    records: NewRecords
    texts: list[str]
    rows: list[bytes]
    """The records in msgpack."""
    places: list[int]
    """For each record, its place in what was given."""
    delete: Sequence[str] = ()
    """Ids to delete in the same commit."""
    base: Embedder | None = None
    """The embedder of the state that the vectors are to be compared with."""
    embedder: Embedder | None = None
    """What makes the vectors: ``base``, or a copy of it that has learned from these texts."""
    model: bytes | None = None
    """What it learned, if the commit is to carry that."""

    @classmethod
    def of(
        cls,
        ids: list[str],
        texts: list[str],
        metadata: list[dict[str, Any]],
        places: list[int],
        delete: Sequence[str] = (),
    ) -> Prepared:
        """From columns of what was given, and the places in them of the records to keep."""
        rows = encode_records(ids, texts, metadata)  # first, for it names what is wrong by its place
        columns = list(map(metadata_json, metadata))
        if len(places) == len(ids):
            return cls(ids, NewRecords(ids, columns, texts), texts, rows, places, delete)
        kept = [texts[i] for i in places]
        records = NewRecords([ids[i] for i in places], [columns[i] for i in places], kept)
        return cls(ids, records, kept, [rows[i] for i in places], places, delete)


class Writer:
    """Adds, replaces and deletes records of one memory; each call is one commit."""

    def __init__(self, indexed: IndexedJournal) -> None:
        self._indexed = indexed
        self._not_due = -1  # so many records were found not to be the embedder's own
        self._kind: VectorDtype = indexed.journal.header.vectors  # type: ignore[assignment]
        assert self._kind in get_args(VectorDtype)

    def add(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None,
        ids: Iterable[str | None] | str | None,
        vectors: GivenVectors | None,
        delete: Iterable[str] | str,
    ) -> list[str]:
        """Write one commit, as :meth:`memvid_core.Memory.add` describes it."""
        prepared = self.prepare(texts, metadata, ids, delete, learn=vectors is None)
        if self._is_given(prepared, vectors):
            return self.store(prepared, self.given(prepared, vectors))
        added = self.store(prepared)
        self._learn_if_due()
        return added

    async def aadd(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None,
        ids: Iterable[str | None] | str | None,
        vectors: GivenVectors | None,
        delete: Iterable[str] | str,
        thread: WriterThread,
    ) -> list[str]:
        """Async :meth:`add`: the embedder's own async method is awaited, and the commit is made in ``thread``."""
        prepare = partial(self.prepare, learn=vectors is None)
        prepared = await run_in_thread(prepare, texts, metadata, ids, delete)
        if self._is_given(prepared, vectors):
            given = await run_in_thread(self.given, prepared, vectors)
            return await self.in_turn(thread, self.store, prepared, given)
        made = await self._needed(prepared.embedder).aembed_documents(prepared.texts)
        added = await self.in_turn(thread, partial(self.store, prepared, embedded=made))
        await self.in_turn(thread, self._learn_if_due)
        return added

    async def in_turn(self, thread: WriterThread, change: Callable[..., T], *arguments: object) -> T:
        """Make a change in the memory's thread, or here and now where the caller is inside ``exclusive()``."""
        return change(*arguments) if self._indexed.mine else await thread.run(change, *arguments)

    @staticmethod
    def _is_given(prepared: Prepared, vectors: GivenVectors | None) -> bool:
        return vectors is not None or not prepared.rows

    def prepare(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None,
        ids: Iterable[str | None] | None,
        delete: Iterable[str] | str = (),
        *,
        learn: bool = False,
    ) -> Prepared:
        """Check texts, ids and metadata, and choose what embeds them; nothing is written."""
        checked = check_texts(texts)
        given_ids = check_ids(ids, len(checked))
        plain = check_metadata(metadata, len(checked))
        last = {record_id: i for i, record_id in enumerate(given_ids)}
        places = list(last.values()) if len(last) < len(given_ids) else list(range(len(given_ids)))
        prepared = Prepared.of(given_ids, checked, plain, places, wanted_ids(delete))
        if prepared.rows:
            self._choose_embedder(prepared, learn=learn)
        return prepared

    def _choose_embedder(self, prepared: Prepared, *, learn: bool) -> None:
        """Take the memory's embedder; of an empty memory, let a copy learn from the first records."""
        snapshot = self._indexed.refresh()
        prepared.base = prepared.embedder = snapshot.embedder
        if snapshot.rows or not isinstance(snapshot.embedder, FittableEmbedder):
            return
        embedder = snapshot.embedder
        if learn and not embedder.fitted:
            embedder = embedder.clone()
            embedder.fit(prepared.texts)
        if embedder.fitted:
            prepared.embedder, prepared.model = embedder, embedder.dump()

    def given(self, prepared: Prepared, vectors: GivenVectors | None) -> list[Any] | NDArray[Any]:
        """Return the caller's vectors, one a record, None where a record is to have none."""
        if not prepared.rows:
            return []
        if not isinstance(vectors, Iterable):
            raise VectorError(f"vectors must be one a text, not of type {type(vectors).__name__}")
        rows = vectors if isinstance(vectors, np.ndarray) else list(vectors)
        if len(rows) != len(prepared.ids):
            raise InvalidInputError(f"vectors must be as many as texts: {len(rows)} vectors, {len(prepared.ids)} texts")
        if len(prepared.places) == len(prepared.ids):
            return rows
        return rows[prepared.places] if isinstance(rows, np.ndarray) else [rows[i] for i in prepared.places]

    def _needed(self, embedder: Embedder | None) -> Embedder:
        """Return the embedder.

        Raises:
            EmbeddingError: There is none.
        """
        if embedder is None:
            recorded = self._indexed.journal.header.embedder
            raise EmbeddingError(
                f"this memory was written by {recorded!r} and opened without it",
                hint=Hint(Action.GIVE_EMBEDDER, {"embedder": recorded}),
            )
        return embedder

    def store(self, prepared: Prepared, given: Any = None, *, embedded: NDArray[Any] | None = None) -> list[str]:
        """Write the commit; return the ids.

        Args:
            prepared: What :meth:`prepare` made.
            given: The caller's vectors, one a record; without them the texts are embedded.
            embedded: What ``prepared.embedder`` made of the texts, if that has been done already.

        Raises:
            EmbeddingError: There is no embedder, or it failed.
            VectorError: NaN, infinite, or too large for float16.
            DimensionError: Not of the memory's dimension.
            LockedError: Others were writing for longer than the memory's timeout.
            StorageError: The system refused; nothing was stored.
        """
        return self._mended(lambda: self._store(prepared, given, embedded))

    def _mended(self, change: Callable[[], T]) -> T:
        """Make a change; if the index turns out to be damaged, before anything was written, make it anew first."""
        with storage_errors():
            try:
                return change()
            except INDEX_ERRORS as exc:
                self._indexed.heal(self._indexed.snapshot, exc)
                return change()

    def _store(self, prepared: Prepared, given: Any, embedded: NDArray[Any] | None) -> list[str]:
        made = given is None
        if made and embedded is None:
            embedded = self._needed(prepared.embedder).embed_documents(prepared.texts)
        matrix, places = self._matrix(prepared, embedded if made else given, given=not made)
        indexed = self._indexed
        with indexed.writing() as snapshot:
            if prepared.rows and self._outdated(prepared, snapshot):
                prepared.base = prepared.embedder = snapshot.embedder
                prepared.model = None
                if made:
                    embedded = self._needed(snapshot.embedder).embed_documents(prepared.texts)
                    matrix, places = self._matrix(prepared, embedded, given=False)
            self._check_dimension(matrix)
            gone = dict.fromkeys([*prepared.records.ids, *prepared.delete])
            replaced = indexed.index.catalog.live_rows(list(gone), snapshot.commit)
            if not prepared.rows and not replaced:
                return []
            stored, unstored = (None, matrix) if self._kind == "none" else (matrix, None)
            batch = Batch(prepared.rows, stored, places, list(replaced.values()), prepared.model)
            indexed.commit(prepared.records, batch, unstored, prepared.embedder)
        return prepared.ids

    @staticmethod
    def _outdated(prepared: Prepared, snapshot: Snapshot) -> bool:
        """Whether others have written since the vectors were made, and theirs cannot be compared with these."""
        return snapshot.embedder is not prepared.base or bool(prepared.model is not None and snapshot.rows)

    def _check_dimension(self, matrix: NDArray[Any] | None) -> None:
        expected = self._indexed.dimension
        if matrix is not None and expected is not None and matrix.shape[1] != expected:
            raise DimensionError(
                f"vectors have {matrix.shape[1]} components, and this memory's have {expected}; "
                "use the embedder that wrote it"
            )

    def _matrix(
        self, prepared: Prepared, vectors: Any, *, given: bool
    ) -> tuple[NDArray[Any] | None, NDArray[np.int64]]:
        """The vectors in the dtype they are stored in, and the places of the records that have one."""
        count = len(prepared.rows)
        places = np.arange(count, dtype=np.int64)
        if not isinstance(vectors, np.ndarray) and any(vector is None for vector in vectors):
            places = np.array([i for i, vector in enumerate(vectors) if vector is not None], np.int64)
            vectors = [vector for vector in vectors if vector is not None]
        if not len(places):
            return None, places
        source = "what was given" if given else "the embedder"
        dtype = None if self._kind == "float64" else np.float32
        matrix = check_vectors(vectors, len(places), dtype=dtype, given=given, source=source)
        if not len(matrix):  # an embedder that returned nothing: the records are kept without vectors
            return None, places[:0]
        by_distance = self._indexed.journal.header.metric != "cosine"
        if self._kind == "float64" and by_distance and float(np.abs(matrix).max()) > _FLOAT32_MAX:
            raise VectorError("a component is larger than float32 holds (3.4e38), in which distances are searched")
        if self._kind == "float16":
            if float(np.abs(matrix).max()) > _FLOAT16_MAX:
                raise VectorError(
                    "a component is larger than float16 holds (65504); create the memory with vector_dtype='float32'"
                )
            return matrix.astype(np.float16), places
        return matrix, places

    def _learn_if_due(self) -> None:
        """Let the embedder learn once there is something to learn from; it is not due again if it fails."""
        snapshot = self._indexed.snapshot
        if not _FEWEST <= snapshot.rows <= _MOST or not isinstance(snapshot.embedder, HashingEmbedder):
            return
        if self._indexed.journal.header.codec != "pcm" or not self._is_due(
            snapshot
        ):  # pictures of symbols cost too much
            return
        with suppress(MemvidError), self._indexed.writing() as snapshot:
            if self._is_due(snapshot):
                self._learn(snapshot)

    def _is_due(self, snapshot: Snapshot) -> bool:
        embedder = snapshot.embedder
        assert isinstance(embedder, HashingEmbedder)
        number = self._indexed.index.catalog.model_number(snapshot.commit)
        learned = None if number is None else self._indexed.index.catalog.commit(number)
        records = int(np.count_nonzero(snapshot.dense))
        due = embedder.should_learn(records, 0 if learned is None else learned.added)
        return due and records != self._not_due

    def _learn(self, snapshot: Snapshot) -> None:
        """Fit a copy of the embedder to the records that it embedded, and write those again with their new vectors."""
        base = snapshot.embedder
        assert isinstance(base, FittableEmbedder)
        rows = np.flatnonzero(snapshot.dense)
        self._not_due = len(rows)
        records = [record for row, record in snapshot.epoch.records(snapshot) if snapshot.dense[row]]
        texts = [record.text for record in records]
        stored = snapshot.epoch.vectors(snapshot, rows.tolist())
        made = base.embed_documents(texts)
        if not all(np.allclose(made[i], stored[row], atol=_SAME) for i, row in enumerate(rows.tolist())):
            return  # some vectors were given, and are not ours to change
        embedder = base.clone()
        embedder.fit(texts)
        if embedder.fitted:
            self._write_again(records, embedder, snapshot)

    def refit(self) -> int:
        """Fit a copy of the embedder to every record, and write all of them again with their new vectors."""
        return self._mended(self._refit)

    def _refit(self) -> int:
        with self._indexed.writing() as snapshot:
            if not isinstance(snapshot.embedder, FittableEmbedder):
                raise InvalidInputError("this memory's embedder does not learn from texts; only the built-in one does")
            records = [record for _, record in snapshot.epoch.records(snapshot)]
            if not records:
                return 0
            embedder = snapshot.embedder.clone()
            embedder.fit([record.text for record in records])
            self._write_again(records, embedder, snapshot)
            return len(records)

    def _write_again(self, records: list[Record], embedder: FittableEmbedder, snapshot: Snapshot) -> None:
        """Write records again, in one commit, with the vectors of an embedder that has learned."""
        prepared = Prepared.of(
            [record.id for record in records],
            [record.text for record in records],
            [record.metadata for record in records],
            list(range(len(records))),
        )
        matrix, places = self._matrix(prepared, embedder.embed_documents(prepared.texts), given=False)
        replaced = self._indexed.index.catalog.live_rows(prepared.records.ids, snapshot.commit)
        stored, unstored = (None, matrix) if self._kind == "none" else (matrix, None)
        model = embedder.dump() if embedder.fitted else None
        batch = Batch(prepared.rows, stored, places, list(replaced.values()), model)
        self._indexed.commit(prepared.records, batch, unstored, embedder)

    def update(self, record_id: str, text: str | None, metadata: Metadata | None) -> None:
        """Write a record again, with another text, other metadata, or both."""
        self._mended(lambda: self._update(record_id, text, metadata))

    def _update(self, record_id: str, text: str | None, metadata: Metadata | None) -> None:
        base = self._indexed.refresh().embedder
        embedded = None if text is None else self._needed(base).embed_documents(check_texts(text))
        with self._indexed.writing() as snapshot:
            row = self._indexed.index.catalog.live_rows([record_id], snapshot.commit).get(record_id)
            if row is None:
                raise RecordNotFoundError(f"no record has the id {record_id!r}")
            record = snapshot.epoch.record(row)
            kept = record.metadata if metadata is None else metadata
            prepared = self.prepare(record.text if text is None else text, kept, record_id)
            if text is None:
                self.store(prepared, [snapshot.epoch.vectors(snapshot, [row]).get(row)])
            else:
                self.store(prepared, embedded=embedded if snapshot.embedder is base else None)

    def delete(self, select: Callable[[Snapshot], Sequence[int]]) -> int:
        """Delete the live rows that ``select`` names in the newest snapshot; return how many there were."""
        return self._mended(lambda: self._delete(select))

    def _delete(self, select: Callable[[Snapshot], Sequence[int]]) -> int:
        with self._indexed.writing() as snapshot:
            rows = list(dict.fromkeys(select(snapshot)))
            if rows:
                self._indexed.commit(NewRecords((), (), ()), Batch(tombstones=rows), None, None)
        return len(rows)
