"""SearchRequest: the checked arguments of one search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memvid_core.embedding import check_vector
from memvid_core.embedding.reranking import named_reranker
from memvid_core.engine.fusion import CANDIDATES
from memvid_core.engine.given_synonyms import read_synonyms
from memvid_core.engine.validation import check_count
from memvid_core.errors import Action, Hint, InvalidInputError, QueryError
from memvid_core.model import Embedder, GivenSynonyms, Recency, Record, is_fittable
from memvid_core.words.bm25 import NOTHING, Extra

__all__ = ["Diversity", "Fusion", "Mode", "Rerank", "SearchRequest", "Where", "default_mode"]

Mode = Literal["dense", "lexical", "hybrid"]
Fusion = Literal["score", "rank"]
Where = Mapping[str, Any] | Callable[[Record], bool]
Rerank = Callable[[str, list[str]], Sequence[float] | NDArray[Any]]
"""A function of a query and texts that returns one score per text; higher is better."""


def default_mode(embedder: Embedder | None, *, has_text: bool = True) -> Mode:
    """Return the mode of a search without an explicit one.

    Args:
        embedder: The memory's embedder.
        has_text: Whether the query is a text, and not a vector.

    Returns:
        ``"hybrid"`` for a text, ``"lexical"`` for a text without an embedder, ``"dense"`` for a vector.
    """
    if not has_text:
        return "dense"
    return "lexical" if embedder is None else "hybrid"


@dataclass(frozen=True)
class Diversity:
    """Maximal marginal relevance: choose among ``fetch_k`` candidates by score and by difference from the others.

    Raises:
        InvalidInputError: ``lambda_mult`` is not a number from 0 to 1.
        QueryError: ``fetch_k`` is not a count.
    """

    fetch_k: int
    lambda_mult: float

    def __post_init__(self) -> None:
        if not _is_fraction(self.lambda_mult):
            raise InvalidInputError(f"lambda_mult is a number from 0 to 1, not {self.lambda_mult!r}")
        check_count(self.fetch_k, "fetch_k is a number of candidates")


@dataclass(frozen=True)
class SearchRequest:
    """A search: the query as a text, a vector (d,) or both, and its options. Made by :meth:`of`.

    ``vector`` is None until the text is embedded, if the mode needs that.
    """

    text: str | None
    vector: NDArray[Any] | None
    k: int
    mode: Mode
    where: Where | None = None
    alpha: float | None = None
    fusion: Fusion = "score"
    recency: Recency | None = None
    rerank: Rerank | None = None
    with_vectors: bool = False
    explain: bool = False
    diversity: Diversity | None = None
    min_relevance: float | None = None
    unique: bool = False
    passage: int | None = None
    extra: Extra = NOTHING

    @classmethod
    def of(
        cls,
        embedder: Embedder | None,
        query: str | ArrayLike,
        k: int,
        where: Where | None,
        mode: Mode | None,
        *,
        embedding: ArrayLike | None = None,
        alpha: float | None = None,
        fusion: Fusion = "score",
        recency: Recency | None = None,
        rerank: Rerank | str | None = None,
        with_vectors: bool = False,
        explain: bool = False,
        diversity: Diversity | None = None,
        min_relevance: float | None = None,
        unique: bool = False,
        passage: int | None = None,
        fuzzy: bool = True,
        synonyms: GivenSynonyms | None = None,
    ) -> SearchRequest:
        """Check the arguments of a search; see :meth:`memvid_core.Memory.search`.

        Args:
            embedder: The memory's embedder, which decides the mode if none is given.
            query: The text, or its vector (d,).
            k: The largest number of hits.
            where: A filter.
            mode: The mode; None chooses one.
            embedding: The vector (d,) of a query that is a text.
            alpha: The weight of the dense part of a hybrid search.
            fusion: Whether a hybrid search fuses scores or ranks.
            recency: How much less older records count.
            rerank: A function that scores the best candidates again, or the name of a model.
            with_vectors: Whether hits have their stored vector.
            explain: Whether hits have the scores of each part.
            diversity: How much hits differ from each other.
            min_relevance: The least relevance of a hit.
            unique: Whether to leave out hits with the text of a better one.
            passage: The maximum length of the passages of hits, in characters; None for no passages.
            fuzzy: Whether words that no record has are replaced by near words.
            synonyms: Words that mean the same: the path of a file, or a dict.

        Raises:
            QueryError: An argument is invalid.
            InvalidInputError: The file of synonyms cannot be read.
            VectorError: A vector is invalid.
        """
        k = check_count(k, "k is a number of hits")
        text = query if isinstance(query, str) else None
        if text is not None and not text.strip():
            raise QueryError("the query is empty", hint=Hint(Action.FILTER))
        chosen = mode or default_mode(embedder, has_text=text is not None)
        if chosen not in get_args(Mode):
            raise QueryError(f"mode is 'dense', 'lexical' or 'hybrid', not {mode!r}")
        if alpha is not None and not _is_fraction(alpha):
            raise QueryError(f"alpha is the weight of the dense part, from 0 to 1, not {alpha!r}")
        if min_relevance is not None and not _is_fraction(min_relevance):
            raise QueryError(f"min_relevance is a number from 0 to 1, not {min_relevance!r}")
        if fusion not in get_args(Fusion):
            raise QueryError(f"fusion is 'score' or 'rank', not {fusion!r}")
        if recency is not None and not isinstance(recency, Recency):
            raise QueryError(f"recency is a Recency(field, half_life), not {recency!r}")
        if isinstance(rerank, str):
            rerank = named_reranker(rerank)
        if rerank is not None and not callable(rerank):
            raise QueryError(f"rerank is a function of the query and texts, or the name of a model, not {rerank!r}")
        if passage is not None and not (type(passage) is int and passage > 0):
            raise QueryError(f"passage is a maximum length in characters, 1 or more, not {passage!r}")
        if passage is not None and text is None:
            raise QueryError("a passage needs the words of the query, not only a vector")
        vector = None
        if chosen != "lexical" and (text is None or embedding is not None):
            vector = check_vector(query if text is None else embedding, given=text is None, source="the query")
        extra = Extra(bool(fuzzy), read_synonyms(synonyms))
        return cls(
            text, vector, k, chosen, where, alpha, fusion, recency, rerank, with_vectors, explain, diversity,
            min_relevance, bool(unique), passage, extra,
        )  # fmt: skip

    @property
    def to_embed(self) -> str | None:
        """The text to embed before the search; None if there is none."""
        return self.text if self.vector is None and self.mode != "lexical" else None

    async def aembedded(self, embedder: Embedder | None) -> SearchRequest:
        """Return the request with its vector, made by the embedder's async method, if it needs one.

        An embedder that learns embeds later, in the thread that searches, in the state of the snapshot.
        """
        text = self.to_embed
        if text is None or embedder is None or is_fittable(embedder):
            return self
        made: object = await embedder.aembed_query(text)
        return replace(self, vector=made if isinstance(made, np.ndarray) else check_vector(made))

    @property
    def pool(self) -> int:
        """The number of rows to rank before recency and reranking choose ``k``."""
        return self.k if self.recency is None and self.rerank is None else max(self.k, CANDIDATES)


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float | np.floating) and bool(0 <= value <= 1)
