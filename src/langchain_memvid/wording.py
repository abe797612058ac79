"""Translation of the core's messages: their advice must name arguments that these classes take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from typing_extensions import override

from memvid_core import Action, Hint, MemvidError

__all__ = ["OurHint", "our_words"]

_ACTIONS: Final = {
    Action.ALLOW_PARTIAL: "the hits of the others are in the hits of this error",
    Action.CREATE: "open the store with mode='a' to create it",
    Action.FILTER: "a blank query lists documents",
    Action.FORCE: "give {embedder!r} as {argument}",
    Action.GIVE_EMBEDDER: "give {embedder!r} as {argument}",
    Action.NAME_RECORDS: "give ids, filter=, or both; delete() with neither deletes every document",
    Action.OPEN_AGAIN: "make a new store on {path!r}",
    Action.OPEN_FOR_WRITING: "open the store with mode='a'",
    Action.SEARCH_WORDS: "give {embedder!r} as {argument} to search by meaning, or use retrieval_mode='lexical'",
}


class OurHint(Hint):
    """Word a hint of the core for the classes of this package."""

    @override
    def words(self, words: Mapping[Action, str] | None = None) -> str:
        return super().words({**_ACTIONS, **(words or {})})


@contextmanager
def our_words(embedder: str = "embedding=") -> Iterator[None]:
    """Reword errors of the core that the block raises; type, cause and traceback stay.

    Args:
        embedder: The name of the embedder argument.

    Example:
        >>> from memvid_core import Action, Hint, ReadOnlyError
        >>> try:
        ...     with our_words():
        ...         raise ReadOnlyError("a.mp4 is open for reading", hint=Hint(Action.OPEN_FOR_WRITING))
        ... except ReadOnlyError as error:
        ...     print(error)
        a.mp4 is open for reading; open the store with mode='a'
    """
    try:
        yield
    except MemvidError as exc:
        if exc.hint is not None and not isinstance(exc.hint, OurHint):
            exc.hint = OurHint(exc.hint.action, {**exc.hint.values, "argument": embedder})
        raise
