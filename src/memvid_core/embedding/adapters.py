"""Adapters for external models. They use duck typing and import no framework."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from memvid_core.embedding.identity import identity, names_model, old_identity
from memvid_core.embedding.protocol import check_vector, check_vectors
from memvid_core.errors import EmbedderWarning, EmbeddingError, MemvidError
from memvid_core.model import Vectors
from memvid_core.system.threads import run_in_thread

__all__ = ["CallableEmbedder", "EncodeEmbedder", "LangChainEmbedder", "LlamaIndexEmbedder"]

_CHECK_IN_THREAD = 256  # vectors; validating more would block the event loop for milliseconds


class _Adapter:
    """Call an external model and validate its vectors; the base class of all adapters."""

    def __init__(self, kind: str, model: object, name: str | None, dimension: int | None, exact: bool) -> None:
        self._name = name or f"{kind}:{identity(model)}"
        self._old_name = None if name else f"{kind}:{old_identity(model)}"
        self._old_name_tells = name is not None or names_model(model)
        self._dimension = dimension
        self._dtype = None if exact else np.float32

    @property
    def name(self) -> str:
        """The name that a memory records."""
        return self._name

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors; ``None`` until it is known."""
        return self._dimension

    def matches(self, recorded: str) -> bool:
        """Return whether a memory that recorded a name was written by this embedder.

        Older versions did not record deployment, reduced dimension and wrapped model. Such a name matches, with an
        ``EmbedderWarning`` if another model could have the same name.
        """
        if recorded == self._name:
            return True
        if recorded != self._old_name:
            return False
        if not self._old_name_tells:
            warnings.warn(EmbedderWarning(recorded, self._name), stacklevel=3)
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self._name!r}, dimension={self._dimension})"

    def _documents(self, texts: list[str]) -> object:
        raise NotImplementedError

    def _query(self, text: str) -> object:
        raise NotImplementedError

    def _adocuments(self, texts: list[str]) -> Awaitable[object] | None:
        """Return the model's own coroutine, or ``None`` if it has no non-blocking one."""
        return None

    def _aquery(self, text: str) -> Awaitable[object] | None:
        return None

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts to be stored.

        Args:
            texts: The texts. If there are none, the model is not called.

        Returns:
            ``(len(texts), dimension)``; ``(0, 0)`` with a ``UserWarning`` if the model returned no vectors.

        Raises:
            EmbeddingError: If the model failed (its exception is the cause) or returned a wrong number of vectors.
            VectorError: If components are not finite numbers.
        """
        texts = _texts(texts)
        if not texts:
            return self._none()
        try:
            vectors = self._documents(texts)
        except Exception as error:
            raise self._failed(error, len(texts)) from error
        return self._checked(vectors, len(texts))

    def embed_query(self, text: str) -> Vectors:
        """Embed a question as ``(dimension,)``; ``(0,)`` with a ``UserWarning`` if the model returned no vector.

        Raises:
            EmbeddingError: If the model failed; its exception is the cause.
            VectorError: If components are not finite numbers.
        """
        try:
            vector = self._query(text)
        except Exception as error:
            raise self._failed(error, 1) from error
        return self._checked_query(vector)

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts by awaiting the model's own coroutine, or by running a synchronous model in a thread."""
        texts = _texts(texts)
        if not texts:
            return self._none()
        try:
            call = self._adocuments(texts)
            vectors = await (run_in_thread(self._documents, texts) if call is None else call)
        except Exception as error:
            raise self._failed(error, len(texts)) from error
        if len(texts) > _CHECK_IN_THREAD:
            return await run_in_thread(self._checked, vectors, len(texts))
        return self._checked(vectors, len(texts))

    async def aembed_query(self, text: str) -> Vectors:
        """Embed a question by awaiting the model's own coroutine, or by running a synchronous model in a thread."""
        try:
            call = self._aquery(text)
            vector = await (run_in_thread(self._query, text) if call is None else call)
        except Exception as error:
            raise self._failed(error, 1) from error
        return self._checked_query(vector)

    def _none(self) -> Vectors:
        return np.zeros((0, self._dimension or 0), dtype=np.float32)

    def _checked(self, vectors: object, count: int) -> Vectors:
        matrix = check_vectors(vectors, count, dtype=self._dtype, source=self._name)
        if len(matrix):
            self._dimension = matrix.shape[1]
        return matrix

    def _checked_query(self, vector: object) -> Vectors:
        checked = check_vector(vector, dtype=self._dtype, source=self._name)
        if len(checked):
            self._dimension = len(checked)
        return checked

    def _first(self, vectors: object) -> object:
        checked = check_vectors(vectors, 1, dtype=self._dtype, source=self._name)
        return checked[0] if len(checked) else np.zeros(0, dtype=np.float32)

    def _failed(self, error: Exception, count: int) -> MemvidError:
        if isinstance(error, MemvidError):
            return error
        texts = "1 text" if count == 1 else f"{count} texts"
        return EmbeddingError(f"{self._name} failed on {texts}: {type(error).__name__}: {error}")


class LangChainEmbedder(_Adapter):
    """Adapt a LangChain ``Embeddings`` object, or any object with its methods.

    Args:
        model: An object with ``embed_documents`` and ``embed_query``; ``aembed_documents`` and ``aembed_query`` are
            used if it has them.
        name: The name to record; by default ``langchain:<class>:<model name>``.
        exact: Keep float64 vectors of the model.
    """

    def __init__(self, model: Any, *, name: str | None = None, exact: bool = False) -> None:
        super().__init__("langchain", model, name, None, exact)
        self.model = model

    def _documents(self, texts: list[str]) -> object:
        return self.model.embed_documents(texts)

    def _query(self, text: str) -> object:
        return self.model.embed_query(text)

    def _adocuments(self, texts: list[str]) -> Awaitable[object] | None:
        return _call_async(self.model, "aembed_documents", texts)

    def _aquery(self, text: str) -> Awaitable[object] | None:
        return _call_async(self.model, "aembed_query", text)


class LlamaIndexEmbedder(_Adapter):
    """Adapt a LlamaIndex ``BaseEmbedding`` object, or any object with its methods.

    Args:
        model: An object with ``get_text_embedding_batch`` and ``get_query_embedding``. Their ``aget_`` versions are
            awaited, unless they only call the synchronous ones and would block, as in local models: these run in a
            thread.
        name: The name to record; by default ``llama-index:<class>:<model name>``.
        exact: Keep float64 vectors of the model.
    """

    def __init__(self, model: Any, *, name: str | None = None, exact: bool = False) -> None:
        super().__init__("llama-index", model, name, None, exact)
        self.model = model

    def _documents(self, texts: list[str]) -> object:
        return self.model.get_text_embedding_batch(texts)

    def _query(self, text: str) -> object:
        return self.model.get_query_embedding(text)

    def _adocuments(self, texts: list[str]) -> Awaitable[object] | None:
        cls = type(self.model)
        hook = getattr(cls, "_aget_text_embeddings", None)
        one_by_one = getattr(hook, "__qualname__", "").startswith("BaseEmbedding.")  # the default: text after text
        if _hands_on(cls, "_aget_text_embeddings", "_get_text_embeddings"):
            return None
        if one_by_one and _hands_on(cls, "_aget_text_embedding", "_get_text_embedding"):
            return None
        return _call_async(self.model, "aget_text_embedding_batch", texts)

    def _aquery(self, text: str) -> Awaitable[object] | None:
        if _hands_on(type(self.model), "_aget_query_embedding", "_get_query_embedding"):
            return None
        return _call_async(self.model, "aget_query_embedding", text)


class EncodeEmbedder(_Adapter):
    """Adapt a SentenceTransformer, a model2vec model, or any object with ``encode(texts)``.

    Args:
        model: An object with ``encode``, which returns one vector per text. If its class has ``encode_query`` and
            ``encode_document`` (models with prompts), these are used.
        name: The name to record; by default ``encode:<class>:<model name>``.
        exact: Keep float64 vectors of the model.
    """

    def __init__(self, model: Any, *, name: str | None = None, exact: bool = False) -> None:
        super().__init__("encode", model, name, _dimension_of(model), exact)
        self.model = model
        prompts = all(callable(getattr(type(model), method, None)) for method in ("encode_query", "encode_document"))
        self._encode_documents = model.encode_document if prompts else model.encode
        self._encode_query = model.encode_query if prompts else model.encode

    def _documents(self, texts: list[str]) -> object:
        return self._encode_documents(texts)

    def _query(self, text: str) -> object:
        return self._first(self._encode_query([text]))


class CallableEmbedder(_Adapter):
    """Adapt a function from texts to vectors.

    Args:
        function: Function from a list of texts to one vector per text. A coroutine function works for the async methods
            only.
        query: Function from a question to its vector, if questions are embedded differently.
        name: The name to record; by default ``callable:<function name>``. Pass a name if several functions share one.
        dimension: The dimension of the vectors, if known.
        exact: Keep float64 vectors of the function.

    Example:
        >>> CallableEmbedder(lambda texts: [[float(len(text))] for text in texts], name="length").embed_query("four")
        array([4.], dtype=float32)
    """

    def __init__(
        self,
        function: Callable[[list[str]], Any],
        *,
        query: Callable[[str], Any] | None = None,
        name: str | None = None,
        dimension: int | None = None,
        exact: bool = False,
    ) -> None:
        super().__init__("callable", function, name, dimension, exact)
        self.function = function
        self.query = query

    def _documents(self, texts: list[str]) -> object:
        return self._settled(self.function(texts))

    def _query(self, text: str) -> object:
        if self.query is not None:
            return self._settled(self.query(text))
        return self._first(self._settled(self.function([text])))

    def _adocuments(self, texts: list[str]) -> Awaitable[object] | None:
        return self.function(texts) if _is_async(self.function) else None

    def _aquery(self, text: str) -> Awaitable[object] | None:
        if self.query is not None:
            return self.query(text) if _is_async(self.query) else None
        return self._afirst(text) if _is_async(self.function) else None

    async def _afirst(self, text: str) -> object:
        return self._first(await self.function([text]))

    def _settled(self, result: object) -> object:
        if inspect.iscoroutine(result):
            result.close()
            raise EmbeddingError(f"{self._name} is a coroutine function: use the async methods, or pass a function")
        return result


def _texts(texts: Sequence[str]) -> list[str]:
    return texts if isinstance(texts, list) else list(texts)


def _call_async(obj: object, method: str, argument: object) -> Awaitable[object] | None:
    function = getattr(obj, method, None)
    if not callable(function):
        return None
    result = function(argument)
    return result if inspect.isawaitable(result) else _ready(result)


async def _ready(result: object) -> object:
    return result


def _is_async(function: object) -> bool:
    method = vars(type(function)).get("__call__")  # the __call__ of an object may be a coroutine function
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def _hands_on(cls: type, method: str, to: str) -> bool:
    """Return whether a method only calls another one: its code then uses no other name."""
    code = getattr(getattr(cls, method, None), "__code__", None)
    return getattr(code, "co_names", None) == (to,)


def _dimension_of(model: object) -> int | None:
    for attribute in ("get_embedding_dimension", "get_sentence_embedding_dimension", "dim", "dimension"):
        if getattr(type(model), attribute, None) is None and attribute not in getattr(model, "__dict__", {}):
            continue
        value = getattr(model, attribute)
        value = value() if callable(value) else value
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
