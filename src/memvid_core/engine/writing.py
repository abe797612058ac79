"""Writer: checks and embeds new records and changes, and commits them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memvid_core.embedding import HashingEmbedder, check_vectors
from memvid_core.engine.committing import NewRecords
from memvid_core.engine.film import Picture, pictures_at, pictures_of
from memvid_core.engine.index_place import INDEX_ERRORS, index_errors
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.indexing import metadata_columns
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_ids, check_metadata, check_texts, encode_records, wanted_ids
from memvid_core.errors import (
    Action,
    ClosedError,
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
from memvid_core.journal.frames import as_stored
from memvid_core.model import Embedder, FittableEmbedder, Record, VectorDtype, is_fittable

__all__ = ["GivenVectors", "Metadata", "Writer"]

Metadata = Mapping[str, Any]
T = TypeVar("T")
Matrix = NDArray[Any]
GivenVectors = ArrayLike | Sequence[ArrayLike | None]

_FLOAT16_MAX = 65504.0
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FEWEST, _MOST = 1_000, 100_000  # rows of a memory whose embedder learns automatically
_REBUILDS = 3  # of the index, before a change is given up
_SAME = 0.02  # the largest difference of a stored component by rounding to int8


@dataclass
class AddRequest:
    """The checked input of one commit. ``ids`` are returned; of records with the same id, only the last one is kept.

    Records are columns of bytes and strings, not objects: a hundred thousand objects would trigger the garbage
    collector repeatedly, which also visits every vector of the caller.
    """

    ids: list[str]
    records: NewRecords
    texts: list[str]
    encoded: list[bytes]
    """The records in msgpack."""
    places: list[int]
    """The place of each record in the given texts."""
    delete: Sequence[str] = ()
    """Ids to delete in the same commit."""
    given: Sequence[Any] | Matrix | None = None
    """The given vectors, one per record, None for a record without a vector; None: the texts must be embedded."""
    base: Embedder | None = None
    """The embedder of the memory's existing vectors."""
    embedder: Embedder | None = None
    """The embedder of the new vectors: ``base``, or a copy of it that has learned from these texts."""
    model: bytes | None = None
    """The state of ``embedder``, if the commit must store it."""
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    """Slices that show records in the film, by the places of the records."""

    @property
    def to_embed(self) -> list[str]:
        """The texts to embed before the commit."""
        return self.texts if self.given is None else []

    @classmethod
    def of(
        cls,
        ids: list[str],
        texts: list[str],
        metadata: list[dict[str, Any]],
        places: list[int],
        delete: Sequence[str] = (),
    ) -> AddRequest:
        """Make a request from columns of given records, and the places of the records to keep."""
        encoded = encode_records(ids, texts, metadata)  # first, because its errors name the place of a record
        columns = metadata_columns(metadata)
        if len(places) == len(ids):
            return cls(ids, NewRecords(ids, columns, texts), texts, encoded, places, delete)
        kept = [texts[i] for i in places]
        records = NewRecords([ids[i] for i in places], [columns[i] for i in places], kept)
        return cls(ids, records, kept, [encoded[i] for i in places], places, delete)


@dataclass(frozen=True)
class UpdateRequest:
    """A checked change to one record; None keeps the text or the metadata."""

    record_id: str
    text: str | None
    metadata: Metadata | None
    embedder: Embedder | None
    """The embedder of the text: the newest one at the time of the call."""

    @property
    def to_embed(self) -> list[str]:
        """The texts to embed before the commit."""
        return [] if self.text is None else [self.text]


class Writer:
    """Add, replace and delete records of one memory; each call is one commit.

    An add or an update has three steps: :meth:`prepare` or :meth:`prepare_update`, then :meth:`embed` or
    :meth:`aembed`, which is slow and needs no lock, then :meth:`commit`.
    """

    def __init__(self, indexed: IndexedJournal) -> None:
        self._indexed = indexed
        self._not_due = -1  # number of records when some vectors were found not to be the embedder's
        self._kind: VectorDtype = indexed.journal.header.vectors  # type: ignore[assignment]
        assert self._kind in get_args(VectorDtype)

    def prepare(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None,
        ids: Iterable[str | None] | str | None,
        vectors: GivenVectors | None = None,
        delete: Iterable[str] | str = (),
        pictures: Iterable[Picture | None] | Picture | None = None,
    ) -> AddRequest:
        """Check the arguments of :meth:`memvid_core.Memory.add`, and choose the embedder; nothing is written.

        Raises:
            InvalidInputError: Lengths differ, or a value cannot be stored.
        """
        request = self._checked(texts, metadata, ids, delete)
        if not request.records.ids:
            request.given = []
            return request
        self.mended(lambda: self._choose_embedder(request, learn=vectors is None))
        if vectors is not None:
            request.given = self._given(request, vectors)
        request.pictures = pictures_of(pictures, len(request.ids), request.places, self._indexed.journal)
        return request

    @staticmethod
    def _checked(
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None,
        ids: Iterable[str | None] | str | None,
        delete: Iterable[str] | str,
    ) -> AddRequest:
        checked = check_texts(texts)
        given_ids = check_ids(ids, len(checked))
        plain = check_metadata(metadata, len(checked))
        last = {record_id: i for i, record_id in enumerate(given_ids)}
        places = list(last.values()) if len(last) < len(given_ids) else list(range(len(given_ids)))
        return AddRequest.of(given_ids, checked, plain, places, wanted_ids(delete))

    def prepare_update(self, record_id: str, text: str | None, metadata: Metadata | None) -> UpdateRequest:
        """Check the arguments of :meth:`memvid_core.Memory.update`; nothing is written.

        Raises:
            RecordNotFoundError: No live record has the id.
            InvalidInputError: A value cannot be stored.
        """
        snapshot = self.mended(lambda: self._holding(record_id))
        if text is not None:
            [text] = check_texts([text])
        if metadata is not None:
            [metadata] = check_metadata([metadata], 1)
        return UpdateRequest(record_id, text, metadata, snapshot.embedder)

    def _holding(self, record_id: str) -> Snapshot:
        """Return the newest snapshot, which has a record of that id; most mistakes then cost no embedding."""
        snapshot = self._indexed.refresh()
        self._row_of(record_id, snapshot)
        return snapshot

    @staticmethod
    def _row_of(record_id: str, snapshot: Snapshot) -> int:
        [wanted] = wanted_ids([record_id])
        row = snapshot.rows_of([wanted]).get(wanted)
        if row is None:
            raise RecordNotFoundError(f"no record has the id {record_id!r}")
        return row

    def embed(self, request: AddRequest | UpdateRequest) -> Matrix | None:
        """Embed the texts of a request; return None if there are none.

        Raises:
            EmbeddingError: The memory was opened without an embedder, or the embedder failed.
        """
        texts = request.to_embed
        return self._needed(request.embedder).embed_documents(texts) if texts else None

    async def aembed(self, request: AddRequest | UpdateRequest) -> Matrix | None:
        """Embed with the async method of the embedder; async :meth:`embed`."""
        texts = request.to_embed
        return await self._needed(request.embedder).aembed_documents(texts) if texts else None

    def commit(self, request: AddRequest | UpdateRequest, embedded: Matrix | None) -> list[str]:
        """Write the commit of a request; return its ids.

        Args:
            request: The result of :meth:`prepare` or :meth:`prepare_update`.
            embedded: The result of :meth:`embed`. If the embedder was fitted meanwhile, the texts are embedded again.

        Raises:
            VectorError: A component is NaN, infinite, or too large for float16.
            DimensionError: The dimension differs from that of the memory.
            RecordNotFoundError: The record to update has been deleted.
            LockedError: Others held the lock for the whole timeout of the memory.
            StorageError: The write failed; nothing was stored.
        """
        if isinstance(request, UpdateRequest):
            return self.mended(lambda: self._update(request, embedded))
        ids = self.mended(lambda: self._store(request, embedded))
        if embedded is not None:
            self._learn_if_due()
        return ids

    def _choose_embedder(self, request: AddRequest, *, learn: bool) -> None:
        """Choose the memory's embedder; for an empty memory, fit a copy of it to the first records."""
        snapshot = self._indexed.refresh()
        request.base = request.embedder = snapshot.embedder
        if snapshot.rows or not is_fittable(snapshot.embedder):
            return
        embedder = snapshot.embedder
        if learn and not embedder.fitted:
            embedder = embedder.clone()
            embedder.fit(request.texts)
        if embedder.fitted:
            request.embedder, request.model = embedder, embedder.dump()

    @staticmethod
    def _given(request: AddRequest, vectors: GivenVectors) -> Sequence[Any] | Matrix:
        """Return the given vectors, one per record, None for a record without a vector."""
        if not isinstance(vectors, Iterable):
            raise VectorError(f"vectors must be one per text, not of type {type(vectors).__name__}")
        rows = vectors if isinstance(vectors, np.ndarray) else list(vectors)
        if len(rows) != len(request.ids):
            raise InvalidInputError(f"vectors must be as many as texts: {len(rows)} vectors, {len(request.ids)} texts")
        if len(request.places) == len(request.ids):
            return rows
        return rows[request.places] if isinstance(rows, np.ndarray) else [rows[i] for i in request.places]

    def _needed(self, embedder: Embedder | None) -> Embedder:
        """Return the embedder after checking that there is one.

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

    def mended(self, change: Callable[[], T]) -> T:
        """Run a change; if the index is damaged, which shows before any write, rebuild it and run it again.

        Raises:
            StorageError: The index fails whenever it was rebuilt, for example because others delete it.
        """
        with index_errors(), storage_errors():
            for _ in range(_REBUILDS):
                before = self._indexed.snapshot
                try:
                    return change()
                except (*INDEX_ERRORS, ClosedError) as exc:
                    self._indexed.heal(before, exc)
            return change()

    def _store(self, request: AddRequest, embedded: Matrix | None) -> list[str]:
        matrix, places = self._stored_vectors(request, embedded)
        indexed = self._indexed
        with indexed.writing() as snapshot:
            if request.encoded and self._outdated(request, snapshot):
                request.base = request.embedder = snapshot.embedder
                request.model = None
                if request.given is None:
                    matrix, places = self._stored_vectors(request, self.embed(request))
            self._check_dimension(matrix)
            gone = dict.fromkeys([*request.records.ids, *request.delete])
            replaced = snapshot.rows_of(list(gone))
            if not request.encoded and not replaced:
                return []
            stored, unstored = (None, matrix) if self._kind == "none" else (matrix, None)
            gone_rows = list(replaced.values())
            batch = Batch(request.encoded, stored, places, gone_rows, request.model, request.pictures)
            indexed.commit(request.records, batch, unstored, request.embedder)
        return request.ids

    @staticmethod
    def _outdated(request: AddRequest, snapshot: Snapshot) -> bool:
        """Return whether another commit has fitted the embedder, so that the vectors are not comparable."""
        return snapshot.embedder is not request.base or bool(request.model is not None and snapshot.rows)

    def _check_dimension(self, matrix: NDArray[Any] | None) -> None:
        expected = self._indexed.dimension
        if matrix is not None and expected is not None and matrix.shape[1] != expected:
            raise DimensionError(
                f"vectors have {matrix.shape[1]} components, and this memory's have {expected}; "
                "use the embedder that wrote it"
            )

    def _stored_vectors(self, request: AddRequest, embedded: Matrix | None) -> tuple[Matrix | None, NDArray[np.int64]]:
        """Return the vectors as the memory stores them, and the places of the records that have one."""
        given = request.given is not None
        vectors: Any = request.given if given else embedded
        places = np.arange(len(request.encoded), dtype=np.int64)
        if not isinstance(vectors, np.ndarray) and any(vector is None for vector in vectors):
            places = np.array([i for i, vector in enumerate(vectors) if vector is not None], np.int64)
            vectors = [vector for vector in vectors if vector is not None]
        if not len(places):
            return None, places
        source = "what was given" if given else "the embedder"
        dtype = None if self._kind == "float64" else np.float32
        matrix = check_vectors(vectors, len(places), dtype=dtype, given=given, source=source)
        if not len(matrix):  # the embedder returned nothing: the records have no vectors
            return None, places[:0]
        by_distance = self._indexed.journal.header.metric != "cosine"
        if self._kind == "float64" and by_distance and _largest(matrix) > _FLOAT32_MAX:
            raise VectorError("a component is larger than float32 holds (3.4e38), in which distances are searched")
        if self._kind == "float16" and _largest(matrix) > _FLOAT16_MAX:
            raise VectorError(
                "a component is larger than float16 holds (65504); create the memory with vector_dtype='float32'"
            )
        return as_stored(matrix, self._kind) if self._kind != "none" else matrix, places

    def _learn_if_due(self) -> None:
        """Fit the embedder automatically once there are enough records; errors are ignored."""
        snapshot = self._indexed.snapshot
        if not _FEWEST <= snapshot.rows <= _MOST or not isinstance(snapshot.embedder, HashingEmbedder):
            return
        if self._indexed.journal.header.codec != "pcm":  # rewriting pictures of symbols takes too long
            return
        if not self._is_due(snapshot):
            return
        with suppress(MemvidError, MemoryError), self._indexed.writing() as snapshot:
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
        """Fit a copy of the embedder to the records that it embedded, and rewrite these with their new vectors."""
        base = snapshot.embedder
        assert is_fittable(base)
        rows = np.flatnonzero(snapshot.dense)
        self._not_due = len(rows)
        records = [record for row, record in snapshot.records() if snapshot.dense[row]]
        texts = [record.text for record in records]
        stored = snapshot.vectors(rows.tolist())
        made = base.embed_documents(texts)
        if not all(np.allclose(made[i], stored[row], atol=_SAME) for i, row in enumerate(rows.tolist())):
            return  # some vectors were given, and must not be changed
        embedder = base.clone()
        embedder.fit(texts)
        if embedder.fitted:
            self._write_again(records, embedder, snapshot)

    def refit(self, *, drop_damaged: bool) -> int:
        """Fit a copy of the embedder to every record, and rewrite all of them with new vectors; return their number."""
        return self.mended(lambda: self._refit(drop_damaged))

    def _refit(self, drop_damaged: bool) -> int:
        with self._indexed.writing() as snapshot:
            self._indexed.check_whole(drop_damaged)
            if not is_fittable(snapshot.embedder):
                raise InvalidInputError("this memory's embedder does not learn from texts; only the built-in one does")
            records = [record for _, record in snapshot.records()]
            if not records:
                return 0
            learned = snapshot.embedder.clone()
            learned.fit([record.text for record in records])
            # With too few records, the copy is not fitted, and its vectors would not be comparable with fitted ones.
            self._write_again(records, learned if learned.fitted else snapshot.embedder, snapshot)
            return len(records)

    def _write_again(self, records: list[Record], embedder: FittableEmbedder, snapshot: Snapshot) -> None:
        """Rewrite records in one commit, with the vectors of a fitted embedder."""
        request = AddRequest.of(
            [record.id for record in records],
            [record.text for record in records],
            [record.metadata for record in records],
            list(range(len(records))),
        )
        matrix, places = self._stored_vectors(request, embedder.embed_documents(request.texts))
        replaced = snapshot.rows_of(request.records.ids)
        stored, unstored = (None, matrix) if self._kind == "none" else (matrix, None)
        model = embedder.dump() if embedder.fitted else None
        pictures = pictures_at(snapshot, [replaced[record.id] for record in records])
        batch = Batch(request.encoded, stored, places, list(replaced.values()), model, pictures)
        self._indexed.commit(request.records, batch, unstored, embedder)

    def _update(self, request: UpdateRequest, embedded: Matrix | None) -> list[str]:
        """Rewrite a record with another text, other metadata, or both."""
        with self._indexed.writing() as snapshot:
            row = self._row_of(request.record_id, snapshot)
            record = snapshot.record(row)
            text = record.text if request.text is None else request.text
            metadata = record.metadata if request.metadata is None else request.metadata
            changed = self._checked(text, metadata, record.id, ())
            changed.base = changed.embedder = snapshot.embedder
            changed.pictures = pictures_at(snapshot, [row])
            if request.text is None:
                changed.given = [snapshot.vectors([row]).get(row)]
            elif snapshot.embedder is not request.embedder:  # it was fitted meanwhile
                embedded = self.embed(changed)
            return self._store(changed, embedded)

    def delete(self, select: Callable[[Snapshot], Sequence[int]]) -> int:
        """Delete the live rows that ``select`` returns for the newest snapshot; return their number."""
        return self.mended(lambda: self._delete(select))

    def _delete(self, select: Callable[[Snapshot], Sequence[int]]) -> int:
        with self._indexed.writing() as snapshot:
            rows = list(dict.fromkeys(select(snapshot)))
            if rows:
                self._indexed.commit(NewRecords((), (), ()), Batch(tombstones=rows), None, None)
        return len(rows)


def _largest(matrix: Matrix) -> float:
    """Return the largest absolute component, without a copy of a large matrix."""
    if len(matrix) == 1:
        return float(np.abs(matrix).max())
    return max(float(matrix.max()), -float(matrix.min()))
