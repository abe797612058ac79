"""Memory: add, get, search and delete records in one MP4 file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn, Self, TypeVar, get_args, overload
from weakref import WeakMethod

import numpy as np
from numpy.typing import ArrayLike

from memvid_core.aio import AsyncMemory
from memvid_core.embedding import Embedder, check_vector
from memvid_core.engine import compacting, inspection, opening
from memvid_core.engine.auto_compact import AutoCompact, check_share
from memvid_core.engine.index_place import INDEX_ERRORS
from memvid_core.engine.opening import IN_RAM
from memvid_core.engine.searching import Fusion, Mode, Query, Rerank, Searcher, Where
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_count, check_timeout, wanted_ids
from memvid_core.engine.writing import GivenVectors, Metadata, VectorDtype, Writer
from memvid_core.errors import (
    Action,
    ClosedError,
    DamagedFrameError,
    Hint,
    InvalidInputError,
    QueryError,
    ReadOnlyError,
    RecordNotFoundError,
    storage_errors,
)
from memvid_core.index.catalog.ordering import by_value
from memvid_core.index.stale import IndexStaleError
from memvid_core.model import Commit, Hit, IndexName, MemoryInfo, Metric, Recency, Record, VerifyReport
from memvid_core.system.threads import WriterThread

__all__ = ["Memory"]

T = TypeVar("T")


class Memory(AsyncMemory):
    """Records in one MP4 file, found again by meaning, by words, by filter and by id.

    Make one with :meth:`create` or :meth:`open`. Each change is one commit, durable when the call returns; a search
    sees a whole commit or none. Any number of processes and threads write and read one file: a commit waits for its
    turn and takes in what others committed. A forked child opens the file itself.

    Example:
        >>> with Memory.create(":memory:") as memory:
        ...     ids = memory.add(["the wing lifts", "the engine hums"], metadata=[{"page": 1}, {"page": 2}])
        ...     memory.search("a lifting wing", k=1)[0].text
        'the wing lifts'
    """

    def __init__(self, opened: opening.Opened, auto_compact: float | None = None) -> None:
        given: object = opened
        if not isinstance(given, opening.Opened):
            raise InvalidInputError("a memory is made by Memory.create(path), and opened by Memory.open(path)")
        self._opened = opened
        self._indexed = opened.indexed
        self._closed = False
        self._process = os.getpid()
        self._searcher = Searcher(opened.indexed, WeakMethod(self.context))  # weak: a cycle would keep the file open
        self._writer = Writer(opened.indexed)
        self._thread = WriterThread()
        folds = auto_compact is not None and opened.writable
        self._auto = AutoCompact(opened.indexed, auto_compact) if folds and auto_compact is not None else None

    @property
    def embedder(self) -> Embedder | None:
        """What turns texts into vectors; None if the memory was opened without the embedder that wrote it."""
        snapshot = self._indexed.snapshot if self._opened.pinned is None else self._opened.pinned
        return snapshot.embedder

    @property
    def path(self) -> str:
        """The file's path, or ``":memory:"``."""
        return self._opened.path

    # --- opening and closing ---

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str] = IN_RAM,
        embedder: object = None,
        codec: str = "pcm",
        vector_dtype: VectorDtype | None = None,
        *,
        codec_options: Mapping[str, Any] | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        description: str = "",
        index: IndexName = "auto",
        metric: Metric = "cosine",
        timeout: float = 30.0,
        auto_compact: float | None = None,
    ) -> Self:
        """Make a new memory and open it for writing.

        Args:
            path: Where the file goes; ``":memory:"`` keeps all in RAM.
            embedder: Anything :func:`~memvid_core.embedding.as_embedder` takes; None is the built-in offline embedder.
                ``"given"``: there is none, every vector comes with its record; any embedder may open the memory later.
            codec: ``"pcm"``, the store, or ``"qr"``, for what must survive a re-encode.
            vector_dtype: How vectors are stored: ``"float16"`` (the default in a file), ``"float32"``, ``"float64"``
                (the default in RAM: exactly what was given), ``"int8"``, or ``"none"``: embedded again when the index
                is rebuilt.
            codec_options: Settings of the codec.
            index_dir: Where the index goes; by default beside the file, as ``<path>.index``.
            description: A line for people, kept in the file.
            index: As in :meth:`open`.
            metric: How vectors are compared, kept in the file: ``"cosine"``, by direction alone, or by distance,
                ``"euclidean"``, ``"manhattan"`` or ``"chebyshev"``.
            timeout: As in :meth:`open`.
            auto_compact: As in :meth:`open`.

        Raises:
            InvalidInputError: A setting that does not exist, or an index that cannot search by the metric.
            MemoryExistsError: The path is taken.
            MemoryNotFoundError: Its folder does not exist.
        """
        share = check_share(auto_compact)
        return cls(
            opening.create(
                path,
                embedder,
                codec,
                vector_dtype,
                codec_options=codec_options,
                index_dir=index_dir,
                description=description,
                index=index,
                metric=metric,
                timeout=timeout,
            ),
            share,
        )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        embedder: object = None,
        as_of: int | datetime | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        force: bool = False,
        show_progress: bool | None = None,
        index: IndexName = "auto",
        metric: Metric | None = None,
        create: bool = False,
        timeout: float = 30.0,
        auto_compact: float | None = None,
    ) -> Self:
        """Open an existing memory.

        Args:
            path: The file.
            mode: ``"r"`` to read, ``"a"`` to read and write. Either follows what others write.
            embedder: The embedder that wrote it. None is the built-in one if that wrote it; otherwise the memory opens
                without: search by vector, words and filter works, by meaning of a text does not.
            as_of: A commit number or a time: a read-only snapshot of the past that does not move.
            index_dir: Where the index is; by default beside the file, as ``<path>.index``, in RAM where that cannot be
                written.
            force: Take ``embedder`` although another wrote the memory.
            show_progress: Whether a rebuild of the index shows a bar; None shows it on a terminal.
            index: How vectors are searched: ``"auto"`` (exactly while they are few, then ``"quantized"``), ``"exact"``
                (NumPy), ``"sklearn"`` (scikit-learn's ``NearestNeighbors``), ``"quantized"`` (codes, then exactly), or
                ``"ivf"`` (lists around centroids, for hundreds of thousands of records; made at the first search, and
                saved when a writer closes). The last two compare by cosine only, and may miss a hit or two in a
                hundred. It is not kept in the file: each process may choose another.
            metric: The metric that the memory must have, and that ``create`` makes it with; None is the memory's own,
                and cosine for a new one.
            create: With mode ``"a"``, make the memory if there is none, with ``embedder`` and the defaults of
                :meth:`create`.
            timeout: How many seconds a commit waits while others commit.
            auto_compact: With mode ``"a"``: compact the memory by itself, in the background, when that would save more
                than this share of the file, as 0.5; what small commits and deleted records take up is estimated after
                every few hundred commits. As with :meth:`compact`, the past before it can then no longer be told. None
                never does, and keeps all of the past.

        Raises:
            InvalidInputError: An index or metric that does not exist or that the memory cannot be searched by.
            MemoryNotFoundError: There is no such file, and ``create`` is not set.
            NotAMemoryError: It is no MP4, or one that carries no memory.
            UnsupportedFormatError: A newer version wrote it.
            EmbedderMismatchError: Another embedder wrote it; the message names both.
        """
        share = check_share(auto_compact)
        opened = opening.open_or_create if create else opening.open_existing
        with storage_errors():
            return cls(
                opened(
                    path,
                    mode,
                    embedder=embedder,
                    as_of=as_of,
                    index_dir=index_dir,
                    force=force,
                    show_progress=show_progress,
                    index=index,
                    metric=metric,
                    timeout=timeout,
                ),
                share,
            )

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        if not self._closed:
            self._closed = True
            if self._process == os.getpid():  # in a fork, file, lock and index are the parent's
                self._thread.close()
                if self._auto is not None:
                    self._auto.close()
                self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def _snapshot(self) -> Snapshot:
        """Return the state to answer from: the newest, or the past one that was asked for."""
        self._check_open()
        return self._indexed.refresh() if self._opened.pinned is None else self._opened.pinned

    def _answer(self, question: Callable[[Snapshot], T], *, past_damage: bool = True) -> T:
        """Answer a question from the newest snapshot; if the index turns out to be damaged, from one made anew.

        Args:
            question: What to ask.
            past_damage: Whether to make the index anew for a damaged frame, too: then its records are left out.
        """
        with storage_errors():
            snapshot = self._snapshot()
        for attempt in range(3):
            try:
                with storage_errors(), snapshot.epoch.reading():
                    return question(snapshot)
            except (*INDEX_ERRORS, DamagedFrameError) as exc:
                if attempt == 2 or (isinstance(exc, DamagedFrameError) and not past_damage):
                    raise
                if attempt == 0 and isinstance(exc, IndexStaleError):
                    continue  # a damaged index of words is begun anew by itself, and only has to be asked again
                snapshot = self._healed(snapshot, exc)
        raise AssertionError("the last attempt answers or raises")

    def _healed(self, snapshot: Snapshot, exc: Exception) -> Snapshot:
        """Have the index made anew, and return the snapshot to answer from then."""
        healed = self._indexed.heal(snapshot, exc)
        if self._opened.pinned is not None:
            healed = inspection.past_snapshot(self._indexed, self._opened.pinned.commit)
            self._opened = replace(self._opened, pinned=healed)
        return healed

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"this memory is closed; Memory.open({self.path!r}) opens it again")
        if self._process != os.getpid() and self.path != IN_RAM:  # SQLite and the lock do not survive a fork
            raise ClosedError(
                f"process {self._process} opened this memory, and this is a fork of it; Memory.open({self.path!r}) "
                "opens it here"
            )

    def _check_writable(self) -> None:
        self._check_open()
        if not self._opened.writable:
            raise ReadOnlyError(f"{self.path} is open for reading", hint=Hint(Action.OPEN_FOR_WRITING))

    # --- writing ---

    def add(
        self,
        texts: Iterable[str] | str,
        metadata: Iterable[Metadata | None] | Metadata | None = None,
        ids: Iterable[str | None] | str | None = None,
        vectors: GivenVectors | None = None,
        *,
        delete: Iterable[str] | str = (),
    ) -> list[str]:
        """Add records as one commit, durable on return. A known id is replaced whole; of equal ids the last one stays.

        Args:
            texts: The texts; one ``str`` is one record.
            metadata: A dict a text: None, bool, int, float, str, lists and dicts of them.
            ids: An id a text; None makes new ones.
            vectors: (n, d) numbers, or a vector or None a text (None: found by words and filters alone). By default the
                embedder makes them.
            delete: Ids of records to delete in the same commit; an id that is also added is replaced.

        Returns:
            The ids, in order.

        Raises:
            InvalidInputError: Lengths differ, or something cannot be stored; the message says what. Nothing is written.
            EmbeddingError: The embedder failed. Nothing is written.
            StorageError: The system refused, as when the disk is full. Nothing is kept.
        """
        self._check_writable()
        return self._writer.add(texts, metadata, ids, vectors, delete)

    def update(self, record_id: str, *, text: str | None = None, metadata: Metadata | None = None) -> None:
        """Replace a record's text, its metadata, or both; what is not given stays. A new text is embedded.

        Args:
            record_id: Whose.
            text: The new text.
            metadata: The new metadata, in place of all the old.

        Raises:
            RecordNotFoundError: No live record has that id.
        """
        self._check_writable()
        self._writer.update(record_id, text, metadata)

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[Self]:
        """Hold the right to write over several calls: what is read inside the block stays true until it ends.

        Other processes, and other threads of this one, read on, and wait with their commits.

        Args:
            timeout: How many seconds to wait for others; by default what the memory was opened with.

        Raises:
            LockedError: Others were writing all that time; the message names the process.

        Example:
            >>> with Memory.create(":memory:") as memory, memory.exclusive():
            ...     if "a" not in memory:
            ...         ids = memory.add("the first", ids="a")
            ...     len(memory)
            1
        """
        self._check_writable()
        with self._indexed.writing(None if timeout is None else check_timeout(timeout)):
            yield self

    def delete(self, ids: Iterable[str] | str | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete records by id, by filter, or by both at once; ids that are not there are passed over.

        The bytes stay in the file until :meth:`compact`.

        Returns:
            How many were deleted.

        Raises:
            InvalidInputError: Neither ids nor a filter was given, or only a filter that is empty and so means all.
            FilterError: The filter is wrong.
        """
        self._check_writable()
        if ids is None and not where:
            raise InvalidInputError("nothing says what to delete", hint=Hint(Action.NAME_RECORDS))
        return self._writer.delete(lambda snapshot: self._selected(snapshot, ids, where))

    def clear(self) -> int:
        """Delete every record; returns how many there were."""
        self._check_writable()
        return self._writer.delete(lambda snapshot: np.flatnonzero(snapshot.live).tolist())

    def _selected(
        self, snapshot: Snapshot, ids: Iterable[str] | str | None, where: Mapping[str, Any] | None
    ) -> list[int]:
        rows = None if ids is None else list(self._rows(wanted_ids(ids), snapshot).values())
        if where is None:
            return rows or []
        mask = snapshot.live & snapshot.epoch.index.mask(where, snapshot.rows)
        return np.flatnonzero(mask).tolist() if rows is None else [row for row in rows if mask[row]]

    # --- reading ---

    def _rows(self, ids: Sequence[str], snapshot: Snapshot) -> dict[str, int]:
        return snapshot.epoch.index.catalog.live_rows(ids, snapshot.commit)

    @overload
    def get(self, ids: str) -> Record: ...  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
    @overload
    def get(self, ids: Iterable[str]) -> list[Record]: ...
    def get(self, ids: str | Iterable[str]) -> Record | list[Record]:
        """The record with an id, or the records with some ids, in their order; ids that are not there are passed over.

        Raises:
            RecordNotFoundError: One ``str`` was given and no live record has that id.
            DamagedFrameError: A record's frame is damaged.
        """
        if isinstance(ids, str):
            found = self._answer(lambda snapshot: self._records([ids], snapshot), past_damage=False)
            if not found:
                raise RecordNotFoundError(f"no record has the id {ids!r}")
            return found[0]
        wanted = wanted_ids(ids)
        return self._answer(lambda snapshot: self._records(wanted, snapshot), past_damage=False)

    def _records(self, ids: Sequence[str], snapshot: Snapshot) -> list[Record]:
        rows = self._rows(ids, snapshot)
        found = [snapshot.epoch.record(rows[record_id]) for record_id in ids if record_id in rows]
        if [record.id for record in found] != [record_id for record_id in ids if record_id in rows]:
            raise IndexStaleError("the index leads to records of other ids")
        return found

    def get_vectors(self, ids: Iterable[str] | str) -> dict[str, Any]:
        """The stored vectors of some records; ids that are not there or have none are left out."""
        wanted = wanted_ids(ids)

        def stored(snapshot: Snapshot) -> dict[str, Any]:
            rows = self._rows(wanted, snapshot)
            found = snapshot.epoch.vectors(snapshot, list(rows.values()))
            return {record_id: found[row] for record_id, row in rows.items() if row in found}

        return self._answer(stored)

    def __contains__(self, record_id: object) -> bool:
        return isinstance(record_id, str) and self._answer(lambda snapshot: bool(self._rows([record_id], snapshot)))

    def __len__(self) -> int:
        return self._snapshot().records

    def __bool__(self) -> bool:
        return True  # an empty memory is still a memory

    def __iter__(self) -> Iterator[Record]:
        """Every record, in the order they were added."""
        snapshot, done = self._snapshot(), -1
        while True:
            try:
                with snapshot.epoch.reading():
                    for row, record in snapshot.epoch.records(snapshot, done):
                        yield record
                        done = row
                return
            except (*INDEX_ERRORS, DamagedFrameError) as exc:
                healed = self._indexed.heal(snapshot, exc)
                if healed.epoch.journal.header != snapshot.epoch.journal.header:
                    raise  # a compaction numbered the rows anew
                live = healed.live[: snapshot.rows] & snapshot.live
                snapshot = replace(healed, rows=snapshot.rows, live=live, dense=healed.dense[: snapshot.rows])

    def select(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        order_by: str | None = None,
        descending: bool = False,
    ) -> list[Record]:
        """The records that match a filter.

        Args:
            where: A filter over metadata (see ``docs/filters.md``); None matches all.
            limit: How many at most; only those are read from the file.
            offset: How many to pass over first.
            order_by: The metadata field whose values order them, numbers before strings, records with neither last;
                ``"author.name"`` leads into a nested dict. By default they come in the order they were added.
            descending: From the last to the first of that order.

        Raises:
            QueryError: A number below 0, or an ``order_by`` that is no str.
            FilterError: The filter is wrong.

        Example:
            >>> with Memory.create(":memory:") as memory:
            ...     _ = memory.add(["old", "new"], [{"year": 1999}, {"year": 2026}])
            ...     memory.select(order_by="year", descending=True, limit=1)[0].text
            'new'
        """
        first = check_count(offset, "offset is a number of records")
        last = None if limit is None else first + check_count(limit, "limit is a number of records")
        return self._answer(
            lambda snapshot: [
                snapshot.epoch.record(row) for row in self._matching(snapshot, where, order_by, descending)[first:last]
            ]
        )

    def ids(
        self, where: Mapping[str, Any] | None = None, *, order_by: str | None = None, descending: bool = False
    ) -> list[str]:
        """The ids of the records that match a filter, ordered as by :meth:`select`; no frame is read for it."""

        def matching(snapshot: Snapshot) -> list[str]:
            rows = self._matching(snapshot, where, order_by, descending)
            found = snapshot.epoch.index.catalog.ids(rows)
            return [found[row] for row in rows]

        return self._answer(matching)

    def _matching(
        self, snapshot: Snapshot, where: Mapping[str, Any] | None, order_by: str | None, descending: bool
    ) -> list[int]:
        rows = self._selected(snapshot, None, where) if where else np.flatnonzero(snapshot.live).tolist()
        if order_by is None:
            return rows[::-1] if descending else rows
        if not isinstance(order_by, str):
            raise QueryError(f"order_by names a metadata field, as a str, not {order_by!r}")
        snapshot.epoch.index.catalog.verify_metadata(snapshot.rows)
        with snapshot.epoch.index.catalog.reading() as connection:
            return by_value(connection, rows, order_by, descending=descending)

    def search(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        alpha: float | None = None,
        fusion: Fusion = "score",
        recency: Recency | None = None,
        rerank: Rerank | None = None,
        embedding: ArrayLike | None = None,
        with_vectors: bool = False,
        explain: bool = False,
    ) -> list[Hit]:
        """The records that answer a question best.

        Args:
            query: The question, or its vector (d,).
            k: How many hits at most; 0 gives none.
            where: A filter over metadata (see ``docs/filters.md``), or a function of a Record, which is asked in the
                order of the ranking.
            mode: ``"dense"`` (by vector), ``"lexical"`` (by words) or ``"hybrid"`` (both, fused). By default hybrid
                for a text, lexical where there is no embedder, dense for a vector.
            alpha: For hybrid, the weight of the dense half, from 0 to 1.
            fusion: For hybrid, whether scores are fused or ranks (reciprocal rank fusion).
            recency: Whether older records count less, and by what.
            rerank: A function of the question and texts that gives one score a text; it orders the best candidates
                anew.
            embedding: The vector (d,) of a question given as text, where it is known: the embedder is not asked.
            with_vectors: Whether hits carry their stored vector.
            explain: Whether hits say what each part contributed.

        Returns:
            Hits, best first, scores in [0, 1]; equal scores in the order the records were added.

        Raises:
            QueryError: The query is empty, or the mode needs what is not there.
            FilterError: The filter is wrong.
            DimensionError: A vector of another dimension.
        """
        options = {
            "fusion": fusion,
            "recency": recency,
            "rerank": rerank,
            "with_vectors": with_vectors,
            "explain": explain,
        }
        return self._answer(
            lambda snapshot: self._searcher.hits(
                snapshot, self._query(snapshot, query, k, where, mode, embedding, alpha=alpha, **options)
            )
        )

    def search_many(
        self, queries: Sequence[str] | ArrayLike, k: int = 5, where: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Dense hits for each of several questions, texts or vectors (q, d), in one pass over the index.

        ``k`` and ``where`` hold for each question, as in :meth:`search`.

        Raises:
            QueryError: A filter that is a function.
            DimensionError: A vector of another dimension.
        """
        given = [queries] if isinstance(queries, str) else queries

        def hits(snapshot: Snapshot) -> list[list[Hit]]:
            asked = [self._query(snapshot, query, k, where, "dense") for query in given]  # type: ignore[union-attr]
            return self._searcher.many(snapshot, asked) if asked else []

        return self._answer(hits)

    def mmr(
        self,
        query: str | ArrayLike,
        k: int = 5,
        where: Where | None = None,
        mode: Mode | None = None,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        alpha: float | None = None,
        fusion: Fusion = "score",
        recency: Recency | None = None,
        with_vectors: bool = False,
    ) -> list[Hit]:
        """Hits that are good and unlike each other (maximal marginal relevance: Carbonell and Goldstein, 1998).

        Args:
            query: The question, or its vector (d,).
            k: How many hits at most.
            where: As in :meth:`search`.
            mode: As in :meth:`search`; by default dense.
            fetch_k: How many candidates to choose from.
            lambda_mult: 1 is the plain ranking, 0 the greatest diversity.
            alpha: As in :meth:`search`, and so are ``fusion`` and ``recency``.
            fusion: How the candidates' halves are fused.
            recency: Whether older candidates count less.
            with_vectors: Whether hits carry their stored vector.

        Returns:
            Hits in the order they were chosen.
        """
        options: dict[str, Any] = {"alpha": alpha, "fusion": fusion, "recency": recency, "with_vectors": with_vectors}
        return self._answer(
            lambda snapshot: self._searcher.mmr(
                snapshot, self._query(snapshot, query, k, where, mode or "dense", **options), fetch_k, lambda_mult
            )
        )

    def _query(
        self,
        snapshot: Snapshot,
        query: str | ArrayLike,
        k: int,
        where: Where | None,
        mode: Mode | None,
        embedding: ArrayLike | None = None,
        **options: Any,
    ) -> Query:
        """The question, checked, with its vector where the mode needs one."""
        k = check_count(k, "k is a number of hits")
        text = query if isinstance(query, str) else None
        if text is not None and not text.strip():
            raise QueryError("the query is empty", hint=Hint(Action.FILTER))
        chosen = mode or self.default_mode(text)
        if chosen not in get_args(Mode):
            raise QueryError(f"mode is 'dense', 'lexical' or 'hybrid', not {mode!r}")
        vector = None
        if chosen != "lexical":
            if text is not None and embedding is None:
                vector = self._embedder_of(snapshot).embed_query(text)
            else:
                vector = check_vector(query if text is None else embedding, given=text is None, source="the query")
        return Query(text, vector, k, chosen, where, **options)

    def default_mode(self, text: str | None) -> Mode:
        """What a search does unless told: hybrid for a text, lexical without an embedder, dense for a vector."""
        if text is None:
            return "dense"
        return "lexical" if self.embedder is None else "hybrid"

    def _embedder_of(self, snapshot: Snapshot) -> Embedder:
        if snapshot.embedder is None:
            recorded = self._indexed.journal.header.embedder
            raise QueryError(
                f"this memory was written by {recorded!r} and opened without it",
                hint=Hint(Action.SEARCH_WORDS, {"embedder": recorded}),
            )
        return snapshot.embedder

    def context(self, record: Record, before: int = 1, after: int = 1) -> list[Record]:
        """A record with so many neighbours ``before`` and ``after`` it in the same source, in reading order."""
        return self._answer(lambda snapshot: self._searcher.neighbours(snapshot, record, before, after))

    # --- looking after it ---

    def prepare(self) -> None:
        """Build what the first searches would build: the index of words, and the lists of vectors.

        A bulk load ends well with it: the first question then takes milliseconds. A bar shows on a terminal where it
        takes long. Once words were searched, small commits keep their index up.

        Example:
            >>> with Memory.create(":memory:") as memory:
            ...     ids = memory.add(["the wing lifts", "the engine hums"])
            ...     memory.prepare()
            ...     memory.search("wing", k=1, mode="lexical")[0].text
            'the wing lifts'
        """
        self._answer(self._searcher.prepare)

    def refit(self, *, drop_damaged: bool = False) -> int:
        """Let an embedder that learns do so from all there is, and embed every record anew, as one commit.

        Args:
            drop_damaged: Go on although the file is damaged, with what can be read.

        Returns:
            How many records were embedded.

        Raises:
            InvalidInputError: The embedder does not learn.
            MemoryFileError: This memory is damaged, and ``drop_damaged`` is not set.
        """
        self._check_writable()
        with self._indexed.writing():
            self._indexed.check_whole(drop_damaged)
            return self._writer.refit()

    def info(self) -> MemoryInfo:
        """What the memory is and how large."""
        return self._answer(lambda snapshot: inspection.info(self._indexed, snapshot, self.path))

    def history(self) -> list[Commit]:
        """Every commit, oldest first."""
        return self._answer(lambda snapshot: inspection.history(self._indexed, snapshot))

    def verify(self) -> VerifyReport:
        """Read every frame of the file and check every checksum; what is wrong is named in the report."""
        self._check_open()
        return inspection.verify(self._indexed)

    def save(self, path: str | os.PathLike[str], *, drop_damaged: bool = False) -> None:
        """Write the live records, with their vectors, into a memory of their own; what is at ``path`` is replaced.

        Args:
            path: The file to write.
            drop_damaged: Go on where this memory is damaged, with what can be read.

        Raises:
            InvalidInputError: ``path`` is this memory's own file.
            MemoryFileError: This memory is damaged, and ``drop_damaged`` is not set.
            LockedError: Somebody is writing to a memory at ``path``.
            StorageError: The system refused. What was at ``path`` stays.
        """
        with storage_errors():
            inspection.save(self._indexed, self._snapshot(), path, drop_damaged=drop_damaged)

    def compact(self, *, keep_history: bool = False, drop_damaged: bool = False) -> int:
        """Write the file anew without deleted records and swap it in; returns how many bytes that saved.

        Small commits are merged. The past before this call can then no longer be told, unless ``keep_history`` is set,
        which merges nothing. Others read and write meanwhile, and wait only while the last of their commits are taken
        over. If the process dies, the file is the old one or the new one, whole.

        Raises:
            MemoryFileError: The file is damaged, and ``drop_damaged`` does not say to go on with what can be read.
            LockedError: Others were writing for longer than the memory's timeout.
            StorageError: There is no room for the new file beside the old one. The old one stays.
        """
        self._check_writable()
        with storage_errors():
            return compacting.compact(self._indexed, keep_history=keep_history, drop_damaged=drop_damaged)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a memory cannot be copied or pickled: Memory.open({self.path!r}) opens its file once more")

    def __repr__(self) -> str:
        if self._closed:
            return f"<Memory {self.path!r} (closed)>"
        snapshot = self._indexed.snapshot if self._opened.pinned is None else self._opened.pinned
        name = "no embedder" if self.embedder is None else self.embedder.name
        state = "" if self._opened.pinned is None else f", as of commit {snapshot.commit}"
        return f"<Memory {self.path!r}: {snapshot.records} records, {name}{state}>"
