"""Translation of the core's messages: their advice must name arguments that these classes take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from typing_extensions import override

from memvid_core import Action, Hint, MemvidError

__all__ = ["OurHint", "our_words"]

_PATH: Final = r"Memory\.open\([^)]*\)"
_WORDS: Final = [
    (re.compile(rf"{_PATH} opens it for writing"), "open the store with mode='a' to write"),
    (re.compile(rf"{_PATH} opens it (again|here)"), r"make a new store on its path to open it \1"),
    (re.compile(r"create it with Memory\.create"), "create it with mode='a'"),
    (
        re.compile(r"Open it with the first, or pass force=True if they are the same model"),
        "Give the first as {embedder}",
    ),
    (re.compile(r"open it with that embedder to search by meaning, or use mode='lexical'"), "give it as {embedder}"),
    (re.compile(r"open it with that embedder, or give vectors"), "give it as {embedder}"),
    (
        re.compile(r"ids, where=, or both; clear\(\) deletes everything"),
        "ids, filter=, or both; delete() with neither deletes every document",
    ),
    (re.compile(r"\bmetadata must be as many"), "metadatas must be as many"),
]


_ACTIONS: Final = {
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


def _reworded(message: str, embedder: str) -> str:
    for pattern, words in _WORDS:
        message = pattern.sub(words.replace("{embedder}", embedder), message)
    return message


@contextmanager
def our_words(embedder: str = "embedding=") -> Iterator[None]:
    """Reword errors of the core that the block raises; type, cause and traceback stay.

    Args:
        embedder: The name of the embedder argument.

    Example:
        >>> from memvid_core import ReadOnlyError
        >>> try:
        ...     with our_words():
        ...         raise ReadOnlyError("a.mp4 is open for reading; Memory.open(path, mode='a') opens it for writing")
        ... except ReadOnlyError as error:
        ...     print(error)
        a.mp4 is open for reading; open the store with mode='a' to write
    """
    try:
        yield
    except MemvidError as exc:
        if exc.hint is not None and not isinstance(exc.hint, OurHint):
            exc.hint = OurHint(exc.hint.action, {**exc.hint.values, "argument": embedder})
        exc.args = tuple(_reworded(part, embedder) if isinstance(part, str) else part for part in exc.args)
        raise
