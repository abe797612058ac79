"""Rerankers by name: cross-encoders, which read a question together with a text. Their packages are optional extras."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding.models import import_package, load
from memvid_core.errors import InvalidInputError

__all__ = ["Reranker", "named_reranker"]

Scores = Callable[[str, list[str]], Sequence[float] | NDArray[Any]]

_WITHOUT_SCORES = ("Model", "ForMaskedLM", "ForPreTraining")  # ends of the names of architectures


class Reranker:
    """Score texts by a cross-encoder, which is loaded at the first call.

    Args:
        name: ``"cross-encoder/ms-marco-MiniLM-L6-v2"`` or another model for sentence-transformers' ``CrossEncoder``, on
            the Hugging Face hub or in a local folder; ``"fastembed:Xenova/ms-marco-MiniLM-L-6-v2"`` for fastembed's
            ``TextCrossEncoder``. ``"sentence-transformers:"`` may precede the former.

    Raises:
        InvalidInputError: The name is empty.
    """

    def __init__(self, name: str) -> None:
        kind, colon, model = name.strip().partition(":")
        if not colon or kind not in _LOADERS:
            kind, model = "sentence-transformers", name.strip()
        if not model:
            raise InvalidInputError(f"{name!r} has no model: write one such as 'cross-encoder/ms-marco-MiniLM-L6-v2'")
        self.name = f"{kind}:{model}"
        self._kind, self._model = kind, model
        self._loading = threading.Lock()
        self._scores: Scores | None = None

    def __repr__(self) -> str:
        return f"Reranker({self.name!r})"

    def __call__(self, question: str, texts: list[str]) -> NDArray[np.float64]:
        """Return the relevance of each text, (n,), in [0, 1].

        Raises:
            MissingExtraError: The package that runs the model is not installed; the message names the extra.
            EmbeddingError: The model cannot be loaded; the message says what to do without a network.
        """
        with self._loading:
            if self._scores is None:
                self._scores = _LOADERS[self._kind](self._model)
        return np.asarray(self._scores(question, texts), np.float64)


@lru_cache(maxsize=4)
def named_reranker(name: str) -> Reranker:
    """Return the reranker with a name, which all searches of the process share.

    Example:
        >>> named_reranker("cross-encoder/ms-marco-MiniLM-L6-v2")
        Reranker('sentence-transformers:cross-encoder/ms-marco-MiniLM-L6-v2')
    """
    return Reranker(name)


def _sentence_transformers(model: str) -> Scores:
    loaded = load(import_package("sentence_transformers", "sentence-transformers").CrossEncoder, model)
    _assert_trained(model, loaded)
    squashed = type(getattr(loaded, "activation_fn", None)).__name__ == "Sigmoid"

    def scores(question: str, texts: list[str]) -> NDArray[Any]:
        found = np.asarray(loaded.predict([(question, text) for text in texts], show_progress_bar=False), np.float64)
        if found.shape != (len(texts),):
            raise InvalidInputError(f"{model!r} does not return one score per text, so it cannot rerank")
        return found if squashed else _logistic(found)

    return scores


def _assert_trained(model: str, loaded: Any) -> None:
    """Refuse a model without a layer that scores pairs: the package would add one of random numbers.

    Raises:
        InvalidInputError: It was stored as an embedding model or as a language model, and loaded as another class.
    """
    inner = getattr(loaded, "model", None)
    stored = getattr(getattr(inner, "config", None), "architectures", None) or []
    if stored and type(inner).__name__ not in stored and all(name.endswith(_WITHOUT_SCORES) for name in stored):
        raise InvalidInputError(
            f"{model!r} is a {stored[0]}, which has no trained scores for pairs, so it cannot rerank; name a"
            " cross-encoder such as 'cross-encoder/ms-marco-MiniLM-L6-v2'"
        )


def _fastembed(model: str) -> Scores:
    import_package("fastembed", "fastembed")
    made = import_package("fastembed.rerank.cross_encoder", "fastembed").TextCrossEncoder
    loaded = load(made, model, folders=False)
    return lambda question, texts: _logistic(np.array(list(loaded.rerank(question, texts)), np.float64))


_LOADERS: dict[str, Callable[[str], Scores]] = {
    "sentence-transformers": _sentence_transformers,
    "fastembed": _fastembed,
}


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map logits to [0, 1]."""
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return found
