"""The reading methods of a memory: by id, by filter, by search, and its properties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from numpy.typing import ArrayLike, NDArray

from memvid_core.engine import inspection
from memvid_core.engine.search_request import Diversity, Fusion, Mode, Rerank, SearchRequest, Where, default_mode
from memvid_core.engine.session import Following, Session
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_count, wanted_ids
from memvid_core.errors import ClosedError, RecordNotFoundError
from memvid_core.model import Commit, Embedder, GivenSynonyms, Hit, MemoryInfo, Recency, Record, VerifyReport

__all__ = ["MemoryReading"]


class MemoryReading:
    """The reading methods of :class:`memvid_core.Memory`. Each call reads the newest commit, without a lock."""

    _session: Session

    @property
    def embedder(self) -> Embedder | None:
        """The embedder; None if the memory was opened without the embedder that wrote it."""
        return self._session.embedder

    @property
    def path(self) -> str:
        """The file's path, or ``":memory:"``."""
        return self._session.path

    @property
    def default_mode(self) -> Mode:
        """The default search mode for a text: ``"hybrid"``, or ``"lexical"`` without an embedder."""
        return default_mode(self._session.embedder)

    # --- by id, by filter ---

    @overload
    def get(self, ids: str) -> Record: ...  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
    @overload
    def get(self, ids: Iterable[str]) -> list[Record]: ...
    def get(self, ids: str | Iterable[str]) -> Record | list[Record]:
        """Return the record with an id, or the records with some ids in their order; unknown ids are ignored.

        Raises:
            RecordNotFoundError: If ``ids`` is a ``str`` and no live record has that id.
            DamagedFrameError: If a record's frame is damaged.
        """
        if isinstance(ids, str):
            found = self._session.answer(lambda snapshot: snapshot.get([ids]), past_damage=False)
            if not found:
                raise RecordNotFoundError(f"no record has the id {ids!r}")
            return found[0]
        wanted = wanted_ids(ids)
        return self._session.answer(lambda snapshot: snapshot.get(wanted), past_damage=False)

    def get_vectors(self, ids: Iterable[str] | str) -> dict[str, Any]:
        """Return the stored vectors (d,) of some records by id, without unknown ids and records without a vector."""
        wanted = wanted_ids(ids)
        return self._session.answer(lambda snapshot: snapshot.vectors_of(wanted))

    def __contains__(self, record_id: object) -> bool:
        if not isinstance(record_id, str):
            return False
        return self._session.answer(lambda snapshot: bool(snapshot.rows_of([record_id])))

    def __len__(self) -> int:
        return self._session.snapshot().record_count

    def __bool__(self) -> bool:
        return True  # an empty memory is still a memory

    def __iter__(self) -> Iterator[Record]:
        """Yield every record, in the order of addition."""
        yield from self._session.records()  # the generator references self: an unreferenced memory closes itself

    def select(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        order_by: str | None = None,
        descending: bool = False,
    ) -> list[Record]:
        """Return the records that match a filter.

        Args:
            where: A filter over metadata (see ``docs/filters.md``); None matches all.
            limit: The maximum number of records; only these are read from the file.
            offset: The number of records to skip.
            order_by: The metadata field to sort by: numbers before strings, records with neither last;
                ``"author.name"`` is a field of a nested dict. By default records are in the order of addition.
            descending: Reverse the order.

        Raises:
            QueryError: If a number is negative, or ``order_by`` is not a str.
            FilterError: If the filter is invalid.

        Example:
            >>> from memvid_core import Memory
            >>> with Memory.create(":memory:") as memory:
            ...     _ = memory.add(["old", "new"], [{"year": 1999}, {"year": 2026}])
            ...     memory.select(order_by="year", descending=True, limit=1)[0].text
            'new'
        """
        first = check_count(offset, "offset is a number of records")
        last = None if limit is None else first + check_count(limit, "limit is a number of records")
        return self._session.answer(
            lambda snapshot: [
                snapshot.record(row) for row in snapshot.ordered(where, order_by, descending=descending)[first:last]
            ]
        )

    def select_with_vectors(self, where: Mapping[str, Any] | None = None) -> list[tuple[Record, NDArray[Any] | None]]:
        """Return the records that match a filter, each with its stored vector (d,), or None if it has none.

        Record and vector are of one commit. :meth:`get_vectors` after :meth:`select` may return the vector of a text
        that has replaced the record's in the meantime.

        Args:
            where: As in :meth:`select`; ``{"$id": {"$in": ids}}`` are records by id.

        Returns:
            Pairs in the order of addition; vectors are float16, float32 or float64, as the memory stores them.

        Raises:
            FilterError: If the filter is invalid.
            DamagedFrameError: If the frame of a record is damaged that is asked for by its id, as in :meth:`get`; of
                other filters such a record is left out, as in :meth:`select`.

        Example:
            >>> from memvid_core import Memory
            >>> with Memory.create(":memory:") as memory:
            ...     ids = memory.add(["the wing lifts"])
            ...     [(record, vector)] = memory.select_with_vectors({"$id": {"$in": ids}})
            ...     record.text, vector.shape
            ('the wing lifts', (384,))
        """

        def read(snapshot: Snapshot) -> list[tuple[Record, NDArray[Any] | None]]:
            rows = snapshot.ordered(where, None, descending=False)
            vectors = snapshot.vectors(rows)
            return [(snapshot.record(row), vectors.get(row)) for row in rows]

        return self._session.answer(read, past_damage=not _names_ids(where))

    def ids(
        self, where: Mapping[str, Any] | None = None, *, order_by: str | None = None, descending: bool = False
    ) -> list[str]:
        """Return the ids of the records that match a filter, ordered as by :meth:`select`, without reading a frame."""
        return self._session.answer(
            lambda snapshot: snapshot.ids_of(snapshot.ordered(where, order_by, descending=descending))
        )

    # --- by search ---

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
        rerank: Rerank | str | None = None,
        min_relevance: float | None = None,
        unique: bool = False,
        passage: int | None = None,
        fuzzy: bool = True,
        synonyms: GivenSynonyms | None = None,
        embedding: ArrayLike | None = None,
        with_vectors: bool = False,
        explain: bool = False,
    ) -> list[Hit]:
        """Return the records that answer a question best.

        Args:
            query: The question, or its vector (d,).
            k: The maximum number of hits; 0 returns none.
            where: A filter over metadata (see ``docs/filters.md``), or a function from a Record to bool, called in the
                order of the ranking.
            mode: ``"dense"`` (by vector), ``"lexical"`` (by words) or ``"hybrid"`` (both, fused). By default hybrid
                for a text, lexical without an embedder, dense for a vector.
            alpha: For hybrid, the weight of the dense ranking, from 0 to 1.
            fusion: For hybrid, ``"score"`` to fuse scores, or ``"rank"`` to fuse ranks (reciprocal rank fusion).
            recency: How to reduce the scores of older records; None does not.
            rerank: Function from the question and the texts to one score per text, which sorts the best candidates
                again; or the name of a cross-encoder (see ``docs/search.md``). With ``passage``, it reads passages.
            min_relevance: The least relevance of a hit, from 0 to 1 (see ``docs/search.md``); fewer than ``k`` hits, or
                none, may reach it.
            unique: Whether texts that occur several times are returned once, as the best of their records. White
                space is not compared.
            passage: The maximum length in characters of ``hit.passage``, the sentences of each text that answer the
                question best; None for no passages.
            fuzzy: Whether a word that no record has, such as a misspelled one, is replaced by near words, which count
                less.
            synonyms: Words and phrases that mean the same: the path of a text file with lines such as
                ``car, automobile``, or a dict from a phrase to its synonyms.
            embedding: The vector (d,) of a text question, if it is known: the embedder is not called.
            with_vectors: Whether hits include their stored vector.
            explain: Whether hits include the contribution of each ranking, and what was asked in addition.

        Returns:
            Hits, best first, with scores in [0, 1]; ties are in the order of addition.

        Raises:
            QueryError: If the query is empty, or the mode needs an embedder or vectors that the memory lacks.
            FilterError: If the filter is invalid.
            DimensionError: If a vector has another dimension.
        """
        request = SearchRequest.of(
            self._session.embedder,
            query,
            k,
            where,
            mode,
            embedding=embedding,
            alpha=alpha,
            fusion=fusion,
            recency=recency,
            rerank=rerank,
            min_relevance=min_relevance,
            unique=unique,
            passage=passage,
            fuzzy=fuzzy,
            synonyms=synonyms,
            with_vectors=with_vectors,
            explain=explain,
        )
        return self._session.search(request)

    def search_many(
        self, queries: Sequence[str] | ArrayLike, k: int = 5, where: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return dense hits for each of several questions, texts or vectors (q, d), with one pass over the index.

        ``k`` and ``where`` apply to each question, as in :meth:`search`.

        Raises:
            QueryError: If ``where`` is a function.
            DimensionError: If a vector has another dimension.
        """
        return self._session.search_many(self._requests(queries, k, where))

    def _requests(
        self, queries: Sequence[str] | ArrayLike, k: int, where: Mapping[str, Any] | None
    ) -> list[SearchRequest]:
        given: Any = [queries] if isinstance(queries, str) else queries
        return [SearchRequest.of(self._session.embedder, query, k, where, "dense") for query in given]

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
        unique: bool = False,
        passage: int | None = None,
        fuzzy: bool = True,
        synonyms: GivenSynonyms | None = None,
        embedding: ArrayLike | None = None,
        with_vectors: bool = False,
    ) -> list[Hit]:
        """Return hits that are relevant and diverse (maximal marginal relevance: Carbonell and Goldstein, 1998).

        Args:
            query: The question, or its vector (d,).
            k: The maximum number of hits.
            where: As in :meth:`search`.
            mode: As in :meth:`search`; by default dense.
            fetch_k: The number of candidates to choose from.
            lambda_mult: 1 for relevance alone, 0 for the greatest diversity.
            alpha: As in :meth:`search`.
            fusion: As in :meth:`search`.
            recency: As in :meth:`search`.
            unique: As in :meth:`search`; the candidates are different texts.
            passage: As in :meth:`search`.
            fuzzy: As in :meth:`search`.
            synonyms: As in :meth:`search`.
            embedding: As in :meth:`search`.
            with_vectors: Whether hits carry their stored vector.

        Returns:
            Hits in the order of choice.
        """
        request = SearchRequest.of(
            self._session.embedder,
            query,
            k,
            where,
            mode or "dense",
            alpha=alpha,
            fusion=fusion,
            recency=recency,
            unique=unique,
            passage=passage,
            fuzzy=fuzzy,
            synonyms=synonyms,
            embedding=embedding,
            with_vectors=with_vectors,
            diversity=Diversity(fetch_k, lambda_mult),
        )
        return self._session.search(request)

    def context(self, record: Record | Hit, before: int = 1, after: int = 1) -> list[Record]:
        """Return a record with its neighbors in the same source, in reading order.

        Args:
            record: The record, or the hit that found it.
            before: The number of records before it.
            after: The number of records after it.

        Returns:
            The record and its neighbors by ``chunk`` number, or in the order of addition without chunk numbers. Only
            the record if its metadata has no ``source``, or if it was deleted.

        Example:
            >>> from memvid_core import Memory
            >>> with Memory.create(":memory:") as memory:
            ...     chunks = [{"source": "a.md", "chunk": number} for number in range(3)]
            ...     ids = memory.add(["the wing", "lifts", "the plane"], chunks)
            ...     hit = memory.search("lifts", k=1)[0]
            ...     [record.text for record in memory.context(hit, before=0)]
            ['lifts', 'the plane']
        """
        found = record.record if isinstance(record, Hit) else record
        for name, number in (("before", before), ("after", after)):
            check_count(number, f"{name} is a number of records")
        return self._session.answer(lambda snapshot: self._session.searcher.context(snapshot, found, before, after))

    # --- about the memory ---

    def info(self) -> MemoryInfo:
        """Return the properties and sizes of the memory."""
        session = self._session
        return session.answer(lambda snapshot: inspection.info(session.indexed, snapshot, session.path))

    def history(self) -> list[Commit]:
        """Return every commit, oldest first."""
        return self._session.answer(lambda snapshot: inspection.history(self._session.indexed, snapshot))

    def follow(self, since: int | None = None, *, interval: float | None = 2.0) -> Iterator[Commit]:
        """Yield each new commit, by any process, until the memory is closed.

        Whoever follows sees the records of a commit from then on. A compaction merges commits: those that it has merged
        before they were seen are yielded as one. If another memory replaces this one, its commits are yielded from the
        first.

        Args:
            since: The number of the last commit that was seen; 0 yields all. None yields those made from now on.
            interval: The pause between two looks at the file, or at the object of a remote memory, in seconds; None
                looks once, and ends.

        Raises:
            InvalidInputError: ``since`` is not the number of a commit, or the memory was opened with ``as_of``.
            StorageError: The file, or the object, cannot be read; call it again with ``since``.

        Example:
            >>> from memvid_core import Memory
            >>> with Memory.create(":memory:") as memory:
            ...     ids = memory.add(["the wing lifts", "the engine hums"])
            ...     next(memory.follow(since=0)).added
            2
        """
        session = self._session
        return _followed(session, session.following(since, interval), interval)

    def verify(self) -> VerifyReport:
        """Read every frame of the file, verify every checksum, and return a report of the damage.

        Bytes outside of the contents are compared too: every changed byte of the file is named. Such damage is
        ``restored``: nothing is lost, and ``compact()`` repairs the file.
        """
        session = self._session
        session.check_open()
        report = session.writer.mended(lambda: inspection.verify(session.indexed))
        if not report.ok and session.fetched_again():
            report = session.writer.mended(lambda: inspection.verify(session.indexed))
        return report

    def prepare(self) -> None:
        """Build the index of words and the lists of vectors, which the first searches would otherwise build.

        Call it after a bulk load, so that the first search takes milliseconds. If it takes long, a terminal shows a
        progress bar. Later commits update these indexes.

        Example:
            >>> from memvid_core import Memory
            >>> with Memory.create(":memory:") as memory:
            ...     ids = memory.add(["the wing lifts", "the engine hums"])
            ...     memory.prepare()
            ...     memory.search("wing", k=1, mode="lexical")[0].text
            'the wing lifts'
        """
        self._session.prepare()


def _followed(session: Session, place: Following, interval: float | None) -> Iterator[Commit]:
    while True:
        try:
            found = session.new_commits(place)
        except ClosedError:
            return
        yield from found
        if interval is None or not session.pause(interval):
            return


def _names_ids(where: Mapping[str, Any] | None) -> bool:
    """Return whether a filter, or one of several that must match, names records by id."""
    parts = [] if where is None else [where, *(where["$and"] if isinstance(where.get("$and"), list) else [])]
    return any(isinstance(part, Mapping) and "$id" in part for part in parts)
