"""Every error this package raises on purpose, as one tree.

Each is also the builtin a caller would expect, so ``except ValueError`` or ``except OSError`` keep working::

    MemvidError
    ├── InvalidInputError (ValueError)          an argument that cannot be taken
    │   ├── DimensionError                      a vector of the wrong length
    │   ├── VectorError                         NaN, infinite or non-numeric vectors
    │   ├── FilterError                         a filter the language does not know
    │   ├── MetadataError (also TypeError)      metadata that cannot be stored; names the key
    │   ├── TextError (also TypeError)          a text that is no str, or no valid Unicode
    │   ├── QueryError                          a query that cannot be searched for
    │   ├── CodecError                          codec settings that cannot work
    │   └── EmbedderMismatchError               a memory written by another embedder
    ├── EmbeddingError (RuntimeError)           an embedder failed or returned nonsense
    ├── ChatError (RuntimeError)                a language model failed or returned nonsense
    ├── MissingExtraError (ImportError)         an optional dependency is not installed; names the extra
    ├── MemoryFileError (OSError)
    │   ├── MemoryNotFoundError (FileNotFoundError)
    │   ├── MemoryExistsError (FileExistsError)
    │   ├── NotAMemoryError (also ValueError)   not an MP4, or an MP4 that carries no memory
    │   ├── UnsupportedFormatError (also ValueError)   written by a newer version
    │   ├── DamagedFrameError                   a frame whose bytes are not what was written; has .frame
    │   ├── LockedError (BlockingIOError)       another writer holds the memory; says who
    │   ├── ReadOnlyError (PermissionError)     a write on a memory opened for reading
    │   └── StorageError                        the disk said no (full, gone, forbidden); nothing was committed
    ├── ClosedError (ValueError)                used after close(), like a closed file
    ├── RecordNotFoundError (KeyError)          no live record has that id
    └── IngestError (ValueError)                a document that cannot be read

    MemvidWarning (UserWarning)
    ├── DamageWarning                           records that cannot be read
    ├── TornTailWarning                         a last write that never finished
    └── EmbedderWarning                         a memory opened without the embedder that wrote it

All of them pickle and copy with their attributes. Many carry a :class:`Hint`, which says what to do about it:

>>> error = ReadOnlyError("a.mp4 is open for reading", hint=Hint(Action.OPEN_FOR_WRITING))
>>> str(error)
"a.mp4 is open for reading; open it with mode='a'"
>>> worded(error, {Action.OPEN_FOR_WRITING: "run it without --read-only"})
'a.mp4 is open for reading; run it without --read-only'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

__all__ = [
    "Action",
    "ChatError",
    "ClosedError",
    "CodecError",
    "DamageWarning",
    "DamagedFrameError",
    "DimensionError",
    "EmbedderMismatchError",
    "EmbedderWarning",
    "EmbeddingError",
    "FilterError",
    "Hint",
    "IngestError",
    "InvalidInputError",
    "LockedError",
    "MemoryExistsError",
    "MemoryFileError",
    "MemoryNotFoundError",
    "MemvidError",
    "MemvidWarning",
    "MetadataError",
    "MissingExtraError",
    "NotAMemoryError",
    "QueryError",
    "ReadOnlyError",
    "RecordNotFoundError",
    "StorageError",
    "TextError",
    "TornTailWarning",
    "UnsupportedFormatError",
    "VectorError",
]


class Action(StrEnum):
    """What a caller can do about an error or a warning. The value is how the core words it, in terms of ``Memory``."""

    DROP_DAMAGED = "verify() names what is damaged, drop_damaged=True goes on without it"
    FILTER = "to list records without a query, use select(where=...)"
    FORCE = "open it with {embedder!r}, or pass force=True if both are the same model"
    GIVE_EMBEDDER = "open it with the embedder {embedder!r}, or give vectors="
    GIVE_PATH = "a file is given as path={path!r}, an embedder is an object or the name of a model"
    INSTALL_EXTRA = "install it with: pip install 'memvid-core[{extra}]'"
    NAME_RECORDS = "give ids, where=, or both; clear() deletes everything"
    OPEN_AGAIN = "open it again with Memory.open({path!r})"
    OPEN_FOR_READING = "open it with mode='r'"
    OPEN_FOR_WRITING = "open it with mode='a'"
    SEARCH_WORDS = "open it with the embedder {embedder!r} to search by meaning, or use mode='lexical'"
    WAIT = "wait for it with a larger timeout=, or open it with mode='r'"


Words = Mapping[Action, str]
"""How a package words actions; ``{name}`` stands for a value of the hint."""


@dataclass(frozen=True)
class Hint:
    """What to do about an error or a warning, for a program to read.

    Args:
        action: What to do.
        values: What it is to be done with, by name, such as the name of the embedder to open a memory with.

    Example:
        >>> Hint(Action.INSTALL_EXTRA, {"extra": "fastembed"}).words()
        "install it with: pip install 'memvid-core[fastembed]'"
    """

    action: Action
    values: Mapping[str, str | int] = field(default_factory=dict)

    def words(self, words: Words | None = None) -> str:
        """The hint as a text, in the words of a package; actions that it does not word are worded as the core does."""
        return (words or {}).get(self.action, self.action.value).format_map(_Values(self.values))


class _Values(dict[str, "str | int"]):
    def __missing__(self, name: str) -> str:  # showing an error never fails
        return "..."


class _Hinted(BaseException):
    """An exception with a hint; it pickles and copies whole, whatever its constructor takes."""

    hint: Hint | None = None
    """What to do about it, where that is known."""

    def __init__(self, *args: Any, hint: Hint | None = None) -> None:
        super().__init__(*args)
        self.hint = hint

    def __str__(self) -> str:
        return worded(self)

    def _problem(self) -> str:
        """What is wrong, without what to do about it."""
        if isinstance(self, KeyError):  # it would show the repr of the message
            return str(self.args[0]) if self.args else ""
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), {**_builtin_state(self), **self.__dict__}


def _builtin_state(error: BaseException) -> dict[str, Any]:
    """What a builtin class keeps outside of ``__dict__``, such as the ``errno`` of an OSError."""
    names = {
        name
        for cls in type(error).__mro__
        for name, member in vars(cls).items()
        if isinstance(member, MemberDescriptorType | GetSetDescriptorType) and not name.startswith("__")
    }
    return {name: value for name in sorted(names) if (value := getattr(error, name, None)) is not None}


def _rebuilt(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    error = cls.__new__(cls)  # its __init__ takes what it likes, and has done its work
    error.args = args
    return error


def worded(error: BaseException, words: Words | None = None) -> str:
    """The message of an error or a warning, its hint in the words of a package.

    Args:
        error: Any exception; one without a hint has its own message.
        words: How the package words actions; the others are worded as the core does.
    """
    if not isinstance(error, _Hinted):
        return str(error)
    problem = error._problem()
    return problem if error.hint is None else f"{problem}; {error.hint.words(words)}"


class MemvidError(_Hinted, Exception):
    """Base of every error raised on purpose."""


class InvalidInputError(MemvidError, ValueError):
    """An argument that cannot be taken. Nothing was changed."""


class DimensionError(InvalidInputError):
    """A vector whose length is not the memory's dimension."""


class VectorError(InvalidInputError):
    """A vector with NaN or infinite components, or one that is not numeric."""


class FilterError(InvalidInputError):
    """A filter that the filter language does not know, or an operand of the wrong type."""


class MetadataError(InvalidInputError, TypeError):
    """Metadata that cannot be stored; the message names the key."""


class TextError(InvalidInputError, TypeError):
    """A text that is not a ``str``, or not valid Unicode (a lone surrogate)."""


class QueryError(InvalidInputError):
    """A query that cannot be searched for: empty, or of a mode the memory has not."""


class CodecError(InvalidInputError):
    """Codec settings that cannot work, or a payload that no frame can carry."""


class EmbedderMismatchError(InvalidInputError):
    """The memory was written by another embedder than the one given."""


class EmbeddingError(MemvidError, RuntimeError):
    """An embedder failed, or returned something that is not one vector a text."""


class ChatError(MemvidError, RuntimeError):
    """A language model failed, or returned something that is no text."""


class MissingExtraError(MemvidError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


class MemoryFileError(MemvidError, OSError):
    """Something about the file itself."""


class MemoryNotFoundError(MemoryFileError, FileNotFoundError):
    """There is no file at that path, or its folder is missing."""


class MemoryExistsError(MemoryFileError, FileExistsError):
    """``create`` was asked for a path that already holds a file."""


class NotAMemoryError(MemoryFileError, ValueError):
    """Not an MP4, or an MP4 that carries no memory."""


class UnsupportedFormatError(MemoryFileError, ValueError):
    """Written by a newer version, or with a feature that this version does not know."""


class DamagedFrameError(MemoryFileError):
    """A frame whose bytes are not what was written.

    Attributes:
        frame: Its number in the video, from 0.
    """

    def __init__(self, frame: int, reason: str, *, hint: Hint | None = None) -> None:
        super().__init__(f"frame {frame} is damaged: {reason}", hint=hint)
        self.frame = frame


class LockedError(MemoryFileError, BlockingIOError):
    """Another writer holds the memory; the message says who."""


class ReadOnlyError(MemoryFileError, PermissionError):
    """A write on a memory that was opened for reading."""


class StorageError(MemoryFileError):
    """The operating system refused a read or a write. Nothing was committed."""


class storage_errors:  # a context manager, like contextlib's
    """Turn what the system refuses in the block into a StorageError; errors of ours stay as they are."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, OSError) and not isinstance(exc, MemvidError):
            raise StorageError(f"the system refused: {exc}") from exc


class ClosedError(MemvidError, ValueError):
    """Used after ``close()``, as a closed file would be."""


class RecordNotFoundError(MemvidError, KeyError):
    """No live record has that id."""


class IngestError(MemvidError, ValueError):
    """A document that cannot be read."""


class MemvidWarning(_Hinted, UserWarning):
    """Base of the warnings about a memory."""


class DamageWarning(MemvidWarning):
    """Records lie in damaged frames: they are not there, and the others are."""


class TornTailWarning(MemvidWarning):
    """The last write never finished; its bytes are ignored and cut at the next write."""


class EmbedderWarning(MemvidWarning):
    """A memory was opened without the embedder that wrote it, or with one of which that cannot be told.

    Attributes:
        embedder: The name that the memory records.
        given: The name of the embedder it was opened with; None where there is none, and only words can be searched.

    Example:
        >>> print(EmbedderWarning("model2vec:minishlab/potion-base-8M"))
        this memory was written by 'model2vec:minishlab/potion-base-8M' and is opened without it, so that only words \
can be searched; open it with the embedder 'model2vec:minishlab/potion-base-8M', or give vectors=
    """

    def __init__(self, embedder: str, given: str | None = None) -> None:
        problem, action = "is opened without it, so that only words can be searched", Action.GIVE_EMBEDDER
        if given is not None:
            problem, action = f"{given!r} was given; the older name does not tell if that is the same", Action.FORCE
        super().__init__(
            f"this memory was written by {embedder!r} and {problem}", hint=Hint(action, {"embedder": embedder})
        )
        self.embedder = embedder
        self.given = given
