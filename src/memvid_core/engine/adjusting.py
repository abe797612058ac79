"""Adjust a ranking after the search: by the age of records, and by a reranker."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.engine.ranking import Ranked, by_row
from memvid_core.engine.search_request import SearchRequest
from memvid_core.errors import QueryError
from memvid_core.model import Recency, Record

__all__ = ["aged", "reranked"]


def aged(ranked: Ranked, records: Sequence[Record], age: Recency) -> Ranked:
    """Return the rows in the order of their scores and ages.

    Args:
        ranked: The rows.
        records: Their records, in the same order.
        age: How age reduces scores.
    """
    if not len(ranked):
        return ranked
    times = np.array([_time_of(record, age.field) for record in records])
    now = time.time() if age.now is None else age.now
    scores = fusion.recency(ranked.scores, times, now=now, half_life=age.half_life, weight=age.weight)
    return ranked.rescored(scores, len(ranked), recency=scores - ranked.scores)


def reranked(ranked: Ranked, texts: list[str], request: SearchRequest) -> Ranked:
    """Return the best ``k`` rows in the order of the reranker.

    Args:
        ranked: The rows.
        texts: Their texts, in the same order.
        request: The search, with a reranker.

    Raises:
        QueryError: The query is only a vector, or the reranker did not return one finite number per text.
    """
    if request.rerank is None:
        return ranked
    if request.text is None:
        raise QueryError("a reranker needs the words of the query, not only a vector")
    opinions = _opinions(request.rerank(request.text, texts), len(ranked))
    low, high = float(opinions.min()), float(opinions.max())
    inside = low >= 0 and high <= 1  # scores outside [0, 1] are rescaled, which keeps their order
    scores = (opinions if inside else (opinions - low) / ((high - low) or 1.0)).astype(np.float32)
    found = ranked.rescored(scores, request.k, rerank=scores)
    return replace(found, relevance=by_row(found.rows, found.scores)) if inside else found


def _opinions(given: Any, count: int) -> NDArray[np.float64]:
    """Return the scores of a reranker, after checking that there is one finite number per text."""
    if inspect.iscoroutine(given):
        given.close()
        raise QueryError("the reranker is a coroutine function; pass a plain function")
    try:
        opinions = np.asarray(given if hasattr(given, "__len__") else list(given), np.float64)
    except (TypeError, ValueError) as exc:
        raise QueryError(f"the reranker must return one number per text, not {type(given).__name__}: {exc}") from exc
    if opinions.shape != (count,) or not np.isfinite(opinions).all():
        raise QueryError(f"the reranker must return one finite score per text: {count} texts, {opinions.shape}")
    return opinions


def _time_of(record: Record, path: str) -> float:
    """Return the time at a metadata path, in seconds since 1970; NaN if there is none.

    A time without a zone is taken as UTC, so that a memory ranks the same on every machine.
    """
    value: Any = record.metadata
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return float("nan")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
