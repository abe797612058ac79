"""Rerankers: a second, slower look at what a search found."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from memvid_core import InvalidInputError, run_in_thread

__all__ = ["Reranker", "arerank", "check_reranker", "rerank"]

Scorer = Callable[[str, list[str]], Sequence[float]] | Callable[[str, list[str]], Awaitable[Sequence[float]]]
Reranker = BaseDocumentCompressor | Scorer
"""A document compressor of LangChain, or a function, async or not, from a query and texts to a score a text."""


def check_reranker(reranker: object) -> None:
    """Raise if this is no reranker.

    Raises:
        InvalidInputError: Neither a document compressor nor a function.
    """
    if not isinstance(reranker, BaseDocumentCompressor) and not callable(reranker):
        raise InvalidInputError(
            f"an object of type {type(reranker).__name__} cannot rerank: give a document compressor of LangChain, "
            "or a function (query, texts) -> scores"
        )


def rerank(reranker: Reranker, query: str, documents: list[Document], callbacks: Callbacks = None) -> list[Document]:
    """The documents in the reranker's order; a compressor may also drop some, or change them.

    Args:
        reranker: See :data:`Reranker`.
        query: The question.
        documents: What was found, best first; equal scores stay in this order.
        callbacks: Handed to a compressor.

    Raises:
        InvalidInputError: The function gave something else than one finite number a text.

    Example:
        >>> found = [Document("long and winding"), Document("short")]
        >>> rerank(lambda query, texts: [-len(text) for text in texts], "?", found)[0].page_content
        'short'
    """
    if not documents:
        return []
    if isinstance(reranker, BaseDocumentCompressor):
        return list(reranker.compress_documents(documents, query, callbacks))
    scores = reranker(query, [document.page_content for document in documents])
    if inspect.iscoroutine(scores):
        scores.close()
        raise InvalidInputError("the reranker is a coroutine function: use ainvoke, or give a plain function")
    return _ordered(documents, scores)


async def arerank(
    reranker: Reranker, query: str, documents: list[Document], callbacks: Callbacks = None
) -> list[Document]:
    """Async :func:`rerank`: awaits what can be awaited, and runs a plain function in a thread."""
    if not documents:
        return []
    if isinstance(reranker, BaseDocumentCompressor):
        return list(await reranker.acompress_documents(documents, query, callbacks))
    texts = [document.page_content for document in documents]
    scores = await run_in_thread(reranker, query, texts)  # a coroutine function only makes its coroutine there
    return _ordered(documents, await scores if inspect.isawaitable(scores) else scores)


def _ordered(documents: list[Document], scores: Any) -> list[Document]:
    try:
        values = np.asarray(scores if hasattr(scores, "__len__") else list(scores), dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise InvalidInputError(
            f"the reranker gave a value of type {type(scores).__name__}, not one number a text: {exc}"
        ) from exc
    if values.shape != (len(documents),):
        raise InvalidInputError(
            f"the reranker gave scores of shape {values.shape} for {len(documents)} texts: return one number a text"
        )
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InvalidInputError(f"the reranker gave {values[at]} for text {at}, which has no place in an order")
    return [documents[i] for i in np.argsort(-values, kind="stable").tolist()]
