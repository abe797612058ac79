"""The exceptions and warnings of this package, and how URLs are named in messages.

Each class is also a subclass of the matching builtin, so ``except ValueError`` and ``except OSError`` work::

    MemvidError
    ├── InvalidInputError (ValueError)          an invalid argument
    │   ├── DimensionError                      a vector of the wrong length
    │   ├── VectorError                         NaN, infinite or non-numeric vectors
    │   ├── FilterError                         an invalid filter
    │   ├── MetadataError (also TypeError)      metadata that cannot be stored; names the key
    │   ├── TextError (also TypeError)          a text that is not a str, or not valid Unicode
    │   ├── QueryError                          an invalid query
    │   ├── CodecError                          invalid codec settings
    │   └── EmbedderMismatchError               a memory written by another embedder
    ├── EmbeddingError (RuntimeError)           an embedder failed or returned an invalid result
    ├── ChatError (RuntimeError)                a language model failed or returned an invalid result
    ├── MissingExtraError (ImportError)         an optional dependency is not installed; names the extra
    ├── MemoryFileError (OSError)
    │   ├── MemoryNotFoundError (FileNotFoundError)
    │   ├── MemoryExistsError (FileExistsError)
    │   ├── NotAMemoryError (also ValueError)   not an MP4, or an MP4 without a memory
    │   ├── UnsupportedFormatError (also ValueError)   written by a newer version
    │   ├── DamagedFrameError                   a frame with changed bytes; has .frame
    │   ├── LockedError (BlockingIOError)       another process holds the lock; names it
    │   ├── DamagedLibraryError                 an object of a library is missing or changed; has .name
    │   ├── CommitConflictError                 others committed to the library at the same time, again and again
    │   ├── IncompleteSearchError               shards of a library did not answer; has .hits and .report
    │   ├── ReadOnlyError (PermissionError)     a write on a memory opened for reading
    │   └── StorageError                        a read or write failed (disk full, missing, no permission)
    ├── OutOfMemoryError (MemoryError)          the process has too little memory; nothing was committed
    ├── ClosedError (ValueError)                used after close(), like a closed file
    ├── RecordNotFoundError (KeyError)          no live record has that id
    └── IngestError (ValueError)                a document that cannot be read

    MemvidWarning (UserWarning)
    ├── DamageWarning                           records that cannot be read
    ├── TornTailWarning                         an interrupted last write
    └── EmbedderWarning                         a memory opened without the embedder that wrote it

All of them keep their attributes when they are copied or pickled. Many have a :class:`Hint` with a remedy:

>>> error = ReadOnlyError("a.mp4 is open for reading", hint=Hint(Action.OPEN_FOR_WRITING))
>>> str(error)
"a.mp4 is open for reading; open it with mode='a'"
>>> worded(error, {Action.OPEN_FOR_WRITING: "run it without --read-only"})
'a.mp4 is open for reading; run it without --read-only'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Self

__all__ = [
    "Action",
    "ChatError",
    "ClosedError",
    "CodecError",
    "CommitConflictError",
    "DamageWarning",
    "DamagedFrameError",
    "DamagedLibraryError",
    "DimensionError",
    "EmbedderMismatchError",
    "EmbedderWarning",
    "EmbeddingError",
    "FilterError",
    "Hint",
    "IncompleteSearchError",
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
    "OutOfMemoryError",
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
    """Name a remedy for an error or a warning. The value is its wording in the core, in terms of ``Memory``."""

    ALLOW_PARTIAL = "partial='allow' returns the hits of the others, verify() looks at every file"
    CREATE = "create it with Memory.create({path!r})"
    DROP_DAMAGED = "verify() lists the damage, drop_damaged=True drops it"
    DROP_MOST = "to remove their records, pass drop_most=True"
    FILTER = "to list records without a query, use select(where=...)"
    FORCE = "open it with {embedder!r}, or pass force=True if both are the same model"
    GIVE_EMBEDDER = "open it with the embedder {embedder!r}, or give vectors="
    GIVE_PATH = "pass a file as path={path!r}; an embedder is an object or the name of a model"
    GIVE_SCOPE = "give {fields}"
    INSTALL_EXTRA = "install it with: pip install 'memvid-core[{extra}]'"
    NAME_RECORDS = "give ids, where=, or both; clear() deletes everything"
    OPEN_AGAIN = "open it again with Memory.open({path!r})"
    OPEN_FOR_READING = "open it with mode='r'"
    OPEN_FOR_WRITING = "open it with mode='a'"
    READ_REMOTE = "open it with mode='r'; to change it, write to a local file and upload that"
    OVERWRITE = "import it first, or pass force=True to replace it"
    REPAIR = "compact() repairs it"
    SEARCH_WORDS = "open it with the embedder {embedder!r} to search by meaning, or use mode='lexical'"
    WAIT = "wait for it with a larger timeout=, or open it with mode='r'"


Words = Mapping[Action, str]
"""The wording of actions in a package; ``{name}`` is replaced with a value of the hint."""


@dataclass(frozen=True)
class Hint:
    """Describe the remedy for an error or a warning in a machine-readable form.

    Args:
        action: The remedy.
        values: The values that the remedy needs, by name, for example the name of the embedder to open a memory with.

    Example:
        >>> Hint(Action.INSTALL_EXTRA, {"extra": "fastembed"}).words()
        "install it with: pip install 'memvid-core[fastembed]'"
    """

    action: Action
    values: Mapping[str, str | int] = field(default_factory=dict)

    def words(self, words: Words | None = None) -> str:
        """Return the hint in the words of a package; actions that it does not word use the core's wording."""
        return (words or {}).get(self.action, self.action.value).format_map(_Values(self.values))


class _Values(dict[str, "str | int"]):
    def __missing__(self, name: str) -> str:  # showing an error must not fail
        return "..."


class _Hinted(BaseException):
    """An exception with a hint. It can be pickled and copied, whatever its constructor takes."""

    hint: Hint | None = None
    """The remedy, if known."""

    def __init__(self, *args: Any, hint: Hint | None = None) -> None:
        super().__init__(*args)
        self.hint = hint

    def __str__(self) -> str:
        return worded(self)

    def _problem(self) -> str:
        """Return the problem without the hint."""
        if isinstance(self, KeyError):  # KeyError would show the repr of the message
            return str(self.args[0]) if self.args else ""
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), {**_builtin_state(self), **self.__dict__}


def _builtin_state(error: BaseException) -> dict[str, Any]:
    """Return the state that a builtin exception keeps outside ``__dict__``, such as the ``errno`` of an OSError."""
    names = {
        name
        for cls in type(error).__mro__
        for name, member in vars(cls).items()
        if isinstance(member, MemberDescriptorType | GetSetDescriptorType) and not name.startswith("__")
    }
    return {name: value for name in sorted(names) if (value := getattr(error, name, None)) is not None}


def _rebuilt(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    error = cls.__new__(cls)  # skip __init__, whose arguments are unknown and which ran before
    error.args = args
    return error


def worded(error: BaseException, words: Words | None = None) -> str:
    """Return the message of an error or a warning, with its hint in the words of a package.

    Args:
        error: Any exception; without a hint, its own message is returned.
        words: The package's wording of actions; other actions use the core's wording.
    """
    if not isinstance(error, _Hinted):
        return str(error)
    problem = error._problem()
    return problem if error.hint is None else f"{problem}; {error.hint.words(words)}"


class MemvidError(_Hinted, Exception):
    """Base class of all errors of this package."""


class InvalidInputError(MemvidError, ValueError):
    """An argument is invalid. Nothing was changed."""


class DimensionError(InvalidInputError):
    """The length of a vector differs from the memory's dimension."""


class VectorError(InvalidInputError):
    """A vector has NaN or infinite components, or is not numeric."""


class FilterError(InvalidInputError):
    """A filter is not valid in the filter language, or an operand has the wrong type."""


class MetadataError(InvalidInputError, TypeError):
    """Metadata cannot be stored; the message names the key."""


class TextError(InvalidInputError, TypeError):
    """A text is not a ``str``, or not valid Unicode (a lone surrogate)."""


class QueryError(InvalidInputError):
    """A query is invalid: empty, or of a mode that the memory does not support."""


class CodecError(InvalidInputError):
    """Codec settings are invalid, or a payload is too large for a frame."""


class EmbedderMismatchError(InvalidInputError):
    """A different embedder wrote the memory."""


class EmbeddingError(MemvidError, RuntimeError):
    """An embedder failed, or did not return one vector per text."""


class ChatError(MemvidError, RuntimeError):
    """A language model failed, or did not return a text."""


class MissingExtraError(MemvidError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


class MemoryFileError(MemvidError, OSError):
    """Base class of errors about the memory file."""


class MemoryNotFoundError(MemoryFileError, FileNotFoundError):
    """The file or its folder does not exist."""


class MemoryExistsError(MemoryFileError, FileExistsError):
    """``create`` was called with the path of an existing file."""


class NotAMemoryError(MemoryFileError, ValueError):
    """The file is not an MP4, or an MP4 without a memory."""


class UnsupportedFormatError(MemoryFileError, ValueError):
    """The file was written by a newer version, or uses a feature that this version does not support."""


class DamagedFrameError(MemoryFileError):
    """The bytes of a frame have changed since they were written.

    Attributes:
        frame: The number of the frame in the video, from 0.
    """

    def __init__(self, frame: int, reason: str, *, hint: Hint | None = None) -> None:
        super().__init__(f"frame {frame} is damaged: {reason}", hint=hint)
        self.frame = frame


class LockedError(MemoryFileError, BlockingIOError):
    """Another process holds the lock of the memory; the message names it."""


class DamagedLibraryError(MemoryFileError):
    """An object of a library is missing, or its bytes have changed since they were written.

    Attributes:
        name: The name of the object in the library, such as ``"manifest/00000000000000000003.json"``.
    """

    def __init__(self, name: str, reason: str, *, hint: Hint | None = None) -> None:
        super().__init__(f"{name} {reason}", hint=hint)
        self.name = name


class CommitConflictError(MemoryFileError):
    """Others committed to the library at the same time. Nothing was committed; try again."""


class IncompleteSearchError(MemoryFileError):
    """Some shards of a library did not answer, so that better hits may be missing.

    Attributes:
        hits: The hits of the shards that answered, best first.
        report: Which shards were asked, which failed and why, and how many rows they have.
    """

    def __init__(self, message: str, hits: Sequence[Any], report: Any, *, hint: Hint | None = None) -> None:
        super().__init__(message, hint=hint)
        self.hits = list(hits)
        self.report = report


class ReadOnlyError(MemoryFileError, PermissionError):
    """The memory was opened for reading, or the system does not permit writing it."""


class StorageError(MemoryFileError):
    """The operating system refused a read or a write. Nothing was committed."""


class storage_errors:  # a context manager, like contextlib's
    """Convert an OSError in the block to a StorageError, and a MemoryError to an OutOfMemoryError.

    Errors of this package are unchanged.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, MemvidError):
            return
        if isinstance(exc, OSError):
            raise StorageError(f"the system refused: {exc}") from exc
        if isinstance(exc, MemoryError):
            raise OutOfMemoryError(f"there is too little memory ({str(exc) or 'the system gave none'})") from exc


class IndexStaleError(MemvidError):
    """The index files are damaged or outdated. The caller rebuilds the index from the journal; no user sees this."""


class OutOfMemoryError(MemvidError, MemoryError):
    """The process has too little memory. Nothing was committed, and nothing counts as damaged."""

    def __new__(cls, *args: object, **_options: object) -> Self:
        """Make the error without MemoryError's own method."""
        return Exception.__new__(cls, *args)  # MemoryError's own refuses a class that has another base, too


class ClosedError(MemvidError, ValueError):
    """The memory is used after ``close()``."""


class RecordNotFoundError(MemvidError, KeyError):
    """The memory has no live record with this id."""


class IngestError(MemvidError, ValueError):
    """A document cannot be read."""


class MemvidWarning(_Hinted, UserWarning):
    """Base class of warnings about a memory."""


class DamageWarning(MemvidWarning):
    """Records in damaged frames are missing; all other records are available."""


class TornTailWarning(MemvidWarning):
    """The last write did not finish; its bytes are ignored and removed by the next write."""


class EmbedderWarning(MemvidWarning):
    """A memory was opened without the embedder that wrote it, or with one that may be different.

    Attributes:
        embedder: The name of the embedder that wrote the memory.
        given: The name of the embedder with which it was opened; None without one, when only words can be searched.

    Example:
        >>> print(EmbedderWarning("model2vec:minishlab/potion-base-8M"))
        this memory was written by 'model2vec:minishlab/potion-base-8M' and is opened without it, so that only words \
can be searched; open it with the embedder 'model2vec:minishlab/potion-base-8M', or give vectors=
    """

    def __init__(self, embedder: str, given: str | None = None) -> None:
        problem, action = "is opened without it, so that only words can be searched", Action.GIVE_EMBEDDER
        if given is not None:
            problem, action = f"{given!r} was given; the older name does not show whether it is the same", Action.FORCE
        super().__init__(
            f"this memory was written by {embedder!r} and {problem}", hint=Hint(action, {"embedder": embedder})
        )
        self.embedder = embedder
        self.given = given
