"""MemvidStore: a memory as a LangGraph long-term store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
)
from langgraph.store.base.embed import ensure_embeddings
from typing_extensions import override

from langchain_memvid.agents.items import Stored, check_ttl, item_id, items_where, matches, utc_now
from langchain_memvid.agents.plan import Plan, check_keys
from langchain_memvid.agents.record_schema import (
    CREATED,
    EXPIRES,
    FIELD,
    FIELDS,
    IN_RAM,
    ITEM,
    KIND,
    is_id_of,
    memory_of,
    parse_id,
)
from langchain_memvid.opening import OverMemory
from langchain_memvid.parameters import StoreSearch
from langchain_memvid.wording import our_words
from memvid_core import (
    DimensionError,
    Embedder,
    HashingEmbedder,
    Hit,
    Index,
    InvalidInputError,
    LockedError,
    Memory,
    Metric,
    ReadOnlyError,
    Record,
    plain_query,
    run_in_thread,
)

__all__ = ["MemvidStore"]

_EMBEDDER = "index={'embed': ...}"  # the embedder argument of a store


@dataclass
class Embedded:
    """Hold the vectors of a batch: of its queries, and of the texts that it puts."""

    queries: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)


class MemvidStore(BaseStore, OverMemory):
    """Store facts that outlive a conversation in one MP4 file: LangGraph's ``BaseStore``.

    All puts and deletes of one batch are one commit. Items are returned in the order of creation, or, for a query, best
    first. The score is the cosine, or ``1 / (1 + distance)`` with another metric. With the built-in embedder, which
    also searches by words, it is in [0, 1].

    In addition to LangGraph's filters, ``filter`` takes the operators and groups of the core (``docs/filters.md``).

    Args:
        path: The MP4 file; it is created if it does not exist. ``":memory:"`` keeps everything in RAM.
        index: What is embedded and how: LangGraph's ``{"embed": ..., "dims": ..., "fields": [...]}``; each key is
            optional. By default, the built-in offline embedder embeds the whole value. False embeds nothing and ignores
            queries.
        search: How queries are answered, in addition to LangGraph's arguments: ``{"min_relevance": 0.5}`` leaves out
            items below a relevance, ``{"unique": True}`` returns items with equal texts once; ``alpha``, ``fusion``,
            ``rerank``, ``fuzzy`` and ``synonyms`` are those of :meth:`memvid_core.Memory.search`.
        ttl: How long items live: LangGraph's ``TTLConfig``. Expired items are not returned, unless ``omit_expired`` is
            False. :meth:`sweep_ttl` deletes them; so does a write, every ``sweep_interval_minutes``. Reading an item
            restarts its lifetime; this is stored only after a tenth of it has passed.
        mode: ``"a"`` to read and write, ``"r"`` to read.
        memory: An open memory to use instead of ``path``. :meth:`close` leaves it open.
        vector_index: How vectors are searched: ``"auto"``, ``"exact"``, ``"sklearn"``, ``"quantized"``, ``"ivf"`` or
            ``Ivf``, as ``index`` of :meth:`memvid_core.Memory.open`; LangGraph uses the name ``index`` for what is
            embedded.
        metric: How a new file compares vectors: ``"cosine"`` (the default), ``"euclidean"``, ``"manhattan"`` or
            ``"chebyshev"``. For an existing file, it must be the metric of that file; None uses the file's metric.
        index_dir: The folder of the index; by default ``<path>.index``, next to the file.
        timeout: How many seconds a write waits for other writers.

    Any number of stores, savers, threads and processes may write one file. In a coroutine,
    ``async with await MemvidStore.aopen("facts.mp4") as store`` does not block the event loop.

    Raises:
        InvalidInputError: Arguments conflict.
        MemoryNotFoundError: The folder, or with ``mode="r"`` the file, does not exist.
        EmbedderMismatchError: A different embedder wrote the file.

    Example:
        >>> with MemvidStore("facts.mp4") as store:
        ...     store.put(("users", "ada"), "drink", {"text": "Ada drinks tea", "sure": True})
        ...     store.search(("users",), query="tea", filter={"sure": True})[0].value["text"]
        'Ada drinks tea'
    """

    supports_ttl = True

    def __init__(
        self,
        path: str | os.PathLike[str] = IN_RAM,
        *,
        index: IndexConfig | Literal[False] | None = None,
        search: StoreSearch | None = None,
        ttl: TTLConfig | None = None,
        mode: Literal["a", "r"] = "a",
        memory: Memory | None = None,
        vector_index: Index = "auto",
        metric: Metric | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        config: IndexConfig = {} if index is None or index is False else index
        check_keys(config, IndexConfig, "index")
        check_keys({} if ttl is None else ttl, TTLConfig, "ttl")
        check_keys({} if search is None else search, StoreSearch, "search")
        embed = config.get("embed")
        if memory is not None and embed is not None:
            raise InvalidInputError("give either an open memory or index={'embed': ...}: a memory has its own embedder")
        self.ttl_config = ttl
        self._options: dict[str, Any] = dict(search or {})
        self._lifetimes = _Lifetimes(ttl or {})
        self._fields = None if index is False else list(config.get("fields") or ["$"])
        self._dimension = config.get("dims")
        known = embed is None or isinstance(embed, Embedder)
        embedder = "given" if index is False else embed if known else ensure_embeddings(embed)
        options: dict[str, Any] = {"metric": metric, "index_dir": index_dir, "timeout": timeout}
        opened = memory_of(memory, path, mode, embedder, _EMBEDDER, index=vector_index, **options)
        self._hold(
            opened, owned=memory is None, index=index, search=search, ttl=ttl, vector_index=vector_index, **options
        )
        if memory is not None and index is not False and (made := self._embedder()) is not None:
            self._arguments["index"] = {**config, "embed": made}
        self._last = utc_now()

    def __repr__(self) -> str:
        return f"MemvidStore({self.memory!r})"

    # --- batch and abatch ---

    @override
    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: reads see the state before the batch, all writes are one commit, and the last put wins.

        Raises:
            InvalidNamespaceError: A label is empty, is not a ``str``, or contains a dot.
            InvalidInputError: A value, filter or ttl is invalid. Nothing is written.
        """
        plan, vectors = Plan(ops, self._fields), Embedded()
        if (embedder := self._embedder_for(plan)) is not None:
            vectors.queries = {query: embedder.embed_query(query) for query in plan.queries}
            if plan.texts:
                vectors.texts = self._by_text(plan.texts, embedder.embed_documents(plan.texts))
        results, stale = self._read(plan, vectors)
        self._write(plan, vectors, stale)
        return results

    @override
    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Async :meth:`batch`. Awaits the embedder; the rest runs in a thread."""
        plan, vectors = Plan(ops, self._fields), Embedded()
        if (embedder := self._embedder_for(plan)) is not None:
            found = await asyncio.gather(*(embedder.aembed_query(query) for query in plan.queries))
            vectors.queries = dict(zip(plan.queries, found, strict=True))
            if plan.texts:
                vectors.texts = self._by_text(plan.texts, await embedder.aembed_documents(plan.texts))
        results, stale = await run_in_thread(self._read, plan, vectors)
        if plan.puts or stale:
            await self._written(self._write, plan, vectors, stale)
        return results

    def _embedder_for(self, plan: Plan) -> Embedder | None:
        embedder = self.memory.embedder
        if embedder is None and plan.texts:
            raise InvalidInputError(
                "this memory was opened without the embedder that wrote it: give index={'embed': ...}, or index=False "
                "to store items that are found by filter alone"
            )
        return embedder

    def _by_text(self, texts: Sequence[str], matrix: Any) -> dict[str, Any]:
        if len(matrix) and self._dimension is not None and matrix.shape[1] != self._dimension:
            raise DimensionError(
                f"the embedder returned vectors of {matrix.shape[1]} components, but index['dims'] is {self._dimension}"
            )
        return dict(zip(texts, matrix, strict=False))  # if an embedder returned nothing, items have no vectors

    def _read(self, plan: Plan, vectors: Embedded) -> tuple[list[Result], list[str]]:
        """Return the results, and the ids of the items whose lifetime a read restarts."""
        with our_words(_EMBEDDER):
            return self._answers(plan, vectors)

    def _answers(self, plan: Plan, vectors: Embedded) -> tuple[list[Result], list[str]]:
        now = utc_now().timestamp()
        results: list[Result] = [None] * len(plan.ops)
        touched: dict[str, Stored] = {}
        for place, op in enumerate(plan.ops):
            if isinstance(op, GetOp):
                got = self._get(op, now)
                results[place] = None if got is None else got.item()
                touched |= {got.id: got} if got is not None and op.refresh_ttl else {}
            elif isinstance(op, SearchOp):
                items = self._search(op, plan.queries, vectors, now)
                results[place] = [found.found(score) for found, score in items]
                touched |= {found.id: found for found, _ in items} if op.refresh_ttl else {}
            elif isinstance(op, ListNamespacesOp):
                results[place] = self._namespaces(op, now)
        return results, [name for name, found in touched.items() if found.is_stale(now)]

    # --- reading ---

    def _get(self, op: GetOp, now: float) -> Stored | None:
        records = self.memory.get([item_id(op.namespace, op.key)])
        found = Stored.of(records[0]) if records else None
        return found if found is not None and self._lifetimes.shows(found, now) else None

    def _search(
        self, op: SearchOp, queries: Sequence[str], vectors: Embedded, now: float
    ) -> list[tuple[Stored, float | None]]:
        end = op.offset + op.limit
        if not op.limit:
            return []
        where = items_where(op.namespace_prefix, op.filter, self._lifetimes.from_(now))
        if op.query is None or op.query not in queries:  # a blank query
            return [(found, None) for found in self._listed(where, op.offset, end)]
        ranked = self._ranked(op.query, vectors.queries.get(op.query), end, where)
        if len(ranked) < end and self._options.get("min_relevance") is None:
            without = {"$and": [where, {FIELDS: 0}]}
            ranked += [(found, None) for found in self._listed(without, 0, end - len(ranked))]
        return ranked[op.offset : end]

    def _listed(self, where: dict[str, Any], start: int, end: int) -> list[Stored]:
        """Return a range of the matching items in order of creation; reads and updates do not reorder them."""
        names = self.memory.ids({"$and": [where, {KIND: ITEM}]}, order_by=CREATED)
        wanted = [name for name in names if is_id_of(ITEM, name)][start:end]
        return [found for record in self.memory.get(wanted) if (found := Stored.of(record)) is not None]

    def _ranked(self, query: str, vector: Any, wanted: int, where: dict[str, Any]) -> list[tuple[Stored, float | None]]:
        """Return the best ``wanted`` items, each with the score of its best text."""
        scored = {"$and": [where, {FIELDS: {"$gt": 0}}]}
        mode = self._mode()
        k = wanted
        while True:
            hits = self.memory.search(plain_query(query), k, scored, mode, embedding=vector, **self._options)
            best: dict[str, tuple[Stored, float | None]] = {}
            for hit in hits:
                stored = Stored.of(hit.record)
                if stored is not None:
                    best.setdefault(stored.id, (stored, _score(hit, mode)))
            if len(best) >= wanted or len(hits) < k:
                return list(best.values())[:wanted]
            k *= 2  # several hits belonged to one item

    def _mode(self) -> Literal["dense", "lexical", "hybrid"]:
        embedder = self.memory.embedder
        if embedder is None:
            return "lexical"
        return "hybrid" if isinstance(embedder, HashingEmbedder) else "dense"

    def _namespaces(self, op: ListNamespacesOp, now: float) -> list[tuple[str, ...]]:
        where = {"$and": [{KIND: ITEM}, items_where((), None, self._lifetimes.from_(now))]}
        found = (name for name in self.memory.ids(where) if is_id_of(ITEM, name))
        there = {tuple(parse_id(ITEM, name)[:-1]) for name in found}
        conditions = op.match_conditions or ()
        kept = (names for names in there if all(matches(names, condition) for condition in conditions))
        return sorted({names[: op.max_depth] for names in kept})[op.offset : op.offset + op.limit]

    # --- writing ---

    def _write(self, plan: Plan, vectors: Embedded, touched: list[str]) -> None:
        """Commit puts, deletes, restarted lifetimes and swept items together."""
        if not plan.puts and not touched:
            return
        try:
            with our_words(_EMBEDDER), self.memory.exclusive():  # reading and writing must see the same records
                self._rows(plan, vectors, touched).commit(self.memory)
        except (ReadOnlyError, LockedError):
            if plan.puts:  # a read succeeds even if its new lifetime cannot be stored
                raise

    def _rows(self, plan: Plan, vectors: Embedded, touched: list[str]) -> _Rows:
        rows = _Rows()
        before = {record.id: record for record in self.memory.get(list(dict.fromkeys([*plan.puts, *touched])))}
        for name, record in before.items():
            if name not in plan.puts:
                self._refresh(rows, record)
        for name, op in plan.puts.items():
            old = Stored.of(before[name]) if name in before else None
            rows.gone += [] if old is None else old.ids
            if op.value is not None:
                self._put(rows, op, old, plan.texts_of[name], vectors.texts)
        if plan.puts and self._lifetimes.sweep_is_due():
            rows.gone += self._expired()
        return rows

    def _put(self, rows: _Rows, op: PutOp, old: Stored | None, texts: list[str], vectors: dict[str, Any]) -> None:
        # Each put has a unique, increasing time, so creation times order the items.
        now = utc_now()
        self._last = max(now, self._last + timedelta(microseconds=1))
        if old is not None and not self._lifetimes.shows(old, now.timestamp()):
            old = None
        embedded = [text for text in texts if text in vectors]
        stored = Stored.put(op, old, len(embedded), self._last, now.timestamp())
        if embedded:
            rows.add(stored, embedded, [vectors[text] for text in embedded])
        else:
            rows.add(stored, [Plan.whole(op)], [None])

    def _refresh(self, rows: _Rows, record: Record) -> None:
        found = Stored.of(record)
        if found is None or not found.is_stale(utc_now().timestamp()):  # another writer put or read it in the meantime
            return
        texts = [part.text for part in self.memory.get(found.ids)]
        kept = self.memory.get_vectors(found.ids)
        again = replace(found, expires=utc_now().timestamp() + 60 * (found.ttl or 0))
        rows.add(again, texts, [kept.get(name) for name in found.ids])

    def _expired(self) -> list[str]:
        self._lifetimes.swept = utc_now()
        found = self.memory.ids({KIND: {"$in": [ITEM, FIELD]}, EXPIRES: {"$lte": utc_now().timestamp()}})
        return [name for name in found if is_id_of(ITEM, name) or is_id_of(FIELD, name)]

    def sweep_ttl(self) -> int:
        """Delete expired items as one commit; return how many."""
        with our_words(_EMBEDDER), self.memory.exclusive():
            gone = self._expired()
            if gone:
                self.memory.delete(gone)
        return sum(is_id_of(ITEM, name) for name in gone)

    async def asweep_ttl(self) -> int:
        """Async :meth:`sweep_ttl`."""
        return await self._written(self.sweep_ttl)


class _Lifetimes:
    """Hold LangGraph's ``TTLConfig``, checked, and the time of the last sweep."""

    def __init__(self, config: TTLConfig) -> None:
        check_ttl(config.get("default_ttl"))
        self._interval = check_ttl(config.get("sweep_interval_minutes"))
        self._omits = config.get("omit_expired", True)
        self.swept = utc_now()

    def from_(self, now: float) -> float | None:
        """Return the time at which items must be alive to be returned; None returns expired items too."""
        return now if self._omits else None

    def shows(self, found: Stored, now: float) -> bool:
        """Return whether an item is returned by reads."""
        return not self._omits or found.expires is None or found.expires > now

    def sweep_is_due(self) -> bool:
        """Return whether the next write must sweep; also if the clock was set back since the last sweep."""
        if self._interval is None:
            return False
        return not timedelta(0) <= utc_now() - self.swept < timedelta(minutes=self._interval)


class _Rows:
    """Collect the records of one commit."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.vectors: list[Any] = []
        self.gone: list[str] = []

    def add(self, stored: Stored, texts: Sequence[str], vectors: Sequence[Any]) -> None:
        """Add an item with its texts and their vectors; the first text is the item's own record."""
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            self.texts.append(text)
            self.metadata.append(stored.metadata(FIELD if number else ITEM))
            self.ids.append(stored.ids[number])
            self.vectors.append(vector)

    def commit(self, memory: Memory) -> None:
        """Commit the collected records; without any, nothing is committed."""
        memory.add(self.texts, self.metadata, self.ids, self.vectors, delete=self.gone)


def _score(hit: Hit, mode: str) -> float:
    return hit.score if mode != "dense" or hit.cosine is None else hit.cosine
