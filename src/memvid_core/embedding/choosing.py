"""Which embedder a memory is opened with: what was given, what it records, and whether they go together."""

from __future__ import annotations

import warnings
from typing import Final

from memvid_core.embedding.adapters import as_embedder
from memvid_core.embedding.builtin import HashingEmbedder
from memvid_core.embedding.identity import same_embedder
from memvid_core.embedding.protocol import Embedder, FittableEmbedder
from memvid_core.errors import Action, EmbedderMismatchError, EmbedderWarning, Hint

__all__ = ["GIVEN", "choose_embedder"]

GIVEN: Final = "given"
"""The embedder that a memory records if its vectors always come with its records: any embedder may open it later."""


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
