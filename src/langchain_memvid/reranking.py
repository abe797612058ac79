"""Rerankers: a second, slower scoring of the documents that a search found."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from memvid_core import InvalidInputError, named_reranker, run_in_thread

__all__ = ["Reranker", "arerank", "check_reranker", "rerank", "to_reranker"]

Scorer = Callable[[str, list[str]], Sequence[float]] | Callable[[str, list[str]], Awaitable[Sequence[float]]]
Reranker = BaseDocumentCompressor | Scorer
"""A LangChain document compressor, or a function, async or not, from a query and texts to one score per text."""


def to_reranker(given: object) -> Any:
    """Return a reranker: the model for a name, and anything else unchanged.

    Raises:
        InvalidInputError: It is neither the name of a model, nor a document compressor or a function.
    """
    found = named_reranker(given) if isinstance(given, str) else given
    check_reranker(found)
    return found


def check_reranker(reranker: object) -> None:
    """Check that an object can rerank.

    Raises:
        InvalidInputError: It is neither a document compressor nor a function.
    """
    if not isinstance(reranker, BaseDocumentCompressor) and not callable(reranker):
        raise InvalidInputError(
            f"an object of type {type(reranker).__name__} cannot rerank: pass a LangChain document compressor, "
            "a function (query, texts) -> scores, or the name of a cross-encoder"
        )


def rerank(reranker: Reranker, query: str, documents: list[Document], callbacks: Callbacks = None) -> list[Document]:
    """Return the documents in the reranker's order. A compressor may also drop or change documents.

    Args:
        reranker: See :data:`Reranker`.
        query: The question.
        documents: The documents found, best first. Equal scores keep this order.
        callbacks: Passed to a compressor.

    Raises:
        InvalidInputError: The function did not return one finite number per text.

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
        raise InvalidInputError("the reranker is a coroutine function: call ainvoke, or pass a plain function")
    return _ordered(documents, scores)


async def arerank(
    reranker: Reranker, query: str, documents: list[Document], callbacks: Callbacks = None
) -> list[Document]:
    """Async :func:`rerank`. Awaits coroutine functions and runs plain functions in a thread."""
    if not documents:
        return []
    if isinstance(reranker, BaseDocumentCompressor):
        return list(await reranker.acompress_documents(documents, query, callbacks))
    texts = [document.page_content for document in documents]
    scores = await run_in_thread(reranker, query, texts)  # for a coroutine function, this only creates the coroutine
    return _ordered(documents, await scores if inspect.isawaitable(scores) else scores)


def _ordered(documents: list[Document], scores: Any) -> list[Document]:
    try:
        values = np.asarray(scores if hasattr(scores, "__len__") else list(scores), dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise InvalidInputError(
            f"the reranker returned a value of type {type(scores).__name__}, not one number per text: {exc}"
        ) from exc
    if values.shape != (len(documents),):
        raise InvalidInputError(
            f"the reranker returned scores of shape {values.shape} for {len(documents)} texts, not one number per text"
        )
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InvalidInputError(f"the reranker returned {values[at]} for text {at}: scores must be finite")
    return [documents[i] for i in np.argsort(-values, kind="stable").tolist()]
