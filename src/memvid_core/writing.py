"""Writer: turns what a caller gives into commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memvid_core.embedding import Embedder, FittableEmbedder, check_vectors
from memvid_core.errors import DimensionError, EmbeddingError, InvalidInputError, VectorError
from memvid_core.generation import View
from memvid_core.journal import Batch
from memvid_core.replica import NewRecords, Replica, metadata_json
from memvid_core.validation import check_ids, check_metadata, check_texts, encode_records, wanted_ids

__all__ = ["Prepared", "VectorType", "Writer"]

VectorType = Literal["float16", "float32", "float64", "int8", "none"]
Metadata = Mapping[str, Any]
GivenVectors = ArrayLike | Sequence[ArrayLike | None]

_FLOAT16_MAX = 65504.0


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
    model: bytes | None = None
    fits: int = 0
    """How often the embedder had learned when it embedded them."""

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
            return cls(ids, NewRecords(ids, columns), texts, rows, places, delete)
        records = NewRecords([ids[i] for i in places], [columns[i] for i in places])
        return cls(ids, records, [texts[i] for i in places], [rows[i] for i in places], places, delete)


class Writer:
    """Adds, replaces and deletes records of one memory; each call is one commit."""

    def __init__(self, replica: Replica, embedder: Embedder | None) -> None:
        self._replica = replica
        self._embedder = embedder
        self._fits = 0
        self._kind: VectorType = replica.journal.header.vectors  # type: ignore[assignment]
        assert self._kind in get_args(VectorType)

    def prepare(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None,
        ids: Iterable[str | None] | None,
        delete: Iterable[str] | str = (),
    ) -> Prepared:
        """Check texts, ids and metadata; nothing is written."""
        checked = check_texts(texts)
        given_ids = check_ids(ids, len(checked))
        plain = check_metadata(metadata, len(checked))
        last = {record_id: i for i, record_id in enumerate(given_ids)}
        places = list(last.values()) if len(last) < len(given_ids) else list(range(len(given_ids)))
        return Prepared.of(given_ids, checked, plain, places, wanted_ids(delete))

    def fit(self, prepared: Prepared, *, learn: bool = True) -> None:
        """Let an embedder that learns do so from an empty memory's first records; what it knows goes into the file."""
        embedder = self._embedder
        if not isinstance(embedder, FittableEmbedder) or self._replica.refresh().rows:
            return
        with self._replica.writing() as view:
            if view.rows:
                return
            if learn and not embedder.fitted:
                embedder.fit(prepared.texts)
                self._fits += 1
            if embedder.fitted:
                prepared.model = embedder.dump()

    def given(self, prepared: Prepared, vectors: GivenVectors) -> list[Any] | NDArray[Any]:
        """The caller's vectors, one a record, None where a record is to have none."""
        if not isinstance(vectors, Iterable):
            raise VectorError(f"vectors must be one a text, not of type {type(vectors).__name__}")
        rows = vectors if isinstance(vectors, np.ndarray) else list(vectors)
        if len(rows) != len(prepared.ids):
            raise InvalidInputError(f"vectors must be as many as texts: {len(rows)} vectors, {len(prepared.ids)} texts")
        if len(prepared.places) == len(prepared.ids):
            return rows
        return rows[prepared.places] if isinstance(rows, np.ndarray) else [rows[i] for i in prepared.places]

    def embed(self, prepared: Prepared) -> NDArray[Any]:
        """One vector a record from the embedder.

        Raises:
            EmbeddingError: There is no embedder, or it failed.
        """
        prepared.fits = self._fits
        return self._needed_embedder().embed_documents(prepared.texts)

    async def aembed(self, prepared: Prepared) -> NDArray[Any]:
        """Async :meth:`embed`."""
        prepared.fits = self._fits
        return await self._needed_embedder().aembed_documents(prepared.texts)

    def _needed_embedder(self) -> Embedder:
        if self._embedder is None:
            recorded = self._replica.journal.header.embedder
            raise EmbeddingError(
                f"this memory was written by {recorded!r}; open it with that embedder, or give vectors"
            )
        return self._embedder

    def store(self, prepared: Prepared, vectors: Any, *, given: bool) -> list[str]:
        """Write the commit; returns the ids.

        Raises:
            VectorError: NaN, infinite, or too large for float16.
            DimensionError: Not of the memory's dimension.
            StorageError: The system refused; nothing was stored.
        """
        matrix, places = self._matrix(prepared, vectors, given=given)
        replica = self._replica
        with replica.writing() as view:
            if not given and prepared.rows and prepared.fits != self._fits:  # another thread's texts taught it more
                matrix, places = self._matrix(prepared, self._once_more(prepared), given=False)
            self._check_dimension(matrix)
            gone = dict.fromkeys([*prepared.records.ids, *prepared.delete])
            replaced = replica.index.catalog.live_rows(list(gone), view.commit)
            if not prepared.rows and not replaced:
                return []
            stored, unstored = (None, matrix) if self._kind == "none" else (matrix, None)
            batch = Batch(prepared.rows, stored, places, list(replaced.values()), prepared.model)
            replica.commit(prepared.records, batch, unstored)
        return prepared.ids

    def _once_more(self, prepared: Prepared) -> NDArray[Any]:
        """The vectors of what the embedder knows now; the commit carries what that is."""
        if isinstance(self._embedder, FittableEmbedder) and self._embedder.fitted:
            prepared.model = self._embedder.dump()
        return self.embed(prepared)

    def _check_dimension(self, matrix: NDArray[Any] | None) -> None:
        expected = self._replica.dimension
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
        if self._kind == "float16":
            if float(np.abs(matrix).max()) > _FLOAT16_MAX:
                raise VectorError(
                    "a component is larger than float16 holds (65504); create the memory with vectors='float32'"
                )
            return matrix.astype(np.float16), places
        return matrix, places

    def refit(self) -> int:
        """Fit the embedder to every record and write all of them again with their new vectors."""
        embedder = self._embedder
        if not isinstance(embedder, FittableEmbedder):
            raise InvalidInputError("this memory's embedder does not learn from texts; only the built-in one does")
        with self._replica.writing() as view:
            records = [record for _, record in view.generation.records(view)]
            if not records:
                return 0
            before = embedder.dump() if embedder.fitted else None
            try:
                embedder.fit([record.text for record in records])
                self._fits += 1
                prepared = Prepared.of(
                    [record.id for record in records],
                    [record.text for record in records],
                    [record.metadata for record in records],
                    list(range(len(records))),
                )
                prepared.model = embedder.dump() if embedder.fitted else None
                self.store(prepared, self.embed(prepared), given=False)
            except BaseException:
                if before is None:
                    embedder.fit(())  # of nothing, nothing is learned
                else:
                    embedder.load(before)
                self._fits += 1
                raise
            return len(records)

    def delete(self, select: Callable[[View], Sequence[int]]) -> int:
        """Delete the live rows that ``select`` names in the newest view; returns how many there were."""
        with self._replica.writing() as view:
            rows = list(dict.fromkeys(select(view)))
            if rows:
                self._replica.commit(NewRecords((), ()), Batch(tombstones=rows), None)
        return len(rows)
