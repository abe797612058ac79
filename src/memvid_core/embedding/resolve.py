"""Which embedder is meant: what a caller gives as one, and which goes with what a memory records."""

from __future__ import annotations

import os
import warnings
from typing import Final

from memvid_core.embedding.adapters import CallableEmbedder, EncodeEmbedder, LangChainEmbedder, LlamaIndexEmbedder
from memvid_core.embedding.builtin import HashingEmbedder
from memvid_core.embedding.identity import same_embedder
from memvid_core.embedding.models import load_model
from memvid_core.embedding.protocol import Embedder, FittableEmbedder
from memvid_core.errors import Action, EmbedderMismatchError, EmbedderWarning, Hint, InvalidInputError

__all__ = ["GIVEN", "as_embedder", "choose_embedder"]

GIVEN: Final = "given"
"""The embedder that a memory records if its vectors always come with its records: any embedder may open it later."""


def as_embedder(obj: object = None, *, exact: bool = False) -> Embedder:
    """Make an embedder of whatever embeds texts.

    Args:
        obj: An ``Embedder`` (returned as it is), a LangChain ``Embeddings``, a LlamaIndex ``BaseEmbedding``, anything
            with ``encode``, a function from a list of texts to vectors, the name of a model (see ``load_model``), or
            ``None`` for the built-in offline embedder.
        exact: Adapters keep double precision where a model gives it, instead of float32.

    Returns:
        The embedder.

    Raises:
        InvalidInputError: Nothing that can embed, such as the path of a memory.
        MissingExtraError: The model's name needs a package that is not installed.
        EmbeddingError: The named model cannot be loaded.

    Example:
        >>> as_embedder(None).name
        'memvid-hash-v1:384'
    """
    if obj is None:
        return HashingEmbedder()
    if isinstance(obj, os.PathLike) or (isinstance(obj, str) and _is_file(obj)):
        path = os.fsdecode(obj)
        raise InvalidInputError(
            f"{path!r} is a path, where an embedder is expected", hint=Hint(Action.GIVE_PATH, {"path": path})
        )
    if isinstance(obj, str):
        return load_model(obj, exact=exact)
    if isinstance(obj, type):
        raise InvalidInputError(f"{obj.__name__} is a class: give an instance of it, such as {obj.__name__}()")
    # a framework's own classes first: an Embeddings that happens to have a name and a dimension still returns lists
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
        f"an object of type {type(obj).__name__} cannot embed: give a LangChain or LlamaIndex embedding, an object "
        "with encode(), a function from a list of texts to vectors, the name of a model, or None for the built-in one"
    )


def _is_file(name: str) -> bool:
    """Whether a name is that of a file and not of a model, which is on a hub or a folder."""
    return name == ":memory:" or name.lower().endswith((".mp4", ".m4v", ".mov")) or os.path.isfile(name)


def _has(obj: object, *methods: str) -> bool:
    return all(callable(getattr(obj, method, None)) for method in methods)


def _comes_from(obj: object, package: str) -> bool:
    return any(cls.__module__.partition(".")[0] == package for cls in type(obj).__mro__)


def choose_embedder(
    embedder: object, recorded: str, *, has_vectors: bool, exact: bool = False, force: bool = False
) -> Embedder | None:
    """The embedder to use for an existing memory.

    Args:
        embedder: What the caller gave, as :func:`as_embedder` takes it; None for what the memory records, ``"given"``
            for none because every vector will be given.
        recorded: The name that the memory records.
        has_vectors: Whether any record has a vector.
        exact: Keep double precision where the model gives it.
        force: Take the given one whatever is recorded.

    Returns:
        The embedder, a new and unfitted one if it learns; None if there is none to use. Without one given, a memory
        that the built-in one wrote gets that, and so does a memory without any vector that records ``"given"``. One
        that another embedder wrote gets none, with an ``EmbedderWarning``.

    Raises:
        EmbedderMismatchError: The given one is not the recorded one.

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
            f"this memory was written by {recorded!r} and {chosen.name!r} was given; their vectors cannot be compared",
            hint=Hint(Action.FORCE, {"embedder": recorded}),
        )
    return chosen.clone() if isinstance(chosen, FittableEmbedder) else chosen


def _recorded(recorded: str, has_vectors: bool) -> Embedder | None:
    if recorded.partition(":")[0] == HashingEmbedder.kind:
        return HashingEmbedder.from_name(recorded)
    if recorded == GIVEN:
        return None if has_vectors else HashingEmbedder()
    warnings.warn(EmbedderWarning(recorded), stacklevel=4)
    return None
