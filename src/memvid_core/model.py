"""The data types of the public API: records, hits, commits, damage, properties of a memory; and plain queries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeGuard, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GIVEN",
    "Commit",
    "Damage",
    "Embedder",
    "FittableEmbedder",
    "FrameLocation",
    "GivenSynonyms",
    "Hit",
    "Index",
    "IndexName",
    "Ivf",
    "MemoryInfo",
    "Metric",
    "Passage",
    "Recency",
    "Record",
    "VectorDtype",
    "Vectors",
    "VerifyReport",
    "is_fittable",
    "plain_query",
]

IndexName = Literal["auto", "exact", "sklearn", "quantized", "ivf"]
"""The name of a vector index; see ``docs/search.md``."""

Metric = Literal["cosine", "euclidean", "manhattan", "chebyshev"]
"""The metric for vectors. The file format numbers the metrics in this order, from 0."""

GivenSynonyms = str | os.PathLike[str] | Mapping[str, str | Iterable[str]]
"""The path of a file with lines such as ``car, automobile, motor car``, or a dict from a phrase to its synonyms."""

VectorDtype = Literal["float16", "float32", "float64", "int8", "none"]
"""How vectors are stored in the file; ``"none"``: they are computed again whenever the index is rebuilt."""

GIVEN: Final = "given"
"""The recorded name of a memory whose vectors were all passed with the records. Any embedder may open it later."""

Metadata = dict[str, Any]


class Ivf(msgspec.Struct, frozen=True):
    """The index ``"ivf"``, with the share of the nearest vectors that it is to find; ``"ivf"`` alone is ``Ivf()``.

    Attributes:
        recall: The share, above 0 and up to 1. A smaller one is found sooner.

    Example:
        >>> from memvid_core import Memory
        >>> with Memory.create(":memory:", index=Ivf(recall=0.9)) as memory:
        ...     memory.add(["the wing lifts"])
        ...     memory.search("a wing", mode="dense")[0].text
        ['...']
        'the wing lifts'
    """

    recall: float = 0.98


Index = IndexName | Ivf
"""How vectors are searched: the name of an index, or an index with its settings."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record: an id, a text and metadata.

    LangChain calls it a Document, LlamaIndex a node.

    Example:
        >>> Record("a", "hello", {"page": 1}).metadata["page"]
        1
    """

    id: str
    text: str
    metadata: Metadata = {}


class Passage(msgspec.Struct, frozen=True, gc=False):
    """The part of a record's text that answers a question best.

    Attributes:
        text: The part.
        start: The offset of its first character in the record's text.
        end: The offset after its last character.
    """

    text: str
    start: int
    end: int


class Hit(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A record found by a search, with its score and rank (from 0).

    Attributes:
        record: The record.
        score: In [0, 1], higher is better; the meaning depends on the mode (``memvid_core.engine.fusion``).
        rank: The position in the result, from 0.
        cosine: The cosine of query and record, in [-1, 1], if the search used vectors and the metric is cosine.
        vector: The stored vector (d,), if requested by ``with_vectors``.
        explain: The contribution of each ranking to the score, if requested by ``explain``.
        distance: The distance of query and record, if the search used vectors and the metric is a distance.
        relevance: In [0, 1], higher is better. Unlike the score of a hybrid search, it does not depend on the other
            hits, so it can be compared between questions (``docs/search.md``).
        passage: The sentences of the text that answer the question best, if requested by ``passage``.
    """

    record: Record
    score: float
    rank: int
    cosine: float | None = None
    vector: Any = None
    explain: dict[str, float] | None = None
    distance: float | None = None
    relevance: float | None = None
    passage: Passage | None = None

    @property
    def id(self) -> str:
        """The record's id."""
        return self.record.id

    @property
    def text(self) -> str:
        """The record's text."""
        return self.record.text

    @property
    def metadata(self) -> dict[str, Any]:
        """The record's metadata."""
        return self.record.metadata

    def __repr__(self) -> str:
        return f"Hit({self.score:.3f}, {self.record!r})"


class Recency(msgspec.Struct, frozen=True):
    """Reduce the scores of older records.

    Attributes:
        field: A metadata path to a time, in seconds since 1970 or as ISO 8601 text (UTC without a time zone). A record
            without a time counts as very old.
        half_life: The time in seconds in which the recency factor halves.
        weight: The share of a score that depends on age, in [0, 1].
        now: The current time in seconds since 1970; None is the time of the search.
    """

    field: str
    half_life: float
    weight: float = 0.5
    now: float | None = None


class Commit(msgspec.Struct, frozen=True):
    """One atomic change: its number (from 1), UTC time, and counts of records added and deleted, frames and bytes."""

    number: int
    time: datetime
    added: int
    deleted: int
    frames: int
    bytes: int


class Damage(msgspec.Struct, frozen=True):
    """One damage of the file: its location, the loss, and the reason. Nothing is lost if all three numbers are 0.

    Attributes:
        frame: The number of the frame, if known.
        commit: The number of the commit, if known.
        records: The number of lost records.
        reason: A description of the damage.
        vectors: The number of lost vectors of readable records.
        deletions: The number of lost deletions, so that deleted records are live again.
        restored: Whether the commit is complete all the same, so that ``compact()`` repairs the file.
    """

    frame: int | None
    commit: int | None
    records: int
    reason: str
    vectors: int = 0
    deletions: int = 0
    restored: bool = False


class VerifyReport(msgspec.Struct, frozen=True):
    """The report of ``verify``: counts of what was read, and the damage found.

    ``repaired`` lists the unreadable frames that were restored from parity: nothing is lost, but less redundancy
    remains. ``torn_copies`` are files next to the memory with copies of torn tails, which contain records of
    interrupted writes.
    """

    commits: int
    frames: int
    records: int
    bytes: int
    torn_bytes: int
    damage: tuple[Damage, ...] = ()
    repaired: tuple[int, ...] = ()
    torn_copies: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the file has no damage and no torn tail."""
        return not self.damage and not self.torn_bytes


class MemoryInfo(msgspec.Struct, frozen=True):
    """The properties and sizes of a memory.

    ``lost`` is the number of records lost to damaged frames or missing parts of the file. ``damage`` is known damage,
    without reading the whole file as :meth:`Memory.verify` does; it alone counts lost deletions, whose records are live
    again, and lost vectors. ``torn_bytes`` is the size of an interrupted write,
    or of a truncated copy, at the end of the file; ``torn_copies`` are files next to the memory with copies of torn
    tails. ``index_in_ram`` says why the index folder is not used: then the index is in RAM, and each opening builds it
    again. It is empty if the index is in the folder.
    """

    path: str
    format_version: int
    codec: str
    records: int
    deleted: int
    lost: int
    commits: int
    frames: int
    bytes: int
    index_bytes: int
    dimension: int | None
    vector_dtype: str
    metric: str
    embedder: str
    created: datetime
    modified: datetime
    description: str = ""
    damage: tuple[Damage, ...] = ()
    torn_bytes: int = 0
    torn_copies: tuple[str, ...] = ()
    index_in_ram: str = ""

    @property
    def ok(self) -> bool:
        """Whether no damage is known."""
        return not (self.damage or self.torn_bytes)


class FrameLocation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The location of a frame with records or vectors in the file, and its rows.

    Attributes:
        frame: The number of the frame.
        offset: Its offset in the file, in bytes.
        size: Its size, in bytes.
        kind: The kind of the frame.
        row: Its first row.
        items: The number of rows that begin in it; 0 if it continues the previous frame.
    """

    frame: int
    offset: int
    size: int
    kind: int
    row: int
    items: int


Vectors = NDArray[np.floating[Any]]


@runtime_checkable
class Embedder(Protocol):
    """Embed texts as vectors of one dimension.

    ``name`` is the name that a memory records: equal names mean comparable vectors, in any process and on any machine.
    ``dimension`` is ``None`` if it is only known after the first call. The async methods never block the event loop.

    Example:
        >>> from memvid_core.embedding import HashingEmbedder
        >>> isinstance(HashingEmbedder(), Embedder)
        True
    """

    @property
    def name(self) -> str:
        """The name recorded in a memory, such as ``"langchain:OpenAIEmbeddings:text-embedding-3-small"``."""
        ...

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, or ``None`` if it is not known yet."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts to be stored, as float32 ``(len(texts), dimension)``."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """Embed a question, as float32 ``(dimension,)``."""
        ...

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Run ``embed_documents`` without blocking the event loop."""
        ...

    async def aembed_query(self, text: str) -> Vectors:
        """Run ``embed_query`` without blocking the event loop."""
        ...


@runtime_checkable
class FittableEmbedder(Embedder, Protocol):
    """An embedder that is fitted to the texts of a memory. The fit is stored in the memory as bytes."""

    @property
    def fitted(self) -> bool:
        """Whether the embedder is fitted."""
        ...

    def clone(self) -> FittableEmbedder:
        """Return an unfitted embedder with the same settings. Each memory fits its own."""
        ...

    def fit(self, texts: Sequence[str]) -> None:
        """Fit the embedder to texts, replacing an earlier fit; too few texts leave it unfitted."""
        ...

    def dump(self) -> bytes:
        """Return the fit as bytes, which ``load`` accepts on any machine."""
        ...

    def load(self, data: bytes) -> None:
        """Load the fit of another instance; raise ``EmbeddingError`` and change nothing if the bytes are damaged."""
        ...


_OF_FITTABLE: Final = tuple(name for name in dir(FittableEmbedder) if not name.startswith("_"))


def is_fittable(embedder: object) -> TypeGuard[FittableEmbedder]:
    """Return what ``isinstance(embedder, FittableEmbedder)`` does, which takes Python 3.11 twenty times as long."""
    return all(hasattr(embedder, name) for name in _OF_FITTABLE)


# What `words/analyzer` reads as syntax.
_SYNTAX = re.compile(r"""["*]|(?<![^\s"*])-(?=["\w])(?!\d)""")


def plain_query(text: str) -> str:
    """Remove query syntax from a text, so that quotes, minus signs and stars have no effect.

    Use it for texts that were not written as queries, such as chat messages: ``He said "see you"`` would otherwise
    find only texts that contain these words in this order.

    Args:
        text: Any text.

    Returns:
        The same words.

    Example:
        >>> plain_query('the "jet engine" -kerosene, by-pass -5 degrees')
        'the  jet engine   kerosene, by-pass -5 degrees'
    """
    return _SYNTAX.sub(" ", text)
