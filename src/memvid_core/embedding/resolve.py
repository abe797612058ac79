"""Resolve embedders: from a caller's argument, and from the name that a memory records."""

from __future__ import annotations

import os
import warnings

from memvid_core.embedding.adapters import CallableEmbedder, EncodeEmbedder, LangChainEmbedder, LlamaIndexEmbedder
from memvid_core.embedding.builtin import HashingEmbedder
from memvid_core.embedding.identity import same_embedder
from memvid_core.embedding.models import load_model
from memvid_core.errors import Action, EmbedderMismatchError, EmbedderWarning, Hint, InvalidInputError
from memvid_core.model import GIVEN, Embedder, is_fittable

__all__ = ["as_embedder", "choose_embedder"]


def as_embedder(obj: object = None, *, exact: bool = False) -> Embedder:
    """Wrap any object that embeds texts as an :class:`Embedder`.

    Args:
        obj: An ``Embedder`` (returned unchanged), a LangChain ``Embeddings``, a LlamaIndex ``BaseEmbedding``, an object
            with ``encode``, a function from a list of texts to vectors, the name of a model (see ``load_model``), or
            ``None`` for the built-in offline embedder.
        exact: Keep float64 vectors of a model, instead of converting them to float32.

    Returns:
        The embedder.

    Raises:
        InvalidInputError: If the object cannot embed, such as the path of a memory.
        MissingExtraError: If the model needs a package that is not installed.
        EmbeddingError: If the named model cannot be loaded.

    Example:
        >>> as_embedder(None).name
        'memvid-hash-v1:384'
    """
    if obj is None:
        return HashingEmbedder()
    if isinstance(obj, os.PathLike) or (isinstance(obj, str) and _is_file(obj)):
        path = os.fsdecode(obj)
        raise InvalidInputError(
            f"{path!r} is a path, but an embedder is expected", hint=Hint(Action.GIVE_PATH, {"path": path})
        )
    if isinstance(obj, str):
        return load_model(obj, exact=exact)
    if isinstance(obj, type):
        raise InvalidInputError(f"{obj.__name__} is a class: pass an instance, such as {obj.__name__}()")
    # check a framework's own classes first: an Embeddings with a name and a dimension still returns lists
    if _comes_from(obj, "langchain_core") and _has(obj, "embed_documents", "embed_query"):
        return LangChainEmbedder(obj, exact=exact)
    if isinstance(obj, Embedder) and isinstance(obj.name, str):
        return obj
    if _has(obj, "embed_documents", "embed_query"):
        return LangChainEmbedder(obj, exact=exact)
    if _has(obj, "get_text_embedding_batch", "get_query_embedding"):
        return LlamaIndexEmbedder(obj, exact=exact)
    if _has(obj, "encode"):
        return EncodeEmbedder(obj, exact=exact)
    if callable(obj):
        return CallableEmbedder(obj, exact=exact)
    raise InvalidInputError(
        f"an object of type {type(obj).__name__} cannot embed: pass a LangChain or LlamaIndex embedding, an object "
        "with encode(), a function from a list of texts to vectors, the name of a model, or None for the built-in one"
    )


def _is_file(name: str) -> bool:
    """Return whether a name is a file; a model is a folder or a name on a hub."""
    return name == ":memory:" or name.lower().endswith((".mp4", ".m4v", ".mov")) or os.path.isfile(name)


def _has(obj: object, *methods: str) -> bool:
    return all(callable(getattr(obj, method, None)) for method in methods)


def _comes_from(obj: object, package: str) -> bool:
    return any(cls.__module__.partition(".")[0] == package for cls in type(obj).__mro__)


def choose_embedder(
    embedder: object, recorded: str, *, has_vectors: bool, exact: bool = False, force: bool = False
) -> Embedder | None:
    """Choose the embedder for an existing memory.

    Args:
        embedder: The caller's argument, as for :func:`as_embedder`; None for the recorded embedder, ``"given"`` for no
            embedder, if all vectors will be passed.
        recorded: The name that the memory records.
        has_vectors: Whether any record has a vector.
        exact: Keep float64 vectors of a model.
        force: Use the passed embedder even if another one is recorded.

    Returns:
        The embedder, unfitted if it can be fitted; None if there is none. If ``embedder`` is None, a memory written by
        the built-in embedder gets that one, and so does a memory that records ``"given"`` and has no vectors. A memory
        written by another embedder gets None, with an ``EmbedderWarning``.

    Raises:
        EmbedderMismatchError: If the passed embedder is not the recorded one.

    Example:
        >>> choose_embedder(None, "given", has_vectors=False).name
        'memvid-hash-v1:384'
        >>> choose_embedder(None, "given", has_vectors=True) is None
        True
    """
    if isinstance(embedder, str) and embedder == GIVEN:
        return None
    if embedder is None and not force:
        return _recorded(recorded, has_vectors)
    chosen = as_embedder(embedder, exact=exact)
    if not (force or recorded == GIVEN or same_embedder(chosen, recorded)):
        raise EmbedderMismatchError(
            f"this memory was written by {recorded!r}, not by {chosen.name!r}; their vectors cannot be compared",
            hint=Hint(Action.FORCE, {"embedder": recorded}),
        )
    return chosen.clone() if is_fittable(chosen) else chosen


def _recorded(recorded: str, has_vectors: bool) -> Embedder | None:
    if recorded.partition(":")[0] == HashingEmbedder.kind:
        return HashingEmbedder.from_name(recorded)
    if recorded == GIVEN:
        return None if has_vectors else HashingEmbedder()
    warnings.warn(EmbedderWarning(recorded), stacklevel=5)
    return None
