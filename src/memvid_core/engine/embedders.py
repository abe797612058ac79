"""The embedder of a memory or a library: of a new one, and of one that exists."""

from __future__ import annotations

from memvid_core.embedding import as_embedder, choose_embedder
from memvid_core.model import GIVEN, Embedder, is_fittable

__all__ = ["existing_embedder", "new_embedder"]


def new_embedder(embedder: object, *, exact: bool) -> Embedder | None:
    """Return the embedder of what is created; a copy of one that learns, because its state belongs to one memory.

    Args:
        embedder: As for :func:`~memvid_core.embedding.as_embedder`, or ``"given"``.
        exact: Keep float64 vectors of a model.

    Returns:
        The embedder; None for ``"given"``: every vector is passed with its record.

    Example:
        >>> new_embedder(None, exact=False).name
        'memvid-hash-v1:384'
    """
    if isinstance(embedder, str) and embedder == GIVEN:
        return None
    made = as_embedder(embedder, exact=exact)
    if not is_fittable(made):
        return made
    copy = made.clone()
    if made.fitted:
        copy.load(made.dump())
    return copy


def existing_embedder(embedder: object, recorded: str, *, exact: bool = False, force: bool = False) -> Embedder | None:
    """Choose the embedder of what exists; see :func:`~memvid_core.embedding.choose_embedder`.

    It may have vectors: without an argument, one that records ``"given"`` has no embedder.
    """
    return choose_embedder(embedder, recorded, has_vectors=True, exact=exact, force=force)
